/* SPDX-License-Identifier: Apache-2.0 */
#include "store/clean_read.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "store/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    WINDOW_BYTES = 128 * 1024, /* a kernel without preemption lets nobody else run meanwhile */
    PAUSE_MS = 50,             /* the rate is kept in steps of this */
};

void
clean_file_name(char name[CLEAN_FILE_BYTES], int64_t base_offset, const char *suffix)
{
    int n = snprintf(name, CLEAN_FILE_BYTES, "%020" PRId64 "%s", base_offset, suffix);
    MUST(n > 0 && n < CLEAN_FILE_BYTES);
}

bool
clean_stopped(const struct clean_job *job)
{
    /* Relaxed: nothing else is read because of it. */
    return atomic_load_explicit(&job->cancelled, memory_order_relaxed) ||
           (job->stop && atomic_load_explicit(job->stop, memory_order_relaxed));
}

void
clean_throttle(struct clean_job *job, size_t bytes)
{
    int64_t moved = atomic_fetch_add_explicit(&job->moved, (int64_t)bytes, memory_order_relaxed) +
                    (int64_t)bytes;
    while (!clean_stopped(job)) {
        int64_t passed_ns = clock_mono_ns() - job->began_ns;
        double due_ns = (double)moved / (double)job->rate * 1e9;
        if ((double)passed_ns >= due_ns)
            return;
        double left_ns = due_ns - (double)passed_ns;
        struct timespec pause = {
            .tv_nsec = left_ns < PAUSE_MS * 1e6 ? (long)left_ns : PAUSE_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
}

int
clean_reader_open(
    struct clean_reader *reader, struct clean_job *job, const struct clean_source *source)
{
    char name[CLEAN_FILE_BYTES];
    *reader = (struct clean_reader){
        .job = job, .source = source, .fd = -1, .expected = source->base_offset};
    clean_file_name(name, source->base_offset, ".log");
    reader->window = malloc(WINDOW_BYTES);
    reader->capacity = WINDOW_BYTES;
    if (!reader->window)
        return err_no_memory();
    reader->fd = openat(job->folder, name, O_RDONLY | O_CLOEXEC);
    if (reader->fd < 0)
        return err_sys(errno, "open %s", name);
    posix_fadvise(reader->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return 0;
}

void
clean_reader_close(struct clean_reader *reader)
{
    if (reader->fd >= 0)
        close(reader->fd);
    free(reader->window);
    reader->fd = -1;
    reader->window = NULL;
}

static int
make_room(struct clean_reader *reader, size_t bytes)
{
    if (bytes <= reader->capacity)
        return 0;
    if (bytes > CLEAN_BATCH_BYTES_MAX)
        return err_set(BUS_ERR_CORRUPT_MESSAGE,
            "position %" PRId64 ": a batch of %zu bytes is too large to be compacted",
            reader->position, bytes);
    uint8_t *window = realloc(reader->window, bytes);
    if (!window)
        return err_no_memory();
    reader->window = window;
    reader->capacity = bytes;
    return 0;
}

/* The bytes from the position on, at least `bytes` of them, which the segment has. */
static int
need(struct clean_reader *reader, size_t bytes, const uint8_t **p)
{
    int64_t skip = reader->position - reader->window_position;
    if (reader->window_bytes < (size_t)skip + bytes) {
        int rc = make_room(reader, bytes);
        int64_t left = reader->source->bytes - reader->position;
        size_t fill = (int64_t)reader->capacity < left ? reader->capacity : (size_t)left;
        reader->window_bytes = 0;
        if (rc == 0)
            rc = walk_read(reader->fd, reader->window, fill, reader->position);
        if (rc < 0)
            return rc;
        clean_throttle(reader->job, fill);
        reader->window_position = reader->position;
        reader->window_bytes = fill;
        skip = 0;
    }
    *p = reader->window + skip;
    return 0;
}

static int
misplaced(const struct clean_reader *reader, const char *what)
{
    return err_set(BUS_ERR_CORRUPT_MESSAGE, "position %" PRId64 ": %s", reader->position, what);
}

/* No checksum covers the offsets. */
static int
check(const struct clean_reader *reader, const struct clean_batch *batch)
{
    const struct batch_header *header = &batch->header;
    if (header->base_offset < reader->expected ||
        batch_next_offset(header) > reader->source->next_offset)
        return misplaced(reader, "the offsets of the batch do not belong here");
    if (!batch_crc_ok(batch->bytes, batch->size))
        return misplaced(reader, "the checksum of the batch is wrong");
    return 0;
}

static int
read_batch(struct clean_reader *reader, struct clean_batch *batch)
{
    int64_t left = reader->source->bytes - reader->position;
    if (left < BATCH_HEADER_BYTES)
        return misplaced(reader, "the segment ends before its last offset");
    int rc = need(reader, BATCH_HEADER_BYTES, &batch->bytes);
    if (rc < 0)
        return rc;
    rc = batch_header_read(batch->bytes, BATCH_HEADER_BYTES, &batch->header);
    if (rc < 0)
        return err_prefix(rc, "position %" PRId64, reader->position);
    if (rc == BATCH_END || (int64_t)batch_bytes(&batch->header) > left)
        return misplaced(reader, "the segment ends before its last offset");
    batch->size = batch_bytes(&batch->header);
    rc = need(reader, batch->size, &batch->bytes);
    return rc < 0 ? rc : check(reader, batch);
}

int
clean_reader_next(struct clean_reader *reader, struct clean_batch *batch)
{
    if (reader->expected >= reader->source->next_offset)
        return CLEAN_READER_END;
    int rc = read_batch(reader, batch);
    if (rc < 0)
        return rc;
    reader->expected = batch_next_offset(&batch->header);
    reader->position += (int64_t)batch->size;
    batch->last = reader->expected >= reader->source->next_offset;
    return CLEAN_READER_BATCH;
}
