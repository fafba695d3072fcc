/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/top_rates.h"

#include "unit/unit.h"

#include <string.h>

#define SECOND_NS INT64_C(1000000000)

/** Two topics, "a" with two partitions and "b" with one, and two groups, as seen at a moment. */
struct world {
    struct top_part parts[3];
    struct top_topic topics[2];
    struct top_group groups[2];
    struct top_look look;
};

static void
world_init(struct world *world, int64_t at_ns)
{
    *world = (struct world){
        .parts = {{0, 100, 1000}, {50, 150, 2000}, {0, 10, 500}},
        .topics = {{.name = "a", .id = "1", .first = 0, .partitions = 2},
            {.name = "b", .id = "2", .first = 2, .partitions = 1}},
        .groups = {{"g", "Stable", 2, 3, 200, 60}, {"h", "Empty", 0, 1, 10, 0}},
    };
    world->look = (struct top_look){at_ns, world->parts, world->topics, 2, world->groups, 2};
}

static const struct top_topic_row *
topic(const struct top_view *view, const char *name)
{
    for (size_t i = 0; i < view->topic_count; i++)
        if (strcmp(view->topics[i].name, name) == 0)
            return &view->topics[i];
    CU_FAIL_FATAL("no such topic");
    return NULL;
}

static void
view(struct top_view *view, const struct world *now, const struct world *before)
{
    bool made = top_view_init(view, &now->look, before ? &before->look : NULL, TOP_BY_NAME, false);
    CU_ASSERT_TRUE_FATAL(made);
}

static void
test_sums(void)
{
    struct world now;
    struct top_view v;
    world_init(&now, SECOND_NS);
    view(&v, &now, NULL);
    CU_ASSERT_EQUAL(v.topic_count, 2);
    CU_ASSERT_EQUAL(topic(&v, "a")->partitions, 2);
    CU_ASSERT_EQUAL(topic(&v, "a")->records, 200);
    CU_ASSERT_EQUAL(topic(&v, "a")->bytes, 3000);
    CU_ASSERT_EQUAL(v.bytes, 3500);
    CU_ASSERT_EQUAL(v.lag, 60);
    /* Without a look before there is no rate. */
    CU_ASSERT_EQUAL(topic(&v, "a")->records_per_s, TOP_UNKNOWN);
    CU_ASSERT_EQUAL(topic(&v, "a")->bytes_per_s, TOP_UNKNOWN);
    CU_ASSERT_EQUAL(v.groups[0].records_per_s, TOP_UNKNOWN);
    CU_ASSERT_EQUAL(v.records_per_s, TOP_UNKNOWN);
    top_view_fini(&v);
}

static void
test_real_time(void)
{
    struct world before, now;
    struct top_view v;
    world_init(&before, SECOND_NS);
    /* Two and a half seconds, though it was to be one. */
    world_init(&now, SECOND_NS * 7 / 2);
    now.parts[0].end += 200;
    now.parts[0].bytes += 4000;
    now.parts[1].end += 50;
    now.parts[1].bytes += 1000;
    now.groups[0].committed += 25;
    view(&v, &now, &before);
    CU_ASSERT_EQUAL(topic(&v, "a")->records_per_s, 100);
    CU_ASSERT_EQUAL(topic(&v, "a")->bytes_per_s, 2000);
    CU_ASSERT_EQUAL(topic(&v, "b")->records_per_s, 0);
    CU_ASSERT_EQUAL(v.records_per_s, 100);
    CU_ASSERT_EQUAL(v.bytes_per_s, 2000);
    CU_ASSERT_EQUAL(v.groups[0].records_per_s, 10);
    CU_ASSERT_EQUAL(v.groups[1].records_per_s, 0);
    top_view_fini(&v);
    /* A clock that stands still gives no rates, and divides by nothing. */
    now.look.at_ns = before.look.at_ns;
    view(&v, &now, &before);
    CU_ASSERT_EQUAL(topic(&v, "a")->records_per_s, TOP_UNKNOWN);
    top_view_fini(&v);
}

