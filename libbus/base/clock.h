/* SPDX-License-Identifier: Apache-2.0
 * Time. Timers use the monotonic clock, timestamps of records the wall clock.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/** CLOCK_MONOTONIC in nanoseconds. Thread: any. Blocks: no (vDSO). */
static inline int64_t
clock_mono_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/** CLOCK_MONOTONIC in milliseconds. */
static inline int64_t
clock_mono_ms(void)
{
    return clock_mono_ns() / 1000000;
}

/** The wall clock in milliseconds since 1970 UTC, Kafka's unit for timestamps. */
static inline int64_t
clock_wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/** The wall clock as of the last tick (1–4 ms old), in milliseconds; a few ns a call. */
static inline int64_t
clock_wall_coarse_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif
