/* SPDX-License-Identifier: Apache-2.0
 * The rules for idempotent producers in one partition: which batch is new, which is a repetition,
 * which must not be appended. Of each producer id the last five batches are known.
 *
 * Everything follows from the headers of the batches in the log, in their order: producers_note()
 * takes them in, also those that a direct producer appended without asking. Pure: no clock, no
 * file. Thread: one at a time.
 */
#ifndef CORE_PRODUCERS_H
#define CORE_PRODUCERS_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PRODUCERS_WINDOW = 5,   /* batches that are recognised: as many as may be in flight */
    PRODUCERS_MAX = 16384,  /* of a partition; the one silent for longest goes */
    PRODUCERS_BUCKETS = 64, /* to begin with */
};

/** What a batch header says of its producer. */
struct producer_batch {
    int64_t producer_id; /* ≥ 0 */
    int16_t epoch;
    int32_t first_sequence;
    int32_t last_delta; /* records - 1 */
    int64_t base_offset;
    int64_t append_time_ms; /* with LogAppendTime, else -1 */
};

struct producer;

struct producers {
    struct producer **buckets; /* owned */
    size_t bucket_count, count;
};

/** No producers; allocates nothing. */
void producers_init(struct producers *producers);

/** Releases all. */
void producers_fini(struct producers *producers);

/** Outcomes of producers_check(). */
enum producers_verdict {
    PRODUCERS_NEW = 0,       /* append it */
    PRODUCERS_DUPLICATE = 1, /* it is in the log already: *known tells where */
};

/**
 * Judges a batch that somebody wants appended; base_offset does not count. Outcomes above, or
 * INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER. Of an unknown producer any sequence is
 * right: what it wrote before may be long gone.
 */
int producers_check(const struct producers *producers, const struct producer_batch *batch,
    struct producer_batch *known);

/** A batch is in the log; the same one a second time changes nothing. `now_ms` is of the clock of
 * producers_expire(). 0 or NO_MEMORY. */
int producers_note(struct producers *producers, const struct producer_batch *batch, int64_t now_ms);

/** A producer as others see it. */
struct producers_row {
    int64_t producer_id;
    int64_t silent_ms;     /* since its last batch */
    int32_t last_sequence; /* of that batch */
    int16_t epoch;
};

/** Calls `each` for every producer, in no order. */
void producers_each(const struct producers *producers, int64_t now_ms,
    void (*each)(void *context, const struct producers_row *row), void *context);

/** Forgets producers that have written nothing for `silent_ms`; returns how many. */
size_t producers_expire(struct producers *producers, int64_t now_ms, int64_t silent_ms);

/** The newest batch of all that are known; false when none is. Where a log does not have it any
 * more although its end is behind, the state is of another history: see producers_same(). */
bool producers_newest(const struct producers *producers, struct producer_batch *newest);

/** Whether two headers at one place are of the same batch. */
bool producers_same(const struct producer_batch *a, const struct producer_batch *b);

/** Appends the state as bytes, ages counted from `now_ms`. 0 or NO_MEMORY. */
int producers_pack(const struct producers *producers, int64_t now_ms, struct buf *out);

/** Reads it back into an empty state. 0, CORRUPT_MESSAGE or NO_MEMORY; then it is empty. */
int producers_unpack(struct producers *producers, const uint8_t *bytes, size_t n, int64_t now_ms);

/** The sequence number `delta` behind another: behind 2^31 - 1 comes 0. */
int32_t producers_sequence(int32_t sequence, int32_t delta);

#endif
