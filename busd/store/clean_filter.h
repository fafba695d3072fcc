/* SPDX-License-Identifier: Apache-2.0
 * What is left of one batch after compaction. Kafka's rules: offsets, times, headers, producer and
 * epoch stay as they are; a record goes when a later one has its key, or when it is a deletion
 * whose horizon has passed, or has no key. The first pass that sees a deletion notes its horizon in
 * the header of the batch; a later one, after that time, removes it.
 *
 * Pure: bytes in, bytes out. Thread: one at a time per filter.
 */
#ifndef STORE_CLEAN_FILTER_H
#define STORE_CLEAN_FILTER_H

#include "base/buf.h"
#include "record/batch.h"
#include "store/clean_map.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CLEAN_BATCH_BYTES_MAX = 256 * 1024 * 1024, /* larger ones, packed or not, are left alone */
};

/** What became of a batch. */
enum clean_fate {
    CLEAN_GONE = 0,    /* nothing is left */
    CLEAN_SAME = 1,    /* it stays as it is */
    CLEAN_CHANGED = 2, /* filter->out holds what is left */
};

struct clean_filter {
    const struct clean_map *map; /* borrowed; last records of the keys below `end_offset` */
    int64_t end_offset;          /* records from here on stay */
    int64_t horizon_ms;          /* for deletions that are seen for the first time */
    int64_t passed_ms;           /* horizons up to here have passed */
    int64_t producer_before_ms;  /* producers that were silent since then are forgotten */
    bool keep_deletions;         /* a segment before this one could not be cleaned */

    struct buf out;     /* the batch, when it was changed */
    struct buf records; /* before they are packed */
    struct buf scratch; /* unpacked */
    int64_t dropped;    /* records, in all */
    int64_t kept;       /* records, in all */
};

/** Prepares the buffers; the caller fills the rest. */
void clean_filter_init(struct clean_filter *filter);

/** Releases the buffers. */
void clean_filter_fini(struct clean_filter *filter);

/** Empties the memory of buffers that one large batch has blown up. */
void clean_filter_shrink(struct clean_filter *filter);

/** A batch in private memory whose CRC is right. */
struct clean_batch {
    const uint8_t *bytes; /* borrowed */
    size_t size;
    struct batch_header header;
    bool last; /* of its segment: its header stays in any case, for it says where that ends */
};

/**
 * Decides on one batch. Returns enum clean_fate, or CORRUPT_MESSAGE, UNSUPPORTED_CODEC (its segment
 * is to be left alone), NO_MEMORY.
 */
int clean_filter_batch(struct clean_filter *filter, const struct clean_batch *batch);

#endif
