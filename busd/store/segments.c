/* SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"
#include "base/err.h"
#include "base/trace.h"
#include "store/private.h"
#include "store/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct segment *
segments_active(const struct log *log)
{
    return log->count > 0 ? log->segments[log->count - 1] : NULL;
}

struct segment *
segment_new(int64_t base_offset, int64_t spare)
{
    struct segment *segment = calloc(1, sizeof *segment);
    if (!segment)
        return NULL;
    segment->base_offset = base_offset;
    segment->spare = spare;
    segment->seq = segment->end = segment->next_offset = -1;
    return segment;
}

void
segment_free(struct segment **segment)
{
    struct segment *old = *segment;
    *segment = NULL;
    if (!old)
        return;
    log_file_unref(&old->file);
    free(old);
}

int
segments_push(struct log *log, struct segment *segment)
{
    if (log->count == log->capacity) {
        size_t capacity = log->capacity ? 2 * log->capacity : 4;
        struct segment **more = realloc(log->segments, capacity * sizeof *more);
        if (!more) {
            segment_free(&segment);
            return err_no_memory();
        }
        log->segments = more;
        log->capacity = capacity;
    }
    log->segments[log->count++] = segment;
    return 0;
}

void
segments_clear(struct log *log)
{
    for (size_t i = 0; i < log->count; i++)
        segment_free(&log->segments[i]);
    free(log->segments);
    log->segments = NULL;
    log->count = log->capacity = 0;
    segment_free(&log->spare);
    log_hints_clear(log);
}

size_t
segments_find(const struct log *log, int64_t offset)
{
    MUST(log->count > 0);
    size_t low = 0, high = log->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (log->segments[middle]->base_offset <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

char *
segment_path(const struct log *log, const struct segment *segment)
{
    char name[FILES_NAME_BYTES_MAX];
    if (segment->spare >= 0)
        files_spare_name(name, segment->spare);
    else
        files_name(name, segment->base_offset, ".log");
    return files_path(log->folder, name);
}

int
segment_file(struct log *log, struct segment *segment, struct log_file **file)
{
    segment->used = true;
    if (!segment->file) {
        char *path = segment_path(log, segment);
        if (!path)
            return err_no_memory();
        int rc = log_file_open(path, &segment->file);
        free(path);
        if (rc < 0)
            return rc;
    }
    *file = segment->file;
    return 0;
}

void
segment_rest(const struct log *log, struct segment *segment)
{
    if (segment != segments_active(log))
        log_file_unref(&segment->file);
}

struct index_files
segment_index_files(const struct log *log, const struct segment *segment)
{
    return (struct index_files){.folder = log->folder, .base_offset = segment->base_offset};
}

int64_t
segment_end_offset(const struct log *log, const struct segment *segment)
{
    return segment->next_offset >= 0 ? segment->next_offset : log->end_offset;
}

/* Whether the batch of the last index entry is the one that it stands for and is not later than the
 * time index tells: a time index that was cut between two entries cannot be known otherwise. What
 * cannot be read, or is destroyed, is no evidence. */
static bool
index_fits(struct log *log, struct segment *segment)
{
    const struct index *index = &segment->index;
    struct log_file *file;
    struct stat status;
    struct walk walk;
    if (index->entries == 0 || segment_file(log, segment, &file) < 0 ||
        fstat(file->fd, &status) < 0 ||
        walk_init(&walk, file->fd, index->last.position, status.st_size) < 0)
        return true;
    bool sound = walk_next(&walk) == WALK_BATCH && walk_crc_ok(&walk) == 1;
    bool fits = !sound || (batch_next_offset(&walk.batch) == index->last.offset + 1 &&
                              walk.batch.max_timestamp <= index->indexed_timestamp);
    walk_fini(&walk);
    return fits;
}

