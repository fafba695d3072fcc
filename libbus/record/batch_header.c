/* SPDX-License-Identifier: Apache-2.0 */
#include "record/batch_header.h"

#include "base/bytes.h"
#include "base/err.h"
#include "record/codec.h"
#include "record/crc32c.h"
#include "record/once.h"

enum { LENGTH_MIN = BATCH_HEADER_BYTES - BATCH_OVERHEAD_BYTES };

static void
read_fields(const uint8_t *p, struct batch_header *h)
{
    h->base_offset = once_i64(p + BATCH_AT_BASE_OFFSET);
    h->leader_epoch = once_i32(p + BATCH_AT_LEADER_EPOCH);
    h->magic = (int8_t)once_u8(p + BATCH_AT_MAGIC);
    h->crc = (uint32_t)once_i32(p + BATCH_AT_CRC);
    h->attributes = once_i16(p + BATCH_AT_ATTRIBUTES);
    h->last_offset_delta = once_i32(p + BATCH_AT_LAST_OFFSET_DELTA);
    h->base_timestamp = once_i64(p + BATCH_AT_BASE_TIMESTAMP);
    h->max_timestamp = once_i64(p + BATCH_AT_MAX_TIMESTAMP);
    h->producer_id = once_i64(p + BATCH_AT_PRODUCER_ID);
    h->producer_epoch = once_i16(p + BATCH_AT_PRODUCER_EPOCH);
    h->base_sequence = once_i32(p + BATCH_AT_BASE_SEQUENCE);
    h->count = once_i32(p + BATCH_AT_COUNT);
}

static int
check_fields(const struct batch_header *h)
{
    if (h->magic != BATCH_MAGIC)
        return err_set(BUS_ERR_CORRUPT_MESSAGE,
            "batch: magic is %d, and only %d (RecordBatch v2) is known", h->magic, BATCH_MAGIC);
    if (batch_codec(h) >= CODEC_COUNT)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "batch: codec %d is unknown", batch_codec(h));
    if (h->last_offset_delta < 0)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "batch: last offset delta is %d, below 0",
            h->last_offset_delta);
    if (h->base_offset < 0 || h->base_offset >= INT64_MAX - h->last_offset_delta)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "batch: base offset %lld is out of range",
            (long long)h->base_offset);
    if (h->count < 0 || h->count > (int64_t)h->last_offset_delta + 1)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "batch: %d records cannot have %lld offsets",
            h->count, (long long)h->last_offset_delta + 1);
    return BATCH_OK;
}

int
batch_header_read(const void *p, size_t avail, struct batch_header *h)
{
    *h = (struct batch_header){0};
    if (avail < BATCH_OVERHEAD_BYTES)
        return BATCH_SHORT;
    int32_t length = once_i32((const uint8_t *)p + BATCH_AT_LENGTH);
    if (length == 0)
        return BATCH_END;
    if (length < LENGTH_MIN)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "batch: length is %d, less than a header (%d)",
            length, LENGTH_MIN);
    if (avail < BATCH_HEADER_BYTES)
        return BATCH_SHORT;
    read_fields(p, h);
    h->length = length;
    int rc = check_fields(h);
    if (rc < 0)
        return rc;
    return batch_bytes(h) > avail ? BATCH_SHORT : BATCH_OK;
}

void
batch_header_write(void *p, const struct batch_header *h)
{
    uint8_t *at = p;
    bytes_put_i64(at + BATCH_AT_BASE_OFFSET, h->base_offset);
    bytes_put_i32(at + BATCH_AT_LENGTH, h->length);
    bytes_put_i32(at + BATCH_AT_LEADER_EPOCH, h->leader_epoch);
    at[BATCH_AT_MAGIC] = (uint8_t)h->magic;
    bytes_put_u32(at + BATCH_AT_CRC, h->crc);
    bytes_put_i16(at + BATCH_AT_ATTRIBUTES, h->attributes);
    bytes_put_i32(at + BATCH_AT_LAST_OFFSET_DELTA, h->last_offset_delta);
    bytes_put_i64(at + BATCH_AT_BASE_TIMESTAMP, h->base_timestamp);
    bytes_put_i64(at + BATCH_AT_MAX_TIMESTAMP, h->max_timestamp);
    bytes_put_i64(at + BATCH_AT_PRODUCER_ID, h->producer_id);
    bytes_put_i16(at + BATCH_AT_PRODUCER_EPOCH, h->producer_epoch);
    bytes_put_i32(at + BATCH_AT_BASE_SEQUENCE, h->base_sequence);
    bytes_put_i32(at + BATCH_AT_COUNT, h->count);
}

static uint32_t
batch_crc(const uint8_t *p, size_t bytes)
{
    return crc32c(p + BATCH_AT_ATTRIBUTES, bytes - BATCH_AT_ATTRIBUTES);
}

bool
batch_crc_ok(const void *p, size_t bytes)
{
    const uint8_t *at = p;
    return bytes >= BATCH_HEADER_BYTES && bytes_get_u32(at + BATCH_AT_CRC) == batch_crc(at, bytes);
}

void
batch_seal(void *p, size_t bytes)
{
    uint8_t *at = p;
    bytes_put_u32(at + BATCH_AT_CRC, batch_crc(at, bytes));
}

void
batch_patch(void *p, int64_t base_offset, int32_t leader_epoch)
{
    uint8_t *at = p;
    bytes_put_i64(at + BATCH_AT_BASE_OFFSET, base_offset);
    bytes_put_i32(at + BATCH_AT_LEADER_EPOCH, leader_epoch);
}

void
batch_stamp_log_append_parts(void *p, const void *rest, size_t n, int64_t now_ms)
{
    uint8_t *at = p;
    int16_t attributes = bytes_get_i16(at + BATCH_AT_ATTRIBUTES);
    bytes_put_i16(at + BATCH_AT_ATTRIBUTES, attributes | BATCH_ATTR_LOG_APPEND);
    bytes_put_i64(at + BATCH_AT_MAX_TIMESTAMP, now_ms);
    bytes_put_u32(at + BATCH_AT_CRC, crc32c_extend(batch_crc(at, BATCH_HEADER_BYTES), rest, n));
}

void
batch_stamp_log_append(void *p, size_t bytes, int64_t now_ms)
{
    uint8_t *at = p;
    batch_stamp_log_append_parts(p, at + BATCH_HEADER_BYTES, bytes - BATCH_HEADER_BYTES, now_ms);
}
