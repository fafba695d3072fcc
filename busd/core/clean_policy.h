/* SPDX-License-Identifier: Apache-2.0
 * Compaction: what of a partition is to be cleaned, and whether it is time for it.
 *
 * Up to `clean_offset` the log was cleaned before. What follows is dirty, up to the first segment
 * that may not be cleaned yet: the one being written, one that is not on stable storage, one with
 * records younger than min.compaction.lag.ms. It is time when the dirty part is large enough a part
 * of the whole, or has waited for max.compaction.lag.ms, or when somebody asks for it.
 *
 * Pure: no clock, no file. Thread: any.
 */
#ifndef CORE_CLEAN_POLICY_H
#define CORE_CLEAN_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct clean_rules {
    bool compact;         /* the policy has `compact` */
    bool asked;           /* somebody wants it now, whatever the ratio */
    double dirty_ratio;   /* of dirty to all bytes; more than this is time */
    int64_t young_ms;     /* records at or above this are too young; INT64_MAX: none is */
    int64_t overdue_ms;   /* the oldest dirty record below this is overdue; INT64_MIN: none is */
    int64_t clean_offset; /* up to here the log was cleaned */
    int64_t limit_offset; /* a segment that reaches beyond is not touched */
};

/** A closed segment. */
struct clean_segment {
    int64_t base_offset;
    int64_t next_offset;     /* of the segment behind */
    int64_t bytes;           /* of batches */
    int64_t first_timestamp; /* of its first batch, ms; -1 not known */
    int64_t newest_ms;       /* of its records, as retain_newest_ms() */
};

struct clean_verdict {
    bool due;
    double urgency;     /* of those that are due, the largest goes first */
    int64_t end_offset; /* the dirty part ends here; clean_offset when there is none */
    int64_t clean_bytes;
    int64_t dirty_bytes;
};

/** Looks at the closed segments of a partition, the oldest first. */
void clean_assess(const struct clean_rules *rules, const struct clean_segment *segments,
    size_t count, struct clean_verdict *verdict);

/** When a deletion that is seen for the first time at `now_ms` may go: Kafka's delete horizon. */
int64_t clean_horizon_ms(int64_t now_ms, int64_t delete_retention_ms);

#endif
