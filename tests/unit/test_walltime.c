/* SPDX-License-Identifier: Apache-2.0 */
#include "core/walltime.h"

#include "unit/unit.h"

#include <stdbool.h>

enum { MINUTE = 60000, HOUR = 60 * MINUTE, DAY = 24 * HOUR };
#define NOW INT64_C(1700000000000)

/* Two clocks that run side by side until one is set. */
struct clocks {
    struct walltime time;
    int64_t wall_ms, boot_ms;
};

static enum walltime_outcome
pass(struct clocks *clocks, int64_t ms, int64_t jump_ms)
{
    int64_t told;
    clocks->boot_ms += ms;
    clocks->wall_ms += ms + jump_ms;
    return walltime_note(&clocks->time, clocks->wall_ms, clocks->boot_ms, &told);
}

static void
start(struct clocks *clocks)
{
    *clocks = (struct clocks){.wall_ms = NOW, .boot_ms = 5000};
    walltime_init(&clocks->time);
    CU_ASSERT_EQUAL(pass(clocks, 0, 0), WALLTIME_STEADY);
}

/* Whether a record of this time counts as at least so old. */
static bool
is_old(const struct clocks *clocks, int64_t timestamp, int64_t span_ms)
{
    return timestamp < walltime_past(&clocks->time, clocks->wall_ms, span_ms);
}

static void
test_steady(void)
{
    struct clocks clocks;
    start(&clocks);
    for (int i = 0; i < 100; i++)
        CU_ASSERT_EQUAL(pass(&clocks, 1000, 0), WALLTIME_STEADY);
    CU_ASSERT_EQUAL(walltime_past(&clocks.time, clocks.wall_ms, HOUR), clocks.wall_ms - HOUR);
    CU_ASSERT_EQUAL(
        walltime_past(&clocks.time, clocks.wall_ms, INT64_MAX), INT64_MIN + 1 + clocks.wall_ms);
    CU_ASSERT_EQUAL(walltime_past(&clocks.time, clocks.wall_ms, -1), INT64_MIN);
    CU_ASSERT_EQUAL(walltime_past(&clocks.time, INT64_MIN, 1), INT64_MIN);
}

static void
test_corrections_are_no_jumps(void)
{
    struct clocks clocks;
    start(&clocks);
    CU_ASSERT_EQUAL(pass(&clocks, 1000, MINUTE), WALLTIME_STEADY);
    CU_ASSERT_EQUAL(pass(&clocks, 1000, -2 * MINUTE), WALLTIME_STEADY);
    CU_ASSERT_EQUAL(clocks.time.count, 0);
    /* Many small ones add up to a jump. */
    CU_ASSERT_EQUAL(pass(&clocks, 1000, 2 * MINUTE), WALLTIME_STEADY);
    CU_ASSERT_EQUAL(pass(&clocks, 1000, 1), WALLTIME_FORWARD);
}

static void
test_a_day_forward(void)
{
    struct clocks clocks;
    start(&clocks);
    int64_t before = clocks.wall_ms;
    pass(&clocks, HOUR, 0);
    CU_ASSERT_EQUAL(pass(&clocks, 1000, DAY), WALLTIME_FORWARD);
    int64_t after = clocks.wall_ms;
    /* Written an hour before the jump, by the clock of then; by that of now it is a day old. */
    CU_ASSERT_FALSE(is_old(&clocks, before, 2 * HOUR));
    pass(&clocks, HOUR, 0);
    CU_ASSERT_TRUE(is_old(&clocks, before, 2 * HOUR));
    CU_ASSERT_FALSE(is_old(&clocks, before, 2 * HOUR + 2 * MINUTE));
    /* Written after the jump. */
    CU_ASSERT_FALSE(is_old(&clocks, after, HOUR));
    pass(&clocks, 1, 0);
    CU_ASSERT_TRUE(is_old(&clocks, after, HOUR));
    /* At no time is anything older than the time that has passed. */
    for (int hour = 2; hour < 60; hour++) {
        int64_t passed_ms = clocks.boot_ms - 5000;
        CU_ASSERT_FALSE(is_old(&clocks, before, passed_ms + 1000));
        CU_ASSERT_TRUE(is_old(&clocks, before, passed_ms - 1000));
        pass(&clocks, HOUR, 0);
    }
}

