/* SPDX-License-Identifier: Apache-2.0 */
#include "api/producing.h"
#include "base/bytes.h"
#include "base/err.h"
#include "unit/api_world.h"

#include <string.h>

static struct world w;
static struct batch_builder builder;

static void
set_up(const char *const *settings)
{
    world_init(&w);
    world_topic(&w, "t", 1, settings);
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 1 << 16, 1 << 20), 0);
}

static void
tear_down(void)
{
    builder_fini(&builder);
    world_fini(&w);
}

static struct init_producer_id_response
init_id(const char *transactional_id)
{
    struct init_producer_id_request request = {
        .transactional_id = transactional_id, .producer_id = -1, .producer_epoch = -1};
    return *(struct init_producer_id_response *)world_call(
        &w, 0, API_INIT_PRODUCER_ID, 4, &request);
}

static struct bytes
make(int64_t id, int16_t epoch, int32_t sequence, int count)
{
    struct bytes batch = world_batch(&builder, count, 1, 0);
    const void *bytes;
    size_t size;
    builder_set_producer(&builder, id, epoch, sequence);
    CU_ASSERT_EQUAL_FATAL(builder_finish(&builder, &bytes, &size), 0);
    batch.data = bytes;
    batch.len = (int32_t)size;
    return batch;
}

static int16_t
produce(int64_t id, int16_t epoch, int32_t sequence, int count, int64_t *offset)
{
    return world_produce(&w, 0, "t", make(id, epoch, sequence, count), offset);
}

/** As a direct producer does it: busd is not asked. */
static void
append(int64_t id, int32_t sequence, int count)
{
    struct open_log *log;
    struct append_result result;
    const struct cluster_topic *topic = cluster_topic(&w.controller.cluster, "t");
    struct bytes batch = make(id, 0, sequence, count);
    struct append_batch one = {
        .bytes = batch.data, .size_bytes = (size_t)batch.len, .offsets = (uint32_t)count};
    CU_ASSERT_EQUAL_FATAL(logs_get(&w.api->logs, topic, 0, &log), 0);
    CU_ASSERT_EQUAL_FATAL(log_append(log->log, &one, 1000, &result), LOG_APPENDED);
}

