/* SPDX-License-Identifier: Apache-2.0
 *
 * What retention and compaction at full tilt cost a local stream beside them: a producer that sends
 * a record of 100 bytes every 100 us, a consumer that sleeps for it, and of each record how long it
 * took. All the while feeders write 1 KiB records at a fixed rate into two other topics. Alone,
 * these topics keep all; then one is compacted and the other one is cut short, again and again.
 *
 * bench_beside SOCKET [RUNS [SECONDS [MB_PER_SECOND]]]
 *
 * Both are measured in turn, RUNS (7) times for SECONDS (4) each; medians, and their ratio. Let
 * busd look often: --set log.retention.check.interval.ms=100 --set log.cleaner.backoff.ms=0.
 */
#include <bus/bus.h>

#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    PERIOD_NS = 100000,
    VALUE_BYTES = 100,
    FEED_BYTES = 1024,
    FEED_RECORDS = 32,
    KEYS = 5000,
    SAMPLES_MAX = 1 << 20,
    RUNS_MAX = 99,
};

static const char stream[] = "beside-stream";
static const char *const fed[] = {"beside-compact", "beside-delete"};

struct shared {
    _Atomic bool ends;
    _Atomic bool measures; /* samples count */
    _Atomic bool ready;
    _Atomic int count;
    int64_t took_ns[SAMPLES_MAX];
};

struct figures {
    double p50_us, p99_us, p999_us;
};

static int64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void
fail(const char *what)
{
    fprintf(stderr, "bench_beside: %s: %s\n", what, bus_error());
    exit(1);
}

/** The pace of the streams: waits for a timer, one a process. */
static void
wait_until(int64_t when_ns)
{
    static int timer = -1;
    static pid_t owner;
    struct itimerspec when = {
        .it_value = {.tv_sec = when_ns / 1000000000, .tv_nsec = when_ns % 1000000000}};
    uint64_t times;
    if (owner != getpid()) {
        timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
        owner = getpid();
    }
    if (timer < 0 || timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL) < 0 ||
        read(timer, &times, sizeof times) < 0) {
        perror("timer");
        exit(1);
    }
}

static void
pin(size_t cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static struct bus *
dial(const char *socket)
{
    struct bus *bus = NULL;
    struct bus_config *config = bus_config_new();
    if (!config || bus_config_set(config, "socket.path", socket) < 0 || bus_open(config, &bus) < 0)
        fail(socket);
    bus_config_free(&config);
    return bus;
}

static struct bus_producer *
open_producer(struct bus *bus, const char *name, struct bus_topic **topic)
{
    struct bus_producer *producer = NULL;
    struct bus_config *config = bus_config_new();
    if (!config || bus_config_set(config, "acks", "1") < 0 ||
        bus_producer_open(bus, config, &producer) < 0 ||
        bus_producer_topic(producer, name, topic) < 0)
        fail("produce");
    bus_config_free(&config);
    return producer;
}

/* ---- the processes -------------------------------------------------------------------------- */

static void
consume(struct shared *shared, const char *socket)
{
    struct bus *bus = dial(socket);
    struct bus_consumer *consumer;
    struct bus_assignment assignment = {.topic = stream, .offset = BUS_OFFSET_END};
    struct bus_record record;
    pin(1);
    if (bus_consumer_open(bus, NULL, &consumer) < 0 || bus_assign(consumer, &assignment, 1) < 0 ||
        bus_poll(consumer, &record, 1, 0) < 0)
        fail("consume");
    atomic_store(&shared->ready, true);
    while (!atomic_load(&shared->ends)) {
        int64_t sent_ns;
        int got = bus_poll(consumer, &record, 1, 100);
        if (got < 0)
            fail("poll");
        if (got == 0 || !atomic_load(&shared->measures))
            continue;
        memcpy(&sent_ns, record.value, sizeof sent_ns);
        int at = atomic_load(&shared->count);
        if (at < SAMPLES_MAX) {
            shared->took_ns[at] = now_ns() - sent_ns;
            atomic_store(&shared->count, at + 1);
        }
    }
    bus_consumer_close(&consumer);
    bus_close(&bus);
}

static void
send_stream(struct shared *shared, const char *socket)
{
    struct bus *bus = dial(socket);
    struct bus_topic *topic;
    struct bus_producer *producer = open_producer(bus, stream, &topic);
    char value[VALUE_BYTES] = {0};
    struct bus_message message = {
        .timestamp_ms = BUS_TIME_NOW, .value = value, .value_size = sizeof value};
    pin(0);
    prctl(PR_SET_TIMERSLACK, 1UL);
    for (int64_t next_ns = now_ns(); !atomic_load(&shared->ends); next_ns += PERIOD_NS) {
        wait_until(next_ns);
        int64_t sent_ns = now_ns();
        memcpy(value, &sent_ns, sizeof sent_ns);
        if (bus_send(topic, &message, NULL) < 0)
            fail("send");
        if (sent_ns - next_ns > 100 * PERIOD_NS)
            next_ns = sent_ns;
    }
    bus_producer_close(&producer, 1000);
    bus_close(&bus);
}

static void
feed(struct shared *shared, const char *socket, const char *name, int64_t bytes_per_second)
{
    struct bus *bus = dial(socket);
    struct bus_topic *topic;
    struct bus_producer *producer = open_producer(bus, name, &topic);
    static char value[FEED_BYTES];
    struct bus_message messages[FEED_RECORDS];
    char keys[FEED_RECORDS][16];
    int64_t period_ns = (int64_t)FEED_RECORDS * FEED_BYTES * 1000000000 / bytes_per_second;
    uint64_t random = 88172645463325252;
    for (int64_t next_ns = now_ns(); !atomic_load(&shared->ends); next_ns += period_ns) {
        wait_until(next_ns);
        for (int i = 0; i < FEED_RECORDS; i++) {
            random = random * 6364136223846793005 + 1442695040888963407;
            int n = snprintf(keys[i], sizeof keys[i], "k%d", (int)((random >> 33) % KEYS));
            messages[i] = (struct bus_message){.timestamp_ms = BUS_TIME_NOW,
                .key = keys[i],
                .key_size = (size_t)n,
                .value = value,
                .value_size = sizeof value};
        }
        if (bus_send_many(topic, messages, FEED_RECORDS) < 0)
            fail("feed");
    }
    bus_producer_close(&producer, 1000);
    bus_close(&bus);
}

/* ---- measuring ------------------------------------------------------------------------------ */

static int
by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static struct figures
measure(struct shared *shared, int seconds)
{
    atomic_store(&shared->count, 0);
    atomic_store(&shared->measures, true);
    wait_until(now_ns() + seconds * INT64_C(1000000000));
    atomic_store(&shared->measures, false);
    wait_until(now_ns() + 10000000);
    int count = atomic_load(&shared->count);
    if (count < 1000) {
        fprintf(stderr, "bench_beside: only %d records came\n", count);
        exit(1);
    }
    qsort(shared->took_ns, (size_t)count, sizeof shared->took_ns[0], by_value);
    return (struct figures){(double)shared->took_ns[count / 2] / 1e3,
        (double)shared->took_ns[(int64_t)count * 99 / 100] / 1e3,
        (double)shared->took_ns[(int64_t)count * 999 / 1000] / 1e3};
}

/** Upkeep at full tilt, or none. */
static void
set_upkeep(struct bus *bus, bool on)
{
    const struct bus_setting compact[] = {{"cleanup.policy", on ? "compact" : "delete"},
        {"min.cleanable.dirty.ratio", "0"}, {"retention.ms", "-1"}};
    const struct bus_setting cut[] = {{"retention.bytes", on ? "16777216" : "-1"}};
    if (bus_topic_alter(bus, fed[0], compact, 3) < 0 || bus_topic_alter(bus, fed[1], cut, 1) < 0)
        fail("alter");
}

/** What compaction has done so far. */
static int64_t
compactions(struct bus *bus)
{
    struct bus_compactions *all;
    struct bus_compaction one = {0};
    if (bus_compactions_fetch(bus, fed[0], 0, &all) < 0)
        fail("compactions");
    if (bus_compactions_get(all, 0, &one) < 0)
        fail("compactions");
    bus_compactions_free(&all);
    return one.runs;
}

static int
by_ratio(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double
median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof values[0], by_ratio);
    return values[count / 2];
}

