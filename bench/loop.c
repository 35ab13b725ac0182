/* The yardstick of broadcasts: a WebSocket server that does with every message nothing but a loop of send() of the one
 * encoded frame over all its sockets.
 *
 *     loop --port PORT [--connections N]
 *
 * One thread; above 18,000 connections one for every 16,000, with a descriptor table, a listener and an edge-triggered
 * epoll of its own, because RLIMIT_NOFILE bounds a table. No library. A message that one thread reads is sent by each
 * thread to its own sockets, and all threads take the messages in one order.
 *
 * It leaves out what echo.c leaves out, and the queue besides: a frame that a socket does not take at once ends the
 * program with an error. Pings are not answered, and a Close is answered by the end. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "serving.h"

enum {
    BUFFER_BYTES = 1 << 17,
    PAYLOAD_LIMIT_BYTES = 1 << 16, /* that fits into a socket, where a frame waits until it is whole */
    HEADER_LIMIT_BYTES = 10,
    EVENTS_A_TURN = 1024,
    ALONE_CONNECTIONS = 18000,
    TABLE_CONNECTIONS = 16000, /* the kernel deals them out by chance, and no table may overflow */
    CONNECTION_LIMIT = 1000000,
    BROADCASTS = 4, /* a thread may still be at the end of the one before */
};

enum state { FREE, HEAD, OPEN };

struct connection {
    uint32_t place; /* among the members, while open */
    enum state state;
};

struct worker {
    pthread_t thread;
    int epoll_descriptor, listener, wake;
    struct connection *connections; /* by descriptor */
    int *members;                   /* descriptors of those that are open */
    uint32_t member_count;
    uint64_t done_broadcasts;
    uint8_t *buffer; /* lent to the connection that is being read */
};

struct broadcast {
    uint8_t frame[PAYLOAD_LIMIT_BYTES + HEADER_LIMIT_BYTES];
    size_t frame_bytes;
    atomic_long remaining; /* threads that still have to send it */
};

static struct worker *workers;
static long total_workers = 1, connections_wanted = ALONE_CONNECTIONS, port;
static pthread_barrier_t listening;

static struct broadcast broadcasts[BROADCASTS];
static _Atomic uint64_t published; /* broadcasts ever */
static pthread_mutex_t publishing = PTHREAD_MUTEX_INITIALIZER;

/* Encodes the message once, for all threads, and tells the others. */
static void publish(const struct worker *worker, uint8_t first, const uint8_t *payload, size_t payload_bytes, uint32_t key)
{
    pthread_mutex_lock(&publishing);
    const uint64_t number = atomic_load(&published);
    struct broadcast *broadcast = &broadcasts[number % BROADCASTS];
    if (atomic_load(&broadcast->remaining) != 0) errno = EBUSY, die("a broadcast before the last one had gone out");
    const size_t header_bytes = put_header(broadcast->frame, first, payload_bytes);
    mask_forward(broadcast->frame + header_bytes, payload, payload_bytes, key);
    broadcast->frame_bytes = header_bytes + payload_bytes;
    atomic_store(&broadcast->remaining, total_workers);
    atomic_store(&published, number + 1);
    pthread_mutex_unlock(&publishing);
    const uint64_t one = 1;
    for (long i = 0; i < total_workers; i++)
        if (&workers[i] != worker && write(workers[i].wake, &one, sizeof one) < 0) die("eventfd");
}

static void send_published(struct worker *worker)
{
    for (; worker->done_broadcasts < atomic_load(&published); worker->done_broadcasts++) {
        struct broadcast *broadcast = &broadcasts[worker->done_broadcasts % BROADCASTS];
        const uint8_t *frame = broadcast->frame;
        const size_t frame_bytes = broadcast->frame_bytes;
        for (uint32_t i = 0; i < worker->member_count; i++)
            if (send(worker->members[i], frame, frame_bytes, MSG_NOSIGNAL) != (ssize_t)frame_bytes)
                die("a frame was not taken whole");
        atomic_fetch_sub(&broadcast->remaining, 1);
    }
}

static void drop(struct worker *worker, int descriptor)
{
    struct connection *connection = &worker->connections[descriptor];
    if (connection->state == OPEN) {
        const int last = worker->members[--worker->member_count];
        worker->members[connection->place] = last;
        worker->connections[last].place = connection->place;
    }
    *connection = (struct connection){.state = FREE};
    close(descriptor);
}

/* Returns how much of the buffer was taken: 0 while the head has no end, SIZE_MAX if it cannot be answered. */
static size_t take_head(struct worker *worker, int descriptor, size_t filled_bytes)
{
    const uint8_t *end = memmem(worker->buffer, filled_bytes, "\r\n\r\n", 4);
    if (end == NULL) return filled_bytes < HEAD_LIMIT_BYTES ? 0 : SIZE_MAX;
    const size_t head_bytes = (size_t)(end - worker->buffer) + 4;
    const uint8_t *key = find_key(worker->buffer, head_bytes);
    if (key == NULL) return SIZE_MAX;
    uint8_t answer[256];
    const size_t answer_bytes = put_upgrade(answer, key);
    if (send(descriptor, answer, answer_bytes, MSG_NOSIGNAL) != (ssize_t)answer_bytes) return SIZE_MAX;
    worker->connections[descriptor].state = OPEN;
    worker->connections[descriptor].place = worker->member_count;
    worker->members[worker->member_count++] = descriptor;
    return head_bytes;
}

