/* What fanout counted and timed, and the line that says so. */
#ifndef STEADFAST_BENCH_FANOUT_REPORT_H
#define STEADFAST_BENCH_FANOUT_REPORT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "fanout_plan.h"
#include "times.h"

/* Of the messages that are counted, and of all connections or those of one thread. */
struct tally {
    long opened, deliveries, wrong, lost, pings;
    struct histogram arrivals;
};

static void add_tally(struct tally *sum, const struct tally *part)
{
    sum->opened += part->opened;
    sum->deliveries += part->deliveries;
    sum->wrong += part->wrong;
    sum->lost += part->lost;
    sum->pings += part->pings;
    add_times(&sum->arrivals, &part->arrivals);
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
