/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/frame.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"

#include <stdlib.h>
#include <string.h>

enum {
    SPACE_BYTES_MIN = 4096, /* the least room worth a system call */
    KEPT_BYTES = 64 * 1024,
};

void
frame_reader_init(struct frame_reader *reader, size_t frame_bytes_max)
{
    MUST(frame_bytes_max <= FRAME_BYTES_MAX);
    *reader = (struct frame_reader){.frame_bytes_max = frame_bytes_max, .kept = KEPT_BYTES};
}

void
frame_reader_fini(struct frame_reader *reader)
{
    free(reader->data);
    reader->data = NULL;
    reader->start = reader->end = reader->capacity = 0;
}

size_t
frame_reader_waiting(const struct frame_reader *reader)
{
    return reader->end - reader->start;
}

void
frame_reader_trim(struct frame_reader *reader, size_t kept)
{
    if (frame_reader_waiting(reader) == 0 && reader->capacity > kept)
        frame_reader_fini(reader);
}

/* Frames given out before may go now: the rest moves to the front. */
static void
compact(struct frame_reader *reader)
{
    frame_reader_trim(reader, reader->kept);
    size_t n = frame_reader_waiting(reader);
    if (reader->start == 0)
        return;
    memmove(reader->data, reader->data + reader->start, n);
    reader->start = 0;
    reader->end = n;
}

uint8_t *
frame_reader_space(struct frame_reader *reader, size_t *n)
{
    compact(reader);
    if (reader->capacity - reader->end < SPACE_BYTES_MIN) {
        size_t capacity = reader->capacity ? reader->capacity * 2 : SPACE_BYTES_MIN * 4;
        uint8_t *data = realloc(reader->data, capacity);
        if (!data) {
            err_no_memory();
            return NULL;
        }
        reader->data = data;
        reader->capacity = capacity;
    }
    *n = reader->capacity - reader->end;
    return reader->data + reader->end;
}

void
frame_reader_filled(struct frame_reader *reader, size_t n)
{
    MUST(n <= reader->capacity - reader->end);
    reader->end += n;
}

int
frame_reader_feed(struct frame_reader *reader, const void *bytes, size_t n)
{
    const uint8_t *from = bytes;
    while (n > 0) {
        size_t room;
        uint8_t *space = frame_reader_space(reader, &room);
        if (!space)
            return -BUS_ERR_NO_MEMORY;
        if (room > n)
            room = n;
        memcpy(space, from, room);
        frame_reader_filled(reader, room);
        from += room;
        n -= room;
    }
    return 0;
}

int
frame_reader_next(struct frame_reader *reader, const uint8_t **frame, size_t *n)
{
    if (frame_reader_waiting(reader) < FRAME_PREFIX_BYTES)
        return FRAME_WANTED;
    const uint8_t *p = reader->data + reader->start;
    uint32_t size = bytes_get_u32(p);
    if (size > reader->frame_bytes_max)
        return err_set(BUS_ERR_INVALID_REQUEST, "a frame of %u bytes; at most %zu are accepted",
            size, reader->frame_bytes_max);
    if (frame_reader_waiting(reader) - FRAME_PREFIX_BYTES < size)
        return FRAME_WANTED;
    *frame = p + FRAME_PREFIX_BYTES;
    *n = size;
    reader->start += FRAME_PREFIX_BYTES + size;
    return FRAME_READY;
}
