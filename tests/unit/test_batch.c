/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "base/err.h"
#include "record/batch.h"
#include "record/builder.h"
#include "record/codec.h"
#include "record/crc32c.h"
#include "unit/unit.h"

#include <stdlib.h>
#include <string.h>

/* Written by hand from the format; the CRC by a program of a few lines that shares nothing with
 * ours. Offsets 100 to 102, leader epoch 7, CreateTime, no producer id. */
static const uint8_t golden[] = {
    0x00,
    0x00,
    0x00,
    0x00,
    0x00,
    0x00,
    0x00,
    0x64, /* base offset 100 */
    0x00,
    0x00,
    0x00,
    0x57, /* length 87 */
    0x00,
    0x00,
    0x00,
    0x07, /* leader epoch 7 */
    0x02, /* magic */
    0xb7,
    0xe1,
    0x25,
    0xa2, /* CRC */
    0x00,
    0x00, /* attributes */
    0x00,
    0x00,
    0x00,
    0x02, /* last offset delta */
    0x00,
    0x00,
    0x01,
    0x8b,
    0xcf,
    0xe5,
    0x68,
    0x00, /* base timestamp 1700000000000 */
    0x00,
    0x00,
    0x01,
    0x8b,
    0xcf,
    0xe5,
    0x68,
    0x05, /* max timestamp 1700000000005 */
    0xff,
    0xff,
    0xff,
    0xff,
    0xff,
    0xff,
    0xff,
    0xff, /* producer id -1 */
    0xff,
    0xff, /* producer epoch -1 */
    0xff,
    0xff,
    0xff,
    0xff, /* base sequence -1 */
    0x00,
    0x00,
    0x00,
    0x03, /* count */
    /* length 12, attributes, timestamp +0, offset +0, key "k", value "hello", no headers */
    0x18,
    0x00,
    0x00,
    0x00,
    0x02,
    'k',
    0x0a,
    'h',
    'e',
    'l',
    'l',
    'o',
    0x00,
    /* length 10, attributes, timestamp +5, offset +1, key null, value null, a header h: v */
    0x14,
    0x00,
    0x0a,
    0x02,
    0x01,
    0x01,
    0x02,
    0x02,
    'h',
    0x02,
    'v',
    /* length 13, attributes, timestamp -1, offset +2, key "", value "x", headers a: null, b: "" */
    0x1a,
    0x00,
    0x01,
    0x04,
    0x00,
    0x02,
    'x',
    0x04,
    0x02,
    'a',
    0x01,
    0x02,
    'b',
    0x00,
};

enum { RAW_BYTES_MAX = 4096, LIMIT_BYTES = 1 << 20 };

/* A batch that a test damages. */
struct raw {
    uint8_t bytes[RAW_BYTES_MAX];
    size_t n;
};

static void
raw_golden(struct raw *raw)
{
    memcpy(raw->bytes, golden, sizeof golden);
    raw->n = sizeof golden;
}

/* Length and CRC after a change. */
static void
raw_seal(struct raw *raw)
{
    bytes_put_i32(raw->bytes + BATCH_AT_LENGTH, (int32_t)raw->n - BATCH_OVERHEAD_BYTES);
    batch_seal(raw->bytes, raw->n);
}

/* A batch of `count` records, given encoded, the last with offset delta `last`. */
static void
raw_make(struct raw *raw, const void *records, size_t n, int32_t count, int32_t last)
{
    const struct batch_header h = {
        .leader_epoch = -1,
        .magic = BATCH_MAGIC,
        .last_offset_delta = last,
        .base_timestamp = 1000,
        .max_timestamp = 2000,
        .producer_id = -1,
        .producer_epoch = -1,
        .base_sequence = -1,
        .count = count,
    };
    batch_header_write(raw->bytes, &h);
    if (n > 0)
        memcpy(raw->bytes + BATCH_HEADER_BYTES, records, n);
    raw->n = BATCH_HEADER_BYTES + n;
    raw_seal(raw);
}

static int
raw_verify(const struct raw *raw, unsigned flags)
{
    struct batch_header h;
    int rc = batch_header_read(raw->bytes, raw->n, &h);
    if (rc != BATCH_OK)
        return rc;
    struct buf scratch;
    buf_init(&scratch);
    rc = batch_verify(raw->bytes, raw->n, &h, &scratch, LIMIT_BYTES, flags);
    buf_fini(&scratch);
    return rc;
}

/* Verifies a batch of these records. */
static int
verify_records(const char *records, size_t n, int32_t count, int32_t last, unsigned flags)
{
    struct raw raw;
    raw_make(&raw, records, n, count, last);
    return raw_verify(&raw, flags);
}

static bool
text_says(const char *words)
{
    return strstr(err_text(), words) != NULL;
}

static void
test_header_fields(void)
{
    struct batch_header h;
    CU_ASSERT_EQUAL(batch_header_read(golden, sizeof golden, &h), BATCH_OK);
    CU_ASSERT_EQUAL(h.base_offset, 100);
    CU_ASSERT_EQUAL(h.length, 87);
    CU_ASSERT_EQUAL(h.leader_epoch, 7);
    CU_ASSERT_EQUAL(h.magic, 2);
    CU_ASSERT_EQUAL(h.crc, 0xb7e125a2);
    CU_ASSERT_EQUAL(h.attributes, 0);
    CU_ASSERT_EQUAL(h.last_offset_delta, 2);
    CU_ASSERT_EQUAL(h.base_timestamp, 1700000000000);
    CU_ASSERT_EQUAL(h.max_timestamp, 1700000000005);
    CU_ASSERT_EQUAL(h.producer_id, -1);
    CU_ASSERT_EQUAL(h.producer_epoch, -1);
    CU_ASSERT_EQUAL(h.base_sequence, -1);
    CU_ASSERT_EQUAL(h.count, 3);
    CU_ASSERT_EQUAL(batch_bytes(&h), sizeof golden);
    CU_ASSERT_EQUAL(batch_next_offset(&h), 103);
    CU_ASSERT_EQUAL(batch_codec(&h), CODEC_NONE);
    uint8_t again[sizeof golden];
    memcpy(again, golden, sizeof golden);
    memset(again, 0xaa, BATCH_HEADER_BYTES);
    batch_header_write(again, &h);
    CU_ASSERT_EQUAL(memcmp(again, golden, sizeof golden), 0);
}

