/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "base/check.h"
#include "fuzz/target.h"
#include "record/batch.h"
#include "record/builder.h"
#include "record/codec.h"

#include <stdlib.h>
#include <string.h>

enum {
    LIMIT_BYTES = 1 << 20, /* of decompressed records */
    CAPACITY_BYTES = 2 << 20,
    HEADERS_MAX = 8,
};

static bool
same(const void *a, int32_t a_bytes, const void *b, int32_t b_bytes)
{
    return a_bytes == b_bytes && (a_bytes <= 0 || memcmp(a, b, (size_t)a_bytes) == 0);
}

static void
check_within(const struct batch_iter *it, const uint8_t *start, const uint8_t *p, int64_t n)
{
    if (n >= 0)
        MUST(p >= start && n <= it->end - p);
}

/* Walks over everything: what comes out lies within the batch, offsets rise within its range. */
static int32_t
walk(const uint8_t *batch, size_t bytes, const struct batch_header *h, struct buf *scratch)
{
    struct batch_iter it;
    struct record record;
    if (batch_iter_init(&it, batch, bytes, h, scratch, LIMIT_BYTES) < 0)
        return -1;
    const uint8_t *start = it.at;
    int64_t previous = h->base_offset - 1;
    int32_t count = 0;
    int rc;
    for (; (rc = batch_iter_next(&it, &record)) > 0; count++) {
        MUST(record.offset > previous && record.offset < batch_next_offset(h));
        check_within(&it, start, record.key, record.key_bytes);
        check_within(&it, start, record.value, record.value_bytes);
        check_within(&it, start, record.headers, (int64_t)record.headers_bytes);
        struct record_header_cursor cursor = {0};
        struct record_header header;
        while (record_header_next(&record, &cursor, &header) > 0) {
            check_within(&it, record.headers, header.key, header.key_bytes);
            check_within(&it, record.headers, header.value, header.value_bytes);
        }
        MUST(cursor.given <= record.header_count);
        previous = record.offset;
    }
    MUST(rc < 0 || count == h->count);
    MUST(batch_iter_next(&it, &record) == 0);
    return rc < 0 ? -1 : count;
}

/* A batch that verifies can be walked to its end. */
static void
check_batch(const uint8_t *batch, size_t bytes, unsigned flags)
{
    struct batch_header h;
    if (batch_header_read(batch, bytes, &h) != BATCH_OK)
        return;
    MUST(batch_bytes(&h) <= bytes && h.count >= 0 && h.base_offset >= 0);
    MUST(batch_next_offset(&h) > h.base_offset);
    struct buf scratch;
    buf_init(&scratch);
    int32_t count = walk(batch, batch_bytes(&h), &h, &scratch);
    int rc = batch_verify(batch, batch_bytes(&h), &h, &scratch, LIMIT_BYTES, flags);
    MUST(rc <= 0);
    if (rc == 0)
        MUST(count == h.count);
    buf_fini(&scratch);
}

/* The same bytes with a CRC that fits, so that the checks behind it are reached. */
static void
check_sealed(const uint8_t *data, size_t size, unsigned flags)
{
    uint8_t *copy = malloc(size);
    if (!copy)
        return;
    memcpy(copy, data, size);
    struct batch_header h;
    if (batch_header_read(copy, size, &h) == BATCH_OK) {
        batch_seal(copy, batch_bytes(&h));
        check_batch(copy, size, flags);
        batch_stamp_log_append(copy, batch_bytes(&h), 1);
        check_batch(copy, size, flags);
    }
    free(copy);
}

/* The rest of the input, from which a builder's calls are made. */
struct feed {
    const uint8_t *at;
    const uint8_t *end;
};

static unsigned
feed_byte(struct feed *feed)
{
    return feed->at < feed->end ? *feed->at++ : 0;
}

/* Up to `most` bytes, or null. */
static const uint8_t *
feed_bytes(struct feed *feed, size_t most, int32_t *n)
{
    size_t length = feed_byte(feed) * 5;
    if (length == 0) {
        *n = -1;
        return NULL;
    }
    size_t left = (size_t)(feed->end - feed->at);
    length = length > most ? most : length - 1;
    *n = (int32_t)(length < left ? length : left);
    const uint8_t *bytes = feed->at;
    feed->at += *n;
    return bytes;
}

