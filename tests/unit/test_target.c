/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/target.h"

#include "base/err.h"
#include "unit/unit.h"

#include <string.h>

#define NOW_MS INT64_C(1785585600000)

static struct target
parsed(const char *word, const char *more)
{
    struct target target = {.value = INT64_MIN};
    CU_ASSERT_EQUAL(target_parse(word, more, NOW_MS, &target), 0);
    return target;
}

static void
expect(const char *word, const char *more, enum target_kind kind, int64_t value)
{
    struct target target = parsed(word, more);
    CU_ASSERT_EQUAL(target.kind, kind);
    CU_ASSERT_EQUAL(target.value, value);
}

static void
test_places(void)
{
    expect("beginning", NULL, TARGET_BEGINNING, 0);
    expect("end", NULL, TARGET_END, 0);
    expect("offset", "17", TARGET_OFFSET, 17);
    expect("offset 17", NULL, TARGET_OFFSET, 17);
    expect("2k", NULL, TARGET_OFFSET, 2048);
    expect("shift", "-5", TARGET_SHIFT, -5);
    expect("shift", "+5", TARGET_SHIFT, 5);
    expect("shift  5", NULL, TARGET_SHIFT, 5);
    expect("time", "-1h", TARGET_TIME, NOW_MS - 3600000);
    expect("time", "@-1h", TARGET_TIME, NOW_MS - 3600000);
    expect("@-1h", NULL, TARGET_TIME, NOW_MS - 3600000);
    expect("time 2026-08-01T12:00:00Z", NULL, TARGET_TIME, NOW_MS);
    /* Before 1970; -1 to -3 would be places for busd. */
    expect("time", "-9999w", TARGET_TIME, 0);
    CU_ASSERT(target_wants_more("offset") && target_wants_more("time"));
    CU_ASSERT(target_wants_more("shift") && !target_wants_more("offset 1"));
    CU_ASSERT(!target_wants_more("end") && !target_wants_more("5"));
}

static void
test_refuses(void)
{
    static const struct {
        const char *word, *more, *told;
    } bad[] = {
        {"", NULL, "beginning, end, offset N"},
        {"middle", NULL, "'middle' is no place"},
        {"end 5", NULL, "'end 5' is no place"},
        {"-5", NULL, "'-5' is no place"},
        {"+5", NULL, "'+5' is no place"},
        {"offset", NULL, "a value must follow, as in offset 100"},
        {"offset ", NULL, "a value must follow"},
        {"offset", "-1", "offset -1: a number is wanted"},
        {"offset", "+1", "offset +1"},
        {"shift", "far", "shift far"},
        {"shift", "+-1", "shift +-1"},
        {"shift", "99999999999999999999", "shift 9999"},
        {"time", NULL, "as in time -1h"},
        {"time", "soon", "'soon' is no time"},
        {"@soon", NULL, "'soon' is no time"},
    };
    struct target target;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CU_ASSERT_EQUAL(
            target_parse(bad[i].word, bad[i].more, NOW_MS, &target), -BUS_ERR_INVALID_FORMAT);
        CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), bad[i].told));
    }
}

static void
resolves(const char *word, struct target_place place, enum target_found found, int64_t offset)
{
    struct target target = parsed(word, NULL);
    int64_t got = INT64_MIN;
    CU_ASSERT_EQUAL(target_resolve(&target, &place, &got), found);
    CU_ASSERT_EQUAL(got, offset);
}

static void
test_resolves(void)
{
    const struct target_place place = {
        .committed = 30, .log_start = 20, .log_end = 100, .at_time = 42};
    resolves("beginning", place, TARGET_FOUND, 20);
    resolves("end", place, TARGET_FOUND, 100);
    resolves("offset 20", place, TARGET_FOUND, 20);
    resolves("offset 100", place, TARGET_FOUND, 100);
    resolves("offset 19", place, TARGET_BELOW, 20);
    resolves("offset 101", place, TARGET_ABOVE, 100);
    resolves("offset 9223372036854775807", place, TARGET_ABOVE, 100);
    resolves("time now", place, TARGET_FOUND, 42);
    resolves("shift -10", place, TARGET_FOUND, 20);
    resolves("shift -11", place, TARGET_BELOW, 20);
    resolves("shift 70", place, TARGET_FOUND, 100);
    resolves("shift 71", place, TARGET_ABOVE, 100);
    resolves("shift 9223372036854775807", place, TARGET_ABOVE, 100);
    resolves("shift -9223372036854775807", place, TARGET_BELOW, 20);
}

static void
test_what_is_not_there(void)
{
    const struct target_place bare = {
        .committed = -1, .log_start = 20, .log_end = 100, .at_time = -1};
    resolves("time now", bare, TARGET_YOUNGER, 100);
    resolves("shift 0", bare, TARGET_NOTHING, -1);
    /* What was committed has been deleted since. */
    const struct target_place old = {.committed = 5, .log_start = 20, .log_end = 100};
    resolves("shift 0", old, TARGET_BELOW, 20);
}

static const struct unit_case cases[] = {
    {"places in their long and short forms", test_places},
    {"refuses what is no place", test_refuses},
    {"an offset of the log comes of every place", test_resolves},
    {"no record, nothing committed, a start that has moved", test_what_is_not_there},
    {NULL, NULL},
};

void
register_target(void)
{
    unit_register("target", cases);
}