static void
test_header_short(void)
{
    struct batch_header h;
    for (size_t n = 0; n < sizeof golden; n++) {
        uint8_t *cut = malloc(n + 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(cut);
        memcpy(cut + 1, golden, n); /* odd addresses as well */
        CU_ASSERT_EQUAL(batch_header_read(cut + 1, n, &h), BATCH_SHORT);
        CU_ASSERT_EQUAL(h.length, n < BATCH_HEADER_BYTES ? 0 : 87);
        CU_ASSERT_EQUAL(h.base_offset, n < BATCH_HEADER_BYTES ? 0 : 100);
        free(cut);
    }
}

static void
test_header_end(void)
{
    static const uint8_t zeroes[BATCH_HEADER_BYTES];
    struct batch_header h;
    CU_ASSERT_EQUAL(batch_header_read(zeroes, BATCH_OVERHEAD_BYTES - 1, &h), BATCH_SHORT);
    CU_ASSERT_EQUAL(batch_header_read(zeroes, BATCH_OVERHEAD_BYTES, &h), BATCH_END);
    CU_ASSERT_EQUAL(batch_header_read(zeroes, sizeof zeroes, &h), BATCH_END);
}

/* The golden batch with one field changed. */
static int
read_with(size_t at, size_t width, int64_t value)
{
    struct raw raw;
    raw_golden(&raw);
    for (size_t i = 0; i < width; i++)
        raw.bytes[at + i] = (uint8_t)((uint64_t)value >> (8 * (width - 1 - i)));
    struct batch_header h;
    return batch_header_read(raw.bytes, raw.n, &h);
}

static void
test_header_refuses(void)
{
    const int corrupt = -BUS_ERR_CORRUPT_MESSAGE;
    CU_ASSERT_EQUAL(read_with(BATCH_AT_LENGTH, 4, 48), corrupt);
    CU_ASSERT_EQUAL(read_with(BATCH_AT_LENGTH, 4, 49), BATCH_OK);
    CU_ASSERT_EQUAL(read_with(BATCH_AT_LENGTH, 4, 88), BATCH_SHORT);
    CU_ASSERT_EQUAL(read_with(BATCH_AT_LENGTH, 4, INT32_MAX), BATCH_SHORT);
    CU_ASSERT_EQUAL(read_with(BATCH_AT_LENGTH, 4, -1), corrupt);
    CU_ASSERT_EQUAL(read_with(BATCH_AT_LENGTH, 4, INT32_MIN), corrupt);
    for (int magic = -128; magic < 128; magic++)
        CU_ASSERT_EQUAL(read_with(BATCH_AT_MAGIC, 1, magic), magic == 2 ? BATCH_OK : corrupt);
    for (int codec = 0; codec < 8; codec++)
        CU_ASSERT_EQUAL(read_with(BATCH_AT_ATTRIBUTES, 2, codec), codec < 5 ? BATCH_OK : corrupt);
    CU_ASSERT_EQUAL(read_with(BATCH_AT_LAST_OFFSET_DELTA, 4, -1), corrupt);
    CU_ASSERT_EQUAL(read_with(BATCH_AT_LAST_OFFSET_DELTA, 4, 1), corrupt);
    CU_ASSERT_EQUAL(read_with(BATCH_AT_LAST_OFFSET_DELTA, 4, INT32_MAX), BATCH_OK);
    CU_ASSERT_EQUAL(read_with(BATCH_AT_COUNT, 4, -1), corrupt);
    CU_ASSERT_EQUAL(read_with(BATCH_AT_COUNT, 4, 0), BATCH_OK);
    CU_ASSERT_EQUAL(read_with(BATCH_AT_COUNT, 4, 4), corrupt);
    CU_ASSERT_EQUAL(read_with(BATCH_AT_BASE_OFFSET, 8, -1), corrupt);
    CU_ASSERT_EQUAL(read_with(BATCH_AT_BASE_OFFSET, 8, INT64_MAX - 3), BATCH_OK);
    CU_ASSERT_EQUAL(read_with(BATCH_AT_BASE_OFFSET, 8, INT64_MAX - 2), corrupt);
    CU_ASSERT_EQUAL(read_with(BATCH_AT_BASE_OFFSET, 8, INT64_MAX), corrupt);
}

static void
test_crc(void)
{
    struct raw raw;
    raw_golden(&raw);
    CU_ASSERT(batch_crc_ok(raw.bytes, raw.n));
    CU_ASSERT_FALSE(batch_crc_ok(raw.bytes, raw.n - 1));
    CU_ASSERT_FALSE(batch_crc_ok(raw.bytes, BATCH_HEADER_BYTES - 1));
    unsigned wrong = 0;
    for (size_t at = 0; at < raw.n; at++) {
        bool covered = at >= BATCH_AT_CRC;
        raw.bytes[at] ^= 0x10;
        wrong += batch_crc_ok(raw.bytes, raw.n) == covered;
        raw.bytes[at] ^= 0x10;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void
test_patch(void)
{
    struct raw raw;
    raw_golden(&raw);
    batch_patch(raw.bytes, 0x0102030405060708, 0x0a0b0c0d);
    CU_ASSERT_EQUAL(memcmp(raw.bytes, "\1\2\3\4\5\6\7\10", 8), 0);
    CU_ASSERT_EQUAL(memcmp(raw.bytes + 8, golden + 8, 4), 0);
    CU_ASSERT_EQUAL(memcmp(raw.bytes + 12, "\x0a\x0b\x0c\x0d", 4), 0);
    CU_ASSERT_EQUAL(memcmp(raw.bytes + 16, golden + 16, sizeof golden - 16), 0);
    CU_ASSERT(batch_crc_ok(raw.bytes, raw.n));
}

static void
test_log_append(void)
{
    struct raw raw;
    raw_golden(&raw);
    batch_stamp_log_append(raw.bytes, raw.n, 1800000000000);
    CU_ASSERT(batch_crc_ok(raw.bytes, raw.n));
    struct batch_header h;
    CU_ASSERT_EQUAL(batch_header_read(raw.bytes, raw.n, &h), BATCH_OK);
    CU_ASSERT_EQUAL(h.attributes, BATCH_ATTR_LOG_APPEND);
    CU_ASSERT_EQUAL(h.max_timestamp, 1800000000000);
    CU_ASSERT_EQUAL(h.base_timestamp, 1700000000000);
    struct batch_iter it;
    struct record record;
    CU_ASSERT_EQUAL(batch_iter_init(&it, raw.bytes, raw.n, &h, NULL, 0), 0);
    int records = 0;
    for (; batch_iter_next(&it, &record) > 0; records++)
        CU_ASSERT_EQUAL(record.timestamp, 1800000000000);
    CU_ASSERT_EQUAL(records, 3);
}

static bool
is(const uint8_t *bytes, int32_t n, const char *text)
{
    if (!text)
        return n == -1 && bytes == NULL;
    return n == (int32_t)strlen(text) && memcmp(bytes, text, strlen(text)) == 0;
}

static void
expect_headers(const struct record *record, const char *const *texts)
{
    struct record_header_cursor cursor = {0};
    struct record_header header;
    int32_t count = 0;
    for (; record_header_next(record, &cursor, &header) > 0; count++, texts += 2) {
        CU_ASSERT(is(header.key, header.key_bytes, texts[0]));
        CU_ASSERT(is(header.value, header.value_bytes, texts[1]));
    }
    CU_ASSERT_EQUAL(count, record->header_count);
    CU_ASSERT_EQUAL(record_header_next(record, &cursor, &header), 0);
}

static void
test_iterate(void)
{
    static const struct {
        int64_t timestamp;
        const char *key, *value;
        int32_t header_count;
        const char *headers[4];
    } expected[] = {
        {1700000000000, "k", "hello", 0, {NULL}},
        {1700000000005, NULL, NULL, 1, {"h", "v"}},
        {1699999999999, "", "x", 2, {"a", NULL, "b", ""}},
    };
    struct batch_header h;
    struct batch_iter it;
    struct record record;
    CU_ASSERT_EQUAL_FATAL(batch_header_read(golden, sizeof golden, &h), BATCH_OK);
    CU_ASSERT_EQUAL(batch_iter_init(&it, golden, sizeof golden, &h, NULL, 0), 0);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL_FATAL(batch_iter_next(&it, &record), 1);
        CU_ASSERT_EQUAL(record.offset, 100 + i);
        CU_ASSERT_EQUAL(record.timestamp, expected[i].timestamp);
        CU_ASSERT(is(record.key, record.key_bytes, expected[i].key));
        CU_ASSERT(is(record.value, record.value_bytes, expected[i].value));
        CU_ASSERT_EQUAL(record.header_count, expected[i].header_count);
        expect_headers(&record, expected[i].headers);
    }
    CU_ASSERT_EQUAL(batch_iter_next(&it, &record), 0);
    CU_ASSERT_EQUAL(batch_iter_next(&it, &record), 0);
}

/* Every value of every byte of the records: whatever comes out lies within the batch. The memory
 * is exactly as large as the batch, so that a sanitizer sees the first byte beyond it. */
static void
test_iterate_damaged(void)
{
    uint8_t *bytes = malloc(sizeof golden);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    memcpy(bytes, golden, sizeof golden);
    struct batch_header h;
    CU_ASSERT_EQUAL(batch_header_read(bytes, sizeof golden, &h), BATCH_OK);
    unsigned outside = 0;
    for (size_t at = BATCH_HEADER_BYTES; at < sizeof golden; at++)
        for (unsigned value = 0; value < 256; value++) {
            bytes[at] = (uint8_t)value;
            struct batch_iter it;
            struct record record;
            int64_t previous = 99;
            CU_ASSERT_EQUAL(batch_iter_init(&it, bytes, sizeof golden, &h, NULL, 0), 0);
            while (batch_iter_next(&it, &record) > 0) {
                struct record_header_cursor cursor = {0};
                struct record_header header;
                while (record_header_next(&record, &cursor, &header) > 0)
                    outside +=
                        header.key < bytes || header.key + header.key_bytes > bytes + sizeof golden;
                outside += record.offset <= previous || record.offset > 102;
                outside += record.value_bytes >= 0 &&
                           (record.value < bytes ||
                               record.value + record.value_bytes > bytes + sizeof golden);
                previous = record.offset;
            }
            CU_ASSERT_EQUAL(batch_iter_next(&it, &record), 0);
            bytes[at] = golden[at];
        }
    CU_ASSERT_EQUAL(outside, 0);
    free(bytes);
}

static void
test_iterate_cut(void)
{
    struct raw raw;
    struct batch_iter it;
    struct record record;
    for (size_t n = BATCH_HEADER_BYTES; n < sizeof golden; n++) {
        raw_golden(&raw);
        raw.n = n;
        raw_seal(&raw);
        struct batch_header h;
        CU_ASSERT_EQUAL(batch_header_read(raw.bytes, raw.n, &h), BATCH_OK);
        CU_ASSERT_EQUAL(batch_iter_init(&it, raw.bytes, raw.n, &h, NULL, 0), 0);
        int rc;
        while ((rc = batch_iter_next(&it, &record)) > 0)
            continue;
        CU_ASSERT_EQUAL(rc, -BUS_ERR_CORRUPT_MESSAGE);
        CU_ASSERT_EQUAL(raw_verify(&raw, 0), -BUS_ERR_CORRUPT_MESSAGE);
    }
    struct batch_header h = {.count = 1};
    CU_ASSERT_EQUAL(batch_iter_init(&it, golden, BATCH_HEADER_BYTES - 1, &h, NULL, 0),
        -BUS_ERR_CORRUPT_MESSAGE);
    CU_ASSERT_EQUAL(batch_iter_next(&it, &record), 0);
}

/* One record, `offset` and all lengths as given: key "", value "v". */
#define RECORD(offset) "\x0e\0\0" offset "\0\2v\0"

static void
test_verify_accepts(void)
{
    struct raw raw;
    raw_golden(&raw);
    CU_ASSERT_EQUAL(raw_verify(&raw, 0), 0);
    static const char two[] = RECORD("\0") RECORD("\2");
    CU_ASSERT_EQUAL(verify_records(two, 16, 2, 1, BATCH_VERIFY_PRODUCE | BATCH_VERIFY_KEYS), 0);
    /* What compaction leaves: holes, a last record gone, all records gone. */
    static const char holes[] = RECORD("\2") RECORD("\10");
    CU_ASSERT_EQUAL(verify_records(holes, 16, 2, 9, 0), 0);
    CU_ASSERT_EQUAL(verify_records(holes, 16, 2, 9, BATCH_VERIFY_PRODUCE), -BUS_ERR_INVALID_RECORD);
    CU_ASSERT_EQUAL(verify_records(NULL, 0, 0, 9, 0), 0);
    CU_ASSERT_EQUAL(verify_records(NULL, 0, 0, 9, BATCH_VERIFY_PRODUCE), -BUS_ERR_INVALID_RECORD);
}

static void
test_verify_structure(void)
{
    const int corrupt = -BUS_ERR_CORRUPT_MESSAGE;
    static const char same[] = RECORD("\0") RECORD("\0");
    CU_ASSERT_EQUAL(verify_records(same, 16, 2, 1, 0), corrupt);
    CU_ASSERT(text_says("record 1 of 2"));
    static const char falling[] = RECORD("\2") RECORD("\0");
    CU_ASSERT_EQUAL(verify_records(falling, 16, 2, 1, 0), corrupt);
    static const char beyond[] = RECORD("\0") RECORD("\4");
    CU_ASSERT_EQUAL(verify_records(beyond, 16, 2, 1, 0), corrupt);
    static const char negative[] = RECORD("\1");
    CU_ASSERT_EQUAL(verify_records(negative, 8, 1, 0, 0), corrupt);
    CU_ASSERT(text_says("record 0 of 1"));
    static const char two[] = RECORD("\0") RECORD("\2");
    CU_ASSERT_EQUAL(verify_records(two, 16, 1, 1, 0), corrupt);
    CU_ASSERT(text_says("8 bytes follow"));
    CU_ASSERT_EQUAL(verify_records(two, 15, 2, 1, 0), corrupt);
    CU_ASSERT_EQUAL(verify_records(two, 8, 2, 1, 0), corrupt);
    CU_ASSERT_EQUAL(verify_records("\0", 1, 0, 0, 0), corrupt);
}

static void
test_verify_lengths(void)
{
    const int corrupt = -BUS_ERR_CORRUPT_MESSAGE;
    CU_ASSERT_EQUAL(verify_records("\x0e\0\0\0\0\2v\0", 8, 1, 0, 0), 0);
    CU_ASSERT_EQUAL(verify_records("\x10\0\0\0\0\2v\0", 8, 1, 0, 0), corrupt);
    CU_ASSERT_EQUAL(verify_records("\x0c\0\0\0\0\2v\0", 8, 1, 0, 0), corrupt);
    CU_ASSERT_EQUAL(verify_records("\0\0\0\0\0\2v\0", 8, 1, 0, 0), corrupt);
    CU_ASSERT_EQUAL(verify_records("\1\0\0\0\0\2v\0", 8, 1, 0, 0), corrupt);
    /* Key and value of a length below -1, and beyond the record. */
    CU_ASSERT_EQUAL(verify_records("\x0e\0\0\0\3\2v\0", 8, 1, 0, 0), corrupt);
    CU_ASSERT_EQUAL(verify_records("\x0e\0\0\0\x08\2v\0", 8, 1, 0, 0), corrupt);
    CU_ASSERT_EQUAL(verify_records("\x0e\0\0\0\0\3v\0", 8, 1, 0, 0), corrupt);
    CU_ASSERT_EQUAL(verify_records("\x0e\0\0\0\0\x06v\0", 8, 1, 0, 0), corrupt);
    /* A value up to the very end, with no room for the header count. */
    CU_ASSERT_EQUAL(verify_records("\x0e\0\0\0\0\4vv", 8, 1, 0, 0), corrupt);
    /* A length of 2^31 - 1 and one of 33 bits. */
    CU_ASSERT_EQUAL(verify_records("\xfe\xff\xff\xff\x0f\0\0\0\0\0\0", 11, 1, 0, 0), corrupt);
    CU_ASSERT_EQUAL(verify_records("\xfe\xff\xff\xff\x1f\0\0\0\0\0\0", 11, 1, 0, 0), corrupt);
}

/* A record with these header bytes, count first. */
static int
verify_headers(const char *headers, size_t n)
{
    uint8_t bytes[64] = {(uint8_t)((6 + n) << 1), 0, 0, 0, 0, 2, 'v'};
    memcpy(bytes + 7, headers, n);
    return verify_records((const char *)bytes, 7 + n, 1, 0, 0);
}

static void
test_verify_headers(void)
{
    const int corrupt = -BUS_ERR_CORRUPT_MESSAGE;
    CU_ASSERT_EQUAL(verify_headers("\2\2h\2v", 5), 0);
    CU_ASSERT_EQUAL(verify_headers("\2\0\0", 3), 0);
    CU_ASSERT_EQUAL(verify_headers("\2\0\1", 3), 0);
    CU_ASSERT_EQUAL(verify_headers("\2\1\0", 3), corrupt);
    CU_ASSERT(text_says("header 0 of 1"));
    CU_ASSERT(text_says("record 0"));
    CU_ASSERT_EQUAL(verify_headers("\1", 1), corrupt);
    CU_ASSERT_EQUAL(verify_headers("\0\0", 2), corrupt);
    CU_ASSERT_EQUAL(verify_headers("\2", 1), corrupt);
    CU_ASSERT_EQUAL(verify_headers("\2\0", 2), corrupt);
    CU_ASSERT_EQUAL(verify_headers("\2\0\0\0\0", 5), corrupt);
    CU_ASSERT_EQUAL(verify_headers("\4\0\0", 3), corrupt);
    CU_ASSERT_EQUAL(verify_headers("\4\2h\2", 4), corrupt);
    CU_ASSERT_EQUAL(verify_headers("\2\2h\4v", 5), corrupt);
    CU_ASSERT_EQUAL(verify_headers("\xfe\xff\xff\xff\x0f\0\0", 7), corrupt);
}

static void
test_verify_produce(void)
{
    const int invalid = -BUS_ERR_INVALID_RECORD;
    static const char one[] = RECORD("\0");
    struct raw raw;
    raw_make(&raw, one, 8, 1, 0);
    CU_ASSERT_EQUAL(raw_verify(&raw, BATCH_VERIFY_PRODUCE), 0);
    batch_patch(raw.bytes, 1, -1);
    CU_ASSERT_EQUAL(raw_verify(&raw, BATCH_VERIFY_PRODUCE), invalid);
    CU_ASSERT_EQUAL(raw_verify(&raw, 0), 0);
    raw_make(&raw, one, 8, 1, 0);
    bytes_put_i16(raw.bytes + BATCH_AT_ATTRIBUTES, BATCH_ATTR_CONTROL);
    raw_seal(&raw);
    CU_ASSERT_EQUAL(raw_verify(&raw, BATCH_VERIFY_PRODUCE), invalid);
    CU_ASSERT_EQUAL(raw_verify(&raw, 0), 0);
    raw_make(&raw, one, 8, 1, 0);
    bytes_put_i64(raw.bytes + BATCH_AT_PRODUCER_ID, 0);
    raw_seal(&raw);
    CU_ASSERT_EQUAL(raw_verify(&raw, BATCH_VERIFY_PRODUCE), invalid);
    bytes_put_i32(raw.bytes + BATCH_AT_BASE_SEQUENCE, 0);
    raw_seal(&raw);
    CU_ASSERT_EQUAL(raw_verify(&raw, BATCH_VERIFY_PRODUCE), 0);
    raw.bytes[BATCH_AT_COUNT] ^= 1;
    CU_ASSERT_EQUAL(raw_verify(&raw, BATCH_VERIFY_PRODUCE), -BUS_ERR_CORRUPT_MESSAGE);
}

static void
test_verify_keys(void)
{
    static const char keyless[] = RECORD("\0") "\x0e\0\0\2\1\2v\0";
    CU_ASSERT_EQUAL(verify_records(keyless, 16, 2, 1, BATCH_VERIFY_PRODUCE), 0);
    CU_ASSERT_EQUAL(verify_records(keyless, 16, 2, 1, BATCH_VERIFY_KEYS), -BUS_ERR_INVALID_RECORD);
    CU_ASSERT(text_says("record 1: has no key"));
}

static void
test_verify_timestamps(void)
{
    /* The batch has base 1000 and maximum 2000. */
    static const char at_most[] = "\x10\0\xd0\x0f\0\0\2v\0";
    static const char above[] = "\x10\0\xd2\x0f\0\0\2v\0";
    CU_ASSERT_EQUAL(verify_records(at_most, 9, 1, 0, 0), 0);
    CU_ASSERT_EQUAL(verify_records(above, 9, 1, 0, 0), -BUS_ERR_CORRUPT_MESSAGE);
    CU_ASSERT_EQUAL(
        verify_records(above, 9, 1, 0, BATCH_VERIFY_PRODUCE), -BUS_ERR_INVALID_TIMESTAMP);
    CU_ASSERT(text_says("record 0"));
    struct raw raw;
    raw_make(&raw, above, 9, 1, 0);
    batch_stamp_log_append(raw.bytes, raw.n, 5);
    CU_ASSERT_EQUAL(raw_verify(&raw, 0), 0);
}

/* The golden batch with its records compressed. */
static void
raw_compressed(struct raw *raw, int codec)
{
    struct buf packed;
    buf_init(&packed);
    size_t head = BATCH_HEADER_BYTES;
    CU_ASSERT_EQUAL_FATAL(
        codec_compress(codec, 0, golden + head, sizeof golden - head, &packed), 0);
    memcpy(raw->bytes, golden, head);
    memcpy(raw->bytes + head, packed.data, packed.length);
    raw->n = head + packed.length;
    bytes_put_i16(raw->bytes + BATCH_AT_ATTRIBUTES, (int16_t)codec);
    raw_seal(raw);
    buf_fini(&packed);
}

static void
test_compressed(void)
{
    struct raw raw;
    struct batch_header h;
    struct batch_iter it;
    struct record record;
    struct buf scratch;
    buf_init(&scratch);
    const size_t records_bytes = sizeof golden - BATCH_HEADER_BYTES;
    for (int codec = CODEC_GZIP; codec < CODEC_COUNT; codec++) {
        if (!codec_available(codec))
            continue;
        raw_compressed(&raw, codec);
        CU_ASSERT_EQUAL(raw_verify(&raw, 0), 0);
        CU_ASSERT_EQUAL(batch_header_read(raw.bytes, raw.n, &h), BATCH_OK);
        CU_ASSERT_EQUAL(batch_codec(&h), codec);
        CU_ASSERT_EQUAL(batch_iter_init(&it, raw.bytes, raw.n, &h, &scratch, records_bytes - 1),
            -BUS_ERR_CORRUPT_MESSAGE);
        CU_ASSERT_EQUAL(batch_iter_next(&it, &record), 0);
        CU_ASSERT_EQUAL(batch_iter_init(&it, raw.bytes, raw.n, &h, &scratch, records_bytes), 0);
        CU_ASSERT_EQUAL(batch_iter_next(&it, &record), 1);
        CU_ASSERT(is(record.value, record.value_bytes, "hello"));
        CU_ASSERT_EQUAL(batch_iter_init(&it, raw.bytes, raw.n, &h, NULL, records_bytes),
            -BUS_ERR_UNSUPPORTED_CODEC);
        CU_ASSERT_EQUAL(batch_iter_next(&it, &record), 0);
        raw.bytes[BATCH_HEADER_BYTES] ^= 0xff;
        batch_seal(raw.bytes, raw.n);
        CU_ASSERT(raw_verify(&raw, 0) < 0);
    }
    buf_fini(&scratch);
}

static const struct unit_case cases[] = {
    {"the header of a batch written by hand is read and written", test_header_fields},
    {"a cut header or batch is short at every byte", test_header_short},
    {"zeroes are the end of the log", test_header_end},
    {"impossible header fields are refused", test_header_refuses},
    {"the CRC covers all but offset, length, epoch and magic", test_crc},
    {"patching sets offset and epoch only", test_patch},
    {"LogAppendTime holds for every record", test_log_append},
    {"the records of a batch written by hand are read", test_iterate},
    {"damaged records give nothing outside the batch", test_iterate_damaged},
    {"cut records are refused", test_iterate_cut},
    {"verify accepts what producers and compaction make", test_verify_accepts},
    {"verify refuses wrong offsets and counts", test_verify_structure},
    {"verify refuses lengths that do not nest", test_verify_lengths},
    {"verify refuses malformed headers", test_verify_headers},
    {"verify knows a producer's rules", test_verify_produce},
    {"verify misses keys", test_verify_keys},
    {"verify compares timestamps with the largest", test_verify_timestamps},
    {"compressed records are read within a limit", test_compressed},
    {NULL, NULL},
};

void
register_batch(void)
{
    unit_register("batch", cases);
}
