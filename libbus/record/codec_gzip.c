/* SPDX-License-Identifier: Apache-2.0 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#ifdef HAVE_ZLIB

#include "base/err.h"
#include "record/codec_impl.h"

#include <limits.h>
#include <stdbool.h>
#include <zlib.h>

enum {
    WINDOW_GZIP = 15 + 16, /* the largest window, gzip header and trailer */
    MEMORY_LEVEL = 8,      /* zlib's default */
};

static _Thread_local z_stream deflater;
static _Thread_local z_stream inflater;
static _Thread_local bool deflater_ready;
static _Thread_local bool inflater_ready;
static _Thread_local int deflater_level;

static int
deflater_prepare(int level)
{
    if (deflater_ready && deflater_level == level)
        return deflateReset(&deflater);
    if (deflater_ready)
        deflateEnd(&deflater);
    deflater = (z_stream){0};
    deflater_level = level;
    int rc =
        deflateInit2(&deflater, level, Z_DEFLATED, WINDOW_GZIP, MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
    deflater_ready = rc == Z_OK;
    return rc;
}

static int
gzip_compress(int level, const void *bytes, size_t n, struct buf *out)
{
    codec_thread_keeps();
    if (deflater_prepare(level == 0 ? Z_DEFAULT_COMPRESSION : level) != Z_OK)
        return err_no_memory();
    size_t bound = deflateBound(&deflater, n);
    if (bound > UINT_MAX || buf_reserve(out, bound) < 0)
        return err_no_memory();
    deflater.next_in = (Bytef *)(uintptr_t)bytes; /* zlib does not write there */
    deflater.avail_in = (uInt)n;
    deflater.next_out = out->data + out->length;
    deflater.avail_out = (uInt)bound;
    /* With room for the bound one call does it. */
    if (deflate(&deflater, Z_FINISH) != Z_STREAM_END)
        return err_no_memory();
    out->length += bound - deflater.avail_out;
    return 0;
}

/* One step of inflate into fresh room; 1 at the end of all members, 0 to go on. */
static int
inflate_step(struct codec_sink *sink)
{
    size_t room;
    int rc = codec_sink_room(sink, &room);
    if (rc < 0)
        return rc;
    inflater.next_out = sink->out->data + sink->out->length;
    inflater.avail_out = (uInt)room;
    int status = inflate(&inflater, Z_NO_FLUSH);
    sink->out->length += room - inflater.avail_out;
    if (status == Z_STREAM_END && inflater.avail_in > 0)
        return inflateReset(&inflater) == Z_OK ? 0 : codec_corrupt("gzip", "reset failed");
    if (status == Z_STREAM_END)
        return 1;
    if (status == Z_MEM_ERROR)
        return err_no_memory();
    if (status == Z_BUF_ERROR)
        return codec_corrupt("gzip", "the stream is cut short");
    return status == Z_OK ? 0 : codec_corrupt("gzip", "the stream is damaged");
}

static int
gzip_decompress(const void *bytes, size_t n, size_t limit_bytes, struct buf *out)
{
    codec_thread_keeps();
    if (!inflater_ready)
        inflater = (z_stream){0};
    int status = inflater_ready ? inflateReset(&inflater) : inflateInit2(&inflater, WINDOW_GZIP);
    if (status != Z_OK)
        return err_no_memory();
    inflater_ready = true;
    inflater.next_in = (Bytef *)(uintptr_t)bytes; /* zlib does not write there */
    inflater.avail_in = (uInt)n;
    struct codec_sink sink = {out, out->length, limit_bytes};
    int rc;
    do
        rc = inflate_step(&sink);
    while (rc == 0);
    return rc < 0 ? rc : codec_sink_check(&sink);
}

static void
gzip_thread_fini(void)
{
    if (deflater_ready)
        deflateEnd(&deflater);
    if (inflater_ready)
        inflateEnd(&inflater);
    deflater_ready = false;
    inflater_ready = false;
}

const struct codec_impl codec_gzip = {
    .level_min = 1,
    .level_max = 9,
    .compress = gzip_compress,
    .decompress = gzip_decompress,
    .thread_fini = gzip_thread_fini,
};

#endif
