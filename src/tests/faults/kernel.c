/* A hostile kernel: replaces the system calls of a reactor by symbol interposition (LD_PRELOAD, ld.so(8)).
 *
 *     FAULTS=seed=7,again=100,short=300,... FAULTS_REPORT=FILE LD_PRELOAD=.../kernel.so steadfast serve ...
 *
 * Rates are in thousandths of the calls concerned. Only sockets that are accepted here or registered with epoll are
 * affected: everything else goes straight to the kernel.
 *
 * After each refusal the kernel owes an edge (epoll(7), EPOLLET), and so does this: a socket that said EAGAIN or took
 * less than was there is reported again once, by a later epoll_wait, if it is ready then. If it is not, the kernel has
 * seen the same and reports the change by itself. After EMFILE, ENFILE, ENOBUFS, ECONNABORTED and EINTR nothing is
 * owed, and nothing is delivered: an edge that the program loses shows as a hang.
 *
 * Each thread has a table of its own, indexed by descriptor, since each may have its own descriptor table
 * (unshare(2), CLONE_FILES), and a connection belongs to one thread for its life. */
#include "kernel.h"

/* Entries move when the table grows: a pointer is good until the next call for another descriptor. */
static struct watch *watch_for(int fd) {
    if (fd >= me.count) {
        int wanted = fd + 64;
        me.watches = realloc(me.watches, (size_t)wanted * sizeof *me.watches);
        memset(me.watches + me.count, 0, (size_t)(wanted - me.count) * sizeof *me.watches);
        me.count = wanted;
    }
    return &me.watches[fd];
}

static struct watch *socket_of(int fd) {
    return fd >= 0 && fd < me.count && me.watches[fd].is_socket ? &me.watches[fd] : NULL;
}

/* Notes that the kernel would report `events` once. Before it is registered a socket is owed nothing: epoll_ctl(2)
 * reports what is there. */
static void owe(int fd, struct watch *watch, uint32_t events) {
    if (watch->asked == 0) return;
    if (watch->owed == 0) {
        if (me.debts == me.debts_room) {
            me.debts_room = me.debts_room * 2 + 64;
            me.debtors = realloc(me.debtors, (size_t)me.debts_room * sizeof *me.debtors);
        }
        me.debtors[me.debts++] = fd;
        count(k_owed);
    }
    watch->owed |= events;
}

static void forgive(int fd, struct watch *watch) {
    watch->owed = 0;
    for (int at = 0; at < me.debts; at++)
        if (me.debtors[at] == fd) {
            me.debtors[at] = me.debtors[--me.debts];
            return;
        }
}

static void record(int fd, const struct watch *watch, enum kind kind) {
    struct sockaddr_in address = {0};
    socklen_t length = sizeof address;
    int failed = watch->is_accepted ? getpeername(fd, (struct sockaddr *)&address, &length)
                                    : getsockname(fd, (struct sockaddr *)&address, &length);
    uint64_t at = atomic_fetch_add(&report->fatal_count, 1);
    if (at >= MOST_FATAL) return;
    uint16_t port = failed || address.sin_family != AF_INET ? 0 : ntohs(address.sin_port);
    report->fatal[at] = (struct fatal){port, (uint16_t)kind};
}

/* Resets the connection, for this side at once and for the peer when it is closed. */
static void kill_socket(int fd, struct watch *watch) {
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    watch->is_dead = 1;
    count(k_reset);
    record(fd, watch, k_reset);
    owe(fd, watch, EPOLLIN | EPOLLOUT);
}

static void burn(int fd, struct watch *watch, int64_t bytes) {
    if (watch->fuse < 0 || bytes < 0) return;
    watch->fuse -= bytes;
    if (watch->fuse <= 0 && !watch->is_dead) {
        watch->fuse = 0;
        kill_socket(fd, watch);
    }
}

static void light(struct watch *watch) {
    watch->fuse = -1;
    /* Most ends come early: within a head, within a frame. */
    if (rolls(k_reset)) watch->fuse = 1 + (int64_t)(draw() % (1 + (set.fuse_bytes >> (draw() % 8))));
}

