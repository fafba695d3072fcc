/* SPDX-License-Identifier: Apache-2.0
 * Several sequences in one order: which of them has the record with the lowest timestamp next.
 * Records of one sequence keep their order, whatever their timestamps are.
 */
#ifndef BUSCTL_MERGE_H
#define BUSCTL_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct merge_head {
    int64_t timestamp_ms; /* of the record that is next in its sequence */
    size_t sequence;
};

/** A heap of the sequences that have a record; all zeros: none. */
struct merge {
    struct merge_head *heads; /* owned */
    size_t count;
    size_t capacity;
};

/** Makes room for so many sequences; false when memory is out. */
bool merge_init(struct merge *merge, size_t sequences);

/** Releases it. */
void merge_fini(struct merge *merge);

/** A sequence begins with a record of this timestamp; there must be room. */
void merge_add(struct merge *merge, size_t sequence, int64_t timestamp_ms);

/** The sequence whose turn it is: of those with the lowest timestamp the lowest. NULL: none. */
const struct merge_head *merge_first(const struct merge *merge);

/** The record of merge_first() was taken; the next one of its sequence has this timestamp. */
void merge_next(struct merge *merge, int64_t timestamp_ms);

/** The record of merge_first() was the last of its sequence. */
void merge_end(struct merge *merge);

#endif
