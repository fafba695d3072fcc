/* SPDX-License-Identifier: Apache-2.0 */
#include "core/retain.h"

#include "unit/unit.h"

enum { COUNT = 5, BYTES = 100 };
#define ALL (COUNT * BYTES + 30) /* with the segment being written */

/* Segments of ten offsets and a hundred bytes each; their times are 1000, 2000, … */
static void
fill(struct retain_rules *rules, struct retain_segment segments[COUNT])
{
    *rules = (struct retain_rules){
        .remove = true, .before_ms = INT64_MIN, .retention_bytes = -1, .limit_offset = INT64_MAX};
    for (int i = 0; i < COUNT; i++)
        segments[i] = (struct retain_segment){.next_offset = 10 * (i + 1),
            .bytes = BYTES,
            .max_timestamp = 1000 * (i + 1),
            .closed_ms = 1000 * (i + 1)};
}

static void
test_nothing(void)
{
    struct retain_rules rules;
    struct retain_segment segments[COUNT];
    fill(&rules, segments);
    CU_ASSERT_EQUAL(retain_count(&rules, segments, COUNT, ALL), 0);
    CU_ASSERT_EQUAL(retain_count(&rules, segments, 0, 30), 0);
}

static void
test_age(void)
{
    struct retain_rules rules;
    struct retain_segment segments[COUNT];
    fill(&rules, segments);
    rules.before_ms = 3000;
    CU_ASSERT_EQUAL(retain_count(&rules, segments, COUNT, ALL), 2);
    rules.before_ms = 3001;
    CU_ASSERT_EQUAL(retain_count(&rules, segments, COUNT, ALL), 3);
    rules.before_ms = INT64_MAX;
    CU_ASSERT_EQUAL(retain_count(&rules, segments, COUNT, ALL), COUNT);
    rules.remove = false;
    CU_ASSERT_EQUAL(retain_count(&rules, segments, COUNT, ALL), 0);
}

static void
test_oldest_first(void)
{
    struct retain_rules rules;
    struct retain_segment segments[COUNT];
    fill(&rules, segments);
    segments[1].max_timestamp = segments[1].closed_ms = 9000;
    rules.before_ms = 5000;
    CU_ASSERT_EQUAL(retain_count(&rules, segments, COUNT, ALL), 1);
}

static void
test_future(void)
{
    struct retain_rules rules;
    struct retain_segment segments[COUNT];
    fill(&rules, segments);
    /* A producer whose clock is wrong by years keeps nothing alive. */
    segments[0].max_timestamp = INT64_MAX;
    segments[1].max_timestamp = -1;
    rules.before_ms = 4000;
    CU_ASSERT_EQUAL(retain_count(&rules, segments, COUNT, ALL), 3);
    CU_ASSERT_EQUAL(retain_newest_ms(1000 + RETAIN_FUTURE_MS, 1000), 1000 + RETAIN_FUTURE_MS);
    CU_ASSERT_EQUAL(retain_newest_ms(1001 + RETAIN_FUTURE_MS, 1000), 1000);
    CU_ASSERT_EQUAL(retain_newest_ms(5, 1000), 5);
    CU_ASSERT_EQUAL(retain_newest_ms(-1, 1000), 1000);
    CU_ASSERT_EQUAL(retain_newest_ms(7, INT64_MAX), 7);
}

static void
test_size(void)
{
    struct retain_rules rules;
    struct retain_segment segments[COUNT];
    fill(&rules, segments);
    rules.retention_bytes = ALL;
    CU_ASSERT_EQUAL(retain_count(&rules, segments, COUNT, ALL), 0);
    /* A segment goes only when what is left is still as large as was asked for. */
    rules.retention_bytes = ALL - BYTES + 1;
    CU_ASSERT_EQUAL(retain_count(&rules, segments, COUNT, ALL), 0);
    rules.retention_bytes = ALL - BYTES;
    CU_ASSERT_EQUAL(retain_count(&rules, segments, COUNT, ALL), 1);
    rules.retention_bytes = 0;
    CU_ASSERT_EQUAL(retain_count(&rules, segments, COUNT, ALL), COUNT);
}

static void
test_both(void)
{
    struct retain_rules rules;
    struct retain_segment segments[COUNT];
    fill(&rules, segments);
    rules.before_ms = 2500;
    rules.retention_bytes = ALL - BYTES;
    CU_ASSERT_EQUAL(retain_count(&rules, segments, COUNT, ALL), 2);
    rules.retention_bytes = ALL - 4 * BYTES;
    CU_ASSERT_EQUAL(retain_count(&rules, segments, COUNT, ALL), 4);
}

static void
test_bounds(void)
{
    struct retain_rules rules;
    struct retain_segment segments[COUNT];
    fill(&rules, segments);
    rules.remove = false;
    rules.log_start_offset = 29;
    CU_ASSERT_EQUAL(retain_count(&rules, segments, COUNT, ALL), 2);
    rules.log_start_offset = 30;
    CU_ASSERT_EQUAL(retain_count(&rules, segments, COUNT, ALL), 3);
    rules.limit_offset = 20;
    CU_ASSERT_EQUAL(retain_count(&rules, segments, COUNT, ALL), 2);
    rules.limit_offset = 19;
    CU_ASSERT_EQUAL(retain_count(&rules, segments, COUNT, ALL), 1);
}

void
register_retain(void)
{
    static const struct unit_case cases[] = {
        {"no limit keeps everything", test_nothing},
        {"by age", test_age},
        {"a segment that stays keeps those behind it", test_oldest_first},
        {"times in the future, and none", test_future},
        {"by size", test_size},
        {"both limits, each on its own", test_both},
        {"the log start and the high watermark", test_bounds},
        {NULL, NULL},
    };
    unit_register("retain", cases);
}
