/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/bench_team.h"

#include "base/err.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void *
share(size_t bytes)
{
    void *p = mmap(
        NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static size_t
samples_bytes(const struct team *team)
{
    return (size_t)team->count * team->samples_max * sizeof *team->samples;
}

static int
team_init(struct team *team, const struct team_options *options)
{
    *team = (struct team){.count = options->count, .samples_max = options->samples_max};
    team->shared = share(sizeof *team->shared);
    if (team->shared && team->samples_max)
        team->samples = share(samples_bytes(team));
    if (!team->shared || (team->samples_max && !team->samples))
        return err_sys(errno, "shared memory for the benchmark");
    return 0;
}

void
team_fini(struct team *team)
{
    if (team->samples)
        munmap(team->samples, samples_bytes(team));
    if (team->shared)
        munmap(team->shared, sizeof *team->shared);
    *team = (struct team){0};
}

static void
nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

bool
member_ready(struct member *member)
{
    struct team_shared *shared = member->shared;
    atomic_fetch_add_explicit(&shared->ready, 1, memory_order_acq_rel);
    /* Acquire: pairs with the release of `go` in let_go(). */
    while (!atomic_load_explicit(&shared->go, memory_order_acquire)) {
        if (member_alone(member))
            return false;
        nap();
    }
    return true;
}

void
member_pin(const struct member *member)
{
    cpu_set_t set;
    if (member->cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)member->cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

int
member_fail(struct member *member, const char *what)
{
    int expected = 0;
    /* The first one may write the text; the parent reads it after this process has ended. */
    if (atomic_compare_exchange_strong(&member->shared->failed, &expected, 1))
        snprintf(member->shared->error, sizeof member->shared->error, "%s: %s", what, bus_error());
    return -1;
}

bool
member_alone(const struct member *member)
{
    return atomic_load_explicit(&member->shared->failed, memory_order_relaxed) != 0;
}

void
member_sample(struct member *member, int64_t ns)
{
    if (member->report->samples < member->samples_max)
        member->samples[member->report->samples++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

static _Noreturn void
live(struct team *team, const struct team_options *options, int index)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct member member = {.shared = team->shared,
        .context = options->context,
        .index = index,
        .cpu = options->cpus ? options->cpus[index] : -1,
        .samples = team->samples ? team->samples + (size_t)index * team->samples_max : NULL,
        .samples_max = team->samples_max,
        .report = &team->shared->reports[index]};
    _exit(options->work(&member) < 0 ? 1 : 0);
}

/** Takes the exit of one process that is in the list; false while all run. */
static bool
reap(struct team *team, pid_t *pids, int *left, int flags)
{
    int status;
    pid_t pid = waitpid(-1, &status, flags);
    if (pid <= 0)
        return false;
    for (int i = 0; i < team->count; i++) {
        if (pids[i] != pid)
            continue;
        pids[i] = 0;
        --*left;
        int expected = 0;
        if (status != 0 && atomic_compare_exchange_strong(&team->shared->failed, &expected, 1))
            snprintf(team->shared->error, sizeof team->shared->error,
                "a process of the benchmark ended early (status %d)", status);
    }
    return true;
}

static void
end_all(struct team *team, pid_t *pids, int left)
{
    for (int i = 0; i < team->count; i++)
        if (pids[i] > 0)
            kill(pids[i], SIGKILL);
    while (left > 0 && (reap(team, pids, &left, 0) || errno == EINTR)) {
    }
}

/** Waits for all to be ready, lets them go, waits for all to end. */
static int
supervise(struct team *team, pid_t *pids)
{
    struct team_shared *shared = team->shared;
    int left = team->count;
    while (atomic_load_explicit(&shared->ready, memory_order_acquire) < team->count &&
           left == team->count && !atomic_load(&shared->failed)) {
        if (!reap(team, pids, &left, WNOHANG))
            nap();
    }
    /* Release: pairs with the acquire in member_ready(). */
    if (left == team->count)
        atomic_store_explicit(&shared->go, 1, memory_order_release);
    bool signalled = false;
    while (left > 0 && !signalled && !atomic_load(&shared->failed))
        signalled = !reap(team, pids, &left, 0) && errno == EINTR;
    end_all(team, pids, left);
    if (signalled)
        return err_set(BUS_ERR_TIMED_OUT, "interrupted");
    if (atomic_load(&shared->failed))
        return err_set(BUS_ERR_SYSTEM, "%s", shared->error);
    return 0;
}

int
team_run(struct team *team, const struct team_options *options)
{
    pid_t pids[TEAM_MAX] = {0};
    int rc = team_init(team, options);
    for (int i = 0; i < team->count && rc == 0; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            live(team, options, i);
        if (pids[i] < 0) {
            rc = err_sys(errno, "start process %d of the benchmark", i);
            pids[i] = 0;
            end_all(team, pids, i);
        }
    }
    return rc < 0 ? rc : supervise(team, pids);
}

static int
by_value(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

size_t
team_sort(struct team *team, int first, uint32_t **sorted)
{
    /* The gaps between the members' samples are closed in place. */
    uint32_t *to = team->samples + (size_t)first * team->samples_max;
    size_t count = 0;
    for (int i = first; i < team->count; i++) {
        size_t samples = team->shared->reports[i].samples;
        memmove(to + count, team->samples + (size_t)i * team->samples_max, samples * sizeof *to);
        count += samples;
    }
    qsort(to, count, sizeof *to, by_value);
    *sorted = to;
    return count;
}
