/* SPDX-License-Identifier: Apache-2.0 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#ifdef HAVE_LZ4

#include "base/err.h"
#include "record/codec_impl.h"

#include <lz4frame.h>
#include <stdbool.h>
#include <string.h>

static _Thread_local LZ4F_dctx *decompressor;

static int
lz4_compress(int level, const void *bytes, size_t n, struct buf *out)
{
    const LZ4F_preferences_t preferences = {
        /* Kafka's Java client reads independent blocks only. */
        .frameInfo = {.blockSizeID = LZ4F_max64KB, .blockMode = LZ4F_blockIndependent},
        .compressionLevel = level,
    };
    size_t bound = LZ4F_compressFrameBound(n, &preferences);
    if (buf_reserve(out, bound) < 0)
        return err_no_memory();
    size_t done = LZ4F_compressFrame(out->data + out->length, bound, bytes, n, &preferences);
    /* With room for the bound only an allocation can fail. */
    if (LZ4F_isError(done))
        return err_no_memory();
    out->length += done;
    return 0;
}

/* The library has no number for its errors outside its static interface, only a name. */
static int
lz4_failed(size_t code)
{
    const char *name = LZ4F_getErrorName(code);
    if (strcmp(name, "ERROR_allocation_failed") == 0)
        return err_no_memory();
    return codec_corrupt("lz4", name);
}

static int
decompress_stream(const uint8_t *at, size_t n, struct codec_sink *sink)
{
    size_t hint;
    bool filled;
    do {
        size_t room;
        int rc = codec_sink_room(sink, &room);
        if (rc < 0)
            return rc;
        size_t produced = room;
        size_t consumed = n;
        hint = LZ4F_decompress(
            decompressor, sink->out->data + sink->out->length, &produced, at, &consumed, NULL);
        if (LZ4F_isError(hint))
            return lz4_failed(hint);
        sink->out->length += produced;
        at += consumed;
        n -= consumed;
        filled = produced == room;
        if (consumed == 0 && produced == 0)
            break;
    } while (n > 0 || (hint > 0 && filled));
    if (hint > 0 || n > 0)
        return codec_corrupt("lz4", "the frame is cut short");
    return codec_sink_check(sink);
}

static int
lz4_decompress(const void *bytes, size_t n, size_t limit_bytes, struct buf *out)
{
    if (n == 0)
        return codec_corrupt("lz4", "nothing there");
    codec_thread_keeps();
    if (!decompressor && LZ4F_isError(LZ4F_createDecompressionContext(&decompressor, LZ4F_VERSION)))
        return err_no_memory();
    LZ4F_resetDecompressionContext(decompressor);
    struct codec_sink sink = {out, out->length, limit_bytes};
    return decompress_stream(bytes, n, &sink);
}

static void
lz4_thread_fini(void)
{
    LZ4F_freeDecompressionContext(decompressor);
    decompressor = NULL;
}

const struct codec_impl codec_lz4 = {
    .level_min = 1,
    .level_max = 17, /* Kafka's range; the library takes all above 12 as 12 */
    .compress = lz4_compress,
    .decompress = lz4_decompress,
    .thread_fini = lz4_thread_fini,
};

#endif
