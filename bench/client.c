/* The client: WebSocket connections of which every byte that comes is compared with the expected one. The first fault
 * ends it with an error, so that no figure exists of a run with one. `client` without words lists modes and flags.
 *
 * Each thread has an edge-triggered epoll; no library. An echo has one thread, and three steps of which each ends before
 * the next begins: all connections shake hands, all active ones exchange their messages, all are closed. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "program.h"
#include "wire.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum {
    BUFFER_BYTES = 1 << 20,
    EVENTS_A_TURN = 1024,
    OPENING_LIMIT = 256, /* of each thread */
    HEAD_LIMIT_BYTES = 4096,
    SOURCE_ADDRESSES = 250,
    PATTERN_STARTS = 65521, /* prime, so that neighbouring messages start far apart */
    HEADER_LIMIT_BYTES = 14,
    PATIENCE_S = 300,
    NO_CONNECTION = UINT32_MAX, /* an event that only wakes */
};

enum state { UNBORN, CONNECTING, ANSWERING, READY, ECHOING, CLOSING, GONE };

struct connection {
    int descriptor;
    enum state state;
    bool active;
    uint32_t sent_messages, received_messages;
    size_t done_bytes; /* of the frame that is being received */
    struct tail *unsent;
};

/* A thread with its share of the connections. */
struct worker {
    pthread_t thread;
    long first, count;
    long remaining; /* in the step at hand */
    int epoll_descriptor;
    uint8_t *buffer;
    uint32_t *settled; /* of a broadcast: how many have received each message */
};

static struct {
    long port, server_pid, connections, messages, payload_bytes, in_flight, idle, close_frames, offer_deflate, greedy;
} plan = {.connections = 1, .messages = 1, .payload_bytes = 20, .in_flight = 1};

static struct connection *connections;
static struct worker *workers;
static _Thread_local struct worker *me;
static long total_connections;
static uint8_t *burst, *pattern, reply_header[10];
static size_t header_bytes; /* of a reply; a request adds its key */
static char request[320];
static volatile sig_atomic_t stopping; /* a greedy client ends when what it has sent is back */
static bool fans_out;

static void count_delivery(struct connection *connection, uint64_t now_ns);
static uint32_t published_messages(void);

__attribute__((noreturn))
static void fail(const struct connection *connection, const char *cause)
{
    fprintf(stderr, "client: connection %ld, message %u: %s\n", (long)(connection - connections),
            connection->received_messages, cause);
    exit(1);
}

static void settle(struct connection *connection, enum state state) { connection->state = state, me->remaining--; }

struct stamp {
    uint64_t wall_ns, client_ns, server_ns;
};

/* The processor clock of another process counts nanoseconds of all its threads, ended ones included. A thread that runs
 * at this moment on another core is counted up to its last tick only, so server and client share a core, or rest. */
static struct stamp take_stamp(void)
{
    clockid_t clock;
    struct stamp stamp = {read_clock_ns(CLOCK_MONOTONIC), read_clock_ns(CLOCK_PROCESS_CPUTIME_ID), 0};
    if (plan.server_pid == 0) return stamp;
    if (clock_getcpuclockid((pid_t)plan.server_pid, &clock) != 0) die("the server's processor clock");
    stamp.server_ns = read_clock_ns(clock);
    return stamp;
}

/* What the socket does not take is kept for the next EPOLLOUT edge. */
static void send_all(struct connection *connection, const uint8_t *bytes, size_t length_bytes)
{
    ssize_t sent = send(connection->descriptor, bytes, length_bytes, MSG_NOSIGNAL);
    if (sent == (ssize_t)length_bytes) return;
    if (sent < 0 && errno != EAGAIN) fail(connection, strerror(errno));
    if (sent < 0) sent = 0;
    connection->unsent = keep(bytes + sent, length_bytes - (size_t)sent);
}

