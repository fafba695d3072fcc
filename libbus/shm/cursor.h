/* SPDX-License-Identifier: Apache-2.0
 * Reading in place, batch by batch.
 */
#ifndef SHM_CURSOR_H
#define SHM_CURSOR_H

#include "record/batch.h"
#include "shm/partition.h"

/** Outcomes of cursor_next(). */
enum cursor_outcome {
    CURSOR_EMPTY = 0, /* nothing visible behind the position */
    CURSOR_BATCH = 1,
    CURSOR_FENCED = 2, /* this generation ends here, or its page is damaged: attach again, then seek
                        * to `offset` */
};

/** How far a reader may see. */
enum cursor_isolation {
    CURSOR_UNCOMMITTED = 0, /* up to the published end (high watermark when replicated) */
    CURSOR_DURABLE = 1,     /* up to the durable offset as well */
};

struct cursor {
    struct shm_partition *view;  /* borrowed */
    struct shm_segment *segment; /* a reference; NULL before the first read */
    int64_t offset;              /* next offset to deliver */
    uint32_t position;           /* in the segment */
    uint32_t end;                /* bytes of the segment known to be readable */
    int64_t end_offset;          /* the offset at `end` */
    int64_t needed;              /* must be visible before the batch at `position` is given */
    enum cursor_isolation isolation;
};

/** A cursor at `offset`; nothing is opened before cursor_next(). */
void cursor_init(struct cursor *cursor, struct shm_partition *view, int64_t offset,
    enum cursor_isolation isolation);

/** Drops the segment. */
void cursor_fini(struct cursor *cursor);

/** Moves to `offset`; the next read finds its place through the source. */
void cursor_seek(struct cursor *cursor, int64_t offset);

/**
 * The next batch: the one that contains `cursor->offset` or, if that offset is gone by compaction,
 * the next. `*bytes` points into the mapping and stays valid until the next call on this cursor.
 * The first records may lie below the offset asked for: the caller skips them. Advances the
 * cursor behind the batch.
 *
 * Outcomes above. Failures: OFFSET_OUT_OF_RANGE, CORRUPT_MESSAGE (the cursor stays: the caller may
 * seek past the damage), or the source's. Thread: one at a time per view and cursor. Blocks: only
 * when the source must open a segment.
 */
int cursor_next(struct cursor *cursor, const uint8_t **bytes, struct batch_header *header);

/** Whether cursor_next() would find something to do; two loads of shared words, no system call. */
bool cursor_ready(const struct cursor *cursor);

#endif