static void
compare(struct shared *shared, struct bus *bus, int runs, int seconds)
{
    double alone_us[RUNS_MAX], beside_us[RUNS_MAX], ratios[RUNS_MAX];
    for (int i = 0; i < runs; i++) {
        set_upkeep(bus, false);
        wait_until(now_ns() + 500000000);
        struct figures alone = measure(shared, seconds);
        set_upkeep(bus, true);
        int64_t before = compactions(bus);
        wait_until(now_ns() + 500000000);
        struct figures beside = measure(shared, seconds);
        printf("alone p50 %.1f p99 %.1f p99.9 %.1f us; beside p50 %.1f p99 %.1f p99.9 %.1f us, "
               "%" PRId64 " compactions\n",
            alone.p50_us, alone.p99_us, alone.p999_us, beside.p50_us, beside.p99_us, beside.p999_us,
            compactions(bus) - before);
        fflush(stdout);
        alone_us[i] = alone.p99_us;
        beside_us[i] = beside.p99_us;
        ratios[i] = beside.p99_us / alone.p99_us;
    }
    double a = median(alone_us, runs), b = median(beside_us, runs);
    printf("medians: p99 alone %.1f us, beside retention and compaction %.1f us, ratio %.2f; "
           "median of the ratios %.2f\n",
        a, b, b / a, median(ratios, runs));
}

static void
create(struct bus *bus)
{
    const struct bus_setting small[] = {{"segment.bytes", "8388608"}};
    const char *const names[] = {stream, fed[0], fed[1]};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (bus_topic_create(bus, names[i], 1, small, i == 0 ? 0 : 1) < 0)
            fail(names[i]);
}

static void
drop(struct bus *bus)
{
    const char *const names[] = {stream, fed[0], fed[1]};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        (void)bus_topic_delete(bus, names[i]);
}

int
main(int argc, char **argv)
{
    if (argc < 2 || argc > 5) {
        fprintf(stderr, "usage: bench_beside SOCKET [RUNS [SECONDS [MB_PER_SECOND]]]\n");
        return 2;
    }
    int runs = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 7;
    int seconds = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 4;
    int64_t rate = (argc > 4 ? strtol(argv[4], NULL, 10) : 20) * INT64_C(1000000);
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || runs < 1 || runs > RUNS_MAX || seconds < 1 || rate < 1) {
        fprintf(stderr, "bench_beside: a number is out of range, or there is no memory\n");
        return 2;
    }
    struct bus *bus = dial(argv[1]);
    create(bus);
    for (int i = 0; i < 4; i++)
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (i == 0)
                consume(shared, argv[1]);
            else if (i == 1)
                send_stream(shared, argv[1]);
            else
                feed(shared, argv[1], fed[i - 2], rate);
            _exit(0);
        }
    while (!atomic_load(&shared->ready))
        sched_yield();
    compare(shared, bus, runs, seconds);
    atomic_store(&shared->ends, true);
    while (wait(NULL) > 0)
        ;
    drop(bus);
    bus_close(&bus);
    return 0;
}
