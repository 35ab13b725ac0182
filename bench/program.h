/* What fanout, slow and fair are as programs: numbers in their flags, what they complain of, memory, and whether their
 * connections fit the descriptor tables. */
#ifndef STEADFAST_BENCH_PROGRAM_H
#define STEADFAST_BENCH_PROGRAM_H

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum {
    TABLE_CONNECTIONS = 15000, /* in one descriptor table, if nothing else was asked for */
    TABLE_SPARE = 64,          /* descriptors of a table that are no connections, and more than there ever are */
    COMPLAINTS_LIMIT = 5,
};

static inline void die(const char *what)
{
    perror(what);
    exit(2);
}

static inline void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL) die("calloc");
    return memory;
}

__attribute__((format(printf, 1, 2)))
static inline void complain(const char *cause, ...)
{
    static atomic_int complaints;
    if (atomic_fetch_add(&complaints, 1) >= COMPLAINTS_LIMIT) return;
    char text[256];
    va_list arguments;
    va_start(arguments, cause);
    vsnprintf(text, sizeof text, cause, arguments);
    va_end(arguments);
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, text);
}

static inline bool read_number(const char *text, long least, long most, long *number)
{
    char *end;
    errno = 0;
    *number = strtol(text, &end, 10);
    if (errno == 0 && end != text && *end == '\0' && *number >= least && *number <= most) return true;
    fprintf(stderr, "%s: %s is not a number from %ld to %ld\n", program_invocation_short_name, text, least, most);
    return false;
}

/* RLIMIT_NOFILE bounds a table, and each thread will have one of its own. Without a number of threads it is found. */
static inline bool fits_tables(long connections, long *threads)
{
    struct rlimit limit;
    if (*threads == 0) *threads = (connections + TABLE_CONNECTIONS - 1) / TABLE_CONNECTIONS;
    if (*threads > connections) *threads = connections;
    const rlim_t largest = (rlim_t)((connections + *threads - 1) / *threads) + TABLE_SPARE;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
    limit.rlim_cur = limit.rlim_max;
    if (largest <= limit.rlim_max && setrlimit(RLIMIT_NOFILE, &limit) == 0) return true;
    fprintf(stderr, "%s: %ld connections do not fit %ld descriptor tables; more --threads would hold them\n",
            program_invocation_short_name, connections, *threads);
    return false;
}

#endif
