/* The receivers of a broadcast: many WebSocket clients, of which the first is the publisher too. They check every byte
 * that comes, and say how long it took to come and how much processor time both sides spent on it. `fanout --help`
 * lists the flags.
 *
 * RLIMIT_NOFILE bounds a descriptor table, not a process: each thread takes a table of its own, and an edge-triggered
 * epoll, and holds its share of the connections. All connections are open before the first message is sent, and a
 * message is sent when the one before it (with --in-flight K: K before it) has come to all. */
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
#include "fanout_plan.h"
#include "fanout_report.h"
#include "in_order.h"

enum {
    BUFFER_BYTES = 1 << 18,
    EVENTS_A_TURN = 1024,
    OPENING_LIMIT = 256, /* of each thread */
    NO_CONNECTION = UINT32_MAX, /* an event that only wakes */
};

struct connection {
    int descriptor;
    enum state state;
    struct receiver receiver;
};

struct worker {
    pthread_t thread;
    long first, count; /* of the connections that are its own */
    long remaining;    /* to be opened */
    int epoll_descriptor;
    uint8_t *buffer;
    uint32_t *settled; /* for each message: how many have it, or will never */
    uint64_t *first_ns, *last_ns;
    struct tally tally;
};

static struct connection *connections;
static struct worker *workers;
static uint32_t total_messages; /* the warm-up included */
static uint8_t *request;        /* the message that the publisher is sending */
static size_t request_bytes, request_sent_bytes;
static int publisher_wake, everyone_wake;
static struct stamp before, after;

static _Atomic uint32_t sent_messages;
static _Atomic uint64_t *sent_ns;    /* for each message */
static atomic_long *workers_settled; /* for each message */
static atomic_long workers_open;
static atomic_bool ended;

static void wake(int eventfd_descriptor)
{
    const uint64_t one = 1;
    if (write(eventfd_descriptor, &one, sizeof one) < 0) die("eventfd");
}

static void end_all(void)
{
    atomic_store(&ended, true);
    wake(everyone_wake);
}

static bool is_publisher(const struct worker *worker) { return worker == workers; }

/* Whoever makes a message complete tells the publisher, unless that is itself: it looks at the end of each turn. */
static void settle(struct worker *worker, uint32_t message)
{
    if (++worker->settled[message] < worker->count) return;
    if (atomic_fetch_add(&workers_settled[message], 1) + 1 == plan.threads && !is_publisher(worker))
        wake(publisher_wake);
}

/* The others go on without it, so that in the end it is known how many were lost; nothing goes on without the
 * publisher. */
static void lose(struct worker *worker, struct connection *connection, bool wrong, const char *cause)
{
    struct receiver *receiver = &connection->receiver;
    complain("connection %ld, message %u: %s", (long)(connection - connections), receiver->next_message, cause);
    *(wrong ? &worker->tally.wrong : &worker->tally.lost) += 1;
    if (connection->state != READY) worker->remaining--;
    connection->state = GONE;
    close(connection->descriptor);
    drop_piece(&receiver->piece);
    while (receiver->next_message < total_messages) settle(worker, receiver->next_message++);
    if (connection == connections) end_all();
}

static void count_delivery(struct worker *worker, uint32_t message, uint64_t now_ns)
{
    if (worker->first_ns[message] == 0) worker->first_ns[message] = now_ns;
    worker->last_ns[message] = now_ns;
    if (message >= plan.warm_up) {
        worker->tally.deliveries++;
        add_time(&worker->tally.arrivals, now_ns - atomic_load(&sent_ns[message]));
    }
    settle(worker, message);
}

static void answer_ping(struct worker *worker, struct connection *connection)
{
    uint8_t pong[CONTROL_LIMIT_BYTES + KEY_BYTES];
    const size_t pong_bytes = put_pong(pong, connection->receiver.piece);
    drop_piece(&connection->receiver.piece);
    worker->tally.pings++;
    /* Within the publisher's message nothing may stand, and it proves as well as any pong that there is life. What
     * keeps a pong from being sent, the next recv will meet as well. */
    if (connection == connections && request_sent_bytes < request_bytes) return;
    (void)send(connection->descriptor, pong, pong_bytes, MSG_NOSIGNAL);
}

