/* SPDX-License-Identifier: Apache-2.0 */
#include "core/clean_policy.h"

#include "unit/unit.h"

enum { COUNT = 4 };

/* Segments of ten offsets and a hundred bytes each; their times are 1000, 2000, … */
static void
fill(struct clean_rules *rules, struct clean_segment segments[COUNT])
{
    *rules = (struct clean_rules){.compact = true,
        .dirty_ratio = 0.5,
        .young_ms = INT64_MAX,
        .overdue_ms = INT64_MIN,
        .limit_offset = INT64_MAX};
    for (int i = 0; i < COUNT; i++)
        segments[i] = (struct clean_segment){.base_offset = 10 * i,
            .next_offset = 10 * (i + 1),
            .bytes = 100,
            .first_timestamp = 1000 * (i + 1) - 500,
            .newest_ms = 1000 * (i + 1)};
}

static struct clean_verdict
assess(const struct clean_rules *rules, const struct clean_segment segments[COUNT])
{
    struct clean_verdict verdict;
    clean_assess(rules, segments, COUNT, &verdict);
    return verdict;
}

static void
test_policy(void)
{
    struct clean_rules rules;
    struct clean_segment segments[COUNT];
    fill(&rules, segments);
    struct clean_verdict verdict = assess(&rules, segments);
    CU_ASSERT_TRUE(verdict.due);
    CU_ASSERT_EQUAL(verdict.end_offset, 40);
    CU_ASSERT_EQUAL(verdict.dirty_bytes, 400);
    CU_ASSERT_EQUAL(verdict.clean_bytes, 0);
    rules.compact = false;
    rules.asked = true;
    CU_ASSERT_FALSE(assess(&rules, segments).due);
}

static void
test_ratio(void)
{
    struct clean_rules rules;
    struct clean_segment segments[COUNT];
    fill(&rules, segments);
    rules.clean_offset = 20;
    CU_ASSERT_FALSE(assess(&rules, segments).due);
    rules.dirty_ratio = 0.499;
    struct clean_verdict verdict = assess(&rules, segments);
    CU_ASSERT_TRUE(verdict.due);
    CU_ASSERT_EQUAL(verdict.clean_bytes, 200);
    CU_ASSERT_EQUAL(verdict.dirty_bytes, 200);
    CU_ASSERT_DOUBLE_EQUAL(verdict.urgency, 0.5, 1e-9);
    rules.clean_offset = 40;
    rules.dirty_ratio = 0;
    verdict = assess(&rules, segments);
    CU_ASSERT_FALSE(verdict.due);
    CU_ASSERT_EQUAL(verdict.end_offset, 40);
}

/* A pass whose map was full ends in the middle of a segment, which is dirty then. */
static void
test_inside_a_segment(void)
{
    struct clean_rules rules;
    struct clean_segment segments[COUNT];
    fill(&rules, segments);
    rules.clean_offset = 25;
    struct clean_verdict verdict = assess(&rules, segments);
    CU_ASSERT_EQUAL(verdict.clean_bytes, 200);
    CU_ASSERT_EQUAL(verdict.end_offset, 40);
}

static void
test_young(void)
{
    struct clean_rules rules;
    struct clean_segment segments[COUNT];
    fill(&rules, segments);
    rules.young_ms = 2000;
    CU_ASSERT_EQUAL(assess(&rules, segments).end_offset, 10);
    rules.young_ms = 2001;
    CU_ASSERT_EQUAL(assess(&rules, segments).end_offset, 20);
    /* What lies behind a young segment waits as well. */
    segments[0].newest_ms = 5000;
    CU_ASSERT_EQUAL(assess(&rules, segments).end_offset, 0);
    CU_ASSERT_FALSE(assess(&rules, segments).due);
    /* Who asks does not break the promise. */
    rules.asked = true;
    CU_ASSERT_FALSE(assess(&rules, segments).due);
}

static void
test_limit(void)
{
    struct clean_rules rules;
    struct clean_segment segments[COUNT];
    fill(&rules, segments);
    rules.limit_offset = 30;
    CU_ASSERT_EQUAL(assess(&rules, segments).end_offset, 30);
    rules.limit_offset = 29;
    CU_ASSERT_EQUAL(assess(&rules, segments).end_offset, 20);
}

static void
test_overdue(void)
{
    struct clean_rules rules;
    struct clean_segment segments[COUNT];
    fill(&rules, segments);
    rules.clean_offset = 30;
    rules.overdue_ms = 3500;
    CU_ASSERT_FALSE(assess(&rules, segments).due);
    rules.overdue_ms = 3501;
    struct clean_verdict verdict = assess(&rules, segments);
    CU_ASSERT_TRUE(verdict.due);
    CU_ASSERT_TRUE(verdict.urgency > 1);
    segments[3].first_timestamp = -1;
    CU_ASSERT_FALSE(assess(&rules, segments).due);
}

static void
test_asked(void)
{
    struct clean_rules rules;
    struct clean_segment segments[COUNT];
    fill(&rules, segments);
    rules.clean_offset = 40;
    rules.asked = true;
    struct clean_verdict verdict = assess(&rules, segments);
    CU_ASSERT_TRUE(verdict.due);
    CU_ASSERT_TRUE(verdict.urgency > 2);
    clean_assess(&rules, segments, 0, &verdict);
    CU_ASSERT_FALSE(verdict.due);
}

static void
test_horizon(void)
{
    CU_ASSERT_EQUAL(clean_horizon_ms(1000, 86400000), 86401000);
    CU_ASSERT_EQUAL(clean_horizon_ms(1000, 0), 1000);
    CU_ASSERT_EQUAL(clean_horizon_ms(1000, INT64_MAX), INT64_MAX);
}

void
register_clean_policy(void)
{
    static const struct unit_case cases[] = {
        {"only with the policy compact", test_policy},
        {"min.cleanable.dirty.ratio", test_ratio},
        {"a dirty part that begins inside a segment", test_inside_a_segment},
        {"min.compaction.lag.ms", test_young},
        {"what is not on stable storage waits", test_limit},
        {"max.compaction.lag.ms", test_overdue},
        {"somebody asks", test_asked},
        {"the delete horizon", test_horizon},
        {NULL, NULL},
    };
    unit_register("clean_policy", cases);
}
