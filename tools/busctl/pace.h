/* SPDX-License-Identifier: Apache-2.0
 * When a record of a replay is due, and what timestamp it gets. Asks no clock: callers bring the
 * time, so that tests need not wait.
 */
#ifndef BUSCTL_PACE_H
#define BUSCTL_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_SPEED_MIN 1e-6
#define PACE_SPEED_MAX 1e6

struct pace {
    double speed;     /* 1: as it was, 2: twice as fast; 0: without waiting */
    bool begun;       /* the fields below are valid */
    int64_t first_ms; /* timestamp of the record that everything is measured from */
    int64_t at_ns;    /* monotonic: when that record is due */
    int64_t wall_ms;  /* the same moment on the wall clock */
};

/**
 * Reads a speed: "max" (as 0), or a number of PACE_SPEED_MIN to PACE_SPEED_MAX as "10", "0.5" or
 * "10x". Returns 0 or -BUS_ERR_INVALID_FORMAT with the forms in the text.
 */
int pace_parse(const char *text, double *speed);

/** Nothing has begun. */
void pace_init(struct pace *pace, double speed);

/** The record with this timestamp is due now, and all others are measured from it. */
void pace_begin(struct pace *pace, int64_t timestamp_ms, int64_t now_ns, int64_t wall_ms);

/**
 * How long from `now_ns` on the record with this timestamp has to wait; 0: it is due, as is every
 * one whose timestamp lies before that of the first, or that has none (below 0).
 */
int64_t pace_wait_ns(const struct pace *pace, int64_t timestamp_ms, int64_t now_ns);

/**
 * The timestamp that the record gets: the moment when it is due, so that the differences are the
 * old ones divided by the speed. -1, the moment of sending, for a record without one and for a
 * replay that does not wait.
 */
int64_t pace_stamp_ms(const struct pace *pace, int64_t timestamp_ms);

/** How long all of it takes when the largest timestamp is this one, in milliseconds. */
int64_t pace_length_ms(const struct pace *pace, int64_t last_ms);

#endif
