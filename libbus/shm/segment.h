/* SPDX-License-Identifier: Apache-2.0
 * A segment file, mapped. The mapping covers the whole capacity; only bytes below a limit that was
 * checked are touched, and a page that is not there (a hostile truncation, an I/O error) reads as
 * zeros instead of killing the process (guard.h).
 */
#ifndef SHM_SEGMENT_H
#define SHM_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shm_segment {
    int64_t seq;         /* in its generation; -1 for a segment older than that */
    int64_t base_offset; /* -1 while unknown (a spare) */
    int64_t next_offset; /* first offset of the next segment; -1 while it is being written */
    uint8_t *bytes;      /* the mapping */
    size_t capacity;     /* mapped bytes */
    size_t end;          /* valid bytes of a closed segment; 0 while it is being written */
    size_t populated;    /* pages below this were brought in, or lie before where we started */
    int fd;              /* owned */
    int references;      /* owners in this process; guarded by the owner's lock */
    bool writable;
    bool by_write;        /* pwrite() is possible too: no limit on file sizes is in its way */
    _Atomic bool damaged; /* set by the guard when a page was missing */
};

/**
 * Maps `fd` (takes it, also on failure). `capacity` comes from busd, not from shared memory.
 * Returns 0 and a segment with one reference, or a failure.
 */
int shm_segment_open(int fd, size_t capacity, bool writable, struct shm_segment **segment);

/** Drops a reference; the last one unmaps and closes. Nulls the pointer. */
void shm_segment_unref(struct shm_segment **segment);

/** Another reference. */
struct shm_segment *shm_segment_ref(struct shm_segment *segment);

/**
 * Brings in the pages of [from, until) that this process has not had, all at once: a first touch
 * costs a fault each. Never passes `limit`. Thread: the segment's user. Blocks: for the faults.
 */
void shm_segment_populate(struct shm_segment *segment, size_t from, size_t until, size_t limit);

#endif
