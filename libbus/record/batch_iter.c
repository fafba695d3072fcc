/* SPDX-License-Identifier: Apache-2.0 */
#include "record/batch_iter.h"

#include "base/err.h"
#include "record/codec.h"

/* A decoder may read a byte twice, so it gets a copy that nobody else can write to. */
static int
decompress(
    int codec, const uint8_t *packed, size_t packed_bytes, size_t limit_bytes, struct buf *scratch)
{
    struct buf copy;
    buf_init(&copy);
    buf_put(&copy, packed, packed_bytes);
    buf_clear(scratch);
    int rc = buf_failed(&copy)
                 ? err_no_memory()
                 : codec_decompress(codec, copy.data, packed_bytes, limit_bytes, scratch);
    buf_fini(&copy);
    return rc;
}

static int
begin_records(struct batch_iter *it, const uint8_t *records, size_t records_bytes,
    const struct batch_header *h, struct buf *scratch, size_t decompressed_max)
{
    it->at = records;
    it->end = records + records_bytes;
    if (batch_codec(h) == CODEC_NONE || h->count == 0)
        return 0;
    if (!scratch)
        return err_set(BUS_ERR_UNSUPPORTED_CODEC, "batch: compressed with %s where it may not be",
            codec_name(batch_codec(h)));
    int rc = decompress(batch_codec(h), records, records_bytes, decompressed_max, scratch);
    if (rc == -BUS_ERR_MESSAGE_TOO_LARGE)
        rc = -BUS_ERR_CORRUPT_MESSAGE; /* for a reader it is as good as damaged */
    if (rc < 0)
        return err_prefix(rc, "batch");
    it->at = scratch->data;
    it->end = scratch->data + scratch->length;
    return 0;
}

void
batch_iter_over(
    struct batch_iter *it, const struct batch_header *h, const uint8_t *records, size_t bytes)
{
    *it = (struct batch_iter){
        .at = records,
        .end = bytes > 0 ? records + bytes : records, /* NULL may not be added to */
        .base_offset = h->base_offset,
        .base_timestamp = h->base_timestamp,
        .append_timestamp = h->max_timestamp,
        .count = h->count,
        .left = h->count,
        .previous_delta = -1,
        .last_delta = h->last_offset_delta,
        .log_append = (h->attributes & BATCH_ATTR_LOG_APPEND) != 0,
    };
}

int
batch_iter_init(struct batch_iter *it, const void *batch, size_t bytes,
    const struct batch_header *h, struct buf *scratch, size_t decompressed_max)
{
    batch_iter_over(it, h, NULL, 0);
    int rc =
        bytes < BATCH_HEADER_BYTES
            ? err_set(BUS_ERR_CORRUPT_MESSAGE, "batch: %zu bytes are less than a header", bytes)
            : begin_records(it, (const uint8_t *)batch + BATCH_HEADER_BYTES,
                  bytes - BATCH_HEADER_BYTES, h, scratch, decompressed_max);
    if (rc < 0) {
        it->left = 0;
        it->at = it->end;
    }
    return rc;
}

void
batch_iter_corrupt(struct batch_iter *it)
{
    if (it->left == 0)
        err_set(BUS_ERR_CORRUPT_MESSAGE, "batch: %td bytes follow the last of %d records",
            it->end - it->at, it->count);
    else
        err_set(BUS_ERR_CORRUPT_MESSAGE, "batch: record %d of %d is malformed",
            it->count - it->left, it->count);
    it->left = 0;
    it->at = it->end;
}

static int
header_corrupt(const struct record *record, const struct record_header_cursor *cursor)
{
    return err_set(BUS_ERR_CORRUPT_MESSAGE, "header %d of %d at offset %lld is malformed",
        cursor->given, record->header_count, (long long)record->offset);
}

int
record_header_next(
    const struct record *record, struct record_header_cursor *cursor, struct record_header *out)
{
    if (cursor->given >= record->header_count)
        return cursor->at == record->headers_bytes ? 0 : header_corrupt(record, cursor);
    const uint8_t *p = record->headers + cursor->at;
    const uint8_t *end = record->headers + record->headers_bytes;
    if (!batch_iter_bytes(&p, end, &out->key, &out->key_bytes) || out->key_bytes < 0 ||
        !batch_iter_bytes(&p, end, &out->value, &out->value_bytes))
        return header_corrupt(record, cursor);
    cursor->at = (size_t)(p - record->headers);
    cursor->given++;
    return 1;
}
