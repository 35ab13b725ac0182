/* What load was asked to do. */
#ifndef STEADFAST_BENCH_LOAD_PLAN_H
#define STEADFAST_BENCH_LOAD_PLAN_H

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

enum { CONNECTION_LIMIT = 19000, PAYLOAD_LIMIT_BYTES = 1 << 24, BURST_LIMIT_BYTES = 1 << 28, MASKED_HEADER_BYTES = 14 };

static struct {
    long port, connections, idle, messages, payload_bytes, in_flight, patience_seconds;
    pid_t server; /* 0: not to be watched */
    bool text, close_frames, hold_open, offer_deflate;
} plan = {.connections = 1, .messages = 1, .payload_bytes = 20, .in_flight = 1, .patience_seconds = 60};

static void print_usage(void)
{
    fputs("usage: load --port PORT [flags]\n"
          "\n"
          "  --port PORT          WebSocket echo server on 127.0.0.1, path /echo\n"
          "  --connections N      connections that exchange messages (1)\n"
          "  --messages N         messages on each of them (1)\n"
          "  --payload BYTES      of each message (20)\n"
          "  --in-flight FRAMES   sent at once, and all awaited before the next are sent (1)\n"
          "  --idle N             further connections that are opened and stay silent (0)\n"
          "  --text               text messages in place of binary ones\n"
          "  --offer-deflate      agree upon permessage-deflate, and send messages as they are all the same\n"
          "  --close              close with the closing handshake; else each stream is just ended\n"
          "  --hold-open          before closing, keep all open until SIGTERM or SIGINT; says `holding N` on stderr\n"
          "  --server-pid PID     report this process' processor time too\n"
          "  --patience SECONDS   without any event, before what is awaited counts as lost (60)\n"
          "\n"
          "Prints one line of JSON. Exit code 0 only if every connection was opened, answered and closed in order and\n"
          "every reply was right.\n",
          stderr);
}

static bool read_number(const char *text, long least, long most, long *number)
{
    char *end;
    errno = 0;
    *number = strtol(text, &end, 10);
    if (errno == 0 && end != text && *end == '\0' && *number >= least && *number <= most) return true;
    fprintf(stderr, "load: %s is not a number from %ld to %ld\n", text, least, most);
    return false;
}

static bool read_option(int option, const char *value)
{
    long number;
    switch (option) {
    case 'p': return read_number(value, 1, 65535, &plan.port);
    case 'c': return read_number(value, 1, CONNECTION_LIMIT, &plan.connections);
    case 'm': return read_number(value, 0, UINT32_MAX, &plan.messages);
    case 'b': return read_number(value, 0, PAYLOAD_LIMIT_BYTES, &plan.payload_bytes);
    case 'f': return read_number(value, 1, 65536, &plan.in_flight);
    case 'i': return read_number(value, 0, CONNECTION_LIMIT, &plan.idle);
    case 'w': return read_number(value, 1, 86400, &plan.patience_seconds);
    case 't': return plan.text = true;
    case 'x': return plan.close_frames = true;
    case 'z': return plan.offer_deflate = true;
    case 'h': return plan.hold_open = true;
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
        {"port", required_argument, NULL, 'p'},       {"connections", required_argument, NULL, 'c'},
        {"messages", required_argument, NULL, 'm'},   {"payload", required_argument, NULL, 'b'},
        {"in-flight", required_argument, NULL, 'f'},  {"idle", required_argument, NULL, 'i'},
        {"server-pid", required_argument, NULL, 's'}, {"patience", required_argument, NULL, 'w'},
        {"text", no_argument, NULL, 't'},             {"close", no_argument, NULL, 'x'},
        {"offer-deflate", no_argument, NULL, 'z'},
        {"hold-open", no_argument, NULL, 'h'},        {"help", no_argument, NULL, '?'},
        {0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (!read_option(option, optarg)) return false;
    if (plan.port == 0 || optind != argc) {
        print_usage();
        return false;
    }
    if (plan.connections + plan.idle > CONNECTION_LIMIT) {
        fprintf(stderr, "load: more than %d connections do not fit one descriptor table\n", CONNECTION_LIMIT);
        return false;
    }
    if (plan.in_flight * (plan.payload_bytes + MASKED_HEADER_BYTES) > BURST_LIMIT_BYTES) {
        fprintf(stderr, "load: a burst of more than %d bytes\n", BURST_LIMIT_BYTES);
        return false;
    }
    return true;
}

#endif