static void
feed_record(struct feed *feed, struct builder_record *r, struct builder_header *headers)
{
    uint64_t ts = 0;
    for (unsigned n = feed_byte(feed) % 9; n > 0; n--)
        ts = ts << 8 | feed_byte(feed);
    *r = (struct builder_record){.ts = (int64_t)ts, .headers = headers};
    r->key = feed_bytes(feed, 200, &r->key_bytes);
    r->value = feed_bytes(feed, 1200, &r->value_bytes);
    r->header_count = (int32_t)(feed_byte(feed) % (HEADERS_MAX + 1));
    for (int32_t i = 0; i < r->header_count; i++) {
        headers[i].key = feed_bytes(feed, 20, &headers[i].key_bytes);
        if (headers[i].key_bytes < 0)
            headers[i].key_bytes = 0;
        headers[i].value = feed_bytes(feed, 20, &headers[i].value_bytes);
    }
}

static void
compare_headers(const struct record *record, const struct builder_record *r)
{
    struct record_header_cursor cursor = {0};
    struct record_header header;
    MUST(record->header_count == r->header_count);
    for (int32_t i = 0; i < r->header_count; i++) {
        const struct builder_header *h = &r->headers[i];
        MUST(record_header_next(record, &cursor, &header) == 1);
        MUST(same(header.key, header.key_bytes, h->key, h->key_bytes));
        MUST(same(header.value, header.value_bytes, h->value, h->value_bytes));
    }
    MUST(record_header_next(record, &cursor, &header) == 0);
}

/* Reads the input once more and compares what the batch gives. */
static void
compare(struct feed feed, const void *batch, size_t bytes)
{
    struct batch_header h;
    struct batch_iter it;
    struct record record;
    struct builder_record r;
    struct builder_header headers[HEADERS_MAX];
    struct buf scratch;
    buf_init(&scratch);
    MUST(batch_header_read(batch, bytes, &h) == BATCH_OK && batch_bytes(&h) == bytes);
    MUST(batch_verify(batch, bytes, &h, &scratch, CAPACITY_BYTES, BATCH_VERIFY_PRODUCE) == 0);
    MUST(batch_iter_init(&it, batch, bytes, &h, &scratch, CAPACITY_BYTES) == 0);
    for (int32_t i = 0; i < h.count; i++) {
        feed_record(&feed, &r, headers);
        MUST(batch_iter_next(&it, &record) == 1);
        MUST(record.offset == i && record.timestamp == r.ts);
        MUST(same(record.key, record.key_bytes, r.key, r.key_bytes));
        MUST(same(record.value, record.value_bytes, r.value, r.value_bytes));
        compare_headers(&record, &r);
    }
    buf_fini(&scratch);
}

/* What a builder was given comes out again. */
static void
round_trip(struct feed feed)
{
    struct batch_builder b;
    struct builder_options options = BUILDER_OPTIONS_PLAIN;
    int codec = (int)(feed_byte(&feed) % CODEC_COUNT);
    options.codec = codec_available(codec) ? codec : CODEC_NONE;
    if (builder_init(&b, CAPACITY_BYTES, CAPACITY_BYTES) < 0)
        return;
    builder_reset(&b, &options);
    const struct feed start = feed;
    while (feed.at < feed.end) {
        struct builder_record r;
        struct builder_header headers[HEADERS_MAX];
        feed_record(&feed, &r, headers);
        MUST(builder_append(&b, &r) == BUILDER_OK);
    }
    const void *batch;
    size_t bytes;
    if (builder_count(&b) > 0 && builder_finish(&b, &batch, &bytes) == 0)
        compare(start, batch, bytes);
    builder_fini(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    /* The first byte chooses; the batch is what follows. */
    unsigned choice = data[0];
    if (choice & 4) {
        round_trip((struct feed){data + 1, data + size});
        return 0;
    }
    check_batch(data + 1, size - 1, choice & 3);
    check_sealed(data + 1, size - 1, choice & 3);
    return 0;
}