/* What a transfer of up to `bytes` is refused with, 0 if it is not; or how much of it may be done. */
static int refuses(int fd, struct watch *watch, uint32_t edge, size_t *bytes) {
    if (injects(k_eintr)) return EINTR;
    if (watch->storm > 0 || injects(k_again)) {
        if (watch->storm > 0) watch->storm--;
        else if (injects(k_storm)) watch->storm = (uint8_t)(draw() % 8);
        owe(fd, watch, edge);
        return EAGAIN;
    }
    if (watch->fuse >= 0 && *bytes > (size_t)watch->fuse) *bytes = (size_t)watch->fuse;
    if (*bytes > 1 && injects(k_shorten)) {
        /* Often a few bytes: headers are that long. */
        size_t most = draw() % 2 ? *bytes - 1 : (*bytes - 1 < 12 ? *bytes - 1 : 12);
        *bytes = 1 + draw() % most;
    }
    return 0;
}

static ssize_t hostile_recv(int fd, void *to, size_t asked, int flags) {
    struct watch *watch = socket_of(fd);
    size_t bytes = asked;
    if (watch == NULL || asked == 0)
        return real.syscall(SYS_recvfrom, fd, to, asked, flags, NULL, NULL);
    if (watch->is_dead) {
        if (watch->has_said_so) return 0;
        watch->has_said_so = 1;
        return fail(ECONNRESET);
    }
    int code = refuses(fd, watch, EPOLLIN, &bytes);
    if (code != 0) return fail(code);
    ssize_t done = real.syscall(SYS_recvfrom, fd, to, bytes, flags, NULL, NULL);
    if (done == (ssize_t)bytes && bytes < asked) owe(fd, watch, EPOLLIN);
    if (done > 0) burn(fd, watch, done);
    return done;
}

/* Whether a transfer to a socket goes to the kernel, and how much of it; else errno is set. */
static int may_send(int fd, struct watch *watch, size_t *bytes) {
    if (watch->is_dead) {
        int code = watch->has_said_so ? EPIPE : ECONNRESET;
        watch->has_said_so = 1;
        errno = code;
        return 0;
    }
    int code = refuses(fd, watch, EPOLLOUT, bytes);
    errno = code;
    return code == 0;
}

static ssize_t sent(int fd, struct watch *watch, size_t asked, ssize_t done) {
    int code = errno;
    if (done >= 0 && (size_t)done < asked) owe(fd, watch, EPOLLOUT);
    if (done > 0) burn(fd, watch, done);
    errno = code;
    return done;
}

static ssize_t hostile_send(int fd, const void *from, size_t asked, int flags) {
    struct watch *watch = socket_of(fd);
    size_t bytes = asked;
    if (watch != NULL && asked > 0 && !may_send(fd, watch, &bytes)) return -1;
    ssize_t done = real.syscall(SYS_sendto, fd, from, bytes, flags, NULL, 0);
    return watch == NULL ? done : sent(fd, watch, asked, done);
}

ssize_t recv(int fd, void *to, size_t bytes, int flags) {
    return hostile_recv(fd, to, bytes, flags);
}

ssize_t send(int fd, const void *from, size_t bytes, int flags) {
    return hostile_send(fd, from, bytes, flags);
}

