/* Many polite connections and one that is not: WebSocket clients at /echo, each with one message in flight, at a
 * constant pace that they do not leave whatever happens; and, if asked for, one more that sends as fast as its socket
 * takes it. All check every byte. `fair --help` lists the flags.
 *
 * The round trip of a message counts from when it was due, not from when it was sent: what a server did not take, or
 * did not answer before the next one was due, counts as long as it lasted.
 *
 * Whether a server is fair shows only if the client is. So the greedy connection is a process of its own that has what
 * the polite ones leave of their core, and how long these waited for themselves is known: from when a message could be
 * sent until it was, and from when the kernel had its echo, which it stamps (SO_TIMESTAMPNS of socket(7)), until it was
 * read. On loopback the kernel has it as soon as the server has sent it. That wait is reported, and the round trips
 * without it are, next to those as they were. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dial.h"
#include "fair_greedy.h"
#include "fair_plan.h"
#include "in_order.h"
#include "times.h"

enum {
    BUFFER_BYTES = 1 << 16,
    EVENTS_A_TURN = 1024,
    OPENING_LIMIT = 256,
    HEAD_START_NS = 10000000,
};

struct connection {
    int descriptor;
    enum state state;
    bool waiting;      /* for the echo of a message */
    uint32_t message;  /* that one, or the next one; its messages are as far apart as there are connections */
    uint64_t could_ns; /* when it could have sent that: it was due, and the one before was back */
    uint64_t sent_ns;
    uint64_t free_ns; /* when the one before was back */
    struct receiver receiver;
};

/* From when it was due until it was read; the same without the client's own part of it; and that. */
static struct histogram round_trips, servers_part, clients_part;

static struct {
    long opened, replies, wrong, lost, pings, unstamped;
} tally;

static struct connection *connections;
static uint32_t total_messages, warm_up_messages;
static uint32_t next_due; /* all before it have been due */
static uint64_t first_due_ns;
static int epoll_descriptor;
static uint8_t *buffer, *request;

static uint64_t due_ns(uint32_t message)
{
    return first_due_ns + (uint64_t)message * 1000000000 / (uint64_t)plan.per_s;
}

static void lose(struct connection *connection, bool wrong, const char *cause)
{
    complain("connection %ld, message %u: %s", (long)(connection - connections), connection->message, cause);
    *(wrong ? &tally.wrong : &tally.lost) += 1;
    connection->state = GONE;
    close_at_once(connection->descriptor);
    drop_piece(&connection->receiver.piece);
}

static void send_message(struct connection *connection, uint64_t now_ns)
{
    const uint32_t message = connection->message;
    const uint64_t due = due_ns(message);
    const size_t request_bytes = put_request(request, message);
    connection->waiting = true;
    connection->receiver.next_message = message;
    connection->could_ns = due > connection->free_ns ? due : connection->free_ns;
    connection->sent_ns = now_ns;
    if (send(connection->descriptor, request, request_bytes, MSG_NOSIGNAL) != (ssize_t)request_bytes)
        lose(connection, false, "an empty socket did not take a message");
}

/* One that still waits sends its next message when it does not wait any more. */
static void send_due(void)
{
    while (next_due < total_messages) {
        const uint64_t now_ns = read_clock_ns(CLOCK_MONOTONIC);
        if (due_ns(next_due) > now_ns) return;
        struct connection *connection = &connections[next_due % (uint32_t)plan.connections];
        if (connection->state == READY && !connection->waiting && connection->message == next_due)
            send_message(connection, now_ns);
        next_due++;
    }
}

static void count_reply(struct connection *connection, uint64_t arrived_ns, uint64_t now_ns)
{
    const uint64_t round_trip_ns = now_ns - due_ns(connection->message);
    const uint64_t own_ns = connection->sent_ns - connection->could_ns + (now_ns - arrived_ns);
    tally.replies++;
    if (connection->message >= warm_up_messages) {
        add_time(&round_trips, round_trip_ns);
        add_time(&clients_part, own_ns);
        add_time(&servers_part, round_trip_ns - own_ns);
    }
    connection->waiting = false;
    connection->free_ns = arrived_ns;
    connection->message += (uint32_t)plan.connections;
    if (connection->message < next_due) send_message(connection, now_ns);
}

static void answer_ping(struct connection *connection)
{
    uint8_t pong[CONTROL_LIMIT_BYTES + KEY_BYTES];
    const size_t pong_bytes = put_pong(pong, connection->receiver.piece);
    drop_piece(&connection->receiver.piece);
    tally.pings++;
    (void)send(connection->descriptor, pong, pong_bytes, MSG_NOSIGNAL);
}

static void take(struct connection *connection, size_t length_bytes, uint64_t arrived_ns, uint64_t now_ns)
{
    for (const uint8_t *bytes = buffer, *end = bytes + length_bytes; bytes < end && connection->state == READY;) {
        const uint32_t sent_messages = connection->waiting ? connection->message + 1 : 0;
        switch (check(&connection->receiver, &bytes, end, sent_messages)) {
        case WRONG: lose(connection, true, "something else came back"); break;
        case PART: break;
        case MESSAGE: count_reply(connection, arrived_ns, now_ns); break;
        case CONTROL: answer_ping(connection); break;
        }
    }
}

