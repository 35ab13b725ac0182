/* What slow counted and timed, what of it has to add up, and the line that says it all. */
#ifndef STEADFAST_BENCH_SLOW_REPORT_H
#define STEADFAST_BENCH_SLOW_REPORT_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "slow_plan.h"
#include "slow_view.h"
#include "times.h"

/* Of all connections or those of one thread. */
struct tally {
    long opened, wrong, lost, pings;
    long closed; /* of the stalled ones, by the server */
    struct histogram arrivals;
};

/* What has arrived so far: messages at those who read, and at those who did not; and bytes of any kind, on all. */
struct receipts {
    uint64_t messages, stalled_messages, bytes;
};

/* All at one time at which nothing was under way. */
struct view {
    struct counts counts;
    struct receipts receipts;
    uint64_t stats_bytes; /* those that the counts include */
};

struct outcome {
    bool complete;
    uint64_t published;
    struct memory before, peak, after;
    struct view rest, thawed; /* before the stalled ones read, and when they have read all there is */
    struct histogram lateness;
};

static int faults;

static void expect(bool holds, const char *what, uint64_t left, uint64_t right)
{
    if (holds) return;
    faults++;
    complain("does not add up: %s (%" PRIu64 " against %" PRIu64 ")", what, left, right);
}

static void expect_equal(uint64_t left, uint64_t right, const char *what) { expect(left == right, what, left, right); }

/* What the server's kernel has taken for the sockets of the server and no client has read. */
static uint64_t unread_bytes(const struct view *view)
{
    return view->counts.bytes_out - view->stats_bytes - view->receipts.bytes;
}

/* For each of `connections` the kernel has whole messages and the beginning of another one, or a Close. Of those
 * messages the first may have been read in part, by `readers` of them. */
static void expect_unread(const struct view *view, uint64_t messages, uint64_t connections, uint64_t readers)
{
    const uint64_t frame_bytes = header_bytes + payload_bytes, unread = unread_bytes(view);
    const uint64_t most_bytes = messages * frame_bytes + connections * (frame_bytes - 1 + CONTROL_LIMIT_BYTES);
    expect(unread + readers * (frame_bytes - 1) >= messages * frame_bytes,
           "bytes that went out and were not read, and messages", unread, messages * frame_bytes);
    expect(unread <= most_bytes, "bytes that went out and were not read, and messages with beginnings of more", unread,
           most_bytes);
}

/* As long as nobody is closed, each message is counted once for each connection, the publisher's included. */
static void check_counts(const struct outcome *outcome)
{
    const struct counts *rest = &outcome->rest.counts;
    const struct receipts *receipts = &outcome->rest.receipts;
    const uint64_t taken = rest->delivered - receipts->messages, stalled = (uint64_t)plan.stalled;
    expect_equal(rest->in, outcome->published, "messages in, and published");
    expect_equal(rest->delivered + rest->dropped + rest->queued, rest->out, "delivered + dropped + queued, and out");
    expect(rest->delivered >= receipts->messages, "delivered, and received by those who read", rest->delivered,
           receipts->messages);
    expect_unread(&outcome->rest, taken, stalled, 0);
    if (stalled == 0) {
        expect_equal(rest->delivered, receipts->messages, "delivered, and received");
        expect_equal(rest->queued, 0, "queued when all is over");
        expect_equal(unread_bytes(&outcome->rest), 0, "bytes that went out and did not arrive");
    }
    if (!plan.closes) expect_equal(rest->closed_slow, 0, "closed, and to be closed");
    if (rest->closed_slow == 0)
        expect_equal(rest->out, outcome->published * (uint64_t)plan.connections, "out, and published to all");
}

/* The stalled ones have read all that there is, but those that were closed: what the kernel had for them is gone with
 * the reset, and only its bytes tell how many messages that were. */
static void check_thawed(const struct outcome *outcome, const struct tally *tally)
{
    const struct counts *thawed = &outcome->thawed.counts;
    const uint64_t closed = thawed->closed_slow;
    const uint64_t received = outcome->thawed.receipts.messages + outcome->thawed.receipts.stalled_messages;
    expect_equal((uint64_t)tally->closed, closed, "stalled ones that were closed, and closed_slow");
    expect_equal(outcome->thawed.receipts.messages, outcome->rest.receipts.messages, "received before and after");
    expect_equal(thawed->out, outcome->rest.counts.out, "out before and after");
    expect_equal(thawed->delivered + thawed->dropped + thawed->queued, thawed->out,
                 "delivered + dropped + queued, and out, when the stalled ones had read");
    expect_equal(thawed->queued, 0, "queued when the stalled ones had read");
    if (closed > 0) {
        expect(thawed->delivered >= received, "delivered, and received by all", thawed->delivered, received);
        expect_unread(&outcome->thawed, thawed->delivered - received, closed, closed);
        return;
    }
    expect_equal(thawed->delivered, received, "delivered, and received by all");
    expect_equal(unread_bytes(&outcome->thawed), 0, "bytes that went out and did not arrive, when all had read");
}

static void print_memory(const char *name, struct memory memory)
{
    printf(",\"user_%s_kib\":%ld,\"slab_%s_kib\":%ld,\"tcp_%s_kib\":%ld", name, memory.user_kib, name, memory.slab_kib,
           name, memory.tcp_kib);
}

/* Flat, so that a script can read it without a JSON parser. Without a whole run there are no figures. */
static void report(const struct tally *tally, const struct outcome *outcome)
{
    const struct counts *rest = &outcome->rest.counts;
    const struct receipts *receipts = &outcome->rest.receipts;
    const uint64_t readers = (uint64_t)(plan.connections - plan.stalled);
    printf("{\"schema\":\"steadfast-slow-1\",\"connections\":%ld,\"stalled\":%ld,\"threads\":%ld,"
           "\"payload_bytes\":%ld,\"per_s\":%ld,\"seconds\":%ld,\"opened\":%ld,\"wrong\":%ld,\"lost\":%ld,"
           "\"pings\":%ld,\"faults\":%d",
           plan.connections, plan.stalled, plan.threads, plan.payload_bytes, plan.per_s, plan.seconds, tally->opened,
           tally->wrong, tally->lost, tally->pings, faults);
    if (outcome->complete) {
        printf(",\"published\":%" PRIu64 ",\"received\":%" PRIu64 ",\"missed\":%" PRIu64 ",\"out\":%" PRIu64
               ",\"delivered\":%" PRIu64 ",\"dropped\":%" PRIu64 ",\"queued\":%" PRIu64 ",\"closed_slow\":%" PRIu64
               ",\"stalled_took\":%" PRIu64 ",\"stalled_read\":%" PRIu64,
               outcome->published, receipts->messages, readers * outcome->published - receipts->messages, rest->out,
               rest->delivered, rest->dropped, rest->queued, rest->closed_slow, rest->delivered - receipts->messages,
               outcome->thawed.receipts.stalled_messages);
        printf(",\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,\"late_p99_us\":%.1f,\"late_max_us\":%.1f",
               quantile_us(&tally->arrivals, 500), quantile_us(&tally->arrivals, 990),
               (double)tally->arrivals.max_ns / 1000, quantile_us(&outcome->lateness, 990),
               (double)outcome->lateness.max_ns / 1000);
        print_memory("before", outcome->before);
        print_memory("peak", outcome->peak);
        print_memory("after", outcome->after);
    }
    puts("}");
}

#endif
