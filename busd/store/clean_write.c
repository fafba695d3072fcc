/* SPDX-License-Identifier: Apache-2.0 */
#include "store/clean_write.h"

#include "base/err.h"
#include "record/batch.h"
#include "store/clean_read.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BUFFER_BYTES = 128 * 1024,     /* as WINDOW_BYTES of clean_read.c */
    START_BYTES = 8 * 1024 * 1024, /* so much is given to the disk at a time, not all at the end */
};

static struct index_files
index_of(const struct clean_writer *writer)
{
    return (struct index_files){
        .folder = writer->job->path, .base_offset = writer->base_offset, .fresh = true};
}

void
clean_writer_discard(const struct clean_job *job, int64_t base_offset)
{
    static const char *const suffixes[] = {".log.clean", ".index.clean", ".timeindex.clean"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char name[CLEAN_FILE_BYTES];
        clean_file_name(name, base_offset, suffixes[i]);
        (void)unlinkat(job->folder, name, 0);
    }
}

int
clean_writer_open(struct clean_writer *writer, struct clean_job *job, int64_t base_offset)
{
    char name[CLEAN_FILE_BYTES];
    *writer = (struct clean_writer){.job = job, .base_offset = base_offset, .fd = -1};
    index_reset(&writer->index);
    clean_writer_discard(job, base_offset);
    clean_file_name(name, base_offset, ".log.clean");
    writer->buffer = malloc(BUFFER_BYTES);
    writer->entries = calloc(1, sizeof *writer->entries);
    if (!writer->buffer || !writer->entries)
        return err_no_memory();
    writer->fd = openat(job->folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return writer->fd < 0 ? err_sys(errno, "create %s", name) : 0;
}

void
clean_writer_close(struct clean_writer *writer)
{
    if (writer->fd >= 0)
        close(writer->fd);
    writer->fd = -1;
    free(writer->buffer);
    free(writer->entries);
    writer->buffer = NULL;
    writer->entries = NULL;
}

/* ---- the segment ---------------------------------------------------------------------------- */

static int
write_out(struct clean_writer *writer, const uint8_t *bytes, size_t n)
{
    clean_throttle(writer->job, n);
    while (n > 0) {
        ssize_t put = pwrite(writer->fd, bytes, n, writer->written);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return err_sys(errno, "write a compacted segment");
        bytes += put;
        n -= (size_t)put;
        writer->written += put;
    }
    /* Only a hint: the flush at the end is what counts. */
    if (writer->job->sync && writer->written - writer->started >= START_BYTES) {
        (void)sync_file_range(
            writer->fd, writer->started, writer->written - writer->started, SYNC_FILE_RANGE_WRITE);
        writer->started = writer->written;
    }
    return 0;
}

static int
empty_buffer(struct clean_writer *writer)
{
    int rc = write_out(writer, writer->buffer, writer->buffered);
    writer->buffered = 0;
    return rc;
}

static int
put_bytes(struct clean_writer *writer, const uint8_t *bytes, size_t size)
{
    int rc = 0;
    if (writer->buffered + size > BUFFER_BYTES)
        rc = empty_buffer(writer);
    if (rc < 0)
        return rc;
    if (size > BUFFER_BYTES)
        return write_out(writer, bytes, size);
    memcpy(writer->buffer + writer->buffered, bytes, size);
    writer->buffered += size;
    return 0;
}

/* ---- its indexes ---------------------------------------------------------------------------- */

static int
write_entries(struct clean_writer *writer)
{
    struct index_files files = index_of(writer);
    int rc = index_append(&writer->index, &files, writer->entries);
    writer->index.entries += (uint32_t)writer->entries->count;
    writer->index.time_entries += (uint32_t)writer->entries->time_count;
    writer->entries->count = writer->entries->time_count = 0;
    return rc;
}

static int
note(struct clean_writer *writer, const struct batch_header *header)
{
    index_take(&writer->index, writer->entries, header, writer->position, writer->job->interval);
    return writer->entries->count >= INDEX_BATCH_MAX - 1 ? write_entries(writer) : 0;
}

int
clean_writer_put(struct clean_writer *writer, const struct batch_header *header,
    const uint8_t *bytes, size_t size)
{
    if (writer->position > INT32_MAX - (int64_t)size)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "the segment would grow beyond 2 GiB");
    int rc = put_bytes(writer, bytes, size);
    if (rc == 0)
        rc = note(writer, header);
    writer->position += (int64_t)size;
    return rc;
}

int
clean_writer_finish(struct clean_writer *writer, int64_t end_offset)
{
    struct index_files files = index_of(writer);
    int rc = empty_buffer(writer);
    index_close(&writer->index, writer->entries);
    writer->index.position = writer->position;
    writer->index.offset = end_offset;
    if (rc == 0)
        rc = write_entries(writer);
    writer->index.complete = true;
    if (rc == 0 && writer->job->sync && fdatasync(writer->fd) < 0)
        rc = err_sys(errno, "flush a compacted segment");
    if (rc == 0 && writer->job->sync)
        rc = index_sync(&files);
    return rc;
}
