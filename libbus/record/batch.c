/* SPDX-License-Identifier: Apache-2.0 */
#include "record/batch.h"

#include "base/err.h"
#include "record/codec.h"

static int
refuse_record(int32_t index, const char *why)
{
    return err_set(BUS_ERR_INVALID_RECORD, "record %d: %s", index, why);
}

/* The rules of BATCH_VERIFY_PRODUCE that the header alone tells. */
static int
check_produce(const struct batch_header *h)
{
    if (h->base_offset != 0)
        return err_set(BUS_ERR_INVALID_RECORD, "batch: base offset is %lld, and a producer sends 0",
            (long long)h->base_offset);
    if (h->attributes & BATCH_ATTR_CONTROL)
        return err_set(BUS_ERR_INVALID_RECORD, "batch: a client may not write control batches");
    if (h->count == 0 || h->count != (int64_t)h->last_offset_delta + 1)
        return err_set(BUS_ERR_INVALID_RECORD, "batch: %d records with %lld offsets", h->count,
            (long long)h->last_offset_delta + 1);
    if (h->producer_id >= 0 && h->base_sequence < 0)
        return err_set(BUS_ERR_INVALID_RECORD, "batch: producer id %lld comes without a sequence",
            (long long)h->producer_id);
    return 0;
}

static int
check_headers(const struct record *record, int32_t index)
{
    struct record_header_cursor cursor = {0};
    struct record_header header;
    int rc;
    while ((rc = record_header_next(record, &cursor, &header)) > 0)
        continue;
    return err_prefix(rc, "record %d", index);
}

/* `largest` NULL: no timestamp may be above the header's; else it follows them. */
static int
check_time(const struct record *record, int32_t index, const struct batch_header *h, unsigned flags,
    int64_t *largest)
{
    if (largest && record->timestamp > *largest)
        *largest = record->timestamp;
    if (largest || record->timestamp <= h->max_timestamp)
        return 0;
    return err_set(
        flags & BATCH_VERIFY_PRODUCE ? BUS_ERR_INVALID_TIMESTAMP : BUS_ERR_CORRUPT_MESSAGE,
        "record %d: timestamp %lld is above the batch's largest, %lld", index,
        (long long)record->timestamp, (long long)h->max_timestamp);
}

static int
check_record(const struct record *record, int32_t index, const struct batch_header *h,
    unsigned flags, int64_t *largest)
{
    /* A producer's batch has as many records as offsets and the iterator demands rising deltas up
     * to the last, so they are contiguous. */
    if ((flags & BATCH_VERIFY_KEYS) && record->key_bytes < 0)
        return refuse_record(index, "has no key, and a compacted topic needs one");
    int rc = check_time(record, index, h, flags, largest);
    return rc < 0 || record->header_count == 0 ? rc : check_headers(record, index);
}

static int
check_records(struct batch_iter *it, const struct batch_header *h, unsigned flags, int64_t *largest)
{
    struct record record;
    int rc;
    for (int32_t index = 0; (rc = batch_iter_next(it, &record)) > 0; index++) {
        rc = check_record(&record, index, h, flags, largest);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* The bytes do not change here, so a decoder needs no copy of them. */
static int
begin(struct batch_iter *it, const uint8_t *p, size_t bytes, const struct batch_header *h,
    struct buf *scratch, size_t decompressed_max)
{
    int codec = batch_codec(h);
    if (codec == CODEC_NONE || h->count == 0 || bytes < BATCH_HEADER_BYTES)
        return batch_iter_init(it, p, bytes, h, scratch, decompressed_max);
    buf_clear(scratch);
    int rc = codec_decompress(
        codec, p + BATCH_HEADER_BYTES, bytes - BATCH_HEADER_BYTES, decompressed_max, scratch);
    if (rc < 0)
        return err_prefix(rc, "batch");
    batch_iter_over(it, h, scratch->data, scratch->length);
    return 0;
}

static int
verify(const void *p, size_t bytes, const struct batch_header *h, struct buf *scratch,
    size_t decompressed_max, unsigned flags, int64_t *largest)
{
    if (!batch_crc_ok(p, bytes))
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "batch at offset %lld: the checksum does not match",
            (long long)h->base_offset);
    int rc = flags & BATCH_VERIFY_PRODUCE ? check_produce(h) : 0;
    if (rc < 0)
        return rc;
    struct batch_iter it;
    rc = begin(&it, p, bytes, h, scratch, decompressed_max);
    return rc < 0 ? rc : check_records(&it, h, flags, largest);
}

int
batch_verify(const void *p, size_t bytes, const struct batch_header *h, struct buf *scratch,
    size_t decompressed_max, unsigned flags)
{
    return verify(p, bytes, h, scratch, decompressed_max, flags, NULL);
}

int
batch_verify_produced(const void *p, size_t bytes, const struct batch_header *h,
    struct buf *scratch, size_t decompressed_max, int64_t *max_timestamp)
{
    *max_timestamp = INT64_MIN;
    return verify(p, bytes, h, scratch, decompressed_max, BATCH_VERIFY_PRODUCE, max_timestamp);
}
