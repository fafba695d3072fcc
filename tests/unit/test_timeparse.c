/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/timeparse.h"

#include "base/err.h"
#include "unit/unit.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* 2026-08-01T12:00:00Z */
#define NOON_MS INT64_C(1785585600000)

static const int64_t hour_ms = 3600000;

/** Runs the test's clock in a zone without daylight saving, two hours east. */
static void
zone_east(void)
{
    setenv("TZ", "EAST-02:00", 1);
    tzset();
}

static void
zone_back(void)
{
    unsetenv("TZ");
    tzset();
}

static int64_t
parsed(const char *text)
{
    int64_t time_ms = INT64_MIN;
    int rc = time_parse(text, NOON_MS, &time_ms);
    if (rc == 0)
        return time_ms;
    CU_ASSERT_EQUAL(rc, -BUS_ERR_INVALID_FORMAT);
    CU_ASSERT_EQUAL(time_ms, INT64_MIN);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), text));
    return INT64_MIN;
}

static void
test_spans(void)
{
    CU_ASSERT_EQUAL(parsed("now"), NOON_MS);
    CU_ASSERT_EQUAL(parsed("-1h"), NOON_MS - hour_ms);
    CU_ASSERT_EQUAL(parsed("-1h30m"), NOON_MS - hour_ms - 1800000);
    CU_ASSERT_EQUAL(parsed("-250ms"), NOON_MS - 250);
    CU_ASSERT_EQUAL(parsed("-90s"), NOON_MS - 90000);
    CU_ASSERT_EQUAL(parsed("-2d"), NOON_MS - 48 * hour_ms);
    CU_ASSERT_EQUAL(parsed("-1w1ms"), NOON_MS - 7 * 24 * hour_ms - 1);
}

static void
test_epochs(void)
{
    CU_ASSERT_EQUAL(parsed("0"), 0);
    CU_ASSERT_EQUAL(parsed("1785585600"), NOON_MS);
    CU_ASSERT_EQUAL(parsed("1785585600.5"), NOON_MS + 500);
    CU_ASSERT_EQUAL(parsed("1785585600.1239"), NOON_MS + 123);
    CU_ASSERT_EQUAL(parsed("1785585600000"), NOON_MS);
    CU_ASSERT_EQUAL(parsed("99999999999"), INT64_C(99999999999000));
    CU_ASSERT_EQUAL(parsed("100000000000"), INT64_C(100000000000));
    CU_ASSERT_EQUAL(parsed("100000000001"), INT64_C(100000000001));
}

static void
test_dates_with_a_zone(void)
{
    CU_ASSERT_EQUAL(parsed("2026-08-01T12:00:00Z"), NOON_MS);
    CU_ASSERT_EQUAL(parsed("2026-08-01t12:00:00z"), NOON_MS);
    CU_ASSERT_EQUAL(parsed("2026-08-01 12:00Z"), NOON_MS);
    CU_ASSERT_EQUAL(parsed("2026-08-01T14:00:00.250+02:00"), NOON_MS + 250);
    CU_ASSERT_EQUAL(parsed("2026-08-01T06:30:00-0530"), NOON_MS);
    CU_ASSERT_EQUAL(parsed("2026-08-01Z"), NOON_MS - 12 * hour_ms);
    CU_ASSERT_EQUAL(parsed("1970-01-01T00:00:00Z"), 0);
    CU_ASSERT_EQUAL(parsed("2024-02-29T00:00:00Z"), INT64_C(1709164800000));
}

static void
test_local_dates(void)
{
    zone_east();
    CU_ASSERT_EQUAL(parsed("2026-08-01T14:00:00"), NOON_MS);
    CU_ASSERT_EQUAL(parsed("2026-08-01 14:00"), NOON_MS);
    CU_ASSERT_EQUAL(parsed("2026-08-01"), NOON_MS - 14 * hour_ms);
    zone_back();
}

static void
test_clock_times_are_in_the_past(void)
{
    zone_east();
    CU_ASSERT_EQUAL(parsed("14:00"), NOON_MS);
    CU_ASSERT_EQUAL(parsed("13:59:30"), NOON_MS - 30000);
    CU_ASSERT_EQUAL(parsed("14:00:01"), NOON_MS - 24 * hour_ms + 1000);
    CU_ASSERT_EQUAL(parsed("0:00"), NOON_MS - 14 * hour_ms);
    CU_ASSERT_EQUAL(parsed("23:59"), NOON_MS - 14 * hour_ms - 60000);
    zone_back();
}

