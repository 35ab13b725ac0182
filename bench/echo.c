/* The yardstick: a WebSocket echo server with as little around the protocol as C allows.
 *
 *     echo --port PORT
 *
 * One thread, one edge-triggered epoll, no library. It does what every server must do for an echo (the handshake with
 * its real SHA-1, unmasking, ping, the close handshake) and leaves out what a server for the public must have: UTF-8 is
 * not checked, fragments are echoed as they come, heads are only searched for their key, there are no deadlines. */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "serving.h"

enum {
    BUFFER_BYTES = 1 << 20,
    MASKED_HEADER_BYTES = 14,
    PAYLOAD_LIMIT_BYTES = BUFFER_BYTES - MASKED_HEADER_BYTES,
    EVENTS_A_TURN = 1024,
};

enum state { FREE, HEAD, OPEN, CLOSING };

/* An idle connection owns this and nothing else. */
struct connection {
    struct tail *unread; /* a request or frame of which the end has not come yet */
    struct tail *unsent; /* what the socket refused */
    enum state state;
};

/* What one look at the buffer came to. Replies stand at the buffer's start. */
struct outcome {
    size_t consumed_bytes;
    size_t reply_bytes;
    bool last; /* nothing may follow these replies but the end */
};

static struct connection *connections; /* by descriptor */
static uint8_t buffer[BUFFER_BYTES];   /* lent to the connection that is being read */
static int epoll_descriptor, listener, signals;
static bool accept_stalled;

static struct outcome answer_head(size_t filled_bytes)
{
    static const char refusal[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    uint8_t *end = memmem(buffer, filled_bytes, "\r\n\r\n", 4);
    if (end == NULL && filled_bytes < HEAD_LIMIT_BYTES) return (struct outcome){0};

    /* RFC 6455, 4.1: a client sends nothing behind its request before it has been answered, so the answer can stand
     * where the request stood. */
    size_t head_bytes = end == NULL ? filled_bytes : (size_t)(end - buffer) + 4;
    const uint8_t *key = end == NULL ? NULL : find_key(buffer, head_bytes);
    if (key == NULL || head_bytes != filled_bytes) {
        memcpy(buffer, refusal, sizeof refusal - 1);
        return (struct outcome){filled_bytes, sizeof refusal - 1, true};
    }
    return (struct outcome){filled_bytes, put_upgrade(buffer, key), false};
}

static struct outcome echo_frames(size_t filled_bytes)
{
    static const uint8_t violation[] = {FIN | CLOSE, 2, 1002 >> 8, 1002 & 0xff};
    uint8_t *read = buffer, *write = buffer, *const end = buffer + filled_bytes;
    bool last = false;

    while (!last) {
        if (end - read < 2) break;
        uint8_t first = read[0], opcode = first & OPCODE;
        struct header header = read_header(read, (size_t)(end - read));
        if (!(read[1] & MASKED) || (first & RESERVED) || header.payload_bytes > PAYLOAD_LIMIT_BYTES) {
            memcpy(write, violation, sizeof violation);
            write += sizeof violation;
            last = true;
            break;
        }
        if (header.header_bytes == 0) break;
        if ((size_t)(end - read) - header.header_bytes < header.payload_bytes) break;

        /* The key goes first: for the frame at the buffer's start, the reply's header overwrites the request's. */
        uint32_t key;
        memcpy(&key, read + header.header_bytes - sizeof key, sizeof key);
        const uint8_t *payload = read + header.header_bytes;
        read += header.header_bytes + header.payload_bytes;
        if (opcode == PONG) continue;
        write += put_header(write, opcode == PING ? FIN | PONG : first, header.payload_bytes);
        mask_forward(write, payload, header.payload_bytes, key);
        write += header.payload_bytes;
        last = opcode == CLOSE;
    }
    return (struct outcome){(size_t)(read - buffer), (size_t)(write - buffer), last};
}

static void accept_all(void)
{
    accept_stalled = false;
    for (;;) {
        int descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor < 0) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            /* Out of descriptors or memory the backlog stays full, and a full backlog makes no new edge: the next
             * connection that ends has to look again. */
            accept_stalled = errno != EAGAIN;
            return;
        }
        connections[descriptor] = (struct connection){.state = HEAD};
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = descriptor};
        if (epoll_ctl(epoll_descriptor, EPOLL_CTL_ADD, descriptor, &event) != 0) die("epoll_ctl");
    }
}

/* The number may come back from the next accept4 in this same turn. No event of the old connection can meet the new
 * one: epoll reports a descriptor once a turn, and a connection ends only while its own event is served. */
static void drop(int descriptor)
{
    struct connection *connection = &connections[descriptor];
    free(connection->unread);
    free(connection->unsent);
    *connection = (struct connection){.state = FREE};
    close(descriptor);
    if (accept_stalled) accept_all();
}

