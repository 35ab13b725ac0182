/* What the hostile kernel works by: its settings, what it tells the test, dice, and the calls that it replaces. */
#define _GNU_SOURCE
#include <alloca.h>
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* What is injected, in the order of the counts in the report. */
#define KINDS(X)                                                                                                       \
    X(again) X(storm) X(shorten) X(eintr) X(reset) X(accept_error) X(accept_aborted) X(enospc)                         \
    X(single) X(shuffle) X(duplicate) X(spurious) X(delay) X(clock)
enum kind {
#define X(name) k_##name,
    KINDS(X)
#undef X
    k_owed, /* edges that were owed, and those that were delivered */
    k_paid,
    KIND_COUNT
};

/* The report, shared with the test through a file. */
#define MOST_FATAL 4096
struct fatal {
    uint16_t port; /* the client's, whichever side this is */
    uint16_t kind;
};
struct report {
    _Atomic uint64_t counts[32];
    _Atomic uint64_t fatal_count;
    struct fatal fatal[MOST_FATAL];
};

/* One descriptor of one thread. */
struct watch {
    uint64_t token;
    uint32_t asked; /* events of the registration; 0 if there is none */
    uint32_t owed;
    int64_t fuse; /* bytes until the connection is reset; -1 for never */
    int epoll;
    uint8_t is_socket;
    uint8_t is_accepted;
    uint8_t is_listener;
    uint8_t is_dead;
    uint8_t has_said_so; /* a reset is reported once, then the stream has ended */
    uint8_t storm;       /* refusals still to come */
};

static __thread struct {
    uint64_t random;
    struct watch *watches;
    int count;
    int *debtors; /* descriptors with an edge owed; each is listed once */
    int debts, debts_room;
} me;

static struct {
    uint64_t seed;
    uint64_t rates[KIND_COUNT];
    uint64_t clock_ms;    /* the longest jump */
    uint64_t fuse_bytes;  /* the longest fuse */
    _Atomic int64_t refusals; /* accept errors that are left: each costs the server a tick */
    _Atomic int64_t jumps;
} set = {.clock_ms = 500, .fuse_bytes = 4096, .refusals = 3, .jumps = 8};

static struct report unread, *report = &unread;
static _Atomic uint64_t threads;
static _Atomic int64_t clock_offset_ns;

static struct {
    long (*syscall)(long, ...);
    ssize_t (*sendmsg)(int, const struct msghdr *, int);
    ssize_t (*sendfile64)(int, int, off64_t *, size_t);
    int (*accept4)(int, struct sockaddr *, socklen_t *, int);
    int (*epoll_ctl)(int, int, int, struct epoll_event *);
    int (*epoll_wait)(int, struct epoll_event *, int, int);
    int (*close)(int);
    int (*shutdown)(int, int);
    int (*clock_gettime)(clockid_t, struct timespec *);
} real;

/* Reads one `name=value` of FAULTS. */
static void set_one(const char *name, uint64_t value) {
    static const char *const names[] = {
#define X(name) #name,
        KINDS(X)
#undef X
    };
    for (size_t at = 0; at < sizeof names / sizeof *names; at++)
        if (strcmp(name, names[at]) == 0) {
            set.rates[at] = value;
            return;
        }
    if (strcmp(name, "seed") == 0) set.seed = value;
    else if (strcmp(name, "clock_ms") == 0) set.clock_ms = value;
    else if (strcmp(name, "fuse_bytes") == 0) set.fuse_bytes = value;
    else if (strcmp(name, "refusals") == 0) set.refusals = (int64_t)value;
    else if (strcmp(name, "jumps") == 0) set.jumps = (int64_t)value;
    else {
        fprintf(stderr, "FAULTS: unknown name '%s'\n", name);
        _exit(99);
    }
}

static void resolve(void) {
    static int done;
    if (done) return;
    *(void **)&real.syscall = dlsym(RTLD_NEXT, "syscall");
    *(void **)&real.sendmsg = dlsym(RTLD_NEXT, "sendmsg");
    *(void **)&real.sendfile64 = dlsym(RTLD_NEXT, "sendfile64");
    *(void **)&real.accept4 = dlsym(RTLD_NEXT, "accept4");
    *(void **)&real.epoll_ctl = dlsym(RTLD_NEXT, "epoll_ctl");
    *(void **)&real.epoll_wait = dlsym(RTLD_NEXT, "epoll_wait");
    *(void **)&real.close = dlsym(RTLD_NEXT, "close");
    *(void **)&real.shutdown = dlsym(RTLD_NEXT, "shutdown");
    *(void **)&real.clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    done = 1;
}

__attribute__((constructor)) static void begin(void) {
    resolve();
    const char *text = getenv("FAULTS");
    char *list = strdup(text ? text : "");
    for (char *rest = list, *word; (word = strsep(&rest, ",")) != NULL;) {
        char *value = strchr(word, '=');
        if (value == NULL) continue;
        *value = 0;
        set_one(word, strtoull(value + 1, NULL, 10));
    }
    free(list);
    const char *path = getenv("FAULTS_REPORT");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *shared = ftruncate(fd, sizeof *report) == 0
                       ? mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                       : MAP_FAILED;
    if (shared != MAP_FAILED) report = shared;
    real.close(fd);
}

/* splitmix64, seeded for each thread. */
static uint64_t draw(void) {
    if (me.random == 0) me.random = (set.seed + 1) * 0x9e3779b97f4a7c15u + atomic_fetch_add(&threads, 1);
    uint64_t z = me.random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void count(enum kind kind) {
    atomic_fetch_add_explicit(&report->counts[kind], 1, memory_order_relaxed);
}

static int rolls(enum kind kind) {
    return set.rates[kind] > 0 && draw() % 1000 < set.rates[kind];
}

static int injects(enum kind kind) {
    if (!rolls(kind)) return 0;
    count(kind);
    return 1;
}

static int fail(int code) {
    errno = code;
    return -1;
}
