/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/offsets.h"

#include "api/request.h"
#include "base/bytes.h"
#include "base/err.h"
#include "cluster/offsets_inner.h"
#include "record/batch_iter.h"
#include "unit/api_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static struct world w;

static struct offsets *
offsets(void)
{
    return w.api->offsets;
}

static void
set_up(void)
{
    world_init(&w);
    CU_ASSERT_EQUAL_FATAL(settings_set_named(&w.fixed, "offsets.topic.num.partitions", "3"), 0);
    world_topic(&w, "t", 4, NULL);
    world_topic(&w, "u", 4, NULL);
}

static void
tear_down(void)
{
    world_fini(&w);
}

/** What a waiter was told; 99: nothing yet. */
static int told;

static void
note(void *context, int rc)
{
    CU_ASSERT_EQUAL(told, 99);
    told = rc;
    *(int *)context += 1;
}

static int calls;
static const struct offsets_waiter waiter = {note, &calls};

static int
submit(const char *group, const char *topic, int32_t partition, int64_t offset, const char *text)
{
    struct offsets_item item = {topic, partition, 5, offset, text};
    struct offsets_commit commit = {group, &item, 1, -1};
    told = 99;
    return offsets_commit(offsets(), &commit, &waiter, NULL);
}

static void
commit(const char *group, const char *topic, int32_t partition, int64_t offset)
{
    CU_ASSERT_EQUAL(submit(group, topic, partition, offset, NULL), 0);
    CU_ASSERT_EQUAL(told, 99);
    offsets_run(offsets());
    CU_ASSERT_EQUAL(told, 0);
}

/** The committed offset, -1 for none. */
static int64_t
committed(const char *group, const char *topic, int32_t partition)
{
    struct offsets_position position;
    if (!offsets_find(offsets(), group, topic, partition, &position))
        return -1;
    CU_ASSERT_EQUAL(position.leader_epoch, 5);
    return position.offset;
}

/** LMDB stays as it is now, whatever comes: the next start has to read the topic. */
static void
freeze_lmdb(void)
{
    offsets_rows_settle(offsets());
    offsets()->saving.broken = true;
}

static void
lose_lmdb(void)
{
    offsets_rows_settle(offsets());
    offsets()->saving.broken = true;
    CU_ASSERT_EQUAL(meta_table_clear(w.meta, META_OFFSETS), 0);
}

static void
pass(int64_t ms)
{
    w.mono_ms += ms;
    offsets_run(offsets());
}

static void
store_group(const char *group, int members)
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
    told = 99;
    CU_ASSERT_EQUAL(offsets_store_group(offsets(), group, &value, &waiter, NULL), 0);
    offsets_run(offsets());
    CU_ASSERT_EQUAL(told, 0);
}

/* ---- commits -------------------------------------------------------------------------------- */

static void
test_commit(void)
{
    set_up();
    CU_ASSERT_EQUAL(committed("g", "t", 0), -1);
    CU_ASSERT_FALSE(offsets_known(offsets(), "g"));
    CU_ASSERT_EQUAL(submit("g", "t", 0, 7, "note"), 0);
    CU_ASSERT_EQUAL(committed("g", "t", 0), -1);
    offsets_run(offsets());
    CU_ASSERT_EQUAL(told, 0);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 7);
    struct offsets_position position;
    CU_ASSERT_TRUE(offsets_find(offsets(), "g", "t", 0, &position));
    CU_ASSERT_STRING_EQUAL(position.metadata, "note");
    CU_ASSERT_EQUAL(position.commit_ms, w.wall_ms);
    commit("g", "t", 0, 6);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 6);
    CU_ASSERT_EQUAL(committed("g", "t", 1), -1);
    CU_ASSERT_EQUAL(committed("h", "t", 0), -1);
    CU_ASSERT_EQUAL(offsets_count(offsets(), "g"), 1);
    tear_down();
}

