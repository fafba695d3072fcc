/* SPDX-License-Identifier: Apache-2.0
 *
 * How long a consumer that sleeps takes to get a record, from before the send to after the poll, in
 * microseconds; the floor beside it is a futex word with the same two processes. A process each for
 * both sides, on CPUs of their own; each record is sent when the other side sleeps.
 *
 * bench_wake SOCKET
 */
#include <bus/bus.h>

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 500, RUNS = 5 };

struct shared {
    _Atomic uint32_t word;
    _Atomic int64_t sent_ns;
    _Atomic int waiter; /* the process, when it is ready */
    int64_t took_ns[ROUNDS];
};

static const char topic[] = "bench-wake";

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
    fprintf(stderr, "bench_wake: %s: %s\n", what, bus_error());
    exit(1);
}

/* Returns when the other side sleeps. */
static void
await_sleep(const struct shared *shared)
{
    char path[64], line[256], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)atomic_load(&shared->waiter));
    while (state != 'S') {
        FILE *file = fopen(path, "r");
        if (!file || !fgets(line, sizeof line, file) || !strrchr(line, ')'))
            exit(1);
        state = strrchr(line, ')')[2];
        fclose(file);
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

static int
by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* ---- the floor ------------------------------------------------------------------------------ */

static void
floor_wait(struct shared *shared, const char *socket)
{
    (void)socket;
    atomic_store(&shared->waiter, getpid());
    for (uint32_t seen = 0; seen < ROUNDS; seen++) {
        while (atomic_load(&shared->word) == seen)
            syscall(SYS_futex, &shared->word, FUTEX_WAIT, seen, NULL, NULL, 0);
        shared->took_ns[seen] = now_ns() - atomic_load(&shared->sent_ns);
    }
}

static void
floor_send(struct shared *shared, const char *socket)
{
    (void)socket;
    while (!atomic_load(&shared->waiter))
        sched_yield();
    for (int i = 0; i < ROUNDS; i++) {
        await_sleep(shared);
        atomic_store(&shared->sent_ns, now_ns());
        atomic_fetch_add(&shared->word, 1);
        syscall(SYS_futex, &shared->word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    }
}

/* ---- through the log ------------------------------------------------------------------------ */

static struct bus *
dial(const char *socket)
{
    struct bus *bus;
    struct bus_config *config = bus_config_new();
    if (!config || bus_config_set(config, "socket.path", socket) < 0 || bus_open(config, &bus) < 0)
        fail(socket);
    bus_config_free(&config);
    return bus;
}

static void
bus_wait(struct shared *shared, const char *socket)
{
    struct bus *bus = dial(socket);
    struct bus_consumer *consumer;
    struct bus_assignment assignment = {.topic = topic, .offset = BUS_OFFSET_END};
    struct bus_record record;
    if (bus_consumer_open(bus, NULL, &consumer) < 0 || bus_assign(consumer, &assignment, 1) < 0 ||
        bus_poll(consumer, &record, 1, 0) < 0)
        fail("consume");
    atomic_store(&shared->waiter, getpid());
    for (int i = 0; i < ROUNDS; i++) {
        int got;
        while ((got = bus_poll(consumer, &record, 1, 1000)) == 0) {
        }
        if (got < 0)
            fail("poll");
        shared->took_ns[i] = now_ns() - atomic_load(&shared->sent_ns);
    }
    bus_consumer_close(&consumer);
    bus_close(&bus);
}

static void
bus_produce(struct shared *shared, const char *socket)
{
    struct bus *bus = dial(socket);
    struct bus_producer *producer;
    struct bus_topic *to;
    struct bus_config *config = bus_config_new();
    struct bus_message message = {.timestamp_ms = BUS_TIME_NOW, .value = "wake", .value_size = 4};
    if (!config || bus_config_set(config, "acks", "1") < 0 ||
        bus_producer_open(bus, config, &producer) < 0 ||
        bus_producer_topic(producer, topic, &to) < 0)
        fail("produce");
    bus_config_free(&config);
    while (!atomic_load(&shared->waiter))
        sched_yield();
    for (int i = 0; i < ROUNDS; i++) {
        await_sleep(shared);
        atomic_store(&shared->sent_ns, now_ns());
        if (bus_send(to, &message, NULL) < 0)
            fail("send");
    }
    bus_producer_close(&producer, 1000);
    bus_close(&bus);
}

/* Runs both sides; returns the median in microseconds. */
static double
measure(void (*waiter)(struct shared *, const char *),
    void (*sender)(struct shared *, const char *), const char *socket)
{
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    pid_t child = fork();
    if (child == 0) {
        pin(1);
        waiter(shared, socket);
        _exit(0);
    }
    pin(0);
    sender(shared, socket);
    waitpid(child, NULL, 0);
    qsort(shared->took_ns, ROUNDS, sizeof shared->took_ns[0], by_value);
    double p50_us = (double)shared->took_ns[ROUNDS / 2] / 1e3;
    munmap(shared, sizeof *shared);
    return p50_us;
}

int
main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: bench_wake SOCKET, of a busd that has a topic %s\n", topic);
        return 2;
    }
    for (int i = 0; i < RUNS; i++) {
        double floor = measure(floor_wait, floor_send, argv[1]);
        double bus = measure(bus_wait, bus_produce, argv[1]);
        printf("sleeping consumer: p50 %.1f us, raw futex %.1f us, ratio %.2f\n", bus, floor,
            bus / floor);
    }
    return 0;
}
