/* SPDX-License-Identifier: Apache-2.0
 * Walks over the records of a batch, in place when they are not compressed. The bytes may lie in
 * memory that a hostile process changes meanwhile: every length is read once and checked against
 * the end of the batch before it is used.
 */
#ifndef RECORD_BATCH_ITER_H
#define RECORD_BATCH_ITER_H

#include "base/buf.h"
#include "record/batch_header.h"
#include "record/varint.h"

#include <bus/errors.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** One record; the pointers borrow the batch or the iterator's scratch. */
struct record {
    int64_t offset;
    int64_t timestamp; /* ms since 1970 */
    const uint8_t *key;
    int32_t key_bytes; /* -1: null */
    const uint8_t *value;
    int32_t value_bytes;    /* -1: null */
    const uint8_t *headers; /* encoded; see record_header_next() */
    size_t headers_bytes;
    int32_t header_count; /* at most headers_bytes / 2 */
};

struct batch_iter {
    const uint8_t *at;
    const uint8_t *end;
    int64_t base_offset;
    int64_t base_timestamp;
    int64_t append_timestamp; /* of every record, with log_append */
    int32_t count;            /* records in the batch */
    int32_t left;             /* records not yet given */
    int32_t previous_delta;   /* offset delta of the record given last; -1 before the first */
    int32_t last_delta;
    bool log_append;
};

/**
 * Starts at the first record of the batch of `bytes` bytes at `batch`. `h` is from
 * batch_header_read(). Compressed records are decompressed into `scratch` (cleared first; must
 * outlive the iteration, caller owns it; NULL: compressed batches are refused), to
 * `decompressed_max` bytes at most. Returns 0, -BUS_ERR_CORRUPT_MESSAGE, -BUS_ERR_UNSUPPORTED_CODEC
 * or -BUS_ERR_NO_MEMORY. Thread: any, one at a time per iterator. Blocks: no.
 */
int batch_iter_init(struct batch_iter *it, const void *batch, size_t bytes,
    const struct batch_header *h, struct buf *scratch, size_t decompressed_max);

/**
 * The same over records that are decompressed already, `bytes` of them. Borrows all. Thread: any.
 * Blocks: no.
 */
void batch_iter_over(
    struct batch_iter *it, const struct batch_header *h, const uint8_t *records, size_t bytes);

/** Ends the iteration and sets the text: the next record, or what follows the last, is malformed.
 */
void batch_iter_corrupt(struct batch_iter *it);

/** Reads the length at *p and the bytes that it announces; a negative length is null. */
static inline bool
batch_iter_bytes(const uint8_t **p, const uint8_t *end, const uint8_t **out, int32_t *out_bytes)
{
    int32_t n;
    if (!varint_get_i32(p, end, &n))
        return false;
    if (n < 0) {
        *out = NULL;
        *out_bytes = -1;
        return n == -1;
    }
    if (n > end - *p)
        return false;
    *out = *p;
    *out_bytes = n;
    *p += n;
    return true;
}

/** The header part of a record that ends at `end`: its count, and where the headers lie. */
static inline bool
batch_iter_headers(const uint8_t *p, const uint8_t *end, struct record *out)
{
    int32_t count;
    if (!varint_get_i32(&p, end, &count) || count < 0 || count > (end - p) / 2)
        return false;
    if (count == 0 && p != end)
        return false;
    out->headers = p;
    out->headers_bytes = (size_t)(end - p);
    out->header_count = count;
    return true;
}

/** Decodes the record at it->at. False: it is malformed. */
static inline bool
batch_iter_decode(struct batch_iter *it, struct record *out)
{
    const uint8_t *p = it->at;
    int32_t length;
    if (!varint_get_i32(&p, it->end, &length) || length < 1 || length > it->end - p)
        return false;
    const uint8_t *end = p + length;
    p++; /* record attributes: no bit has a meaning */
    int64_t timestamp_delta;
    int32_t offset_delta;
    if (!varint_get_i64(&p, end, &timestamp_delta) || !varint_get_i32(&p, end, &offset_delta) ||
        offset_delta <= it->previous_delta || offset_delta > it->last_delta ||
        !batch_iter_bytes(&p, end, &out->key, &out->key_bytes) ||
        !batch_iter_bytes(&p, end, &out->value, &out->value_bytes) ||
        !batch_iter_headers(p, end, out))
        return false;
    out->offset = it->base_offset + offset_delta;
    /* Any delta may stand in the bytes, so the sum wraps as Java's does. */
    out->timestamp = it->log_append
                         ? it->append_timestamp
                         : (int64_t)((uint64_t)it->base_timestamp + (uint64_t)timestamp_delta);
    it->previous_delta = offset_delta;
    it->at = end;
    return true;
}

/**
 * Gives the next record in *out. Returns 1, 0 behind the last, or -BUS_ERR_CORRUPT_MESSAGE. Offsets
 * rise strictly and stay within the batch, whatever the bytes are. Thread: as for the iterator.
 */
static inline int
batch_iter_next(struct batch_iter *it, struct record *out)
{
    if (__builtin_expect(it->left > 0, 1)) {
        if (__builtin_expect(batch_iter_decode(it, out), 1)) {
            it->left--;
            return 1;
        }
    } else if (it->at == it->end) {
        return 0;
    }
    batch_iter_corrupt(it);
    return -BUS_ERR_CORRUPT_MESSAGE;
}

/** One header of a record; the pointers borrow what the record borrows. */
struct record_header {
    const uint8_t *key;
    int32_t key_bytes;
    const uint8_t *value;
    int32_t value_bytes; /* -1: null */
};

/** Where record_header_next() is; zeroed at the start. */
struct record_header_cursor {
    size_t at;     /* bytes */
    int32_t given; /* headers */
};

/**
 * Gives the next header of the record in *out. Returns 1, 0 behind the last, or
 * -BUS_ERR_CORRUPT_MESSAGE. Thread: any. Blocks: no.
 */
int record_header_next(
    const struct record *record, struct record_header_cursor *cursor, struct record_header *out);

#endif
