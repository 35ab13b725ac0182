/* What fanout counted and timed, and the line that says so. */
#ifndef STEADFAST_BENCH_FANOUT_REPORT_H
#define STEADFAST_BENCH_FANOUT_REPORT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fanout_plan.h"

/* Log-linear: each power of two is divided into 64, so that a value read back is off by less than one in a hundred. */
enum { PARTS_BITS = 6, PARTS = 1 << PARTS_BITS, BUCKETS = (65 - PARTS_BITS) * PARTS };

struct histogram {
    uint64_t counts[BUCKETS], total, max_ns;
};

/* Of the messages that are counted, and of all connections or those of one thread. */
struct tally {
    long opened, deliveries, wrong, lost, pings;
    struct histogram arrivals;
};

struct stamp {
    uint64_t client_ns, server_ns; /* of processor time */
    bool server_known;
};

static uint64_t read_clock_ns(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) != 0) return 0;
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static struct stamp take_stamp(pid_t server)
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

static void add_arrival(struct histogram *histogram, uint64_t ns)
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

/* What `per_mille` of all were not slower than, as the middle of its bucket. */
static double quantile_us(const struct histogram *histogram, uint64_t per_mille)
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

static void add_tally(struct tally *sum, const struct tally *part)
{
    sum->opened += part->opened;
    sum->deliveries += part->deliveries;
    sum->wrong += part->wrong;
    sum->lost += part->lost;
    sum->pings += part->pings;
    for (size_t i = 0; i < BUCKETS; i++) sum->arrivals.counts[i] += part->arrivals.counts[i];
    sum->arrivals.total += part->arrivals.total;
    if (part->arrivals.max_ns > sum->arrivals.max_ns) sum->arrivals.max_ns = part->arrivals.max_ns;
}

static int by_size(const void *left, const void *right)
{
    const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* Flat, so that a script can read it without a JSON parser. The spreads, from a message's first arrival to its last,
 * are sorted in place; without all of them there are no times. */
static void report(const struct tally *tally, uint64_t *spreads_ns, double seconds, struct stamp from, struct stamp to)
{
    const long wanted = plan.connections * plan.messages;
    printf("{\"schema\":\"steadfast-fanout-1\",\"connections\":%ld,\"threads\":%ld,\"messages\":%ld,\"warm_up\":%ld,"
           "\"payload_bytes\":%ld,\"in_flight\":%ld,\"opened\":%ld,\"deliveries\":%ld,\"wrong\":%ld,\"missing\":%ld,"
           "\"lost\":%ld,\"pings\":%ld",
           plan.connections, plan.threads, plan.messages, plan.warm_up, plan.payload_bytes, plan.in_flight,
           tally->opened, tally->deliveries, tally->wrong, wanted - tally->deliveries, tally->lost, tally->pings);
    if (tally->deliveries == wanted) {
        const size_t count = (size_t)plan.messages;
        qsort(spreads_ns, count, sizeof *spreads_ns, by_size);
        const double median_ns = ((double)spreads_ns[(count - 1) / 2] + (double)spreads_ns[count / 2]) / 2;
        printf(",\"seconds\":%.6f,\"deliveries_per_second\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,"
               "\"spread_median_us\":%.1f,\"spread_min_us\":%.1f,\"spread_max_us\":%.1f",
               seconds, (double)wanted / seconds, quantile_us(&tally->arrivals, 500),
               quantile_us(&tally->arrivals, 990), (double)tally->arrivals.max_ns / 1000, median_ns / 1000,
               (double)spreads_ns[0] / 1000, (double)spreads_ns[count - 1] / 1000);
        printf(",\"client_cpu_ns\":%llu", (unsigned long long)(to.client_ns - from.client_ns));
        if (from.server_known && to.server_known)
            printf(",\"server_cpu_ns\":%llu,\"server_ns_per_delivery\":%.1f",
                   (unsigned long long)(to.server_ns - from.server_ns),
                   (double)(to.server_ns - from.server_ns) / (double)wanted);
        else
            printf(",\"server_cpu_ns\":null,\"server_ns_per_delivery\":null");
    }
    puts("}");
}

#endif
