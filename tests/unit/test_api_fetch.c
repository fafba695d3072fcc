/* SPDX-License-Identifier: Apache-2.0
 * Fetch: what is given, what is waited for, and what wakes it.
 */
#include "base/clock.h"
#include "base/err.h"
#include "record/batch.h"
#include "record/codec.h"
#include "shm/append.h"
#include "unit/api_world.h"

#include <stdlib.h>
#include <string.h>

static struct world w;
static struct batch_builder builder;

static void
set_up(void)
{
    world_init(&w);
    world_topic(&w, "t", 2, NULL);
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 1 << 20, 1 << 22), 0);
}

static void
tear_down(void)
{
    builder_fini(&builder);
    world_fini(&w);
}

static void
produce(int count)
{
    CU_ASSERT_EQUAL(world_produce(&w, 0, "t", world_batch(&builder, count, 1, 0), NULL), 0);
}

struct asking {
    int who;
    int16_t version;
    const char *topic;
    int32_t partition;
    int64_t offset;
    int32_t epoch;
    int32_t last_epoch;
    int32_t partition_bytes;
    int32_t max_bytes;
    int32_t min_bytes;
    int32_t wait_ms;
    int8_t isolation;
};

static struct asking
from(int64_t offset)
{
    return (struct asking){.version = 12,
        .topic = "t",
        .offset = offset,
        .epoch = -1,
        .last_epoch = -1,
        .partition_bytes = 1 << 20,
        .max_bytes = 1 << 24,
        .min_bytes = 1};
}

static int
ask(const struct asking *a)
{
    struct fetch_request_topic_partition partition = {.partition = a->partition,
        .current_leader_epoch = a->epoch,
        .fetch_offset = a->offset,
        .last_fetched_epoch = a->last_epoch,
        .log_start_offset = -1,
        .partition_max_bytes = a->partition_bytes};
    struct fetch_request_topic topic = {
        .topic = a->topic, .partitions = &partition, .partitions_count = 1};
    struct fetch_request request = {.replica_id = -1,
        .max_wait_ms = a->wait_ms,
        .min_bytes = a->min_bytes,
        .max_bytes = a->max_bytes,
        .isolation_level = a->isolation,
        .session_epoch = -1,
        .topics = &topic,
        .topics_count = 1,
        .rack_id = ""};
    if (a->version >= 13 && cluster_topic(&w.controller.cluster, a->topic))
        topic.topic_id = world_id(&w, a->topic);
    return world_send(&w, a->who, API_FETCH, a->version, &request);
}

static const struct fetch_response_topic_partition *
part(int who)
{
    const struct fetch_response *answer = world_answer(&w, who);
    CU_ASSERT_PTR_NOT_NULL_FATAL(answer);
    CU_ASSERT_EQUAL(answer->error_code, 0);
    CU_ASSERT_EQUAL(answer->session_id, 0);
    CU_ASSERT_EQUAL_FATAL(answer->responses_count, 1);
    CU_ASSERT_EQUAL_FATAL(answer->responses[0].partitions_count, 1);
    return &answer->responses[0].partitions[0];
}

static const struct fetch_response_topic_partition *
fetch(const struct asking *a)
{
    CU_ASSERT_EQUAL_FATAL(ask(a), API_ANSWERED);
    return part(a->who);
}

/* The offsets in the whole batches of an answer: the first, and the one behind the last. */
static void
range_of(const struct bytes *records, int64_t *first, int64_t *next)
{
    *first = *next = -1;
    struct batch_header header;
    for (int32_t at = 0; at < records->len; at += (int32_t)batch_bytes(&header)) {
        size_t left = (size_t)(records->len - at);
        CU_ASSERT_EQUAL_FATAL(batch_header_read(records->data + at, left, &header), BATCH_OK);
        CU_ASSERT(batch_crc_ok(records->data + at, batch_bytes(&header)));
        if (*first < 0)
            *first = header.base_offset;
        *next = batch_next_offset(&header);
    }
}

