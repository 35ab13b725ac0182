/* What fanout was asked to do. */
#ifndef STEADFAST_BENCH_FANOUT_PLAN_H
#define STEADFAST_BENCH_FANOUT_PLAN_H

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
    MESSAGE_LIMIT = 1 << 20,
    PAYLOAD_LIMIT_BYTES = 1 << 24,
    IN_FLIGHT_LIMIT = 64,
};

static struct {
    long port, connections, threads, messages, warm_up, payload_bytes, in_flight, patience_seconds;
    const char *path;
    pid_t server; /* 0: not to be watched */
} plan = {.connections = 1, .messages = 1, .warm_up = 2, .payload_bytes = 64, .in_flight = 1,
          .patience_seconds = 300, .path = "/broadcast"};

static void print_usage(void)
{
    fputs("usage: fanout --port PORT [flags]\n"
          "\n"
          "  --port PORT          WebSocket server on 127.0.0.1 that sends what it gets to all\n"
          "  --path PATH          where it does so (/broadcast)\n"
          "  --connections N      receivers; the first of them is the publisher too (1)\n"
          "  --messages N         broadcasts that are counted (1)\n"
          "  --warm-up N          broadcasts before them that are checked and not counted (2)\n"
          "  --payload BYTES      of each message, 4 or more (64)\n"
          "  --in-flight N        broadcasts under way at once, 64 at most (1)\n"
          "  --threads N          with a descriptor table each (one for every 15,000 connections)\n"
          "  --server-pid PID     report this process' processor time too\n"
          "  --patience SECONDS   without any event, before what is awaited counts as lost (300)\n"
          "\n"
          "Prints one line of JSON. Exit code 0 only if every connection was opened and every message came to each of\n"
          "them, whole, once and in its turn.\n",
          stderr);
}

static bool read_option(int option, const char *value)
{
    long number;
    switch (option) {
    case 'p': return read_number(value, 1, 65535, &plan.port);
    case 'c': return read_number(value, 1, CONNECTION_LIMIT, &plan.connections);
    case 'm': return read_number(value, 1, MESSAGE_LIMIT, &plan.messages);
    case 'u': return read_number(value, 0, MESSAGE_LIMIT, &plan.warm_up);
    case 'b': return read_number(value, SEQUENCE_BYTES, PAYLOAD_LIMIT_BYTES, &plan.payload_bytes);
    case 'f': return read_number(value, 1, IN_FLIGHT_LIMIT, &plan.in_flight);
    case 't': return read_number(value, 1, THREAD_LIMIT, &plan.threads);
    case 'w': return read_number(value, 1, 86400, &plan.patience_seconds);
    case 'a': plan.path = value; return true;
    case 's':
        if (!read_number(value, 1, INT32_MAX, &number)) return false;
        plan.server = (pid_t)number;
        return true;
    default: print_usage(); return false;
    }
}

/* False when something about it is wrong, which has been said then. */
static bool read_plan(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},      {"path", required_argument, NULL, 'a'},
        {"messages", required_argument, NULL, 'm'},  {"connections", required_argument, NULL, 'c'},
        {"payload", required_argument, NULL, 'b'},   {"warm-up", required_argument, NULL, 'u'},
        {"threads", required_argument, NULL, 't'},   {"server-pid", required_argument, NULL, 's'},
        {"in-flight", required_argument, NULL, 'f'}, {"patience", required_argument, NULL, 'w'},
        {"help", no_argument, NULL, '?'},            {0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (!read_option(option, optarg)) return false;
    if (plan.port == 0 || optind != argc) {
        print_usage();
        return false;
    }
    return fits_tables(plan.connections, &plan.threads);
}

#endif
