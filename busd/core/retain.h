/* SPDX-License-Identifier: Apache-2.0
 * Retention: which closed segments of a partition go. Two limits, each on its own: age and size.
 * Segments go whole and the oldest first; one that has to stay keeps all that follow.
 *
 * The age of a segment is that of its newest record. A record cannot be newer than the file that
 * holds it: where its time lies in the future, the time at which the file was closed counts.
 *
 * Pure: no clock, no file. Thread: any.
 */
#ifndef CORE_RETAIN_H
#define CORE_RETAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** How far a record may be ahead of the file that holds it: clocks of producers differ. */
#define RETAIN_FUTURE_MS INT64_C(3600000)

struct retain_rules {
    bool remove;              /* the policy has `delete`; without it only the log start counts */
    int64_t before_ms;        /* newest records below this are too old; INT64_MIN: no limit */
    int64_t retention_bytes;  /* -1: no limit */
    int64_t log_start_offset; /* what lies wholly below goes in any case */
    int64_t limit_offset;     /* what reaches beyond stays in any case */
};

/** A closed segment. */
struct retain_segment {
    int64_t next_offset;   /* of the segment behind */
    int64_t bytes;         /* of batches */
    int64_t max_timestamp; /* of its records, ms; -1 none, or not known */
    int64_t closed_ms;     /* when its file was written last */
};

/** The time of the newest record of a segment, as far as it can be believed. */
int64_t retain_newest_ms(int64_t max_timestamp, int64_t closed_ms);

/**
 * How many of the `count` closed segments go, the oldest first. `total_bytes` is the size of the
 * partition, the segment being written included.
 */
size_t retain_count(const struct retain_rules *rules, const struct retain_segment *segments,
    size_t count, int64_t total_bytes);

#endif