static void
test_forgets_waiter(void)
{
    set_up();
    struct offsets_item item = {"t", 0, 5, 9, NULL};
    struct offsets_commit one = {"g", &item, 1, -1};
    struct offsets_job *job;
    calls = 0;
    CU_ASSERT_EQUAL(offsets_commit(offsets(), &one, &waiter, &job), 0);
    offsets_forget_waiter(job);
    offsets_run(offsets());
    CU_ASSERT_EQUAL(calls, 0);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 9);
    tear_down();
}

static int
list(void *context, const char *topic, int32_t partition, const struct offsets_position *position)
{
    char *text = context;
    size_t n = strlen(text);
    snprintf(text + n, 200 - n, "%s-%d=%lld ", topic, partition, (long long)position->offset);
    return 0;
}

static void
test_each(void)
{
    char text[200] = "";
    set_up();
    commit("g", "u", 0, 1);
    commit("g", "t", 3, 2);
    commit("g", "t", 1, 3);
    commit("h", "t", 1, 4);
    CU_ASSERT_EQUAL(offsets_each(offsets(), "g", list, text), 0);
    CU_ASSERT_STRING_EQUAL(text, "t-1=3 t-3=2 u-0=1 ");
    CU_ASSERT_EQUAL(offsets_each(offsets(), "nobody", list, text), 0);
    tear_down();
}

static struct log *
log_of(const char *group, int32_t *index)
{
    *index = offsets_partition(offsets(), group);
    return offsets()->parts[*index].log;
}

static int64_t
end_of(const char *group)
{
    struct log_bounds bounds;
    int32_t index;
    CU_ASSERT_EQUAL_FATAL(log_bounds(log_of(group, &index), &bounds), 0);
    return bounds.end_offset;
}

/** The bytes of the log behind `offset`. */
static void
read_log(const char *group, int64_t offset, struct buf *bytes)
{
    struct log_read_options options = {offset, 1 << 20, LOG_READ_END, true};
    struct log_slice slice;
    int32_t index;
    CU_ASSERT_EQUAL_FATAL(log_read(log_of(group, &index), &options, &slice), 0);
    CU_ASSERT_EQUAL(log_slice_copy(&slice, bytes), 0);
    log_slice_release(&slice);
}

static void
test_one_batch(void)
{
    struct buf bytes;
    struct batch_header header;
    set_up();
    commit("g", "t", 0, 1);
    int64_t before = end_of("g");
    for (int i = 0; i < 50; i++)
        CU_ASSERT_EQUAL(submit("g", "t", i % 4, i, NULL), 0);
    told = 99;
    calls = 0;
    struct offsets_job *job = offsets()->parts[offsets_partition(offsets(), "g")].jobs.first;
    for (; job->next; job = job->next)
        job->waiter.done = NULL;
    offsets_run(offsets());
    CU_ASSERT_EQUAL(calls, 1);
    CU_ASSERT_EQUAL(end_of("g"), before + 50);
    buf_init(&bytes);
    read_log("g", before, &bytes);
    CU_ASSERT_EQUAL(batch_header_read(bytes.data, bytes.length, &header), BATCH_OK);
    CU_ASSERT_EQUAL(header.count, 50);
    CU_ASSERT_EQUAL(batch_bytes(&header), bytes.length);
    buf_fini(&bytes);
    CU_ASSERT_EQUAL(committed("g", "t", 1), 49);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 48);
    tear_down();
}

/** The only record of the batch at `offset`. */
static void
one_record(const char *group, int64_t offset, struct buf *bytes, struct record *record)
{
    struct batch_header header;
    struct batch_iter it;
    struct buf scratch;
    buf_init(&scratch);
    read_log(group, offset, bytes);
    CU_ASSERT_EQUAL_FATAL(batch_header_read(bytes->data, bytes->length, &header), BATCH_OK);
    CU_ASSERT_EQUAL(header.count, 1);
    CU_ASSERT_EQUAL_FATAL(
        batch_iter_init(&it, bytes->data, batch_bytes(&header), &header, &scratch, 1000), 0);
    CU_ASSERT_EQUAL_FATAL(batch_iter_next(&it, record), 1);
    buf_fini(&scratch);
}

