/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/frame.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "protocol/uvarint.h"

#include <string.h>

enum {
    REQUEST_FIXED_BYTES = 8, /* key, version, correlation id */
    CORRELATION_BYTES = 4,
    CLIENT_ID_LENGTH_BYTES = 2,
};

size_t
frame_begin(struct buf *out)
{
    size_t start = out->length;
    buf_extend(out, FRAME_PREFIX_BYTES);
    return start;
}

int
frame_end(struct buf *out, size_t start, size_t gap_bytes)
{
    int rc = 0;
    if (buf_failed(out)) {
        rc = err_no_memory();
    } else {
        size_t n = out->length - start - FRAME_PREFIX_BYTES;
        if (n > INT32_MAX || gap_bytes > INT32_MAX - n)
            rc = err_set(
                BUS_ERR_INVALID_REQUEST, "a frame of %zu and %zu bytes is too large", n, gap_bytes);
        else
            bytes_put_u32(out->data + start, (uint32_t)(n + gap_bytes));
    }
    if (rc < 0)
        out->length = start;
    return rc;
}

/* The bytes of a block of tagged fields, all of them skipped; 0 when it is malformed. */
static size_t
skip_tags(const uint8_t *p, size_t n)
{
    uint32_t count, tag, size;
    size_t at = uvarint_get(p, n, &count);
    for (uint32_t i = 0; at > 0 && i < count; i++) {
        size_t tag_bytes = uvarint_get(p + at, n - at, &tag);
        at += tag_bytes;
        size_t size_bytes = tag_bytes ? uvarint_get(p + at, n - at, &size) : 0;
        at += size_bytes;
        if (size_bytes == 0 || size > n - at)
            return 0;
        at += size;
    }
    return at;
}

static int
malformed(const char *what)
{
    return err_set(BUS_ERR_INVALID_REQUEST, "%s", what);
}

/* The client id: a string with a length of two bytes in every version. Returns its bytes. */
static int
decode_client_id(const uint8_t *p, size_t n, const char **out, struct arena *arena)
{
    if (n < CLIENT_ID_LENGTH_BYTES)
        return malformed("request header: the client id is cut off");
    int16_t length = bytes_get_i16(p);
    *out = NULL;
    if (length < 0)
        return CLIENT_ID_LENGTH_BYTES;
    p += CLIENT_ID_LENGTH_BYTES;
    if ((size_t)length > n - CLIENT_ID_LENGTH_BYTES)
        return malformed("request header: the client id is longer than the frame");
    if (memchr(p, 0, (size_t)length))
        return malformed("request header: the client id has a NUL byte");
    *out = arena_string(arena, p, (size_t)length);
    return *out ? CLIENT_ID_LENGTH_BYTES + length : -BUS_ERR_NO_MEMORY;
}

int
request_header_decode(
    const uint8_t *frame, size_t n, struct request_header *header, struct arena *arena)
{
    if (n < REQUEST_FIXED_BYTES)
        return malformed("request header: the frame is shorter than 8 bytes");
    MUST(n <= INT32_MAX);
    header->api_key = bytes_get_i16(frame);
    header->api_version = bytes_get_i16(frame + 2);
    header->correlation_id = bytes_get_i32(frame + 4);
    int used = decode_client_id(
        frame + REQUEST_FIXED_BYTES, n - REQUEST_FIXED_BYTES, &header->client_id, arena);
    if (used < 0)
        return used;
    size_t at = REQUEST_FIXED_BYTES + (size_t)used;
    const struct api_info *api = api_find(header->api_key);
    if (!api || header->api_version < api->flexible_from)
        return (int)at;
    size_t tags = skip_tags(frame + at, n - at);
    if (tags == 0)
        return malformed("request header: the tagged fields are malformed");
    return (int)(at + tags);
}

void
request_header_encode(
    struct buf *out, const struct api_info *api, const struct request_header *header)
{
    size_t length = header->client_id ? strlen(header->client_id) : 0;
    MUST(length <= INT16_MAX && header->api_key == api->key);
    uint8_t fixed[REQUEST_FIXED_BYTES + CLIENT_ID_LENGTH_BYTES];
    bytes_put_i16(fixed, header->api_key);
    bytes_put_i16(fixed + 2, header->api_version);
    bytes_put_i32(fixed + 4, header->correlation_id);
    bytes_put_i16(fixed + 8, header->client_id ? (int16_t)length : -1);
    buf_put(out, fixed, sizeof fixed);
    buf_put(out, header->client_id, length);
    if (header->api_version >= api->flexible_from)
        buf_put(out, "", 1);
}

bool
response_header_flexible(const struct api_info *api, int16_t version)
{
    return api->key != API_API_VERSIONS && version >= api->flexible_from;
}

void
response_header_encode(
    struct buf *out, const struct api_info *api, int16_t version, int32_t correlation_id)
{
    uint8_t bytes[CORRELATION_BYTES];
    bytes_put_i32(bytes, correlation_id);
    buf_put(out, bytes, sizeof bytes);
    if (response_header_flexible(api, version))
        buf_put(out, "", 1);
}

int
response_header_decode(const struct api_info *api, int16_t version, const uint8_t *frame, size_t n,
    int32_t *correlation_id)
{
    if (n < CORRELATION_BYTES)
        return malformed("response header: the frame is shorter than 4 bytes");
    *correlation_id = bytes_get_i32(frame);
    if (!response_header_flexible(api, version))
        return CORRELATION_BYTES;
    size_t tags = skip_tags(frame + CORRELATION_BYTES, n - CORRELATION_BYTES);
    if (tags == 0)
        return malformed("response header: the tagged fields are malformed");
    return (int)(CORRELATION_BYTES + tags);
}
