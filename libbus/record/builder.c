/* SPDX-License-Identifier: Apache-2.0 */
#include "record/builder.h"

#include "base/err.h"
#include "record/codec.h"

#include <stdlib.h>

static void
builder_empty(struct batch_builder *b)
{
    b->at = b->data + BATCH_HEADER_BYTES;
    b->limit = b->data + b->capacity_bytes;
    b->count = 0;
    b->base_timestamp = 0;
    b->max_timestamp = 0;
}

/* Makes the memory `bytes` large, header included; the records stay. */
static int
builder_resize(struct batch_builder *b, size_t bytes)
{
    size_t used = builder_bytes(b);
    uint8_t *data = realloc(b->data, bytes);
    if (!data)
        return err_no_memory();
    b->data = data;
    b->at = data + used;
    b->limit = data + bytes;
    return 0;
}

int
builder_init(struct batch_builder *b, size_t capacity_bytes, size_t max_bytes)
{
    *b = (struct batch_builder){0};
    if (capacity_bytes < BATCH_HEADER_BYTES + BUILDER_RECORD_OVERHEAD_MAX ||
        capacity_bytes > max_bytes || max_bytes > INT32_MAX)
        return err_set(BUS_ERR_INVALID_ARGUMENT,
            "batch size: %zu bytes must lie between %d and the largest message, %zu, and that"
            " below 2 GiB",
            capacity_bytes, BATCH_HEADER_BYTES + BUILDER_RECORD_OVERHEAD_MAX, max_bytes);
    b->data = malloc(capacity_bytes);
    if (!b->data)
        return err_no_memory();
    b->capacity_bytes = capacity_bytes;
    b->max_bytes = max_bytes;
    b->options = BUILDER_OPTIONS_PLAIN;
    buf_init(&b->packed);
    builder_empty(b);
    return 0;
}

void
builder_fini(struct batch_builder *b)
{
    free(b->data);
    buf_fini(&b->packed);
    *b = (struct batch_builder){0};
}

void
builder_reset(struct batch_builder *b, const struct builder_options *options)
{
    /* A single large record does not make the builder large for ever. Not to be able to shrink is
     * no failure. */
    if (b->limit > b->data + b->capacity_bytes) {
        uint8_t *data = realloc(b->data, b->capacity_bytes);
        if (data)
            b->data = data;
    }
    b->options = *options;
    builder_empty(b);
}

void
builder_set_producer(
    struct batch_builder *b, int64_t producer_id, int16_t producer_epoch, int32_t base_sequence)
{
    b->options.producer_id = producer_id;
    b->options.producer_epoch = producer_epoch;
    b->options.base_sequence = base_sequence;
}

static size_t
clamp_null(int32_t bytes)
{
    return bytes > 0 ? (size_t)bytes : 0;
}

/* Encoded size of a key or value with its length. */
static size_t
field_bytes(int32_t bytes)
{
    return varint_size_i32(bytes < 0 ? -1 : bytes) + clamp_null(bytes);
}

/* Encoded size of the headers with their count. */
static int
headers_measure(const struct builder_record *r, size_t *bytes)
{
    if (r->header_count < 0)
        return err_set(BUS_ERR_INVALID_ARGUMENT, "record: %d headers", r->header_count);
    *bytes = varint_size_i32(r->header_count);
    for (int32_t i = 0; i < r->header_count; i++) {
        if (r->headers[i].key_bytes < 0)
            return err_set(BUS_ERR_INVALID_ARGUMENT, "record: header %d has no key", i);
        *bytes += field_bytes(r->headers[i].key_bytes) + field_bytes(r->headers[i].value_bytes);
    }
    return 0;
}

/* Encoded size of the record, 0 when no length field can hold it. */
static size_t
record_measure(const struct batch_builder *b, const struct builder_record *r, size_t headers_bytes)
{
    uint64_t timestamp_delta = (uint64_t)r->ts - (uint64_t)b->base_timestamp;
    size_t length = 1 + varint_size_i64((int64_t)timestamp_delta) + varint_size_i32(b->count) +
                    field_bytes(r->key_bytes) + field_bytes(r->value_bytes) + headers_bytes;
    return length > INT32_MAX ? 0 : varint_size_i32((int32_t)length) + length;
}

