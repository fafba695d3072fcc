/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "record/codec_impl.h"

#include <stdbool.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { KEPT_BYTES_MAX = 16 << 20 }; /* by a context between two batches */

/* Making a context costs far more than a small batch does. */
static _Thread_local ZSTD_CCtx *compressor;
static _Thread_local ZSTD_DCtx *decompressor;

static int
zstd_compress(int level, const void *bytes, size_t n, struct buf *out)
{
    codec_thread_keeps();
    if (!compressor)
        compressor = ZSTD_createCCtx();
    size_t bound = ZSTD_compressBound(n);
    if (!compressor || buf_reserve(out, bound) < 0)
        return err_no_memory();
    size_t done = ZSTD_compressCCtx(compressor, out->data + out->length, bound, bytes, n, level);
    /* With room for the bound and valid parameters only an allocation can fail. */
    if (ZSTD_isError(done))
        return err_no_memory();
    out->length += done;
    return 0;
}

static int
zstd_failed(size_t code)
{
    if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation)
        return err_no_memory();
    return codec_corrupt("zstd", ZSTD_getErrorName(code));
}

/* A single frame that tells its size, as most writers make it: no intermediate window. */
static int
decompress_known(const void *bytes, size_t n, size_t size, struct buf *out)
{
    if (buf_reserve(out, size + 1) < 0)
        return err_no_memory();
    size_t done = ZSTD_decompressDCtx(decompressor, out->data + out->length, size, bytes, n);
    if (ZSTD_isError(done))
        return zstd_failed(done);
    out->length += done;
    return 0;
}

/* Frames without a size, as streaming writers make them (Kafka's Java client is one). */
static int
decompress_stream(const void *bytes, size_t n, size_t limit_bytes, struct buf *out)
{
    struct codec_sink sink = {out, out->length, limit_bytes};
    ZSTD_inBuffer in = {bytes, n, 0};
    size_t rest;
    bool filled;
    ZSTD_DCtx_reset(decompressor, ZSTD_reset_session_only);
    do {
        size_t room;
        int rc = codec_sink_room(&sink, &room);
        if (rc < 0)
            return rc;
        ZSTD_outBuffer to = {out->data + out->length, room, 0};
        rest = ZSTD_decompressStream(decompressor, &to, &in);
        if (ZSTD_isError(rest))
            return zstd_failed(rest);
        out->length += to.pos;
        filled = to.pos == room;
    } while (in.pos < n || (rest > 0 && filled));
    if (rest > 0)
        return codec_corrupt("zstd", "the frame is cut short");
    return codec_sink_check(&sink);
}

/* A frame tells how large a window it wants, up to 128 MiB: so much is not kept for the next one.
 */
static void
drop_large_window(void)
{
    if (ZSTD_sizeof_DCtx(decompressor) <= KEPT_BYTES_MAX)
        return;
    ZSTD_freeDCtx(decompressor);
    decompressor = NULL;
}

static int
decompress_by_stream(const void *bytes, size_t n, size_t limit_bytes, struct buf *out)
{
    int rc = decompress_stream(bytes, n, limit_bytes, out);
    drop_large_window();
    return rc;
}

static int
zstd_decompress(const void *bytes, size_t n, size_t limit_bytes, struct buf *out)
{
    if (n == 0)
        return codec_corrupt("zstd", "nothing there");
    codec_thread_keeps();
    if (!decompressor)
        decompressor = ZSTD_createDCtx();
    if (!decompressor)
        return err_no_memory();
    unsigned long long size = ZSTD_getFrameContentSize(bytes, n);
    if (size == ZSTD_CONTENTSIZE_ERROR)
        return codec_corrupt("zstd", "not a frame");
    if (size == ZSTD_CONTENTSIZE_UNKNOWN || ZSTD_findFrameCompressedSize(bytes, n) != n)
        return decompress_by_stream(bytes, n, limit_bytes, out);
    if (size > limit_bytes)
        return codec_too_large(limit_bytes);
    return decompress_known(bytes, n, (size_t)size, out);
}

static void
zstd_thread_fini(void)
{
    ZSTD_freeCCtx(compressor);
    ZSTD_freeDCtx(decompressor);
    compressor = NULL;
    decompressor = NULL;
}

const struct codec_impl codec_zstd = {
    .level_min = -50, /* libzstd goes further down, where it hardly compresses */
    .level_max = 22,
    .compress = zstd_compress,
    .decompress = zstd_decompress,
    .thread_fini = zstd_thread_fini,
};
