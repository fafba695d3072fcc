/* SPDX-License-Identifier: Apache-2.0
 * Committed offsets over restarts: what LMDB and the topic have, whichever is behind, lost or
 * damaged.
 */
#include "base/bytes.h"
#include "cluster/offsets_inner.h"
#include "unit/offsets_world.h"

#include <string.h>

static void
test_restart(void)
{
    ow_set_up();
    ow_store_group("g", 1);
    CU_ASSERT_EQUAL(ow_submit("g", "t", 0, 7, "note"), 0);
    world_restart(&ow); /* the end waits for what is on its way */
    CU_ASSERT_EQUAL(ow_told, 0);
    struct offsets_position position;
    CU_ASSERT_TRUE_FATAL(offsets_find(ow_offsets(), "g", "t", 0, &position));
    CU_ASSERT_EQUAL(position.offset, 7);
    CU_ASSERT_STRING_EQUAL(position.metadata, "note");
    ow_commit("g", "t", 1, 8);
    world_restart(&ow);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 7);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 1), 8);
    ow_tear_down();
}

static void
test_lmdb_behind(void)
{
    ow_set_up();
    ow_commit("g", "t", 0, 1);
    ow_commit("h", "t", 0, 2);
    ow_freeze_lmdb();
    ow_commit("g", "t", 0, 3);
    ow_commit("g", "t", 2, 4);
    ow_commit("i", "u", 0, 5);
    world_restart(&ow);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 3);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 2), 4);
    CU_ASSERT_EQUAL(ow_committed("h", "t", 0), 2);
    CU_ASSERT_EQUAL(ow_committed("i", "u", 0), 5);
    ow_tear_down();
}

static int
count_groups(void *context, const char *group, const struct group_metadata_value *metadata)
{
    int *counts = context;
    (void)group;
    counts[metadata ? 1 : 0]++;
    if (metadata) {
        CU_ASSERT_STRING_EQUAL(metadata->protocol_type, "consumer");
        CU_ASSERT_EQUAL(metadata->members_count, 1);
        CU_ASSERT_STRING_EQUAL(metadata->members[0].member_id, "m");
    }
    return 0;
}

static void
test_lmdb_lost(void)
{
    ow_set_up();
    ow_commit("g", "t", 0, 1);
    ow_commit("g", "t", 0, 2);
    ow_store_group("h", 1);
    ow_lose_lmdb();
    world_restart(&ow);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 2);
    int counts[2] = {0};
    CU_ASSERT_EQUAL(offsets_each_group(ow_offsets(), count_groups, counts), 0);
    CU_ASSERT_EQUAL(counts[0], 1);
    CU_ASSERT_EQUAL(counts[1], 1);
    ow_tear_down();
}

static void
test_lmdb_damaged(void)
{
    static const struct meta_row bad[] = {{"x1234", "value", 5, 5}, {"1234", "v", 4, 1},
        {"4123456789012", "short", 13, 5}, {"3\0\0\0\1", "\0\0\0\0\0\0\0\0\xff\0\0\0x", 5, 13},
        {"2\0\0\0\1", "id", 5, 2}, {"0\0\0\0\0", "x", 5, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ow_set_up();
        ow_commit("g", "t", 0, 2);
        ow_freeze_lmdb();
        CU_ASSERT_EQUAL(meta_table_save(ow.meta, META_OFFSETS, &bad[i], 1), 0);
        world_restart(&ow);
        CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 2);
        ow_tear_down();
    }
}

/** LMDB knows more than the log has: what the log lacks is not believed. */
static void
test_log_behind(void)
{
    ow_set_up();
    ow_commit("g", "t", 0, 1);
    int32_t index = offsets_partition(ow_offsets(), "g");
    uint8_t key[5] = {'1', 0, 0, 0, (uint8_t)index};
    uint8_t value[24];
    struct uuid id = world_id(&ow, OFFSETS_TOPIC);
    memcpy(value, id.b, sizeof id.b);
    bytes_put_i64(value + 16, 1000);
    ow_freeze_lmdb();
    ow_commit("g", "t", 0, 2);
    struct meta_row row = {key, value, sizeof key, sizeof value};
    CU_ASSERT_EQUAL(meta_table_save(ow.meta, META_OFFSETS, &row, 1), 0);
    world_restart(&ow);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 2);
    CU_ASSERT_EQUAL(ow_offsets()->parts[index].applied, 2);
    ow_tear_down();
}

static const struct unit_case cases[] = {
    {"all is there after a restart", test_restart},
    {"LMDB lags behind", test_lmdb_behind},
    {"LMDB is lost", test_lmdb_lost},
    {"LMDB is damaged", test_lmdb_damaged},
    {"LMDB is ahead of the log", test_log_behind},
    {NULL, NULL},
};

void
register_offsets_restart(void)
{
    unit_register("offsets_restart", cases);
}
