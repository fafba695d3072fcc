/* SPDX-License-Identifier: Apache-2.0
 * RecordBatch v2: header, iteration, verification. Batches are built by record/builder.h.
 */
#ifndef RECORD_BATCH_H
#define RECORD_BATCH_H

#include "base/buf.h"
#include "record/batch_header.h"
#include "record/batch_iter.h"

#include <stddef.h>

/** Flags of batch_verify(). */
enum {
    BATCH_VERIFY_PRODUCE = 1, /* the rules for a batch that a client sends */
    BATCH_VERIFY_KEYS = 2,    /* every record has a key: the topic is compacted */
};

/**
 * Checks a batch completely: CRC, then every record: lengths nest, offset deltas rise and stay
 * within last_offset_delta, the count is right, no timestamp is above max_timestamp (CreateTime),
 * headers are well formed. With BATCH_VERIFY_PRODUCE also: base offset 0, records and at least one,
 * deltas contiguous from 0, no control batch, a producer id comes with a sequence.
 *
 * `h` is from batch_header_read() of the same bytes. `scratch` receives the decompressed records
 * (cleared first; caller owns it), `decompressed_max` bounds them. The batch must not change
 * during the call: verify a private copy of what others can write.
 *
 * Returns 0, -BUS_ERR_CORRUPT_MESSAGE, -BUS_ERR_INVALID_RECORD (a rule of PRODUCE or KEYS is
 * broken), -BUS_ERR_INVALID_TIMESTAMP (a timestamp above max_timestamp, with PRODUCE),
 * -BUS_ERR_MESSAGE_TOO_LARGE (it decompresses to more than the bound), -BUS_ERR_UNSUPPORTED_CODEC
 * or -BUS_ERR_NO_MEMORY. The text names the index of the record. Thread: any. Blocks: no.
 */
int batch_verify(const void *p, size_t bytes, const struct batch_header *h, struct buf *scratch,
    size_t decompressed_max, unsigned flags);

/**
 * As batch_verify() with BATCH_VERIFY_PRODUCE, but for the header's maximum of the timestamps,
 * which some clients leave out or get wrong: *max_timestamp is the true one.
 */
int batch_verify_produced(const void *p, size_t bytes, const struct batch_header *h,
    struct buf *scratch, size_t decompressed_max, int64_t *max_timestamp);

#endif
