/* SPDX-License-Identifier: Apache-2.0
 * Produce: what is accepted, what is refused, and the three acks.
 */
#include "base/clock.h"
#include "base/err.h"
#include "record/batch.h"
#include "record/codec.h"
#include "unit/api_world.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static struct world w;
static struct batch_builder builder;

static void
set_up(const char *const *settings)
{
    world_init(&w);
    world_topic(&w, "t", 1, settings);
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 1 << 20, 1 << 22), 0);
}

static void
tear_down(void)
{
    builder_fini(&builder);
    world_fini(&w);
}

struct sending {
    int who;
    int16_t version;
    int16_t acks;
    const char *topic;
    int32_t partition;
    struct bytes records;
    const char *transactional_id;
    int32_t timeout_ms;
};

static int
post(const struct sending *s)
{
    struct produce_request_topic_partition partition = {s->partition, s->records};
    struct produce_request_topic topic = {s->topic, &partition, 1};
    struct produce_request request = {s->transactional_id, s->acks, s->timeout_ms, &topic, 1};
    return world_send(&w, s->who, API_PRODUCE, s->version, &request);
}

static const struct produce_response_topic_partition *
result(int who)
{
    const struct produce_response *answer = world_answer(&w, who);
    CU_ASSERT_PTR_NOT_NULL_FATAL(answer);
    CU_ASSERT_EQUAL_FATAL(answer->responses_count, 1);
    CU_ASSERT_EQUAL_FATAL(answer->responses[0].partition_responses_count, 1);
    return &answer->responses[0].partition_responses[0];
}

static const struct produce_response_topic_partition *
produce(const struct sending *s)
{
    CU_ASSERT_EQUAL_FATAL(post(s), API_ANSWERED);
    return result(s->who);
}

static struct sending
plain(struct bytes records)
{
    return (struct sending){
        .version = 9, .acks = 1, .topic = "t", .records = records, .timeout_ms = 1000};
}

static void
test_versions(void)
{
    set_up(NULL);
    for (int16_t version = 3; version <= 11; version++) {
        struct sending s = plain(world_batch(&builder, 2, 1000, 0));
        s.version = version;
        const struct produce_response_topic_partition *p = produce(&s);
        CU_ASSERT_EQUAL(p->error_code, 0);
        CU_ASSERT_EQUAL(p->base_offset, 2 * (version - 3));
        CU_ASSERT_EQUAL(p->log_append_time_ms, -1);
        CU_ASSERT_EQUAL(p->log_start_offset, version >= 5 ? 0 : -1);
    }
    tear_down();
}

static void
test_codecs(void)
{
    set_up(NULL);
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        if (!codec_available(codec))
            continue;
        CU_ASSERT_EQUAL(world_produce(&w, 0, "t", world_batch(&builder, 300, 1, codec), NULL), 0);
    }
    struct sending s = plain(world_batch(&builder, 300, 1, CODEC_ZSTD));
    s.version = 6;
    CU_ASSERT_EQUAL(produce(&s)->error_code, BUS_ERR_UNSUPPORTED_COMPRESSION_TYPE);
    s.version = 7;
    CU_ASSERT_EQUAL(produce(&s)->error_code, 0);
    tear_down();
}

/* ---- batches that are refused --------------------------------------------------------------- */

/* A copy of a good batch that a test may spoil. */
static struct bytes
spoilable(uint8_t *space, size_t room)
{
    struct bytes batch = world_batch(&builder, 3, 1000, 0);
    CU_ASSERT_FATAL((size_t)batch.len <= room);
    memcpy(space, batch.data, (size_t)batch.len);
    return (struct bytes){space, batch.len};
}

static int16_t
code_of(struct bytes records)
{
    struct sending s = plain(records);
    const struct produce_response_topic_partition *p = produce(&s);
    CU_ASSERT_EQUAL(p->error_code != 0, p->error_message != NULL);
    CU_ASSERT_EQUAL(p->error_code != 0, p->base_offset == -1);
    return p->error_code;
}

