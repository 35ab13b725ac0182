/* The load: a WebSocket client that keeps many connections busy, checks every byte that comes back, and says how much
 * processor time both sides took. One thread, one edge-triggered epoll, no library. `load --help` lists its flags.
 *
 * Three phases follow one another, and each ends before the next begins: all connections shake hands, all active ones
 * exchange their messages, all are closed. So what a phase cost can be told apart. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load_plan.h"
#include "load_report.h"
#include "wire.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum {
    BUFFER_BYTES = 1 << 20,
    EVENTS_A_TURN = 1024,
    OPENING_LIMIT = 256,
    HEAD_LIMIT_BYTES = 4096,
    SOURCE_ADDRESSES = 250,
    PATTERN_STARTS = 65521, /* prime, so that neighbouring messages start far apart */
    COMPLAINTS_LIMIT = 5,
};

enum state { CONNECTING, ANSWERING, READY, ECHOING, CLOSING, GONE };

struct tail {
    size_t start_bytes, length_bytes;
    uint8_t bytes[];
};

struct connection {
    int descriptor;
    enum state state;
    bool active;
    uint32_t sent_messages, replied_messages;
    size_t reply_done_bytes; /* of the frame that is being received */
    struct tail *unsent;
    struct tail *head; /* of an answer to the handshake that came in pieces */
};

static struct connection *connections;
static long total_connections, remaining; /* in the phase at hand */
static int epoll_descriptor;
static uint8_t *burst, *pattern, reply_header[10], request_header[10], received[BUFFER_BYTES];
static size_t header_bytes; /* of a reply; a request adds its key */
static char request[256];

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void settle(struct connection *connection, enum state state)
{
    connection->state = state;
    remaining--;
}

__attribute__((format(printf, 3, 4)))
static void lose(struct connection *connection, bool wrong, const char *cause, ...)
{
    static int complaints;
    if (complaints++ < COMPLAINTS_LIMIT) {
        va_list arguments;
        va_start(arguments, cause);
        fprintf(stderr, "load: connection %ld: ", (long)(connection - connections));
        vfprintf(stderr, cause, arguments);
        fputc('\n', stderr);
        va_end(arguments);
    }
    if (connection->state != READY) remaining--;
    *(wrong ? &tally.wrong : &tally.lost) += 1;
    connection->state = GONE;
    close(connection->descriptor);
}

static size_t pattern_start(const struct connection *connection, uint32_t message)
{
    return ((size_t)(connection - connections) * 7919 + (size_t)message * 40503) % PATTERN_STARTS;
}

/* RFC 6455, 5.3 wants keys that a page's script can not foresee. No script is here, and a cheap sequence will do as
 * long as it never yields zero, which would spare the server its work. */
static uint32_t next_key(void)
{
    static uint32_t key = 2463534242;
    key ^= key << 13, key ^= key >> 17, key ^= key << 5;
    return key;
}

/* True when nothing is left over for the next EPOLLOUT edge. */
static bool send_all(struct connection *connection, const uint8_t *bytes, size_t length_bytes)
{
    ssize_t sent = send(connection->descriptor, bytes, length_bytes, MSG_NOSIGNAL);
    if (sent == (ssize_t)length_bytes) return true;
    if (sent < 0 && errno != EAGAIN) {
        lose(connection, false, "send: %s", strerror(errno));
        return false;
    }
    size_t sent_bytes = sent < 0 ? 0 : (size_t)sent;
    connection->unsent = malloc(sizeof *connection->unsent + length_bytes - sent_bytes);
    if (connection->unsent == NULL) die("malloc");
    connection->unsent->start_bytes = 0;
    connection->unsent->length_bytes = length_bytes - sent_bytes;
    memcpy(connection->unsent->bytes, bytes + sent_bytes, length_bytes - sent_bytes);
    return false;
}

static void send_unsent(struct connection *connection)
{
    struct tail *tail = connection->unsent;
    ssize_t sent = send(connection->descriptor, tail->bytes + tail->start_bytes,
                        tail->length_bytes - tail->start_bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        lose(connection, false, "send: %s", strerror(errno));
        return;
    }
    if (sent > 0) tail->start_bytes += (size_t)sent;
    if (tail->start_bytes < tail->length_bytes) return;
    connection->unsent = NULL;
    free(tail);
}