/* True when all is sent. What is not is kept, and the next EPOLLOUT edge comes for it. */
static bool send_or_keep(int descriptor, const uint8_t *bytes, size_t length_bytes)
{
    ssize_t sent = send(descriptor, bytes, length_bytes, MSG_NOSIGNAL);
    if (sent == (ssize_t)length_bytes) return true;
    if (sent < 0 && errno != EAGAIN) sent = (ssize_t)length_bytes; /* the reader will meet the same error */
    if (sent < 0) sent = 0;
    if (sent < (ssize_t)length_bytes)
        connections[descriptor].unsent = keep(bytes + sent, length_bytes - (size_t)sent);
    return connections[descriptor].unsent == NULL;
}

static bool send_kept(int descriptor)
{
    struct tail *tail = connections[descriptor].unsent;
    connections[descriptor].unsent = NULL;
    bool all = send_or_keep(descriptor, tail->bytes, tail->length_bytes);
    free(tail);
    return all;
}

/* True when there may be more to read; false when the socket is drained, blocked or gone. */
static bool serve_once(int descriptor, bool hung_up)
{
    struct connection *connection = &connections[descriptor];
    size_t kept_bytes = 0;
    if (connection->unread != NULL) {
        kept_bytes = connection->unread->length_bytes;
        memcpy(buffer, connection->unread->bytes, kept_bytes);
    }
    ssize_t got = recv(descriptor, buffer + kept_bytes, BUFFER_BYTES - kept_bytes, 0);
    if (got < 0 && errno == EAGAIN) return false;
    if (got <= 0) {
        drop(descriptor);
        return false;
    }
    if (kept_bytes > 0) {
        free(connection->unread);
        connection->unread = NULL;
    }
    size_t filled_bytes = kept_bytes + (size_t)got;
    struct outcome outcome = connection->state == HEAD ? answer_head(filled_bytes) : echo_frames(filled_bytes);
    if (outcome.consumed_bytes > 0 && connection->state == HEAD) connection->state = OPEN;
    if (outcome.last) connection->state = CLOSING;
    bool sent = outcome.reply_bytes == 0 || send_or_keep(descriptor, buffer, outcome.reply_bytes);
    if (sent && outcome.last) {
        drop(descriptor);
        return false;
    }
    if (outcome.consumed_bytes < filled_bytes)
        connection->unread = keep(buffer + outcome.consumed_bytes, filled_bytes - outcome.consumed_bytes);
    /* A short read has drained the socket: what comes later makes an edge of its own. The end of the stream that
     * arrived before this event was taken does not. */
    return sent && (hung_up || filled_bytes == BUFFER_BYTES);
}

static void serve(int descriptor, uint32_t events)
{
    struct connection *connection = &connections[descriptor];
    if (connection->unsent != NULL) {
        if (!(events & (EPOLLERR | EPOLLHUP)) && !send_kept(descriptor)) return;
        if (connection->state == CLOSING || connection->unsent != NULL) {
            drop(descriptor);
            return;
        }
        /* The edge for what arrived while replies were stuck may be long gone, so that the read has to be tried; and
         * its end as well. */
        events |= EPOLLRDHUP;
    }
    bool hung_up = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    while (serve_once(descriptor, hung_up)) continue;
}

static void open_reactor(long port)
{
    sigset_t stopping;
    connections = allocate(raise_descriptor_limit(), sizeof *connections);
    listener = open_listener(port, false);
    block_stop_signals(&stopping);
    /* As an event of epoll a signal cannot come between a check and the wait. */
    signals = signalfd(-1, &stopping, SFD_NONBLOCK | SFD_CLOEXEC);
    epoll_descriptor = epoll_create1(EPOLL_CLOEXEC);
    if (signals < 0 || epoll_descriptor < 0) die("epoll_create1");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = signals};
    epoll_ctl(epoll_descriptor, EPOLL_CTL_ADD, signals, &event);
    event = (struct epoll_event){.events = EPOLLIN | EPOLLET, .data.fd = listener};
    epoll_ctl(epoll_descriptor, EPOLL_CTL_ADD, listener, &event);
}

static void run(void)
{
    static struct epoll_event events[EVENTS_A_TURN];
    for (;;) {
        int count = epoll_wait(epoll_descriptor, events, EVENTS_A_TURN, -1);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) {
            int descriptor = events[i].data.fd;
            if (connections[descriptor].state != FREE)
                serve(descriptor, events[i].events);
            else if (descriptor == listener)
                accept_all();
            else if (descriptor == signals)
                return;
        }
    }
}

int main(int argc, char **argv)
{
    static const char usage[] = "usage: echo --port PORT\n";
    static long port;
    read_flags(argv + (argc > 0), (struct flag[]){{"--port", &port, 1, 65535}, {NULL, NULL, 0, 0}}, usage);
    open_reactor(port);
    puts("ready");
    fflush(stdout);
    run();
    return 0;
}
