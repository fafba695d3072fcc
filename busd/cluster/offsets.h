/* SPDX-License-Identifier: Apache-2.0
 * Committed offsets and the metadata of groups. They live in the internal topic
 * __consumer_offsets, in Kafka's record formats; what the topic says is held in memory and, a
 * moment later, in LMDB, with how far of the topic that is. So a start reads LMDB and the topic's
 * last few records.
 *
 * A change is queued. At the end of the loop's turn offsets_run() appends all queued changes, one
 * batch for each partition of the topic; once that is on stable storage they are in force: reads
 * give them, and whoever waits is told. So nothing is ever seen that a power loss could take back.
 *
 * Which requests are allowed (members, generations, access) is for the callers to say.
 *
 * Thread: the loop, for everything here and the callbacks. Nothing blocks but offsets_open().
 */
#ifndef CLUSTER_OFFSETS_H
#define CLUSTER_OFFSETS_H

#include "cluster/controller.h"
#include "protocol/messages.h"
#include "run/worker.h"
#include "store/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OFFSETS_TOPIC "__consumer_offsets"

struct offsets;
struct offsets_job;

/** How a group uses a topic at the moment: what its offsets expire by. */
enum offsets_usage {
    OFFSETS_UNUSED = 0,       /* it has no members */
    OFFSETS_SUBSCRIBED = 1,   /* members read the topic, or it cannot be told: they stay */
    OFFSETS_UNSUBSCRIBED = 2, /* it has members, and none reads the topic */
};

/** What the floor above does for the offsets. */
struct offsets_ops {
    /** CLOCK_MONOTONIC in milliseconds, and the wall clock; fake in tests. */
    int64_t (*mono_ms)(void *context);
    int64_t (*wall_ms)(void *context);
    /**
     * The log of a partition, kept open until put_log(); *hold is for the two calls below. *log
     * may become NULL behind our back only together with the topic. 0 or a failure.
     */
    int (*get_log)(void *context, const struct cluster_topic *topic, int32_t partition,
        struct log **log, void **hold);
    void (*put_log)(void *context, void *hold);
    /** Has all below `offset` made durable; offsets_run() is called when that has happened. */
    void (*flush)(void *context, void *hold, int64_t offset);
    /** Has offsets_run() called soon, not inside this call. Thread: any. */
    void (*soon)(void *context);
    /** How the group uses the topic; NULL without a coordinator: OFFSETS_UNUSED. */
    enum offsets_usage (*usage)(void *context, const char *group, const char *topic);
    /** Nothing is left of a group: its last offset expired or was deleted with its topic, and it
     * has no members. May be NULL. */
    void (*forgotten)(void *context, const char *group);
};

struct offsets_options {
    const struct offsets_ops *ops; /* borrowed, as all here */
    void *context;
    struct controller *controller;
    struct worker *worker; /* does the LMDB transactions; NULL: in place, blocking (tests) */
};

/**
 * Loads what LMDB has and reads the rest of the topic. A partition of the topic that cannot be
 * read is tried again later; offsets_ready() tells. Gives *offsets. 0, NO_MEMORY, or a failure of
 * LMDB. Blocks: for the disk.
 */
int offsets_open(const struct offsets_options *options, struct offsets **offsets);

/** Appends what is queued, stores what is in force, tells those who still wait that it is over
 * (COORDINATOR_NOT_AVAILABLE), frees. Blocks: for the disk. */
void offsets_close(struct offsets **offsets);

/**
 * Does what is due: appends, ends of flushes, retries, expiry. After ops->soon and ops->flush, and
 * when the time of offsets_deadline_ms() has come. Cheap when there is nothing to do.
 */
void offsets_run(struct offsets *offsets);

/** When offsets_run() wants to be called at the latest, by ops->mono_ms; -1: no need. */
int64_t offsets_deadline_ms(const struct offsets *offsets);

/** Which partition of the topic a group belongs to; 0 while there is no topic. */
int32_t offsets_partition(const struct offsets *offsets, const char *group);

/** Whether the group can be served: 0, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE. */
int offsets_ready(const struct offsets *offsets, const char *group);

/* ---- reading -------------------------------------------------------------------------------- */

/** A committed offset. */
struct offsets_position {
    int64_t offset;
    int32_t leader_epoch; /* -1 unknown */
    const char *metadata; /* borrowed until control returns to the loop; never NULL */
    int64_t commit_ms;    /* wall clock */
};

