/* SPDX-License-Identifier: Apache-2.0 */
#include "record/builder.h"

/* Encoded size of the record without its length field: attributes, timestamp delta 0, offset delta
 * 0 and header count 0 take a byte each. */
static size_t
single_length(int32_t key_bytes, int32_t value_bytes)
{
    size_t key = key_bytes > 0 ? (size_t)key_bytes : 0;
    size_t value = value_bytes > 0 ? (size_t)value_bytes : 0;
    return 4 + varint_size_i32(key_bytes < 0 ? -1 : key_bytes) + key +
           varint_size_i32(value_bytes < 0 ? -1 : value_bytes) + value;
}

size_t
batch_single_bytes(int32_t key_bytes, int32_t value_bytes)
{
    size_t length = single_length(key_bytes, value_bytes);
    return BATCH_HEADER_BYTES + varint_size_u64((uint64_t)length << 1) + length;
}

static void
single_header(void *dst, const struct batch_single *single, size_t bytes)
{
    const struct batch_header header = {
        .length = (int32_t)(bytes - BATCH_OVERHEAD_BYTES),
        .leader_epoch = -1,
        .magic = BATCH_MAGIC,
        .attributes = single->log_append ? BATCH_ATTR_LOG_APPEND : 0,
        .base_timestamp = single->ts,
        .max_timestamp = single->ts,
        .producer_id = single->producer_id,
        .producer_epoch = single->producer_epoch,
        .base_sequence = single->base_sequence,
        .count = 1,
    };
    batch_header_write(dst, &header);
}

size_t
batch_single_begin(void *dst, const struct batch_single *single)
{
    size_t bytes = batch_single_bytes(single->key_bytes, single->value_bytes);
    single_header(dst, single, bytes);
    uint8_t *p = (uint8_t *)dst + BATCH_HEADER_BYTES;
    p = varint_put_i32(p, (int32_t)single_length(single->key_bytes, single->value_bytes));
    *p++ = 0; /* record attributes */
    *p++ = 0; /* timestamp delta */
    *p++ = 0; /* offset delta */
    p = varint_put_i32(p, single->key_bytes < 0 ? -1 : single->key_bytes);
    if (single->key_bytes > 0) {
        memcpy(p, single->key, (size_t)single->key_bytes);
        p += single->key_bytes;
    }
    p = varint_put_i32(p, single->value_bytes < 0 ? -1 : single->value_bytes);
    ((uint8_t *)dst)[bytes - 1] = 0; /* no headers */
    return (size_t)(p - (uint8_t *)dst);
}

void
batch_single_finish(void *dst, size_t bytes)
{
    batch_seal(dst, bytes);
}