/* False when what came is not what had to come. */
static bool take(struct worker *worker, struct connection *connection, size_t length_bytes)
{
    const uint64_t now_ns = read_clock_ns(CLOCK_MONOTONIC);
    const uint8_t *bytes = worker->buffer, *end = bytes + length_bytes;
    while (bytes < end) {
        switch (check(&connection->receiver, &bytes, end, atomic_load(&sent_messages))) {
        case WRONG: return false;
        case PART: break;
        case MESSAGE: count_delivery(worker, connection->receiver.next_message - 1, now_ns); break;
        case CONTROL: answer_ping(worker, connection); break;
        }
    }
    return true;
}

static void receive(struct worker *worker, struct connection *connection, bool hung_up)
{
    /* A short read has drained the socket, except for an end of the stream that came before the event was taken. */
    for (ssize_t got = BUFFER_BYTES; hung_up || got == BUFFER_BYTES;) {
        got = recv(connection->descriptor, worker->buffer, BUFFER_BYTES, 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) {
            lose(worker, connection, false, got == 0 ? "the server closed" : strerror(errno));
            return;
        }
        if (!take(worker, connection, (size_t)got)) {
            lose(worker, connection, true, "something else came");
            return;
        }
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
    drop_piece(piece);
    connection->state = READY;
    worker->tally.opened++;
    worker->remaining--;
}

static void finish_connect(struct worker *worker, struct connection *connection)
{
    connection->state = ANSWERING;
    const char *cause = send_upgrade(connection->descriptor);
    if (cause != NULL) lose(worker, connection, false, cause);
}

static void open_one(struct worker *worker, struct connection *connection)
{
    connection->state = CONNECTING;
    const char *cause = dial(&connection->descriptor, (size_t)(connection - connections), plan.port, 0);
    if (cause != NULL) {
        lose(worker, connection, false, cause);
        return;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.u32 = (uint32_t)(connection - connections)};
    if (epoll_ctl(worker->epoll_descriptor, EPOLL_CTL_ADD, connection->descriptor, &event) != 0) die("epoll_ctl");
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

static bool send_message(uint32_t message)
{
    request_bytes = put_request(request, message);
    request_sent_bytes = 0;
    atomic_store(&sent_ns[message], read_clock_ns(CLOCK_MONOTONIC));
    atomic_store(&sent_messages, message + 1);
    return send_request();
}

static bool is_complete(uint32_t message) { return atomic_load(&workers_settled[message]) == plan.threads; }

/* Nothing of the warm-up is under way any more when what is counted begins. */
static bool may_send(uint32_t message)
{
    const uint32_t depth = message == plan.warm_up ? 1 : (uint32_t)plan.in_flight;
    return message < depth || is_complete(message - depth);
}

static struct stamp rest(void)
{
    struct stamp stamp;
    if (!take_quiet_stamp(plan.server, &stamp))
        complain("the server does not come to rest; its processor time is not only that of the broadcasts");
    return stamp;
}

static void publish(void)
{
    if (atomic_load(&workers_open) < plan.threads || atomic_load(&ended)) return;
    if (request_sent_bytes < request_bytes && !send_request()) return;
    for (uint32_t next; (next = atomic_load(&sent_messages)) < total_messages && may_send(next);) {
        if (next == plan.warm_up) before = rest();
        if (!send_message(next)) return;
    }
    if (atomic_load(&sent_messages) < total_messages || !is_complete(total_messages - 1)) return;
    after = rest();
    end_all();
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

/* Returns how many events there were. */
static int turn(struct worker *worker, int timeout_ms)
{
    struct epoll_event events[EVENTS_A_TURN];
    int count = epoll_wait(worker->epoll_descriptor, events, EVENTS_A_TURN, timeout_ms);
    if (count < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < count; i++)
        if (events[i].data.u32 != NO_CONNECTION) on_event(worker, &connections[events[i].data.u32], events[i].events);
    if (is_publisher(worker)) publish();
    return count;
}

static void turn_patiently(struct worker *worker)
{
    if (turn(worker, (int)plan.patience_seconds * 1000) != 0) return;
    complain("nothing came for %ld s", plan.patience_seconds);
    end_all();
}

static void watch(struct worker *worker, int descriptor)
{
    /* An edge is made by each write, so that nobody has to read. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = NO_CONNECTION};
    if (epoll_ctl(worker->epoll_descriptor, EPOLL_CTL_ADD, descriptor, &event) != 0) die("epoll_ctl");
}

static void open_all(struct worker *worker)
{
    worker->remaining = worker->count;
    for (long next = 0; worker->remaining > 0 && !atomic_load(&ended);) {
        while (next < worker->count && next - (worker->count - worker->remaining) < OPENING_LIMIT)
            open_one(worker, &connections[worker->first + next++]);
        if (worker->remaining > 0) turn_patiently(worker);
    }
    /* A broadcast to some is not what was asked for. */
    if (worker->tally.opened - worker->tally.lost - worker->tally.wrong < worker->count) end_all();
    if (atomic_fetch_add(&workers_open, 1) + 1 == plan.threads) wake(publisher_wake);
}

static void close_all(struct worker *worker)
{
    for (long i = worker->first; i < worker->first + worker->count; i++) {
        struct connection *connection = &connections[i];
        if (connection->state == UNBORN || connection->state == GONE) continue;
        close_at_once(connection->descriptor);
    }
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    if (unshare(CLONE_FILES) != 0) die("unshare");
    worker->epoll_descriptor = epoll_create1(EPOLL_CLOEXEC);
    if (worker->epoll_descriptor < 0) die("epoll_create1");
    watch(worker, everyone_wake);
    if (is_publisher(worker)) watch(worker, publisher_wake);
    open_all(worker);
    while (!atomic_load(&ended)) turn_patiently(worker);
    /* A message that came once too often lies here, if anywhere. */
    while (turn(worker, 0) > 0) continue;
    close_all(worker);
    return NULL;
}

static void prepare(void)
{
    total_messages = (uint32_t)(plan.warm_up + plan.messages);
    if (!write_upgrade(plan.path, plan.port)) exit(2);
    if (!prepare_pattern(plan.payload_bytes)) die("malloc");
    request = allocate(1, HEADER_LIMIT_BYTES + KEY_BYTES + payload_bytes);
    connections = allocate((size_t)plan.connections, sizeof *connections);
    workers = allocate((size_t)plan.threads, sizeof *workers);
    workers_settled = allocate(total_messages, sizeof *workers_settled);
    sent_ns = allocate(total_messages, sizeof *sent_ns);
    /* Opened before any table is copied, and so in each of them. */
    publisher_wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    everyone_wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (publisher_wake < 0 || everyone_wake < 0) die("eventfd");
    for (long i = 0; i < plan.threads; i++) {
        struct worker *worker = &workers[i];
        worker->first = plan.connections * i / plan.threads;
        worker->count = plan.connections * (i + 1) / plan.threads - worker->first;
        worker->buffer = allocate(1, BUFFER_BYTES);
        worker->settled = allocate(total_messages, sizeof *worker->settled);
        worker->first_ns = allocate(total_messages, sizeof *worker->first_ns);
        worker->last_ns = allocate(total_messages, sizeof *worker->last_ns);
    }
}

/* Leaves in `spreads_ns` the time from each counted message's first arrival to its last. Returns the seconds from the
 * first of them that was sent to the last arrival. */
static double measure_spreads(uint64_t *spreads_ns)
{
    uint64_t end_ns = 0;
    for (uint32_t message = (uint32_t)plan.warm_up; message < total_messages; message++) {
        uint64_t first_ns = UINT64_MAX, last_ns = 0;
        for (long i = 0; i < plan.threads; i++) {
            if (workers[i].first_ns[message] < first_ns) first_ns = workers[i].first_ns[message];
            if (workers[i].last_ns[message] > last_ns) last_ns = workers[i].last_ns[message];
        }
        spreads_ns[message - plan.warm_up] = last_ns - first_ns;
        if (last_ns > end_ns) end_ns = last_ns;
    }
    return (double)(end_ns - atomic_load(&sent_ns[plan.warm_up])) * 1e-9;
}

int main(int argc, char **argv)
{
    if (!read_plan(argc, argv)) return 2;
    prepare();
    for (long i = 0; i < plan.threads; i++)
        if ((errno = pthread_create(&workers[i].thread, NULL, work, &workers[i])) != 0) die("pthread_create");
    static struct tally sum;
    for (long i = 0; i < plan.threads; i++) {
        pthread_join(workers[i].thread, NULL);
        add_tally(&sum, &workers[i].tally);
    }
    /* So that whoever stops the server next does not find it with more or less of the ends still to be seen. */
    rest();
    uint64_t *spreads_ns = allocate((size_t)plan.messages, sizeof *spreads_ns);
    double seconds = measure_spreads(spreads_ns);
    report(&sum, spreads_ns, seconds, before, after);
    free(spreads_ns);
    bool whole = sum.opened == plan.connections && sum.deliveries == plan.connections * plan.messages && sum.wrong == 0
                 && sum.lost == 0;
    return whole ? 0 : 1;
}
