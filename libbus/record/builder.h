/* SPDX-License-Identifier: Apache-2.0
 * Builds RecordBatch v2. Records are encoded behind a reserved header, so that an uncompressed
 * batch is finished without a copy.
 */
#ifndef RECORD_BUILDER_H
#define RECORD_BUILDER_H

#include "base/buf.h"
#include "record/batch_header.h"
#include "record/varint.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    /* A record without headers, without key and value: length 5, attributes 1, timestamp delta 10,
     * offset delta 5, key and value length 5 each, header count 1. */
    BUILDER_RECORD_OVERHEAD_MAX = 32,
};

/** Outcomes of builder_append(). */
enum {
    BUILDER_OK = 0,
    BUILDER_FULL = 1, /* not added: the batch is not empty and would exceed its capacity */
};

struct builder_header {
    const void *key; /* borrowed */
    int32_t key_bytes;
    const void *value;   /* borrowed */
    int32_t value_bytes; /* -1: null */
};

struct builder_record {
    int64_t ts;        /* ms since 1970 */
    const void *key;   /* borrowed, as the others */
    int32_t key_bytes; /* -1: null */
    const void *value;
    int32_t value_bytes; /* -1: null */
    const struct builder_header *headers;
    int32_t header_count;
};

struct builder_options {
    int codec;              /* enum codec */
    int level;              /* 0: the codec's default */
    bool log_append;        /* sets BATCH_ATTR_LOG_APPEND */
    int64_t producer_id;    /* -1: none */
    int16_t producer_epoch; /* -1: none */
    int32_t base_sequence;  /* -1: none */
};

/** The options of a plain batch: not compressed, CreateTime, no producer id. */
#define BUILDER_OPTIONS_PLAIN                                                                      \
    (struct builder_options)                                                                       \
    {                                                                                              \
        .producer_id = -1, .producer_epoch = -1, .base_sequence = -1                               \
    }

struct batch_builder {
    uint8_t *data;         /* owned; the header's room comes first */
    uint8_t *at;           /* where the next record goes */
    uint8_t *limit;        /* data + capacity, or more while a larger single record is in */
    size_t capacity_bytes; /* the target, header included */
    size_t max_bytes;      /* what a single record may make of it */
    int32_t count;
    int64_t base_timestamp;
    int64_t max_timestamp;
    struct builder_options options;
    struct buf packed; /* the finished batch when it is compressed */
};

/**
 * An empty builder with BUILDER_OPTIONS_PLAIN. A batch has `capacity_bytes` at most, header
 * included, or up to `max_bytes` (≤ INT32_MAX) when it is a single record. Returns 0,
 * -BUS_ERR_INVALID_ARGUMENT or -BUS_ERR_NO_MEMORY (nothing to release then). Thread: one at a time
 * per builder, here and below. Blocks: no.
 */
int builder_init(struct batch_builder *b, size_t capacity_bytes, size_t max_bytes);

/** Releases the memory. Also after a failed builder_init() and twice. */
void builder_fini(struct batch_builder *b);

/** Empties the builder for a new batch; what builder_finish() gave is no longer valid. */
void builder_reset(struct batch_builder *b, const struct builder_options *options);

/** Sets producer id, epoch and first sequence of the batch; any time before builder_finish(). */
void builder_set_producer(
    struct batch_builder *b, int64_t producer_id, int16_t producer_epoch, int32_t base_sequence);

/** Records in the batch. */
static inline int32_t
builder_count(const struct batch_builder *b)
{
    return b->count;
}

/** Bytes of the batch as it stands, header included, before compression. */
static inline size_t
builder_bytes(const struct batch_builder *b)
{
    return (size_t)(b->at - b->data);
}

/** builder_append() for records with headers and for the last ones of a batch. */
int builder_append_slow(struct batch_builder *b, const struct builder_record *r);

