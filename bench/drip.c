/* The drip: a client whose request heads arrive one byte at a time. It sends the next byte only when the server has
 * received the one before and has gone to sleep again, so no two of them are received together, however slow it is.
 *
 * The kernel tells the first over a unix socket alone: there SIOCOUTQ is what the peer has not yet received, and over
 * TCP what its kernel has not yet acknowledged. The second has to be known as well, because a recv(2) that has just
 * taken a byte looks for more before it returns; it does not sleep, so a thread that sleeps has returned from it.
 *
 *     drip SOCKET PID SHAPE BYTES HEADS
 *
 * PID is a steadfast with one reactor. Each of HEADS connections sends a head of BYTES that asks for an upgrade, and
 * has to get it. SHAPE says what fills the head: `field` one field, `fields` eighty of them, `line` a request line of
 * at most 8 KiB, and one field behind it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { HEAD_LIMIT_BYTES = 16 << 10, LINE_LIMIT_BYTES = 8 << 10, FIELDS = 80, PATIENCE_S = 600 };

static const char line_start[] = "GET /echo?", line_end[] = " HTTP/1.1\r\n", head_end[] = "\r\n",
                  upgrade[] = "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

static char head[HEAD_LIMIT_BYTES];
static size_t head_bytes;

static void fail(const char *what)
{
    fprintf(stderr, "drip: %s\n", what);
    exit(1);
}

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void add(const char *text)
{
    size_t bytes = strlen(text);
    if (bytes > sizeof head - head_bytes) fail("the head has no room for that");
    memcpy(head + head_bytes, text, bytes);
    head_bytes += bytes;
}

static void fill(size_t bytes)
{
    if (bytes > sizeof head - head_bytes) fail("the head has no room for that");
    memset(head + head_bytes, 'x', bytes);
    head_bytes += bytes;
}

/* Makes `fields` fields of what is left of `bytes` before the end of the head. */
static void add_fields(size_t bytes, size_t fields)
{
    size_t left = bytes - (sizeof head_end - 1) - head_bytes;
    for (; fields > 0; fields--) {
        size_t share = left / fields, frame_bytes = strlen("X: \r\n");
        if (share <= frame_bytes) fail("the head is too short for its shape");
        add("X: ");
        fill(share - frame_bytes);
        add("\r\n");
        left -= share;
    }
}

static void build_head(const char *shape, size_t bytes)
{
    size_t frame_bytes = sizeof line_start + sizeof line_end + sizeof upgrade + sizeof head_end - 4;
    if (bytes > sizeof head || bytes < frame_bytes + 1024) fail("BYTES is out of range");
    bool is_line = strcmp(shape, "line") == 0, is_fields = strcmp(shape, "fields") == 0;
    if (!is_line && !is_fields && strcmp(shape, "field") != 0) fail("SHAPE is field, fields or line");
    add(line_start);
    if (is_line) {
        /* What a short head leaves for the line has to leave something for the field as well. */
        size_t line_frame_bytes = sizeof line_start + sizeof line_end - 2, left = bytes - frame_bytes - 64;
        fill(left < LINE_LIMIT_BYTES - line_frame_bytes ? left : LINE_LIMIT_BYTES - line_frame_bytes);
    }
    add(line_end);
    add(upgrade);
    add_fields(bytes, is_fields ? FIELDS : 1);
    add(head_end);
    if (head_bytes != bytes) fail("the head was built wrong");
}

static ssize_t read_file(int descriptor, char *text, size_t bytes)
{
    ssize_t got = pread(descriptor, text, bytes - 1, 0);
    if (got < 0) die("pread");
    text[got] = 0;
    return got;
}

/* The file stat of the only thread that serves connections, proc_pid_stat(5). */
static int open_reactor(const char *pid)
{
    char path[512], name[64];
    int found = -1;
    snprintf(path, sizeof path, "/proc/%s/task", pid);
    DIR *threads = opendir(path);
    if (threads == NULL) die(path);
    for (struct dirent *thread; (thread = readdir(threads)) != NULL;) {
        snprintf(path, sizeof path, "/proc/%s/task/%s/comm", pid, thread->d_name);
        int descriptor = open(path, O_RDONLY | O_CLOEXEC);
        if (descriptor < 0) continue; /* . and .. */
        read_file(descriptor, name, sizeof name);
        close(descriptor);
        if (strncmp(name, "reactor-", 8) != 0) continue;
        if (found >= 0) fail("PID has more than one reactor");
        snprintf(path, sizeof path, "/proc/%s/task/%s/stat", pid, thread->d_name);
        found = open(path, O_RDONLY | O_CLOEXEC);
    }
    closedir(threads);
    if (found < 0) fail("PID has no reactor");
    return found;
}

static bool is_asleep(int reactor)
{
    char stat[512];
    read_file(reactor, stat, sizeof stat);
    /* The name, in parentheses, may hold anything; the state is the field behind it. */
    char *name_end = strrchr(stat, ')');
    return name_end != NULL && name_end[1] == ' ' && name_end[2] == 'S';
}

static void await_received(int descriptor, int reactor)
{
    for (;;) {
        int unreceived;
        if (ioctl(descriptor, SIOCOUTQ, &unreceived) < 0) die("ioctl");
        if (unreceived == 0) break;
        sched_yield();
    }
    while (!is_asleep(reactor)) sched_yield();
}

static void expect_upgrade(int descriptor)
{
    static const char wanted[] = "HTTP/1.1 101 ";
    char answer[1024];
    size_t bytes = 0;
    while (bytes < sizeof wanted - 1) {
        ssize_t more = recv(descriptor, answer + bytes, sizeof answer - bytes, 0);
        if (more < 0) die("recv");
        if (more == 0) fail("the server ended the connection");
        bytes += (size_t)more;
    }
    if (memcmp(answer, wanted, sizeof wanted - 1) != 0) {
        fprintf(stderr, "drip: no upgrade: %.*s\n", (int)bytes, answer);
        exit(1);
    }
}

int main(int count, char **words)
{
    if (count != 6) fail("wants SOCKET PID SHAPE BYTES HEADS");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(words[1]) >= sizeof address.sun_path) fail("the path of SOCKET is too long");
    strcpy(address.sun_path, words[1]);
    build_head(words[3], strtoul(words[4], NULL, 10));
    int reactor = open_reactor(words[2]);
    /* Ends a drip whose server hangs. */
    alarm(PATIENCE_S);
    for (long heads = atol(words[5]); heads > 0; heads--) {
        int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (descriptor < 0) die("socket");
        if (connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
        for (size_t at = 0; at < head_bytes; at++) {
            if (send(descriptor, head + at, 1, MSG_NOSIGNAL) != 1) die("send");
            await_received(descriptor, reactor);
        }
        expect_upgrade(descriptor);
        close(descriptor);
    }
}
