/* SPDX-License-Identifier: Apache-2.0
 * Goal: what we send is what Kafka's layout says. The round trips of test_wire.c cannot see an
 * error that encoder and decoder share, so messages are compared with bytes written by hand here.
 */
#include "base/buf.h"
#include "base/err.h"
#include "protocol/apis.h"
#include "protocol/wire.h"
#include "unit/filled.h"
#include "unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) ((int32_t)(sizeof(array) / sizeof(array)[0]))
#define BYTES(literal)                                                                             \
    {                                                                                              \
        (const uint8_t *)(literal), sizeof(literal) - 1                                            \
    }

/* Reads pairs of hexadecimal digits and 'quoted text', with spaces between. */
static void
put_notation(struct buf *out, const char *text)
{
    while (*text) {
        if (*text == ' ') {
            text++;
        } else if (*text == '\'') {
            const char *end = strchr(text + 1, '\'');
            CU_ASSERT_PTR_NOT_NULL_FATAL(end);
            buf_put(out, text + 1, (size_t)(end - text - 1));
            text = end + 1;
        } else {
            const char pair[3] = {text[0], text[1], '\0'};
            char *end;
            uint8_t byte = (uint8_t)strtoul(pair, &end, 16);
            CU_ASSERT_FATAL(end == pair + 2);
            buf_put(out, &byte, 1);
            text += 2;
        }
    }
}

static void
show(const char *what, const struct buf *buf)
{
    fprintf(stderr, "%s:", what);
    for (size_t i = 0; i < buf->length; i++)
        fprintf(stderr, " %02x", buf->data[i]);
    fprintf(stderr, "\n");
}

