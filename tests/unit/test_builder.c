/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "record/batch.h"
#include "record/builder.h"
#include "record/codec.h"
#include "unit/unit.h"

#include <stdlib.h>
#include <string.h>

enum { CAPACITY = 1000, BYTES_MAX = 4000, LIMIT_BYTES = 1 << 20 };

/* The records of the batch written by hand in test_batch.c, with length, attributes and deltas. */
static const char golden_records[] = "\x18\0\0\0\2k\x0ahello\0"
                                     "\x14\0\x0a\2\1\1\2\2h\2v"
                                     "\x1a\0\1\4\0\2x\4\2a\1\2b\0";

static const struct builder_record plain = {.ts = 5, .key_bytes = -1, .value_bytes = -1};

static struct builder_record
value_of(const void *value, size_t n)
{
    return (struct builder_record){
        .ts = 5, .key_bytes = -1, .value = value, .value_bytes = (int32_t)n};
}

/* Finishes and verifies; the header in *h. */
static int
finish(struct batch_builder *b, struct batch_header *h)
{
    const void *batch;
    size_t bytes;
    int rc = builder_finish(b, &batch, &bytes);
    if (rc < 0)
        return rc;
    if (batch_header_read(batch, bytes, h) != BATCH_OK || batch_bytes(h) != bytes)
        return -1;
    struct buf scratch;
    buf_init(&scratch);
    rc = batch_verify(batch, bytes, h, &scratch, LIMIT_BYTES, BATCH_VERIFY_PRODUCE);
    buf_fini(&scratch);
    return rc;
}