/* When the kernel had the last of what was read, by the clock that has no steps; 0 if it did not say. */
static uint64_t read_arrival_ns(struct msghdr *message, uint64_t now_ns)
{
    const uint64_t wall_ns = read_clock_ns(CLOCK_REALTIME);
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL; part = CMSG_NXTHDR(message, part)) {
        struct timespec time;
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_TIMESTAMPNS) continue;
        memcpy(&time, CMSG_DATA(part), sizeof time);
        const uint64_t stamped_ns = (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
        return stamped_ns < wall_ns ? now_ns - (wall_ns - stamped_ns) : now_ns;
    }
    return 0;
}

static void receive(struct connection *connection, bool hung_up)
{
    /* A short read has drained the socket, except for an end of the stream that came before the event was taken. */
    for (ssize_t got = BUFFER_BYTES; connection->state == READY && (hung_up || got == BUFFER_BYTES);) {
        union {
            struct cmsghdr first; /* for its alignment */
            char bytes[256];
        } control;
        struct iovec room = {buffer, BUFFER_BYTES};
        struct msghdr message = {.msg_iov = &room, .msg_iovlen = 1, .msg_control = &control,
                                 .msg_controllen = sizeof control};
        got = recvmsg(connection->descriptor, &message, 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) {
            lose(connection, false, got == 0 ? "the server closed" : strerror(errno));
            return;
        }
        const uint64_t now_ns = read_clock_ns(CLOCK_MONOTONIC), stamped_ns = read_arrival_ns(&message, now_ns);
        /* None, or one from before the message: the clock was set meanwhile. */
        const bool known = stamped_ns != 0 && (!connection->waiting || stamped_ns >= connection->sent_ns);
        if (!known && connection->waiting && connection->message >= warm_up_messages) tally.unstamped++;
        take(connection, (size_t)got, known ? stamped_ns : now_ns, now_ns);
    }
}

static void read_head(struct connection *connection)
{
    int yes = 1;
    const char *cause;
    struct piece **piece = &connection->receiver.piece;
    const enum answer answer = read_answer(connection->descriptor, piece, buffer, BUFFER_BYTES, &cause);
    if (answer == ANSWER_PART) return;
    if (answer != ANSWER_WHOLE) {
        lose(connection, answer == ANSWER_WRONG, cause);
        return;
    }
    drop_piece(piece);
    setsockopt(connection->descriptor, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes);
    connection->state = READY;
    tally.opened++;
}

static void finish_connect(struct connection *connection)
{
    connection->state = ANSWERING;
    const char *cause = send_upgrade(connection->descriptor);
    if (cause != NULL) lose(connection, false, cause);
}

static void on_event(struct connection *connection, uint32_t events)
{
    if (connection->state == CONNECTING && events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) finish_connect(connection);
    const bool hung_up = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    if (!hung_up && !(events & EPOLLIN)) return;
    if (connection->state == ANSWERING)
        read_head(connection);
    else if (connection->state == READY)
        receive(connection, hung_up);
}

/* Waits for `wait_ns` at most. Returns how many events there were. */
static int turn(uint64_t wait_ns)
{
    static struct epoll_event events[EVENTS_A_TURN];
    const struct timespec wait = {(time_t)(wait_ns / 1000000000), (long)(wait_ns % 1000000000)};
    int count = epoll_pwait2(epoll_descriptor, events, EVENTS_A_TURN, &wait, NULL);
    if (count < 0 && errno != EINTR) die("epoll_pwait2");
    for (int i = 0; i < count; i++) on_event(&connections[events[i].data.u32], events[i].events);
    return count;
}

static void open_one(struct connection *connection)
{
    const size_t number = (size_t)(connection - connections);
    connection->state = CONNECTING;
    connection->message = (uint32_t)number;
    const char *cause = dial(&connection->descriptor, number, plan.port, 0);
    if (cause != NULL) {
        lose(connection, false, cause);
        return;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u32 = (uint32_t)number};
    if (epoll_ctl(epoll_descriptor, EPOLL_CTL_ADD, connection->descriptor, &event) != 0) die("epoll_ctl");
}

static bool open_all(void)
{
    for (long next = 0; tally.opened < plan.connections && tally.lost + tally.wrong == 0;) {
        while (next < plan.connections && next - tally.opened < OPENING_LIMIT) open_one(&connections[next++]);
        if (turn((uint64_t)plan.patience_seconds * 1000000000) > 0) continue;
        complain("nothing came for %ld s", plan.patience_seconds);
        return false;
    }
    return tally.lost + tally.wrong == 0;
}

/* What the processor and the greedy connection had done at a time. */
struct mark {
    struct stamp stamp;
    uint64_t at_ns;
    unsigned long greedy_replies;
};