/** Whether there is a committed offset; fills *position then. */
bool offsets_find(const struct offsets *offsets, const char *group, const char *topic,
    int32_t partition, struct offsets_position *position);

/** How many partitions the group has offsets for. */
size_t offsets_count(const struct offsets *offsets, const char *group);

/**
 * Calls `each` for every offset of a group, by topic and then by partition. A failure of it ends
 * the walk and is returned; it may not change anything here. 0 or NO_MEMORY.
 */
int offsets_each(const struct offsets *offsets, const char *group,
    int (*each)(void *context, const char *topic, int32_t partition,
        const struct offsets_position *position),
    void *context);

/** Whether anything is stored of a group: offsets or metadata. */
bool offsets_known(const struct offsets *offsets, const char *group);

/** Called with a group and its metadata (read back from the record, borrowed during the call), or
 * NULL when it has offsets only. May change nothing here. 0 or a failure. */
typedef int offsets_group_visit(
    void *context, const char *group, const struct group_metadata_value *metadata);

/**
 * Calls `each` for every group that something is stored of, in no order. A failure ends the walk
 * and is returned. Metadata that cannot be read is traced and counts as none.
 */
int offsets_each_group(const struct offsets *offsets, offsets_group_visit *each, void *context);

/** The same for one group; 0 without a call when nothing is stored of it. */
int offsets_group(
    const struct offsets *offsets, const char *group, offsets_group_visit *each, void *context);

/** As offsets_each_group(), names only. */
int offsets_each_name(
    const struct offsets *offsets, int (*each)(void *context, const char *group), void *context);

/* ---- changes -------------------------------------------------------------------------------- */

/**
 * Who waits for a change. `done` is called once, by offsets_run() or offsets_close(), never inside
 * the call that makes the change. rc 0: in force and on stable storage. Else nothing has changed
 * and rc is a Kafka code: COORDINATOR_NOT_AVAILABLE, COORDINATOR_LOAD_IN_PROGRESS,
 * INVALID_COMMIT_OFFSET_SIZE (more than the topic takes in a batch), REQUEST_TIMED_OUT (unknown:
 * it may yet come into force), UNKNOWN_SERVER_ERROR; err_text() tells more.
 */
struct offsets_waiter {
    void (*done)(void *context, int rc); /* NULL: nobody waits */
    void *context;
};

/** One partition of a commit. Strings are borrowed during the call. */
struct offsets_item {
    const char *topic; /* exists: the caller has looked */
    int32_t partition;
    int32_t leader_epoch; /* -1 unknown */
    int64_t offset;
    const char *metadata; /* NULL: "" */
};

struct offsets_commit {
    const char *group;
    const struct offsets_item *items;
    size_t count;
    int64_t retention_ms; /* that the client asks for (OffsetCommit v2–4); -1: offsets.retention */
};

/**
 * Commits offsets, all or none. The first call ever makes the topic. 0, and `waiter` (copied) is
 * told later; *job, if not NULL, is for offsets_forget_waiter(). Failures: NO_MEMORY,
 * COORDINATOR_NOT_AVAILABLE, COORDINATOR_LOAD_IN_PROGRESS, UNKNOWN_TOPIC_OR_PARTITION.
 */
int offsets_commit(struct offsets *offsets, const struct offsets_commit *commit,
    const struct offsets_waiter *waiter, struct offsets_job **job);

/** OffsetDelete: removes the offsets of `items` (topic and partition count; those that do not
 * exist are passed over). Otherwise as offsets_commit(). */
int offsets_delete(struct offsets *offsets, const struct offsets_commit *wanted,
    const struct offsets_waiter *waiter, struct offsets_job **job);

/** Removes all of a group, metadata too. Otherwise as offsets_commit(). */
int offsets_delete_group(struct offsets *offsets, const char *group,
    const struct offsets_waiter *waiter, struct offsets_job **job);

/**
 * Stores the metadata of a group: after SyncGroup by the leader, when the group becomes empty (no
 * members: its offsets begin to age) and when a static member is replaced. Everything is borrowed
 * during the call; current_state_timestamp -1 is filled in. Otherwise as offsets_commit().
 */
int offsets_store_group(struct offsets *offsets, const char *group,
    const struct group_metadata_value *metadata, const struct offsets_waiter *waiter,
    struct offsets_job **job);

/** Whoever waits for the job is gone: nobody is told. The change happens all the same. */
void offsets_forget_waiter(struct offsets_job *job);

#endif