static void send_unsent(struct connection *connection)
{
    struct tail *tail = connection->unsent;
    connection->unsent = NULL;
    send_all(connection, tail->bytes, tail->length_bytes);
    free(tail);
}

/* RFC 6455, 5.3 wants keys that a page's script cannot foresee. No script is here, and a cheap sequence suffices as
 * long as it never yields zero, which would spare the server its work. */
static uint32_t next_key(void)
{
    static uint32_t key = 2463534242;
    key ^= key << 13, key ^= key >> 17, key ^= key << 5;
    return key;
}

/* A message of a broadcast is the same for all, and so it is that of connection 0. */
static const uint8_t *pattern_of(const struct connection *connection, uint32_t message)
{
    const size_t number = fans_out ? 0 : (size_t)(connection - connections);
    return pattern + (number * 7919 + (size_t)message * 40503) % PATTERN_STARTS;
}

static void send_burst(struct connection *connection)
{
    const long left = plan.greedy ? plan.in_flight : plan.messages - connection->sent_messages;
    uint8_t *write = burst;
    for (long frames = left < plan.in_flight ? left : plan.in_flight; frames > 0; frames--) {
        const uint32_t key = next_key();
        memcpy(write, reply_header, header_bytes);
        write[1] |= MASKED;
        memcpy(write + header_bytes, &key, sizeof key);
        write += header_bytes + sizeof key;
        mask_forward(write, pattern_of(connection, connection->sent_messages++), (size_t)plan.payload_bytes, key);
        write += plan.payload_bytes;
    }
    send_all(connection, burst, (size_t)(write - burst));
}

/* What has to come is known to the byte, header included: RFC 6455, 5.2 allows one way to write a length. So it is
 * compared as it arrives, in whatever pieces, and nothing is gathered. */
static void check(struct connection *connection, const uint8_t *bytes, size_t length_bytes, uint64_t now_ns)
{
    const size_t frame_bytes = header_bytes + (size_t)plan.payload_bytes;
    while (length_bytes > 0) {
        if (connection->received_messages == (fans_out ? published_messages() : connection->sent_messages))
            fail(connection, "it was not sent");
        const size_t done_bytes = connection->done_bytes;
        const bool in_header = done_bytes < header_bytes;
        const uint8_t *expected = in_header ? reply_header + done_bytes
                                            : pattern_of(connection, connection->received_messages) + done_bytes - header_bytes;
        size_t piece_bytes = (in_header ? header_bytes : frame_bytes) - done_bytes;
        if (piece_bytes > length_bytes) piece_bytes = length_bytes;
        if (memcmp(bytes, expected, piece_bytes) != 0) fail(connection, "something else came");
        bytes += piece_bytes, length_bytes -= piece_bytes;
        connection->done_bytes += piece_bytes;
        if (connection->done_bytes < frame_bytes) continue;
        connection->done_bytes = 0;
        if (fans_out) count_delivery(connection, now_ns);
        connection->received_messages++;
    }
}