static struct mark take_mark(struct shared *shared)
{
    return (struct mark){take_stamp((pid_t)plan.server), read_clock_ns(CLOCK_MONOTONIC),
                         shared == NULL ? 0 : atomic_load(&shared->replies)};
}

/* Sends all messages, each when it is due, until all are back. */
static void play(struct shared *shared, struct mark *from, struct mark *to)
{
    const uint64_t patience_ns = (uint64_t)plan.patience_seconds * 1000000000;
    uint64_t heard_ns = first_due_ns = read_clock_ns(CLOCK_MONOTONIC) + HEAD_START_NS;
    bool begun = false;
    if (shared != NULL) atomic_store(&shared->phase, SEND);
    while (tally.replies < (long)total_messages && tally.lost + tally.wrong == 0) {
        if (!begun && next_due >= warm_up_messages) *from = take_mark(shared), begun = true;
        send_due();
        const uint64_t now_ns = read_clock_ns(CLOCK_MONOTONIC);
        const uint64_t until_ns = next_due < total_messages ? due_ns(next_due) : now_ns + patience_ns;
        if (turn(until_ns > now_ns ? until_ns - now_ns : 0) > 0) heard_ns = now_ns;
        if (now_ns < heard_ns || now_ns - heard_ns < patience_ns) continue;
        complain("nothing came back for %ld s", plan.patience_seconds);
        break;
    }
    *to = take_mark(shared);
}

/* Flat, so that a script can read it without a JSON parser. Without all replies there are no times. */
static void report(const struct mark *from, const struct mark *to, bool whole)
{
    const double seconds = (double)(to->at_ns - from->at_ns) * 1e-9;
    printf("{\"schema\":\"steadfast-fair-1\",\"connections\":%ld,\"per_s\":%ld,\"seconds\":%ld,\"payload_bytes\":%ld,"
           "\"greedy_bytes\":%ld,\"opened\":%ld,\"messages\":%u,\"replies\":%ld,\"wrong\":%ld,\"lost\":%ld,"
           "\"pings\":%ld,\"unstamped\":%ld",
           plan.connections, plan.per_s, plan.seconds, plan.payload_bytes, plan.greedy_bytes, tally.opened,
           total_messages, tally.replies, tally.wrong, tally.lost, tally.pings, tally.unstamped);
    if (whole) {
        printf(",\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,\"server_p50_us\":%.1f,\"server_p99_us\":%.1f,"
               "\"server_max_us\":%.1f,\"client_p99_us\":%.1f,\"client_max_us\":%.1f",
               quantile_us(&round_trips, 500), quantile_us(&round_trips, 990), (double)round_trips.max_ns / 1000,
               quantile_us(&servers_part, 500), quantile_us(&servers_part, 990), (double)servers_part.max_ns / 1000,
               quantile_us(&clients_part, 990), (double)clients_part.max_ns / 1000);
        printf(",\"greedy_per_s\":%.0f,\"client_busy\":%.3f",
               (double)(to->greedy_replies - from->greedy_replies) / seconds,
               (double)(to->stamp.client_ns - from->stamp.client_ns) * 1e-9 / seconds);
        if (from->stamp.server_known && to->stamp.server_known)
            printf(",\"server_busy\":%.3f",
                   (double)(to->stamp.server_ns - from->stamp.server_ns) * 1e-9 / seconds);
        else
            printf(",\"server_busy\":null");
    }
    puts("}");
}

static void prepare(void)
{
    total_messages = (uint32_t)(plan.per_s * (plan.seconds + plan.warm_up_seconds));
    warm_up_messages = (uint32_t)(plan.per_s * plan.warm_up_seconds);
    if (!prepare_pattern(plan.payload_bytes)) die("malloc");
    request = allocate(1, HEADER_LIMIT_BYTES + KEY_BYTES + payload_bytes);
    buffer = allocate(1, BUFFER_BYTES);
    connections = allocate((size_t)plan.connections, sizeof *connections);
    epoll_descriptor = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_descriptor < 0) die("epoll_create1");
    /* The kernel lets a timer be late by 50 us otherwise, PR_SET_TIMERSLACK of prctl(2). */
    if (prctl(PR_SET_TIMERSLACK, 1) != 0) die("PR_SET_TIMERSLACK");
}

int main(int argc, char **argv)
{
    struct mark from = {0}, to = {0};
    pid_t process = 0;
    if (!read_plan(argc, argv) || !write_upgrade("/echo", plan.port)) return 2;
    struct shared *shared = plan.greedy_bytes > 0 ? start_greedy(&process) : NULL;
    prepare();
    if (open_all()) play(shared, &from, &to);
    const bool all_back = tally.replies == (long)total_messages && tally.wrong == 0 && tally.lost == 0;
    const bool whole = (shared == NULL || stop_greedy(shared, process)) && all_back;
    for (long i = 0; i < plan.connections; i++)
        if (connections[i].state != UNBORN && connections[i].state != GONE) close_at_once(connections[i].descriptor);
    report(&from, &to, whole);
    return whole ? 0 : 1;
}