static void
test_golden(void)
{
    static const struct builder_header one[] = {{"h", 1, "v", 1}};
    static const struct builder_header two[] = {{"a", 1, NULL, -1}, {"b", 1, "", 0}};
    static const struct builder_record records[] = {
        {1700000000000, "k", 1, "hello", 5, NULL, 0},
        {1700000000005, NULL, -1, NULL, -1, one, 1},
        {1699999999999, "", 0, "x", 1, two, 2},
    };
    struct batch_builder b;
    CU_ASSERT_EQUAL_FATAL(builder_init(&b, CAPACITY, BYTES_MAX), 0);
    for (size_t i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(builder_append(&b, &records[i]), BUILDER_OK);
    CU_ASSERT_EQUAL(builder_count(&b), 3);
    CU_ASSERT_EQUAL(builder_bytes(&b), 99);
    const void *batch;
    size_t bytes;
    CU_ASSERT_EQUAL(builder_finish(&b, &batch, &bytes), 0);
    CU_ASSERT_EQUAL_FATAL(bytes, 99);
    struct batch_header h;
    CU_ASSERT_EQUAL(batch_header_read(batch, bytes, &h), BATCH_OK);
    CU_ASSERT_EQUAL(h.crc, 0xb7e125a2);
    CU_ASSERT_EQUAL(h.base_offset, 0);
    CU_ASSERT_EQUAL(h.leader_epoch, -1);
    CU_ASSERT_EQUAL(h.base_timestamp, 1700000000000);
    CU_ASSERT_EQUAL(h.max_timestamp, 1700000000005);
    CU_ASSERT_EQUAL(memcmp((const char *)batch + BATCH_HEADER_BYTES, golden_records, 38), 0);
    builder_fini(&b);
}

static void
test_init_limits(void)
{
    struct batch_builder b;
    const size_t least = BATCH_HEADER_BYTES + BUILDER_RECORD_OVERHEAD_MAX;
    const int invalid = -BUS_ERR_INVALID_ARGUMENT;
    CU_ASSERT_EQUAL(builder_init(&b, least - 1, BYTES_MAX), invalid);
    CU_ASSERT_EQUAL(builder_init(&b, 101, 100), invalid);
    CU_ASSERT_EQUAL(builder_init(&b, 100, (size_t)INT32_MAX + 1), invalid);
    builder_fini(&b);
    CU_ASSERT_EQUAL(builder_init(&b, least, least), 0);
    builder_fini(&b);
    CU_ASSERT_EQUAL(builder_init(&b, least, INT32_MAX), 0);
    CU_ASSERT_EQUAL(builder_count(&b), 0);
    CU_ASSERT_EQUAL(builder_bytes(&b), BATCH_HEADER_BYTES);
    builder_fini(&b);
    builder_fini(&b);
}

/* A value so that a second record, of overhead 7 or 8, ends `off` bytes before the capacity. */
static int
second_append(struct batch_builder *b, size_t first, size_t off, size_t *bytes)
{
    static const uint8_t value[CAPACITY];
    const struct builder_options options = BUILDER_OPTIONS_PLAIN;
    builder_reset(b, &options);
    struct builder_record r = value_of(value, first);
    CU_ASSERT_EQUAL(builder_append(b, &r), BUILDER_OK);
    /* length 2, attributes, two deltas, key length, value length 2, header count: 9 */
    r = value_of(value, CAPACITY - builder_bytes(b) - 9 - off);
    int rc = builder_append(b, &r);
    *bytes = builder_bytes(b);
    return rc;
}

static void
test_capacity(void)
{
    struct batch_builder b;
    struct batch_header h;
    size_t bytes;
    CU_ASSERT_EQUAL_FATAL(builder_init(&b, CAPACITY, BYTES_MAX), 0);
    CU_ASSERT_EQUAL(second_append(&b, 300, 1, &bytes), BUILDER_OK);
    CU_ASSERT_EQUAL(bytes, CAPACITY - 1);
    CU_ASSERT_EQUAL(second_append(&b, 300, 0, &bytes), BUILDER_OK);
    CU_ASSERT_EQUAL(bytes, CAPACITY);
    CU_ASSERT_EQUAL(builder_append(&b, &plain), BUILDER_FULL);
    CU_ASSERT_EQUAL(builder_count(&b), 2);
    CU_ASSERT_EQUAL(finish(&b, &h), 0);
    CU_ASSERT_EQUAL(h.count, 2);
    CU_ASSERT_EQUAL(second_append(&b, 300, (size_t)-1, &bytes), BUILDER_FULL);
    CU_ASSERT_EQUAL(builder_count(&b), 1);
    CU_ASSERT_EQUAL(finish(&b, &h), 0);
    CU_ASSERT_EQUAL(h.count, 1);
    builder_fini(&b);
}

static void
test_single_large(void)
{
    static const uint8_t value[BYTES_MAX];
    struct batch_builder b;
    struct batch_header h;
    CU_ASSERT_EQUAL_FATAL(builder_init(&b, CAPACITY, BYTES_MAX), 0);
    /* The overhead of a record of this size is 9. */
    const size_t most = BYTES_MAX - BATCH_HEADER_BYTES - 9;
    struct builder_record r = value_of(value, most);
    CU_ASSERT_EQUAL(builder_append(&b, &r), BUILDER_OK);
    CU_ASSERT_EQUAL(builder_bytes(&b), BYTES_MAX);
    CU_ASSERT_EQUAL(builder_append(&b, &plain), BUILDER_FULL);
    CU_ASSERT_EQUAL(finish(&b, &h), 0);
    const struct builder_options options = BUILDER_OPTIONS_PLAIN;
    builder_reset(&b, &options);
    r.value_bytes++;
    CU_ASSERT_EQUAL(builder_append(&b, &r), -BUS_ERR_MESSAGE_TOO_LARGE);
    CU_ASSERT_EQUAL(builder_count(&b), 0);
    CU_ASSERT_EQUAL(builder_append(&b, &plain), BUILDER_OK);
    CU_ASSERT_EQUAL(builder_append(&b, &r), -BUS_ERR_MESSAGE_TOO_LARGE);
    r.value_bytes--;
    CU_ASSERT_EQUAL(builder_append(&b, &r), BUILDER_FULL);
    r.value_bytes = INT32_MAX;
    CU_ASSERT_EQUAL(builder_append(&b, &r), -BUS_ERR_MESSAGE_TOO_LARGE);
    r.key_bytes = INT32_MAX;
    CU_ASSERT_EQUAL(builder_append(&b, &r), -BUS_ERR_MESSAGE_TOO_LARGE);
    CU_ASSERT_EQUAL(finish(&b, &h), 0);
    CU_ASSERT_EQUAL(h.count, 1);
    builder_fini(&b);
}

/* Sizes around those where a length takes one byte more, in key and value. */
static void
test_sizes(void)
{
    static const int32_t sizes[] = {-1, 0, 1, 56, 57, 58, 63, 64, 65, 8180, 8191, 8192, 8193};
    enum { SIZES = sizeof sizes / sizeof sizes[0] };
    static uint8_t bytes[8193];
    memset(bytes, 'y', sizeof bytes);
    struct batch_builder b;
    struct batch_header h;
    CU_ASSERT_EQUAL_FATAL(builder_init(&b, 100000, 100000), 0);
    for (int i = 0; i < SIZES * SIZES; i++) {
        const struct builder_record r = {.ts = i,
            .key = bytes,
            .key_bytes = sizes[i % SIZES],
            .value = bytes,
            .value_bytes = sizes[i / SIZES]};
        const struct builder_options options = BUILDER_OPTIONS_PLAIN;
        builder_reset(&b, &options);
        for (int n = 0; n < 3; n++)
            CU_ASSERT_EQUAL(builder_append(&b, &r), BUILDER_OK);
        CU_ASSERT_EQUAL(finish(&b, &h), 0);
        CU_ASSERT_EQUAL(h.count, 3);
        size_t single = batch_single_bytes(r.key_bytes, r.value_bytes);
        CU_ASSERT_EQUAL(
            (builder_bytes(&b) - BATCH_HEADER_BYTES), 3 * (single - BATCH_HEADER_BYTES));
    }
    builder_fini(&b);
}

static void
test_many_offsets(void)
{
    struct batch_builder b;
    struct batch_header h;
    enum { RECORDS = 20000 };
    CU_ASSERT_EQUAL_FATAL(builder_init(&b, LIMIT_BYTES, LIMIT_BYTES), 0);
    for (int i = 0; i < RECORDS; i++)
        CU_ASSERT_EQUAL(builder_append(&b, &plain), BUILDER_OK);
    CU_ASSERT_EQUAL(finish(&b, &h), 0);
    CU_ASSERT_EQUAL(h.count, RECORDS);
    CU_ASSERT_EQUAL(h.last_offset_delta, RECORDS - 1);
    builder_fini(&b);
}

static void
test_timestamps(void)
{
    static const int64_t times[] = {0, 63, -64, 64, -65, INT64_MAX, INT64_MIN, -1, 1};
    enum { TIMES = sizeof times / sizeof times[0] };
    struct batch_builder b;
    CU_ASSERT_EQUAL_FATAL(builder_init(&b, CAPACITY, BYTES_MAX), 0);
    struct builder_record r = plain;
    for (size_t i = 0; i < TIMES; i++) {
        r.ts = times[i];
        CU_ASSERT_EQUAL(builder_append(&b, &r), BUILDER_OK);
    }
    const void *batch;
    size_t bytes;
    struct batch_header h;
    struct batch_iter it;
    struct record record;
    CU_ASSERT_EQUAL(builder_finish(&b, &batch, &bytes), 0);
    CU_ASSERT_EQUAL(batch_header_read(batch, bytes, &h), BATCH_OK);
    CU_ASSERT_EQUAL(h.base_timestamp, 0);
    CU_ASSERT_EQUAL(h.max_timestamp, INT64_MAX);
    CU_ASSERT_EQUAL(batch_iter_init(&it, batch, bytes, &h, NULL, 0), 0);
    for (size_t i = 0; i < TIMES; i++) {
        CU_ASSERT_EQUAL_FATAL(batch_iter_next(&it, &record), 1);
        CU_ASSERT_EQUAL(record.timestamp, times[i]);
    }
    builder_fini(&b);
}

static void
test_headers(void)
{
    struct batch_builder b;
    struct builder_header headers[70];
    for (size_t i = 0; i < 70; i++)
        headers[i] = (struct builder_header){"name", 4, "value", (int32_t)(i % 6)};
    struct builder_record r = {.ts = 5, .key_bytes = -1, .value_bytes = 0, .headers = headers};
    struct batch_header h;
    CU_ASSERT_EQUAL_FATAL(builder_init(&b, 100, BYTES_MAX), 0);
    for (r.header_count = 1; r.header_count <= 70; r.header_count++) {
        const struct builder_options options = BUILDER_OPTIONS_PLAIN;
        builder_reset(&b, &options);
        CU_ASSERT_EQUAL(builder_append(&b, &r), BUILDER_OK);
        CU_ASSERT_EQUAL(finish(&b, &h), 0);
    }
    r.header_count = -1;
    CU_ASSERT_EQUAL(builder_append(&b, &r), -BUS_ERR_INVALID_ARGUMENT);
    r.header_count = 2;
    headers[1].key_bytes = -1;
    CU_ASSERT_EQUAL(builder_append(&b, &r), -BUS_ERR_INVALID_ARGUMENT);
    CU_ASSERT_STRING_EQUAL(err_text(), "record: header 1 has no key");
    CU_ASSERT_EQUAL(builder_count(&b), 1);
    builder_fini(&b);
}

static void
test_options(void)
{
    struct batch_builder b;
    struct batch_header h;
    const struct builder_options options = {
        .log_append = true, .producer_id = 9, .producer_epoch = 3, .base_sequence = 77};
    CU_ASSERT_EQUAL_FATAL(builder_init(&b, CAPACITY, BYTES_MAX), 0);
    builder_reset(&b, &options);
    CU_ASSERT_EQUAL(builder_append(&b, &plain), BUILDER_OK);
    CU_ASSERT_EQUAL(finish(&b, &h), 0);
    CU_ASSERT_EQUAL(h.attributes, BATCH_ATTR_LOG_APPEND);
    CU_ASSERT_EQUAL(h.producer_id, 9);
    CU_ASSERT_EQUAL(h.producer_epoch, 3);
    CU_ASSERT_EQUAL(h.base_sequence, 77);
    builder_set_producer(&b, 10, 4, 78);
    CU_ASSERT_EQUAL(finish(&b, &h), 0);
    CU_ASSERT_EQUAL(h.producer_id, 10);
    CU_ASSERT_EQUAL(h.producer_epoch, 4);
    CU_ASSERT_EQUAL(h.base_sequence, 78);
    builder_fini(&b);
}

static void
test_finish(void)
{
    struct batch_builder b;
    struct batch_header h;
    CU_ASSERT_EQUAL_FATAL(builder_init(&b, CAPACITY, BYTES_MAX), 0);
    CU_ASSERT_EQUAL(finish(&b, &h), -BUS_ERR_WRONG_STATE);
    CU_ASSERT_EQUAL(builder_append(&b, &plain), BUILDER_OK);
    CU_ASSERT_EQUAL(finish(&b, &h), 0);
    uint32_t crc = h.crc;
    CU_ASSERT_EQUAL(finish(&b, &h), 0);
    CU_ASSERT_EQUAL(h.crc, crc);
    CU_ASSERT_EQUAL(builder_append(&b, &plain), BUILDER_OK);
    CU_ASSERT_EQUAL(finish(&b, &h), 0);
    CU_ASSERT_EQUAL(h.count, 2);
    builder_fini(&b);
}

static void
test_compression(void)
{
    static uint8_t value[500];
    struct batch_builder b;
    struct batch_header h;
    CU_ASSERT_EQUAL_FATAL(builder_init(&b, CAPACITY, BYTES_MAX), 0);
    struct builder_options options = BUILDER_OPTIONS_PLAIN;
    struct builder_record r = value_of(value, sizeof value);
    for (options.codec = CODEC_GZIP; options.codec < CODEC_COUNT; options.codec++) {
        if (!codec_available(options.codec))
            continue;
        builder_reset(&b, &options);
        CU_ASSERT_EQUAL(builder_append(&b, &r), BUILDER_OK);
        CU_ASSERT_EQUAL(finish(&b, &h), 0);
        CU_ASSERT_EQUAL(batch_codec(&h), options.codec);
        CU_ASSERT(batch_bytes(&h) < builder_bytes(&b));
        /* What does not shrink is not compressed. */
        builder_reset(&b, &options);
        CU_ASSERT_EQUAL(builder_append(&b, &plain), BUILDER_OK);
        CU_ASSERT_EQUAL(finish(&b, &h), 0);
        CU_ASSERT_EQUAL(batch_codec(&h), CODEC_NONE);
        CU_ASSERT_EQUAL(batch_bytes(&h), builder_bytes(&b));
    }
    options.codec = CODEC_COUNT;
    builder_reset(&b, &options);
    CU_ASSERT_EQUAL(builder_append(&b, &plain), BUILDER_OK);
    CU_ASSERT_EQUAL(finish(&b, &h), -BUS_ERR_UNSUPPORTED_CODEC);
    builder_fini(&b);
}

/* Written in place, value last, it is the batch that the builder makes. */
static void
single_like_builder(struct batch_builder *b, int32_t key_bytes, int32_t value_bytes, bool append)
{
    static uint8_t bytes[300];
    memset(bytes, 'z', sizeof bytes);
    const struct batch_single single = {.ts = 123456,
        .key = bytes,
        .key_bytes = key_bytes,
        .value_bytes = value_bytes,
        .log_append = append,
        .producer_id = 4,
        .producer_epoch = 2,
        .base_sequence = 1};
    size_t n = batch_single_bytes(key_bytes, value_bytes);
    uint8_t *room = malloc(n + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(room);
    uint8_t *dst = room + 1;
    size_t at = batch_single_begin(dst, &single);
    if (value_bytes > 0)
        memcpy(dst + at, bytes, (size_t)value_bytes);
    batch_single_finish(dst, n);
    const struct builder_options options = {
        .log_append = append, .producer_id = 4, .producer_epoch = 2, .base_sequence = 1};
    builder_reset(b, &options);
    const struct builder_record r = {.ts = 123456,
        .key = bytes,
        .key_bytes = key_bytes,
        .value = bytes,
        .value_bytes = value_bytes};
    CU_ASSERT_EQUAL(builder_append(b, &r), BUILDER_OK);
    const void *batch;
    size_t batch_n;
    CU_ASSERT_EQUAL(builder_finish(b, &batch, &batch_n), 0);
    CU_ASSERT(batch_n == n && memcmp(batch, dst, n) == 0);
    free(room);
}

static void
test_single(void)
{
    struct batch_builder b;
    CU_ASSERT_EQUAL_FATAL(builder_init(&b, CAPACITY, BYTES_MAX), 0);
    for (int32_t value_bytes = -1; value_bytes <= 300; value_bytes++) {
        single_like_builder(&b, -1, value_bytes, false);
        single_like_builder(&b, 0, value_bytes, true);
        single_like_builder(&b, value_bytes, value_bytes, false);
    }
    builder_fini(&b);
}

static const struct unit_case cases[] = {
    {"the batch written by hand comes out", test_golden},
    {"sizes out of range are refused", test_init_limits},
    {"a batch is full at its capacity", test_capacity},
    {"a single record may exceed the capacity up to a limit", test_single_large},
    {"keys and values of every length class survive", test_sizes},
    {"offset deltas of every length class survive", test_many_offsets},
    {"timestamps survive in any order", test_timestamps},
    {"headers are written or refused", test_headers},
    {"options reach the header", test_options},
    {"a batch may be finished again", test_finish},
    {"compression is used where it helps", test_compression},
    {"a batch written in place is the same", test_single},
    {NULL, NULL},
};

void
register_builder(void)
{
    unit_register("builder", cases);
}
