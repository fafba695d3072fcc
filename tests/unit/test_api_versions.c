/* SPDX-License-Identifier: Apache-2.0
 * Frames, ApiVersions, DaemonStatus, DescribeCluster.
 */
#include "api/table.h"
#include "base/bytes.h"
#include "base/err.h"
#include "unit/api_world.h"

#include <string.h>

static struct world w;

static const struct api_versions_request named = {
    .client_software_name = "test-client", .client_software_version = "1.0.3"};

static const struct api_versions_response_api_key *
row_of(const struct api_versions_response *answer, int16_t key)
{
    for (int32_t i = 0; i < answer->api_keys_count; i++)
        if (answer->api_keys[i].api_key == key)
            return &answer->api_keys[i];
    return NULL;
}

static void
test_announces(void)
{
    world_init(&w);
    for (int16_t version = 0; version <= 4; version++) {
        const struct api_versions_response *answer =
            world_call(&w, 0, API_API_VERSIONS, version, &named);
        CU_ASSERT_EQUAL(answer->error_code, 0);
        CU_ASSERT_FATAL(answer->api_keys_count > 15);
        for (int32_t i = 1; i < answer->api_keys_count; i++)
            CU_ASSERT(answer->api_keys[i - 1].api_key < answer->api_keys[i].api_key);
        CU_ASSERT_PTR_NOT_NULL(row_of(answer, API_ATTACH_PARTITION));
        CU_ASSERT_PTR_NOT_NULL(row_of(answer, API_ELECT_LEADERS));
        CU_ASSERT_EQUAL((size_t)answer->api_keys_count, handler_table_count);
        const struct api_versions_response_api_key *produce = row_of(answer, API_PRODUCE);
        CU_ASSERT_PTR_NOT_NULL_FATAL(produce);
        CU_ASSERT_EQUAL(produce->min_version, 0);
        CU_ASSERT_EQUAL(produce->max_version, 11);
    }
    world_fini(&w);
}

static void
test_kafka_door(void)
{
    world_init(&w);
    w.peers[0].peer.door = API_DOOR_KAFKA;
    const struct api_versions_response *answer = world_call(&w, 0, API_API_VERSIONS, 3, &named);
    CU_ASSERT_PTR_NULL(row_of(answer, API_ATTACH_PARTITION));
    CU_ASSERT_PTR_NOT_NULL(row_of(answer, API_FETCH));
    struct daemon_status_request status = {0};
    CU_ASSERT_EQUAL(world_send(&w, 0, API_DAEMON_STATUS, 0, &status), -BUS_ERR_UNSUPPORTED_VERSION);
    w.peers[0].peer.door = API_DOOR_UNIX;
    world_fini(&w);
}

static void
test_software_words(void)
{
    static const char *const bad[] = {"", "-a", "a-", ".a", "a b", "a/b", "\xc3\xa4"};
    world_init(&w);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct api_versions_request request = named;
        request.client_software_name = bad[i];
        const struct api_versions_response *answer =
            world_call(&w, 0, API_API_VERSIONS, 3, &request);
        CU_ASSERT_EQUAL(answer->error_code, BUS_ERR_INVALID_REQUEST);
        request = named;
        request.client_software_version = bad[i];
        answer = world_call(&w, 0, API_API_VERSIONS, 4, &request);
        CU_ASSERT_EQUAL(answer->error_code, BUS_ERR_INVALID_REQUEST);
        answer = world_call(&w, 0, API_API_VERSIONS, 2, &request);
        CU_ASSERT_EQUAL(answer->error_code, 0);
    }
    world_fini(&w);
}

/* A frame with nothing but a header, whose last byte is the tagged fields of version 2. */
static int
send_header(int16_t key, int16_t version)
{
    uint8_t frame[] = {0, 0, 0, 0, 0, 0, 0, 77, 0xff, 0xff, 0};
    bytes_put_i16(frame, key);
    bytes_put_i16(frame + 2, version);
    api_answer_fini(&w.peers[0].answer);
    w.peers[0].answers = 0;
    w.peers[0].key = key;
    w.peers[0].version = version;
    return api_dispatch(w.api, &w.peers[0].peer, frame, sizeof frame);
}

