/* SPDX-License-Identifier: Apache-2.0
 * Committed offsets: commits, removals, trouble.
 */
#include "base/bytes.h"
#include "base/err.h"
#include "cluster/offsets_inner.h"
#include "record/batch_iter.h"
#include "unit/offsets_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- commits -------------------------------------------------------------------------------- */

static void
test_commit(void)
{
    ow_set_up();
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), -1);
    CU_ASSERT_FALSE(offsets_known(ow_offsets(), "g"));
    CU_ASSERT_EQUAL(ow_submit("g", "t", 0, 7, "note"), 0);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), -1);
    offsets_run(ow_offsets());
    CU_ASSERT_EQUAL(ow_told, 0);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 7);
    struct offsets_position position;
    CU_ASSERT_TRUE(offsets_find(ow_offsets(), "g", "t", 0, &position));
    CU_ASSERT_STRING_EQUAL(position.metadata, "note");
    CU_ASSERT_EQUAL(position.commit_ms, ow.wall_ms);
    ow_commit("g", "t", 0, 6);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 6);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 1), -1);
    CU_ASSERT_EQUAL(ow_committed("h", "t", 0), -1);
    CU_ASSERT_EQUAL(offsets_count(ow_offsets(), "g"), 1);
    ow_tear_down();
}

static void
test_forgets_waiter(void)
{
    ow_set_up();
    struct offsets_item item = {"t", 0, 5, 9, NULL};
    struct offsets_commit one = {"g", &item, 1, -1};
    struct offsets_job *job;
    ow_calls = 0;
    CU_ASSERT_EQUAL(offsets_commit(ow_offsets(), &one, &ow_waiter, &job), 0);
    offsets_forget_waiter(job);
    offsets_run(ow_offsets());
    CU_ASSERT_EQUAL(ow_calls, 0);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 9);
    ow_tear_down();
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
    ow_set_up();
    ow_commit("g", "u", 0, 1);
    ow_commit("g", "t", 3, 2);
    ow_commit("g", "t", 1, 3);
    ow_commit("h", "t", 1, 4);
    CU_ASSERT_EQUAL(offsets_each(ow_offsets(), "g", list, text), 0);
    CU_ASSERT_STRING_EQUAL(text, "t-1=3 t-3=2 u-0=1 ");
    CU_ASSERT_EQUAL(offsets_each(ow_offsets(), "nobody", list, text), 0);
    ow_tear_down();
}

static void
test_one_batch(void)
{
    struct buf bytes;
    struct batch_header header;
    ow_set_up();
    ow_commit("g", "t", 0, 1);
    int64_t before = ow_end_of("g");
    for (int i = 0; i < 50; i++)
        CU_ASSERT_EQUAL(ow_submit("g", "t", i % 4, i, NULL), 0);
    ow_told = 99;
    ow_calls = 0;
    struct offsets_job *job = ow_offsets()->parts[offsets_partition(ow_offsets(), "g")].jobs.first;
    for (; job->next; job = job->next)
        job->waiter.done = NULL;
    offsets_run(ow_offsets());
    CU_ASSERT_EQUAL(ow_calls, 1);
    CU_ASSERT_EQUAL(ow_end_of("g"), before + 50);
    buf_init(&bytes);
    ow_read_log("g", before, &bytes);
    CU_ASSERT_EQUAL(batch_header_read(bytes.data, bytes.length, &header), BATCH_OK);
    CU_ASSERT_EQUAL(header.count, 50);
    CU_ASSERT_EQUAL(batch_bytes(&header), bytes.length);
    buf_fini(&bytes);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 1), 49);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 48);
    ow_tear_down();
}

/** The only record of the batch at `offset`. */
static void
one_record(const char *group, int64_t offset, struct buf *bytes, struct record *record)
{
    struct batch_header header;
    struct batch_iter it;
    struct buf scratch;
    buf_init(&scratch);
    ow_read_log(group, offset, bytes);
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
    ow_set_up();
    buf_init(&bytes);
    CU_ASSERT_EQUAL(ow_submit("gg", "t", 3, 258, "x"), 0);
    offsets_run(ow_offsets());
    one_record("gg", 0, &bytes, &record);
    CU_ASSERT_EQUAL(record.key_bytes, sizeof key);
    CU_ASSERT_EQUAL(memcmp(record.key, key, sizeof key), 0);
    CU_ASSERT_EQUAL(record.value_bytes, sizeof value + 8);
    CU_ASSERT_EQUAL(memcmp(record.value, value, sizeof value), 0);
    CU_ASSERT_EQUAL(bytes_get_i64(record.value + sizeof value), ow.wall_ms);
    buf_clear(&bytes);
    ow_store_group("gg", 1);
    one_record("gg", 1, &bytes, &record);
    CU_ASSERT_EQUAL(record.key_bytes, sizeof group_key);
    CU_ASSERT_EQUAL(memcmp(record.key, group_key, sizeof group_key), 0);
    CU_ASSERT_EQUAL(bytes_get_i16(record.value), 3);
    buf_fini(&bytes);
    ow_tear_down();
}

