/* What fair was asked to do. */
#ifndef STEADFAST_BENCH_FAIR_PLAN_H
#define STEADFAST_BENCH_FAIR_PLAN_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "program.h"
#include "stream.h"

enum { PER_S_LIMIT = 1000000, PAYLOAD_LIMIT_BYTES = 1 << 20 };

static struct {
    long port, connections, per_s, seconds, warm_up_seconds, payload_bytes, greedy_bytes, patience_seconds;
    long server; /* its process; 0: not to be watched */
} plan = {.connections = 1, .per_s = 1000, .seconds = 10, .warm_up_seconds = 1, .payload_bytes = 20,
          .patience_seconds = 30};

static void print_usage(void)
{
    fputs("usage: fair --port PORT [flags]\n"
          "\n"
          "  --port PORT          WebSocket server on 127.0.0.1 that echoes at /echo\n"
          "  --connections N      that play ping-pong, one message in flight on each (1)\n"
          "  --per-s RATE         messages that are due in a second, on all of them together (1000)\n"
          "  --seconds SECONDS    for so long (10)\n"
          "  --warm-up SECONDS    and before that, checked and not counted (1)\n"
          "  --payload BYTES      of each message, 4 or more (20)\n"
          "  --greedy BYTES       one more connection sends messages of so many bytes as fast as it can (none)\n"
          "  --server-pid PID     report this process' processor time too\n"
          "  --patience SECONDS   without any reply, before what is awaited counts as lost (30)\n"
          "\n"
          "Prints one line of JSON. Exit code 0 only if every connection was opened and every message came back,\n"
          "whole, once and in its turn, those of the greedy one too.\n",
          stderr);
}

static bool read_option(int option, const char *value)
{
    switch (option) {
    case 'p': return read_number(value, 1, 65535, &plan.port);
    case 'c': return read_number(value, 1, TABLE_CONNECTIONS, &plan.connections);
    case 'r': return read_number(value, 1, PER_S_LIMIT, &plan.per_s);
    case 'd': return read_number(value, 1, 3600, &plan.seconds);
    case 'u': return read_number(value, 0, 3600, &plan.warm_up_seconds);
    case 'b': return read_number(value, SEQUENCE_BYTES, PAYLOAD_LIMIT_BYTES, &plan.payload_bytes);
    case 'g': return read_number(value, 0, PAYLOAD_LIMIT_BYTES, &plan.greedy_bytes);
    case 's': return read_number(value, 1, INT32_MAX, &plan.server);
    case 'w': return read_number(value, 1, 86400, &plan.patience_seconds);
    default: print_usage(); return false;
    }
}

/* False when something about it is wrong, which has been said then. */
static bool read_plan(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},    {"connections", required_argument, NULL, 'c'},
        {"per-s", required_argument, NULL, 'r'},   {"seconds", required_argument, NULL, 'd'},
        {"warm-up", required_argument, NULL, 'u'}, {"payload", required_argument, NULL, 'b'},
        {"greedy", required_argument, NULL, 'g'},  {"server-pid", required_argument, NULL, 's'},
        {"patience", required_argument, NULL, 'w'}, {"help", no_argument, NULL, '?'},
        {0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (!read_option(option, optarg)) return false;
    if (plan.port == 0 || optind != argc) {
        print_usage();
        return false;
    }
    if (plan.greedy_bytes > 0 && plan.greedy_bytes < SEQUENCE_BYTES) {
        fputs("fair: a greedy message has 4 bytes or more, for its number\n", stderr);
        return false;
    }
    if (plan.per_s * (plan.seconds + plan.warm_up_seconds) > INT32_MAX) {
        fprintf(stderr, "fair: that is more than %d messages\n", INT32_MAX);
        return false;
    }
    long threads = 1;
    return fits_tables(plan.connections, &threads);
}

#endif