static uint8_t *
put_field(uint8_t *p, const void *bytes, int32_t n)
{
    p = varint_put_i32(p, n < 0 ? -1 : n);
    if (n > 0)
        memcpy(p, bytes, (size_t)n);
    return p + clamp_null(n);
}

static uint8_t *
put_headers(uint8_t *p, const struct builder_record *r)
{
    p = varint_put_i32(p, r->header_count);
    for (int32_t i = 0; i < r->header_count; i++) {
        p = put_field(p, r->headers[i].key, r->headers[i].key_bytes);
        p = put_field(p, r->headers[i].value, r->headers[i].value_bytes);
    }
    return p;
}

/* Room for a record of `bytes`: in the capacity, or beyond it for the first. */
static int
builder_room(struct batch_builder *b, size_t bytes)
{
    if (bytes == 0 || bytes > b->max_bytes - BATCH_HEADER_BYTES)
        return err_set(BUS_ERR_MESSAGE_TOO_LARGE,
            "the record makes a batch of more than %zu bytes: raise max.message.bytes of the "
            "topic, or make the record smaller",
            b->max_bytes);
    if (bytes <= (size_t)(b->limit - b->at))
        return BUILDER_OK;
    return b->count > 0 ? BUILDER_FULL : builder_resize(b, BATCH_HEADER_BYTES + bytes);
}

int
builder_append_slow(struct batch_builder *b, const struct builder_record *r)
{
    size_t headers_bytes = 0;
    int rc = headers_measure(r, &headers_bytes);
    if (rc < 0)
        return rc;
    if (b->count == 0)
        b->base_timestamp = b->max_timestamp = r->ts;
    rc = builder_room(b, record_measure(b, r, headers_bytes));
    if (rc != BUILDER_OK)
        return rc;
    uint8_t *p = builder_encode(b, r, headers_bytes);
    builder_advance(b, put_headers(p, r), r->ts);
    return BUILDER_OK;
}

/* Header and CRC of a batch of `bytes` bytes at `p`, whose records are in place. */
static void
builder_seal(const struct batch_builder *b, uint8_t *p, size_t bytes, int codec)
{
    const struct batch_header header = {
        .length = (int32_t)(bytes - BATCH_OVERHEAD_BYTES),
        .leader_epoch = -1,
        .magic = BATCH_MAGIC,
        .attributes = (int16_t)(codec | (b->options.log_append ? BATCH_ATTR_LOG_APPEND : 0)),
        .last_offset_delta = b->count - 1,
        .base_timestamp = b->base_timestamp,
        .max_timestamp = b->max_timestamp,
        .producer_id = b->options.producer_id,
        .producer_epoch = b->options.producer_epoch,
        .base_sequence = b->options.base_sequence,
        .count = b->count,
    };
    batch_header_write(p, &header);
    batch_seal(p, bytes);
}

/* Fills `packed` with room for the header and the compressed records. */
static int
builder_pack(struct batch_builder *b)
{
    buf_clear(&b->packed);
    if (!buf_extend(&b->packed, BATCH_HEADER_BYTES))
        return err_no_memory();
    return codec_compress(b->options.codec, b->options.level, b->data + BATCH_HEADER_BYTES,
        builder_bytes(b) - BATCH_HEADER_BYTES, &b->packed);
}

int
builder_finish(struct batch_builder *b, const void **batch, size_t *bytes)
{
    if (b->count == 0)
        return err_set(BUS_ERR_WRONG_STATE, "a batch needs at least one record");
    int codec = b->options.codec;
    uint8_t *p = b->data;
    size_t n = builder_bytes(b);
    if (codec != CODEC_NONE) {
        int rc = builder_pack(b);
        if (rc < 0)
            return rc;
        if (b->packed.length < n) {
            p = b->packed.data;
            n = b->packed.length;
        } else {
            codec = CODEC_NONE;
        }
    }
    builder_seal(b, p, n, codec);
    *batch = p;
    *bytes = n;
    return 0;
}
