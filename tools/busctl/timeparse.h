/* SPDX-License-Identifier: Apache-2.0
 * Points in time and starting points as people write them.
 */
#ifndef BUSCTL_TIMEPARSE_H
#define BUSCTL_TIMEPARSE_H

#include <stdbool.h>
#include <stdint.h>

/**
 * Reads a point in time; `now_ms` is the present one. Forms:
 *   -1h30m            before now; units ms s m h d w
 *   now
 *   14:00, 14:00:05   local time: the latest one that is not to come
 *   2026-08-01, 2026-08-01T14:00, 2026-08-01 14:00:05.250, each with Z or +02:00 or +0200 behind;
 *                     without: local time
 *   1754049600, 1754049600.5, 1754049600000
 *                     since 1970: seconds below 100000000000, else milliseconds
 * Returns 0 or -BUS_ERR_INVALID_FORMAT with the forms in the text.
 */
int time_parse(const char *text, int64_t now_ms, int64_t *time_ms);

enum start_kind {
    START_BEGINNING,
    START_END,
    START_OFFSET, /* `value` is the offset */
    START_TAIL,   /* `value` records before the end */
    START_TIME,   /* `value` is milliseconds since 1970 */
};

/** Where to begin reading. */
struct start {
    enum start_kind kind;
    int64_t value;
};

/** Reads beginning, end, N, -N or @TIME. Returns 0 or -BUS_ERR_INVALID_FORMAT. */
int start_parse(const char *text, int64_t now_ms, struct start *start);

/** What to read: from a place on, or from one up to another. */
struct range {
    struct start from;
    struct start to; /* the first that is not read; valid with `has_end` */
    bool has_end;
};

/**
 * Reads what start_parse() reads, or two of it as FROM:TO, where a time behind another start is
 * written as ":@TIME". Returns 0, or -BUS_ERR_INVALID_FORMAT also for a TO that is before FROM as
 * far as the text alone can tell.
 */
int range_parse(const char *text, int64_t now_ms, struct range *range);

/**
 * Looks at the two together, as range_parse() does; `from` and `to` are their words. From 14:00 to
 * 14:30 is half an hour also while that half hour is under way and the latest 14:30 was yesterday.
 * Returns 0, or -BUS_ERR_INVALID_FORMAT when TO is before FROM.
 */
int range_settle(struct range *range, const char *from, const char *to);

#endif
