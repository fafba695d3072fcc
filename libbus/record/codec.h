/* SPDX-License-Identifier: Apache-2.0
 * Compression of the records of a batch, in the formats that Kafka clients use: gzip, snappy
 * (xerial framing written, raw read as well), LZ4 frame, zstd. zstd is always there, the others
 * when configure found their libraries.
 *
 * The working memory of the libraries is kept per thread and released when the thread ends or by
 * codec_thread_fini().
 */
#ifndef RECORD_CODEC_H
#define RECORD_CODEC_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

/** The numbers are those of the batch attributes. */
enum codec {
    CODEC_NONE = 0,
    CODEC_GZIP = 1,
    CODEC_SNAPPY = 2,
    CODEC_LZ4 = 3,
    CODEC_ZSTD = 4,
};

enum { CODEC_COUNT = 5 };

/** Whether this build has the codec; false for numbers that name none. Thread: any. */
bool codec_available(int codec);

/** "none", "gzip", "snappy", "lz4", "zstd" or "unknown"; static. Thread: any. */
const char *codec_name(int codec);

/**
 * The codec of a name as codec_name() gives it. -BUS_ERR_INVALID_CONFIG when there is none,
 * -BUS_ERR_UNSUPPORTED_CODEC when this build lacks it. Thread: any.
 */
int codec_of_name(const char *name);

/**
 * Checks a level: 0 (the codec's default) or one that the codec knows; CODEC_NONE and snappy know
 * none. Returns 0 or -BUS_ERR_INVALID_CONFIG with the range in the text. Thread: any.
 */
int codec_level_check(int codec, int level);

/**
 * Appends `n` compressed bytes to `out`. `level` 0 is the codec's default; levels out of range
 * are clamped. CODEC_NONE copies. Returns 0, -BUS_ERR_UNSUPPORTED_CODEC or -BUS_ERR_NO_MEMORY;
 * `out` then has its old length. Borrows `bytes`. Thread: any, one at a time per `out`. Blocks: no.
 */
int codec_compress(int codec, int level, const void *bytes, size_t n, struct buf *out);

/**
 * Appends the original of `n` compressed bytes to `out`, `limit_bytes` at most.
 * -BUS_ERR_MESSAGE_TOO_LARGE when it would be longer, -BUS_ERR_CORRUPT_MESSAGE when the input is
 * damaged, -BUS_ERR_UNSUPPORTED_CODEC, -BUS_ERR_NO_MEMORY; `out` then has its old length. Borrows
 * `bytes`, which may not change during the call. Thread: any, one at a time per `out`. Blocks: no.
 */
int codec_decompress(int codec, const void *bytes, size_t n, size_t limit_bytes, struct buf *out);

/** Releases what this thread keeps; the next use allocates again. */
void codec_thread_fini(void);

#endif
