/* What the programs of this folder share: errors, memory, clocks, flags, descriptors, and bytes that wait. */
#ifndef STEADFAST_BENCH_PROGRAM_H
#define STEADFAST_BENCH_PROGRAM_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { DESCRIPTOR_LIMIT = 1 << 22 };

static inline void die(const char *what)
{
    perror(what);
    exit(2);
}

/* Zeroed memory. Pages that are never touched cost nothing. */
static inline void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL) die("calloc");
    return memory;
}

static inline uint64_t read_clock_ns(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) != 0) die("clock_gettime");
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Returns how many descriptors a table of this process may have. */
static inline size_t raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) die("getrlimit");
    limit.rlim_cur = limit.rlim_max < DESCRIPTOR_LIMIT ? limit.rlim_max : DESCRIPTOR_LIMIT;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) die("setrlimit");
    return limit.rlim_cur;
}

/* A flag takes a number from `least` to `most`; one whose `most` is 0 takes none and sets 1. */
struct flag {
    const char *name;
    long *value, least, most;
};

/* Reads all words. The first flag has to be there; the last one of the list has no name. Ends the program with `usage` if
 * something is wrong. */
__attribute__((noinline, unused))
static void read_flags(char **words, const struct flag *flags, const char *usage)
{
    for (; *words != NULL; words++) {
        const struct flag *flag = flags;
        while (flag->name != NULL && strcmp(flag->name, *words) != 0) flag++;
        char *end = "";
        if (flag->name != NULL && flag->most == 0) {
            *flag->value = 1;
            continue;
        }
        errno = 0;
        if (flag->name != NULL && words[1] != NULL) {
            *flag->value = strtol(*++words, &end, 10);
            if (errno == 0 && end != *words && *end == '\0' && *flag->value >= flag->least
                && *flag->value <= flag->most)
                continue;
        }
        fprintf(stderr, "what is %s?\n", *words);
        *flags->value = 0;
        break;
    }
    if (*flags->value != 0) return;
    fputs(usage, stderr);
    exit(2);
}

/* Bytes that wait: a request or frame whose end has not come yet, or what a socket has not taken. */
struct tail {
    size_t length_bytes;
    uint8_t bytes[];
};

static inline struct tail *keep(const uint8_t *bytes, size_t length_bytes)
{
    struct tail *tail = malloc(sizeof *tail + length_bytes);
    if (tail == NULL) die("malloc");
    tail->length_bytes = length_bytes;
    memcpy(tail->bytes, bytes, length_bytes);
    return tail;
}

#endif