static void
test_kafka_records(void)
{
    static const uint8_t key[] = {0, 1, 0, 2, 'g', 'g', 0, 1, 't', 0, 0, 0, 3};
    static const uint8_t value[] = {0, 3, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 5, 0, 1, 'x'};
    static const uint8_t group_key[] = {0, 2, 0, 2, 'g', 'g'};
    struct buf bytes;
    struct record record;
    set_up();
    buf_init(&bytes);
    CU_ASSERT_EQUAL(submit("gg", "t", 3, 258, "x"), 0);
    offsets_run(offsets());
    one_record("gg", 0, &bytes, &record);
    CU_ASSERT_EQUAL(record.key_bytes, sizeof key);
    CU_ASSERT_EQUAL(memcmp(record.key, key, sizeof key), 0);
    CU_ASSERT_EQUAL(record.value_bytes, sizeof value + 8);
    CU_ASSERT_EQUAL(memcmp(record.value, value, sizeof value), 0);
    CU_ASSERT_EQUAL(bytes_get_i64(record.value + sizeof value), w.wall_ms);
    buf_clear(&bytes);
    store_group("gg", 1);
    one_record("gg", 1, &bytes, &record);
    CU_ASSERT_EQUAL(record.key_bytes, sizeof group_key);
    CU_ASSERT_EQUAL(memcmp(record.key, group_key, sizeof group_key), 0);
    CU_ASSERT_EQUAL(bytes_get_i16(record.value), 3);
    buf_fini(&bytes);
    tear_down();
}

static void
test_partition(void)
{
    set_up();
    commit("g", "t", 0, 1); /* makes the topic */
    static const struct {
        const char *group;
        int64_t hash; /* by Java */
    } known[] = {{"", 0}, {"hello", 99162322}, {"group-1", 506361743},
        {"polygenelubricants", 0 /* |MIN_VALUE| */}, {"\xc3\xa9", 233}, {"\xe2\x82\xac", 8364},
        {"\xf0\x9f\x98\x80", 1772899}, {"a\xff", 97 * 31 + 0xfffd}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].group, "group-1") != 0)
            CU_ASSERT_EQUAL(offsets_partition(offsets(), known[i].group), known[i].hash % 3);
    tear_down();
}

static void
test_too_large(void)
{
    enum { MANY = 20000 };
    struct offsets_item *items = calloc(MANY, sizeof *items);
    char *text = malloc(3000);
    CU_ASSERT_PTR_NOT_NULL_FATAL(items);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    memset(text, 'x', 2999);
    text[2999] = '\0';
    for (int i = 0; i < MANY; i++)
        items[i] = (struct offsets_item){"t", i % 4, 5, i, text};
    set_up();
    struct offsets_commit large = {"g", items, MANY, -1};
    told = 99;
    CU_ASSERT_EQUAL(offsets_commit(offsets(), &large, &waiter, NULL), 0);
    offsets_run(offsets());
    CU_ASSERT_EQUAL(told, -BUS_ERR_INVALID_COMMIT_OFFSET_SIZE);
    CU_ASSERT_EQUAL(committed("g", "t", 0), -1);
    large.count = 300;
    told = 99;
    CU_ASSERT_EQUAL(offsets_commit(offsets(), &large, &waiter, NULL), 0);
    offsets_run(offsets());
    CU_ASSERT_EQUAL(told, 0);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 296);
    large.count = 0;
    told = 99;
    CU_ASSERT_EQUAL(offsets_commit(offsets(), &large, &waiter, NULL), 0);
    CU_ASSERT_EQUAL(told, 99);
    offsets_run(offsets());
    CU_ASSERT_EQUAL(told, 0);
    tear_down();
    free(items);
    free(text);
}

/* ---- removals ------------------------------------------------------------------------------- */

