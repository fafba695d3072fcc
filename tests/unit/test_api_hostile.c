/* SPDX-License-Identifier: Apache-2.0
 * Requests that nobody should send: each API with strange values, and with damaged frames. What is
 * checked is that the api stays itself: one answer or a closed connection, and good requests served
 * afterwards.
 */
#include "base/err.h"
#include "unit/api_world.h"
#include "unit/filled.h"

#include <string.h>

enum { DAMAGES = 60 }; /* of each frame */

static struct world w;

static uint32_t
next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void
encode(struct buf *frame, const struct api_info *api, int16_t version, const void *message)
{
    struct request_header header = {
        .api_key = api->key, .api_version = version, .correlation_id = 77, .client_id = "test"};
    buf_clear(frame);
    request_header_encode(frame, api, &header);
    CU_ASSERT_EQUAL_FATAL(wire_encode(api->request, version, message, frame), 0);
}

/* Dispatches bytes as they are; whatever waits afterwards ends with its peer. */
static void
offer(const uint8_t *bytes, size_t n)
{
    struct world_peer *p = &w.peers[0];
    api_answer_fini(&p->answer);
    p->answers = 0;
    int outcome = api_dispatch(w.api, &p->peer, bytes, n);
    CU_ASSERT_EQUAL(p->answers, outcome == API_ANSWERED ? 1 : 0);
    CU_ASSERT(outcome < 0 || outcome == API_ANSWERED || outcome == API_PARKED);
    CU_ASSERT_EQUAL(p->peer.request != NULL, outcome == API_PARKED);
    api_peer_gone(w.api, &p->peer);
    CU_ASSERT_PTR_NULL(p->peer.request);
}

static void
offer_damaged(struct buf *frame, uint32_t *random)
{
    for (int i = 0; i < DAMAGES; i++) {
        uint32_t at = next_random(random) % (uint32_t)frame->length;
        uint8_t before = frame->data[at];
        frame->data[at] = (uint8_t)next_random(random);
        offer(frame->data, next_random(random) % 8 == 0 ? at : frame->length);
        frame->data[at] = before;
    }
}

static void
offer_all(enum filled how, bool damaged)
{
    struct buf frame;
    struct arena arena;
    uint32_t random = 2463534242u;
    buf_init(&frame);
    arena_init(&arena, 16 << 20);
    for (size_t i = 0; i < api_table_count; i++) {
        const struct api_info *api = &api_table[i];
        void *message = filled_new(api->request, how, &arena);
        CU_ASSERT_PTR_NOT_NULL_FATAL(message);
        for (int16_t version = api->min; version <= api->max; version++) {
            encode(&frame, api, version, message);
            if (damaged)
                offer_damaged(&frame, &random);
            else
                offer(frame.data, frame.length);
        }
        arena_reset(&arena);
    }
    arena_fini(&arena);
    buf_fini(&frame);
}

static void
check_alive(void)
{
    struct metadata_request request = {.topics_count = -1};
    const struct metadata_response *answer = world_call(&w, 0, API_METADATA, 9, &request);
    CU_ASSERT_EQUAL(answer->brokers_count, 1);
}

static void
test_strange_values(void)
{
    world_init(&w);
    world_topic(&w, "t", 1, NULL);
    offer_all(FILLED_FULL, false);
    offer_all(FILLED_EMPTY, false);
    offer_all(FILLED_NULL, false);
    check_alive();
    world_fini(&w);
}

static void
test_damaged_frames(void)
{
    world_init(&w);
    world_topic(&w, "t", 1, NULL);
    offer_all(FILLED_FULL, true);
    offer_all(FILLED_EMPTY, true);
    check_alive();
    world_fini(&w);
}

/* A parked request is paid for by its peer, and one too many ends the connection. */
static void
test_parking_is_charged(void)
{
    world_init(&w);
    world_topic(&w, "t", 1, NULL);
    struct fetch_request_topic_partition partition = {
        .current_leader_epoch = -1, .last_fetched_epoch = -1, .partition_max_bytes = 100};
    struct fetch_request_topic topic = {.topic = "t", .partitions = &partition};
    struct fetch_request request = {.replica_id = -1,
        .max_wait_ms = 100,
        .min_bytes = 1,
        .max_bytes = 100,
        .session_epoch = -1,
        .topics = &topic,
        .topics_count = 1,
        .rack_id = ""};
    topic.partitions_count = 1;
    CU_ASSERT_EQUAL(world_send(&w, 0, API_FETCH, 11, &request), API_PARKED);
    CU_ASSERT_EQUAL(w.peers[0].quota.used[QUOTA_PARKED], 1);
    CU_ASSERT(w.peers[0].quota.used[QUOTA_BYTES] > 0);
    world_pass(&w, 100);
    CU_ASSERT_EQUAL(w.peers[0].answers, 1);
    CU_ASSERT_EQUAL(w.peers[0].quota.used[QUOTA_PARKED], 0);
    CU_ASSERT_EQUAL(w.peers[0].quota.used[QUOTA_BYTES], 0);
    quota_limit(&w.peers[0].quota, QUOTA_BYTES, 10);
    CU_ASSERT_EQUAL(world_send(&w, 0, API_FETCH, 11, &request), -BUS_ERR_LIMIT_REACHED);
    CU_ASSERT_EQUAL(w.peers[0].quota.used[QUOTA_BYTES], 0);
    world_fini(&w);
}

static const struct unit_case cases[] = {
    {"survives strange values in every API", test_strange_values},
    {"survives damaged frames of every API", test_damaged_frames},
    {"charges what waits to its peer", test_parking_is_charged},
    {NULL, NULL},
};

void
register_api_hostile(void)
{
    unit_register("api_hostile", cases);
}