static void
test_damaged(void)
{
    uint8_t space[1024];
    set_up(NULL);
    struct bytes batch = spoilable(space, sizeof space);
    CU_ASSERT_EQUAL(code_of((struct bytes){NULL, -1}), BUS_ERR_INVALID_RECORD);
    CU_ASSERT_EQUAL(code_of((struct bytes){space, 0}), BUS_ERR_INVALID_RECORD);
    CU_ASSERT_EQUAL(code_of((struct bytes){space, 60}), BUS_ERR_INVALID_RECORD);
    CU_ASSERT_EQUAL(code_of((struct bytes){space, batch.len - 1}), BUS_ERR_INVALID_RECORD);
    CU_ASSERT_EQUAL(code_of((struct bytes){space, batch.len + 1}), BUS_ERR_INVALID_RECORD);
    space[batch.len - 1] ^= 1;
    CU_ASSERT_EQUAL(code_of(batch), BUS_ERR_CORRUPT_MESSAGE);
    spoilable(space, sizeof space);
    space[BATCH_AT_MAGIC] = 1;
    CU_ASSERT_EQUAL(code_of(batch), BUS_ERR_INVALID_RECORD);
    tear_down();
}

static struct bytes
with_attributes(uint8_t *space, size_t room, uint8_t attributes)
{
    struct bytes batch = spoilable(space, room);
    space[BATCH_AT_ATTRIBUTES + 1] |= attributes;
    batch_seal(space, (size_t)batch.len);
    return batch;
}

static void
test_rules(void)
{
    uint8_t space[1024];
    set_up(NULL);
    CU_ASSERT_EQUAL(code_of(with_attributes(space, sizeof space, BATCH_ATTR_LOG_APPEND)),
        BUS_ERR_INVALID_TIMESTAMP);
    CU_ASSERT_EQUAL(code_of(with_attributes(space, sizeof space, BATCH_ATTR_TRANSACTIONAL)),
        BUS_ERR_INVALID_TXN_STATE);
    CU_ASSERT_EQUAL(
        code_of(with_attributes(space, sizeof space, BATCH_ATTR_CONTROL)), BUS_ERR_INVALID_RECORD);
    struct bytes batch = spoilable(space, sizeof space);
    space[BATCH_AT_BASE_OFFSET + 7] = 1;
    CU_ASSERT_NOT_EQUAL(code_of(batch), 0);
    spoilable(space, sizeof space);
    memset(space + BATCH_AT_PRODUCER_ID, 0, 8); /* a producer without a sequence */
    batch_seal(space, (size_t)batch.len);
    CU_ASSERT_EQUAL(code_of(batch), BUS_ERR_INVALID_RECORD);
    tear_down();
}

static void
test_sizes(void)
{
    set_up(NULL);
    struct bytes batch = world_batch(&builder, 40, 1, 0);
    char setting[64];
    snprintf(setting, sizeof setting, "max.message.bytes=%d", batch.len);
    const char *const exact[] = {setting, NULL};
    world_topic(&w, "exact", 1, exact);
    CU_ASSERT_EQUAL(world_produce(&w, 0, "exact", batch, NULL), 0);
    snprintf(setting, sizeof setting, "max.message.bytes=%d", batch.len - 1);
    world_topic(&w, "less", 1, exact);
    CU_ASSERT_EQUAL(world_produce(&w, 0, "less", batch, NULL), BUS_ERR_MESSAGE_TOO_LARGE);
    tear_down();
}

static void
test_larger_than_segment(void)
{
    static const char *const small[] = {"segment.bytes=1048576", "max.message.bytes=4194304", NULL};
    static char value[1100000];
    set_up(small);
    struct builder_options options = BUILDER_OPTIONS_PLAIN;
    struct builder_record record = {
        .ts = 1, .key_bytes = -1, .value = value, .value_bytes = sizeof value};
    const void *batch;
    size_t bytes;
    builder_reset(&builder, &options);
    CU_ASSERT_EQUAL(builder_append(&builder, &record), BUILDER_OK);
    CU_ASSERT_EQUAL(builder_finish(&builder, &batch, &bytes), 0);
    CU_ASSERT_EQUAL(code_of((struct bytes){batch, (int32_t)bytes}), BUS_ERR_RECORD_LIST_TOO_LARGE);
    tear_down();
}

