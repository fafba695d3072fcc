/* SPDX-License-Identifier: Apache-2.0
 * Messages and frames as hostile input. The first byte says what the rest is: 0 a request and 1 a
 * response (then an index into the table of APIs and a version follow), 2 a stream of frames.
 */
#include "base/buf.h"
#include "base/check.h"
#include "fuzz/target.h"
#include "protocol/apis.h"
#include "protocol/frame.h"
#include "protocol/wire.h"

#include <string.h>

enum {
    ARENA_BYTES_MAX = 8 << 20,
    STREAM_FRAME_BYTES_MAX = 1 << 16,
    CHOICE_BYTES = 3, /* kind, API, version */
};

/* What was understood can be written, and is understood as the same again. */
static void
check_again(const struct schema *schema, int16_t version, const void *message, struct arena *arena)
{
    struct buf first, second, thin;
    struct wire_gaps gaps = {0};
    buf_init(&first);
    buf_init(&second);
    buf_init(&thin);
    void *again = arena_alloc(arena, schema->size);
    MUST(wire_encode(schema, version, message, &first) == 0);
    if (again && wire_decode(schema, version, first.data, first.length, again, arena) == 0) {
        MUST(wire_encode(schema, version, again, &second) == 0);
        MUST(first.length == second.length);
        MUST(first.length == 0 || memcmp(first.data, second.data, first.length) == 0);
    } else {
        MUST(arena->limit - arena->used < ARENA_BYTES_MAX / 2); /* the only excuse */
    }
    MUST(wire_encode_gaps(schema, version, message, &thin, &gaps) == 0);
    MUST(thin.length + gaps.bytes == first.length);
    wire_gaps_fini(&gaps);
    buf_fini(&thin);
    buf_fini(&second);
    buf_fini(&first);
}

static void
decode(const struct schema *schema, int16_t version, const uint8_t *p, size_t n)
{
    struct arena arena;
    arena_init(&arena, ARENA_BYTES_MAX);
    void *message = arena_alloc(&arena, schema->size);
    if (message && wire_decode(schema, version, p, n, message, &arena) == 0)
        check_again(schema, version, message, &arena);
    arena_fini(&arena);
}

static void
decode_request(const uint8_t *frame, size_t n)
{
    struct request_header header;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES_MAX);
    int at = request_header_decode(frame, n, &header, &arena);
    MUST(at <= (int)n);
    const struct api_info *api = at > 0 ? api_find(header.api_key) : NULL;
    if (api && api_serves(api, header.api_version))
        decode(api->request, header.api_version, frame + at, n - (size_t)at);
    arena_fini(&arena);
}

/* The stream comes in pieces whose lengths depend on its bytes. */
static void
read_stream(const uint8_t *p, size_t n)
{
    struct frame_reader reader;
    const uint8_t *frame;
    size_t frame_bytes;
    int rc = 0;
    frame_reader_init(&reader, STREAM_FRAME_BYTES_MAX);
    while (n > 0 && rc >= 0) {
        size_t piece = (size_t)*p % 37 + 1;
        if (piece > n)
            piece = n;
        if (frame_reader_feed(&reader, p, piece) < 0)
            break;
        p += piece;
        n -= piece;
        while ((rc = frame_reader_next(&reader, &frame, &frame_bytes)) == FRAME_READY)
            decode_request(frame, frame_bytes);
    }
    frame_reader_fini(&reader);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < CHOICE_BYTES)
        return 0;
    const struct api_info *api = &api_table[data[1] % api_table_count];
    int16_t version = (int16_t)(api->min + data[2] % (api->max - api->min + 1));
    switch (data[0] % 3) {
    case 0:
        decode(api->request, version, data + CHOICE_BYTES, size - CHOICE_BYTES);
        break;
    case 1:
        decode(api->response, version, data + CHOICE_BYTES, size - CHOICE_BYTES);
        break;
    default:
        read_stream(data + 1, size - 1);
    }
    return 0;
}
