/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/pace.h"

#include "base/err.h"
#include "unit/unit.h"

#include <string.h>

/* A fake clock: monotonic time and wall time of the first record. */
#define NOW_NS INT64_C(5000000000)
#define WALL_MS INT64_C(1785585600000)
#define OLD_MS INT64_C(1700000000000)

static const int64_t second_ns = 1000000000;

static struct pace
begun(double speed)
{
    struct pace pace;
    pace_init(&pace, speed);
    CU_ASSERT_FALSE(pace.begun);
    pace_begin(&pace, OLD_MS, NOW_NS, WALL_MS);
    CU_ASSERT_TRUE(pace.begun);
    return pace;
}

static double
parsed(const char *text)
{
    double speed = -1;
    int rc = pace_parse(text, &speed);
    if (rc == 0)
        return speed;
    CU_ASSERT_EQUAL(rc, -BUS_ERR_INVALID_FORMAT);
    CU_ASSERT_EQUAL(speed, -1);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "max"));
    return -1;
}

static void
test_speeds(void)
{
    CU_ASSERT_EQUAL(parsed("max"), 0);
    CU_ASSERT_EQUAL(parsed("1"), 1);
    CU_ASSERT_EQUAL(parsed("10x"), 10);
    CU_ASSERT_EQUAL(parsed("0.5"), 0.5);
    CU_ASSERT_EQUAL(parsed(".25x"), 0.25);
    CU_ASSERT_EQUAL(parsed("0.000001"), 1e-6);
    CU_ASSERT_EQUAL(parsed("1000000"), 1e6);
    const char *const bad[] = {"", "0", "0.0", "-1", "+1", "x", ".", "1.2.3", "inf", "nan", "0x10",
        "1e3", " 1", "1 ", "1xx", "0.0000001", "1000001", "fast", "1,5", "maximum"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_EQUAL(parsed(bad[i]), -1);
}

static void
test_waits(void)
{
    struct pace pace = begun(1);
    CU_ASSERT_EQUAL(pace_wait_ns(&pace, OLD_MS, NOW_NS), 0);
    CU_ASSERT_EQUAL(pace_wait_ns(&pace, OLD_MS + 1, NOW_NS), 1000000);
    CU_ASSERT_EQUAL(pace_wait_ns(&pace, OLD_MS + 2000, NOW_NS), 2 * second_ns);
    CU_ASSERT_EQUAL(pace_wait_ns(&pace, OLD_MS + 2000, NOW_NS + second_ns), second_ns);
    CU_ASSERT_EQUAL(pace_wait_ns(&pace, OLD_MS + 2000, NOW_NS + 2 * second_ns - 1), 1);
    CU_ASSERT_EQUAL(pace_wait_ns(&pace, OLD_MS + 2000, NOW_NS + 2 * second_ns), 0);
    CU_ASSERT_EQUAL(pace_wait_ns(&pace, OLD_MS + 2000, NOW_NS + 9 * second_ns), 0);
    /* A day is a day. */
    CU_ASSERT_EQUAL(pace_wait_ns(&pace, OLD_MS + 86400000, NOW_NS), 86400 * second_ns);
}

static void
test_divides_by_the_speed(void)
{
    struct pace fast = begun(4), slow = begun(0.5);
    CU_ASSERT_EQUAL(pace_wait_ns(&fast, OLD_MS + 2000, NOW_NS), second_ns / 2);
    CU_ASSERT_EQUAL(pace_wait_ns(&slow, OLD_MS + 2000, NOW_NS), 4 * second_ns);
    CU_ASSERT_EQUAL(pace_stamp_ms(&fast, OLD_MS + 2000), WALL_MS + 500);
    CU_ASSERT_EQUAL(pace_stamp_ms(&slow, OLD_MS + 2000), WALL_MS + 4000);
    CU_ASSERT_EQUAL(pace_length_ms(&fast, OLD_MS + 2000), 500);
    CU_ASSERT_EQUAL(pace_length_ms(&slow, OLD_MS + 2000), 4000);
}

static void
test_going_back(void)
{
    struct pace pace = begun(1);
    CU_ASSERT_EQUAL(pace_wait_ns(&pace, OLD_MS - 5000, NOW_NS), 0);
    CU_ASSERT_EQUAL(pace_wait_ns(&pace, OLD_MS - 5000, NOW_NS - second_ns), 0);
    CU_ASSERT_EQUAL(pace_stamp_ms(&pace, OLD_MS - 5000), WALL_MS - 5000);
    CU_ASSERT_EQUAL(pace_length_ms(&pace, OLD_MS - 5000), 0);
    /* One that goes back does not make those behind it wait longer. */
    CU_ASSERT_EQUAL(pace_wait_ns(&pace, OLD_MS + 1000, NOW_NS + second_ns), 0);
}

static void
test_without_timestamp(void)
{
    struct pace pace = begun(1);
    CU_ASSERT_EQUAL(pace_wait_ns(&pace, -1, NOW_NS), 0);
    CU_ASSERT_EQUAL(pace_stamp_ms(&pace, -1), -1);
    pace_init(&pace, 1);
    CU_ASSERT_EQUAL(pace_wait_ns(&pace, OLD_MS, NOW_NS), 0);
    CU_ASSERT_EQUAL(pace_stamp_ms(&pace, OLD_MS), -1);
    CU_ASSERT_EQUAL(pace_length_ms(&pace, OLD_MS), 0);
}

static void
test_max(void)
{
    struct pace pace = begun(0);
    CU_ASSERT_EQUAL(pace_wait_ns(&pace, OLD_MS + 86400000, NOW_NS), 0);
    CU_ASSERT_EQUAL(pace_stamp_ms(&pace, OLD_MS + 86400000), -1);
    CU_ASSERT_EQUAL(pace_length_ms(&pace, OLD_MS + 86400000), 0);
}

static void
test_extremes(void)
{
    struct pace slow = begun(PACE_SPEED_MIN), fast = begun(PACE_SPEED_MAX);
    CU_ASSERT(pace_wait_ns(&slow, INT64_MAX, NOW_NS) > 365 * 86400 * second_ns);
    CU_ASSERT(pace_stamp_ms(&slow, INT64_MAX) > WALL_MS);
    CU_ASSERT(pace_wait_ns(&fast, INT64_MAX, NOW_NS) > 0);
    CU_ASSERT_EQUAL(pace_wait_ns(&slow, 0, NOW_NS), 0);
    CU_ASSERT_EQUAL(pace_stamp_ms(&slow, 0), 0);
    pace_init(&slow, PACE_SPEED_MIN);
    pace_begin(&slow, INT64_MAX, INT64_MAX / 4, WALL_MS);
    CU_ASSERT_EQUAL(pace_wait_ns(&slow, 0, INT64_MAX / 4), 0);
    CU_ASSERT_EQUAL(pace_stamp_ms(&slow, 0), 0);
}

static const struct unit_case cases[] = {
    {"reads speeds and nothing else", test_speeds},
    {"a record waits for its distance from the first", test_waits},
    {"distances are divided by the speed", test_divides_by_the_speed},
    {"timestamps that go back do not wait", test_going_back},
    {"records without a timestamp do not wait", test_without_timestamp},
    {"max does not wait and gives no timestamps", test_max},
    {"no timestamp overflows", test_extremes},
    {NULL, NULL},
};

void
register_pace(void)
{
    unit_register("pace", cases);
}
