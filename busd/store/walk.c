/* SPDX-License-Identifier: Apache-2.0 */
#include "store/walk.h"

#include "base/bytes.h"
#include "base/err.h"
#include "record/crc32c.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LARGE_BATCH_BYTES = 8192, /* behind a batch of this size only a header is read ahead */
    SMALL_WINDOW_BYTES = 512,
    TRIED_BYTES_MAX = 256 * 1024 * 1024, /* in vain, until walk_resync() gives up */
};

int
walk_init(struct walk *walk, int fd, int64_t position, int64_t end)
{
    *walk = (struct walk){
        .fd = fd, .position = position, .batch_position = position, .end = end, .expected = -1};
    walk->window = malloc(WALK_WINDOW_BYTES);
    return walk->window ? 0 : err_no_memory();
}

void
walk_fini(struct walk *walk)
{
    free(walk->window);
    walk->window = NULL;
}

void
walk_seek(struct walk *walk, int64_t position, int64_t expected)
{
    walk->position = walk->batch_position = position;
    walk->expected = expected;
    walk->batch.length = 0;
}

int
walk_read(int fd, void *to, size_t bytes, int64_t position)
{
    uint8_t *at = to;
    while (bytes > 0) {
        ssize_t got = pread(fd, at, bytes, position);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_sys(errno, "read at position %" PRId64, position);
        if (got == 0)
            return err_set(BUS_ERR_CORRUPT_MESSAGE, "the file ends at position %" PRId64, position);
        at += got;
        bytes -= (size_t)got;
        position += got;
    }
    return 0;
}

/* Bytes of the window from `position` on. */
static size_t
window_have(const struct walk *walk, int64_t position)
{
    int64_t end = walk->window_position + (int64_t)walk->window_bytes;
    return position >= walk->window_position && position < end ? (size_t)(end - position) : 0;
}

static const uint8_t *
window_at(const struct walk *walk, int64_t position)
{
    return walk->window + (position - walk->window_position);
}

/* Fills the window from `position` with at most `bytes`. */
static int
window_fill(struct walk *walk, int64_t position, size_t bytes)
{
    walk->window_bytes = 0;
    if (bytes > WALK_WINDOW_BYTES)
        bytes = WALK_WINDOW_BYTES;
    if ((int64_t)bytes > walk->end - position)
        bytes = (size_t)(walk->end - position);
    int rc = walk_read(walk->fd, walk->window, bytes, position);
    if (rc < 0)
        return rc;
    walk->window_position = position;
    walk->window_bytes = bytes;
    return 0;
}

/* The header of the next batch into the window; a run of large batches reads little else. */
static int
need_header(struct walk *walk)
{
    size_t want = BATCH_HEADER_BYTES;
    if ((int64_t)want > walk->end - walk->position)
        want = (size_t)(walk->end - walk->position);
    if (window_have(walk, walk->position) >= want)
        return 0;
    /* Of the first batch nothing is known: a window too many costs more than a call too many. */
    bool large = walk->batch.length == 0 || walk->batch.length >= LARGE_BATCH_BYTES;
    return window_fill(walk, walk->position, large ? SMALL_WINDOW_BYTES : WALK_WINDOW_BYTES);
}

/* The offsets are not covered by the CRC, so they must fit each other. */
static bool
follows(const struct walk *walk, int64_t base_offset)
{
    return walk->expected < 0 || base_offset == walk->expected ||
           (walk->holes && base_offset > walk->expected);
}

int
walk_next(struct walk *walk)
{
    if (walk->position >= walk->end)
        return WALK_END;
    int rc = need_header(walk);
    if (rc < 0)
        return rc;
    struct batch_header header;
    size_t left = (size_t)(walk->end - walk->position);
    rc = batch_header_read(window_at(walk, walk->position), left, &header);
    if (rc < 0)
        return err_prefix(rc, "position %" PRId64, walk->position);
    if (rc == BATCH_END)
        return WALK_END;
    if (rc == BATCH_SHORT)
        return err_set(BUS_ERR_CORRUPT_MESSAGE,
            "position %" PRId64 ": the batch is cut off at %" PRId64, walk->position, walk->end);
    if (!follows(walk, header.base_offset))
        return err_set(BUS_ERR_CORRUPT_MESSAGE,
            "position %" PRId64 ": base offset %" PRId64 " where %" PRId64 " belongs",
            walk->position, header.base_offset, walk->expected);
    walk->batch = header;
    walk->expected = batch_next_offset(&header);
    walk->batch_position = walk->position;
    walk->position += (int64_t)batch_bytes(&header);
    return WALK_BATCH;
}

