/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "base/err.h"
#include "protocol/apis.h"
#include "protocol/uvarint.h"
#include "protocol/wire.h"
#include "unit/filled.h"
#include "unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_BYTES = 1 << 24 };

/* Calls `check` for the request and the response of every API at every version. */
static void
each_message(void (*check)(const struct schema *schema, int16_t version))
{
    for (size_t i = 0; i < api_table_count; i++) {
        for (int16_t v = api_table[i].min; v <= api_table[i].max; v++) {
            check(api_table[i].request, v);
            check(api_table[i].response, v);
        }
    }
}

/* Fails the case, telling which message it was, unless `holds`. */
static void
holds_for(bool holds, const struct schema *schema, int16_t version, const char *what)
{
    if (!holds)
        fprintf(stderr, "%s v%d: %s\n", schema->name, version, what);
    CU_ASSERT(holds);
}

/* Decodes a copy that is exactly as large as the message, so that a sanitizer sees the end. */
static int
decode_copy(const struct schema *schema, int16_t version, const uint8_t *p, size_t n, void *out,
    struct arena *arena)
{
    uint8_t *copy = malloc(n > 0 ? n : 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    if (n > 0)
        memcpy(copy, p, n);
    int rc = wire_decode(schema, version, copy, n, out, arena);
    free(copy);
    return rc;
}

static void
check_round_trip(const struct schema *schema, int16_t version, enum filled how)
{
    struct arena arena;
    struct buf buf;
    arena_init(&arena, ARENA_BYTES);
    buf_init(&buf);
    const void *put = filled_new(schema, how, &arena);
    void *got = arena_alloc(&arena, schema->size);
    CU_ASSERT_FATAL(put && got);
    int rc = wire_encode(schema, version, put, &buf);
    holds_for(rc == 0, schema, version, "is encoded");
    rc = wire_decode(schema, version, buf.data, buf.length, got, &arena);
    holds_for(rc == 0, schema, version, rc < 0 ? err_text() : "is decoded");
    const char *wrong = NULL;
    holds_for(rc < 0 || filled_same(schema, version, put, got, &wrong), schema, version,
        wrong ? wrong : "");
    buf_fini(&buf);
    arena_fini(&arena);
}

static void
check_full(const struct schema *schema, int16_t version)
{
    check_round_trip(schema, version, FILLED_FULL);
}

static void
check_empty(const struct schema *schema, int16_t version)
{
    check_round_trip(schema, version, FILLED_EMPTY);
}

static void
check_null(const struct schema *schema, int16_t version)
{
    check_round_trip(schema, version, FILLED_NULL);
}

static void
test_round_trips(void)
{
    each_message(check_full);
    each_message(check_empty);
    each_message(check_null);
}

static void
check_zeroed(const struct schema *schema, int16_t version)
{
    struct arena arena;
    struct buf buf;
    arena_init(&arena, ARENA_BYTES);
    buf_init(&buf);
    void *zeroed = arena_alloc(&arena, schema->size);
    void *initial = wire_array(schema, &arena, 1);
    void *got = arena_alloc(&arena, schema->size);
    CU_ASSERT_FATAL(zeroed && initial && got);
    const char *wrong = "cannot be encoded or decoded";
    bool good = wire_encode(schema, version, zeroed, &buf) == 0 &&
                wire_decode(schema, version, buf.data, buf.length, got, &arena) == 0 &&
                filled_same(schema, version, zeroed, got, &wrong);
    holds_for(good, schema, version, wrong);
    buf_clear(&buf);
    good = wire_encode(schema, version, initial, &buf) == 0 &&
           wire_decode(schema, version, buf.data, buf.length, got, &arena) == 0 &&
           filled_same(schema, version, initial, got, &wrong);
    holds_for(good, schema, version, wrong);
    buf_fini(&buf);
    arena_fini(&arena);
}

static void
test_zeroed_and_initial(void)
{
    each_message(check_zeroed);
}

/* Encodes the filled message; the caller ends buffer and arena. */
static void
encode_full(const struct schema *schema, int16_t version, struct buf *buf, struct arena *arena)
{
    arena_init(arena, ARENA_BYTES);
    buf_init(buf);
    const void *put = filled_new(schema, FILLED_FULL, arena);
    CU_ASSERT_FATAL(put && wire_encode(schema, version, put, buf) == 0);
}

static void
check_cut(const struct schema *schema, int16_t version)
{
    struct arena arena;
    struct buf buf;
    encode_full(schema, version, &buf, &arena);
    void *got = arena_alloc(&arena, schema->size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(got);
    struct arena scratch;
    arena_init(&scratch, ARENA_BYTES);
    for (size_t n = 0; n < buf.length; n++) {
        int rc = decode_copy(schema, version, buf.data, n, got, &scratch);
        holds_for(rc == -BUS_ERR_INVALID_REQUEST, schema, version, "cut off is refused");
        arena_reset(&scratch);
    }
    buf_put(&buf, "", 1);
    int rc = decode_copy(schema, version, buf.data, buf.length, got, &scratch);
    holds_for(rc == -BUS_ERR_INVALID_REQUEST, schema, version, "with one more byte is refused");
    arena_fini(&scratch);
    buf_fini(&buf);
    arena_fini(&arena);
}

static void
test_cut_anywhere(void)
{
    each_message(check_cut);
}

/* A damaged message is refused, or it is another message: then it survives a round trip. */
static void
check_damaged(const struct schema *schema, int16_t version)
{
    struct arena arena, scratch;
    struct buf buf, again;
    encode_full(schema, version, &buf, &arena);
    buf_init(&again);
    arena_init(&scratch, ARENA_BYTES);
    void *got = arena_alloc(&arena, schema->size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(got);
    for (size_t i = 0; i < buf.length; i++) {
        buf.data[i] ^= 0xff;
        int rc = wire_decode(schema, version, buf.data, buf.length, got, &scratch);
        if (rc == 0) {
            buf_clear(&again);
            bool good = wire_encode(schema, version, got, &again) == 0 &&
                        wire_decode(schema, version, again.data, again.length, got, &scratch) == 0;
            holds_for(good, schema, version, "survives");
        } else {
            holds_for(rc == -BUS_ERR_INVALID_REQUEST, schema, version, "damaged is refused");
        }
        arena_reset(&scratch);
        buf.data[i] ^= 0xff;
    }
    arena_fini(&scratch);
    buf_fini(&again);
    buf_fini(&buf);
    arena_fini(&arena);
}

static void
test_damaged_anywhere(void)
{
    each_message(check_damaged);
}

/* Decodes bytes given as a string literal; its final NUL is no part of them. */
#define DECODE(schema, version, literal, out, arena)                                               \
    decode_copy(&(schema), (version), (const uint8_t *)(literal), sizeof(literal) - 1, (out), arena)

static void
test_huge_counts(void)
{
    struct arena arena;
    struct metadata_request request;
    arena_init(&arena, ARENA_BYTES);
    CU_ASSERT_EQUAL(DECODE(metadata_request_schema, 1, "\x7f\xff\xff\xff", &request, &arena),
        -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(DECODE(metadata_request_schema, 1, "\xff\xff\xff\xfe", &request, &arena),
        -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(
        DECODE(metadata_request_schema, 9, "\xff\xff\xff\xff\x0f\1\1\0", &request, &arena),
        -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(
        DECODE(metadata_request_schema, 9, "\xff\xff\xff\xff\xff\1\1\0", &request, &arena),
        -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(arena.used, 0);
    /* Two strings take four bytes at least. */
    CU_ASSERT_EQUAL(DECODE(metadata_request_schema, 1, "\0\0\0\2\0\1", &request, &arena),
        -BUS_ERR_INVALID_REQUEST);
    arena_fini(&arena);
}

static void
test_arena_limit(void)
{
    static const uint8_t names[4 + 1000 * 2] = {0, 0, 1000 >> 8, 1000 & 0xff};
    struct metadata_request request;
    size_t needed = 1000 * (sizeof *request.topics + 16);
    struct arena arena;
    arena_init(&arena, needed + 16 - 1);
    CU_ASSERT_EQUAL(
        wire_decode(&metadata_request_schema, 1, names, sizeof names, &request, &arena), 0);
    CU_ASSERT_EQUAL(request.topics_count, 1000);
    CU_ASSERT_EQUAL(arena.used, needed);
    arena_fini(&arena);
    arena_init(&arena, needed - 1);
    CU_ASSERT_EQUAL(wire_decode(&metadata_request_schema, 1, names, sizeof names, &request, &arena),
        -BUS_ERR_NO_MEMORY);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "bytes of memory"));
    arena_fini(&arena);
}

static void
test_unknown_tags(void)
{
    struct arena arena;
    struct heartbeat_response heartbeat;
    struct api_versions_response versions;
    arena_init(&arena, ARENA_BYTES);
    /* Two unknown tags, 5 with three bytes and 300 with none. */
    CU_ASSERT_EQUAL(
        DECODE(heartbeat_response_schema, 4, "\0\0\0\7\0\x1b\2\5\3abc\xac\2\0", &heartbeat, &arena),
        0);
    CU_ASSERT_EQUAL(heartbeat.throttle_time_ms, 7);
    CU_ASSERT_EQUAL(heartbeat.error_code, 27);
    /* A known one (1: the epoch) between unknown ones (0 is of the wrong version in v2). */
    CU_ASSERT_EQUAL(DECODE(api_versions_response_schema, 3,
                        "\0\0\1\0\0\0\0\2\1\10\0\0\0\0\0\0\0\x2a\x09\1x", &versions, &arena),
        0);
    CU_ASSERT_EQUAL(versions.finalized_features_epoch, 42);
    CU_ASSERT_EQUAL(versions.supported_features_count, 0);
    arena_fini(&arena);
}

static void
test_malformed_tags(void)
{
    struct arena arena;
    struct heartbeat_response heartbeat;
    struct api_versions_response versions;
    arena_init(&arena, ARENA_BYTES);
    CU_ASSERT_EQUAL(
        DECODE(heartbeat_response_schema, 4, "\0\0\0\7\0\x1b\2\5\0\5\0", &heartbeat, &arena),
        -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "tag does not ascend"));
    CU_ASSERT_EQUAL(
        DECODE(heartbeat_response_schema, 4, "\0\0\0\7\0\x1b\1\5\2x", &heartbeat, &arena),
        -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(DECODE(heartbeat_response_schema, 4, "\0\0\0\7\0\x1b\xff\xff\xff\xff\x0f",
                        &heartbeat, &arena),
        -BUS_ERR_INVALID_REQUEST);
    /* The epoch takes eight bytes; here its size says nine, and seven. */
    CU_ASSERT_EQUAL(DECODE(api_versions_response_schema, 3,
                        "\0\0\1\0\0\0\0\1\1\11\0\0\0\0\0\0\0\x2a\0", &versions, &arena),
        -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "ends before its tagged field"));
    CU_ASSERT_EQUAL(DECODE(api_versions_response_schema, 3,
                        "\0\0\1\0\0\0\0\1\1\7\0\0\0\0\0\0\0\x2a", &versions, &arena),
        -BUS_ERR_INVALID_REQUEST);
    arena_fini(&arena);
}

static void
test_refused_strings(void)
{
    struct arena arena;
    struct find_coordinator_request request;
    arena_init(&arena, ARENA_BYTES);
    CU_ASSERT_EQUAL(DECODE(find_coordinator_request_schema, 0, "\0\3abc", &request, &arena), 0);
    CU_ASSERT_STRING_EQUAL(request.key, "abc");
    CU_ASSERT_EQUAL(DECODE(find_coordinator_request_schema, 0, "\0\3a\0c", &request, &arena),
        -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "FindCoordinatorRequest v0: key has a NUL byte"));
    CU_ASSERT_EQUAL(DECODE(find_coordinator_request_schema, 0, "\xff\xff", &request, &arena),
        -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "key is null"));
    CU_ASSERT_EQUAL(DECODE(find_coordinator_request_schema, 0, "\xff\xfe", &request, &arena),
        -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(DECODE(find_coordinator_request_schema, 3, "\0\0\0", &request, &arena),
        -BUS_ERR_INVALID_REQUEST);
    arena_fini(&arena);
}

static void
test_longest_string(void)
{
    struct arena arena;
    struct buf buf;
    arena_init(&arena, ARENA_BYTES);
    buf_init(&buf);
    char *key = arena_alloc(&arena, WIRE_STRING_BYTES_MAX + 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(key);
    memset(key, 'k', WIRE_STRING_BYTES_MAX);
    struct find_coordinator_request request = {.key = key}, got;
    for (int16_t v = 2; v <= 3; v++) {
        buf_clear(&buf);
        CU_ASSERT_EQUAL(wire_encode(&find_coordinator_request_schema, v, &request, &buf), 0);
        CU_ASSERT_EQUAL(
            wire_decode(&find_coordinator_request_schema, v, buf.data, buf.length, &got, &arena),
            0);
        CU_ASSERT_STRING_EQUAL(got.key, key);
    }
    /* One byte more, by hand: the length is a varint of three bytes in front. */
    uint8_t *longer = buf_extend(&buf, 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(longer);
    memmove(buf.data + 4, buf.data + 3, buf.length - 4);
    buf.data[uvarint_put(buf.data, WIRE_STRING_BYTES_MAX + 2)] = 'k';
    CU_ASSERT_EQUAL(
        wire_decode(&find_coordinator_request_schema, 3, buf.data, buf.length, &got, &arena),
        -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "longer than 32767"));
    key[WIRE_STRING_BYTES_MAX] = 'k';
    buf_clear(&buf);
    buf_put(&buf, "kept", 4);
    CU_ASSERT_EQUAL(
        wire_encode(&find_coordinator_request_schema, 3, &request, &buf), -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(buf.length, 4);
    buf_fini(&buf);
    arena_fini(&arena);
}

static void
test_unknown_versions(void)
{
    struct arena arena;
    struct buf buf;
    struct produce_request request = {0};
    arena_init(&arena, ARENA_BYTES);
    buf_init(&buf);
    for (int16_t v = 2; v <= 12; v += 10) {
        CU_ASSERT_EQUAL(
            wire_encode(&produce_request_schema, v, &request, &buf), -BUS_ERR_UNSUPPORTED_VERSION);
        CU_ASSERT_EQUAL(DECODE(produce_request_schema, v, "\0", &request, &arena),
            -BUS_ERR_UNSUPPORTED_VERSION);
    }
    CU_ASSERT_EQUAL(buf.length, 0);
    buf_fini(&buf);
    arena_fini(&arena);
}

/* What left the codec with gaps, put together again, is what it writes without. */
static void
check_gaps(const struct schema *schema, int16_t version)
{
    struct arena arena;
    struct buf whole, thin, joined;
    encode_full(schema, version, &whole, &arena);
    buf_init(&thin);
    buf_init(&joined);
    struct wire_gaps gaps = {0};
    const void *put = filled_new(schema, FILLED_FULL, &arena);
    CU_ASSERT_PTR_NOT_NULL_FATAL(put);
    buf_put(&thin, "before", 6);
    CU_ASSERT_EQUAL(wire_encode_gaps(schema, version, put, &thin, &gaps), 0);
    size_t at = 6;
    for (size_t i = 0; i < gaps.count; i++) {
        buf_put(&joined, thin.data + at, gaps.items[i].at - at);
        buf_put(&joined, gaps.items[i].data, gaps.items[i].bytes);
        at = gaps.items[i].at;
    }
    buf_put(&joined, thin.data + at, thin.length - at);
    bool same = joined.length == whole.length &&
                (whole.length == 0 || memcmp(joined.data, whole.data, whole.length) == 0);
    holds_for(same, schema, version, "is the same with gaps");
    CU_ASSERT_EQUAL(thin.length - 6 + gaps.bytes, whole.length);
    bool has_records = schema == &produce_request_schema || schema == &fetch_response_schema;
    holds_for(gaps.count == (has_records ? 4 : 0), schema, version, "has a gap for each RECORDS");
    wire_gaps_fini(&gaps);
    buf_fini(&joined);
    buf_fini(&thin);
    buf_fini(&whole);
    arena_fini(&arena);
}

static void
test_gaps(void)
{
    each_message(check_gaps);
}

static void
test_gaps_after_failure(void)
{
    struct arena arena;
    struct buf buf;
    arena_init(&arena, ARENA_BYTES);
    buf_init(&buf);
    struct fetch_response_topic_partition partition = {.records = {(const uint8_t *)"abc", 3}};
    char *name = arena_alloc(&arena, WIRE_STRING_BYTES_MAX + 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(name);
    struct fetch_response_topic topics[2] = {
        {.topic = "a", .partitions = &partition, .partitions_count = 1},
        {.topic = name},
    };
    struct fetch_response response = {.responses = topics, .responses_count = 2};
    struct wire_gaps gaps = {0};
    CU_ASSERT_EQUAL(wire_encode_gaps(&fetch_response_schema, 11, &response, &buf, &gaps), 0);
    CU_ASSERT_EQUAL(gaps.count, 1);
    size_t length = buf.length;
    memset(name, 'x', WIRE_STRING_BYTES_MAX + 1);
    CU_ASSERT_EQUAL(wire_encode_gaps(&fetch_response_schema, 11, &response, &buf, &gaps),
        -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(buf.length, length);
    CU_ASSERT_EQUAL(gaps.count, 1);
    CU_ASSERT_EQUAL(gaps.bytes, 3);
    wire_gaps_fini(&gaps);
    buf_fini(&buf);
    arena_fini(&arena);
}

static void
test_uvarints(void)
{
    static const uint32_t values[] = {0, 1, 127, 128, 16383, 16384, 2097151, 2097152, 268435455,
        268435456, UINT32_MAX - 1, UINT32_MAX};
    uint8_t bytes[UVARINT_BYTES_MAX];
    uint32_t got;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        size_t n = uvarint_put(bytes, values[i]);
        CU_ASSERT_EQUAL(uvarint_get(bytes, n, &got), n);
        CU_ASSERT_EQUAL(got, values[i]);
        CU_ASSERT_EQUAL(uvarint_get(bytes, n - 1, &got), 0);
    }
    CU_ASSERT_EQUAL(uvarint_put(bytes, 300), 2);
    CU_ASSERT_EQUAL(memcmp(bytes, "\xac\x02", 2), 0);
    CU_ASSERT_EQUAL(uvarint_get((const uint8_t *)"\xff\xff\xff\xff\x10", 5, &got), 0);
    CU_ASSERT_EQUAL(uvarint_get((const uint8_t *)"\x80\x80\x80\x80\x80\0", 6, &got), 0);
}

static const struct unit_case cases[] = {
    {"every message of every version survives a round trip", test_round_trips},
    {"zeroed and initial structs are valid messages", test_zeroed_and_initial},
    {"a message cut off at any byte is refused", test_cut_anywhere},
    {"a message damaged at any byte is refused or another one", test_damaged_anywhere},
    {"a count beyond the message takes no memory", test_huge_counts},
    {"the arena bounds what a message may take", test_arena_limit},
    {"unknown tags are skipped", test_unknown_tags},
    {"malformed tags are refused", test_malformed_tags},
    {"NUL bytes, nulls and negative lengths are refused", test_refused_strings},
    {"strings have a longest length", test_longest_string},
    {"unknown versions are refused", test_unknown_versions},
    {"record payloads can be left out", test_gaps},
    {"a failed encode leaves buffer and gaps alone", test_gaps_after_failure},
    {"varints at their edges", test_uvarints},
    {NULL, NULL},
};

void
register_wire(void)
{
    unit_register("wire", cases);
}
