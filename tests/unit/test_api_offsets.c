/* SPDX-License-Identifier: Apache-2.0
 * ListOffsets, OffsetForLeaderEpoch, DeleteRecords.
 */
#include "base/err.h"
#include "unit/api_world.h"

static struct world w;
static struct batch_builder builder;

/* Ten records with timestamps 1000 … 1009, then five with 500 … 504. */
static void
set_up(const char *const *settings)
{
    world_init(&w);
    world_topic(&w, "t", 1, settings);
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 1 << 16, 1 << 20), 0);
    CU_ASSERT_EQUAL(world_produce(&w, 0, "t", world_batch(&builder, 10, 1000, 0), NULL), 0);
    CU_ASSERT_EQUAL(world_produce(&w, 0, "t", world_batch(&builder, 5, 500, 0), NULL), 0);
}

static void
tear_down(void)
{
    builder_fini(&builder);
    world_fini(&w);
}

/* ---- ListOffsets ---------------------------------------------------------------------------- */

struct query {
    const char *topic;
    int32_t partition;
    int64_t timestamp;
    int32_t epoch;
    int8_t isolation;
};

static const struct list_offsets_response_topic_partition *
list(int who, int16_t version, const struct query *q)
{
    struct list_offsets_request_topic_partition partition = {.partition_index = q->partition,
        .current_leader_epoch = q->epoch,
        .timestamp = q->timestamp};
    struct list_offsets_request_topic topic = {q->topic, &partition, 1};
    struct list_offsets_request request = {
        .replica_id = -1, .isolation_level = q->isolation, .topics = &topic, .topics_count = 1};
    const struct list_offsets_response *answer =
        world_call(&w, who, API_LIST_OFFSETS, version, &request);
    CU_ASSERT_EQUAL_FATAL(answer->topics_count, 1);
    CU_ASSERT_STRING_EQUAL(answer->topics[0].name, q->topic);
    CU_ASSERT_EQUAL_FATAL(answer->topics[0].partitions_count, 1);
    CU_ASSERT_EQUAL(answer->topics[0].partitions[0].partition_index, q->partition);
    return &answer->topics[0].partitions[0];
}

static const struct list_offsets_response_topic_partition *
at(int16_t version, int64_t timestamp)
{
    struct query q = {"t", 0, timestamp, -1, 0};
    return list(0, version, &q);
}

static void
test_ends(void)
{
    set_up(NULL);
    for (int16_t version = 1; version <= 10; version++) {
        const struct list_offsets_response_topic_partition *p = at(version, -1);
        CU_ASSERT_EQUAL(p->error_code, 0);
        CU_ASSERT_EQUAL(p->offset, 15);
        CU_ASSERT_EQUAL(p->timestamp, -1);
        CU_ASSERT_EQUAL(p->leader_epoch, version >= 4 ? 0 : -1);
        p = at(version, -2);
        CU_ASSERT_EQUAL(p->error_code, 0);
        CU_ASSERT_EQUAL(p->offset, 0);
        CU_ASSERT_EQUAL(p->timestamp, -1);
    }
    CU_ASSERT_EQUAL(at(8, -4)->offset, 0);
    CU_ASSERT_EQUAL(at(9, -5)->error_code, 0);
    CU_ASSERT_EQUAL(at(9, -5)->offset, -1);
    tear_down();
}

static void
test_times(void)
{
    static const struct {
        int64_t timestamp, offset, found;
    } rows[] = {{0, 0, 1000}, {1000, 0, 1000}, {1001, 1, 1001}, {1009, 9, 1009}, {1010, -1, -1},
        {INT64_MAX, -1, -1}};
    set_up(NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct list_offsets_response_topic_partition *p = at(5, rows[i].timestamp);
        CU_ASSERT_EQUAL(p->error_code, 0);
        CU_ASSERT_EQUAL(p->offset, rows[i].offset);
        CU_ASSERT_EQUAL(p->timestamp, rows[i].found);
        CU_ASSERT_EQUAL(p->leader_epoch, rows[i].offset < 0 ? -1 : 0);
    }
    CU_ASSERT_EQUAL(at(7, -3)->offset, 9);
    CU_ASSERT_EQUAL(at(7, -3)->timestamp, 1009);
    tear_down();
}

static void
test_old_versions_know_less(void)
{
    set_up(NULL);
    CU_ASSERT_EQUAL(at(6, -3)->error_code, BUS_ERR_UNSUPPORTED_VERSION);
    CU_ASSERT_EQUAL(at(7, -4)->error_code, BUS_ERR_UNSUPPORTED_VERSION);
    CU_ASSERT_EQUAL(at(8, -5)->error_code, BUS_ERR_UNSUPPORTED_VERSION);
    CU_ASSERT_EQUAL(at(10, -6)->error_code, BUS_ERR_UNSUPPORTED_VERSION);
    tear_down();
}

static void
test_durable_end(void)
{
    set_up(NULL);
    struct query q = {"t", 0, -1, -1, 2};
    CU_ASSERT_EQUAL(list(0, 5, &q)->offset, 0);
    CU_ASSERT_EQUAL(store_flush(w.store), 0);
    CU_ASSERT_EQUAL(list(0, 5, &q)->offset, 15);
    q.isolation = 1;
    CU_ASSERT_EQUAL(list(0, 5, &q)->offset, 15);
    q.isolation = 3;
    CU_ASSERT_EQUAL(list(0, 5, &q)->error_code, BUS_ERR_INVALID_REQUEST);
    tear_down();
}

