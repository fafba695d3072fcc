/* SPDX-License-Identifier: Apache-2.0
 *
 * The framing of snappy-java ("xerial"): an 8-byte mark, two 32-bit versions, then blocks, each
 * behind its 32-bit length. librdkafka sends one raw block instead.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#ifdef HAVE_SNAPPY

#include "base/bytes.h"
#include "base/err.h"
#include "record/codec_impl.h"

#include <snappy-c.h>

enum {
    MARK_BYTES = 8,
    FRAME_HEADER_BYTES = 16,
    FRAME_VERSION = 1,
    BLOCK_BYTES = 32 * 1024, /* before compression, snappy-java's default */
};

static const char mark[MARK_BYTES] = "\x82SNAPPY";

static int
compress_block(const char *bytes, size_t n, struct buf *out)
{
    size_t room = snappy_max_compressed_length(n);
    if (buf_reserve(out, sizeof(uint32_t) + room) < 0)
        return err_no_memory();
    uint8_t *at = out->data + out->length;
    if (snappy_compress(bytes, n, (char *)at + sizeof(uint32_t), &room) != SNAPPY_OK)
        return err_no_memory();
    bytes_put_u32(at, (uint32_t)room);
    out->length += sizeof(uint32_t) + room;
    return 0;
}

static int
compress_xerial(int level, const void *bytes, size_t n, struct buf *out)
{
    (void)level;
    uint8_t *header = buf_extend(out, FRAME_HEADER_BYTES);
    if (!header)
        return err_no_memory();
    memcpy(header, mark, MARK_BYTES);
    bytes_put_u32(header + MARK_BYTES, FRAME_VERSION);
    bytes_put_u32(header + MARK_BYTES + 4, FRAME_VERSION);
    const char *at = bytes;
    while (n > 0) {
        size_t piece = n < BLOCK_BYTES ? n : BLOCK_BYTES;
        int rc = compress_block(at, piece, out);
        if (rc < 0)
            return rc;
        at += piece;
        n -= piece;
    }
    return 0;
}

static int
decompress_block(const char *bytes, size_t n, struct codec_sink *sink)
{
    size_t size;
    if (snappy_uncompressed_length(bytes, n, &size) != SNAPPY_OK)
        return codec_corrupt("snappy", "a block has no valid length");
    size_t done = sink->out->length - sink->start;
    if (size > sink->limit_bytes - done)
        return codec_too_large(sink->limit_bytes);
    if (buf_reserve(sink->out, size + 1) < 0)
        return err_no_memory();
    char *to = (char *)sink->out->data + sink->out->length;
    if (snappy_uncompress(bytes, n, to, &size) != SNAPPY_OK)
        return codec_corrupt("snappy", "a block is damaged");
    sink->out->length += size;
    return 0;
}

static int
decompress_xerial(const uint8_t *at, size_t n, struct codec_sink *sink)
{
    while (n > 0) {
        uint32_t block;
        if (n < sizeof block || (block = bytes_get_u32(at)) > n - sizeof block)
            return codec_corrupt("snappy", "a block is cut short");
        int rc = decompress_block((const char *)at + sizeof block, block, sink);
        if (rc < 0)
            return rc;
        at += sizeof block + block;
        n -= sizeof block + block;
    }
    return 0;
}

static int
decompress_any(const void *bytes, size_t n, size_t limit_bytes, struct buf *out)
{
    struct codec_sink sink = {out, out->length, limit_bytes};
    if (n >= FRAME_HEADER_BYTES && memcmp(bytes, mark, MARK_BYTES) == 0)
        return decompress_xerial(
            (const uint8_t *)bytes + FRAME_HEADER_BYTES, n - FRAME_HEADER_BYTES, &sink);
    return decompress_block(bytes, n, &sink);
}

const struct codec_impl codec_snappy = {
    .compress = compress_xerial,
    .decompress = decompress_any,
};

#endif