static void
test_newer_than_ours(void)
{
    world_init(&w);
    CU_ASSERT_EQUAL_FATAL(send_header(API_API_VERSIONS, 5), API_ANSWERED);
    w.peers[0].version = 0;
    const struct api_versions_response *answer = world_answer(&w, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(answer);
    CU_ASSERT_EQUAL(answer->error_code, BUS_ERR_UNSUPPORTED_VERSION);
    CU_ASSERT_EQUAL_FATAL(answer->api_keys_count, 1);
    CU_ASSERT_EQUAL(answer->api_keys[0].api_key, API_API_VERSIONS);
    CU_ASSERT_EQUAL(answer->api_keys[0].max_version, 4);
    world_fini(&w);
}

static void
test_refuses_frames(void)
{
    world_init(&w);
    static const uint8_t junk[] = {0, 3, 0, 9, 1, 2, 3};
    CU_ASSERT_EQUAL(send_header(9999, 0), -BUS_ERR_UNSUPPORTED_VERSION);
    CU_ASSERT_EQUAL(send_header(-1, 0), -BUS_ERR_UNSUPPORTED_VERSION);
    CU_ASSERT_EQUAL(send_header(API_ELECT_LEADERS, 3), -BUS_ERR_UNSUPPORTED_VERSION);
    CU_ASSERT_EQUAL(send_header(API_PRODUCE, 2), -BUS_ERR_UNSUPPORTED_VERSION);
    CU_ASSERT_EQUAL(send_header(API_METADATA, 14), -BUS_ERR_UNSUPPORTED_VERSION);
    CU_ASSERT_EQUAL(send_header(API_METADATA, -1), -BUS_ERR_UNSUPPORTED_VERSION);
    CU_ASSERT_EQUAL(send_header(API_METADATA, 1), -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT(api_dispatch(w.api, &w.peers[0].peer, junk, 0) < 0);
    CU_ASSERT(api_dispatch(w.api, &w.peers[0].peer, junk, sizeof junk) < 0);
    CU_ASSERT_EQUAL(w.peers[0].answers, 0);
    world_fini(&w);
}

/* Who has not said who it is may ask what is served, and no more. */
static void
test_stranger(void)
{
    world_init(&w);
    struct world_peer *p = &w.peers[0];
    p->peer.authenticated = false;
    struct api_versions_request versions = {
        .client_software_name = "test", .client_software_version = "1"};
    const struct api_versions_response *answer = world_call(&w, 0, API_API_VERSIONS, 3, &versions);
    CU_ASSERT_EQUAL(answer->error_code, 0);
    struct metadata_request metadata = {.topics_count = -1};
    CU_ASSERT_EQUAL(world_send(&w, 0, API_METADATA, 9, &metadata), -BUS_ERR_ILLEGAL_SASL_STATE);
    CU_ASSERT_EQUAL(p->answers, 0);
    p->peer.authenticated = true;
    CU_ASSERT_PTR_NOT_NULL(world_call(&w, 0, API_METADATA, 9, &metadata));
    world_fini(&w);
}

static void
test_status(void)
{
    world_init(&w);
    world_topic(&w, "a", 3, NULL);
    w.mono_ms += 4321;
    struct daemon_status_request request = {0};
    const struct daemon_status_response *answer = world_call(&w, 1, API_DAEMON_STATUS, 0, &request);
    CU_ASSERT_EQUAL(answer->error_code, 0);
    CU_ASSERT_STRING_EQUAL(answer->version, "1.2.3");
    CU_ASSERT_STRING_EQUAL(answer->data_folder, w.folder);
    CU_ASSERT_EQUAL(strlen(answer->cluster_id), META_CLUSTER_ID_BYTES);
    CU_ASSERT_EQUAL(answer->node_id, WORLD_NODE);
    CU_ASSERT_EQUAL(answer->uptime_ms, 4321);
    CU_ASSERT_EQUAL(answer->partitions, 3);
    CU_ASSERT_EQUAL(answer->open_partitions, 0);
    CU_ASSERT_EQUAL(answer->connections, WORLD_PEERS);
    CU_ASSERT_STRING_EQUAL(answer->listeners, "127.0.0.1:9092");
    CU_ASSERT(answer->memory_bytes > 0);
    world_fini(&w);
}

static void
test_describe_cluster(void)
{
    world_init(&w);
    for (int16_t version = 0; version <= 1; version++) {
        struct describe_cluster_request request = {
            .include_cluster_authorized_operations = version == 1, .endpoint_type = 1};
        const struct describe_cluster_response *answer =
            world_call(&w, 0, API_DESCRIBE_CLUSTER, version, &request);
        CU_ASSERT_EQUAL(answer->error_code, 0);
        CU_ASSERT_EQUAL(answer->controller_id, WORLD_NODE);
        CU_ASSERT_EQUAL_FATAL(answer->brokers_count, 1);
        CU_ASSERT_EQUAL(answer->brokers[0].broker_id, WORLD_NODE);
        CU_ASSERT_STRING_EQUAL(answer->brokers[0].host, "here");
        CU_ASSERT_EQUAL(answer->cluster_authorized_operations == INT32_MIN, version == 0);
    }
    struct describe_cluster_request other = {.endpoint_type = 2};
    const struct describe_cluster_response *answer =
        world_call(&w, 0, API_DESCRIBE_CLUSTER, 1, &other);
    CU_ASSERT_EQUAL(answer->error_code, BUS_ERR_MISMATCHED_ENDPOINT_TYPE);
    CU_ASSERT_PTR_NOT_NULL(answer->error_message);
    other.endpoint_type = 3;
    answer = world_call(&w, 0, API_DESCRIBE_CLUSTER, 1, &other);
    CU_ASSERT_EQUAL(answer->error_code, BUS_ERR_UNSUPPORTED_ENDPOINT_TYPE);
    world_fini(&w);
}

static const struct unit_case cases[] = {
    {"announces what has a handler, sorted, in every version", test_announces},
    {"keeps the private APIs to the Unix door", test_kafka_door},
    {"refuses odd names of client software from version 3 on", test_software_words},
    {"answers a newer ApiVersions in version 0", test_newer_than_ours},
    {"ends the connection for frames that it does not know", test_refuses_frames},
    {"serves nobody before authentication where that is asked for", test_stranger},
    {"tells its status", test_status},
    {"describes the cluster", test_describe_cluster},
    {NULL, NULL},
};

void
register_api_versions(void)
{
    unit_register("api_versions", cases);
}
