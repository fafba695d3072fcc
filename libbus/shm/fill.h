/* SPDX-License-Identifier: Apache-2.0
 * Zeros ahead of the tail, so that those who append need not make pages, nor turn reserved extents
 * into written ones with each flush.
 */
#ifndef SHM_FILL_H
#define SHM_FILL_H

#include "shm/partition.h"

/** Outcomes of shm_fill(). */
enum fill_outcome {
    FILL_DONE = 0,
    FILL_NOT_NOW = 1, /* the segment is no longer the active one, or the lock was not free */
};

/** What to fill: bytes [from, until) of segment `seq`, open as `fd` for writing (borrowed). */
struct fill_range {
    int64_t seq;
    size_t from;
    size_t until;
    int fd;
};

/**
 * busd: writes zeros into the part of the range that lies behind the tail and below the limit, in
 * one piece and under the append lock: so nothing that somebody appends is overwritten. Keep the
 * range small, others wait meanwhile. Failures: those of pwrite(); CORRUPT_MESSAGE when the control
 * page is damaged. Blocks: for the lock until `deadline_ns` (CLOCK_MONOTONIC), for the page cache.
 */
int shm_fill(struct shm_partition *view, const struct fill_range *range, int64_t deadline_ns);

#endif