/* The message is encoded as `notation`, and `notation` is decoded as the message. */
static void
check(const struct schema *schema, int16_t version, const void *message, const char *notation)
{
    struct arena arena;
    struct buf want, got;
    arena_init(&arena, 1 << 20);
    buf_init(&want);
    buf_init(&got);
    put_notation(&want, notation);
    CU_ASSERT_EQUAL(wire_encode(schema, version, message, &got), 0);
    bool same = got.length == want.length &&
                (want.length == 0 || memcmp(got.data, want.data, want.length) == 0);
    CU_ASSERT(same);
    if (!same) {
        show("wanted", &want);
        show("got", &got);
    }
    void *decoded = arena_alloc(&arena, schema->size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(decoded);
    const char *wrong = NULL;
    CU_ASSERT_EQUAL(wire_decode(schema, version, want.data, want.length, decoded, &arena), 0);
    CU_ASSERT(filled_same(schema, version, message, decoded, &wrong));
    if (wrong)
        fprintf(stderr, "%s v%d: %s\n", schema->name, version, wrong);
    buf_fini(&got);
    buf_fini(&want);
    arena_fini(&arena);
}

static void
test_metadata_request(void)
{
    struct metadata_request_topic foo = {.name = "foo"};
    struct metadata_request request = {
        .topics = &foo,
        .topics_count = 1,
        .allow_auto_topic_creation = true,
        .include_topic_authorized_operations = true,
    };
    check(&metadata_request_schema, 1, &request, "00000001 0003'foo'");
    check(&metadata_request_schema, 9, &request, "02 04'foo' 00  01 00 01 00");
    foo = (struct metadata_request_topic){.topic_id = {"0123456789abcde"}};
    check(&metadata_request_schema, 12, &request, "02 '0123456789abcde'00 00 00  01 01 00");
    request = (struct metadata_request){.topics_count = -1};
    check(&metadata_request_schema, 0, &request, "00000000");
    check(&metadata_request_schema, 1, &request, "ffffffff");
    check(&metadata_request_schema, 9, &request, "00 00 00 00 00");
}

static void
test_metadata_response(void)
{
    static int32_t one = 1;
    struct metadata_response_broker broker = {.node_id = 1, .host = "h", .port = 9092};
    struct metadata_response_topic_partition partition = {
        .leader_id = 1,
        .leader_epoch = 5,
        .replica_nodes = &one,
        .replica_nodes_count = 1,
        .isr_nodes = &one,
        .isr_nodes_count = 1,
    };
    struct metadata_response_topic topic = {
        .name = "foo",
        .partitions = &partition,
        .partitions_count = 1,
        .topic_authorized_operations = INT32_MIN,
    };
    struct metadata_response response = {
        .brokers = &broker,
        .brokers_count = 1,
        .cluster_id = "abcd",
        .controller_id = 1,
        .topics = &topic,
        .topics_count = 1,
        .cluster_authorized_operations = INT32_MIN,
    };
    check(&metadata_response_schema, 1, &response,
        "00000001 00000001 0001'h' 00002384 ffff  00000001"
        "00000001 0000 0003'foo' 00"
        "  00000001 0000 00000000 00000001 00000001 00000001 00000001 00000001");
    check(&metadata_response_schema, 9, &response,
        "00000000  02 00000001 02'h' 00002384 00 00  05'abcd' 00000001"
        "02 0000 04'foo' 00"
        "  02 0000 00000000 00000001 00000005 02 00000001 02 00000001 01 00"
        "  80000000 00"
        "80000000 00");
    topic = (struct metadata_response_topic){
        .error_code = 100,
        .topic_id = {"0123456789abcde"},
        .topic_authorized_operations = INT32_MIN,
    };
    response.brokers_count = 0;
    response.cluster_id = NULL;
    check(&metadata_response_schema, 12, &response,
        "00000000 01 00 00000001"
        "02 0064 00 '0123456789abcde'00 00 01 80000000 00"
        "00");
}

static void
test_api_versions(void)
{
    struct api_versions_request request = {
        .client_software_name = "kcat",
        .client_software_version = "1.7.1",
    };
    check(&api_versions_request_schema, 0, &request, "");
    check(&api_versions_request_schema, 3, &request, "05'kcat' 06'1.7.1' 00");
    struct api_versions_response_api_key key = {.api_key = 18, .max_version = 4};
    struct api_versions_response response = {
        .api_keys = &key,
        .api_keys_count = 1,
        .finalized_features_epoch = -1,
    };
    check(&api_versions_response_schema, 0, &response, "0000 00000001 0012 0000 0004");
    check(&api_versions_response_schema, 3, &response, "0000 02 0012 0000 0004 00 00000000 00");
    struct api_versions_response_supported_feature feature = {
        .name = "f", .min_version = 1, .max_version = 2};
    response.supported_features = &feature;
    response.supported_features_count = 1;
    response.finalized_features_epoch = 7;
    response.zk_migration_ready = true;
    check(&api_versions_response_schema, 3, &response,
        "0000 02 0012 0000 0004 00 00000000"
        "03  00 08 02 02'f' 0001 0002 00  01 08 0000000000000007  03 01 01");
}

static void
test_produce_request(void)
{
    struct produce_request_topic_partition partition = {.index = 2, .records = BYTES("data")};
    struct produce_request_topic topic = {
        .name = "foo", .partition_data = &partition, .partition_data_count = 1};
    struct produce_request request = {
        .acks = -1, .timeout_ms = 30000, .topic_data = &topic, .topic_data_count = 1};
    check(&produce_request_schema, 7, &request,
        "ffff ffff 00007530 00000001 0003'foo' 00000001 00000002 00000004'data'");
    check(&produce_request_schema, 9, &request,
        "00 ffff 00007530 02 04'foo' 02 00000002 05'data' 00 00 00");
}

static void
test_produce_response(void)
{
    struct produce_response_topic_partition_record_error error = {.batch_index_error_message = "x"};
    struct produce_response_topic_partition partition = {
        .index = 2,
        .base_offset = 42,
        .log_append_time_ms = -1,
        .log_start_offset = 1,
        .record_errors = &error,
        .record_errors_count = 1,
    };
    struct produce_response_topic topic = {
        .name = "foo", .partition_responses = &partition, .partition_responses_count = 1};
    struct produce_response response = {.responses = &topic, .responses_count = 1};
    check(&produce_response_schema, 7, &response,
        "00000001 0003'foo' 00000001"
        "  00000002 0000 000000000000002a ffffffffffffffff 0000000000000001"
        "00000000");
    check(&produce_response_schema, 9, &response,
        "02 04'foo' 02"
        "  00000002 0000 000000000000002a ffffffffffffffff 0000000000000001"
        "  02 00000000 02'x' 00  00  00"
        "00 00000000 00");
    struct produce_response_topic_partition_current_leader leader = {
        .leader_id = 1, .leader_epoch = 5};
    partition.current_leader = &leader;
    check(&produce_response_schema, 10, &response,
        "02 04'foo' 02"
        "  00000002 0000 000000000000002a ffffffffffffffff 0000000000000001"
        "  02 00000000 02'x' 00  00  01 00 09 00000001 00000005 00"
        "00 00000000 00");
}

static void
test_fetch_request(void)
{
    struct fetch_request_topic_partition partition = {
        .current_leader_epoch = -1,
        .fetch_offset = 10,
        .last_fetched_epoch = -1,
        .log_start_offset = -1,
        .partition_max_bytes = 65536,
    };
    struct fetch_request_topic topic = {
        .topic = "foo", .partitions = &partition, .partitions_count = 1};
    struct fetch_request request = {
        .cluster_id = "c",
        .replica_id = -1,
        .max_wait_ms = 500,
        .min_bytes = 1,
        .max_bytes = 1 << 20,
        .isolation_level = 1,
        .session_epoch = -1,
        .topics = &topic,
        .topics_count = 1,
        .rack_id = "",
    };
    check(&fetch_request_schema, 11, &request,
        "ffffffff 000001f4 00000001 00100000 01 00000000 ffffffff"
        "00000001 0003'foo' 00000001"
        "  00000000 ffffffff 000000000000000a ffffffffffffffff 00010000"
        "00000000 0000");
    check(&fetch_request_schema, 12, &request,
        "ffffffff 000001f4 00000001 00100000 01 00000000 ffffffff"
        "02 04'foo' 02"
        "  00000000 ffffffff 000000000000000a ffffffff ffffffffffffffff 00010000 00"
        "00 01 01  01 00 02 02'c'");
    struct fetch_request_replica_state state = {.replica_id = 2, .replica_epoch = 7};
    request.cluster_id = NULL;
    request.replica_state = &state;
    request.topics_count = 0;
    check(&fetch_request_schema, 15, &request,
        "000001f4 00000001 00100000 01 00000000 ffffffff 01 01 01"
        "01 01 0d 00000002 0000000000000007 00");
}

static void
test_fetch_response(void)
{
    struct fetch_response_topic_partition_diverging_epoch diverging = {.epoch = 3, .end_offset = 9};
    struct fetch_response_topic_partition partition = {
        .high_watermark = 11,
        .last_stable_offset = 12,
        .aborted_transactions_count = -1,
        .preferred_read_replica = -1,
        .records = BYTES("data"),
        .diverging_epoch = &diverging,
    };
    struct fetch_response_topic topic = {
        .topic = "foo", .partitions = &partition, .partitions_count = 1};
    struct fetch_response response = {.responses = &topic, .responses_count = 1};
    check(&fetch_response_schema, 11, &response,
        "00000000 0000 00000000 00000001 0003'foo' 00000001"
        "  00000000 0000 000000000000000b 000000000000000c 0000000000000000"
        "  ffffffff ffffffff 00000004'data'");
    check(&fetch_response_schema, 12, &response,
        "00000000 0000 00000000 02 04'foo' 02"
        "  00000000 0000 000000000000000b 000000000000000c 0000000000000000"
        "  00 ffffffff 05'data'  01 00 0d 00000003 0000000000000009 00"
        "00 00");
}

static void
test_nullable_struct(void)
{
    struct describe_topic_partitions_request request = {.response_partition_limit = 2000};
    check(&describe_topic_partitions_request_schema, 0, &request, "01 000007d0 ff 00");
    struct describe_topic_partitions_request_cursor cursor = {
        .topic_name = "a", .partition_index = 3};
    request.cursor = &cursor;
    check(&describe_topic_partitions_request_schema, 0, &request,
        "01 000007d0 01 02'a' 00000003 00 00");
}

static void
test_attach(void)
{
    struct attach_partition_request request = {
        .topic_name = "foo", .partition = 1, .access = 2, .layout_version = 1};
    check(&attach_partition_request_schema, 0, &request, "04'foo' 00000001 02 00000001 00");
    struct attach_partition_response_segment segments[] = {
        {.seq = 4, .base_offset = 100, .reserved_bytes = 4096},
        {.seq = 5, .base_offset = -1, .reserved_bytes = 4096},
    };
    struct attach_partition_response response = {
        .topic_id = {"0123456789abcde"},
        .generation = 3,
        .access = 2,
        .segments = segments,
        .segments_count = COUNT(segments),
    };
    check(&attach_partition_response_schema, 0, &response,
        "0000 00 '0123456789abcde'00 00000003 02 00 03"
        "  0000000000000004 0000000000000064 0000000000001000 00"
        "  0000000000000005 ffffffffffffffff 0000000000001000 00"
        "00");
}

static void
test_defaults(void)
{
    struct fetch_request fetch;
    wire_init(&fetch_request_schema, &fetch);
    CU_ASSERT_EQUAL(fetch.replica_id, -1);
    CU_ASSERT_EQUAL(fetch.max_bytes, INT32_MAX);
    CU_ASSERT_EQUAL(fetch.session_epoch, -1);
    CU_ASSERT_EQUAL(fetch.session_id, 0);
    CU_ASSERT_PTR_NULL(fetch.cluster_id);
    CU_ASSERT_STRING_EQUAL(fetch.rack_id, "");
    CU_ASSERT_PTR_NULL(fetch.replica_state);
    CU_ASSERT_EQUAL(fetch.topics_count, 0);
    struct metadata_request metadata;
    struct arena arena;
    arena_init(&arena, 4096);
    CU_ASSERT_EQUAL(
        wire_decode(&metadata_request_schema, 3, (const uint8_t *)"\0\0\0\0", 4, &metadata, &arena),
        0);
    CU_ASSERT(metadata.allow_auto_topic_creation);
    CU_ASSERT_FALSE(metadata.include_cluster_authorized_operations);
    struct list_offsets_response_topic_partition *items =
        wire_array(&list_offsets_response_topic_partition_schema, &arena, 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(items);
    CU_ASSERT_EQUAL(items[1].offset, -1);
    CU_ASSERT_EQUAL(items[1].error_code, 0);
    CU_ASSERT_PTR_NULL(wire_array(&list_offsets_response_topic_partition_schema, &arena, 4096));
    arena_fini(&arena);
}

/* The versions that the reference tells to announce, and from which on they are flexible. */
static const struct {
    int16_t key, min, max, flexible;
} announced[] = {
    {0, 0, 11, 9},
    {1, 4, 16, 12},
    {2, 1, 10, 6},
    {3, 0, 13, 9},
    {8, 2, 9, 8},
    {9, 1, 9, 6},
    {10, 0, 5, 3},
    {11, 0, 9, 6},
    {12, 0, 4, 4},
    {13, 0, 5, 4},
    {14, 0, 5, 4},
    {15, 0, 6, 5},
    {16, 0, 5, 3},
    {17, 0, 1, SCHEMA_NEVER},
    {18, 0, 4, 3},
    {19, 2, 7, 5},
    {20, 1, 6, 4},
    {21, 0, 2, 2},
    {22, 0, 5, 2},
    {23, 2, 4, 4},
    {29, 1, 3, 2},
    {30, 1, 3, 2},
    {31, 1, 3, 2},
    {32, 1, 4, 4},
    {33, 0, 2, 2},
    {35, 1, 4, 2},
    {36, 0, 2, 2},
    {37, 0, 3, 2},
    {42, 0, 2, 2},
    {43, 0, 2, 2},
    {44, 0, 1, 1},
    {45, 0, 0, 0},
    {46, 0, 0, 0},
    {47, 0, 0, SCHEMA_NEVER},
    {50, 0, 0, 0},
    {51, 0, 0, 0},
    {55, 0, 2, 0},
    {57, 0, 2, 0},
    {60, 0, 1, 0},
    {61, 0, 0, 0},
    {64, 0, 0, 0},
    {65, 0, 0, 0},
    {66, 0, 1, 0},
    {75, 0, 0, 0},
    {1000, 0, 0, 0},
    {1001, 0, 0, 0},
    {1002, 0, 0, 0},
    {1003, 0, 0, 0},
    {1004, 0, 0, 0},
    {1005, 0, 0, 0},
};

static void
test_api_table(void)
{
    CU_ASSERT_EQUAL_FATAL((int32_t)api_table_count, COUNT(announced));
    for (size_t i = 0; i < api_table_count; i++) {
        const struct api_info *api = &api_table[i];
        CU_ASSERT_EQUAL(api->key, announced[i].key);
        CU_ASSERT_EQUAL(api->min_announced, announced[i].min);
        CU_ASSERT_EQUAL(api->max, announced[i].max);
        CU_ASSERT_EQUAL(api->flexible_from, announced[i].flexible);
        CU_ASSERT_EQUAL(api->min, api->key == API_PRODUCE ? 3 : api->min_announced);
        CU_ASSERT_PTR_EQUAL(api_find(api->key), api);
        unsigned all = API_DOOR_UNIX | API_DOOR_KAFKA | API_DOOR_PEER;
        CU_ASSERT_EQUAL(api->doors, api->key >= 1000 ? API_DOOR_UNIX : all);
        CU_ASSERT(api_serves(api, api->min) && api_serves(api, api->max));
        CU_ASSERT_FALSE(api_serves(api, (int16_t)(api->min - 1)));
        CU_ASSERT_FALSE(api_serves(api, (int16_t)(api->max + 1)));
    }
    CU_ASSERT_PTR_NULL(api_find(-1));
    CU_ASSERT_PTR_NULL(api_find(4));
    CU_ASSERT_PTR_NULL(api_find(1006));
    CU_ASSERT_PTR_NULL(api_find(INT16_MAX));
    CU_ASSERT_STRING_EQUAL(api_find(API_METADATA)->name, "Metadata");
}

static const struct unit_case cases[] = {
    {"Metadata requests v0, v1, v9, v12", test_metadata_request},
    {"Metadata responses v1, v9, v12", test_metadata_response},
    {"ApiVersions v0, v3", test_api_versions},
    {"Produce requests v7, v9", test_produce_request},
    {"Produce responses v7, v9, v10", test_produce_response},
    {"Fetch requests v11, v12, v15", test_fetch_request},
    {"Fetch responses v11, v12", test_fetch_response},
    {"a struct that may be null", test_nullable_struct},
    {"AttachPartition", test_attach},
    {"fields start with their defaults", test_defaults},
    {"the table of APIs is the one of the reference", test_api_table},
    {NULL, NULL},
};

void
register_protocol(void)
{
    unit_register("protocol", cases);
}