static void
test_delete(void)
{
    set_up();
    commit("g", "t", 0, 1);
    commit("g", "t", 1, 2);
    struct offsets_item items[] = {{.topic = "t", .partition = 1}, {.topic = "u", .partition = 7}};
    struct offsets_commit wanted = {"g", items, 2, -1};
    told = 99;
    CU_ASSERT_EQUAL(offsets_delete(offsets(), &wanted, &waiter, NULL), 0);
    offsets_run(offsets());
    CU_ASSERT_EQUAL(told, 0);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 1);
    CU_ASSERT_EQUAL(committed("g", "t", 1), -1);
    world_restart(&w);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 1);
    CU_ASSERT_EQUAL(committed("g", "t", 1), -1);
    tear_down();
}

static void
test_delete_group(void)
{
    set_up();
    store_group("g", 0);
    for (int i = 0; i < 4; i++)
        commit("g", "t", i, i);
    commit("h", "t", 0, 5);
    told = 99;
    CU_ASSERT_EQUAL(offsets_delete_group(offsets(), "g", &waiter, NULL), 0);
    offsets_run(offsets());
    CU_ASSERT_EQUAL(told, 0);
    CU_ASSERT_FALSE(offsets_known(offsets(), "g"));
    CU_ASSERT_TRUE(offsets_known(offsets(), "h"));
    lose_lmdb();
    world_restart(&w);
    CU_ASSERT_FALSE(offsets_known(offsets(), "g"));
    CU_ASSERT_EQUAL(committed("h", "t", 0), 5);
    tear_down();
}

static void
delete_topic(const char *name)
{
    struct command command = {.type = COMMAND_TOPIC_DELETE, .id = world_id(&w, name)};
    CU_ASSERT_EQUAL_FATAL(controller_propose(&w.controller, &command), 0);
}

static void
test_topic_deleted(void)
{
    set_up();
    commit("g", "t", 0, 1);
    commit("g", "u", 0, 2);
    CU_ASSERT_EQUAL(submit("g", "t", 1, 3, NULL), 0); /* still on its way */
    delete_topic("t");
    CU_ASSERT_EQUAL(committed("g", "t", 0), -1);
    world_topic(&w, "t", 4, NULL);
    offsets_run(offsets());
    CU_ASSERT_EQUAL(committed("g", "t", 0), -1);
    CU_ASSERT_EQUAL(committed("g", "t", 1), -1);
    CU_ASSERT_EQUAL(committed("g", "u", 0), 2);
    commit("g", "t", 0, 9);
    lose_lmdb();
    world_restart(&w);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 9);
    CU_ASSERT_EQUAL(committed("g", "t", 1), -1);
    CU_ASSERT_EQUAL(committed("g", "u", 0), 2);
    tear_down();
}

/** The topic goes while busd is away from its offsets: as after a crash in between. */
static void
test_topic_deleted_unseen(void)
{
    set_up();
    commit("g", "t", 0, 1);
    commit("g", "u", 0, 2);
    freeze_lmdb();
    commit("g", "t", 1, 3);
    offsets()->listening = false;
    delete_topic("t");
    world_restart(&w);
    CU_ASSERT_EQUAL(offsets_count(offsets(), "g"), 1);
    world_topic(&w, "t", 4, NULL);
    offsets_run(offsets());
    CU_ASSERT_EQUAL(committed("g", "t", 0), -1);
    lose_lmdb();
    world_restart(&w);
    CU_ASSERT_EQUAL(committed("g", "t", 0), -1);
    CU_ASSERT_EQUAL(committed("g", "t", 1), -1);
    CU_ASSERT_EQUAL(committed("g", "u", 0), 2);
    tear_down();
}

static void
test_own_topic_deleted(void)
{
    set_up();
    commit("g", "t", 0, 1);
    CU_ASSERT_EQUAL(submit("g", "t", 1, 1, NULL), 0);
    delete_topic(OFFSETS_TOPIC);
    CU_ASSERT_EQUAL(told, -BUS_ERR_COORDINATOR_NOT_AVAILABLE);
    CU_ASSERT_FALSE(offsets_known(offsets(), "g"));
    commit("g", "t", 1, 4);
    world_restart(&w);
    CU_ASSERT_EQUAL(committed("g", "t", 0), -1);
    CU_ASSERT_EQUAL(committed("g", "t", 1), 4);
    tear_down();
}

