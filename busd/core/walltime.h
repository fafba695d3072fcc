/* SPDX-License-Identifier: Apache-2.0
 * How old is a timestamp, when the wall clock may have been set in between?
 *
 * The wall clock and a clock that nobody can set (CLOCK_BOOTTIME) run side by side. When their
 * distance changes by more than a minute the wall clock has jumped: forward jumps are remembered,
 * and what carries a time from before such a jump is by so much younger than the wall clock says. A
 * jump back takes away earlier forward ones; what is left of it makes things look younger than they
 * are, which is harmless. So nothing is ever taken for older than it is.
 *
 * Pure: no clock, no file. Thread: one at a time.
 */
#ifndef CORE_WALLTIME_H
#define CORE_WALLTIME_H

#include <stddef.h>
#include <stdint.h>

enum {
    WALLTIME_JUMPS_MAX = 16,      /* more than these melt into one */
    WALLTIME_TOLERANCE_MS = 60000 /* no jump, but a correction */
};

struct walltime_jump {
    int64_t before_ms; /* what the wall clock would have shown */
    int64_t after_ms;  /* what it showed; greater */
};

struct walltime {
    int64_t wall_ms, boot_ms; /* the two clocks at one instant; boot_ms -1: not looked at yet */
    struct walltime_jump jumps[WALLTIME_JUMPS_MAX]; /* the oldest first */
    size_t count;
};

/** Outcomes of walltime_note(). */
enum walltime_outcome {
    WALLTIME_STEADY = 0,
    WALLTIME_FORWARD = 1, /* it has jumped since the last look */
    WALLTIME_BACK = 2,
};

/** No jumps, and no look at the clocks yet. */
void walltime_init(struct walltime *time);

/** A look at both clocks, say once a second. *jump_ms is by how much the wall clock is off what it
 * should show, 0 when steady. */
enum walltime_outcome walltime_note(
    struct walltime *time, int64_t wall_ms, int64_t boot_ms, int64_t *jump_ms);

/**
 * The border of age: what carries a time below the result is at least `span_ms` old, now that the
 * wall clock shows `wall_ms`. INT64_MIN when nothing can be that old.
 */
int64_t walltime_past(const struct walltime *time, int64_t wall_ms, int64_t span_ms);

#endif