/** Encodes a record whose room was checked, all but its headers' count; returns the end. */
static inline uint8_t *
builder_encode(struct batch_builder *b, const struct builder_record *r, size_t headers_bytes)
{
    size_t key = r->key_bytes > 0 ? (size_t)r->key_bytes : 0;
    size_t value = r->value_bytes > 0 ? (size_t)r->value_bytes : 0;
    uint64_t timestamp = varint_zigzag_64((int64_t)((uint64_t)r->ts - (uint64_t)b->base_timestamp));
    uint32_t offset = varint_zigzag_32(b->count);
    uint32_t key_code = varint_zigzag_32(r->key_bytes < 0 ? -1 : r->key_bytes);
    uint32_t value_code = varint_zigzag_32(r->value_bytes < 0 ? -1 : r->value_bytes);
    size_t length = 1 + varint_size_u64(timestamp) + varint_size_u32(offset) +
                    varint_size_u32(key_code) + key + varint_size_u32(value_code) + value +
                    headers_bytes;
    uint8_t *p = varint_put_i32(b->at, (int32_t)length);
    *p++ = 0; /* record attributes */
    p = varint_put_u64(p, timestamp);
    p = varint_put_u32(p, offset);
    p = varint_put_u32(p, key_code);
    if (key > 0)
        memcpy(p, r->key, key);
    p = varint_put_u32(p + key, value_code);
    if (value > 0)
        memcpy(p, r->value, value);
    return p + value;
}

/** Notes a record of time `ts` that ends at `end`. */
static inline void
builder_advance(struct batch_builder *b, uint8_t *end, int64_t ts)
{
    b->at = end;
    b->count++;
    if (ts > b->max_timestamp)
        b->max_timestamp = ts;
}

/**
 * Adds a record; its bytes are copied. BUILDER_OK, BUILDER_FULL (not added), or not added and
 * -BUS_ERR_MESSAGE_TOO_LARGE (would exceed max_bytes even alone), -BUS_ERR_INVALID_ARGUMENT (a
 * header without key or a negative count) or -BUS_ERR_NO_MEMORY.
 */
static inline int
builder_append(struct batch_builder *b, const struct builder_record *r)
{
    size_t key = r->key_bytes > 0 ? (size_t)r->key_bytes : 0;
    size_t value = r->value_bytes > 0 ? (size_t)r->value_bytes : 0;
    size_t room = (size_t)(b->limit - b->at);
    if (__builtin_expect(r->header_count != 0 || b->count == 0 ||
                             room < BUILDER_RECORD_OVERHEAD_MAX + key + value,
            0))
        return builder_append_slow(b, r);
    uint8_t *end = builder_encode(b, r, 1);
    *end++ = 0; /* no headers */
    builder_advance(b, end, r->ts);
    return BUILDER_OK;
}

/**
 * Compresses when asked to and when that makes it smaller, writes header and CRC. *batch and *bytes
 * are the batch with base offset 0 and leader epoch -1; borrowed until builder_reset(),
 * builder_append() or builder_fini(). May be called again. Returns 0, -BUS_ERR_WRONG_STATE when no
 * record was added, -BUS_ERR_UNSUPPORTED_CODEC or -BUS_ERR_NO_MEMORY.
 */
int builder_finish(struct batch_builder *b, const void **batch, size_t *bytes);

/** A batch of one record without headers that is written in place, its value by the caller. */
struct batch_single {
    int64_t ts;          /* ms since 1970 */
    const void *key;     /* borrowed during batch_single_begin() */
    int32_t key_bytes;   /* -1: null */
    int32_t value_bytes; /* fixed here; -1: null */
    bool log_append;
    int64_t producer_id;    /* -1: none */
    int16_t producer_epoch; /* -1: none */
    int32_t base_sequence;  /* -1: none */
};

/**
 * Bytes of the whole batch for key and value of these sizes (-1: null). A batch of more than
 * INT32_MAX bytes cannot be begun.
 */
size_t batch_single_bytes(int32_t key_bytes, int32_t value_bytes);

/**
 * Writes everything but the value and the CRC at `dst`, which has batch_single_bytes() of room and
 * need not be aligned. Returns where the value goes, in bytes from `dst`. Base offset 0, leader
 * epoch -1: see batch_patch().
 */
size_t batch_single_begin(void *dst, const struct batch_single *single);

/** Stores the CRC once the value is in place. `bytes` is batch_single_bytes(). */
void batch_single_finish(void *dst, size_t bytes);

#endif