/* ---- restarts ------------------------------------------------------------------------------- */

static void
test_restart(void)
{
    set_up();
    store_group("g", 1);
    CU_ASSERT_EQUAL(submit("g", "t", 0, 7, "note"), 0);
    world_restart(&w); /* the end waits for what is on its way */
    CU_ASSERT_EQUAL(told, 0);
    struct offsets_position position;
    CU_ASSERT_TRUE_FATAL(offsets_find(offsets(), "g", "t", 0, &position));
    CU_ASSERT_EQUAL(position.offset, 7);
    CU_ASSERT_STRING_EQUAL(position.metadata, "note");
    commit("g", "t", 1, 8);
    world_restart(&w);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 7);
    CU_ASSERT_EQUAL(committed("g", "t", 1), 8);
    tear_down();
}

static void
test_lmdb_behind(void)
{
    set_up();
    commit("g", "t", 0, 1);
    commit("h", "t", 0, 2);
    freeze_lmdb();
    commit("g", "t", 0, 3);
    commit("g", "t", 2, 4);
    commit("i", "u", 0, 5);
    world_restart(&w);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 3);
    CU_ASSERT_EQUAL(committed("g", "t", 2), 4);
    CU_ASSERT_EQUAL(committed("h", "t", 0), 2);
    CU_ASSERT_EQUAL(committed("i", "u", 0), 5);
    tear_down();
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
    set_up();
    commit("g", "t", 0, 1);
    commit("g", "t", 0, 2);
    store_group("h", 1);
    lose_lmdb();
    world_restart(&w);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 2);
    int counts[2] = {0};
    CU_ASSERT_EQUAL(offsets_each_group(offsets(), count_groups, counts), 0);
    CU_ASSERT_EQUAL(counts[0], 1);
    CU_ASSERT_EQUAL(counts[1], 1);
    tear_down();
}

static void
test_lmdb_damaged(void)
{
    static const struct meta_row bad[] = {{"x1234", "value", 5, 5}, {"1234", "v", 4, 1},
        {"4123456789012", "short", 13, 5}, {"3\0\0\0\1", "\0\0\0\0\0\0\0\0\xff\0\0\0x", 5, 13},
        {"2\0\0\0\1", "id", 5, 2}, {"0\0\0\0\0", "x", 5, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        set_up();
        commit("g", "t", 0, 2);
        freeze_lmdb();
        CU_ASSERT_EQUAL(meta_table_save(w.meta, META_OFFSETS, &bad[i], 1), 0);
        world_restart(&w);
        CU_ASSERT_EQUAL(committed("g", "t", 0), 2);
        tear_down();
    }
}

/** LMDB knows more than the log has: what the log lacks is not believed. */
static void
test_log_behind(void)
{
    set_up();
    commit("g", "t", 0, 1);
    int32_t index = offsets_partition(offsets(), "g");
    uint8_t key[5] = {'1', 0, 0, 0, (uint8_t)index};
    uint8_t value[24];
    struct uuid id = world_id(&w, OFFSETS_TOPIC);
    memcpy(value, id.b, sizeof id.b);
    bytes_put_i64(value + 16, 1000);
    freeze_lmdb();
    commit("g", "t", 0, 2);
    struct meta_row row = {key, value, sizeof key, sizeof value};
    CU_ASSERT_EQUAL(meta_table_save(w.meta, META_OFFSETS, &row, 1), 0);
    world_restart(&w);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 2);
    CU_ASSERT_EQUAL(offsets()->parts[index].applied, 2);
    tear_down();
}

/* ---- age ------------------------------------------------------------------------------------ */

enum { WEEK_MS = 7 * 24 * 3600 * 1000, CHECK_MS = 600000 };

