/* The greedy connection of fair: a process of its own that sends messages as fast as its socket takes them, reads all
 * that comes back, and checks it. */
#ifndef STEADFAST_BENCH_FAIR_GREEDY_H
#define STEADFAST_BENCH_FAIR_GREEDY_H

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dial.h"
#include "fair_plan.h"
#include "in_order.h"
#include "times.h"

enum { CYCLE_BYTES = 1 << 18, GREEDY_BUFFER_BYTES = 1 << 18, GREEDY_LOOK_MS = 10 };

/* What both processes know: what the greedy one shall do, and what it has done. */
enum phase { WAIT, SEND, STOP };

struct shared {
    _Atomic int phase;
    atomic_bool open;
    atomic_ulong replies;
};

static struct greedy {
    int descriptor;
    uint8_t *cycle, *buffer;
    size_t cycle_bytes, cycle_sent_bytes;
    uint32_t cycle_messages;
    uint64_t begun_messages, replies; /* those of a cycle that is under way have all begun */
    struct receiver receiver;
    struct shared *shared;
} greedy;

static void give_up(const char *cause)
{
    complain("the greedy connection, message %llu: %s", (unsigned long long)greedy.replies, cause);
    exit(1);
}

/* Returns what is there of the events that are waited for. */
static int await(short events, int patience_ms)
{
    struct pollfd one = {.fd = greedy.descriptor, .events = events};
    if (poll(&one, 1, patience_ms) < 0 && errno != EINTR) die("poll");
    return one.revents;
}

static void open_greedy(void)
{
    const char *cause = dial(&greedy.descriptor, (size_t)plan.connections, plan.port, 0);
    enum answer answer = ANSWER_PART;
    if (cause == NULL) {
        await(POLLOUT, (int)plan.patience_seconds * 1000);
        cause = send_upgrade(greedy.descriptor);
    }
    if (cause != NULL) give_up(cause);
    while (answer == ANSWER_PART) {
        if (await(POLLIN, (int)plan.patience_seconds * 1000) == 0) give_up("no answer to the handshake");
        answer =
            read_answer(greedy.descriptor, &greedy.receiver.piece, greedy.buffer, GREEDY_BUFFER_BYTES, &cause);
    }
    if (answer != ANSWER_WHOLE) give_up(cause);
    drop_piece(&greedy.receiver.piece);
    atomic_store(&greedy.shared->open, true);
}

/* Messages that are sent over and over again: whoever makes each anew has less time to send. As many as fit, and one at
 * the least. */
static void make_cycle(void)
{
    const size_t frame_bytes = header_bytes + KEY_BYTES + payload_bytes;
    greedy.cycle = allocate(1, CYCLE_BYTES + frame_bytes);
    do greedy.cycle_bytes += put_request(greedy.cycle + greedy.cycle_bytes, greedy.cycle_messages++);
    while (greedy.cycle_bytes + frame_bytes <= CYCLE_BYTES);
    greedy.cycle_sent_bytes = greedy.cycle_bytes;
}

static void send_more(void)
{
    ssize_t sent = send(greedy.descriptor, greedy.cycle + greedy.cycle_sent_bytes,
                        greedy.cycle_bytes - greedy.cycle_sent_bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) give_up(strerror(errno));
    if (sent > 0) greedy.cycle_sent_bytes += (size_t)sent;
}

/* A ping is not answered: within a message nothing may stand, and messages are as good a sign of life. */
static void read_echoes(void)
{
    const ssize_t got = recv(greedy.descriptor, greedy.buffer, GREEDY_BUFFER_BYTES, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) give_up(got == 0 ? "the server closed" : strerror(errno));
    for (const uint8_t *bytes = greedy.buffer, *end = bytes + got; bytes < end;) {
        const enum finding finding = check(&greedy.receiver, &bytes, end, greedy.cycle_messages);
        if (finding == WRONG) give_up("something else came back");
        if (finding == CONTROL) drop_piece(&greedy.receiver.piece);
        if (finding != MESSAGE) continue;
        if (++greedy.replies > greedy.begun_messages) give_up("more came back than was sent");
        if (greedy.receiver.next_message == greedy.cycle_messages) greedy.receiver.next_message = 0;
    }
    atomic_store(&greedy.shared->replies, greedy.replies);
}

/* Ends the process, with status 0 if all that was sent came back. */
static void be_greedy(struct shared *shared)
{
    /* SCHED_IDLE of sched(7): whoever else wants this core has it at once, and this is the rest. */
    const struct sched_param none = {0};
    greedy.shared = shared;
    if (sched_setscheduler(0, SCHED_IDLE, &none) != 0) die("SCHED_IDLE");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) die("PR_SET_PDEATHSIG");
    if (!prepare_pattern(plan.greedy_bytes)) die("malloc");
    make_cycle();
    greedy.buffer = allocate(1, GREEDY_BUFFER_BYTES);
    open_greedy();
    while (atomic_load(&shared->phase) == WAIT) sleep_ns(GREEDY_LOOK_MS * 1000000);

    for (uint64_t heard_ns = read_clock_ns(CLOCK_MONOTONIC);;) {
        const bool stops = atomic_load(&shared->phase) == STOP;
        const bool all_sent = greedy.cycle_sent_bytes == greedy.cycle_bytes;
        if (stops && all_sent && greedy.replies == greedy.begun_messages) break;
        if (!stops && all_sent) greedy.begun_messages += greedy.cycle_messages, greedy.cycle_sent_bytes = 0;
        const bool wants_out = greedy.cycle_sent_bytes < greedy.cycle_bytes;
        const int events = await(wants_out ? POLLIN | POLLOUT : POLLIN, GREEDY_LOOK_MS);
        const uint64_t now_ns = read_clock_ns(CLOCK_MONOTONIC);
        if (events & (POLLIN | POLLERR | POLLHUP)) read_echoes(), heard_ns = now_ns;
        if (events & POLLOUT) send_more();
        if (now_ns - heard_ns > (uint64_t)plan.patience_seconds * 1000000000) give_up("nothing comes back");
    }
    close_at_once(greedy.descriptor);
    exit(0);
}

/* Starts it, and leaves in `process` which one it is. It is open when this returns. */
static struct shared *start_greedy(pid_t *process)
{
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) die("mmap");
    *process = fork();
    if (*process < 0) die("fork");
    if (*process == 0) be_greedy(shared);
    for (int status; !atomic_load(&shared->open); sleep_ns(1000000))
        if (waitpid(*process, &status, WNOHANG) != 0) exit(1);
    return shared;
}

/* True if all that it sent came back. */
static bool stop_greedy(struct shared *shared, pid_t process)
{
    int status;
    atomic_store(&shared->phase, STOP);
    if (waitpid(process, &status, 0) != process) die("waitpid");
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

#endif