static void
test_list_refuses(void)
{
    static const char *const closed[] = {"access.read=self", NULL};
    set_up(closed);
    struct query q = {"nope", 0, -1, -1, 0};
    CU_ASSERT_EQUAL(list(0, 5, &q)->error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    q = (struct query){"t", 1, -1, -1, 0};
    CU_ASSERT_EQUAL(list(0, 5, &q)->error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    q = (struct query){"t", 0, -1, 1, 0};
    CU_ASSERT_EQUAL(list(0, 5, &q)->error_code, BUS_ERR_UNKNOWN_LEADER_EPOCH);
    q.epoch = 0;
    CU_ASSERT_EQUAL(list(0, 5, &q)->error_code, 0);
    CU_ASSERT_EQUAL(list(1, 5, &q)->error_code, BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(list(1, 5, &q)->offset, -1);
    tear_down();
}

/* ---- OffsetForLeaderEpoch ------------------------------------------------------------------- */

static const struct offset_for_leader_epoch_response_topic_partition *
epoch_end(int who, int16_t version, int32_t current, int32_t epoch)
{
    struct offset_for_leader_epoch_request_topic_partition partition = {0, current, epoch};
    struct offset_for_leader_epoch_request_topic topic = {"t", &partition, 1};
    struct offset_for_leader_epoch_request request = {.topics = &topic, .topics_count = 1};
    const struct offset_for_leader_epoch_response *answer =
        world_call(&w, who, API_OFFSET_FOR_LEADER_EPOCH, version, &request);
    CU_ASSERT_EQUAL_FATAL(answer->topics_count, 1);
    CU_ASSERT_EQUAL_FATAL(answer->topics[0].partitions_count, 1);
    return &answer->topics[0].partitions[0];
}

static void
test_epochs(void)
{
    static const char *const closed[] = {"access.read=self", NULL};
    set_up(closed);
    for (int16_t version = 2; version <= 4; version++) {
        CU_ASSERT_EQUAL(epoch_end(0, version, -1, 0)->error_code, 0);
        CU_ASSERT_EQUAL(epoch_end(0, version, 0, 0)->leader_epoch, 0);
        CU_ASSERT_EQUAL(epoch_end(0, version, -1, 0)->end_offset, 15);
        CU_ASSERT_EQUAL(epoch_end(0, version, -1, 9)->end_offset, -1);
        CU_ASSERT_EQUAL(epoch_end(0, version, -1, 9)->leader_epoch, -1);
        CU_ASSERT_EQUAL(epoch_end(0, version, 5, 0)->error_code, BUS_ERR_UNKNOWN_LEADER_EPOCH);
        CU_ASSERT_EQUAL(
            epoch_end(1, version, -1, 0)->error_code, BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    }
    tear_down();
}

/* ---- DeleteRecords -------------------------------------------------------------------------- */

static const struct delete_records_response_topic_partition *
delete_below(int who, int16_t version, int32_t partition, int64_t offset)
{
    struct delete_records_request_topic_partition row = {partition, offset};
    struct delete_records_request_topic topic = {"t", &row, 1};
    struct delete_records_request request = {&topic, 1, 1000};
    const struct delete_records_response *answer =
        world_call(&w, who, API_DELETE_RECORDS, version, &request);
    CU_ASSERT_EQUAL_FATAL(answer->topics_count, 1);
    CU_ASSERT_EQUAL_FATAL(answer->topics[0].partitions_count, 1);
    return &answer->topics[0].partitions[0];
}

static void
test_deletes(void)
{
    set_up(NULL);
    CU_ASSERT_EQUAL(delete_below(0, 0, 0, 3)->low_watermark, 3);
    CU_ASSERT_EQUAL(at(5, -2)->offset, 3);
    CU_ASSERT_EQUAL(delete_below(0, 1, 0, 2)->error_code, 0);
    CU_ASSERT_EQUAL(at(5, -2)->offset, 3);
    CU_ASSERT_EQUAL(delete_below(0, 1, 0, 16)->error_code, BUS_ERR_OFFSET_OUT_OF_RANGE);
    CU_ASSERT_EQUAL(delete_below(0, 1, 0, -2)->error_code, BUS_ERR_OFFSET_OUT_OF_RANGE);
    CU_ASSERT_EQUAL(delete_below(0, 1, 1, 0)->error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_EQUAL(delete_below(0, 2, 0, -1)->low_watermark, 15);
    CU_ASSERT_EQUAL(at(5, -2)->offset, 15);
    world_restart(&w);
    CU_ASSERT_EQUAL(at(5, -2)->offset, 15);
    CU_ASSERT_EQUAL(at(5, -1)->offset, 15);
    tear_down();
}

static void
test_delete_refuses(void)
{
    static const char *const compacted[] = {"cleanup.policy=compact", NULL};
    set_up(compacted);
    CU_ASSERT_EQUAL(delete_below(0, 2, 0, 1)->error_code, BUS_ERR_POLICY_VIOLATION);
    CU_ASSERT_EQUAL(delete_below(1, 2, 0, 1)->error_code, BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(at(5, -2)->offset, 0);
    tear_down();
}

static const struct unit_case cases[] = {
    {"tells both ends in every version", test_ends},
    {"finds offsets by time", test_times},
    {"refuses times that the version does not know", test_old_versions_know_less},
    {"tells the durable end to those who ask for it", test_durable_end},
    {"refuses to list what is not there", test_list_refuses},
    {"tells where epochs end", test_epochs},
    {"deletes records for good", test_deletes},
    {"refuses to delete what it should not", test_delete_refuses},
    {NULL, NULL},
};

void
register_api_offsets(void)
{
    unit_register("api_offsets", cases);
}