static void
test_expires(void)
{
    set_up();
    commit("g", "t", 0, 1);
    pass(WEEK_MS - CHECK_MS - 1);
    commit("g", "t", 1, 2);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 1);
    pass(CHECK_MS);
    pass(1);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 1);
    pass(CHECK_MS);
    pass(1);
    CU_ASSERT_EQUAL(committed("g", "t", 0), -1);
    CU_ASSERT_EQUAL(committed("g", "t", 1), 2);
    lose_lmdb();
    world_restart(&w);
    CU_ASSERT_EQUAL(committed("g", "t", 0), -1);
    tear_down();
}

static void
test_ages_over_restarts(void)
{
    set_up();
    commit("g", "t", 0, 1);
    pass(WEEK_MS / 2);
    world_restart(&w);
    w.wall_ms += INT64_C(100) * WEEK_MS; /* somebody sets the clock */
    pass(CHECK_MS);
    pass(1);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 1);
    pass(WEEK_MS / 2);
    pass(1);
    CU_ASSERT_EQUAL(committed("g", "t", 0), -1);
    tear_down();
}

static void
test_group_ages(void)
{
    set_up();
    commit("g", "t", 0, 1);
    store_group("g", 1);
    pass(WEEK_MS);
    pass(1);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 1); /* it has members */
    store_group("g", 0);
    pass(WEEK_MS - 1);
    pass(1);
    pass(1);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 1);
    pass(CHECK_MS);
    pass(1);
    CU_ASSERT_EQUAL(committed("g", "t", 0), -1);
    CU_ASSERT_FALSE(offsets_known(offsets(), "g"));
    store_group("empty", 0);
    pass(CHECK_MS);
    pass(1);
    CU_ASSERT_FALSE(offsets_known(offsets(), "empty"));
    tear_down();
}

static void
test_asked_retention(void)
{
    set_up();
    struct offsets_position position;
    struct offsets_item item = {"t", 0, 5, 3, NULL};
    struct offsets_commit brief = {"g", &item, 1, 5000};
    CU_ASSERT_EQUAL(offsets_commit(offsets(), &brief, NULL, NULL), 0);
    offsets_run(offsets());
    CU_ASSERT_TRUE(offsets_find(offsets(), "g", "t", 0, &position));
    world_restart(&w);
    CU_ASSERT_TRUE(offsets_find(offsets(), "g", "t", 0, &position));
    pass(CHECK_MS);
    pass(1);
    CU_ASSERT_EQUAL(committed("g", "t", 0), -1);
    tear_down();
}

static void
test_nobody_else(void)
{
    set_up();
    commit("g", "t", 0, 1);
    struct attach_partition_request attach = {
        .topic_name = OFFSETS_TOPIC, .access = 2, .layout_version = SHM_LAYOUT_VERSION};
    const struct attach_partition_response *attached =
        world_call(&w, 0, API_ATTACH_PARTITION, 0, &attach);
    CU_ASSERT_EQUAL(attached->error_code, BUS_ERR_INVALID_TOPIC_EXCEPTION);
    struct create_partitions_request_topic more = {
        .name = OFFSETS_TOPIC, .count = 9, .assignments_count = -1};
    struct create_partitions_request grow = {&more, 1, 1000, false};
    const struct create_partitions_response *grown =
        world_call(&w, 2, API_CREATE_PARTITIONS, 2, &grow);
    CU_ASSERT_EQUAL(grown->results[0].error_code, BUS_ERR_INVALID_TOPIC_EXCEPTION);
    tear_down();
}

/* ---- trouble -------------------------------------------------------------------------------- */