static void
test_partition(void)
{
    ow_set_up();
    ow_commit("g", "t", 0, 1); /* makes the topic */
    static const struct {
        const char *group;
        int64_t hash; /* by Java */
    } known[] = {{"", 0}, {"hello", 99162322}, {"group-1", 506361743},
        {"polygenelubricants", 0 /* |MIN_VALUE| */}, {"\xc3\xa9", 233}, {"\xe2\x82\xac", 8364},
        {"\xf0\x9f\x98\x80", 1772899}, {"a\xff", 97 * 31 + 0xfffd}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].group, "group-1") != 0)
            CU_ASSERT_EQUAL(offsets_partition(ow_offsets(), known[i].group), known[i].hash % 3);
    ow_tear_down();
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
    ow_set_up();
    struct offsets_commit large = {"g", items, MANY, -1};
    ow_told = 99;
    CU_ASSERT_EQUAL(offsets_commit(ow_offsets(), &large, &ow_waiter, NULL), 0);
    offsets_run(ow_offsets());
    CU_ASSERT_EQUAL(ow_told, -BUS_ERR_INVALID_COMMIT_OFFSET_SIZE);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), -1);
    large.count = 300;
    ow_told = 99;
    CU_ASSERT_EQUAL(offsets_commit(ow_offsets(), &large, &ow_waiter, NULL), 0);
    offsets_run(ow_offsets());
    CU_ASSERT_EQUAL(ow_told, 0);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 296);
    large.count = 0;
    ow_told = 99;
    CU_ASSERT_EQUAL(offsets_commit(ow_offsets(), &large, &ow_waiter, NULL), 0);
    CU_ASSERT_EQUAL(ow_told, 99);
    offsets_run(ow_offsets());
    CU_ASSERT_EQUAL(ow_told, 0);
    ow_tear_down();
    free(items);
    free(text);
}

/* ---- removals ------------------------------------------------------------------------------- */

static void
test_delete(void)
{
    ow_set_up();
    ow_commit("g", "t", 0, 1);
    ow_commit("g", "t", 1, 2);
    struct offsets_item items[] = {{.topic = "t", .partition = 1}, {.topic = "u", .partition = 7}};
    struct offsets_commit wanted = {"g", items, 2, -1};
    ow_told = 99;
    CU_ASSERT_EQUAL(offsets_delete(ow_offsets(), &wanted, &ow_waiter, NULL), 0);
    offsets_run(ow_offsets());
    CU_ASSERT_EQUAL(ow_told, 0);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 1);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 1), -1);
    world_restart(&ow);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 1);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 1), -1);
    ow_tear_down();
}

static void
test_delete_group(void)
{
    ow_set_up();
    ow_store_group("g", 0);
    for (int i = 0; i < 4; i++)
        ow_commit("g", "t", i, i);
    ow_commit("h", "t", 0, 5);
    ow_told = 99;
    CU_ASSERT_EQUAL(offsets_delete_group(ow_offsets(), "g", &ow_waiter, NULL), 0);
    offsets_run(ow_offsets());
    CU_ASSERT_EQUAL(ow_told, 0);
    CU_ASSERT_FALSE(offsets_known(ow_offsets(), "g"));
    CU_ASSERT_TRUE(offsets_known(ow_offsets(), "h"));
    ow_lose_lmdb();
    world_restart(&ow);
    CU_ASSERT_FALSE(offsets_known(ow_offsets(), "g"));
    CU_ASSERT_EQUAL(ow_committed("h", "t", 0), 5);
    ow_tear_down();
}

static void
test_topic_deleted(void)
{
    ow_set_up();
    ow_commit("g", "t", 0, 1);
    ow_commit("g", "u", 0, 2);
    CU_ASSERT_EQUAL(ow_submit("g", "t", 1, 3, NULL), 0); /* still on its way */
    ow_delete_topic("t");
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), -1);
    world_topic(&ow, "t", 4, NULL);
    offsets_run(ow_offsets());
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), -1);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 1), -1);
    CU_ASSERT_EQUAL(ow_committed("g", "u", 0), 2);
    ow_commit("g", "t", 0, 9);
    ow_lose_lmdb();
    world_restart(&ow);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 9);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 1), -1);
    CU_ASSERT_EQUAL(ow_committed("g", "u", 0), 2);
    ow_tear_down();
}

/** The topic goes while busd is away from its offsets: as after a crash in between. */
static void
test_topic_deleted_unseen(void)
{
    ow_set_up();
    ow_commit("g", "t", 0, 1);
    ow_commit("g", "u", 0, 2);
    ow_freeze_lmdb();
    ow_commit("g", "t", 1, 3);
    ow_offsets()->listening = false;
    ow_delete_topic("t");
    world_restart(&ow);
    CU_ASSERT_EQUAL(offsets_count(ow_offsets(), "g"), 1);
    world_topic(&ow, "t", 4, NULL);
    offsets_run(ow_offsets());
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), -1);
    ow_lose_lmdb();
    world_restart(&ow);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), -1);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 1), -1);
    CU_ASSERT_EQUAL(ow_committed("g", "u", 0), 2);
    ow_tear_down();
}