int
walk_crc_ok(struct walk *walk)
{
    int64_t position = walk->batch_position + BATCH_AT_ATTRIBUTES;
    uint32_t crc = 0;
    while (position < walk->position) {
        if (window_have(walk, position) == 0) {
            int rc = window_fill(walk, position, WALK_WINDOW_BYTES);
            if (rc < 0)
                return rc;
        }
        size_t bytes = window_have(walk, position);
        if ((int64_t)bytes > walk->position - position)
            bytes = (size_t)(walk->position - position);
        crc = crc32c_extend(crc, window_at(walk, position), bytes);
        position += (int64_t)bytes;
    }
    return crc == walk->batch.crc;
}

/* Whether a batch with these offsets could begin at `position`, where the magic fits. */
static bool
could_begin(const struct walk *walk, int64_t position, int64_t least, int64_t end_offset)
{
    const uint8_t *p = window_at(walk, position);
    int64_t base_offset = bytes_get_i64(p + BATCH_AT_BASE_OFFSET);
    int32_t length = bytes_get_i32(p + BATCH_AT_LENGTH);
    return base_offset >= least && base_offset < end_offset &&
           length >= BATCH_HEADER_BYTES - BATCH_OVERHEAD_BYTES &&
           length <= walk->end - position - BATCH_OVERHEAD_BYTES;
}

/* Tries the batch at `position` completely. */
static int
try_batch(struct walk *walk, int64_t position, int64_t end_offset)
{
    walk_seek(walk, position, -1);
    int rc = walk_next(walk);
    if (rc != WALK_BATCH || batch_next_offset(&walk->batch) > end_offset)
        return rc < 0 && rc != -BUS_ERR_CORRUPT_MESSAGE ? rc : 0;
    return walk_crc_ok(walk);
}

/* From `position` on, the first place in the window where a batch could have its magic; behind the
 * last whole header in it when there is none. */
static int64_t
next_magic(const struct walk *walk, int64_t position)
{
    size_t places = window_have(walk, position) - BATCH_HEADER_BYTES + 1;
    const uint8_t *from = window_at(walk, position) + BATCH_AT_MAGIC;
    const uint8_t *at = memchr(from, BATCH_MAGIC, places);
    return position + (at ? at - from : (int64_t)places);
}

static int
search(struct walk *walk, int64_t position, int64_t least, int64_t end_offset)
{
    int64_t tried = 0;
    int rc = 0;
    while (rc == 0 && tried < TRIED_BYTES_MAX && walk->end - position >= BATCH_HEADER_BYTES) {
        if (window_have(walk, position) < BATCH_HEADER_BYTES)
            rc = window_fill(walk, position, WALK_WINDOW_BYTES);
        if (rc < 0)
            break;
        position = next_magic(walk, position);
        if (window_have(walk, position) < BATCH_HEADER_BYTES)
            continue;
        if (could_begin(walk, position, least, end_offset)) {
            rc = try_batch(walk, position, end_offset);
            tried += walk->position - position;
        }
        position++;
    }
    if (rc == 1)
        return WALK_BATCH;
    walk_seek(walk, walk->end, -1);
    return rc == -BUS_ERR_CORRUPT_MESSAGE ? WALK_END : rc;
}

int
walk_skip(struct walk *walk, const struct walk_range *range, int64_t *from)
{
    int64_t position = walk->position;
    *from = walk->expected >= 0 ? walk->expected : range->least;
    if (walk->batch.length > 0) {
        int rc = walk_crc_ok(walk);
        if (rc < 0 && rc != -BUS_ERR_CORRUPT_MESSAGE)
            return rc;
        if (rc != 1) {
            position = walk->batch_position;
            *from = walk->batch.base_offset;
        }
    }
    return search(walk, position + 1, *from, range->end_offset);
}
