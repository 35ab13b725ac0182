/* What slow was asked to do. */
#ifndef STEADFAST_BENCH_SLOW_PLAN_H
#define STEADFAST_BENCH_SLOW_PLAN_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "program.h"
#include "stream.h"

enum {
    CONNECTION_LIMIT = 4 << 20,
    THREAD_LIMIT = 1024,
    PER_S_LIMIT = 100000,
    MESSAGE_LIMIT = 1 << 24,
    PAYLOAD_LIMIT_BYTES = 1 << 20, /* what steadfast takes if nothing else is said */
    DUE_BYTES = 8,
    PAYLOAD_LEAST_BYTES = SEQUENCE_BYTES + DUE_BYTES,
};

static struct {
    long port, connections, stalled, threads, payload_bytes, per_s, seconds, receive_buffer_bytes, patience_seconds;
    long server; /* its process */
    bool closes;
} plan = {.connections = 1, .payload_bytes = 1024, .per_s = 4, .seconds = 10, .receive_buffer_bytes = 4096,
          .patience_seconds = 60};

static void print_usage(void)
{
    fputs("usage: slow --port PORT --server-pid PID [flags]\n"
          "\n"
          "  --port PORT          steadfast on 127.0.0.1, with /broadcast and /stats\n"
          "  --server-pid PID     its process\n"
          "  --connections N      receivers, the publisher and the stalled ones included (1)\n"
          "  --stalled S          of them, that read nothing behind the answer to their handshake (0)\n"
          "  --payload BYTES      of each message, 12 or more (1024)\n"
          "  --per-s RATE         messages that are published in a second (4)\n"
          "  --seconds SECONDS    for so long (10)\n"
          "  --receive-buffer BYTES  SO_RCVBUF of a stalled one; the kernel doubles it (4096)\n"
          "  --closes             the server may close a stalled one with 1008; without this none may be closed\n"
          "  --threads N          with a descriptor table each, beside the publisher's (one for every 15,000)\n"
          "  --patience SECONDS   without any progress, before what is awaited counts as lost (60)\n"
          "\n"
          "Prints one line of JSON. Exit code 0 only if every connection was opened, every byte was the one that had\n"
          "to come, nobody who reads was lost, and all that the server counted adds up with what arrived.\n",
          stderr);
}

static bool read_option(int option, const char *value)
{
    switch (option) {
    case 'p': return read_number(value, 1, 65535, &plan.port);
    case 'i': return read_number(value, 1, INT32_MAX, &plan.server);
    case 'c': return read_number(value, 1, CONNECTION_LIMIT, &plan.connections);
    case 's': return read_number(value, 0, CONNECTION_LIMIT, &plan.stalled);
    case 'b': return read_number(value, PAYLOAD_LEAST_BYTES, PAYLOAD_LIMIT_BYTES, &plan.payload_bytes);
    case 'r': return read_number(value, 1, PER_S_LIMIT, &plan.per_s);
    case 'd': return read_number(value, 1, 86400, &plan.seconds);
    case 'v': return read_number(value, 1, 1 << 24, &plan.receive_buffer_bytes);
    case 't': return read_number(value, 1, THREAD_LIMIT, &plan.threads);
    case 'w': return read_number(value, 1, 86400, &plan.patience_seconds);
    case 'x': plan.closes = true; return true;
    default: print_usage(); return false;
    }
}

/* False when something about it is wrong, which has been said then. */
static bool read_plan(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},      {"server-pid", required_argument, NULL, 'i'},
        {"stalled", required_argument, NULL, 's'},   {"connections", required_argument, NULL, 'c'},
        {"payload", required_argument, NULL, 'b'},   {"per-s", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 'd'},   {"receive-buffer", required_argument, NULL, 'v'},
        {"threads", required_argument, NULL, 't'},   {"patience", required_argument, NULL, 'w'},
        {"closes", no_argument, NULL, 'x'},          {"help", no_argument, NULL, '?'},
        {0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (!read_option(option, optarg)) return false;
    if (plan.port == 0 || plan.server == 0 || optind != argc) {
        print_usage();
        return false;
    }
    if (plan.stalled >= plan.connections) {
        fputs("slow: the publisher reads, so that not all can stall\n", stderr);
        return false;
    }
    if (plan.per_s * plan.seconds > MESSAGE_LIMIT) {
        fprintf(stderr, "slow: that is more than %d messages\n", MESSAGE_LIMIT);
        return false;
    }
    /* The publisher has a table to itself. */
    if (plan.connections == 1) {
        plan.threads = 0;
        return true;
    }
    return fits_tables(plan.connections - 1, &plan.threads);
}

#endif
