/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "protocol/frame.h"
#include "protocol/wire.h"
#include "torture/scenarios.h"

#include <string.h>

enum { TOPICS = 200, RECORDS_BYTES = 10000 };

/* A response with a gap for each topic, large enough that every list in it grows. */
static int
encode_fetch(struct arena *arena, struct buf *out, struct wire_gaps *gaps)
{
    static const uint8_t records[RECORDS_BYTES];
    struct fetch_response response = {.responses_count = TOPICS};
    response.responses = wire_array(&fetch_response_topic_schema, arena, TOPICS);
    if (!response.responses)
        return -BUS_ERR_NO_MEMORY;
    for (int i = 0; i < TOPICS; i++) {
        struct fetch_response_topic *topic = &response.responses[i];
        topic->topic = arena_format(arena, "topic-%d", i);
        topic->partitions = wire_array(&fetch_response_topic_partition_schema, arena, 1);
        if (!topic->topic || !topic->partitions)
            return -BUS_ERR_NO_MEMORY;
        topic->partitions_count = 1;
        topic->partitions->records = (struct bytes){records, RECORDS_BYTES};
    }
    size_t length = out->length;
    int rc = wire_encode_gaps(&fetch_response_schema, 12, &response, out, gaps);
    if (rc < 0)
        return out->length == length && gaps->count == 0 && gaps->bytes == 0 ? rc : 1;
    if (gaps->count != TOPICS || gaps->bytes != (size_t)TOPICS * RECORDS_BYTES)
        return 2;
    return wire_encode(&fetch_response_schema, 12, &response, out);
}

/* Encodes and decodes; what a failure leaves behind is the buffer and the gaps as they were. */
int
scenario_wire(void *unused)
{
    (void)unused;
    struct arena arena;
    struct buf buf;
    struct wire_gaps gaps = {0};
    struct fetch_response got;
    arena_init(&arena, 1 << 24);
    buf_init(&buf);
    int rc = encode_fetch(&arena, &buf, &gaps);
    if (rc == 0) {
        size_t thin = (buf.length - gaps.bytes) / 2; /* the first message has gaps */
        rc = wire_decode(
            &fetch_response_schema, 12, buf.data + thin, buf.length - thin, &got, &arena);
        if (rc == 0 && (got.responses_count != TOPICS || strcmp(got.responses[7].topic, "topic-7")))
            rc = 3;
    }
    wire_gaps_fini(&gaps);
    buf_fini(&buf);
    arena_fini(&arena);
    return rc;
}

/* Feeds frames in pieces; when a piece finds no memory, those before it are still right. */
int
scenario_frames(void *unused)
{
    (void)unused;
    static const uint8_t body[50000] = {7};
    struct frame_reader reader;
    struct buf stream;
    const uint8_t *frame;
    size_t n;
    int rc = 0;
    frame_reader_init(&reader, FRAME_BYTES_MAX);
    buf_init(&stream);
    for (int i = 0; i < 3 && rc == 0; i++) {
        size_t start = frame_begin(&stream);
        buf_put(&stream, body, sizeof body);
        rc = frame_end(&stream, start, 0);
    }
    for (size_t at = 0; at < stream.length && rc == 0; at += 1000) {
        size_t piece = stream.length - at < 1000 ? stream.length - at : 1000;
        rc = frame_reader_feed(&reader, stream.data + at, piece);
        while (rc == 0 && frame_reader_next(&reader, &frame, &n) == FRAME_READY)
            rc = n == sizeof body && memcmp(frame, body, n) == 0 ? 0 : 1;
    }
    buf_fini(&stream);
    frame_reader_fini(&reader);
    return rc;
}