static void
test_retention(void)
{
    struct world before, now;
    struct top_view v;
    world_init(&before, 0);
    world_init(&now, SECOND_NS);
    /* Half of partition 0 went, while 100 records came: 10 bytes each, as those kept are. */
    now.parts[0] = (struct top_part){100, 200, 1000};
    view(&v, &now, &before);
    CU_ASSERT_EQUAL(topic(&v, "a")->records, 200);
    CU_ASSERT_EQUAL(topic(&v, "a")->records_per_s, 100);
    CU_ASSERT_EQUAL(topic(&v, "a")->bytes_per_s, 1000);
    top_view_fini(&v);
    /* Compacted: smaller, from the same start. Nothing came, so no bytes did. */
    now.parts[0] = (struct top_part){0, 100, 200};
    view(&v, &now, &before);
    CU_ASSERT_EQUAL(topic(&v, "a")->bytes_per_s, 0);
    top_view_fini(&v);
    /* Everything deleted. */
    now.parts[0] = (struct top_part){100, 100, 0};
    view(&v, &now, &before);
    CU_ASSERT_EQUAL(topic(&v, "a")->bytes_per_s, 0);
    CU_ASSERT_EQUAL(topic(&v, "a")->records_per_s, 0);
    top_view_fini(&v);
}

static void
test_new_topics(void)
{
    struct world before, now;
    struct top_view v;
    world_init(&before, 0);
    world_init(&now, SECOND_NS);
    /* Deleted and made anew: another topic, that began empty. */
    now.topics[1].id[0] = 'x';
    /* A partition more. */
    before.topics[0].partitions = 1;
    view(&v, &now, &before);
    CU_ASSERT_EQUAL(topic(&v, "b")->records_per_s, 10);
    CU_ASSERT_EQUAL(topic(&v, "b")->bytes_per_s, 500);
    CU_ASSERT_EQUAL(topic(&v, "a")->records_per_s, 150);
    top_view_fini(&v);
    before.look.topic_count = before.look.group_count = 0;
    view(&v, &now, &before);
    CU_ASSERT_EQUAL(topic(&v, "b")->records_per_s, 10);
    CU_ASSERT_EQUAL(v.groups[0].records_per_s, TOP_UNKNOWN);
    top_view_fini(&v);
}

static void
test_unknown(void)
{
    struct world before, now;
    struct top_view v;
    world_init(&before, 0);
    world_init(&now, SECOND_NS);
    now.parts[0] = (struct top_part){-1, -1, -1};
    before.parts[1] = (struct top_part){-1, -1, -1};
    /* A group that was reset backwards, and one that reads other partitions now. */
    now.groups[0].committed = 5;
    now.groups[1].partitions = 2;
    view(&v, &now, &before);
    CU_ASSERT_EQUAL(topic(&v, "a")->records, 100);
    CU_ASSERT_EQUAL(topic(&v, "a")->bytes, 2000);
    CU_ASSERT_EQUAL(topic(&v, "a")->records_per_s, 0);
    CU_ASSERT_EQUAL(topic(&v, "a")->bytes_per_s, 0);
    CU_ASSERT_EQUAL(v.groups[0].records_per_s, 0);
    CU_ASSERT_EQUAL(v.groups[1].records_per_s, TOP_UNKNOWN);
    top_view_fini(&v);
}

static void
test_order(void)
{
    static const struct {
        enum top_sort sort;
        const char *topic;
        const char *group;
    } rows[] = {{TOP_BY_NAME, "a", "g"}, {TOP_BY_RECORDS_PER_S, "b", "h"},
        {TOP_BY_BYTES_PER_S, "a", "g"}, {TOP_BY_BYTES, "a", "g"}, {TOP_BY_PARTITIONS, "a", "g"},
        {TOP_BY_LAG, "a", "h"}};
    struct world before, now;
    struct top_view v;
    world_init(&before, 0);
    world_init(&now, SECOND_NS);
    now.parts[2].end += 10;
    now.parts[0].bytes += 1;
    now.groups[1].committed += 1;
    now.groups[1].lag = 100;
    for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) {
        bool reversed = i % 2;
        CU_ASSERT_TRUE_FATAL(
            top_view_init(&v, &now.look, &before.look, rows[i / 2].sort, reversed));
        CU_ASSERT_STRING_EQUAL(v.topics[reversed].name, rows[i / 2].topic);
        CU_ASSERT_STRING_EQUAL(v.groups[reversed].name, rows[i / 2].group);
        top_view_fini(&v);
    }
}

static const struct unit_case cases[] = {
    {"adds up partitions", test_sums},
    {"rates are over the time that it really was", test_real_time},
    {"what goes does not look like what comes", test_retention},
    {"new topics and partitions began empty", test_new_topics},
    {"what is not known counts for nothing", test_unknown},
    {"orders", test_order},
    {NULL, NULL},
};

void
register_top_rates(void)
{
    unit_register("top_rates", cases);
}