static void
test_lock_held(void)
{
    struct world_holder holder;
    world_lock_timeout_ms = 60000;
    set_up();
    commit("g", "t", 0, 1);
    int32_t index;
    struct log_attachment attachment;
    CU_ASSERT_EQUAL_FATAL(log_attach(log_of("g", &index), LOG_ACCESS_WRITE, &attachment), 0);
    struct shm_control *control =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, attachment.control, 0);
    CU_ASSERT_PTR_NOT_EQUAL_FATAL(control, MAP_FAILED);
    world_hold(&holder, control);
    CU_ASSERT_EQUAL(submit("g", "t", 0, 2, NULL), 0);
    offsets_run(offsets());
    CU_ASSERT_EQUAL(told, 99);
    CU_ASSERT_TRUE(offsets_deadline_ms(offsets()) <= w.mono_ms + LOG_RETRY_MS);
    pass(5000);
    CU_ASSERT_EQUAL(told, -BUS_ERR_COORDINATOR_NOT_AVAILABLE);
    CU_ASSERT_EQUAL(submit("g", "t", 0, 3, NULL), 0);
    offsets_run(offsets());
    world_release(&holder);
    pass(LOG_RETRY_MS);
    CU_ASSERT_EQUAL(told, 0);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 3);
    munmap(control, 4096);
    log_attachment_close(&attachment);
    tear_down();
    world_lock_timeout_ms = 100;
}

static void
test_strange_records(void)
{
    set_up();
    commit("g", "t", 0, 1);
    uint8_t key[] = {0, 1, 0, 1, 'g', 0, 1, 't', 0, 0, 0, 0};
    uint8_t value[] = {0, 3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7};
    for (int version = -1; version < 20; version++)
        for (int32_t n = 0; n <= (int32_t)sizeof key; n++) {
            bytes_put_i16(key, (int16_t)version);
            struct offsets_raw raw = {key, value, n, (int32_t)sizeof value};
            if (n < (int32_t)sizeof key || version > 1 || version < 0)
                CU_ASSERT_EQUAL(offsets_apply(offsets(), &raw), 0);
        }
    bytes_put_i16(key, 1);
    for (int32_t n = 0; n < (int32_t)sizeof value; n++) {
        struct offsets_raw raw = {key, value, sizeof key, n};
        CU_ASSERT_EQUAL(offsets_apply(offsets(), &raw), 0);
    }
    CU_ASSERT_EQUAL(committed("g", "t", 0), 1);
    struct offsets_raw raw = {key, value, sizeof key, sizeof value};
    CU_ASSERT_EQUAL(offsets_apply(offsets(), &raw), 0);
    CU_ASSERT_EQUAL(committed("g", "t", 0), 9);
    tear_down();
}

/* ---- against a plain model ------------------------------------------------------------------ */

enum { GROUPS = 5, TOPICS = 2, PARTITIONS = 3 };

static const char *const group_names[GROUPS] = {"a", "bb", "ccc", "d4", "e"};
static const char *const topic_names[TOPICS] = {"t", "u"};

struct model {
    int64_t offset[GROUPS][TOPICS][PARTITIONS]; /* -1 none */
    bool metadata[GROUPS];
};

static void
compare(const struct model *model)
{
    for (int g = 0; g < GROUPS; g++) {
        bool known = model->metadata[g];
        for (int t = 0; t < TOPICS; t++)
            for (int p = 0; p < PARTITIONS; p++) {
                int64_t want = model->offset[g][t][p];
                known = known || want >= 0;
                CU_ASSERT_EQUAL_FATAL(committed(group_names[g], topic_names[t], p), want);
            }
        CU_ASSERT_EQUAL_FATAL(offsets_known(offsets(), group_names[g]), known);
    }
}

static uint64_t random_state;

static int
pick(int n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((random_state >> 33) % (uint64_t)n);
}

static void
model_commit(struct model *model, int64_t offset)
{
    int g = pick(GROUPS), count = 1 + pick(4);
    struct offsets_item items[4];
    for (int i = 0; i < count; i++) {
        int t = pick(TOPICS), p = pick(PARTITIONS);
        items[i] = (struct offsets_item){topic_names[t], p, 5, offset + i, pick(2) ? "x" : NULL};
        model->offset[g][t][p] = offset + i;
    }
    struct offsets_commit one = {group_names[g], items, (size_t)count, -1};
    CU_ASSERT_EQUAL_FATAL(offsets_commit(offsets(), &one, NULL, NULL), 0);
}

