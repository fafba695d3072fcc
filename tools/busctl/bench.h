/* SPDX-License-Identifier: Apache-2.0
 * What the three benchmarks share: options, topics of their own, medians, floors.
 */
#ifndef BUSCTL_BENCH_H
#define BUSCTL_BENCH_H

#include "busctl/bench_team.h"
#include "busctl/command.h"

enum {
    BENCH_RUNS_MAX = 99,
    BENCH_TOPIC_BYTES = 64,
    BENCH_CPUS_MAX = 1024,
};

/** Keys of the options without a letter. */
enum {
    BENCH_PIN = OPT_LONG,
    BENCH_FLOOR_ONLY,
    BENCH_DIRECTORY,
};

struct bench {
    struct ctl *ctl;
    int64_t size;      /* bytes of a value */
    int64_t batch;     /* records of a batch */
    int64_t count;     /* records, or rounds, of a run; 0: by time */
    int64_t seconds;   /* of a run; 0: by count */
    int64_t producers; /* processes */
    int64_t readers;   /* processes */
    int64_t runs;
    const char *topic;            /* an existing one; NULL: a new one that is deleted afterwards */
    struct opt_settings settings; /* of the new topic */
    bool floor_only;
    const char *directory; /* where the floor of the disk is measured; NULL: busd's data folder */
    bool pin;              /* as told by --pin */
    int cpus[BENCH_CPUS_MAX];
    int cpu_count; /* 0: nobody is pinned */
    int cpus_allowed;
};

/** Reads the options into `bench`, which holds the defaults. An exit code, or -1: leave with it. */
int bench_parse(struct bench *bench, struct opts *opts);

/** Releases what the options took. */
void bench_fini(struct bench *bench);

/** A topic to measure on. */
struct bench_topic {
    char name[BENCH_TOPIC_BYTES];
    bool ours; /* to be deleted */
};

/** Makes a topic for the measurement, or takes that of --topic. Exit code after telling. */
int bench_topic_open(struct bench *bench, const char *purpose, struct bench_topic *topic);

/** Deletes it if it is ours. */
void bench_topic_close(struct bench *bench, struct bench_topic *topic);

/** The CPUs for a team of `count`: NULL when it is not to be pinned. Borrowed until the next. */
const int *bench_cpus(const struct bench *bench, int count);

/** A team of this size may spin: each process has a CPU of its own. */
bool bench_may_spin(const struct bench *bench, int count);

/** Runs a team; tells its failure. Exit code. */
int bench_run(struct bench *bench, struct team *team, const struct team_options *options);

/** CTL_OK, or after SIGINT or SIGTERM CTL_FAILED after telling: topics of ours are deleted then. */
int bench_go_on(const struct bench *bench);

/** The value below which `share` (0.5, 0.99) of the sorted samples lie. */
double bench_percentile(const uint32_t *sorted, size_t count, double share);

/** The middle one of `count` values; sorts them. */
double bench_median(double *values, size_t count);

/** A producer or consumer of a member, on a connection of its own. */
struct bench_client {
    struct bus *bus;
    struct bus_producer *producer;
    struct bus_topic *topic;
    struct bus_consumer *consumer;
};

/** What a member's producer needs beside the defaults. */
struct bench_producing {
    const char *topic;
    const char *acks;
    int64_t batch_bytes; /* 0: the default */
};

/** Opens the connection and a producer (`producing`) or a consumer at the end of partition 0 of
 * `consuming`; either may be NULL. 0, or negative after member_fail(). */
int bench_client_open(struct bench_client *client, struct member *member,
    const struct bench_producing *producing, const char *consuming);

/** Closes everything. */
void bench_client_close(struct bench_client *client);

/** p50 in nanoseconds of a cache line's way there and back between two processes. Exit code. */
int bench_floor_line(struct bench *bench, double *p50_ns);

/** Bytes per second of memcpy() of blocks of this size into memory out of the cache. */
int bench_floor_copy(struct bench *bench, size_t block_bytes, double *bytes_per_s);

/** Touches so much memory, at most half of what is free, and gives it back: the kernel under a
 * virtual machine takes free memory away, and to get it back costs ten times a first touch. */
void bench_warm(int64_t bytes);

struct bench_disk {
    double bytes_per_s;
    double p99_us; /* of fdatasync() */
};

/** Writes of `group_bytes`, each followed by fdatasync(), in the folder. Exit code. */
int bench_floor_disk(
    struct bench *bench, const char *directory, size_t group_bytes, struct bench_disk *disk);

#endif
