/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/offsets_world.h"

#include "base/err.h"
#include "cluster/offsets_inner.h"

struct world ow;

struct offsets *
ow_offsets(void)
{
    return ow.api->offsets;
}

void
ow_set_up(void)
{
    world_init(&ow);
    CU_ASSERT_EQUAL_FATAL(settings_set_named(&ow.fixed, "offsets.topic.num.partitions", "3"), 0);
    world_topic(&ow, "t", 4, NULL);
    world_topic(&ow, "u", 4, NULL);
}

void
ow_tear_down(void)
{
    world_fini(&ow);
}

int ow_told;

static void
note(void *context, int rc)
{
    CU_ASSERT_EQUAL(ow_told, 99);
    ow_told = rc;
    *(int *)context += 1;
}

int ow_calls;
const struct offsets_waiter ow_waiter = {note, &ow_calls};

int
ow_submit(const char *group, const char *topic, int32_t partition, int64_t offset, const char *text)
{
    struct offsets_item item = {topic, partition, 5, offset, text};
    struct offsets_commit commit = {group, &item, 1, -1};
    ow_told = 99;
    return offsets_commit(ow_offsets(), &commit, &ow_waiter, NULL);
}

void
ow_commit(const char *group, const char *topic, int32_t partition, int64_t offset)
{
    CU_ASSERT_EQUAL(ow_submit(group, topic, partition, offset, NULL), 0);
    CU_ASSERT_EQUAL(ow_told, 99);
    offsets_run(ow_offsets());
    CU_ASSERT_EQUAL(ow_told, 0);
}

int64_t
ow_committed(const char *group, const char *topic, int32_t partition)
{
    struct offsets_position position;
    if (!offsets_find(ow_offsets(), group, topic, partition, &position))
        return -1;
    CU_ASSERT_EQUAL(position.leader_epoch, 5);
    return position.offset;
}

void
ow_freeze_lmdb(void)
{
    offsets_rows_settle(ow_offsets());
    ow_offsets()->saving.broken = true;
}

void
ow_lose_lmdb(void)
{
    offsets_rows_settle(ow_offsets());
    ow_offsets()->saving.broken = true;
    CU_ASSERT_EQUAL(meta_table_clear(ow.meta, META_OFFSETS), 0);
}

void
ow_pass(int64_t ms)
{
    ow.mono_ms += ms;
    offsets_run(ow_offsets());
}

void
ow_store_group(const char *group, int members)
{
    struct group_metadata_value_member member = {
        .member_id = "m", .client_id = "c", .client_host = "/h"};
    struct group_metadata_value value = {.protocol_type = "consumer",
        .generation = 3,
        .protocol = "range",
        .leader = members ? "m" : NULL,
        .current_state_timestamp = -1,
        .members = &member,
        .members_count = members};
    ow_told = 99;
    CU_ASSERT_EQUAL(offsets_store_group(ow_offsets(), group, &value, &ow_waiter, NULL), 0);
    offsets_run(ow_offsets());
    CU_ASSERT_EQUAL(ow_told, 0);
}

struct log *
ow_log_of(const char *group, int32_t *index)
{
    *index = offsets_partition(ow_offsets(), group);
    return ow_offsets()->parts[*index].log;
}

int64_t
ow_end_of(const char *group)
{
    struct log_bounds bounds;
    int32_t index;
    CU_ASSERT_EQUAL_FATAL(log_bounds(ow_log_of(group, &index), &bounds), 0);
    return bounds.end_offset;
}

void
ow_read_log(const char *group, int64_t offset, struct buf *bytes)
{
    struct log_read_options options = {offset, 1 << 20, LOG_READ_END, true};
    struct log_slice slice;
    int32_t index;
    CU_ASSERT_EQUAL_FATAL(log_read(ow_log_of(group, &index), &options, &slice), 0);
    CU_ASSERT_EQUAL(log_slice_copy(&slice, bytes), 0);
    log_slice_release(&slice);
}

void
ow_delete_topic(const char *name)
{
    struct command command = {.type = COMMAND_TOPIC_DELETE, .id = world_id(&ow, name)};
    CU_ASSERT_EQUAL_FATAL(controller_propose(&ow.controller, &command), 0);
}
