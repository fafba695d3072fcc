/* SPDX-License-Identifier: Apache-2.0
 * The two sparse indexes beside a segment, in Kafka's layout, big-endian:
 *
 *     .index      {last offset of a batch − base i32, position of that batch i32}
 *     .timeindex  {largest timestamp so far i64, last offset of its batch − base i32}
 *
 * Both rise strictly. They are derived from the log: what does not make sense is cut off and
 * written again. A lookup says where to start reading, never what is there.
 */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct batch_header;

enum {
    INDEX_ENTRY_BYTES = 8,
    INDEX_TIME_ENTRY_BYTES = 12,
    INDEX_BATCH_MAX = 512, /* entries that index_append() takes at once */
};

struct index_entry {
    int64_t offset;   /* last offset of the batch */
    int64_t position; /* of the batch */
};

struct index_time_entry {
    int64_t timestamp; /* ms; nothing up to `offset` is later */
    int64_t offset;
};

/** The indexes of one segment: what is in the files, and how far the segment was looked at. */
struct index {
    bool loaded;               /* the rest is set */
    bool complete;             /* the segment is closed and was followed to its end */
    uint32_t entries;          /* good ones in the file */
    uint32_t time_entries;     /* good ones in the file */
    int64_t position;          /* the segment was followed up to here, a batch boundary */
    int64_t offset;            /* next offset at `position`; -1: not known yet */
    struct index_entry last;   /* {-1, 0} without entries */
    int64_t max_timestamp;     /* of the batches followed; -1 none */
    int64_t max_offset;        /* last offset of the batch with it */
    int64_t indexed_timestamp; /* of the last time entry; -1 none */
};

/** Which files, and what the segment holds at most. */
struct index_files {
    const char *folder; /* borrowed */
    int64_t base_offset;
    bool fresh; /* the files beside a segment that compaction writes, "….clean" */
};

/** Nothing indexed yet; the files are made empty when something is appended. */
void index_reset(struct index *index);

/**
 * Reads both files and keeps the good entries at their start: rising, below `end_offset` and
 * `end_position`; what follows is cut off. A missing file is an empty one. The segment is to be
 * followed from index->position. 0 or a failure (SYSTEM, NO_MEMORY). Blocks: for the disk.
 */
int index_load(
    struct index *index, const struct index_files *files, int64_t end_offset, int64_t end_position);

/** Entries to be added. */
struct index_batch {
    struct index_entry entries[INDEX_BATCH_MAX];
    size_t count;
    struct index_time_entry time_entries[INDEX_BATCH_MAX];
    size_t time_count;
};

/**
 * Writes the entries behind those that `index` counts, the time index first: an entry of the offset
 * index promises that the time index is complete up to it. Does not change *index. 0 or a failure.
 */
int index_append(
    const struct index *index, const struct index_files *files, const struct index_batch *batch);

/**
 * Takes a batch at `position` into the indexes, by Kafka's rule: an entry when more than `interval`
 * bytes were appended since the last one, this batch not counted. `batch` has room for one more
 * entry of each kind.
 */
void index_take(struct index *index, struct index_batch *batch, const struct batch_header *header,
    int64_t position, int64_t interval);

/** Adds the entry for the largest time so far, if there is none yet: the last one of a segment. */
void index_close(struct index *index, struct index_batch *batch);

/** Flushes both files, once a segment is complete. 0 or a failure. Blocks: for the disk. */
int index_sync(const struct index_files *files);

/** The last entry with an offset ≤ `offset`, or {-1, 0}. 0 or a failure. */
int index_find_offset(const struct index *index, const struct index_files *files, int64_t offset,
    struct index_entry *entry);

/** The last time entry with a timestamp < `timestamp`, or {-1, -1}. 0 or a failure. */
int index_find_time(const struct index *index, const struct index_files *files, int64_t timestamp,
    struct index_time_entry *entry);

#endif
