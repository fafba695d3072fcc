/* SPDX-License-Identifier: Apache-2.0
 * Committed offsets of a group: storing, now or beside other work, and asking.
 *
 * A commit that nobody waits for is a struct commit in the consumer's list, in the order of the
 * calls. The connection's thread notes its answer; the application's tells the callback.
 */
#ifndef CLIENT_COMMIT_H
#define CLIENT_COMMIT_H

#include "client/consumer.h"

enum { COMMITS_UNDER_WAY_MAX = 1000 };

/**
 * Commits positions of those parts that have moved. Returns 0 or as bus_commit_sync(). Thread:
 * owner. Blocks: until `deadline_ns`.
 */
int commit_parts(struct bus_consumer *consumer, struct part *const *parts, size_t count,
    unsigned flags, int64_t deadline_ns);

/**
 * As commit_parts(), but returns at once; `done` (may be NULL) is told from commits_tell(). Fails
 * with QUEUE_FULL when too many are under way. Thread: owner. Blocks: no.
 */
int commit_begin(struct bus_consumer *consumer, struct part *const *parts, size_t count,
    bus_commit_done *done, void *context);

/** Tells the callbacks what has been answered. Thread: owner. Blocks: no. */
void commits_tell(struct bus_consumer *consumer);

/** Waits until all are answered, or given up at the deadline, and tells. Thread: owner. Blocks. */
void commits_finish(struct bus_consumer *consumer, int64_t deadline_ns);

/**
 * The committed offsets of `count` partitions into `wanted[].offset`, -1 none. Fails with what busd
 * refuses. Thread: owner. Blocks: until `deadline_ns`.
 */
int commit_find(struct bus_consumer *consumer, struct bus_assignment *wanted, size_t count,
    int64_t deadline_ns);

#endif
