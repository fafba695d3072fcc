/* SPDX-License-Identifier: Apache-2.0
 * What a codec gives to codec.c, and what codec.c gives to it. Only for libbus/record/codec*.c.
 */
#ifndef RECORD_CODEC_IMPL_H
#define RECORD_CODEC_IMPL_H

#include "base/buf.h"

#include <stddef.h>
#include <stdint.h>

struct codec_impl {
    int level_min;
    int level_max;

    /** As codec_compress(); may leave half a result in `out` when it fails. */
    int (*compress)(int level, const void *bytes, size_t n, struct buf *out);

    /** As codec_decompress(); may leave half a result in `out` when it fails. */
    int (*decompress)(const void *bytes, size_t n, size_t limit_bytes, struct buf *out);

    /** Releases what this thread keeps; NULL when nothing is kept. */
    void (*thread_fini)(void);
};

extern const struct codec_impl codec_gzip;
extern const struct codec_impl codec_lz4;
extern const struct codec_impl codec_snappy;
extern const struct codec_impl codec_zstd;

/** Where the output of a decoder goes whose size is not known beforehand. */
struct codec_sink {
    struct buf *out;    /* borrowed */
    size_t start;       /* bytes in `out` before */
    size_t limit_bytes; /* that may follow */
};

/**
 * Makes room behind the end of the sink and tells how much of it to use: at least a byte, so that
 * a decoder can show that the limit is exceeded. Returns 0, -BUS_ERR_MESSAGE_TOO_LARGE when it was,
 * or -BUS_ERR_NO_MEMORY.
 */
int codec_sink_room(struct codec_sink *sink, size_t *room);

/** -BUS_ERR_MESSAGE_TOO_LARGE when more than the limit came out, else 0. */
int codec_sink_check(const struct codec_sink *sink);

/** Sets the text and returns -BUS_ERR_MESSAGE_TOO_LARGE. */
int codec_too_large(size_t limit_bytes);

/** Sets "CODEC: WHY" and returns -BUS_ERR_CORRUPT_MESSAGE. */
int codec_corrupt(const char *codec, const char *why);

/** For a codec about to keep something for this thread: has it released when the thread ends. */
void codec_thread_keeps(void);

#endif