static void
test_refuses(void)
{
    static const char *const bad[] = {"", "-", "-1", "-1x", "-1h30", "-h", "--1h", "1h",
        "yesterday", "24:00", "12:60", "12:0", "1:2:3", "2026-13-01", "2026-02-29", "2026-04-31",
        "2026-00-01", "2026-01-00", "26-01-01", "2026-08-01T", "2026-08-01T12",
        "2026-08-01T12:00:00+2", "2026-08-01T12:00:00+24:00", "2026-08-01T12:00:00Zx",
        "2026-08-01T12:00:00.", "1.5.2", "1785585600.", "1785585600000.5", "9999999999999999",
        "12 ", " 12", "-9999999999999999s", "-999999999999999w"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_EQUAL(parsed(bad[i]), INT64_MIN);
}

static void
assert_start(const char *text, enum start_kind kind, int64_t value)
{
    struct start start = {.value = INT64_MIN};
    CU_ASSERT_EQUAL(start_parse(text, NOON_MS, &start), 0);
    CU_ASSERT_EQUAL(start.kind, kind);
    CU_ASSERT_EQUAL(start.value, value);
}

static void
test_starts(void)
{
    assert_start("beginning", START_BEGINNING, 0);
    assert_start("end", START_END, 0);
    assert_start("0", START_OFFSET, 0);
    assert_start("42", START_OFFSET, 42);
    assert_start("2k", START_OFFSET, 2048);
    assert_start("9223372036854775807", START_OFFSET, INT64_MAX);
    assert_start("-0", START_TAIL, 0);
    assert_start("-5", START_TAIL, 5);
    assert_start("@-1h", START_TIME, NOON_MS - hour_ms);
    assert_start("@2026-08-01T12:00:00Z", START_TIME, NOON_MS);
    assert_start("@1785585600", START_TIME, NOON_MS);
}

static void
test_refuses_starts(void)
{
    static const char *const bad[] = {
        "", "@", "@x", "first", "5x", "-x", "--5", "+5", "9223372036854775808", "1 2"};
    struct start start;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_EQUAL(start_parse(bad[i], NOON_MS, &start), -BUS_ERR_INVALID_FORMAT);
}

static void
assert_range(const char *text, enum start_kind from, int64_t from_value, enum start_kind to,
    int64_t to_value)
{
    struct range range = {.from.value = INT64_MIN, .to.value = INT64_MIN};
    CU_ASSERT_EQUAL(range_parse(text, NOON_MS, &range), 0);
    CU_ASSERT_TRUE(range.has_end);
    CU_ASSERT_EQUAL(range.from.kind, from);
    CU_ASSERT_EQUAL(range.from.value, from_value);
    CU_ASSERT_EQUAL(range.to.kind, to);
    CU_ASSERT_EQUAL(range.to.value, to_value);
}

static void
test_ranges(void)
{
    zone_east();
    assert_range("10:20", START_OFFSET, 10, START_OFFSET, 20);
    assert_range("7:7", START_OFFSET, 7, START_OFFSET, 7);
    assert_range("-9:-3", START_TAIL, 9, START_TAIL, 3);
    assert_range("beginning:5", START_BEGINNING, 0, START_OFFSET, 5);
    assert_range("5:end", START_OFFSET, 5, START_END, 0);
    assert_range("5:@-1h", START_OFFSET, 5, START_TIME, NOON_MS - hour_ms);
    assert_range("@-2h:@-1h", START_TIME, NOON_MS - 2 * hour_ms, START_TIME, NOON_MS - hour_ms);
    assert_range("@13:00:@13:59:30", START_TIME, NOON_MS - hour_ms, START_TIME, NOON_MS - 30000);
    assert_range("@2026-08-01T10:00:00Z:@2026-08-01T14:00:00+02:00", START_TIME,
        NOON_MS - 2 * hour_ms, START_TIME, NOON_MS);
    /* It is 14:00 now. A half hour under way ends at a time that is to come. */
    assert_range(
        "@13:45:@14:15", START_TIME, NOON_MS - hour_ms / 4, START_TIME, NOON_MS + hour_ms / 4);
    assert_range("@23:00:@01:30", START_TIME, NOON_MS - 15 * hour_ms, START_TIME,
        NOON_MS - 25 * hour_ms / 2);
    struct range range;
    CU_ASSERT_EQUAL(range_parse("@13:00", NOON_MS, &range), 0);
    CU_ASSERT_FALSE(range.has_end);
    CU_ASSERT_EQUAL(range.from.value, NOON_MS - hour_ms);
    zone_back();
}

static void
test_refuses_ranges(void)
{
    static const char *const bad[] = {"", ":", "5:", ":5", "1:2:3", "@-1h:5", "@-1h:", "@-1h:@",
        "@-1h:@x", "20:10", "-3:-9", "@-1h:@-2h", "end:5", "end:beginning", "@-1h:@-1h:@-1h",
        "5:beginning"};
    struct range range;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_EQUAL(range_parse(bad[i], NOON_MS, &range), -BUS_ERR_INVALID_FORMAT);
}

static const struct unit_case cases[] = {
    {"spans before now", test_spans},
    {"epochs in seconds and milliseconds", test_epochs},
    {"dates with a zone", test_dates_with_a_zone},
    {"dates in local time", test_local_dates},
    {"a time of day is the latest that was", test_clock_times_are_in_the_past},
    {"refuses what is no time", test_refuses},
    {"starting points", test_starts},
    {"refuses what is no starting point", test_refuses_starts},
    {"ranges", test_ranges},
    {"refuses what is no range", test_refuses_ranges},
    {NULL, NULL},
};

void
register_timeparse(void)
{
    unit_register("timeparse", cases);
}
