/* What can be seen of a server from outside while it runs: what it counts at /stats, and memory, its own and the
 * kernel's. */
#ifndef STEADFAST_BENCH_SLOW_VIEW_H
#define STEADFAST_BENCH_SLOW_VIEW_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "dial.h"

/* Since the server started, and of all its reactors; only what is queued goes up and down. */
struct counts {
    uint64_t in, out, delivered, dropped, queued, closed_slow, bytes_out;
};

/* RssAnon of proc_pid_status(5), Slab of proc_meminfo(5), and the buffers of all TCP sockets of this host, what they
 * have been granted and do not use included: `mem` of /proc/net/sockstat, in pages. */
struct memory {
    long user_kib, slab_kib, tcp_kib;
};

/* Of earlier documents, heads included. The server counts what it sends of a document when that has been made. */
static uint64_t stats_bytes;

/* The number behind `"name":`, at the first place behind `from` where that stands. */
static bool find_count(const char *from, const char *name, uint64_t *count)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *at = from == NULL ? NULL : strstr(from, quoted);
    return at != NULL && sscanf(at + strlen(quoted), "%" SCNu64, count) == 1;
}

/* The sums stand before those of each reactor. */
static bool read_document(const char *document, struct counts *counts)
{
    const char *messages = strstr(document, "\"messages\":{"), *sums = strstr(document, "\"counters\":{");
    return find_count(messages, "in", &counts->in) && find_count(messages, "out", &counts->out)
           && find_count(messages, "delivered", &counts->delivered)
           && find_count(messages, "dropped", &counts->dropped) && find_count(messages, "queued", &counts->queued)
           && find_count(sums, "closed_slow", &counts->closed_slow)
           && find_count(sums, "bytes_out", &counts->bytes_out);
}

static bool read_counts(long port, long patience_seconds, struct counts *counts)
{
    static const char request[] = "GET /stats HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    static char answer[1 << 20];
    const struct timeval patience = {.tv_sec = patience_seconds};
    const struct sockaddr_in address = server_address(port);
    size_t length_bytes = 0;
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) die("socket");
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ssize_t got = connect(descriptor, (const struct sockaddr *)&address, sizeof address);
    if (got == 0) got = send(descriptor, request, sizeof request - 1, MSG_NOSIGNAL);
    while (got > 0 && length_bytes < sizeof answer - 1) {
        got = recv(descriptor, answer + length_bytes, sizeof answer - 1 - length_bytes, 0);
        if (got > 0) length_bytes += (size_t)got;
    }
    close(descriptor);
    answer[length_bytes] = '\0';
    stats_bytes += length_bytes;
    if (got == 0 && read_document(answer, counts)) return true;
    complain("/stats did not answer as it should");
    return false;
}

/* The number behind `name` in a file of proc(5), at the first place behind `line` where that stands. */
static long read_proc(const char *path, const char *line, const char *name)
{
    char text[8192];
    FILE *file = fopen(path, "r");
    if (file == NULL) die(path);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    const char *at = strstr(text, line);
    if (at != NULL) at = strstr(at, name);
    return at == NULL ? 0 : strtol(at + strlen(name), NULL, 10);
}

static struct memory read_memory(long pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/status", pid);
    return (struct memory){
        .user_kib = read_proc(path, "RssAnon:", "RssAnon:"),
        .slab_kib = read_proc("/proc/meminfo", "Slab:", "Slab:"),
        .tcp_kib = read_proc("/proc/net/sockstat", "TCP:", " mem ") * (sysconf(_SC_PAGESIZE) / 1024),
    };
}

static void keep_peak(struct memory *peak, struct memory now)
{
    if (now.user_kib > peak->user_kib) peak->user_kib = now.user_kib;
    if (now.slab_kib > peak->slab_kib) peak->slab_kib = now.slab_kib;
    if (now.tcp_kib > peak->tcp_kib) peak->tcp_kib = now.tcp_kib;
}

#endif