static void
test_compacted(void)
{
    static const char *const compacted[] = {"cleanup.policy=compact", NULL};
    set_up(compacted);
    CU_ASSERT_EQUAL(code_of(world_batch(&builder, 3, 1, 0)), 0);
    struct builder_options options = BUILDER_OPTIONS_PLAIN;
    builder_reset(&builder, &options);
    for (int i = 0; i < 4; i++) {
        struct builder_record record = {
            .ts = 1, .key = "k", .key_bytes = i % 2 == 0 ? 1 : -1, .value = "v", .value_bytes = 1};
        CU_ASSERT_EQUAL(builder_append(&builder, &record), BUILDER_OK);
    }
    const void *batch;
    size_t bytes;
    CU_ASSERT_EQUAL(builder_finish(&builder, &batch, &bytes), 0);
    struct sending s = plain((struct bytes){batch, (int32_t)bytes});
    const struct produce_response_topic_partition *p = produce(&s);
    CU_ASSERT_EQUAL(p->error_code, BUS_ERR_INVALID_RECORD);
    CU_ASSERT_EQUAL_FATAL(p->record_errors_count, 2);
    CU_ASSERT_EQUAL(p->record_errors[0].batch_index, 1);
    CU_ASSERT_EQUAL(p->record_errors[1].batch_index, 3);
    CU_ASSERT_PTR_NOT_NULL(p->record_errors[1].batch_index_error_message);
    tear_down();
}

static void
test_timestamps(void)
{
    static const char *const bounded[] = {
        "message.timestamp.before.max.ms=1000", "message.timestamp.after.max.ms=2000", NULL};
    set_up(bounded);
    int64_t now = w.wall_ms;
    CU_ASSERT_EQUAL(code_of(world_batch(&builder, 1, now - 1000, 0)), 0);
    CU_ASSERT_EQUAL(code_of(world_batch(&builder, 1, now - 1001, 0)), BUS_ERR_INVALID_TIMESTAMP);
    CU_ASSERT_EQUAL(code_of(world_batch(&builder, 1, now + 2000, 0)), 0);
    CU_ASSERT_EQUAL(code_of(world_batch(&builder, 2, now + 2000, 0)), BUS_ERR_INVALID_TIMESTAMP);
    CU_ASSERT_EQUAL(code_of(world_batch(&builder, 1, -1, 0)), 0);
    tear_down();
}

static void
test_log_append_time(void)
{
    static const char *const stamped[] = {
        "message.timestamp.type=LogAppendTime", "message.timestamp.before.max.ms=1", NULL};
    set_up(stamped);
    struct sending s = plain(world_batch(&builder, 2, 1000, 0));
    int64_t before = clock_wall_coarse_ms();
    const struct produce_response_topic_partition *p = produce(&s);
    CU_ASSERT_EQUAL(p->error_code, 0);
    CU_ASSERT(p->log_append_time_ms >= before);
    tear_down();
}

/* ---- where to, and who ---------------------------------------------------------------------- */