static void
test_own_topic_deleted(void)
{
    ow_set_up();
    ow_commit("g", "t", 0, 1);
    CU_ASSERT_EQUAL(ow_submit("g", "t", 1, 1, NULL), 0);
    ow_delete_topic(OFFSETS_TOPIC);
    CU_ASSERT_EQUAL(ow_told, -BUS_ERR_COORDINATOR_NOT_AVAILABLE);
    CU_ASSERT_FALSE(offsets_known(ow_offsets(), "g"));
    ow_commit("g", "t", 1, 4);
    world_restart(&ow);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), -1);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 1), 4);
    ow_tear_down();
}

/* ---- trouble -------------------------------------------------------------------------------- */

static void
test_lock_held(void)
{
    struct world_holder holder;
    world_lock_timeout_ms = 60000;
    ow_set_up();
    ow_commit("g", "t", 0, 1);
    int32_t index;
    struct log_attachment attachment;
    CU_ASSERT_EQUAL_FATAL(log_attach(ow_log_of("g", &index), LOG_ACCESS_WRITE, &attachment), 0);
    struct shm_control *control =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, attachment.control, 0);
    CU_ASSERT_PTR_NOT_EQUAL_FATAL(control, MAP_FAILED);
    world_hold(&holder, control);
    CU_ASSERT_EQUAL(ow_submit("g", "t", 0, 2, NULL), 0);
    offsets_run(ow_offsets());
    CU_ASSERT_EQUAL(ow_told, 99);
    CU_ASSERT_TRUE(offsets_deadline_ms(ow_offsets()) <= ow.mono_ms + LOG_RETRY_MS);
    ow_pass(5000);
    CU_ASSERT_EQUAL(ow_told, -BUS_ERR_COORDINATOR_NOT_AVAILABLE);
    CU_ASSERT_EQUAL(ow_submit("g", "t", 0, 3, NULL), 0);
    offsets_run(ow_offsets());
    world_release(&holder);
    ow_pass(LOG_RETRY_MS);
    CU_ASSERT_EQUAL(ow_told, 0);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 3);
    munmap(control, 4096);
    log_attachment_close(&attachment);
    ow_tear_down();
    world_lock_timeout_ms = 100;
}

static void
test_strange_records(void)
{
    ow_set_up();
    ow_commit("g", "t", 0, 1);
    uint8_t key[] = {0, 1, 0, 1, 'g', 0, 1, 't', 0, 0, 0, 0};
    uint8_t value[] = {0, 3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7};
    for (int version = -1; version < 20; version++)
        for (int32_t n = 0; n <= (int32_t)sizeof key; n++) {
            bytes_put_i16(key, (int16_t)version);
            struct offsets_raw raw = {key, value, n, (int32_t)sizeof value};
            if (n < (int32_t)sizeof key || version > 1 || version < 0)
                CU_ASSERT_EQUAL(offsets_apply(ow_offsets(), &raw), 0);
        }
    bytes_put_i16(key, 1);
    for (int32_t n = 0; n < (int32_t)sizeof value; n++) {
        struct offsets_raw raw = {key, value, sizeof key, n};
        CU_ASSERT_EQUAL(offsets_apply(ow_offsets(), &raw), 0);
    }
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 1);
    struct offsets_raw raw = {key, value, sizeof key, sizeof value};
    CU_ASSERT_EQUAL(offsets_apply(ow_offsets(), &raw), 0);
    CU_ASSERT_EQUAL(ow_committed("g", "t", 0), 9);
    ow_tear_down();
}

static void
test_nobody_else(void)
{
    ow_set_up();
    ow_commit("g", "t", 0, 1);
    struct attach_partition_request attach = {
        .topic_name = OFFSETS_TOPIC, .access = 2, .layout_version = SHM_LAYOUT_VERSION};
    const struct attach_partition_response *attached =
        world_call(&ow, 0, API_ATTACH_PARTITION, 0, &attach);
    CU_ASSERT_EQUAL(attached->error_code, BUS_ERR_INVALID_TOPIC_EXCEPTION);
    struct create_partitions_request_topic more = {
        .name = OFFSETS_TOPIC, .count = 9, .assignments_count = -1};
    struct create_partitions_request grow = {&more, 1, 1000, false};
    const struct create_partitions_response *grown =
        world_call(&ow, 2, API_CREATE_PARTITIONS, 2, &grow);
    CU_ASSERT_EQUAL(grown->results[0].error_code, BUS_ERR_INVALID_TOPIC_EXCEPTION);
    ow_tear_down();
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
    {"a held lock delays, and does not block", test_lock_held},
    {"nobody else writes to the topic, or changes it", test_nobody_else},
    {"strange records are passed over", test_strange_records},
    {NULL, NULL},
};

void
register_offsets(void)
{
    unit_register("offsets", cases);
}
