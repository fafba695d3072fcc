/* SPDX-License-Identifier: Apache-2.0
 * From batch to batch through a segment file, by pread(): the pages may belong to a hostile writer,
 * so they are copied out first and never mapped for this.
 */
#ifndef STORE_WALK_H
#define STORE_WALK_H

#include "record/batch.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WALK_WINDOW_BYTES = 64 * 1024 };

struct walk {
    int fd;                    /* borrowed */
    int64_t position;          /* of the batch that walk_next() gives next */
    int64_t batch_position;    /* of the batch given last */
    int64_t end;               /* bytes of the file that may be looked at */
    int64_t expected;          /* base offset of the next batch; -1 not known */
    bool holes;                /* offsets may be missing: the log was compacted */
    uint8_t *window;           /* owned */
    int64_t window_position;   /* where its bytes lie in the file */
    size_t window_bytes;       /* valid */
    struct batch_header batch; /* given last */
};

/** Outcomes of walk_next(). */
enum { WALK_END = 0, WALK_BATCH = 1 };

/** Starts at `position`, which must be the start of a batch. 0 or NO_MEMORY. */
int walk_init(struct walk *walk, int fd, int64_t position, int64_t end);

/** Releases the window. Also for a zeroed walk. */
void walk_fini(struct walk *walk);

/**
 * Gives the next batch in walk->batch; only its header was looked at. WALK_END: `end` is reached,
 * or zeros lie here. CORRUPT_MESSAGE: this is no batch, or not the one expected, or it does not end
 * before `end`; the position stays. SYSTEM: reading failed.
 */
int walk_next(struct walk *walk);

/** Whether the CRC of the batch given last is right: 1 or 0, or a failure to read it. */
int walk_crc_ok(struct walk *walk);

/** What walk_skip() goes by. */
struct walk_range {
    int64_t least;      /* offsets before the damage are below this, if no batch told */
    int64_t end_offset; /* of the segment */
};

/**
 * After damage, or after a batch whose CRC is wrong: looks byte by byte for the next batch with a
 * good CRC and an offset that may follow. When the batch given last is itself not right, its length
 * is not believed either. WALK_BATCH: it is in walk->batch. WALK_END: there is none, and the
 * position is the end. *from is the first offset that was lost. SYSTEM: reading failed.
 */
int walk_skip(struct walk *walk, const struct walk_range *range, int64_t *from);

/** Goes to another batch, whose base offset is `expected` if that is not -1. */
void walk_seek(struct walk *walk, int64_t position, int64_t expected);

/** pread() until all of it came; a short file is a failure (CORRUPT_MESSAGE). */
int walk_read(int fd, void *to, size_t bytes, int64_t position);

#endif