int
segment_index(struct log *log, struct segment *segment)
{
    if (segment->index.loaded)
        return 0;
    int64_t end = segment->end;
    if (segment == segments_active(log))
        end = log->end_position;
    else if (end < 0)
        end = INT32_MAX;
    struct index_files files = segment_index_files(log, segment);
    int rc = index_load(&segment->index, &files, segment_end_offset(log, segment), end);
    if (rc < 0 || index_fits(log, segment))
        return rc;
    trace(TRACE_NOTICE, "%s/%020" PRId64 ".index does not fit its segment: it is written again",
        log->folder, segment->base_offset);
    index_reset(&segment->index);
    return 0;
}

/* Walks from `position` to where the next segment takes over. WALK_BATCH: *end is the end.
 * WALK_END: the last batches are destroyed. */
static int
walk_to_end(const struct segment *segment, int fd, int64_t position, int64_t size, int64_t *end)
{
    struct walk walk;
    int rc = walk_init(&walk, fd, position, size);
    walk.holes = segment->holes;
    struct walk_range range = {.least = segment->base_offset, .end_offset = segment->next_offset};
    int64_t offset = segment->base_offset, from;
    while (rc >= 0 && offset < segment->next_offset) {
        rc = walk_next(&walk);
        if (rc == WALK_END || rc == -BUS_ERR_CORRUPT_MESSAGE)
            rc = walk_skip(&walk, &range, &from);
        if (rc != WALK_BATCH)
            break;
        offset = batch_next_offset(&walk.batch);
    }
    *end = walk.position;
    walk_fini(&walk);
    return rc < 0 ? rc : offset >= segment->next_offset ? WALK_BATCH : WALK_END;
}

/* From the last index entry or, when that leads nowhere, from the beginning. What lies behind the
 * end was left by an evicted writer. When the last batches are destroyed, the file's size stands in
 * for the end; but a file that a writer made longer is not searched that far. */
static int
find_end(struct segment *segment, int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return err_sys(errno, "look at a segment");
    int64_t position = segment->index.last.position, end;
    int64_t size = status.st_size < segment->reserved ? status.st_size : segment->reserved;
    int rc = walk_to_end(segment, fd, position, size, &end);
    if (rc == WALK_END && position > 0) {
        rc = walk_to_end(segment, fd, 0, size, &end);
        if (rc == WALK_BATCH)
            index_reset(&segment->index);
    }
    if (rc < 0)
        return rc;
    segment->end = rc == WALK_BATCH ? end : size;
    return 0;
}

int
segment_end(struct log *log, struct segment *segment, int64_t *end)
{
    if (segment == segments_active(log)) {
        *end = log->end_position;
        return 0;
    }
    if (segment->end < 0) {
        struct log_file *file;
        int rc = segment_index(log, segment);
        if (rc == 0)
            rc = segment_file(log, segment, &file);
        segment->holes = log_holes(log);
        if (rc == 0)
            rc = find_end(segment, file->fd);
        if (rc < 0)
            return rc;
    }
    *end = segment->end;
    return 0;
}

/* Reserves space in a new file and makes the file durable. */
static int
prepare_file(struct log *log, struct segment *segment, const char *path, int64_t bytes)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(errno, "create %s", path);
    bool full;
    struct files_reservation want = {.wanted = bytes};
    int rc = files_reserve(fd, &want, &segment->reserved, &full);
    close(fd);
    if (rc == 0 && !(log->options.flags & SHM_FLAG_MEMORY))
        rc = files_sync_folder(log->folder);
    if (rc < 0)
        unlink(path);
    return err_prefix(rc, "%s", path);
}

int
segment_create(struct log *log, const struct segment_wanted *wanted, struct segment **segment)
{
    struct segment *fresh = segment_new(wanted->base_offset, wanted->spare);
    char *path = fresh ? segment_path(log, fresh) : NULL;
    int rc = path ? 0 : err_no_memory();
    if (rc == 0) {
        fresh->capacity = wanted->capacity;
        rc = prepare_file(log, fresh, path, wanted->bytes);
    }
    free(path);
    if (rc < 0)
        segment_free(&fresh);
    else
        *segment = fresh;
    return rc;
}
