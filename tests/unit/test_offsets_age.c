/* SPDX-License-Identifier: Apache-2.0
 * Committed offsets that expire.
 */
#include "unit/offsets_world.h"

enum { WEEK_MS = 7 * 24 * 3600 * 1000, CHECK_MS = 600000 };

static void
test_expires(void)
{
    ow_set_up();
    ow_commit("g", "t", 0, 1);
    ow_pass(WEEK_MS - CHECK_MS - 1);
    ow_commit("g", "t", 1, 2);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 1);
    ow_pass(CHECK_MS);
    ow_pass(1);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 1);
    ow_pass(CHECK_MS);
    ow_pass(1);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), -1);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 1), 2);
    ow_lose_lmdb();
    world_restart(&ow);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), -1);
    ow_tear_down();
}

static void
test_ages_over_restarts(void)
{
    ow_set_up();
    ow_commit("g", "t", 0, 1);
    ow_pass(WEEK_MS / 2);
    world_restart(&ow);
    ow.wall_ms += INT64_C(100) * WEEK_MS; /* somebody sets the clock */
    ow_pass(CHECK_MS);
    ow_pass(1);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 1);
    ow_pass(WEEK_MS / 2);
    ow_pass(1);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), -1);
    ow_tear_down();
}

static void
test_group_ages(void)
{
    ow_set_up();
    ow_commit("g", "t", 0, 1);
    ow_store_group("g", 1);
    ow_pass(WEEK_MS);
    ow_pass(1);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 1); /* it has members */
    ow_store_group("g", 0);
    ow_pass(WEEK_MS - 1);
    ow_pass(1);
    ow_pass(1);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 1);
    ow_pass(CHECK_MS);
    ow_pass(1);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), -1);
    CU_ASSERT_FALSE(offsets_known(ow_offsets(), "g"));
    ow_store_group("empty", 0);
    ow_pass(CHECK_MS);
    ow_pass(1);
    CU_ASSERT_FALSE(offsets_known(ow_offsets(), "empty"));
    ow_tear_down();
}

static void
test_asked_retention(void)
{
    ow_set_up();
    struct offsets_position position;
    struct offsets_item item = {"t", 0, 5, 3, NULL};
    struct offsets_commit brief = {"g", &item, 1, 5000};
    CU_ASSERT_EQUAL(offsets_commit(ow_offsets(), &brief, NULL, NULL), 0);
    offsets_run(ow_offsets());
    CU_ASSERT_TRUE(offsets_find(ow_offsets(), "g", "t", 0, &position));
    world_restart(&ow);
    CU_ASSERT_TRUE(offsets_find(ow_offsets(), "g", "t", 0, &position));
    ow_pass(CHECK_MS);
    ow_pass(1);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), -1);
    ow_tear_down();
}

static const struct unit_case cases[] = {
    {"offsets expire", test_expires},
    {"ages are counted over restarts, by no wall clock", test_ages_over_restarts},
    {"groups without members expire", test_group_ages},
    {"a client asks for a retention", test_asked_retention},
    {NULL, NULL},
};

void
register_offsets_age(void)
{
    unit_register("offsets_age", cases);
}
