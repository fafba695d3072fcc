/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "store/private.h"
#include "store/walk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* A read on its way. */
struct reading {
    struct log *log;
    const struct log_read_options *options;
    int64_t bound; /* no batch beyond this offset is given */
    struct segment *segment;
    struct walk walk;
    struct log_slice *slice;
};

int
log_check_range(struct log *log, const struct shm_tail *tail, int64_t offset)
{
    if (offset >= log->start_offset && offset <= tail->end_offset)
        return 0;
    return err_set(BUS_ERR_OFFSET_OUT_OF_RANGE,
        "%s-%" PRId32 ": offset %" PRId64 " is outside the log, %" PRId64 " to %" PRId64,
        log->topic, log->options.partition, offset, log->start_offset, tail->end_offset);
}

int
log_locate_any(struct log *log, int64_t offset, struct segment **segment, struct walk *walk)
{
    for (size_t at = segments_find(log, offset); at < log->count; at++) {
        int rc = log_locate(log, log->segments[at], offset, walk);
        if (rc != WALK_END) {
            *segment = log->segments[at];
            return rc;
        }
        if (at + 1 < log->count)
            walk_fini(walk);
    }
    return WALK_END;
}

/* Adds the batch given last to the slice: 1 added, 0 the slice ends before it. */
static int
add_batch(struct reading *reading)
{
    struct log_slice *slice = reading->slice;
    struct walk *walk = &reading->walk;
    bool first = slice->bytes == 0;
    size_t bytes = (size_t)(walk->position - walk->batch_position);
    if (batch_next_offset(&walk->batch) > reading->bound)
        return 0;
    if (slice->bytes + bytes > reading->options->max_bytes &&
        !(first && reading->options->at_least_one))
        return 0;
    int rc = log_verified(reading->segment, walk);
    if (rc != 1)
        return rc;
    if (first) {
        slice->position = walk->batch_position;
        slice->first_offset = walk->batch.base_offset;
    }
    slice->bytes += bytes;
    slice->codecs |= 1u << batch_codec(&walk->batch);
    slice->next_offset = batch_next_offset(&walk->batch);
    return 1;
}

static int
collect(struct reading *reading)
{
    struct log_slice *slice = reading->slice;
    bool visible = batch_next_offset(&reading->walk.batch) <= reading->bound;
    int rc;
    while ((rc = add_batch(reading)) == 1)
        if (slice->bytes >= reading->options->max_bytes || walk_next(&reading->walk) != WALK_BATCH)
            break;
    if (slice->bytes == 0)
        return rc < 0 ? rc : visible ? LOG_READ_TOO_SMALL : LOG_READ_OK;
    slice->file = log_file_ref(reading->segment->file);
    slice->fd = slice->file->fd;
    log_hint(reading->log, reading->segment, slice->next_offset,
        slice->position + (int64_t)slice->bytes);
    return LOG_READ_OK;
}

static int
read_locked(struct log *log, const struct log_read_options *options, struct log_slice *slice)
{
    struct shm_tail tail;
    struct reading reading = {.log = log, .options = options, .slice = slice};
    int rc = log_tail(log, &tail);
    if (rc == 0)
        rc = log_check_range(log, &tail, options->offset);
    if (rc < 0)
        return rc;
    reading.bound = log_visible(log, &tail, options->isolation);
    if (options->offset >= reading.bound)
        return LOG_READ_OK;
    rc = log_locate_any(log, options->offset, &reading.segment, &reading.walk);
    if (rc == WALK_BATCH)
        rc = collect(&reading);
    walk_fini(&reading.walk);
    return rc;
}

int
log_read(struct log *log, const struct log_read_options *options, struct log_slice *slice)
{
    *slice = (struct log_slice){
        .fd = -1, .first_offset = options->offset, .next_offset = options->offset};
    pthread_mutex_lock(&log->mutex);
    int rc = read_locked(log, options, slice);
    pthread_mutex_unlock(&log->mutex);
    return rc;
}

int
log_slice_copy(const struct log_slice *slice, struct buf *out)
{
    size_t before = out->length;
    uint8_t *to = slice->bytes > 0 ? buf_extend(out, slice->bytes) : out->data;
    if (slice->bytes > 0 && !to)
        return err_no_memory();
    int rc = walk_read(slice->fd, to, slice->bytes, slice->position);
    if (rc < 0)
        out->length = before;
    return rc;
}

void
log_slice_release(struct log_slice *slice)
{
    log_file_unref(&slice->file);
    slice->fd = -1;
    slice->bytes = 0;
}
