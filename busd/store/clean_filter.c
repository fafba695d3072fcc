/* SPDX-License-Identifier: Apache-2.0 */
#include "store/clean_filter.h"

#include "base/err.h"
#include "record/codec.h"

#include <string.h>

/* Buffers larger than this are given back between segments. */
enum { KEPT_BUFFER_BYTES = 4 * 1024 * 1024 };

void
clean_filter_init(struct clean_filter *filter)
{
    *filter = (struct clean_filter){0};
    buf_init(&filter->out);
    buf_init(&filter->records);
    buf_init(&filter->scratch);
}

void
clean_filter_fini(struct clean_filter *filter)
{
    buf_fini(&filter->out);
    buf_fini(&filter->records);
    buf_fini(&filter->scratch);
}

void
clean_filter_shrink(struct clean_filter *filter)
{
    struct buf *buffers[] = {&filter->out, &filter->records, &filter->scratch};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        if (buffers[i]->capacity > KEPT_BUFFER_BYTES)
            buf_fini(buffers[i]);
}

/* ---- which records stay --------------------------------------------------------------------- */

/* One batch under the filter. */
struct sieve {
    struct clean_filter *filter;
    const struct clean_batch *batch;
    bool passed;         /* the horizon of its deletions has passed */
    bool may_mark;       /* all of it was seen, so a horizon may be set */
    int32_t kept;        /* records */
    bool dropped;        /* any */
    bool deletions;      /* any that stay */
    bool marked;         /* their horizon is noted now */
    int64_t newest;      /* time of what stays */
    int64_t base_before; /* the records' deltas count from here */
    int64_t base_after;  /* and will count from here */
};

static bool
stays(const struct sieve *sieve, const struct record *record)
{
    const struct clean_filter *filter = sieve->filter;
    if (record->offset >= filter->end_offset)
        return true;
    if (record->key_bytes < 0)
        return false;
    if (clean_map_get(filter->map, CLEAN_KEY_RECORD, record->key, (size_t)record->key_bytes) >
        record->offset)
        return false;
    return record->value_bytes >= 0 || !sieve->passed || filter->keep_deletions;
}

static void
count(struct sieve *sieve, const struct record *record, bool keep)
{
    sieve->dropped |= !keep;
    if (!keep)
        return;
    sieve->newest =
        sieve->kept == 0 || record->timestamp > sieve->newest ? record->timestamp : sieve->newest;
    sieve->kept++;
    sieve->deletions |= record->value_bytes < 0;
}

/* ---- the records that stay, behind each other ----------------------------------------------- */

/* Without another base the bytes of a record do not change. */
static void
copy_record(struct sieve *sieve, const uint8_t *from, const uint8_t *to)
{
    buf_put(&sieve->filter->records, from, (size_t)(to - from));
}

/* With another base its time is encoded anew; what follows the time stays. */
static void
move_record(struct sieve *sieve, const uint8_t *from, const uint8_t *to)
{
    uint8_t head[VARINT_32_BYTES_MAX + 1 + VARINT_64_BYTES_MAX];
    int32_t length;
    int64_t delta;
    const uint8_t *p = from;
    if (!varint_get_i32(&p, to, &length))
        return;
    uint8_t attributes = *p++;
    if (!varint_get_i64(&p, to, &delta))
        return;
    /* Sums wrap, as in whoever reads them. */
    delta = (int64_t)((uint64_t)delta + (uint64_t)sieve->base_before - (uint64_t)sieve->base_after);
    size_t rest = (size_t)(to - p);
    uint8_t *end =
        varint_put_i32(head, (int32_t)(1 + varint_size_u64(varint_zigzag_64(delta)) + rest));
    *end++ = attributes;
    end = varint_put_i64(end, delta);
    buf_put(&sieve->filter->records, head, (size_t)(end - head));
    buf_put(&sieve->filter->records, p, rest);
}

static int
each_record(struct sieve *sieve, bool build)
{
    const struct clean_batch *batch = sieve->batch;
    struct batch_iter iter;
    struct record record;
    int rc = batch_iter_init(&iter, batch->bytes, batch->size, &batch->header,
        &sieve->filter->scratch, CLEAN_BATCH_BYTES_MAX);
    if (rc < 0)
        return rc;
    for (;;) {
        const uint8_t *from = iter.at;
        rc = batch_iter_next(&iter, &record);
        if (rc <= 0)
            return rc;
        bool keep = stays(sieve, &record);
        if (!build)
            count(sieve, &record, keep);
        else if (keep && sieve->base_before == sieve->base_after)
            copy_record(sieve, from, iter.at);
        else if (keep)
            move_record(sieve, from, iter.at);
    }
}