static void
model_remove(struct model *model)
{
    int g = pick(GROUPS), t = pick(TOPICS), p = pick(PARTITIONS);
    struct offsets_item item = {.topic = topic_names[t], .partition = p};
    struct offsets_commit one = {group_names[g], &item, 1, -1};
    CU_ASSERT_EQUAL_FATAL(offsets_delete(offsets(), &one, NULL, NULL), 0);
    model->offset[g][t][p] = -1;
}

static void
model_delete_topic(struct model *model)
{
    int t = pick(TOPICS);
    delete_topic(topic_names[t]);
    world_topic(&w, topic_names[t], 4, NULL);
    for (int g = 0; g < GROUPS; g++)
        for (int p = 0; p < PARTITIONS; p++)
            model->offset[g][t][p] = -1;
}

static void
model_group(struct model *model)
{
    int g = pick(GROUPS);
    offsets_run(offsets()); /* what is on its way is not seen by a removal of the group */
    if (pick(2)) {
        store_group(group_names[g], pick(2));
        model->metadata[g] = true;
        return;
    }
    CU_ASSERT_EQUAL_FATAL(offsets_delete_group(offsets(), group_names[g], NULL, NULL), 0);
    model->metadata[g] = false;
    memset(model->offset[g], -1, sizeof model->offset[g]);
}

static void
model_restart(void)
{
    int how = pick(4);
    if (how == 1)
        freeze_lmdb();
    if (how == 2)
        lose_lmdb();
    if (how == 3)
        offsets()->saving.broken = true;
    world_restart(&w);
}

static void
test_model(void)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct model model;
        random_state = seed;
        memset(&model, -1, sizeof model);
        memset(model.metadata, 0, sizeof model.metadata);
        set_up();
        for (int step = 0; step < 150; step++) {
            int what = pick(20);
            if (what < 10)
                model_commit(&model, step * 10);
            else if (what < 13)
                model_remove(&model);
            else if (what < 15)
                model_group(&model);
            else if (what == 15)
                model_delete_topic(&model);
            else if (what == 16)
                model_restart();
            else
                pass(pick(3) * 600);
            if (pick(3) == 0) {
                offsets_run(offsets());
                compare(&model);
            }
        }
        lose_lmdb();
        world_restart(&w);
        compare(&model);
        tear_down();
    }
}

static const struct unit_case cases[] = {
    {"a commit is in force when it is safe", test_commit},
    {"whoever waits may go away", test_forgets_waiter},
    {"offsets are listed in order", test_each},
    {"commits of a turn are one batch", test_one_batch},
    {"records are Kafka's", test_kafka_records},
    {"groups are spread as Kafka does", test_partition},
    {"a commit has to fit into a batch", test_too_large},
    {"offsets are deleted", test_delete},
    {"groups are deleted", test_delete_group},
    {"a deleted topic takes its offsets along", test_topic_deleted},
    {"offsets of a topic that went meanwhile", test_topic_deleted_unseen},
    {"their own topic is deleted", test_own_topic_deleted},
    {"all is there after a restart", test_restart},
    {"LMDB lags behind", test_lmdb_behind},
    {"LMDB is lost", test_lmdb_lost},
    {"LMDB is damaged", test_lmdb_damaged},
    {"LMDB is ahead of the log", test_log_behind},
    {"offsets expire", test_expires},
    {"ages are counted over restarts, by no wall clock", test_ages_over_restarts},
    {"groups without members expire", test_group_ages},
    {"a client asks for a retention", test_asked_retention},
    {"a held lock delays, and does not block", test_lock_held},
    {"nobody else writes to the topic, or changes it", test_nobody_else},
    {"strange records are passed over", test_strange_records},
    {"random histories against a plain model", test_model},
    {NULL, NULL},
};

void
register_offsets(void)
{
    unit_register("offsets", cases);
}