static void
test_ids(void)
{
    set_up(NULL);
    int64_t last = -1;
    for (int i = 0; i < 1003; i++) {
        struct init_producer_id_response answer = init_id(NULL);
        CU_ASSERT_EQUAL_FATAL(answer.error_code, 0);
        CU_ASSERT_EQUAL(answer.producer_epoch, 0);
        CU_ASSERT_TRUE_FATAL(answer.producer_id > last);
        last = answer.producer_id;
    }
    world_restart(&w);
    CU_ASSERT_TRUE(init_id(NULL).producer_id > last);
    struct init_producer_id_response refused = init_id("mine");
    CU_ASSERT_EQUAL(refused.error_code, BUS_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(refused.producer_id, -1);
    tear_down();
}

static void
test_duplicates(void)
{
    int64_t first, again, next;
    set_up(NULL);
    CU_ASSERT_EQUAL(produce(5, 0, 0, 3, &first), 0);
    CU_ASSERT_EQUAL(produce(5, 0, 0, 3, &again), 0);
    CU_ASSERT_EQUAL(again, first);
    CU_ASSERT_EQUAL(produce(5, 0, 3, 2, &next), 0);
    CU_ASSERT_EQUAL(next, first + 3);
    CU_ASSERT_EQUAL(produce(5, 0, 0, 3, &again), 0);
    CU_ASSERT_EQUAL(again, first);
    CU_ASSERT_EQUAL(produce(5, 0, 9, 1, NULL), BUS_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    CU_ASSERT_EQUAL(produce(5, 1, 0, 1, &next), 0);
    CU_ASSERT_EQUAL(next, first + 5);
    CU_ASSERT_EQUAL(produce(5, 0, 5, 1, NULL), BUS_ERR_INVALID_PRODUCER_EPOCH);
    tear_down();
}

static void
test_direct(void)
{
    int64_t offset;
    set_up(NULL);
    append(5, 0, 3);
    CU_ASSERT_EQUAL(produce(5, 0, 0, 3, &offset), 0);
    CU_ASSERT_EQUAL(offset, 0);
    CU_ASSERT_EQUAL(produce(5, 0, 3, 1, &offset), 0);
    CU_ASSERT_EQUAL(offset, 3);
    append(6, 0, 2);
    append(5, 4, 2);
    CU_ASSERT_EQUAL(produce(5, 0, 4, 2, &offset), 0);
    CU_ASSERT_EQUAL(offset, 6);
    CU_ASSERT_EQUAL(produce(6, 0, 0, 2, &offset), 0);
    CU_ASSERT_EQUAL(offset, 4);
    CU_ASSERT_EQUAL(produce(5, 0, 4, 1, NULL), BUS_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    tear_down();
}

static void
test_restart(void)
{
    int64_t offset;
    set_up(NULL);
    for (int i = 0; i < 7; i++)
        CU_ASSERT_EQUAL(produce(5, 0, i, 1, NULL), 0);
    world_restart(&w);
    append(6, 0, 1);
    for (int i = 2; i < 7; i++) {
        CU_ASSERT_EQUAL(produce(5, 0, i, 1, &offset), 0);
        CU_ASSERT_EQUAL(offset, i);
    }
    CU_ASSERT_EQUAL(produce(5, 0, 1, 1, NULL), BUS_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    CU_ASSERT_EQUAL(meta_table_clear(w.meta, META_PRODUCERS), 0);
    producings_free(&w.api->producings);
    CU_ASSERT_EQUAL(meta_table_clear(w.meta, META_PRODUCERS), 0);
    CU_ASSERT_EQUAL(producings_new(w.api, &w.api->producings), 0);
    CU_ASSERT_EQUAL(produce(5, 0, 6, 1, &offset), 0); /* from the log alone */
    CU_ASSERT_EQUAL(offset, 6);
    CU_ASSERT_EQUAL(produce(6, 0, 0, 1, &offset), 0);
    CU_ASSERT_EQUAL(offset, 7);
    tear_down();
}

/** What was learned outlives the records it was learned from. */
static void
test_records_deleted(void)
{
    int64_t start, offset;
    struct open_log *log;
    set_up(NULL);
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(produce(5, 0, i, 1, NULL), 0);
    world_pass(&w, 6000);
    const struct cluster_topic *topic = cluster_topic(&w.controller.cluster, "t");
    CU_ASSERT_EQUAL_FATAL(logs_get(&w.api->logs, topic, 0, &log), 0);
    CU_ASSERT_EQUAL(log_set_start(log->log, -1, &start), 0);
    CU_ASSERT_EQUAL(start, 3);
    world_restart(&w);
    CU_ASSERT_EQUAL(produce(5, 0, 2, 1, &offset), 0);
    CU_ASSERT_EQUAL(offset, 2);
    CU_ASSERT_EQUAL(produce(5, 0, 4, 1, NULL), BUS_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    CU_ASSERT_EQUAL(produce(5, 0, 3, 1, NULL), 0);
    tear_down();
}

/** What LMDB has of the partition, while busd is away. */
static void
save_by_hand(const struct producers *state, int64_t end_offset, int64_t durable_offset)
{
    const struct cluster_topic *topic = cluster_topic(&w.controller.cluster, "t");
    uint8_t key[STORE_ID_BYTES + 4] = {0};
    struct buf value;
    memcpy(key, topic->id.b, STORE_ID_BYTES);
    buf_init(&value);
    bytes_put_i64(buf_extend(&value, 8), end_offset);
    bytes_put_i64(buf_extend(&value, 8), durable_offset);
    CU_ASSERT_EQUAL_FATAL(producers_pack(state, 0, &value), 0);
    struct meta_row row = {
        .key = key, .key_bytes = sizeof key, .value = value.data, .value_bytes = value.length};
    CU_ASSERT_EQUAL_FATAL(meta_table_save(w.meta, META_PRODUCERS, &row, 1), 0);
    buf_fini(&value);
}

/** What was saved knows a batch that a power loss took, and another one lies in its place. */
static void
test_other_history(void)
{
    static const struct producer_batch lost[] = {{5, 0, 0, 0, 0, -1}, {5, 0, 1, 0, 1, -1}};
    struct producers state;
    int64_t offset;
    set_up(NULL);
    CU_ASSERT_EQUAL(produce(5, 0, 0, 1, NULL), 0);
    append(6, 0, 1);
    producings_free(&w.api->producings);
    producers_init(&state);
    CU_ASSERT_EQUAL(producers_note(&state, &lost[0], 0), 0);
    CU_ASSERT_EQUAL(producers_note(&state, &lost[1], 0), 0);
    save_by_hand(&state, 2, 1);
    producers_fini(&state);
    CU_ASSERT_EQUAL(producings_new(w.api, &w.api->producings), 0);
    CU_ASSERT_EQUAL(produce(5, 0, 1, 1, &offset), 0);
    CU_ASSERT_EQUAL(offset, 2);
    CU_ASSERT_EQUAL(produce(6, 0, 0, 1, &offset), 0);
    CU_ASSERT_EQUAL(offset, 1);
    tear_down();
}

/** What lies behind the durable end is read again: it may have been lost and written anew. */
static void
test_read_again(void)
{
    static const struct producer_batch first = {5, 0, 0, 0, 0, -1};
    struct producers state;
    int64_t offset;
    set_up(NULL);
    CU_ASSERT_EQUAL(produce(5, 0, 0, 1, NULL), 0);
    append(5, 1, 1);
    append(6, 0, 1);
    producings_free(&w.api->producings);
    producers_init(&state);
    CU_ASSERT_EQUAL(producers_note(&state, &first, 0), 0);
    save_by_hand(&state, 3, 1);
    producers_fini(&state);
    CU_ASSERT_EQUAL(producings_new(w.api, &w.api->producings), 0);
    CU_ASSERT_EQUAL(produce(5, 0, 1, 1, &offset), 0);
    CU_ASSERT_EQUAL(offset, 1);
    tear_down();
}

/** Direct producers go on while busd does not look, and retention removes what they wrote. */
static void
test_gap(void)
{
    int64_t start;
    struct open_log *log;
    set_up(NULL);
    CU_ASSERT_EQUAL(produce(5, 0, 0, 1, NULL), 0);
    producings_free(&w.api->producings);
    append(5, 1, 1);
    append(5, 2, 1);
    const struct cluster_topic *topic = cluster_topic(&w.controller.cluster, "t");
    CU_ASSERT_EQUAL_FATAL(logs_get(&w.api->logs, topic, 0, &log), 0);
    CU_ASSERT_EQUAL(log_set_start(log->log, -1, &start), 0);
    CU_ASSERT_EQUAL(producings_new(w.api, &w.api->producings), 0);
    CU_ASSERT_EQUAL(produce(5, 0, 3, 1, NULL), 0);
    tear_down();
}

static void
test_silence(void)
{
    set_up(NULL);
    CU_ASSERT_EQUAL(produce(5, 0, 0, 1, NULL), 0);
    w.wall_ms += INT64_C(30) * 86400000; /* somebody sets the clock */
    world_pass(&w, 86400000 - 1);
    CU_ASSERT_EQUAL(produce(5, 0, 9, 1, NULL), BUS_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    world_pass(&w, 600000);
    CU_ASSERT_EQUAL(produce(5, 0, 9, 1, NULL), 0);
    tear_down();
}

static void
test_topic_made_anew(void)
{
    set_up(NULL);
    CU_ASSERT_EQUAL(produce(5, 0, 0, 1, NULL), 0);
    struct command command = {.type = COMMAND_TOPIC_DELETE, .id = world_id(&w, "t")};
    CU_ASSERT_EQUAL_FATAL(controller_propose(&w.controller, &command), 0);
    world_topic(&w, "t", 1, NULL);
    CU_ASSERT_EQUAL(produce(5, 0, 7, 1, NULL), 0);
    tear_down();
}

static void
test_log_append_time(void)
{
    static const char *const settings[] = {"message.timestamp.type=LogAppendTime", NULL};
    int64_t first, again;
    set_up(settings);
    CU_ASSERT_EQUAL(produce(5, 0, 0, 3, &first), 0);
    w.wall_ms += 1000;
    CU_ASSERT_EQUAL(produce(5, 0, 0, 3, &again), 0);
    CU_ASSERT_EQUAL(first, again);
    tear_down();
}

static const struct unit_case cases[] = {
    {"ids are given once", test_ids},
    {"a repetition is answered with the first offset", test_duplicates},
    {"what direct producers append counts", test_direct},
    {"a restart forgets nothing", test_restart},
    {"nor does the end of old records", test_records_deleted},
    {"what was saved of another history does not count", test_other_history},
    {"what may have been written anew is read again", test_read_again},
    {"who wrote what was never seen is not known", test_gap},
    {"silence ends the memory, no wall clock does", test_silence},
    {"a topic made anew knows nobody", test_topic_made_anew},
    {"with the time of the log", test_log_append_time},
    {NULL, NULL},
};

void
register_api_idempotence(void)
{
    unit_register("api_idempotence", cases);
}