/* Takes every whole frame, and returns how much that was; SIZE_MAX if nothing may follow. */
static size_t take_frames(const struct worker *worker, size_t filled_bytes)
{
    const uint8_t *read = worker->buffer, *const end = worker->buffer + filled_bytes;
    while (end - read >= 2) {
        const uint8_t first = read[0], opcode = first & OPCODE;
        const struct header header = read_header(read, (size_t)(end - read));
        if (!(read[1] & MASKED) || !(first & FIN) || header.payload_bytes > PAYLOAD_LIMIT_BYTES) return SIZE_MAX;
        if (opcode == CLOSE) return SIZE_MAX;
        if (header.header_bytes == 0 || (size_t)(end - read) - header.header_bytes < header.payload_bytes) break;
        uint32_t key;
        memcpy(&key, read + header.header_bytes - sizeof key, sizeof key);
        if (opcode == TEXT || opcode == BINARY)
            publish(worker, first, read + header.header_bytes, header.payload_bytes, key);
        read += header.header_bytes + header.payload_bytes;
    }
    return (size_t)(read - worker->buffer);
}

/* True when there may be more to read. What is not whole yet stays in the socket, where its next piece makes an edge. */
static bool serve_once(struct worker *worker, int descriptor, bool hung_up)
{
    const ssize_t got = recv(descriptor, worker->buffer, BUFFER_BYTES, MSG_PEEK);
    size_t taken_bytes = SIZE_MAX;
    if (got < 0 && errno == EAGAIN) return false;
    if (got > 0 && worker->connections[descriptor].state == HEAD)
        taken_bytes = take_head(worker, descriptor, (size_t)got);
    else if (got > 0)
        taken_bytes = take_frames(worker, (size_t)got);
    if (taken_bytes > 0 && taken_bytes != SIZE_MAX)
        return recv(descriptor, worker->buffer, taken_bytes, 0) == (ssize_t)taken_bytes;
    if (taken_bytes == SIZE_MAX || hung_up) drop(worker, descriptor);
    return false;
}

static void watch(const struct worker *worker, int descriptor, uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLIN | EPOLLET, .data.fd = descriptor};
    if (epoll_ctl(worker->epoll_descriptor, EPOLL_CTL_ADD, descriptor, &event) != 0) die("epoll_ctl");
}

static void accept_all(struct worker *worker)
{
    for (;;) {
        const int descriptor = accept4(worker->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
        if (descriptor < 0 && errno == EAGAIN) return;
        if (descriptor < 0) die("accept4");
        worker->connections[descriptor].state = HEAD;
        watch(worker, descriptor, EPOLLRDHUP);
    }
}

static void turn(struct worker *worker)
{
    struct epoll_event events[EVENTS_A_TURN];
    const int count = epoll_wait(worker->epoll_descriptor, events, EVENTS_A_TURN, -1);
    if (count < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < count; i++) {
        const int descriptor = events[i].data.fd;
        if (descriptor == worker->listener) accept_all(worker);
        if (worker->connections[descriptor].state == FREE) continue;
        const bool hung_up = events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
        while (serve_once(worker, descriptor, hung_up)) continue;
    }
    send_published(worker);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    if (unshare(CLONE_FILES) != 0) die("unshare");
    worker->epoll_descriptor = epoll_create1(EPOLL_CLOEXEC);
    if (worker->epoll_descriptor < 0) die("epoll_create1");
    worker->listener = open_listener(port, total_workers > 1);
    watch(worker, worker->listener, 0);
    /* Each write to an eventfd makes an edge, so that it need not be read. */
    watch(worker, worker->wake, 0);
    pthread_barrier_wait(&listening);
    for (;;) turn(worker);
    return NULL;
}

static void start(void)
{
    const size_t table_size = raise_descriptor_limit();
    if (connections_wanted > ALONE_CONNECTIONS)
        total_workers = (connections_wanted + TABLE_CONNECTIONS - 1) / TABLE_CONNECTIONS;
    workers = allocate((size_t)total_workers, sizeof *workers);
    pthread_barrier_init(&listening, NULL, (unsigned)total_workers + 1);
    /* Opened before any table is copied, and so in each of them. */
    for (long i = 0; i < total_workers; i++)
        if ((workers[i].wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0) die("eventfd");
    for (long i = 0; i < total_workers; i++) {
        struct worker *worker = &workers[i];
        worker->connections = allocate(table_size, sizeof *worker->connections);
        worker->members = allocate(table_size, sizeof *worker->members);
        worker->buffer = allocate(1, BUFFER_BYTES);
        if ((errno = pthread_create(&worker->thread, NULL, work, worker)) != 0) die("pthread_create");
    }
    pthread_barrier_wait(&listening);
}

int main(int argc, char **argv)
{
    static const char usage[] = "usage: loop --port PORT [--connections N]\n";
    sigset_t stopping;
    int number;
    read_flags(argv + (argc > 0),
               (struct flag[]){{"--port", &port, 1, 65535},
                               {"--connections", &connections_wanted, 1, CONNECTION_LIMIT},
                               {NULL, NULL, 0, 0}},
               usage);
    block_stop_signals(&stopping);
    start();
    puts("ready");
    fflush(stdout);
    sigwait(&stopping, &number);
    return 0;
}
