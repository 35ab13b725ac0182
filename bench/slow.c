/* Receivers that never read, among many who do: WebSocket clients at /broadcast of a steadfast. One more of them, the
 * publisher, sends messages at a constant rate, and some of the others stop reading when their handshake is answered.
 * The rest check every byte. `slow --help` lists the flags.
 *
 * A message has its number and the time at which it is due, and its latency counts from that time: a server that lets
 * the publisher wait is not forgiven. Memory is looked at when all are open and quiet and when the last message has
 * gone wherever it goes, before anybody is closed; and what the server says that it has sent, dropped and kept is
 * compared with what arrived. At the very end, when all that is measured, the stalled ones read what there is for them:
 * then each message of each connection has arrived or is counted as dropped, or something is wrong.
 *
 * As in fanout.c, each thread has a descriptor table of its own and an edge-triggered epoll. The publisher has a thread
 * of its own too, so that it is not late because others have much to read. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dial.h"
#include "slow_check.h"
#include "slow_plan.h"
#include "slow_report.h"
#include "slow_view.h"
#include "times.h"

enum {
    BUFFER_BYTES = 1 << 18,
    EVENTS_A_TURN = 1024,
    OPENING_LIMIT = 256, /* of each thread */
    LOOK_NS = 250000000, /* between two looks at the server */
    QUIET_LOOKS = 4,     /* without any change, before it is taken for certain that nothing more comes */
    HEAD_START_NS = 100000000,
    NO_CONNECTION = UINT32_MAX, /* an event that only wakes */
};

struct connection {
    int descriptor;
    enum state state;
    bool stalled;
    struct receiver receiver;
};

struct worker {
    pthread_t thread;
    long first, count; /* of the connections that are its own */
    long remaining;    /* to be opened */
    int epoll_descriptor;
    bool thawed;
    uint8_t *buffer;
    atomic_ulong messages, stalled_messages, bytes; /* see struct receipts */
    struct tally tally;
};

static struct connection *connections;
static struct worker *workers; /* the first one is the publisher's */
static long total_workers;
static uint32_t total_messages;
static uint8_t *request; /* the message that the publisher is sending */
static size_t request_bytes, request_sent_bytes;
static struct histogram lateness; /* of the publisher */
static int everyone_wake;

static _Atomic uint32_t sent_messages;
static atomic_long workers_open;
static atomic_bool started, thawed, ended;

static void wake_everyone(void)
{
    const uint64_t one = 1;
    if (write(everyone_wake, &one, sizeof one) < 0) die("eventfd");
}

static void end_all(void)
{
    atomic_store(&ended, true);
    wake_everyone();
}

static bool is_publisher(const struct connection *connection) { return connection == connections; }

/* Spread evenly among the others. */
static bool is_stalled(long number)
{
    const long others = plan.connections - 1;
    return number > 0 && number * plan.stalled / others != (number - 1) * plan.stalled / others;
}

/* By one thread only, and read by another. */
static void count(atomic_ulong *number, size_t more)
{
    atomic_store_explicit(number, atomic_load_explicit(number, memory_order_relaxed) + more, memory_order_relaxed);
}

static void leave(struct worker *worker, struct connection *connection)
{
    if (connection->state != READY) worker->remaining--;
    connection->state = GONE;
    close_at_once(connection->descriptor);
    drop_piece(&connection->receiver.piece);
}

/* The others go on without it, so that in the end it is known how many were lost. */
static void lose(struct worker *worker, struct connection *connection, bool wrong, const char *cause)
{
    complain("connection %ld, message %u: %s", (long)(connection - connections), connection->receiver.next_message,
             cause);
    *(wrong ? &worker->tally.wrong : &worker->tally.lost) += 1;
    leave(worker, connection);
    if (is_publisher(connection)) end_all();
}

/* The server ended it, which it may have had a right to. */
static void end(struct worker *worker, struct connection *connection, const char *cause)
{
    if (!connection->stalled || !plan.closes || connection->state != READY) {
        lose(worker, connection, false, cause);
        return;
    }
    worker->tally.closed++;
    leave(worker, connection);
}

/* RFC 6455, 7.4.1: 1008 is a policy that was violated. */
static void hear_close(struct worker *worker, struct connection *connection)
{
    const uint8_t *frame = connection->receiver.piece->bytes;
    const bool is_policy = frame[1] >= 2 && (frame[2] << 8 | frame[3]) == 1008;
    end(worker, connection, is_policy ? "closed with 1008" : "closed");
}

static void answer_ping(struct worker *worker, struct connection *connection)
{
    uint8_t pong[CONTROL_LIMIT_BYTES + KEY_BYTES];
    const size_t pong_bytes = put_pong(pong, connection->receiver.piece);
    drop_piece(&connection->receiver.piece);
    worker->tally.pings++;
    /* Within the publisher's message nothing may stand, and it proves as well as any pong that there is life. What
     * keeps a pong from being sent, the next recv will meet as well. */
    if (is_publisher(connection) && request_sent_bytes < request_bytes) return;
    (void)send(connection->descriptor, pong, pong_bytes, MSG_NOSIGNAL);
}