static void
test_back(void)
{
    struct clocks clocks;
    start(&clocks);
    int64_t before = clocks.wall_ms;
    CU_ASSERT_EQUAL(pass(&clocks, HOUR, -DAY), WALLTIME_BACK);
    CU_ASSERT_EQUAL(clocks.time.count, 0);
    CU_ASSERT_FALSE(is_old(&clocks, before, 0));
    pass(&clocks, DAY, 0);
    CU_ASSERT_FALSE(is_old(&clocks, before, 2 * HOUR));
    CU_ASSERT_TRUE(is_old(&clocks, before, 0));
}

static void
test_there_and_back(void)
{
    struct clocks clocks;
    start(&clocks);
    int64_t before = clocks.wall_ms;
    pass(&clocks, HOUR, DAY);
    CU_ASSERT_EQUAL(clocks.time.count, 1);
    CU_ASSERT_EQUAL(pass(&clocks, HOUR, -HOUR), WALLTIME_BACK);
    CU_ASSERT_EQUAL(clocks.time.count, 1);
    CU_ASSERT_FALSE(is_old(&clocks, before, 2 * HOUR));
    CU_ASSERT_EQUAL(pass(&clocks, HOUR, HOUR - DAY), WALLTIME_BACK);
    CU_ASSERT_EQUAL(clocks.time.count, 0);
    CU_ASSERT_TRUE(is_old(&clocks, before, 3 * HOUR - 1));
    CU_ASSERT_FALSE(is_old(&clocks, before, 3 * HOUR));
    /* What is left of the jump is no more than a correction. */
    pass(&clocks, HOUR, DAY);
    pass(&clocks, HOUR, MINUTE / 2 - DAY);
    CU_ASSERT_EQUAL(clocks.time.count, 0);
}

/* From a board without a battery: 1970 until somebody tells the time. */
static void
test_from_1970(void)
{
    struct clocks clocks = {.wall_ms = 1000, .boot_ms = 1000};
    walltime_init(&clocks.time);
    pass(&clocks, 0, 0);
    pass(&clocks, HOUR, 0);
    CU_ASSERT_EQUAL(pass(&clocks, 0, NOW), WALLTIME_FORWARD);
    CU_ASSERT_FALSE(is_old(&clocks, 2000, 2 * HOUR));
    pass(&clocks, HOUR, 0);
    CU_ASSERT_TRUE(is_old(&clocks, 2000, 2 * HOUR - MINUTE));
}

/* More jumps than there is room for: never older than it is, whatever melts. */
static void
test_many_jumps(void)
{
    struct clocks clocks;
    start(&clocks);
    int64_t written[64];
    for (int i = 0; i < 64; i++) {
        written[i] = clocks.wall_ms;
        CU_ASSERT_EQUAL(pass(&clocks, HOUR, DAY), WALLTIME_FORWARD);
        for (int k = 0; k <= i; k++)
            CU_ASSERT_FALSE(is_old(&clocks, written[k], (int64_t)(i - k + 1) * HOUR + MINUTE));
    }
    CU_ASSERT_EQUAL(clocks.time.count, WALLTIME_JUMPS_MAX);
    CU_ASSERT_TRUE(is_old(&clocks, written[60], 4 * HOUR - MINUTE));
}

void
register_walltime(void)
{
    static const struct unit_case cases[] = {
        {"steady clocks", test_steady},
        {"small corrections are no jumps", test_corrections_are_no_jumps},
        {"a day forward makes nothing older", test_a_day_forward},
        {"a day back makes nothing older", test_back},
        {"a jump that is taken back is forgotten", test_there_and_back},
        {"from 1970 to now", test_from_1970},
        {"more jumps than there is room for", test_many_jumps},
        {NULL, NULL},
    };
    unit_register("walltime", cases);
}
