/* SPDX-License-Identifier: Apache-2.0
 * The processes of a benchmark: started together, each with room for its samples.
 */
#ifndef BUSCTL_BENCH_TEAM_H
#define BUSCTL_BENCH_TEAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    TEAM_MAX = 128,         /* processes */
    TEAM_ERROR_BYTES = 640, /* of what a member says before it ends */
    TEAM_LINE_BYTES = 64,   /* a cache line */
};

/** What one process reports. */
struct team_report {
    int64_t start_ns; /* monotonic */
    int64_t end_ns;
    int64_t records;
    size_t samples; /* taken */
};

/** In memory that all share. Lines that are written often stand alone. */
struct team_shared {
    _Alignas(TEAM_LINE_BYTES) _Atomic int ready;
    _Alignas(TEAM_LINE_BYTES) _Atomic int go;
    _Alignas(TEAM_LINE_BYTES) _Atomic int failed;
    _Alignas(TEAM_LINE_BYTES) _Atomic int finished; /* producers that have sent everything */
    _Alignas(TEAM_LINE_BYTES) _Atomic int64_t sent; /* records, by all producers */
    _Alignas(TEAM_LINE_BYTES) _Atomic int64_t ping; /* lines for the floor */
    _Alignas(TEAM_LINE_BYTES) _Atomic int64_t pong;
    _Alignas(TEAM_LINE_BYTES) struct team_report reports[TEAM_MAX];
    char error[TEAM_ERROR_BYTES]; /* of the first that failed */
};

/** A process as it sees itself. */
struct member {
    struct team_shared *shared;
    void *context;
    int index;
    int cpu;           /* to run on, -1: any */
    uint32_t *samples; /* nanoseconds */
    size_t samples_max;
    struct team_report *report;
};

/** The work of a process; returns 0, or negative after member_fail(). */
typedef int member_work(struct member *member);

struct team_options {
    int count;          /* processes, at most TEAM_MAX */
    const int *cpus;    /* of the members; NULL: not pinned */
    size_t samples_max; /* each */
    member_work *work;
    void *context; /* for the members; borrowed */
};

struct team {
    struct team_shared *shared;
    uint32_t *samples; /* all members' */
    size_t samples_max;
    int count;
};

/**
 * Runs the team: starts the processes, lets them go together when all are ready, waits for all.
 * Returns 0 or a failure (text in bus_error()); then no process is left. The caller looks at the
 * reports and calls team_fini() in any case. Blocks: until all have ended.
 */
int team_run(struct team *team, const struct team_options *options);

/** Releases the shared memory. */
void team_fini(struct team *team);

/** Gathers the samples of members `first` and up in one sorted array; returns their number. */
size_t team_sort(struct team *team, int first, uint32_t **sorted);

/** In a member: says that it is ready and waits for the others. False: another one failed. */
bool member_ready(struct member *member);

/** In a member: pins the calling thread, when a CPU was given. */
void member_pin(const struct member *member);

/** In a member: keeps why it cannot go on (bus_error() behind `what`). Returns -1. */
int member_fail(struct member *member, const char *what);

/** In a member: whether another one failed, so that waiting has no end. */
bool member_alone(const struct member *member);

/** In a member: adds a sample, if there is room. */
void member_sample(struct member *member, int64_t ns);

#endif