/* The program calls recvfrom(2) and sendto(2) by number. */
long syscall(long number, ...) {
    long a[6];
    va_list list;
    va_start(list, number);
    for (int at = 0; at < 6; at++) a[at] = va_arg(list, long);
    va_end(list);
    resolve();
    if (number == SYS_recvfrom && a[4] == 0) return hostile_recv((int)a[0], (void *)a[1], (size_t)a[2], (int)a[3]);
    if (number == SYS_sendto && a[4] == 0) return hostile_send((int)a[0], (void *)a[1], (size_t)a[2], (int)a[3]);
    return real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    struct watch *watch = socket_of(fd);
    if (watch == NULL) return real.sendmsg(fd, message, flags);
    size_t asked = 0;
    for (size_t at = 0; at < message->msg_iovlen; at++) asked += message->msg_iov[at].iov_len;
    size_t bytes = asked;
    if (!may_send(fd, watch, &bytes)) return -1;
    struct msghdr less = *message;
    less.msg_iov = alloca((message->msg_iovlen + 1) * sizeof *less.msg_iov);
    less.msg_iovlen = 0;
    for (size_t left = bytes; left > 0; less.msg_iovlen++) {
        struct iovec part = message->msg_iov[less.msg_iovlen];
        if (part.iov_len > left) part.iov_len = left;
        left -= part.iov_len;
        less.msg_iov[less.msg_iovlen] = part;
    }
    return sent(fd, watch, asked, real.sendmsg(fd, &less, flags));
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t asked) {
    struct watch *watch = socket_of(to);
    size_t bytes = asked;
    if (watch != NULL && asked > 0 && !may_send(to, watch, &bytes)) return -1;
    ssize_t done = real.sendfile64(to, from, offset, bytes);
    return watch == NULL ? done : sent(to, watch, asked, done);
}

int shutdown(int fd, int how) {
    struct watch *watch = socket_of(fd);
    return watch != NULL && watch->is_dead ? fail(ENOTCONN) : real.shutdown(fd, how);
}

int accept4(int listener, struct sockaddr *address, socklen_t *length, int flags) {
    static const int errors[] = {EMFILE, ENFILE, ENOBUFS};
    struct watch *watch = listener < me.count ? &me.watches[listener] : NULL;
    if (watch != NULL && watch->is_listener) {
        if (injects(k_eintr)) return fail(EINTR);
        if (injects(k_accept_aborted)) return fail(ECONNABORTED);
        if (rolls(k_accept_error) && atomic_fetch_sub(&set.refusals, 1) > 0) {
            count(k_accept_error);
            return fail(errors[draw() % 3]);
        }
        if (injects(k_again)) {
            owe(listener, watch, EPOLLIN);
            return fail(EAGAIN);
        }
    }
    int fd = real.accept4(listener, address, length, flags);
    if (fd < 0 || watch == NULL) return fd;
    watch = watch_for(fd);
    *watch = (struct watch){.is_socket = 1, .is_accepted = 1, .epoll = -1};
    light(watch);
    return fd;
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
    struct watch *watch = watch_for(fd);
    if (operation == EPOLL_CTL_ADD && watch->is_accepted && injects(k_enospc)) {
        record(fd, watch, k_enospc);
        return fail(ENOSPC);
    }
    int result = real.epoll_ctl(epoll, operation, fd, event);
    if (result != 0) return result;
    forgive(fd, watch);
    if (operation == EPOLL_CTL_DEL) {
        *watch = (struct watch){0};
        return 0;
    }
    if (!watch->is_socket) {
        int type = 0, listens = 0;
        socklen_t length = sizeof type;
        int is_stream = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM;
        length = sizeof listens;
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length);
        watch->is_listener = is_stream && listens;
        watch->is_socket = is_stream && !listens;
        if (watch->is_socket) light(watch);
    }
    watch->token = event->data.u64;
    watch->asked = event->events;
    watch->epoll = epoll;
    if (watch->is_dead) owe(fd, watch, EPOLLIN | EPOLLOUT);
    return 0;
}

int close(int fd) {
    if (fd >= 0 && fd < me.count) {
        forgive(fd, &me.watches[fd]);
        me.watches[fd] = (struct watch){0};
    }
    resolve();
    return real.close(fd);
}

/* What is true of a descriptor now, of `wanted`; ends and errors always are reported. */
static uint32_t state_of(int fd, const struct watch *watch, uint32_t wanted) {
    if (watch->is_dead) return wanted | EPOLLERR | EPOLLHUP | EPOLLRDHUP;
    struct pollfd entry = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};
    if (poll(&entry, 1, 0) <= 0) return 0;
    /* The bits of poll(2) and of epoll(7) are the same. */
    uint32_t now = (uint32_t)(unsigned short)entry.revents;
    uint32_t found = now & wanted;
    return found == 0 && (now & (POLLERR | POLLHUP)) == 0 ? 0 : found | (now & (POLLERR | POLLHUP | POLLRDHUP));
}