static void
test_versions(void)
{
    int64_t first, next;
    set_up();
    produce(3);
    produce(4);
    for (int16_t version = 4; version <= 16; version++) {
        struct asking a = from(0);
        a.version = version;
        const struct fetch_response_topic_partition *p = fetch(&a);
        CU_ASSERT_EQUAL(p->error_code, 0);
        CU_ASSERT_EQUAL(p->high_watermark, 7);
        CU_ASSERT_EQUAL(p->last_stable_offset, 7);
        CU_ASSERT_EQUAL(p->log_start_offset, version >= 5 ? 0 : -1);
        range_of(&p->records, &first, &next);
        CU_ASSERT_EQUAL(first, 0);
        CU_ASSERT_EQUAL(next, 7);
    }
    struct asking a = from(5); /* inside the second batch */
    range_of(&fetch(&a)->records, &first, &next);
    CU_ASSERT_EQUAL(first, 3);
    CU_ASSERT_EQUAL(next, 7);
    tear_down();
}

static void
test_limits(void)
{
    int64_t first, next;
    set_up();
    for (int i = 0; i < 10; i++)
        produce(20);
    struct asking a = from(0);
    a.partition_bytes = 1;
    range_of(&fetch(&a)->records, &first, &next);
    CU_ASSERT_EQUAL(next, 20);
    a = from(0);
    a.max_bytes = 1;
    range_of(&fetch(&a)->records, &first, &next);
    CU_ASSERT_EQUAL(next, 20);
    a = from(40);
    a.partition_bytes = -5;
    range_of(&fetch(&a)->records, &first, &next);
    CU_ASSERT_EQUAL(first, 40);
    CU_ASSERT_EQUAL(next, 60);
    a = from(0);
    a.max_bytes = INT32_MAX;
    a.partition_bytes = INT32_MAX;
    range_of(&fetch(&a)->records, &first, &next);
    CU_ASSERT_EQUAL(next, 200);
    tear_down();
}

static void
test_later_partitions_stay_empty(void)
{
    set_up();
    produce(20);
    struct produce_request_topic_partition row = {1, world_batch(&builder, 20, 1, 0)};
    struct produce_request_topic to = {"t", &row, 1};
    struct produce_request put = {NULL, 1, 1000, &to, 1};
    world_call(&w, 0, API_PRODUCE, 9, &put);
    struct fetch_request_topic_partition rows[] = {{.partition = 0,
                                                       .current_leader_epoch = -1,
                                                       .last_fetched_epoch = -1,
                                                       .partition_max_bytes = 1 << 20},
        {.partition = 1,
            .current_leader_epoch = -1,
            .last_fetched_epoch = -1,
            .partition_max_bytes = 1 << 20}};
    struct fetch_request_topic topic = {.topic = "t", .partitions = rows, .partitions_count = 2};
    struct fetch_request request = {.replica_id = -1,
        .max_bytes = 1,
        .session_epoch = -1,
        .topics = &topic,
        .topics_count = 1,
        .rack_id = ""};
    const struct fetch_response *answer = world_call(&w, 0, API_FETCH, 11, &request);
    const struct fetch_response_topic_partition *p = answer->responses[0].partitions;
    CU_ASSERT(p[0].records.len > 0);
    CU_ASSERT_EQUAL(p[1].records.len, 0);
    CU_ASSERT_EQUAL(p[1].high_watermark, 20);
    request.max_bytes = 1 << 20;
    answer = world_call(&w, 0, API_FETCH, 11, &request);
    CU_ASSERT(answer->responses[0].partitions[1].records.len > 0);
    tear_down();
}

static int16_t
code_of(const struct asking *a)
{
    const struct fetch_response_topic_partition *p = fetch(a);
    CU_ASSERT_EQUAL(p->error_code != 0, p->high_watermark == -1);
    return p->error_code;
}