/* The key of every handshake here is RFC 6455's own example (1.3), and with it the accept value of the answer. */
static void check_head(const struct connection *connection, const char *head, size_t length_bytes)
{
    static const char agreed[] = "\r\nSec-WebSocket-Extensions: permessage-deflate;";
    const char *end = memmem(head, length_bytes, "\r\n\r\n", 4);
    if (length_bytes < 13 || memcmp(head, "HTTP/1.1 101 ", 13) != 0) fail(connection, "the handshake was refused");
    if (end != head + length_bytes - 4) fail(connection, "bytes after the answer to the handshake");
    if (memmem(head, length_bytes, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", 30) == NULL)
        fail(connection, "a wrong accept value");
    if ((memmem(head, length_bytes, agreed, sizeof agreed - 1) != NULL) != plan.offer_deflate)
        fail(connection, "compression was offered and declined, or the other way round");
}

static ssize_t receive(struct connection *connection, int flags)
{
    const ssize_t got = recv(connection->descriptor, me->buffer, BUFFER_BYTES, flags);
    if (got < 0 && errno != EAGAIN) fail(connection, strerror(errno));
    if (got == 0) fail(connection, "the server closed");
    return got;
}

/* An answer that is not whole yet stays in the socket, where its next piece makes an edge. */
static void read_head(struct connection *connection)
{
    ssize_t got = receive(connection, MSG_PEEK);
    if (got < 0 || (got < HEAD_LIMIT_BYTES && memmem(me->buffer, (size_t)got, "\r\n\r\n", 4) == NULL)) return;
    got = receive(connection, 0);
    check_head(connection, (const char *)me->buffer, (size_t)got);
    settle(connection, READY);
}

/* Sends more when all replies are there, or, if greedy, when as many are missing as are sent at a time. */
static void go_on(struct connection *connection)
{
    const uint32_t missing = connection->sent_messages - connection->received_messages;
    if (connection->unsent != NULL || missing > (plan.greedy && !stopping ? (uint32_t)plan.in_flight : 0)) return;
    if (plan.greedy ? stopping : connection->received_messages == plan.messages)
        settle(connection, READY);
    else
        send_burst(connection);
}

static void read_messages(struct connection *connection, bool hung_up)
{
    /* A short read has drained the socket, except for an end of the stream that came before the event was taken. */
    for (ssize_t got = BUFFER_BYTES; (hung_up || got == BUFFER_BYTES) && (got = receive(connection, 0)) > 0;)
        check(connection, me->buffer, (size_t)got, fans_out ? read_clock_ns(CLOCK_MONOTONIC) : 0);
    if (connection->state == ECHOING) go_on(connection);
}

/* A lone end of the stream is answered by the server's own end; what comes before it does not matter then. After a
 * Close frame exactly one Close frame has to come (RFC 6455, 5.5.1), and the server ends the stream (7.1.1). */
static void read_end(struct connection *connection)
{
    uint8_t bytes[256];
    for (ssize_t got; (got = recv(connection->descriptor, bytes, sizeof bytes, 0)) != 0;) {
        if (got < 0 && errno == EAGAIN) return;
        if (got < 0 && plan.close_frames) fail(connection, strerror(errno));
        if (got < 0) break;
        if (plan.close_frames && connection->done_bytes == 0 && bytes[0] != (FIN | CLOSE))
            fail(connection, "no Close frame for a Close frame");
        connection->done_bytes += (size_t)got;
    }
    if (plan.close_frames && (connection->done_bytes < 2 || connection->done_bytes > 127))
        fail(connection, "no proper Close frame");
    close(connection->descriptor);
    settle(connection, GONE);
}

static void finish_connect(struct connection *connection)
{
    int error = 0;
    socklen_t length_bytes = sizeof error;
    getsockopt(connection->descriptor, SOL_SOCKET, SO_ERROR, &error, &length_bytes);
    if (error != 0) fail(connection, strerror(error));
    connection->state = ANSWERING;
    send_all(connection, (const uint8_t *)request, strlen(request));
}

static void on_event(struct connection *connection, uint32_t events)
{
    if (connection->state == CONNECTING && events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) finish_connect(connection);
    if (connection->unsent != NULL && events & EPOLLOUT) send_unsent(connection);
    const bool hung_up = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    if (!hung_up && !(events & EPOLLIN)) return;
    switch (connection->state) {
    case ANSWERING: read_head(connection); break;
    case READY:
    case ECHOING: read_messages(connection, hung_up); break;
    case CLOSING: read_end(connection); break;
    default: break;
    }
}

/* Returns how many events there were. */
static int turn(int timeout_ms)
{
    struct epoll_event events[EVENTS_A_TURN];
    const int count = epoll_wait(me->epoll_descriptor, events, EVENTS_A_TURN, timeout_ms);
    if (count < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < count; i++)
        if (events[i].data.u32 != NO_CONNECTION) on_event(&connections[events[i].data.u32], events[i].events);
    return count;
}

static void turn_patiently(void)
{
    if (turn(PATIENCE_S * 1000) == 0) fail(&connections[me->first], "nothing came on any connection for 300 s");
}

static void watch(int descriptor, uint32_t number, uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLET, .data.u32 = number};
    if (epoll_ctl(me->epoll_descriptor, EPOLL_CTL_ADD, descriptor, &event) != 0) die("epoll_ctl");
}

static void open_one(struct connection *connection)
{
    int yes = 1;
    const uint32_t number = (uint32_t)(connection - connections);
    struct sockaddr_in target = {AF_INET, htons((uint16_t)plan.port), {htonl(INADDR_LOOPBACK)}, {0}};
    /* Every address of 127.0.0.0/8 is ours, and each has ports of its own. Spread over many, no run meets the ports that
     * the run before it left in TIME_WAIT; and with the option the kernel chooses a port at connect, when it knows the
     * target, instead of at bind, where it would have to be free for all targets. */
    struct sockaddr_in source = {AF_INET, 0, {htonl(INADDR_LOOPBACK + 1 + number % SOURCE_ADDRESSES)}, {0}};
    connection->state = CONNECTING;
    connection->descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->descriptor < 0) die("socket");
    setsockopt(connection->descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(connection->descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (bind(connection->descriptor, (struct sockaddr *)&source, sizeof source) != 0) die("bind");
    if (connect(connection->descriptor, (struct sockaddr *)&target, sizeof target) != 0 && errno != EINPROGRESS)
        fail(connection, strerror(errno));
    watch(connection->descriptor, number, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
}

static void open_all(void)
{
    if ((me->epoll_descriptor = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1");
    me->buffer = allocate(1, BUFFER_BYTES);
    me->remaining = me->count;
    for (long next = 0; me->remaining > 0;) {
        while (next < me->count && next - (me->count - me->remaining) < OPENING_LIMIT) {
            const long number = me->first + next++;
            /* The active ones are spread among the idle, as they would be in earnest: side by side in the server's
             * tables they would share cache lines that idle ones never touch. */
            connections[number].active = (number + 1) * plan.connections / total_connections
                                         != number * plan.connections / total_connections;
            open_one(&connections[number]);
        }
        turn_patiently();
    }
}

static void exchange_all(void)
{
    for (long i = 0; i < total_connections && (plan.messages > 0 || plan.greedy); i++) {
        if (!connections[i].active) continue;
        connections[i].state = ECHOING;
        me->remaining++;
        send_burst(&connections[i]);
    }
    while (me->remaining > 0) turn_patiently();
}

static void close_all(void)
{
    for (long i = 0; i < total_connections; i++) {
        struct connection *connection = &connections[i];
        /* One that the server has ended already must not pass for one that it closed because we asked. */
        read_messages(connection, true);
        connection->state = CLOSING;
        connection->done_bytes = 0;
        me->remaining++;
        const uint32_t key = next_key();
        uint8_t frame[8] = {FIN | CLOSE, MASKED | 2};
        memcpy(frame + 2, &key, sizeof key);
        mask_forward(frame + 6, (const uint8_t[]){1000 >> 8, 1000 & 0xff}, 2, key);
        if (plan.close_frames)
            send_all(connection, frame, sizeof frame);
        else
            shutdown(connection->descriptor, SHUT_WR);
    }
    while (me->remaining > 0) turn_patiently();
}

static void report(struct stamp from, struct stamp to)
{
    printf("\"seconds\":%.6f,\"client_ns\":%llu,\"server_ns\":%llu}\n", (double)(to.wall_ns - from.wall_ns) * 1e-9,
           (unsigned long long)(to.client_ns - from.client_ns), (unsigned long long)(to.server_ns - from.server_ns));
}

static void on_stop(int number) { stopping = number; }

static void echo(void)
{
    me = workers;
    if (total_connections + 64 > (long)raise_descriptor_limit()) {
        fputs("client: so many connections do not fit one descriptor table (ulimit -Hn)\n", stderr);
        exit(2);
    }
    open_all();
    if (plan.greedy) {
        signal(SIGTERM, on_stop);
        fputs("open\n", stderr);
    }
    const struct stamp opened = take_stamp();
    exchange_all();
    const struct stamp exchanged = take_stamp();
    close_all();
    long replies = 0;
    for (long i = 0; i < total_connections; i++) replies += connections[i].received_messages;
    printf("{\"replies\":%ld,", replies);
    report(opened, exchanged);
}

#include "client_fanout.h"
#include "client_drip.h"

static const char usage[] =
    "usage: client echo --port PORT [flags]      messages that are echoed at /echo of 127.0.0.1\n"
    "       client fanout --port PORT [flags]    messages of one connection that /broadcast sends to all\n"
    "       client drip SOCKET PID field|fields|line BYTES HEADS    request heads in single bytes, see client_drip.h\n"
    "  --connections N      that exchange messages, or receive them (1)\n"
    "  --messages N         of each connection, or broadcasts after two that are not counted (1)\n"
    "  --payload BYTES      of each message (20)\n"
    "  --server-pid PID     report this process' processor time too\n"
    "  --in-flight FRAMES   echo: sent at once, and all awaited before the next are sent (1)\n"
    "  --greedy             echo: send the next while so many are missing, until SIGTERM; says `open` when it begins\n"
    "  --idle N             echo: further connections that are opened and stay silent (0)\n"
    "  --offer-deflate      echo: negotiate permessage-deflate, and send messages uncompressed\n"
    "  --close              echo: close with Close frames; else each stream is just ended\n"
    "Prints one line of JSON, of the time from the first message to the last. Exit code 0 only if all was in order.\n";

static void prepare(void)
{
    snprintf(request, sizeof request,
             "GET /%s HTTP/1.1\r\nHost: 127.0.0.1:%ld\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
             fans_out ? "broadcast" : "echo", plan.port,
             plan.offer_deflate ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" : "");
    header_bytes = put_header(reply_header, FIN | BINARY, (uint64_t)plan.payload_bytes);
    const size_t pattern_bytes = PATTERN_STARTS + (size_t)plan.payload_bytes;
    pattern = allocate(pattern_bytes, 1);
    for (size_t i = 0; i < pattern_bytes; i++) pattern[i] = (uint8_t)(next_key() >> 8);
    burst = allocate((size_t)plan.in_flight, (size_t)plan.payload_bytes + HEADER_LIMIT_BYTES);
    total_connections = plan.connections + plan.idle;
    connections = allocate((size_t)total_connections, sizeof *connections);
    workers = allocate(WORKER_LIMIT, sizeof *workers);
    workers->count = total_connections;
}

int main(int argc, char **argv)
{
    static const struct flag flags[] = {
        {"--port", &plan.port, 1, 65535},                          {"--server-pid", &plan.server_pid, 1, INT32_MAX},
        {"--connections", &plan.connections, 1, CONNECTION_LIMIT}, {"--messages", &plan.messages, 0, UINT32_MAX},
        {"--payload", &plan.payload_bytes, 1, 1 << 24},            {"--in-flight", &plan.in_flight, 1, 65536},
        {"--idle", &plan.idle, 0, CONNECTION_LIMIT},               {"--close", &plan.close_frames, 0, 0},
        {"--offer-deflate", &plan.offer_deflate, 0, 0},            {"--greedy", &plan.greedy, 0, 0},
        {NULL, NULL, 0, 0}};
    const char *mode = argc > 1 ? argv[1] : "";
    fans_out = strcmp(mode, "fanout") == 0;
    if (strcmp(mode, "drip") == 0) return drip(argc - 2, argv + 2);
    read_flags(argv + (fans_out || strcmp(mode, "echo") == 0 ? 2 : 1), flags, usage);
    prepare();
    fans_out ? fanout() : echo();
    return 0;
}
