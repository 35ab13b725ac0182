/* Request heads that arrive one byte at a time: the next byte is sent when the server has received the one before and sleeps
 * again. The kernel tells the first over a unix socket alone: there SIOCOUTQ is what the peer has not yet received, and over
 * TCP what its kernel has not yet acknowledged. The second has to be known as well, because a recv(2) that has just taken a
 * byte looks for more before it returns; a thread that sleeps has returned from it.
 *
 * PID is a steadfast with one reactor. Each of HEADS connections sends a head of BYTES that asks for an upgrade. SHAPE is
 * what fills it: `field` one field, `fields` eighty of them, `line` a request line of at most 8 KiB, and one field. */
#ifndef STEADFAST_BENCH_CLIENT_DRIP_H
#define STEADFAST_BENCH_CLIENT_DRIP_H

#include <dirent.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/un.h>

enum { DRIP_LIMIT_BYTES = 16 << 10, LINE_LIMIT_BYTES = 8 << 10, FIELDS = 80, DRIP_PATIENCE_S = 600 };

static const char line_start[] = "GET /echo?", line_end[] = " HTTP/1.1\r\n", head_end[] = "\r\n",
                  upgrade[] = "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

static char drip_head[DRIP_LIMIT_BYTES];
static size_t drip_bytes;

__attribute__((noreturn))
static void refuse(const char *what)
{
    fprintf(stderr, "client drip: %s\n", what);
    exit(1);
}

static void add(const char *text, size_t bytes)
{
    const size_t text_bytes = strlen(text);
    if (text_bytes + bytes > sizeof drip_head - drip_bytes) refuse("the head has no room for that");
    memcpy(drip_head + drip_bytes, text, text_bytes);
    memset(drip_head + drip_bytes + text_bytes, 'x', bytes);
    drip_bytes += text_bytes + bytes;
}

static void build_head(const char *shape, size_t bytes)
{
    const size_t frame_bytes = sizeof line_start + sizeof line_end + sizeof upgrade + sizeof head_end - 4;
    const bool is_line = strcmp(shape, "line") == 0, is_fields = strcmp(shape, "fields") == 0;
    if (bytes > sizeof drip_head || bytes < frame_bytes + 1024) refuse("BYTES is out of range");
    if (!is_line && !is_fields && strcmp(shape, "field") != 0) refuse("SHAPE is field, fields or line");
    /* What a short head leaves for the line has to leave something for the field as well. */
    const size_t left = bytes - frame_bytes - 64, most = LINE_LIMIT_BYTES - (sizeof line_start + sizeof line_end - 2);
    add(line_start, !is_line ? 0 : left < most ? left : most);
    add(line_end, 0);
    add(upgrade, 0);
    for (size_t fields = is_fields ? FIELDS : 1; fields > 0; fields--) {
        add("X: ", (bytes - (sizeof head_end - 1) - drip_bytes) / fields - strlen("X: \r\n"));
        add("\r\n", 0);
    }
    add(head_end, 0);
    if (drip_bytes != bytes) refuse("the head was built wrong");
}

static const char *read_file(int descriptor)
{
    static char text[512];
    const ssize_t got = pread(descriptor, text, sizeof text - 1, 0);
    text[got > 0 ? got : 0] = 0;
    return text;
}

/* Opens the file stat of the only thread that serves connections, proc_pid_stat(5). */
static int open_reactor(const char *pid)
{
    char path[512];
    int found = -1;
    snprintf(path, sizeof path, "/proc/%s/task", pid);
    DIR *threads = opendir(path);
    if (threads == NULL) die(path);
    for (struct dirent *thread; (thread = readdir(threads)) != NULL;) {
        snprintf(path, sizeof path, "/proc/%s/task/%s/stat", pid, thread->d_name);
        const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
        const char *name = strchr(read_file(descriptor), '(');
        if (name == NULL || strncmp(name, "(reactor-", 9) != 0) continue;
        if (found >= 0) refuse("PID has more than one reactor");
        found = descriptor;
    }
    closedir(threads);
    if (found < 0) refuse("PID has no reactor");
    return found;
}

static bool is_asleep(int reactor)
{
    /* The name, in parentheses, may hold anything; the state is the field after it. */
    const char *name_end = strrchr(read_file(reactor), ')');
    return name_end != NULL && name_end[1] == ' ' && name_end[2] == 'S';
}

static void await_received(int descriptor, int reactor)
{
    for (int unreceived = 1; unreceived != 0; sched_yield())
        if (ioctl(descriptor, SIOCOUTQ, &unreceived) < 0) die("ioctl");
    while (!is_asleep(reactor)) sched_yield();
}

static int drip(int count, char **words)
{
    static const char wanted[] = "HTTP/1.1 101 ";
    char answer[sizeof wanted];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (count != 5) refuse("expected SOCKET PID SHAPE BYTES HEADS");
    if (strlen(words[0]) >= sizeof address.sun_path) refuse("the path of SOCKET is too long");
    strcpy(address.sun_path, words[0]);
    build_head(words[2], strtoul(words[3], NULL, 10));
    const int reactor = open_reactor(words[1]);
    /* Ends a drip whose server hangs. */
    alarm(DRIP_PATIENCE_S);
    for (long heads = atol(words[4]); heads > 0; heads--) {
        const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (descriptor < 0) die("socket");
        if (connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
        for (size_t at = 0; at < drip_bytes; at++) {
            if (send(descriptor, drip_head + at, 1, MSG_NOSIGNAL) != 1) die("send");
            await_received(descriptor, reactor);
        }
        const ssize_t got = recv(descriptor, answer, sizeof wanted - 1, MSG_WAITALL);
        if (got != sizeof wanted - 1 || memcmp(answer, wanted, sizeof wanted - 1) != 0) refuse("no upgrade came");
        close(descriptor);
    }
    return 0;
}

#endif
