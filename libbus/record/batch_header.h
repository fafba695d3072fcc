/* SPDX-License-Identifier: Apache-2.0
 * The header of a RecordBatch v2: reading it, patching the fields that a log assigns, the CRC.
 */
#ifndef RECORD_BATCH_HEADER_H
#define RECORD_BATCH_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BATCH_HEADER_BYTES = 61,
    BATCH_OVERHEAD_BYTES = 12, /* base offset and length: what the length does not count */
    BATCH_MAGIC = 2,
};

/** Bits of `attributes`. */
enum {
    BATCH_ATTR_CODEC = 7, /* mask: enum codec */
    BATCH_ATTR_LOG_APPEND = 8,
    BATCH_ATTR_TRANSACTIONAL = 16,
    BATCH_ATTR_CONTROL = 32,
    BATCH_ATTR_DELETE_HORIZON = 64,
};

/** Where the fields lie, in bytes from the start of the batch. */
enum {
    BATCH_AT_BASE_OFFSET = 0,
    BATCH_AT_LENGTH = 8,
    BATCH_AT_LEADER_EPOCH = 12,
    BATCH_AT_MAGIC = 16,
    BATCH_AT_CRC = 17,
    BATCH_AT_ATTRIBUTES = 21, /* the CRC covers from here on */
    BATCH_AT_LAST_OFFSET_DELTA = 23,
    BATCH_AT_BASE_TIMESTAMP = 27,
    BATCH_AT_MAX_TIMESTAMP = 35,
    BATCH_AT_PRODUCER_ID = 43,
    BATCH_AT_PRODUCER_EPOCH = 51,
    BATCH_AT_BASE_SEQUENCE = 53,
    BATCH_AT_COUNT = 57,
};

struct batch_header {
    int64_t base_offset;
    int32_t length; /* bytes behind this field */
    int32_t leader_epoch;
    int8_t magic;
    uint32_t crc;
    int16_t attributes;
    int32_t last_offset_delta;
    int64_t base_timestamp; /* ms since 1970, or the delete horizon with its bit */
    int64_t max_timestamp;  /* ms since 1970, -1 none */
    int64_t producer_id;    /* -1 none */
    int16_t producer_epoch; /* -1 none */
    int32_t base_sequence;  /* -1 none */
    int32_t count;          /* records; 0 in a batch that compaction emptied */
};

/** Outcomes of batch_header_read(). */
enum {
    BATCH_OK = 0,
    BATCH_SHORT = 1, /* fewer bytes are available than the header or the whole batch has */
    BATCH_END = 2,   /* the length is 0: nothing was written here yet */
};

/**
 * Reads and checks the header at `p`, of which `avail` bytes may be read. BATCH_OK: the whole batch
 * lies within `avail`. BATCH_SHORT: see above; when `avail` is at least BATCH_HEADER_BYTES, *h is
 * filled and checked all the same, else it is zeroed. BATCH_END. -BUS_ERR_CORRUPT_MESSAGE: this
 * cannot be a batch. After a success: magic is 2, base_offset ≥ 0, base_offset + last_offset_delta
 * + 1 does not overflow, 0 ≤ count ≤ last_offset_delta + 1, the codec is a known number. The CRC is
 * not looked at. `p` may be memory that others write: each field is read once. Thread: any. Blocks:
 * no.
 */
int batch_header_read(const void *p, size_t avail, struct batch_header *h);

/** The size of the whole batch in bytes. */
static inline size_t
batch_bytes(const struct batch_header *h)
{
    return (size_t)BATCH_OVERHEAD_BYTES + (size_t)h->length;
}

/** The offset behind the last record, also when compaction removed that record. */
static inline int64_t
batch_next_offset(const struct batch_header *h)
{
    return h->base_offset + h->last_offset_delta + 1;
}

/** The enum codec of the records. */
static inline int
batch_codec(const struct batch_header *h)
{
    return h->attributes & BATCH_ATTR_CODEC;
}

/** Writes every field of *h at `p` (BATCH_HEADER_BYTES). */
void batch_header_write(void *p, const struct batch_header *h);

/** Whether the stored CRC is that of the batch of `bytes` ≥ BATCH_HEADER_BYTES bytes. Thread: any.
 */
bool batch_crc_ok(const void *p, size_t bytes);

/** Computes the CRC of a batch that is otherwise complete and stores it. */
void batch_seal(void *p, size_t bytes);

/** Sets what a log assigns and the CRC does not cover. `p` need not be aligned. */
void batch_patch(void *p, int64_t base_offset, int32_t leader_epoch);

/** Makes it a LogAppendTime batch of `now_ms`: attribute bit, maxTimestamp, CRC. */
void batch_stamp_log_append(void *p, size_t bytes, int64_t now_ms);

/** The same for a batch in two parts: its header at `p`, the `n` bytes behind it at `rest`. */
void batch_stamp_log_append_parts(void *p, const void *rest, size_t n, int64_t now_ms);

#endif
