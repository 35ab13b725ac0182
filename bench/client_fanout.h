/* The receivers of a broadcast, of which the first is the publisher too. A message is sent when all have the one before it.
 * RLIMIT_NOFILE bounds a descriptor table: each thread takes one of its own and holds its share of the connections. */
#ifndef STEADFAST_BENCH_CLIENT_FANOUT_H
#define STEADFAST_BENCH_CLIENT_FANOUT_H

enum { WARM_UP = 2, TABLE_CONNECTIONS = 15000, WORKER_LIMIT = 256, CONNECTION_LIMIT = TABLE_CONNECTIONS * WORKER_LIMIT };

static long total_workers;
static uint32_t total_messages; /* the warm-up included */
static int publisher_wake, everyone_wake;
static struct stamp broadcasts_began, broadcasts_ended;
static uint64_t *sent_ns;     /* of each message */
static uint64_t *arrivals_ns; /* after that, of each message at each connection */
static _Atomic uint32_t published;
static atomic_long *workers_settled; /* of each message: threads whose connections all have it */
static atomic_long workers_open;
static atomic_bool ended;

/* Each write to an eventfd makes an edge, so that it need not be read. */
static void wake(int eventfd_descriptor)
{
    const uint64_t one = 1;
    if (write(eventfd_descriptor, &one, sizeof one) < 0) die("eventfd");
}

static uint32_t published_messages(void) { return atomic_load(&published); }

/* The thread that completes a message wakes the publisher's, which looks by itself after each of its turns. */
static void count_delivery(struct connection *connection, uint64_t now_ns)
{
    const uint32_t message = connection->received_messages;
    arrivals_ns[message * (size_t)total_connections + (size_t)(connection - connections)] = now_ns - sent_ns[message];
    if (++me->settled[message] < me->count) return;
    if (atomic_fetch_add(&workers_settled[message], 1) + 1 == total_workers && me != workers) wake(publisher_wake);
}

/* Waits until the server rests: handshakes, a broadcast and ends leave it work that no client sees. */
static struct stamp rest(void)
{
    enum { TRIES = 200, PAUSE_NS = 50000000, AT_REST_NS = PAUSE_NS / 50 };
    struct stamp stamp = take_stamp();
    for (int tries = 0; tries < TRIES; tries++) {
        const struct stamp before = stamp;
        nanosleep(&(struct timespec){0, PAUSE_NS}, NULL);
        stamp = take_stamp();
        if (stamp.server_ns - before.server_ns <= AT_REST_NS) return stamp;
    }
    fputs("client: the server does not rest; its processor time is not only that of the broadcasts\n", stderr);
    return stamp;
}

static void publish(void)
{
    while (atomic_load(&workers_open) == total_workers && connections->unsent == NULL) {
        const uint32_t next = atomic_load(&published);
        if (next > 0 && atomic_load(&workers_settled[next - 1]) < total_workers) return;
        if (next == WARM_UP) broadcasts_began = rest();
        if (next == total_messages) {
            broadcasts_ended = rest();
            atomic_store(&ended, true);
            wake(everyone_wake);
            return;
        }
        sent_ns[next] = read_clock_ns(CLOCK_MONOTONIC);
        atomic_store(&published, next + 1);
        send_burst(connections);
    }
}

static void *work(void *argument)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    me = argument;
    if (unshare(CLONE_FILES) != 0) die("unshare");
    open_all();
    watch(everyone_wake, NO_CONNECTION, EPOLLIN);
    if (me == workers) watch(publisher_wake, NO_CONNECTION, EPOLLIN);
    if (atomic_fetch_add(&workers_open, 1) + 1 == total_workers) wake(publisher_wake);
    while (!atomic_load(&ended)) {
        turn_patiently();
        if (me == workers) publish();
    }
    /* A message that came once too often is here, if anywhere. */
    while (turn(0) > 0) continue;
    /* Reset, so that no port stays in TIME_WAIT. */
    for (long i = me->first; i < me->first + me->count; i++) {
        setsockopt(connections[i].descriptor, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(connections[i].descriptor);
    }
    return NULL;
}

static int by_size(const void *left, const void *right)
{
    const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* Of the messages that are counted: when they arrived, and the time from the first arrival of one to its last. */
static void report_arrivals(void)
{
    const size_t receivers = (size_t)total_connections, count = receivers * (size_t)plan.messages;
    uint64_t *arrivals = arrivals_ns + WARM_UP * receivers, *spreads = allocate((size_t)plan.messages, sizeof *spreads);
    uint64_t end_ns = 0;
    for (long i = 0; i < plan.messages; i++) {
        uint64_t *of_message = arrivals + (size_t)i * receivers;
        qsort(of_message, receivers, sizeof *of_message, by_size);
        spreads[i] = of_message[receivers - 1] - of_message[0];
        end_ns = sent_ns[WARM_UP + i] + of_message[receivers - 1];
    }
    qsort(spreads, (size_t)plan.messages, sizeof *spreads, by_size);
    qsort(arrivals, count, sizeof *arrivals, by_size);
    printf("{\"deliveries\":%zu,\"per_second\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,\"spread_us\":%.1f,",
           count, (double)count * 1e9 / (double)(end_ns - sent_ns[WARM_UP]), (double)arrivals[count / 2] / 1000,
           (double)arrivals[count * 99 / 100] / 1000, (double)arrivals[count - 1] / 1000,
           (double)(spreads[(plan.messages - 1) / 2] + spreads[plan.messages / 2]) / 2000);
    report(broadcasts_began, broadcasts_ended);
}

static void fanout(void)
{
    total_messages = (uint32_t)(WARM_UP + plan.messages);
    plan.messages = total_messages;
    total_workers = (plan.connections + TABLE_CONNECTIONS - 1) / TABLE_CONNECTIONS;
    arrivals_ns = allocate(total_messages, (size_t)total_connections * sizeof *arrivals_ns);
    sent_ns = allocate(total_messages, sizeof *sent_ns);
    workers_settled = allocate(total_messages, sizeof *workers_settled);
    raise_descriptor_limit();
    /* Opened before any table is copied, and so in each of them. */
    publisher_wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    everyone_wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (publisher_wake < 0 || everyone_wake < 0) die("eventfd");
    for (long i = 0; i < total_workers; i++) {
        workers[i].first = plan.connections * i / total_workers;
        workers[i].count = plan.connections * (i + 1) / total_workers - workers[i].first;
        workers[i].settled = allocate(total_messages, sizeof *workers[i].settled);
    }
    for (long i = 0; i < total_workers; i++)
        if ((errno = pthread_create(&workers[i].thread, NULL, work, &workers[i])) != 0) die("pthread_create");
    for (long i = 0; i < total_workers; i++) pthread_join(workers[i].thread, NULL);
    /* So that the signal that stops the server next does not find it with more or less of the ends still to be seen. */
    rest();
    plan.messages -= WARM_UP;
    report_arrivals();
}

#endif
