/* SPDX-License-Identifier: Apache-2.0
 *
 * How long a group takes from an event (a member joins, leaves or is killed) until its 4 partitions
 * are shared out evenly among those that live; and for how long of that a partition had no reader
 * although it stays with the one that had it. Milliseconds, a process for each member.
 *
 * A join is noticed by the others with their next heartbeat, a death after session.timeout.ms; the
 * first join waits for group.initial.rebalance.delay.ms of busd.
 *
 * bench_groups SOCKET [SESSION_MS [HEARTBEAT_MS]]
 */
#include <bus/bus.h>

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    PARTITIONS = 4,
    MEMBERS = 6,
    RECORDS = 100,
    POLL_MS = 1000,
    LOOK_NS = 100000,
    PATIENCE_S = 120
};

struct seat {
    pid_t process; /* 0: nobody */
    int had;       /* partitions before the event, a bit each */
};

static _Atomic int *owned; /* of each seat, in shared memory */
static struct seat seats[MEMBERS];
static const char *socket_path, *session_ms = "6000", *heartbeat_ms = "1000";
static const char topic[] = "bench-groups";
static volatile sig_atomic_t stopping;
static struct bus_consumer *consumer; /* of this member */

static int64_t
now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void
fail(const char *what)
{
    fprintf(stderr, "bench_groups: %s: %s\n", what, bus_error());
    exit(1);
}

/* ---- a member -------------------------------------------------------------------------------- */

static void
on_term(int number)
{
    (void)number;
    stopping = 1;
    bus_wakeup(consumer);
}

static void
on_rebalance(void *context, struct bus_consumer *from, enum bus_rebalance what,
    const struct bus_assignment *assignments, size_t count)
{
    _Atomic int *mine = context;
    (void)from;
    for (size_t i = 0; i < count; i++) {
        int bit = 1 << assignments[i].partition;
        if (what == BUS_ASSIGNED)
            atomic_fetch_or(mine, bit);
        else
            atomic_fetch_and(mine, ~bit);
    }
}

static void
set(struct bus_config *config, const char *name, const char *value)
{
    if (bus_config_set(config, name, value) < 0)
        fail(name);
}

_Noreturn static void
be_member(_Atomic int *mine, const char *strategy)
{
    static struct bus_record records[RECORDS];
    const char *const topics[] = {topic};
    struct bus_config *config = bus_config_new();
    struct bus *bus;
    set(config, "socket.path", socket_path);
    set(config, "group.id", strategy);
    set(config, "session.timeout.ms", session_ms);
    set(config, "heartbeat.interval.ms", heartbeat_ms);
    set(config, "partition.assignment.strategy", strategy);
    if (bus_open(config, &bus) < 0 || bus_consumer_open(bus, config, &consumer) < 0)
        fail("open");
    signal(SIGTERM, on_term);
    bus_on_rebalance(consumer, on_rebalance, mine);
    if (bus_subscribe(consumer, topics, 1) < 0)
        fail("subscribe");
    while (!stopping)
        if (bus_poll(consumer, records, RECORDS, POLL_MS) < 0)
            fail("poll");
    bus_consumer_close(&consumer);
    bus_close(&bus);
    exit(0);
}

/* ---- the group ------------------------------------------------------------------------------- */

static void
join(int seat, const char *strategy)
{
    fflush(stdout);
    pid_t process = fork();
    if (process == 0)
        be_member(&owned[seat], strategy);
    if (process < 0)
        exit(1);
    seats[seat].process = process;
}

static void
part(int seat, int number)
{
    kill(seats[seat].process, number);
    seats[seat].process = 0;
    if (number == SIGKILL)
        atomic_store(&owned[seat], 0);
}

static bool
is_balanced(int members)
{
    int all = 0, total = 0;
    for (int i = 0; i < MEMBERS; i++) {
        int mine = atomic_load(&owned[i]), count = __builtin_popcount((unsigned)mine);
        bool fair = seats[i].process ? count >= PARTITIONS / members &&
                                           count <= (PARTITIONS + members - 1) / members
                                     : count == 0;
        if (!fair)
            return false;
        all |= mine;
        total += count;
    }
    return total == PARTITIONS && all == (1 << PARTITIONS) - 1;
}

static int
readers(void)
{
    int all = 0;
    for (int i = 0; i < MEMBERS; i++)
        all |= atomic_load(&owned[i]);
    return all;
}

/* Looks on until all is shared out; prints how long that took, and how long what stays stood. */
static void
watch(const char *event, int members, int64_t from_us)
{
    static const struct timespec pause = {.tv_nsec = LOOK_NS};
    int64_t idle_us[PARTITIONS] = {0}, last_us = from_us, at_us = from_us;
    while (!is_balanced(members)) {
        if (at_us - from_us > PATIENCE_S * INT64_C(1000000)) {
            fprintf(stderr, "bench_groups: %s: no balance\n", event);
            exit(1);
        }
        ppoll(NULL, 0, &pause, NULL);
        at_us = now_us();
        for (int p = 0; p < PARTITIONS; p++)
            if (!(readers() & 1 << p))
                idle_us[p] += at_us - last_us;
        last_us = at_us;
    }
    int64_t stood_us = 0;
    for (int i = 0; i < MEMBERS; i++)
        for (int p = 0; p < PARTITIONS; p++)
            if ((seats[i].had & atomic_load(&owned[i]) & 1 << p) && idle_us[p] > stood_us)
                stood_us = idle_us[p];
    printf("  %-6s %d members  %8.1f ms   stayed without a reader %8.1f ms\n", event, members,
        (double)(at_us - from_us) / 1000, (double)stood_us / 1000);
    for (int i = 0; i < MEMBERS; i++)
        seats[i].had = atomic_load(&owned[i]);
}

static void
grow(const char *strategy)
{
    for (int i = 0; i < MEMBERS; i++) {
        int64_t from_us = now_us();
        join(i, strategy);
        watch("join", i + 1, from_us);
    }
}

static void
shrink(const char *event, int number, int to)
{
    for (int left = MEMBERS - 1; left >= to; left--) {
        int64_t from_us = now_us();
        part(left, number);
        watch(event, left, from_us);
    }
}

static void
run(const char *strategy)
{
    printf("%s\n", strategy);
    grow(strategy);
    shrink("leave", SIGTERM, 1);
    part(0, SIGTERM);
    while (wait(NULL) > 0) {
    }
    grow(strategy);
    shrink("kill", SIGKILL, 1);
    part(0, SIGTERM);
    while (wait(NULL) > 0) {
    }
}

int
main(int argc, char **argv)
{
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: bench_groups SOCKET [SESSION_MS [HEARTBEAT_MS]]\n");
        return 2;
    }
    socket_path = argv[1];
    session_ms = argc > 2 ? argv[2] : session_ms;
    heartbeat_ms = argc > 3 ? argv[3] : heartbeat_ms;
    owned = mmap(
        NULL, MEMBERS * sizeof *owned, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (owned == MAP_FAILED)
        return 1;
    printf("topic %s, %d partitions; session.timeout.ms %s, heartbeat.interval.ms %s\n", topic,
        PARTITIONS, session_ms, heartbeat_ms);
    run("range");
    run("cooperative-sticky");
    return 0;
}
