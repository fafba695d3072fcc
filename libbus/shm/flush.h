/* SPDX-License-Identifier: Apache-2.0
 * Group commit without a daemon: of those who wait for the flush, one does it for all.
 */
#ifndef SHM_FLUSH_H
#define SHM_FLUSH_H

#include "shm/partition.h"

/** Outcomes of shm_flush(). */
enum flush_outcome {
    FLUSH_DONE = 0,
    FLUSH_TIMED_OUT = 1,
    FLUSH_FENCED = 2, /* the generation ended first: attach again and ask there */
};

/**
 * Returns when every offset below `offset` is on stable storage: either somebody else flushes
 * meanwhile, or this thread takes the flush lock and calls fdatasync() on each segment from the
 * durable offset to the tail. On a memory topic it returns at once.
 *
 * A failed flush is final, since the kernel may have dropped the pages: the partition goes
 * OFFLINE and everybody who waits gets -BUS_ERR_KAFKA_STORAGE_ERROR. Other failures: those of the
 * source. Thread: one at a time per view; the view is writable. Blocks: until `deadline_ns`.
 */
int shm_flush(struct shm_partition *view, int64_t offset, int64_t deadline_ns);

/** One read of the durable offset. */
int64_t shm_durable_offset(const struct shm_partition *view);

#endif
