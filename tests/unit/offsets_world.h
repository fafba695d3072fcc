/* SPDX-License-Identifier: Apache-2.0
 * Committed offsets in a world of their own: the topics t and u with 4 partitions each, and 3
 * partitions for the offsets.
 */
#ifndef UNIT_OFFSETS_WORLD_H
#define UNIT_OFFSETS_WORLD_H

#include "api/request.h"
#include "cluster/offsets.h"
#include "unit/api_world.h"

extern struct world ow;
extern int ow_told;                           /* what a waiter was told; 99: nothing yet */
extern int ow_calls;                          /* how often it was */
extern const struct offsets_waiter ow_waiter; /* tells both */

/** Makes the world. */
void ow_set_up(void);

/** Ends it. */
void ow_tear_down(void);

/** Its offsets. Borrowed, until a restart. */
struct offsets *ow_offsets(void);

/** Puts a commit of one partition on its way; what offsets_commit() returned. */
int ow_submit(
    const char *group, const char *topic, int32_t partition, int64_t offset, const char *text);

/** A commit of one partition, which must succeed. */
void ow_commit(const char *group, const char *topic, int32_t partition, int64_t offset);

/** The committed offset, -1 for none. */
int64_t ow_committed(const char *group, const char *topic, int32_t partition);

/** LMDB stays as it is now, whatever comes: the next start has to read the topic. */
void ow_freeze_lmdb(void);

/** LMDB has nothing at the next start. */
void ow_lose_lmdb(void);

/** Time passes, on the monotonic clock. */
void ow_pass(int64_t ms);

/** Stores the metadata of a group with one member, or none. */
void ow_store_group(const char *group, int members);

/** The log that a group belongs to, and its partition. */
struct log *ow_log_of(const char *group, int32_t *index);

/** Its end. */
int64_t ow_end_of(const char *group);

/** The bytes of the log behind `offset`. */
void ow_read_log(const char *group, int64_t offset, struct buf *bytes);

/** Deletes a topic. */
void ow_delete_topic(const char *name);

#endif