static void
test_refuses(void)
{
    static const char *const closed[] = {"access.read=self", NULL};
    set_up();
    world_topic(&w, "closed", 1, closed);
    produce(3);
    struct asking a = from(4);
    a.wait_ms = 1000;
    CU_ASSERT_EQUAL(code_of(&a), BUS_ERR_OFFSET_OUT_OF_RANGE);
    a.offset = -1;
    CU_ASSERT_EQUAL(code_of(&a), BUS_ERR_OFFSET_OUT_OF_RANGE);
    a = from(0);
    a.partition = 2;
    CU_ASSERT_EQUAL(code_of(&a), BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    a = from(0);
    a.topic = "nope";
    CU_ASSERT_EQUAL(code_of(&a), BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    a.version = 13;
    CU_ASSERT_EQUAL(code_of(&a), BUS_ERR_UNKNOWN_TOPIC_ID);
    a = from(0);
    a.epoch = 1;
    CU_ASSERT_EQUAL(code_of(&a), BUS_ERR_UNKNOWN_LEADER_EPOCH);
    a = from(0);
    a.topic = "closed";
    a.who = 1;
    CU_ASSERT_EQUAL(code_of(&a), BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    tear_down();
}

/* Each partition named is looked for; nobody needs one a hundred thousand times. */
static void
test_too_many(void)
{
    enum { MANY = 100000 };
    set_up();
    struct fetch_request_topic_partition *parts = calloc(MANY, sizeof *parts);
    struct list_offsets_request_topic_partition *places = calloc(MANY, sizeof *places);
    CU_ASSERT_FATAL(parts && places);
    for (int i = 0; i < MANY; i++)
        parts[i].current_leader_epoch = places[i].current_leader_epoch = -1;
    struct fetch_request_topic topic = {.topic = "t", .partitions = parts};
    struct fetch_request request = {
        .replica_id = -1, .session_epoch = -1, .topics = &topic, .topics_count = 1, .rack_id = ""};
    topic.partitions_count = MANY;
    CU_ASSERT_EQUAL(world_send(&w, 0, API_FETCH, 12, &request), -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "100000 partitions"));
    topic.partitions_count = 900;
    CU_ASSERT_EQUAL(world_send(&w, 0, API_FETCH, 12, &request), API_ANSWERED);
    struct list_offsets_request_topic wanted = {
        .name = "t", .partitions = places, .partitions_count = MANY};
    struct list_offsets_request ask = {.replica_id = -1, .topics = &wanted, .topics_count = 1};
    CU_ASSERT_EQUAL(world_send(&w, 0, API_LIST_OFFSETS, 7, &ask), -BUS_ERR_INVALID_REQUEST);
    free(parts);
    free(places);
    tear_down();
}

static void
test_whole_request_refused(void)
{
    set_up();
    struct fetch_request request = {.replica_id = 3, .session_epoch = -1, .rack_id = ""};
    const struct fetch_response *answer = world_call(&w, 0, API_FETCH, 12, &request);
    CU_ASSERT_EQUAL(answer->error_code, BUS_ERR_REPLICA_NOT_AVAILABLE);
    request = (struct fetch_request){
        .replica_id = -1, .session_id = 5, .session_epoch = 2, .rack_id = ""};
    answer = world_call(&w, 0, API_FETCH, 12, &request);
    CU_ASSERT_EQUAL(answer->error_code, BUS_ERR_FETCH_SESSION_ID_NOT_FOUND);
    request = (struct fetch_request){
        .replica_id = -1, .isolation_level = 3, .session_epoch = -1, .rack_id = ""};
    answer = world_call(&w, 0, API_FETCH, 12, &request);
    CU_ASSERT_EQUAL(answer->error_code, BUS_ERR_INVALID_REQUEST);
    /* Old versions have no room for such an error; "nothing there" would be a lie. */
    CU_ASSERT_EQUAL(world_send(&w, 0, API_FETCH, 6, &request), -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(w.peers[0].answers, 0);
    request.isolation_level = 0;
    request.max_wait_ms = 1000;
    request.min_bytes = 1;
    answer = world_call(&w, 0, API_FETCH, 12, &request);
    CU_ASSERT_EQUAL(answer->error_code, 0);
    CU_ASSERT_EQUAL(answer->responses_count, 0);
    tear_down();
}

static void
test_divergence(void)
{
    set_up();
    produce(3);
    struct asking a = from(5);
    a.wait_ms = 1000;
    a.last_epoch = 0;
    const struct fetch_response_topic_partition *p = fetch(&a);
    CU_ASSERT_EQUAL(p->error_code, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p->diverging_epoch);
    CU_ASSERT_EQUAL(p->diverging_epoch->epoch, 0);
    CU_ASSERT_EQUAL(p->diverging_epoch->end_offset, 3);
    a = from(3);
    a.last_epoch = 4; /* nobody here knows it */
    p = fetch(&a);
    CU_ASSERT_EQUAL(p->error_code, BUS_ERR_OFFSET_OUT_OF_RANGE);
    CU_ASSERT_PTR_NULL(p->diverging_epoch);
    a = from(0);
    a.last_epoch = 0;
    p = fetch(&a);
    CU_ASSERT_PTR_NULL(p->diverging_epoch);
    CU_ASSERT(p->records.len > 0);
    tear_down();
}

static void
test_zstd_for_old_clients(void)
{
    set_up();
    CU_ASSERT_EQUAL(world_produce(&w, 0, "t", world_batch(&builder, 300, 1, CODEC_ZSTD), NULL), 0);
    struct asking a = from(0);
    a.version = 9;
    const struct fetch_response_topic_partition *p = fetch(&a);
    CU_ASSERT_EQUAL(p->error_code, BUS_ERR_UNSUPPORTED_COMPRESSION_TYPE);
    CU_ASSERT_EQUAL(p->records.len, 0);
    a.version = 10;
    CU_ASSERT_EQUAL(fetch(&a)->error_code, 0);
    tear_down();
}

/* ---- waiting -------------------------------------------------------------------------------- */

static void
test_times_out(void)
{
    set_up();
    produce(3);
    struct asking a = from(3);
    CU_ASSERT_EQUAL(fetch(&a)->records.len, 0);
    a.wait_ms = 500;
    CU_ASSERT_EQUAL(ask(&a), API_PARKED);
    CU_ASSERT(w.armed_ms > w.mono_ms && w.armed_ms <= w.mono_ms + 500);
    world_pass(&w, 499);
    CU_ASSERT_EQUAL(w.peers[0].answers, 0);
    world_pass(&w, 1);
    CU_ASSERT_EQUAL(part(0)->error_code, 0);
    CU_ASSERT_EQUAL(part(0)->records.len, 0);
    CU_ASSERT_EQUAL(part(0)->high_watermark, 3);
    CU_ASSERT_EQUAL(w.armed_ms, -1);
    tear_down();
}

static void
test_wakes(void)
{
    int64_t first, next;
    set_up();
    struct asking a = from(0);
    a.who = 1;
    a.wait_ms = 5000;
    CU_ASSERT_EQUAL(ask(&a), API_PARKED);
    produce(2);
    world_pass(&w, 10);
    range_of(&part(1)->records, &first, &next);
    CU_ASSERT_EQUAL(first, 0);
    CU_ASSERT_EQUAL(next, 2);
    tear_down();
}

static void
test_min_bytes(void)
{
    set_up();
    produce(1);
    struct asking a = from(0);
    a.who = 1;
    a.wait_ms = 5000;
    int32_t one = (fetch(&a)->records).len;
    a.min_bytes = 3 * one;
    CU_ASSERT_EQUAL(ask(&a), API_PARKED);
    produce(1);
    world_pass(&w, 10);
    CU_ASSERT_EQUAL(w.peers[1].answers, 0);
    produce(1);
    world_pass(&w, 10);
    CU_ASSERT_EQUAL(part(1)->records.len, 3 * one);
    a.min_bytes = 4 * one;
    CU_ASSERT_EQUAL(ask(&a), API_PARKED);
    world_pass(&w, 5000);
    CU_ASSERT_EQUAL(part(1)->records.len, 3 * one);
    a.min_bytes = 0;
    a.offset = 3;
    CU_ASSERT_EQUAL(fetch(&a)->records.len, 0);
    tear_down();
}

static void
test_durable(void)
{
    set_up();
    produce(2);
    struct asking a = from(0);
    a.isolation = 2;
    a.wait_ms = 5000;
    CU_ASSERT_EQUAL(ask(&a), API_PARKED);
    CU_ASSERT_EQUAL(store_flush(w.store), 0);
    world_pass(&w, 10);
    CU_ASSERT(part(0)->records.len > 0);
    CU_ASSERT_EQUAL(part(0)->last_stable_offset, 2);
    a.isolation = 1;
    CU_ASSERT_EQUAL(fetch(&a)->aborted_transactions_count, 0);
    a.isolation = 0;
    CU_ASSERT_EQUAL(fetch(&a)->aborted_transactions_count, -1);
    tear_down();
}

static void
test_ends_early(void)
{
    set_up();
    struct asking a = from(0);
    a.wait_ms = 5000;
    CU_ASSERT_EQUAL(ask(&a), API_PARKED);
    api_peer_gone(w.api, &w.peers[0].peer);
    CU_ASSERT_EQUAL(w.peers[0].answers, 0);
    CU_ASSERT_EQUAL(w.armed_ms, -1);
    a.who = 1;
    CU_ASSERT_EQUAL(ask(&a), API_PARKED);
    struct command command = {.type = COMMAND_TOPIC_DELETE, .id = world_id(&w, "t")};
    CU_ASSERT_EQUAL(controller_propose(&w.controller, &command), 0);
    world_pass(&w, 10);
    CU_ASSERT_EQUAL(part(1)->error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    tear_down();
}

/* ---- with threads --------------------------------------------------------------------------- */

static int
no_source(
    void *context, int64_t seq, int64_t offset, struct shm_segment **segment, uint32_t *position)
{
    (void)context;
    (void)seq;
    (void)offset;
    (void)segment;
    (void)position;
    return err_set(BUS_ERR_DAEMON_UNAVAILABLE, "this test asks for no more segments");
}

static void
map_writer(struct shm_partition *view)
{
    struct attach_partition_request request = {
        .topic_name = "t", .access = 2, .layout_version = SHM_LAYOUT_VERSION};
    const struct attach_partition_response *answer =
        world_call(&w, 2, API_ATTACH_PARTITION, 0, &request);
    CU_ASSERT_EQUAL_FATAL(answer->error_code, 0);
    int *fds = w.peers[2].answer.fds;
    struct shm_partition_fds pages = {fds[0], fds[1]};
    struct shm_source source = {.open = no_source};
    struct shm_segment *segment;
    CU_ASSERT_EQUAL_FATAL(shm_partition_init(view, pages, true, answer->topic_id.b, 0, source), 0);
    CU_ASSERT_EQUAL_FATAL(
        shm_segment_open(fds[4], (size_t)answer->segments[0].reserved_bytes, true, &segment), 0);
    segment->seq = answer->segments[0].seq;
    segment->base_offset = answer->segments[0].base_offset;
    segment->next_offset = -1;
    shm_partition_add(view, segment);
    fds[0] = fds[1] = fds[4] = -1;
}

static void
test_direct_producer_wakes(void)
{
    world_init_threads(&w);
    world_topic(&w, "t", 2, NULL);
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 1 << 20, 1 << 22), 0);
    struct shm_partition view;
    map_writer(&view);
    for (int i = 0; i < 50; i++) {
        struct append_result result;
        struct asking a = from(i);
        a.wait_ms = 5000; /* of a clock that stands still */
        CU_ASSERT_EQUAL(ask(&a), API_PARKED);
        struct bytes batch = world_batch(&builder, 1, 1, 0);
        struct append_batch append = {
            .bytes = batch.data, .size_bytes = (size_t)batch.len, .offsets = 1};
        CU_ASSERT_EQUAL(
            shm_append(&view, &append, clock_mono_ns() + INT64_C(10000000000), &result), 0);
        world_await(&w, 0);
        CU_ASSERT_EQUAL(part(0)->high_watermark, i + 1);
    }
    shm_partition_fini(&view);
    tear_down();
}

static void
test_flusher_answers(void)
{
    world_init_threads(&w);
    world_topic(&w, "t", 2, NULL);
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 1 << 20, 1 << 22), 0);
    for (int i = 0; i < 20; i++) {
        struct produce_request_topic_partition row = {0, world_batch(&builder, 1, 1, 0)};
        struct produce_request_topic to = {"t", &row, 1};
        struct produce_request put = {NULL, -1, 30000, &to, 1};
        int parked = 0;
        for (int who = 0; who < WORLD_PEERS; who++)
            parked += world_send(&w, who, API_PRODUCE, 9, &put) == API_PARKED;
        CU_ASSERT(parked > 0);
        for (int who = 0; who < WORLD_PEERS; who++) {
            world_await(&w, who);
            const struct produce_response *answer = world_answer(&w, who);
            CU_ASSERT_PTR_NOT_NULL_FATAL(answer);
            CU_ASSERT_EQUAL(answer->responses[0].partition_responses[0].error_code, 0);
            CU_ASSERT_EQUAL(
                answer->responses[0].partition_responses[0].base_offset, WORLD_PEERS * i + who);
        }
    }
    tear_down();
}

