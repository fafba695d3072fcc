/* SPDX-License-Identifier: Apache-2.0
 * The data folder: who owns it, which format it has, and the passes of keeper and flusher over its
 * logs. One struct log per open partition: store/log.h.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "store/rules.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    STORE_ID_BYTES = 16, /* topic id, instance id */
    STORE_FORMAT = 1,    /* of the data folder, in <data>/format */
};

struct log;
struct store;

/** What is remembered of a partition, so that recovery need not look at all of it. */
struct store_checkpoint {
    uint8_t topic_id[STORE_ID_BYTES];
    int32_t partition;
    uint32_t generation;      /* of the control object */
    int64_t segment_base;     /* base offset of the segment that `position` lies in */
    int64_t position;         /* bytes; all below, and every older segment, were flushed */
    int64_t durable_offset;   /* the offset of the batch at `position` */
    int64_t log_start_offset; /* records below were deleted */
};

/** Outcome of store_checkpoints.load(). */
enum { STORE_CHECKPOINT_NONE = 1 };

/** Where checkpoints are kept: LMDB in busd. Called by any thread; may block. */
struct store_checkpoints {
    /** Fills *checkpoint. 0, STORE_CHECKPOINT_NONE or a failure. */
    int (*load)(void *context, const uint8_t topic_id[STORE_ID_BYTES], int32_t partition,
        struct store_checkpoint *checkpoint);
    /** Stores `count` checkpoints durably in one transaction. 0 or a failure. */
    int (*save)(void *context, const struct store_checkpoint *checkpoints, size_t count);
    /** Forgets one; 0 also when there is none. */
    int (*drop)(void *context, const uint8_t topic_id[STORE_ID_BYTES], int32_t partition);
    void *context;
};

struct store_options {
    const char *data;                     /* the data folder; created when missing; copied */
    struct store_checkpoints checkpoints; /* copied */
    /** A log wants store_service(): wake the keeper. Any thread, with locks of the store held, so
     * it must not call back. May be NULL. */
    void (*kick)(void *context);
    /** The cleaner has something to do: have it call store_clean(). Any thread, with locks held.
     * May be NULL. */
    void (*wake_cleaner)(void *context);
    void *context;
    struct store_rules rules;       /* copied */
    int64_t append_lock_timeout_ms; /* a lock held longer without progress is taken away */
};

/**
 * Opens the data folder: creates it, takes its lock, checks its format, removes what a crash left
 * of deleted topics. Failures: DATA_LOCKED and DATA_VERSION, both naming the folder, PERMISSION,
 * DISK_FULL, SYSTEM. Gives *store. Blocks: for the disk.
 */
int store_open(const struct store_options *options, struct store **store);

/** Closes the folder and nulls the pointer. Every log was closed and no pass is running. */
void store_close(struct store **store);

/** The folder of disk topics, "<data>/topics". Borrowed. */
const char *store_topics_path(const struct store *store);

/**
 * Keeper: looks after the logs: rolls, reserves, keeps spares, writes indexes, rebuilds what was
 * damaged. `all` false: only those that ask for it (after a kick), or that the last pass left with
 * work; true: each (say once a second).
 * What fails is traced once per change and tried again on the next pass. Returns the number of logs
 * that still have work waiting, so that the caller comes back at once. Thread: one at a time.
 * Blocks: for the disk.
 */
size_t store_service(struct store *store, bool all);

/**
 * Flusher: brings every log with unflushed data to stable storage and saves the checkpoints of all
 * that moved in one transaction. Call every flush.interval.ms and before the last store_close().
 * Returns 0 or the failure of saving; a log that cannot be flushed goes OFFLINE by itself. Thread:
 * one at a time. Blocks: for the disk.
 */
int store_flush(struct store *store);

/**
 * Before the end: follows every log to its end, for at most `patience_ms`, and flushes, so that the
 * next start has nothing to verify. May run beside a pass of the keeper. As store_flush() else.
 */
int store_settle(struct store *store, int64_t patience_ms);

/** The settings of retention and compaction. Before it is called neither happens. Thread: any. */
void store_configure(struct store *store, const struct store_upkeep *upkeep);

/**
 * Cleaner: works on the compaction that the keeper has prepared, until there is nothing to do or
 * the keeper has to act, which then wakes the cleaner again. Returns whether work was done. Thread:
 * one at a time; best with a low priority: no lock is held while it works. Blocks: for the disk.
 */
bool store_clean(struct store *store);

/** Has store_clean() return soon, now and from now on: busd ends. Thread: any. */
void store_clean_stop(struct store *store);

/** Calls `visit` for every open log, which stays open meanwhile. Thread: any. */
void store_each(struct store *store, void (*visit)(void *context, struct log *log), void *context);

#endif
