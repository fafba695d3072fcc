/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "base/err.h"
#include "protocol/frame.h"
#include "unit/unit.h"

#include <stdlib.h>
#include <string.h>

static void
test_frame(void)
{
    struct buf buf;
    buf_init(&buf);
    buf_put(&buf, "xy", 2);
    size_t start = frame_begin(&buf);
    buf_put(&buf, "hello", 5);
    CU_ASSERT_EQUAL(start, 2);
    CU_ASSERT_EQUAL(frame_end(&buf, start, 0), 0);
    CU_ASSERT_EQUAL_FATAL(buf.length, 11);
    CU_ASSERT_EQUAL(memcmp(buf.data, "xy\0\0\0\5hello", 11), 0);
    start = frame_begin(&buf);
    CU_ASSERT_EQUAL(frame_end(&buf, start, 0x01020304), 0);
    CU_ASSERT_EQUAL(memcmp(buf.data + start, "\1\2\3\4", 4), 0);
    start = frame_begin(&buf);
    buf_put(&buf, "z", 1);
    CU_ASSERT_EQUAL(frame_end(&buf, start, INT32_MAX - 1), 0);
    start = frame_begin(&buf);
    buf_put(&buf, "z", 1);
    CU_ASSERT_EQUAL(frame_end(&buf, start, INT32_MAX), -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(buf.length, start);
    start = frame_begin(&buf);
    CU_ASSERT_PTR_NULL(buf_extend(&buf, SIZE_MAX));
    CU_ASSERT_EQUAL(frame_end(&buf, start, 0), -BUS_ERR_NO_MEMORY);
    CU_ASSERT_EQUAL(buf.length, start);
    buf_fini(&buf);
}

/* Decodes a header given as a string literal, from a copy of exactly that size. */
#define DECODE(literal, header, arena) decode_copy((literal), sizeof(literal) - 1, header, arena)

static int
decode_copy(const char *bytes, size_t n, struct request_header *header, struct arena *arena)
{
    uint8_t *copy = malloc(n > 0 ? n : 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    memcpy(copy, bytes, n);
    int rc = request_header_decode(copy, n, header, arena);
    free(copy);
    return rc;
}

static void
test_request_header(void)
{
    struct arena arena;
    struct request_header header;
    arena_init(&arena, 1 << 16);
    CU_ASSERT_EQUAL(DECODE("\0\3\0\1\0\0\0\7\0\2me*", &header, &arena), 12);
    CU_ASSERT_EQUAL(header.api_key, API_METADATA);
    CU_ASSERT_EQUAL(header.api_version, 1);
    CU_ASSERT_EQUAL(header.correlation_id, 7);
    CU_ASSERT_STRING_EQUAL(header.client_id, "me");
    CU_ASSERT_EQUAL(DECODE("\0\3\0\1\0\0\0\7\xff\xff", &header, &arena), 10);
    CU_ASSERT_PTR_NULL(header.client_id);
    /* Flexible: the client id stays as it was, tags follow; one of them has a payload. */
    CU_ASSERT_EQUAL(DECODE("\0\3\0\11\0\0\0\7\0\2me\0*", &header, &arena), 13);
    CU_ASSERT_STRING_EQUAL(header.client_id, "me");
    CU_ASSERT_EQUAL(DECODE("\0\3\0\11\0\0\0\7\0\2me\1\5\3abc*", &header, &arena), 18);
    /* A key or a version that nobody serves is for the caller to judge. */
    CU_ASSERT_EQUAL(DECODE("\x7f\xff\0\11\0\0\0\7\0\0", &header, &arena), 10);
    CU_ASSERT_EQUAL(header.api_key, INT16_MAX);
    CU_ASSERT_EQUAL(DECODE("\0\22\0\x63\0\0\0\7\0\0\0", &header, &arena), 11);
    CU_ASSERT_EQUAL(header.api_version, 99);
    arena_fini(&arena);
}

static void
test_malformed_headers(void)
{
    static const char whole[] = "\0\3\0\11\0\0\0\7\0\2me\1\5\3abc";
    struct arena arena;
    struct request_header header;
    arena_init(&arena, 1 << 16);
    for (size_t n = 0; n < sizeof whole - 1; n++)
        CU_ASSERT_EQUAL(decode_copy(whole, n, &header, &arena), -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(DECODE("\0\3\0\1\0\0\0\7\0\2m\0", &header, &arena), -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(DECODE("\0\3\0\11\0\0\0\7\0\0\xff\xff\xff\xff\xff", &header, &arena),
        -BUS_ERR_INVALID_REQUEST);
    arena_fini(&arena);
    arena_init(&arena, 0);
    CU_ASSERT_EQUAL(DECODE("\0\3\0\1\0\0\0\7\0\2me", &header, &arena), -BUS_ERR_NO_MEMORY);
    arena_fini(&arena);
}

static void
test_headers_round_trip(void)
{
    struct arena arena;
    struct buf buf;
    arena_init(&arena, 1 << 20);
    buf_init(&buf);
    for (size_t i = 0; i < api_table_count; i++) {
        const struct api_info *api = &api_table[i];
        for (int16_t v = api->min; v <= api->max; v++) {
            struct request_header got, header = {api->key, v, -5, v % 2 ? "client" : NULL};
            buf_clear(&buf);
            request_header_encode(&buf, api, &header);
            bool flexible = v >= api->flexible_from;
            CU_ASSERT_EQUAL(buf.length, (v % 2 ? 16u : 10u) + flexible);
            int used = request_header_decode(buf.data, buf.length, &got, &arena);
            CU_ASSERT_EQUAL(used, (int)buf.length);
            CU_ASSERT_EQUAL(got.correlation_id, -5);
            CU_ASSERT_EQUAL(got.client_id != NULL, v % 2 == 1);
            buf_clear(&buf);
            response_header_encode(&buf, api, v, 9);
            CU_ASSERT_EQUAL(buf.length, 4u + (flexible && api->key != API_API_VERSIONS));
            int32_t id = 0;
            used = response_header_decode(api, v, buf.data, buf.length, &id);
            CU_ASSERT_EQUAL(used, (int)buf.length);
            CU_ASSERT_EQUAL(id, 9);
            CU_ASSERT_EQUAL(response_header_decode(api, v, buf.data, buf.length - 1, &id),
                -BUS_ERR_INVALID_REQUEST);
        }
    }
    buf_fini(&buf);
    arena_fini(&arena);
}

/* Expects the next frame to be `text`. */
static void
expect(struct frame_reader *reader, const char *text)
{
    const uint8_t *frame;
    size_t n;
    CU_ASSERT_EQUAL_FATAL(frame_reader_next(reader, &frame, &n), FRAME_READY);
    CU_ASSERT_EQUAL_FATAL(n, strlen(text));
    CU_ASSERT_EQUAL(memcmp(frame, text, n), 0);
}

static void
test_reader(void)
{
    static const char stream[] = "\0\0\0\3one\0\0\0\0\0\0\0\5three";
    struct frame_reader reader;
    const uint8_t *frame;
    size_t n;
    frame_reader_init(&reader, 100);
    CU_ASSERT_EQUAL(frame_reader_next(&reader, &frame, &n), FRAME_WANTED);
    CU_ASSERT_EQUAL(frame_reader_feed(&reader, stream, sizeof stream - 1), 0);
    expect(&reader, "one");
    expect(&reader, "");
    expect(&reader, "three");
    CU_ASSERT_EQUAL(frame_reader_next(&reader, &frame, &n), FRAME_WANTED);
    /* Byte by byte: a frame is there with its last byte and not before. */
    unsigned frames = 0;
    for (size_t i = 0; i < sizeof stream - 1; i++) {
        CU_ASSERT_EQUAL(frame_reader_feed(&reader, stream + i, 1), 0);
        int rc = frame_reader_next(&reader, &frame, &n);
        bool last = i == 6 || i == 10 || i == sizeof stream - 2;
        CU_ASSERT_EQUAL(rc, last ? FRAME_READY : FRAME_WANTED);
        frames += rc == FRAME_READY;
    }
    CU_ASSERT_EQUAL(frames, 3);
    frame_reader_fini(&reader);
}

static void
test_reader_limit(void)
{
    struct frame_reader reader;
    const uint8_t *frame;
    size_t n;
    frame_reader_init(&reader, 5);
    CU_ASSERT_EQUAL(frame_reader_feed(&reader, "\0\0\0\4four\0\0\0\5fives", 17), 0);
    expect(&reader, "four");
    expect(&reader, "fives");
    CU_ASSERT_EQUAL(frame_reader_feed(&reader, "\0\0\0\6", 4), 0);
    CU_ASSERT_EQUAL(frame_reader_next(&reader, &frame, &n), -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "a frame of 6 bytes; at most 5"));
    frame_reader_fini(&reader);
    frame_reader_init(&reader, FRAME_BYTES_MAX);
    CU_ASSERT_EQUAL(frame_reader_feed(&reader, "\xff\xff\xff\xff", 4), 0);
    CU_ASSERT_EQUAL(frame_reader_next(&reader, &frame, &n), -BUS_ERR_INVALID_REQUEST);
    frame_reader_fini(&reader);
    /* The largest frame is announced: nothing is taken for it until its bytes come. */
    CU_ASSERT_EQUAL(frame_reader_feed(&reader, "\x06\x40\0\0", 4), 0);
    CU_ASSERT_EQUAL(frame_reader_next(&reader, &frame, &n), FRAME_WANTED);
    CU_ASSERT_PTR_NOT_NULL(frame_reader_space(&reader, &n));
    CU_ASSERT(reader.capacity <= 65536);
    frame_reader_fini(&reader);
}

static void
test_reader_large(void)
{
    enum { LARGE = 3000000 };
    struct frame_reader reader;
    const uint8_t *frame = NULL;
    size_t n, sent = 0, room;
    frame_reader_init(&reader, FRAME_BYTES_MAX);
    uint8_t *bytes = malloc(FRAME_PREFIX_BYTES + LARGE);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    bytes_put_u32(bytes, LARGE);
    for (size_t i = 0; i < LARGE; i++)
        bytes[FRAME_PREFIX_BYTES + i] = (uint8_t)(i * 31 >> 3);
    while (sent < FRAME_PREFIX_BYTES + LARGE) {
        CU_ASSERT_EQUAL_FATAL(frame_reader_next(&reader, &frame, &n), FRAME_WANTED);
        uint8_t *space = frame_reader_space(&reader, &room);
        CU_ASSERT_PTR_NOT_NULL_FATAL(space);
        if (room > FRAME_PREFIX_BYTES + LARGE - sent)
            room = FRAME_PREFIX_BYTES + LARGE - sent;
        memcpy(space, bytes + sent, room);
        frame_reader_filled(&reader, room);
        sent += room;
    }
    CU_ASSERT_EQUAL_FATAL(frame_reader_next(&reader, &frame, &n), FRAME_READY);
    CU_ASSERT_EQUAL_FATAL(n, LARGE);
    CU_ASSERT_EQUAL(memcmp(frame, bytes + FRAME_PREFIX_BYTES, LARGE), 0);
    /* Once the large frame is gone, its memory goes too. */
    CU_ASSERT_PTR_NOT_NULL(frame_reader_space(&reader, &room));
    CU_ASSERT(reader.capacity <= 65536);
    free(bytes);
    frame_reader_fini(&reader);
}

static const struct unit_case cases[] = {
    {"a frame gets its size", test_frame},
    {"request headers of all forms", test_request_header},
    {"malformed request headers are refused", test_malformed_headers},
    {"headers of every API and version survive a round trip", test_headers_round_trip},
    {"the reader cuts a stream at any place", test_reader},
    {"the reader refuses sizes above its limit", test_reader_limit},
    {"the reader grows with a large frame and shrinks again", test_reader_large},
    {NULL, NULL},
};

void
register_frame(void)
{
    unit_register("frame", cases);
}