static void
test_deletion_tells_waiters(void)
{
    world_init_threads(&w);
    world_topic(&w, "t", 2, NULL);
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 1 << 20, 1 << 22), 0);
    struct asking a = from(0);
    a.wait_ms = 5000;
    CU_ASSERT_EQUAL(ask(&a), API_PARKED);
    struct produce_request_topic_partition row = {0, world_batch(&builder, 1, 1, 0)};
    struct produce_request_topic to = {"t", &row, 1};
    struct produce_request put = {NULL, -1, 30000, &to, 1};
    world_send(&w, 1, API_PRODUCE, 9, &put); /* its flush may be out when the topic goes */
    struct command command = {.type = COMMAND_TOPIC_DELETE, .id = world_id(&w, "t")};
    CU_ASSERT_EQUAL(controller_propose(&w.controller, &command), 0);
    world_await(&w, 0);
    world_await(&w, 1);
    tear_down();
}

static const struct unit_case cases[] = {
    {"gives records in every version", test_versions},
    {"keeps to limits, but gives one batch in any case", test_limits},
    {"leaves later partitions empty when nothing fits", test_later_partitions_stay_empty},
    {"refuses what is not there or not allowed, at once", test_refuses},
    {"refuses sessions, followers and unknown isolation", test_whole_request_refused},
    {"refuses to look for more partitions than there are", test_too_many},
    {"tells a reader that its log was cut off", test_divergence},
    {"gives no zstd to clients that do not know it", test_zstd_for_old_clients},
    {"waits as long as it is told", test_times_out},
    {"answers when records come", test_wakes},
    {"waits for min.bytes", test_min_bytes},
    {"waits for stable storage with read_durable", test_durable},
    {"ends with the peer or the topic", test_ends_early},
    {"is told of records that were appended in place", test_direct_producer_wakes},
    {"acks=all is answered after the flusher", test_flusher_answers},
    {"deletion reaches those who wait", test_deletion_tells_waiters},
    {NULL, NULL},
};

void
register_api_fetch(void)
{
    unit_register("api_fetch", cases);
}