static void send_burst(struct connection *connection)
{
    long left = plan.messages - connection->sent_messages;
    long frames = left < plan.in_flight ? left : plan.in_flight;
    uint8_t *write = burst;
    for (long i = 0; i < frames; i++) {
        uint32_t key = next_key();
        memcpy(write, request_header, header_bytes);
        write += header_bytes;
        memcpy(write, &key, sizeof key);
        write += sizeof key;
        const uint8_t *payload = pattern + pattern_start(connection, connection->sent_messages++);
        mask_forward(write, payload, (size_t)plan.payload_bytes, key);
        write += plan.payload_bytes;
    }
    send_all(connection, burst, (size_t)(write - burst));
}

/* An echo is known to the byte before it comes, header included: RFC 6455, 5.2 allows one way to write a length. So it
 * is compared as it arrives, whatever the pieces, and nothing is gathered. False when it differs. */
static bool check_replies(struct connection *connection, const uint8_t *bytes, size_t length_bytes)
{
    const size_t frame_bytes = header_bytes + (size_t)plan.payload_bytes;
    while (length_bytes > 0) {
        if (connection->replied_messages == connection->sent_messages) return false;
        const size_t done_bytes = connection->reply_done_bytes;
        const uint8_t *expected = reply_header + done_bytes;
        size_t piece_bytes = header_bytes - done_bytes;
        if (done_bytes >= header_bytes) {
            expected = pattern + pattern_start(connection, connection->replied_messages) + done_bytes
                       - header_bytes;
            piece_bytes = frame_bytes - done_bytes;
        }
        if (piece_bytes > length_bytes) piece_bytes = length_bytes;
        if (memcmp(bytes, expected, piece_bytes) != 0) return false;
        bytes += piece_bytes, length_bytes -= piece_bytes;
        connection->reply_done_bytes += piece_bytes;
        if (connection->reply_done_bytes < frame_bytes) continue;
        connection->reply_done_bytes = 0;
        connection->replied_messages++;
        tally.replies++;
    }
    return true;
}

