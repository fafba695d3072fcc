/* SPDX-License-Identifier: Apache-2.0
 * Append: a lock, a copy and one compare-and-swap.
 */
#ifndef SHM_APPEND_H
#define SHM_APPEND_H

#include "shm/partition.h"

/** Outcomes; the caller must handle each. */
enum append_outcome {
    APPEND_DONE = 0,
    APPEND_FENCED = 1,  /* this generation is over: attach again and retry; nothing was written */
    APPEND_NO_ROOM = 2, /* the reservation is used up; busd was kicked: wait on it and retry */
    APPEND_BUSY = 3,    /* the lock was not free by the deadline: report a stall and retry */
};

struct append_batch {
    const void *bytes; /* a complete RecordBatch v2; borrowed, not changed */
    size_t size_bytes; /* at least BATCH_HEADER_BYTES */
    uint32_t offsets;  /* lastOffsetDelta + 1 */
    bool flush;        /* shm_flush() follows: chooses the way that is cheaper to flush */
};

/** What an append tells. */
struct append_result {
    int64_t base_offset;
    int64_t log_append_time_ms; /* -1 with CreateTime */
};

/**
 * Appends a batch whose CRC is right. Patches base offset and leader epoch into the copy, with
 * LogAppendTime also the time and the CRC. Rolls to the spare segment when the active one is full.
 *
 * Outcomes above; failures: MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, PARTITION_OFFLINE,
 * UNKNOWN_TOPIC_OR_PARTITION (deleted), CORRUPT_MESSAGE (the page is damaged), DISK_FULL or
 * KAFKA_STORAGE_ERROR (pwrite() failed; nothing was published), or the source's.
 * Thread: one at a time per view. Blocks: for the lock until `deadline_ns` (CLOCK_MONOTONIC).
 */
int shm_append(struct shm_partition *view, const struct append_batch *batch, int64_t deadline_ns,
    struct append_result *result);

/** Room in the log itself, between begin and commit or abort. */
struct append_loan {
    uint8_t *bytes; /* `size_bytes` writable bytes at the tail; gone after commit or abort */
    size_t size_bytes;
    int64_t base_offset; /* that the batch will have */
    int32_t leader_epoch;
    bool log_append_time;
    int64_t seq;        /* private */
    uint64_t published; /* private */
};

/**
 * Takes the lock and lends room for a batch of exactly `size_bytes`. The thread holds the append
 * lock until shm_loan_commit() or shm_loan_abort(), so be quick: busd evicts a holder after
 * append.lock.timeout.ms. Outcomes and failures as for shm_append().
 */
int shm_loan_begin(
    struct shm_partition *view, size_t size_bytes, int64_t deadline_ns, struct append_loan *loan);

/**
 * Publishes the batch that the caller built in the loan (its CRC, offset and epoch right).
 * Returns 0 or -BUS_ERR_EVICTED when the loan was taken away: nothing was published.
 */
int shm_loan_commit(struct shm_partition *view, struct append_loan *loan, uint32_t offsets);

/** Gives the room back; nothing was published. */
void shm_loan_abort(struct shm_partition *view, struct append_loan *loan);

/**
 * Ends the active segment and moves to the spare, for segment.ms and retention. A no-op on an
 * empty segment. Outcomes and failures as for shm_append().
 */
int shm_roll(struct shm_partition *view, int64_t deadline_ns);

/**
 * busd: ends this generation for ever. Sets `state` (FENCED, OFFLINE or DELETED), seals every
 * slot, wakes everybody. Takes no lock, so that it works on a writer that was stopped inside an
 * append: its publish will fail. On return the published end no longer moves.
 */
void shm_fence(struct shm_partition *view, enum shm_state state);

#endif