/* Those who did not read tell nothing about time. */
static void count_message(struct worker *worker, const struct connection *connection, uint64_t now_ns)
{
    count(connection->stalled ? &worker->stalled_messages : &worker->messages, 1);
    if (!connection->stalled) add_time(&worker->tally.arrivals, now_ns - due_ns(connection->receiver.message));
}

static void take(struct worker *worker, struct connection *connection, size_t length_bytes)
{
    const uint64_t now_ns = read_clock_ns(CLOCK_MONOTONIC);
    const uint8_t *bytes = worker->buffer, *stop = bytes + length_bytes;
    count(&worker->bytes, length_bytes);
    while (bytes < stop && connection->state == READY) {
        switch (check(&connection->receiver, &bytes, stop, atomic_load(&sent_messages))) {
        case WRONG: lose(worker, connection, true, "something else came"); break;
        case PART: break;
        case MESSAGE: count_message(worker, connection, now_ns); break;
        case CONTROL:
            if (connection->receiver.piece->bytes[0] == CLOSE)
                hear_close(worker, connection);
            else
                answer_ping(worker, connection);
            break;
        }
    }
}

static void receive(struct worker *worker, struct connection *connection, bool hung_up)
{
    /* A short read has drained the socket, except for an end of the stream that came before the event was taken. */
    for (ssize_t got = BUFFER_BYTES; connection->state == READY && (hung_up || got == BUFFER_BYTES);) {
        got = recv(connection->descriptor, worker->buffer, BUFFER_BYTES, 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0)
            end(worker, connection, got == 0 ? "the server closed" : strerror(errno));
        else
            take(worker, connection, (size_t)got);
    }
}

static void read_head(struct worker *worker, struct connection *connection)
{
    const char *cause;
    struct piece **piece = &connection->receiver.piece;
    const enum answer answer = read_answer(connection->descriptor, piece, worker->buffer, BUFFER_BYTES, &cause);
    if (answer == ANSWER_PART) return;
    if (answer != ANSWER_WHOLE) {
        lose(worker, connection, answer == ANSWER_WRONG, cause);
        return;
    }
    count(&worker->bytes, (*piece)->length_bytes);
    drop_piece(piece);
    connection->state = READY;
    worker->tally.opened++;
    worker->remaining--;
    /* From here on nobody looks at it, whatever happens to it. */
    if (connection->stalled && epoll_ctl(worker->epoll_descriptor, EPOLL_CTL_DEL, connection->descriptor, NULL) != 0)
        die("epoll_ctl");
}

static void finish_connect(struct worker *worker, struct connection *connection)
{
    connection->state = ANSWERING;
    const char *cause = send_upgrade(connection->descriptor);
    if (cause != NULL) lose(worker, connection, false, cause);
}

static void watch(struct worker *worker, int descriptor, uint32_t number)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u32 = number};
    /* An edge is made by each write to an eventfd, so that nobody has to read it. */
    if (number == NO_CONNECTION) event.events = EPOLLIN | EPOLLET;
    if (epoll_ctl(worker->epoll_descriptor, EPOLL_CTL_ADD, descriptor, &event) != 0) die("epoll_ctl");
}

static void open_one(struct worker *worker, struct connection *connection)
{
    const size_t number = (size_t)(connection - connections);
    connection->stalled = is_stalled((long)number);
    connection->state = CONNECTING;
    const int receive_buffer_bytes = connection->stalled ? (int)plan.receive_buffer_bytes : 0;
    const char *cause = dial(&connection->descriptor, number, plan.port, receive_buffer_bytes);
    if (cause == NULL)
        watch(worker, connection->descriptor, (uint32_t)number);
    else
        lose(worker, connection, false, cause);
}

