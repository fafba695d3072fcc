/* SPDX-License-Identifier: Apache-2.0
 * The demonstration that ./quickstart runs: real input through a topic with four partitions and
 * back, while busd is killed in the middle.
 *
 *     demo BUSD FILE
 */
#include "demo/daemon.h"
#include "demo/ends.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RECORDS_MIN = 200000, PATIENCE_S = 120 };

static void
step(const char *name)
{
    printf("  %-34s ", name);
    fflush(stdout);
}

/* Waits until `count` passes `goal`; false when an end gave up or nothing moves any more. */
static bool
wait_for(struct demo_journal *journal, _Atomic int64_t *count, int64_t goal)
{
    struct timespec pause = {.tv_nsec = 200000};
    for (time_t end = time(NULL) + PATIENCE_S; time(NULL) < end; nanosleep(&pause, NULL)) {
        if (atomic_load(count) >= goal)
            return true;
        if (atomic_load(&journal->failed))
            return false;
    }
    fprintf(stderr, "demo: nothing moves any more\n");
    return false;
}

static int
make_topic(const struct demo_daemon *daemon)
{
    struct bus_config *config = bus_config_new();
    struct bus *bus;
    int rc = -1;
    if (config && bus_config_set(config, "socket.path", daemon->socket) == 0 &&
        bus_open(config, &bus) == 0) {
        rc = bus_topic_create(bus, DEMO_TOPIC, DEMO_PARTITIONS, NULL, 0);
        bus_close(&bus);
    }
    if (rc < 0)
        fprintf(stderr, "demo: %s\n", bus_error());
    bus_config_free(&config);
    return rc;
}

typedef int demo_end(const char *, const struct stanzas *, struct demo_journal *);

static pid_t
start_end(demo_end *end, const struct demo_daemon *daemon, const struct stanzas *stanzas,
    struct demo_journal *journal)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(end(daemon->socket, stanzas, journal));
    return pid;
}

/* busd dies when a third is through; both ends must move on while it is away. */
static bool
kill_and_restart(struct demo_daemon *daemon, struct demo_journal *journal)
{
    double ready_ms = 0;
    step("busd killed with SIGKILL");
    if (!wait_for(journal, &journal->read, journal->total / 3))
        return false;
    demo_daemon_end(daemon, SIGKILL);
    int64_t sent = atomic_load(&journal->sent), read = atomic_load(&journal->read);
    printf("after %" PRId64 " records\n", read);
    step("both ends go on without it");
    int64_t more = journal->total / 20;
    if (!wait_for(journal, &journal->sent, sent + more) ||
        !wait_for(journal, &journal->read, read + more))
        return false;
    printf("%" PRId64 " sent, %" PRId64 " read meanwhile\n", atomic_load(&journal->sent) - sent,
        atomic_load(&journal->read) - read);
    step("busd back");
    if (demo_daemon_start(daemon, &ready_ms) < 0)
        return false;
    printf("ready after %.1f ms\n", ready_ms);
    return true;
}

static int
compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void
report(struct demo_journal *journal, const struct stanzas *stanzas)
{
    double seconds = (double)(journal->ended_ns - journal->started_ns) / 1e9;
    double bytes = (double)stanzas->bytes / (double)stanzas->count * (double)journal->streamed;
    int64_t *took = demo_took_ns(journal, journal->streamed);
    size_t count = (size_t)(journal->total - journal->streamed);
    qsort(took, count, sizeof *took, compare);
    step("throughput");
    printf("%.0f records/s, %.1f MB/s, one record a batch\n", (double)journal->streamed / seconds,
        bytes / seconds / 1e6);
    step("latency, sent one by one");
    printf("p50 %.1f µs, p99 %.1f µs, p99.9 %.1f µs from send to compared\n",
        (double)took[count / 2] / 1e3, (double)took[count - 1 - count / 100] / 1e3,
        (double)took[count - 1 - count / 1000] / 1e3);
}

static bool
end_well(pid_t pid)
{
    int status;
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool
stream(struct demo_daemon *daemon, const struct stanzas *stanzas, struct demo_journal *journal)
{
    if (make_topic(daemon) < 0)
        return false;
    pid_t consumer = start_end(demo_consume, daemon, stanzas, journal);
    pid_t producer = start_end(demo_produce, daemon, stanzas, journal);
    bool good = kill_and_restart(daemon, journal);
    if (!good)
        atomic_store(&journal->failed, 1);
    step("all read and compared, in order");
    good = end_well(producer) && good;
    good = end_well(consumer) && good;
    if (!good)
        return false;
    printf("%" PRId64 " records\n", atomic_load(&journal->read));
    step("found again by offset and by time");
    int looked = demo_look_up(daemon->socket, stanzas, journal);
    if (looked < 0)
        return false;
    printf("%d places of %d partitions\n", looked, DEMO_PARTITIONS);
    report(journal, stanzas);
    return true;
}

static bool
run(struct demo_daemon *daemon, const struct stanzas *stanzas, const char *path)
{
    double ready_ms = 0;
    int64_t rounds = (RECORDS_MIN + (int64_t)stanzas->count - 1) / (int64_t)stanzas->count;
    struct demo_journal *journal = demo_journal_new(rounds * (int64_t)stanzas->count);
    if (!journal) {
        fprintf(stderr, "demo: out of memory\n");
        return false;
    }
    printf("shmbus: %s through a topic with %d partitions and back\n", path, DEMO_PARTITIONS);
    step("input");
    printf("%zu stanzas, %.1f MB, %" PRId64 " times\n", stanzas->count,
        (double)stanzas->bytes / 1e6, rounds);
    step("busd ready");
    if (demo_daemon_start(daemon, &ready_ms) < 0)
        return false;
    printf("after %.1f ms\n", ready_ms);
    bool good = stream(daemon, stanzas, journal);
    demo_daemon_end(daemon, SIGTERM);
    return good;
}

int
main(int argc, char **argv)
{
    struct demo_daemon daemon;
    struct stanzas stanzas;
    if (argc != 3) {
        fprintf(stderr, "usage: demo BUSD FILE\n");
        return 2;
    }
    if (stanzas_read(argv[2], &stanzas) < 0 || demo_daemon_prepare(&daemon, argv[1]) < 0)
        return 1;
    bool good = run(&daemon, &stanzas, argv[2]);
    printf("%s\n", good ? "What came out is what went in." : "It FAILED; see above.");
    if (good)
        demo_daemon_clean(&daemon);
    else
        printf("Data and busd's trace are in %s\n", daemon.folder);
    stanzas_free(&stanzas);
    return good ? 0 : 1;
}