static void
test_targets(void)
{
    static const char *const closed[] = {"access.write=self", NULL};
    set_up(closed);
    struct sending good = plain(world_batch(&builder, 1, 1, 0));
    struct sending s = good;
    s.topic = "nope";
    const struct produce_response_topic_partition *p = produce(&s);
    CU_ASSERT_EQUAL(p->error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_PTR_NOT_NULL(strstr(p->error_message, "nope"));
    s = good;
    s.partition = 1;
    CU_ASSERT_EQUAL(produce(&s)->error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    s = good;
    s.who = 1;
    p = produce(&s);
    CU_ASSERT_EQUAL(p->error_code, BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_PTR_NOT_NULL(strstr(p->error_message, "User:stranger"));
    s = good;
    s.acks = 2;
    CU_ASSERT_EQUAL(produce(&s)->error_code, BUS_ERR_INVALID_REQUIRED_ACKS);
    s = good;
    s.transactional_id = "x";
    CU_ASSERT_EQUAL(produce(&s)->error_code, BUS_ERR_INVALID_TXN_STATE);
    world_topic(&w, "__consumer_offsets", 1, NULL);
    s = good;
    s.topic = "__consumer_offsets";
    CU_ASSERT_EQUAL(produce(&s)->error_code, BUS_ERR_INVALID_TOPIC_EXCEPTION);
    CU_ASSERT_EQUAL(produce(&good)->base_offset, 0);
    tear_down();
}

static void
test_each_its_own_way(void)
{
    set_up(NULL);
    struct bytes batch = world_batch(&builder, 1, 1, 0);
    struct produce_request_topic_partition rows[] = {{0, batch}, {5, batch}, {0, batch}};
    struct produce_request_topic topics[] = {{"nope", rows, 1}, {"t", rows, 3}};
    struct produce_request request = {NULL, 1, 1000, topics, 2};
    const struct produce_response *answer = world_call(&w, 0, API_PRODUCE, 10, &request);
    CU_ASSERT_EQUAL_FATAL(answer->responses_count, 2);
    CU_ASSERT_EQUAL(
        answer->responses[0].partition_responses[0].error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    const struct produce_response_topic_partition *p = answer->responses[1].partition_responses;
    CU_ASSERT_EQUAL(p[0].base_offset, 0);
    CU_ASSERT_EQUAL(p[1].error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_EQUAL(p[2].base_offset, 1);
    tear_down();
}

/* ---- acks ----------------------------------------------------------------------------------- */

static void
test_acks_0(void)
{
    set_up(NULL);
    struct sending s = plain(world_batch(&builder, 1, 1, 0));
    s.acks = 0;
    CU_ASSERT_EQUAL(post(&s), API_ANSWERED);
    CU_ASSERT_EQUAL(w.peers[0].answers, 1);
    CU_ASSERT_EQUAL(w.peers[0].answer.frame.length, 0);
    CU_ASSERT_FALSE(w.peers[0].answer.close);
    s.partition = 9;
    CU_ASSERT_EQUAL(post(&s), API_ANSWERED);
    CU_ASSERT_EQUAL(w.peers[0].answer.frame.length, 0);
    CU_ASSERT_TRUE(w.peers[0].answer.close);
    s = plain(world_batch(&builder, 1, 1, 0));
    CU_ASSERT_EQUAL(produce(&s)->base_offset, 1);
    tear_down();
}

static int64_t
durable_end(void)
{
    struct list_offsets_request_topic_partition partition = {
        .current_leader_epoch = -1, .timestamp = -1};
    struct list_offsets_request_topic topic = {"t", &partition, 1};
    struct list_offsets_request request = {
        .replica_id = -1, .isolation_level = 2, .topics = &topic, .topics_count = 1};
    const struct list_offsets_response *answer = world_call(&w, 0, API_LIST_OFFSETS, 5, &request);
    return answer->topics[0].partitions[0].offset;
}

static void
test_acks_all(void)
{
    set_up(NULL);
    struct sending s = plain(world_batch(&builder, 4, 1, 0));
    CU_ASSERT_EQUAL(produce(&s)->error_code, 0);
    CU_ASSERT_EQUAL(durable_end(), 0);
    s.acks = -1;
    CU_ASSERT_EQUAL(produce(&s)->base_offset, 4);
    CU_ASSERT_EQUAL(durable_end(), 8);
    tear_down();
}

static void
test_acks_all_relaxed(void)
{
    static const char *const relaxed[] = {"flush.on.ack=false", NULL};
    set_up(relaxed);
    struct sending s = plain(world_batch(&builder, 4, 1, 0));
    s.acks = -1;
    CU_ASSERT_EQUAL(produce(&s)->error_code, 0);
    CU_ASSERT_EQUAL(durable_end(), 0);
    static const char *const memory[] = {"storage.type=memory", NULL};
    world_topic(&w, "m", 1, memory);
    s.topic = "m";
    CU_ASSERT_EQUAL(produce(&s)->error_code, 0);
    tear_down();
}

static void
test_min_insync(void)
{
    static const char *const two[] = {"min.insync.replicas=2", NULL};
    set_up(two);
    struct sending s = plain(world_batch(&builder, 1, 1, 0));
    s.acks = -1;
    const struct produce_response_topic_partition *p = produce(&s);
    CU_ASSERT_EQUAL(p->error_code, BUS_ERR_NOT_ENOUGH_REPLICAS);
    s.acks = 1;
    CU_ASSERT_EQUAL(produce(&s)->base_offset, 0);
    tear_down();
}

/* ---- the append lock ------------------------------------------------------------------------ */

static struct world_holder holder;

static void
set_up_held(int64_t lock_timeout_ms)
{
    world_lock_timeout_ms = lock_timeout_ms;
    set_up(NULL);
    world_lock_timeout_ms = 100;
    world_hold(&holder, world_control(&w, "t"));
}

static void
tear_down_held(void)
{
    munmap(holder.control, SHM_PAGE_BYTES);
    tear_down();
}

static void
test_waits_for_lock(void)
{
    set_up_held(60000);
    struct sending s = plain(world_batch(&builder, 2, 1, 0));
    CU_ASSERT_EQUAL(post(&s), API_PARKED);
    CU_ASSERT_EQUAL(w.peers[0].answers, 0);
    CU_ASSERT(w.armed_ms > w.mono_ms);
    world_batch(&builder, 9, 1, 0); /* what was sent has to be kept elsewhere */
    world_release(&holder);
    world_pass(&w, LOG_RETRY_MS);
    CU_ASSERT_EQUAL(result(0)->error_code, 0);
    s = plain(world_batch(&builder, 1, 1, 0));
    CU_ASSERT_EQUAL(produce(&s)->base_offset, 2);
    tear_down_held();
}

static void
test_gives_up(void)
{
    set_up_held(60000);
    struct sending s = plain(world_batch(&builder, 2, 1, 0));
    s.timeout_ms = 50;
    CU_ASSERT_EQUAL(post(&s), API_PARKED);
    world_pass(&w, 50);
    CU_ASSERT_EQUAL(result(0)->error_code, BUS_ERR_REQUEST_TIMED_OUT);
    CU_ASSERT_EQUAL(post(&s), API_PARKED);
    api_peer_gone(w.api, &w.peers[0].peer);
    CU_ASSERT_EQUAL(w.peers[0].answers, 0);
    CU_ASSERT_PTR_NULL(w.peers[0].peer.request);
    world_release(&holder);
    tear_down_held();
}

static void
test_evicts(void)
{
    set_up_held(100);
    struct sending s = plain(world_batch(&builder, 2, 1, 0));
    s.timeout_ms = INT32_MAX;
    int64_t give_up_ms = clock_mono_ms() + 60000;
    CU_ASSERT_EQUAL(settings_set_named(&w.fixed, "request.timeout.ms", "3600000"), 0);
    CU_ASSERT_EQUAL(post(&s), API_PARKED);
    while (w.peers[0].answers == 0 && clock_mono_ms() < give_up_ms)
        world_pass(&w, 0);
    CU_ASSERT_EQUAL(result(0)->error_code, 0);
    CU_ASSERT_EQUAL(result(0)->base_offset, 0);
    world_release(&holder);
    tear_down_held();
}

static void
test_deleted_meanwhile(void)
{
    set_up_held(60000);
    struct sending s = plain(world_batch(&builder, 2, 1, 0));
    CU_ASSERT_EQUAL(post(&s), API_PARKED);
    struct command command = {.type = COMMAND_TOPIC_DELETE, .id = world_id(&w, "t")};
    CU_ASSERT_EQUAL(controller_propose(&w.controller, &command), 0);
    world_pass(&w, LOG_RETRY_MS);
    CU_ASSERT_EQUAL(result(0)->error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    world_release(&holder);
    tear_down_held();
}

static const struct unit_case cases[] = {
    {"appends in every version", test_versions},
    {"takes every codec that the version knows", test_codecs},
    {"refuses damaged batches", test_damaged},
    {"refuses batches against the rules", test_rules},
    {"takes max.message.bytes and not a byte more", test_sizes},
    {"refuses a batch that no segment holds", test_larger_than_segment},
    {"wants keys in a compacted topic and names the records without", test_compacted},
    {"keeps timestamps within their bounds", test_timestamps},
    {"tells the time of the append", test_log_append_time},
    {"refuses wrong targets", test_targets},
    {"treats each partition on its own", test_each_its_own_way},
    {"acks=0 has no answer, and a failure ends the connection", test_acks_0},
    {"acks=all is on stable storage", test_acks_all},
    {"acks=all where the topic wants no flush", test_acks_all_relaxed},
    {"acks=all wants enough replicas", test_min_insync},
    {"waits for the append lock without the loop", test_waits_for_lock},
    {"gives up in time, or when the peer goes", test_gives_up},
    {"takes the lock away from one who stopped with it", test_evicts},
    {"tells that the topic was deleted meanwhile", test_deleted_meanwhile},
    {NULL, NULL},
};

void
register_api_produce(void)
{
    unit_register("api_produce", cases);
}
