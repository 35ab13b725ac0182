/* What load counted and timed, and the line that says so. */
#ifndef STEADFAST_BENCH_LOAD_REPORT_H
#define STEADFAST_BENCH_LOAD_REPORT_H

#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "load_plan.h"

static struct {
    long opened, replies, wrong, lost, closed;
} tally;

struct stamp {
    double wall_seconds, user_seconds, sys_seconds;
    double server_seconds; /* negative: not known */
};

static double in_seconds(struct timespec time) { return (double)time.tv_sec + (double)time.tv_nsec * 1e-9; }

static struct stamp take_stamp(pid_t server)
{
    struct stamp stamp = {.server_seconds = -1};
    struct timespec time;
    struct rusage usage;
    clock_gettime(CLOCK_MONOTONIC, &time);
    stamp.wall_seconds = in_seconds(time);
    getrusage(RUSAGE_SELF, &usage);
    stamp.user_seconds = (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec * 1e-6;
    stamp.sys_seconds = (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec * 1e-6;
    /* The processor clock of another process counts nanoseconds of all its threads, ended ones included, where
     * /proc/PID/stat counts ticks. A thread that runs at this very moment on another core is counted up to its last
     * tick only; on one and the same core the server sleeps or waits while this line runs. */
    clockid_t clock;
    if (server != 0 && clock_getcpuclockid(server, &clock) == 0 && clock_gettime(clock, &time) == 0)
        stamp.server_seconds = in_seconds(time);
    return stamp;
}

static void print_phase(const char *name, struct stamp from, struct stamp to)
{
    printf(",\"%s_wall_seconds\":%.6f,\"%s_client_user_seconds\":%.6f,\"%s_client_sys_seconds\":%.6f", name,
           to.wall_seconds - from.wall_seconds, name, to.user_seconds - from.user_seconds, name,
           to.sys_seconds - from.sys_seconds);
    if (from.server_seconds < 0 || to.server_seconds < 0)
        printf(",\"%s_server_cpu_seconds\":null", name);
    else
        printf(",\"%s_server_cpu_seconds\":%.9f", name, to.server_seconds - from.server_seconds);
}

/* Flat, so that a script can read it without a JSON parser. */
static void report(struct stamp start, struct stamp opened, struct stamp exchanged)
{
    printf("{\"schema\":\"steadfast-load-1\",\"connections\":%ld,\"idle\":%ld,\"payload_bytes\":%ld,\"in_flight\":%ld,"
           "\"opened\":%ld,\"messages\":%ld,\"replies\":%ld,\"wrong\":%ld,\"lost\":%ld,\"closed\":%ld",
           plan.connections, plan.idle, plan.payload_bytes, plan.in_flight, tally.opened,
           plan.connections * plan.messages, tally.replies, tally.wrong, tally.lost, tally.closed);
    print_phase("handshakes", start, opened);
    print_phase("messages", opened, exchanged);
    puts("}");
}

#endif
