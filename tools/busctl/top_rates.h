/* SPDX-License-Identifier: Apache-2.0
 * From two looks at busd to the rows that `top` shows: sums, rates, order. Asks nobody and no
 * clock.
 */
#ifndef BUSCTL_TOP_RATES_H
#define BUSCTL_TOP_RATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TOP_ID_BYTES = 16 };

#define TOP_UNKNOWN (-1.0) /* a rate that there is not yet */

/** A partition as it was found; what is not known is -1. */
struct top_part {
    int64_t start; /* the oldest offset kept */
    int64_t end;   /* the next one to be written */
    int64_t bytes; /* of its records */
};

struct top_topic {
    const char *name;         /* borrowed */
    uint8_t id[TOP_ID_BYTES]; /* another one: another topic of that name */
    size_t first;             /* its partition 0 in `parts` */
    size_t partitions;
};

struct top_group {
    const char *name;  /* borrowed */
    const char *state; /* borrowed */
    int32_t members;
    size_t partitions; /* that it has committed offsets for */
    int64_t committed; /* sum of these offsets */
    int64_t lag;       /* sum over the partitions whose ends are known */
};

/** What was found at one moment. Topics and groups are sorted by name. */
struct top_look {
    int64_t at_ns; /* monotonic */
    struct top_part *parts;
    struct top_topic *topics;
    size_t topic_count;
    struct top_group *groups;
    size_t group_count;
};

struct top_topic_row {
    const char *name;
    size_t partitions;
    int64_t records;
    int64_t bytes;
    double records_per_s; /* TOP_UNKNOWN: unknown, as below */
    double bytes_per_s;
};

struct top_group_row {
    const char *name;
    const char *state;
    int32_t members;
    size_t partitions;
    int64_t lag;
    double records_per_s; /* that were committed */
};

enum top_sort {
    TOP_BY_NAME, /* a to z; all others from the largest down, then by name */
    TOP_BY_RECORDS_PER_S,
    TOP_BY_BYTES_PER_S,
    TOP_BY_BYTES,
    TOP_BY_PARTITIONS,
    TOP_BY_LAG, /* groups; topics by name */
};

struct top_view {
    struct top_topic_row *topics; /* owned */
    size_t topic_count;
    struct top_group_row *groups; /* owned */
    size_t group_count;
    int64_t bytes; /* of all topics, as below */
    double records_per_s;
    double bytes_per_s;
    int64_t lag; /* of all groups */
};

/**
 * Fills a view of `now`, with rates since `before` (NULL: they are unknown). It borrows the names
 * of `now`. Returns false when memory is out; top_view_fini() in any case.
 */
bool top_view_init(struct top_view *view, const struct top_look *now, const struct top_look *before,
    enum top_sort sort, bool reversed);

/** Releases the rows. */
void top_view_fini(struct top_view *view);

#endif