/* True when all of the message that is being sent is with the kernel. */
static bool send_request(void)
{
    ssize_t sent = send(connections->descriptor, request + request_sent_bytes, request_bytes - request_sent_bytes,
                        MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        lose(workers, connections, false, strerror(errno));
    else if (sent > 0)
        request_sent_bytes += (size_t)sent;
    return request_sent_bytes == request_bytes;
}

/* Sends what is due. Returns how long it is until more will be, or -1 if that is for others to tell. */
static int64_t publish(void)
{
    if (!atomic_load(&started) || atomic_load(&ended)) return -1;
    if (request_sent_bytes < request_bytes && !send_request()) return -1;
    for (uint32_t next; (next = atomic_load(&sent_messages)) < total_messages;) {
        const uint64_t now_ns = read_clock_ns(CLOCK_MONOTONIC), due = due_ns(next);
        if (now_ns < due) return (int64_t)(due - now_ns);
        add_time(&lateness, now_ns - due);
        request_bytes = put_request(request, next);
        request_sent_bytes = 0;
        atomic_store(&sent_messages, next + 1);
        if (!send_request()) return -1;
    }
    return -1;
}

static void on_event(struct worker *worker, struct connection *connection, uint32_t events)
{
    if (connection->state == CONNECTING && events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
        finish_connect(worker, connection);
    const bool hung_up = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    if (!hung_up && !(events & EPOLLIN)) return;
    if (connection->state == ANSWERING)
        read_head(worker, connection);
    else if (connection->state == READY)
        receive(worker, connection, hung_up);
}

/* Waits for `wait_ns`, or without an end if that is negative. Returns how many events there were. */
static int turn(struct worker *worker, int64_t wait_ns)
{
    struct epoll_event events[EVENTS_A_TURN];
    const struct timespec wait = {wait_ns / 1000000000, wait_ns % 1000000000};
    int total = epoll_pwait2(worker->epoll_descriptor, events, EVENTS_A_TURN, wait_ns < 0 ? NULL : &wait, NULL);
    if (total < 0 && errno != EINTR) die("epoll_pwait2");
    for (int i = 0; i < total; i++)
        if (events[i].data.u32 != NO_CONNECTION) on_event(worker, &connections[events[i].data.u32], events[i].events);
    return total;
}

static void open_all(struct worker *worker)
{
    worker->remaining = worker->count;
    for (long next = 0; worker->remaining > 0 && !atomic_load(&ended);) {
        while (next < worker->count && next - (worker->count - worker->remaining) < OPENING_LIMIT)
            open_one(worker, &connections[worker->first + next++]);
        if (worker->remaining > 0) turn(worker, -1);
    }
    /* A broadcast to some is not what was asked for. */
    if (worker->tally.opened - worker->tally.lost - worker->tally.wrong < worker->count) end_all();
    atomic_fetch_add(&workers_open, 1);
}

static void thaw(struct worker *worker)
{
    worker->thawed = true;
    for (long i = worker->first; i < worker->first + worker->count; i++)
        if (connections[i].stalled && connections[i].state == READY)
            watch(worker, connections[i].descriptor, (uint32_t)i);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    if (unshare(CLONE_FILES) != 0) die("unshare");
    worker->epoll_descriptor = epoll_create1(EPOLL_CLOEXEC);
    if (worker->epoll_descriptor < 0) die("epoll_create1");
    watch(worker, everyone_wake, NO_CONNECTION);
    open_all(worker);
    while (!atomic_load(&ended)) {
        if (!worker->thawed && atomic_load(&thawed)) thaw(worker);
        turn(worker, worker == workers ? publish() : -1);
    }
    /* A message that came once too often lies here, if anywhere. */
    while (turn(worker, 0) > 0) continue;
    for (long i = worker->first; i < worker->first + worker->count; i++)
        if (connections[i].state != UNBORN && connections[i].state != GONE) close_at_once(connections[i].descriptor);
    return NULL;
}

static struct receipts read_receipts(void)
{
    struct receipts sum = {0};
    for (long i = 0; i < total_workers; i++) {
        sum.messages += atomic_load(&workers[i].messages);
        sum.stalled_messages += atomic_load(&workers[i].stalled_messages);
        sum.bytes += atomic_load(&workers[i].bytes);
    }
    return sum;
}

/* What has arrived is read behind what was sent, or more might seem to be there than was. */
static bool look(struct view *view)
{
    view->stats_bytes = stats_bytes;
    if (!read_counts(plan.port, plan.patience_seconds, &view->counts)) return false;
    view->receipts = read_receipts();
    return true;
}

/* Whether no message has moved, whatever else has: a ping is no progress. */
static bool is_same(const struct view *left, const struct view *right)
{
    return left->receipts.messages == right->receipts.messages
           && left->receipts.stalled_messages == right->receipts.stalled_messages
           && left->counts.out == right->counts.out && left->counts.delivered == right->counts.delivered
           && left->counts.dropped == right->counts.dropped && left->counts.queued == right->counts.queued;
}

/* Waits until nothing is under way, and leaves what was seen then. Each look is answered by a server that has had a
 * turn since the one before, and a turn sends on what waits for that. */
static bool settle(struct view *view, bool all_read)
{
    struct view last;
    const long patience_looks = plan.patience_seconds * (1000000000 / LOOK_NS);
    long quiet = 0; /* looks without any byte */
    if (!look(&last)) return false;
    for (long same = 0; same < patience_looks;) {
        sleep_ns(LOOK_NS);
        if (atomic_load(&ended) || !look(view)) return false;
        same = is_same(&last, view) ? same + 1 : 0;
        quiet = same > 0 && last.receipts.bytes == view->receipts.bytes ? quiet + 1 : 0;
        last = *view;
        const bool arrived = view->counts.delivered == view->receipts.messages + view->receipts.stalled_messages;
        const bool gone = view->counts.queued == 0 && (arrived || view->counts.closed_slow > 0);
        if (quiet >= QUIET_LOOKS && view->counts.in == total_messages && (gone || !all_read)) return true;
    }
    return true; /* and what does not add up will be said */
}

/* Until the publisher has sent all; keeps the largest memory that was seen meanwhile. */
static bool run(struct memory *peak)
{
    const long patience_looks = plan.patience_seconds * (1000000000 / LOOK_NS);
    uint32_t last = 0;
    for (long same = 0; last < total_messages; same++) {
        sleep_ns(LOOK_NS);
        keep_peak(peak, read_memory(plan.server));
        const uint32_t now = atomic_load(&sent_messages);
        if (now != last) same = 0;
        last = now;
        if (atomic_load(&ended)) return false;
        if (same > patience_looks) {
            complain("nothing could be published for %ld s", plan.patience_seconds);
            return false;
        }
    }
    return true;
}

static void measure(struct outcome *outcome)
{
    struct stamp rested;
    const uint64_t opening_ns = read_clock_ns(CLOCK_MONOTONIC);
    while (atomic_load(&workers_open) < total_workers && !atomic_load(&ended)) {
        sleep_ns(LOOK_NS / 10);
        if (read_clock_ns(CLOCK_MONOTONIC) - opening_ns < (uint64_t)plan.patience_seconds * 1000000000) continue;
        complain("not all were open after %ld s", plan.patience_seconds);
        return;
    }
    if (!take_quiet_stamp((pid_t)plan.server, &rested)) complain("the server does not come to rest before it begins");
    struct view fresh;
    if (atomic_load(&ended) || !look(&fresh)) return;
    if (fresh.counts.in + fresh.counts.out > 0) {
        complain("this wants a server that has had no messages yet, so that what it counts is what comes now");
        return;
    }
    outcome->before = outcome->peak = read_memory(plan.server);
    first_due_ns = read_clock_ns(CLOCK_MONOTONIC) + HEAD_START_NS;
    atomic_store(&started, true);
    wake_everyone();
    if (!run(&outcome->peak) || !settle(&outcome->rest, plan.stalled == 0)) return;
    outcome->after = read_memory(plan.server);
    keep_peak(&outcome->peak, outcome->after);
    outcome->published = total_messages;
    atomic_store(&thawed, true);
    wake_everyone();
    outcome->complete = settle(&outcome->thawed, true);
}

static void prepare(void)
{
    total_workers = plan.threads + 1;
    total_messages = (uint32_t)(plan.per_s * plan.seconds);
    if (!write_upgrade("/broadcast", plan.port)) exit(2);
    if (!prepare_pattern(plan.payload_bytes)) die("malloc");
    request = allocate(1, HEADER_LIMIT_BYTES + KEY_BYTES + payload_bytes);
    connections = allocate((size_t)plan.connections, sizeof *connections);
    workers = allocate((size_t)total_workers, sizeof *workers);
    /* Opened before any table is copied, and so in each of them. */
    everyone_wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (everyone_wake < 0) die("eventfd");
    const long others = plan.connections - 1;
    for (long i = 0; i < total_workers; i++) {
        struct worker *worker = &workers[i];
        worker->buffer = allocate(1, BUFFER_BYTES);
        worker->count = 1;
        if (i == 0) continue;
        worker->first = 1 + others * (i - 1) / plan.threads;
        worker->count = 1 + others * i / plan.threads - worker->first;
    }
}

int main(int argc, char **argv)
{
    static struct tally sum;
    static struct outcome outcome;
    if (!read_plan(argc, argv)) return 2;
    prepare();
    for (long i = 0; i < total_workers; i++)
        if ((errno = pthread_create(&workers[i].thread, NULL, work, &workers[i])) != 0) die("pthread_create");
    measure(&outcome);
    end_all();
    for (long i = 0; i < total_workers; i++) {
        const struct tally *tally = &workers[i].tally;
        pthread_join(workers[i].thread, NULL);
        sum.opened += tally->opened, sum.wrong += tally->wrong, sum.lost += tally->lost;
        sum.pings += tally->pings, sum.closed += tally->closed;
        add_times(&sum.arrivals, &tally->arrivals);
    }
    outcome.lateness = lateness;
    const bool whole = outcome.complete && sum.opened == plan.connections && sum.wrong == 0 && sum.lost == 0;
    /* When somebody was lost, of course it does not add up. */
    if (whole) {
        check_counts(&outcome);
        check_thawed(&outcome, &sum);
    }
    report(&sum, &outcome);
    return whole && faults == 0 ? 0 : 1;
}
