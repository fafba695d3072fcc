/* SPDX-License-Identifier: Apache-2.0
 * Where `group reset` moves offsets to.
 */
#ifndef BUSCTL_TARGET_H
#define BUSCTL_TARGET_H

#include <stdbool.h>
#include <stdint.h>

enum target_kind {
    TARGET_BEGINNING,
    TARGET_END,
    TARGET_OFFSET, /* `value` is the offset */
    TARGET_TIME,   /* `value` is milliseconds since 1970 */
    TARGET_SHIFT,  /* `value` is added to what is committed */
};

struct target {
    enum target_kind kind;
    int64_t value;
};

/** Whether the word is one that a second one must follow: offset, time, shift. */
bool target_wants_more(const char *word);

/**
 * Reads beginning, end, offset N, time T, shift ±N, or short N and @T. `more` is the second word;
 * NULL: there is none, or it stands behind a blank in the first. Returns 0 or
 * -BUS_ERR_INVALID_FORMAT.
 */
int target_parse(const char *word, const char *more, int64_t now_ms, struct target *target);

/** What is known of a partition that is to be moved; -1 where there is nothing. */
struct target_place {
    int64_t committed;
    int64_t log_start, log_end;
    int64_t at_time; /* the first record at or after the time asked for */
};

/** What came of it. */
enum target_found {
    TARGET_FOUND,
    TARGET_BELOW,   /* was before the log start, and is that now */
    TARGET_ABOVE,   /* was behind the end, and is that now */
    TARGET_YOUNGER, /* no record is that young: the end */
    TARGET_NOTHING, /* nothing is committed that could be shifted */
};

/** The offset that the target stands for in a partition, always one of the log. */
enum target_found target_resolve(
    const struct target *target, const struct target_place *place, int64_t *offset);

#endif
