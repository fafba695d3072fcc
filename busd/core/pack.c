/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pack.h"

#include "base/bytes.h"
#include "base/check.h"

#include <string.h>

enum { NULL_STRING = 0xffff };

void
pack_u8(struct buf *out, unsigned value)
{
    MUST(value <= UINT8_MAX);
    uint8_t byte = (uint8_t)value;
    buf_put(out, &byte, 1);
}

void
pack_i32(struct buf *out, int32_t value)
{
    uint8_t bytes[4];
    bytes_put_i32(bytes, value);
    buf_put(out, bytes, sizeof bytes);
}

void
pack_i64(struct buf *out, int64_t value)
{
    uint8_t bytes[8];
    bytes_put_i64(bytes, value);
    buf_put(out, bytes, sizeof bytes);
}

void
pack_string(struct buf *out, const char *text)
{
    size_t n = text ? strlen(text) : NULL_STRING;
    MUST(n < NULL_STRING || !text);
    uint8_t length[2];
    bytes_put_u16(length, (uint16_t)n);
    buf_put(out, length, sizeof length);
    if (text)
        buf_put(out, text, n);
}

const uint8_t *
unpack_bytes(struct unpack *in, size_t n)
{
    if (in->bad || (size_t)(in->end - in->at) < n) {
        in->bad = true;
        return NULL;
    }
    const uint8_t *bytes = in->at;
    in->at += n;
    return bytes;
}

unsigned
unpack_u8(struct unpack *in)
{
    const uint8_t *bytes = unpack_bytes(in, 1);
    return bytes ? *bytes : 0;
}

int32_t
unpack_i32(struct unpack *in)
{
    const uint8_t *bytes = unpack_bytes(in, 4);
    return bytes ? bytes_get_i32(bytes) : 0;
}

int64_t
unpack_i64(struct unpack *in)
{
    const uint8_t *bytes = unpack_bytes(in, 8);
    return bytes ? bytes_get_i64(bytes) : 0;
}

const char *
unpack_string(struct unpack *in, struct arena *arena)
{
    const uint8_t *length = unpack_bytes(in, 2);
    if (!length || bytes_get_u16(length) == NULL_STRING)
        return NULL;
    size_t n = bytes_get_u16(length);
    const uint8_t *bytes = unpack_bytes(in, n);
    if (!bytes || memchr(bytes, 0, n)) {
        in->bad = true;
        return NULL;
    }
    char *text = arena_string(arena, bytes, n);
    in->bad = !text;
    return text;
}