/* Delivers edges that are owed: all but some that are put off, and one at least unless none is due any more. */
static int pay(int epoll, struct epoll_event *events, int had, int most) {
    int made = had;
    for (int at = 0; at < me.debts && made < most;) {
        int fd = me.debtors[at];
        struct watch *watch = &me.watches[fd];
        int is_told = 0;
        for (int other = 0; other < had; other++)
            is_told |= events[other].data.u64 == watch->token && (events[other].events & watch->owed) == watch->owed;
        int may_wait = made > 0 || at + 1 < me.debts;
        if (watch->epoll != epoll || (!is_told && may_wait && injects(k_delay))) {
            at++;
            continue;
        }
        uint32_t now = is_told ? 0 : state_of(fd, watch, watch->owed) & (watch->asked | EPOLLERR | EPOLLHUP);
        watch->owed = 0;
        me.debtors[at] = me.debtors[--me.debts];
        if (now == 0) continue; /* the kernel has told it, or tells it when it is true */
        events[made++] = (struct epoll_event){.events = now, .data.u64 = watch->token};
        count(k_paid);
    }
    return made;
}

/* Events that are true of some socket, although nothing happened. */
static int imagine(int epoll, struct epoll_event *events, int had, int most) {
    if (had >= most || me.count == 0 || !rolls(k_spurious)) return had;
    int start = (int)(draw() % (uint64_t)me.count);
    for (int step = 0; step < me.count; step++) {
        int fd = (start + step) % me.count;
        struct watch *watch = &me.watches[fd];
        if (watch->asked == 0 || watch->epoll != epoll || watch->is_dead) continue;
        uint32_t mask = draw() % 2 ? EPOLLIN : EPOLLIN | state_of(fd, watch, EPOLLOUT);
        events[had] = (struct epoll_event){.events = mask & (watch->asked | EPOLLERR | EPOLLHUP), .data.u64 = watch->token};
        count(k_spurious);
        return had + 1;
    }
    return had;
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout) {
    if (injects(k_eintr)) return fail(EINTR);
    if (rolls(k_clock) && atomic_fetch_sub(&set.jumps, 1) > 0) {
        atomic_fetch_add(&clock_offset_ns, (int64_t)(draw() % (set.clock_ms + 1)) * 1000000);
        count(k_clock);
    }
    int limit = most > 1 && injects(k_single) ? 1 : most;
    int room = limit > 1 ? limit - 1 : limit; /* the kernel's come first, but some of ours always fit */
    int had = real.epoll_wait(epoll, events, room, me.debts > 0 ? 0 : timeout);
    if (had < 0) return had;
    int made = pay(epoll, events, had, limit);
    if (made == 0 && timeout != 0 && me.debts == 0) {
        made = real.epoll_wait(epoll, events, room, timeout);
        if (made < 0) return made;
    }
    made = imagine(epoll, events, made, limit);
    if (made > 0 && made < limit && injects(k_duplicate)) {
        events[made] = events[draw() % (uint64_t)made];
        made++;
    }
    if (made > 1 && injects(k_shuffle))
        for (int at = made - 1; at > 0; at--) {
            int other = (int)(draw() % (uint64_t)(at + 1));
            struct epoll_event event = events[at];
            events[at] = events[other];
            events[other] = event;
        }
    return made;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    resolve();
    int result = real.clock_gettime(clock, time);
    if (result != 0 || clock != CLOCK_MONOTONIC) return result;
    int64_t ns = time->tv_nsec + atomic_load(&clock_offset_ns);
    time->tv_sec += ns / 1000000000;
    time->tv_nsec = ns % 1000000000;
    return 0;
}