/* ---- the batch around them ------------------------------------------------------------------ */

/* Only the header is left; it keeps what says which sequences the producer has used. */
static int
build_empty(struct sieve *sieve)
{
    struct buf *out = &sieve->filter->out;
    struct batch_header header = sieve->batch->header;
    header.length = BATCH_HEADER_BYTES - BATCH_OVERHEAD_BYTES;
    header.attributes &= (int16_t) ~(BATCH_ATTR_CODEC | BATCH_ATTR_DELETE_HORIZON);
    header.base_timestamp = -1;
    header.count = 0;
    uint8_t *p = buf_extend(out, BATCH_HEADER_BYTES);
    if (!p)
        return err_no_memory();
    batch_header_write(p, &header);
    batch_seal(p, BATCH_HEADER_BYTES);
    return CLEAN_CHANGED;
}

static int
seal(struct sieve *sieve)
{
    struct buf *out = &sieve->filter->out;
    struct batch_header header = sieve->batch->header;
    if (buf_failed(out) || buf_failed(&sieve->filter->records))
        return err_no_memory();
    if (out->length > INT32_MAX)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "the batch would grow beyond 2 GiB");
    header.length = (int32_t)(out->length - BATCH_OVERHEAD_BYTES);
    header.count = sieve->kept;
    header.base_timestamp = sieve->base_after;
    if (sieve->marked)
        header.attributes |= BATCH_ATTR_DELETE_HORIZON;
    if (!(header.attributes & BATCH_ATTR_LOG_APPEND))
        header.max_timestamp = sieve->newest;
    batch_header_write(out->data, &header);
    batch_seal(out->data, out->length);
    return CLEAN_CHANGED;
}

/* The records that stay, with their old codec. */
static int
build(struct sieve *sieve)
{
    struct clean_filter *filter = sieve->filter;
    int codec = batch_codec(&sieve->batch->header);
    buf_clear(&filter->records);
    int rc = each_record(sieve, true);
    if (rc < 0)
        return rc;
    if (!buf_extend(&filter->out, BATCH_HEADER_BYTES) || buf_failed(&filter->records))
        return err_no_memory();
    rc = codec_compress(codec, 0, filter->records.data, filter->records.length, &filter->out);
    return rc < 0 ? rc : seal(sieve);
}

/* ---- the decision --------------------------------------------------------------------------- */

/* Whether an empty batch still tells something about its producer. */
static bool
tells_of_producer(const struct sieve *sieve)
{
    const struct clean_filter *filter = sieve->filter;
    const struct batch_header *header = &sieve->batch->header;
    if (header->producer_id < 0 || header->max_timestamp < filter->producer_before_ms)
        return false;
    return clean_map_get(filter->map, CLEAN_KEY_PRODUCER, &header->producer_id,
               sizeof header->producer_id) <= header->base_offset;
}

static int
decide(struct sieve *sieve)
{
    struct clean_filter *filter = sieve->filter;
    const struct batch_header *header = &sieve->batch->header;
    sieve->marked =
        sieve->deletions && sieve->may_mark && !(header->attributes & BATCH_ATTR_DELETE_HORIZON);
    filter->kept += sieve->kept;
    filter->dropped += header->count - sieve->kept;
    if (sieve->kept == 0) {
        if (!sieve->batch->last && !tells_of_producer(sieve))
            return CLEAN_GONE;
        return header->count == 0 ? CLEAN_SAME : build_empty(sieve);
    }
    if (!sieve->dropped && !sieve->marked)
        return CLEAN_SAME;
    if (sieve->marked)
        sieve->base_after = filter->horizon_ms;
    return build(sieve);
}

int
clean_filter_batch(struct clean_filter *filter, const struct clean_batch *batch)
{
    const struct batch_header *header = &batch->header;
    bool marked = header->attributes & BATCH_ATTR_DELETE_HORIZON;
    struct sieve sieve = {.filter = filter,
        .batch = batch,
        .passed = marked && header->base_timestamp <= filter->passed_ms,
        .may_mark = batch_next_offset(header) <= filter->end_offset,
        .base_before = header->base_timestamp,
        .base_after = header->base_timestamp};
    buf_clear(&filter->out);
    /* Control batches are no records of the application. */
    if (header->base_offset >= filter->end_offset || header->attributes & BATCH_ATTR_CONTROL) {
        filter->kept += header->count;
        return CLEAN_SAME;
    }
    int rc = each_record(&sieve, false);
    return rc < 0 ? rc : decide(&sieve);
}
