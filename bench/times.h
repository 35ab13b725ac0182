/* Clocks, and what many times come to: the processor time of both sides, and histograms. */
#ifndef STEADFAST_BENCH_TIMES_H
#define STEADFAST_BENCH_TIMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* Log-linear: each power of two is divided into 64, so that a value read back is off by less than one in a hundred. */
enum { PARTS_BITS = 6, PARTS = 1 << PARTS_BITS, BUCKETS = (65 - PARTS_BITS) * PARTS };

struct histogram {
    uint64_t counts[BUCKETS], total, max_ns;
};

struct stamp {
    uint64_t client_ns, server_ns; /* of processor time */
    bool server_known;
};

static inline uint64_t read_clock_ns(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) != 0) return 0;
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static inline void sleep_ns(long ns) { nanosleep(&(struct timespec){ns / 1000000000, ns % 1000000000}, NULL); }

static inline struct stamp take_stamp(pid_t server)
{
    struct stamp stamp = {.client_ns = read_clock_ns(CLOCK_PROCESS_CPUTIME_ID)};
    /* The processor clock of another process counts nanoseconds of all its threads, ended ones included. A thread that
     * runs at this very moment on another core is counted up to its last tick only, so this is read when all rest. */
    clockid_t clock;
    stamp.server_known = server != 0 && clock_getcpuclockid(server, &clock) == 0;
    if (stamp.server_known) stamp.server_ns = read_clock_ns(clock);
    if (stamp.server_ns == 0) stamp.server_known = false;
    return stamp;
}

/* Waits until the server rests: handshakes and a broadcast's end leave it work that no client sees. False when it does
 * not come to that. */
static inline bool take_quiet_stamp(pid_t server, struct stamp *stamp)
{
    enum { TRIES = 200, PAUSE_NS = 50000000, AT_REST_NS = PAUSE_NS / 50 };
    *stamp = take_stamp(server);
    for (int tries = 0; tries < TRIES; tries++) {
        sleep_ns(PAUSE_NS);
        const struct stamp now = take_stamp(server);
        const bool rests = now.server_ns - stamp->server_ns <= AT_REST_NS;
        *stamp = now;
        if (rests) return true;
    }
    return false;
}

static inline void add_time(struct histogram *histogram, uint64_t ns)
{
    size_t bucket = ns;
    if (ns >= PARTS) {
        const int shift = 63 - __builtin_clzll(ns) - PARTS_BITS;
        bucket = (size_t)shift * PARTS + (ns >> shift);
    }
    histogram->counts[bucket]++;
    histogram->total++;
    if (ns > histogram->max_ns) histogram->max_ns = ns;
}

static inline void add_times(struct histogram *sum, const struct histogram *part)
{
    for (size_t i = 0; i < BUCKETS; i++) sum->counts[i] += part->counts[i];
    sum->total += part->total;
    if (part->max_ns > sum->max_ns) sum->max_ns = part->max_ns;
}

/* What `per_mille` of all were not slower than, as the middle of its bucket. */
static inline double quantile_us(const struct histogram *histogram, uint64_t per_mille)
{
    const uint64_t rank = (histogram->total * per_mille + 999) / 1000;
    uint64_t seen = 0;
    size_t bucket = 0;
    while (bucket < BUCKETS - 1 && (seen += histogram->counts[bucket]) < rank) bucket++;
    if (bucket < PARTS) return (double)bucket / 1000;
    const size_t shift = bucket / PARTS - 1;
    const double middle_ns = ((double)(bucket - shift * PARTS) + 0.5) * (double)(UINT64_C(1) << shift);
    return (middle_ns < (double)histogram->max_ns ? middle_ns : (double)histogram->max_ns) / 1000;
}

#endif