/* The key of every handshake here is RFC 6455's own example (1.3), and with it the answer that it gives. */
static const char *head_fault(const char *head, size_t length_bytes)
{
    if (length_bytes < 13 || memcmp(head, "HTTP/1.1 101 ", 13) != 0) return "the handshake was refused";
    char *end = memmem(head, length_bytes, "\r\n\r\n", 4);
    if (end != head + length_bytes - 4) return "bytes behind the answer to the handshake";
    if (memmem(head, length_bytes, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", 30) == NULL) return "a wrong accept value";
    static const char agreed[] = "\r\nSec-WebSocket-Extensions: permessage-deflate;";
    bool is_agreed = memmem(head, length_bytes, agreed, sizeof agreed - 1) != NULL;
    if (is_agreed != plan.offer_deflate) return "compression was offered and declined, or the other way round";
    return NULL;
}

static void read_head(struct connection *connection)
{
    size_t kept_bytes = 0;
    if (connection->head != NULL) {
        kept_bytes = connection->head->length_bytes;
        memcpy(received, connection->head->bytes, kept_bytes);
    }
    ssize_t got = recv(connection->descriptor, received + kept_bytes, sizeof received - kept_bytes, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        lose(connection, false, "handshake: %s", got == 0 ? "the server closed" : strerror(errno));
        return;
    }
    free(connection->head);
    connection->head = NULL;
    size_t length_bytes = kept_bytes + (size_t)got;
    if (memmem(received, length_bytes, "\r\n\r\n", 4) == NULL && length_bytes < HEAD_LIMIT_BYTES) {
        connection->head = malloc(sizeof *connection->head + length_bytes);
        if (connection->head == NULL) die("malloc");
        connection->head->length_bytes = length_bytes;
        memcpy(connection->head->bytes, received, length_bytes);
        return;
    }
    const char *fault = head_fault((const char *)received, length_bytes);
    if (fault != NULL) {
        lose(connection, true, "%s", fault);
        return;
    }
    tally.opened++;
    settle(connection, READY);
}

static void read_replies(struct connection *connection, bool hung_up)
{
    /* A short read has drained the socket, except for an end of the stream that came before the event was taken. */
    for (ssize_t got = sizeof received; hung_up || got == (ssize_t)sizeof received;) {
        got = recv(connection->descriptor, received, sizeof received, 0);
        if (got < 0 && errno == EAGAIN) break;
        if (got <= 0) {
            lose(connection, false, "%s", got == 0 ? "the server closed" : strerror(errno));
            return;
        }
        if (!check_replies(connection, received, (size_t)got)) {
            lose(connection, true, "a wrong reply to message %u", connection->replied_messages);
            return;
        }
    }
    if (connection->state != ECHOING || connection->replied_messages < connection->sent_messages) return;
    if (connection->replied_messages == plan.messages)
        settle(connection, READY);
    else
        send_burst(connection);
}

/* A lone end of the stream is answered by the server's own end; what comes before it does not matter then. After a
 * Close frame exactly one Close frame has to come (RFC 6455, 5.5.1), and the server ends the stream (7.1.1). */
static void read_end(struct connection *connection)
{
    uint8_t bytes[256];
    for (;;) {
        ssize_t got = recv(connection->descriptor, bytes, sizeof bytes, 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got > 0 && plan.close_frames && connection->reply_done_bytes == 0 && bytes[0] != 0x88) {
            lose(connection, true, "no Close frame for a Close frame");
            return;
        }
        if (got > 0) {
            connection->reply_done_bytes += (size_t)got;
            continue;
        }
        if (plan.close_frames && (got < 0 || connection->reply_done_bytes < 2 || connection->reply_done_bytes > 127)) {
            lose(connection, got == 0, "closing: %s", got == 0 ? "no proper Close frame" : strerror(errno));
            return;
        }
        close(connection->descriptor);
        tally.closed++;
        settle(connection, GONE);
        return;
    }
}

static void finish_connect(struct connection *connection)
{
    int error = 0;
    socklen_t length_bytes = sizeof error;
    getsockopt(connection->descriptor, SOL_SOCKET, SO_ERROR, &error, &length_bytes);
    if (error != 0) {
        lose(connection, false, "connect: %s", strerror(error));
        return;
    }
    connection->state = ANSWERING;
    send_all(connection, (const uint8_t *)request, strlen(request));
}

static void on_event(struct connection *connection, uint32_t events)
{
    if (connection->state == CONNECTING && events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) finish_connect(connection);
    if (connection->state != GONE && connection->unsent != NULL && events & EPOLLOUT) send_unsent(connection);
    const bool hung_up = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    if (!hung_up && !(events & EPOLLIN)) return;
    switch (connection->state) {
    case ANSWERING: read_head(connection); break;
    case READY:
    case ECHOING: read_replies(connection, hung_up); break;
    case CLOSING: read_end(connection); break;
    case CONNECTING:
    case GONE: break;
    }
}

static void turn(void)
{
    static struct epoll_event events[EVENTS_A_TURN];
    int count = epoll_wait(epoll_descriptor, events, EVENTS_A_TURN, (int)plan.patience_seconds * 1000);
    if (count < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < count; i++) on_event(&connections[events[i].data.u32], events[i].events);
    if (count != 0) return;
    for (long i = 0; i < total_connections; i++)
        if (connections[i].state != READY && connections[i].state != GONE && connections[i].descriptor > 0)
            lose(&connections[i], false, "nothing came for %ld s", plan.patience_seconds);
}

static void open_one(struct connection *connection)
{
    int yes = 1;
    struct sockaddr_in target = {AF_INET, htons((uint16_t)plan.port), {htonl(INADDR_LOOPBACK)}, {0}};
    /* Every address of 127.0.0.0/8 is ours. Spread over many, no run meets the ports that the run before it left in
     * TIME_WAIT; and with the option the kernel chooses a port at connect, when it knows the target, instead of at
     * bind, where it would have to be free for all targets. */
    uint32_t address = INADDR_LOOPBACK + 1 + (uint32_t)((connection - connections) % SOURCE_ADDRESSES);
    struct sockaddr_in source = {AF_INET, 0, {htonl(address)}, {0}};
    connection->descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->descriptor < 0) die("socket");
    setsockopt(connection->descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(connection->descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (bind(connection->descriptor, (struct sockaddr *)&source, sizeof source) != 0) die("bind");
    if (connect(connection->descriptor, (struct sockaddr *)&target, sizeof target) != 0 && errno != EINPROGRESS) {
        lose(connection, false, "connect: %s", strerror(errno));
        return;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.u32 = (uint32_t)(connection - connections)};
    if (epoll_ctl(epoll_descriptor, EPOLL_CTL_ADD, connection->descriptor, &event) != 0) die("epoll_ctl");
}

static void open_all(void)
{
    remaining = total_connections;
    for (long next = 0; remaining > 0;) {
        while (next < total_connections && next - (total_connections - remaining) < OPENING_LIMIT) {
            /* The active ones are spread among the idle, as they would be in earnest: side by side in the server's
             * tables they would share cache lines that idle ones never touch. */
            connections[next].active = (next + 1) * plan.connections / total_connections
                                       != next * plan.connections / total_connections;
            open_one(&connections[next++]);
        }
        if (remaining > 0) turn();
    }
}

static void exchange_all(void)
{
    if (plan.messages == 0) return;
    for (long i = 0; i < total_connections; i++) {
        if (!connections[i].active || connections[i].state != READY) continue;
        connections[i].state = ECHOING;
        remaining++;
        send_burst(&connections[i]);
    }
    while (remaining > 0) turn();
}

static void close_all(void)
{
    for (long i = 0; i < total_connections; i++) {
        struct connection *connection = &connections[i];
        if (connection->state != READY) continue;
        /* One that the server has ended already must not pass for one that it closed because we asked. */
        read_replies(connection, true);
        if (connection->state != READY) continue;
        connection->state = CLOSING;
        connection->reply_done_bytes = 0;
        remaining++;
        uint32_t key = next_key();
        uint8_t frame[8] = {0x88, 0x82}; /* Close, two bytes: 1000 */
        memcpy(frame + 2, &key, sizeof key);
        mask_forward(frame + 6, (const uint8_t[]){1000 >> 8, 1000 & 0xff}, 2, key);
        if (plan.close_frames)
            send_all(connection, frame, sizeof frame);
        else
            shutdown(connection->descriptor, SHUT_WR);
    }
    while (remaining > 0) turn();
}

static void hold(void)
{
    sigset_t ending;
    int number;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigprocmask(SIG_BLOCK, &ending, NULL);
    fprintf(stderr, "holding %ld\n", tally.opened - tally.lost - tally.wrong);
    sigwait(&ending, &number);
}

static void prepare(void)
{
    /* RFC 6455, 5.2: FIN, and text (1) or binary (2). */
    const uint8_t first = plan.text ? 0x81 : 0x82;
    header_bytes = put_header(reply_header, first, (uint64_t)plan.payload_bytes);
    memcpy(request_header, reply_header, sizeof request_header);
    request_header[1] |= 0x80;
    snprintf(request, sizeof request,
             "GET /echo HTTP/1.1\r\nHost: 127.0.0.1:%ld\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n", plan.port,
             plan.offer_deflate ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" : "");

    const size_t pattern_bytes = PATTERN_STARTS + (size_t)plan.payload_bytes;
    total_connections = plan.connections + plan.idle;
    pattern = malloc(pattern_bytes);
    burst = malloc((size_t)plan.in_flight * ((size_t)plan.payload_bytes + MASKED_HEADER_BYTES));
    connections = calloc((size_t)total_connections, sizeof *connections);
    if (pattern == NULL || burst == NULL || connections == NULL) die("malloc");
    for (size_t i = 0; i < pattern_bytes; i++)
        pattern[i] = plan.text ? (uint8_t)('a' + (next_key() >> 8) % 26) : (uint8_t)(next_key() >> 8);

    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) die("setrlimit");
    epoll_descriptor = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_descriptor < 0) die("epoll_create1");
}

int main(int argc, char **argv)
{
    if (!read_plan(argc, argv)) return 2;
    prepare();
    struct stamp start = take_stamp(plan.server);
    open_all();
    struct stamp opened = take_stamp(plan.server);
    exchange_all();
    struct stamp exchanged = take_stamp(plan.server);
    if (plan.hold_open) hold();
    close_all();
    report(start, opened, exchanged);
    bool whole = tally.opened == total_connections && tally.closed == total_connections
                 && tally.replies == plan.connections * plan.messages && tally.wrong == 0 && tally.lost == 0;
    return whole ? 0 : 1;
}
