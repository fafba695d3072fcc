/* SPDX-License-Identifier: Apache-2.0 */
#include "store/clean_read.h"
#include "store/clean_write.h"
#include "store/cleaning.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

void
clean_job_free(struct clean_job **job)
{
    struct clean_job *old = *job;
    *job = NULL;
    if (!old)
        return;
    if (old->folder >= 0)
        close(old->folder);
    clean_map_fini(&old->map);
    clean_filter_fini(&old->filter);
    free(old->sources);
    free(old);
}

static int
interrupted(void)
{
    return err_set(BUS_ERR_DAEMON_UNAVAILABLE, "compaction was interrupted");
}

/* What a damaged or unreadable segment fails with, as opposed to a failure of the whole. */
static bool
is_damage(int rc)
{
    return rc == -BUS_ERR_CORRUPT_MESSAGE || rc == -BUS_ERR_UNSUPPORTED_CODEC ||
           rc == -BUS_ERR_SYSTEM;
}

/* Traced, and the first of them told to whoever asks how the run went. */
static void
leave_alone(struct clean_job *job, struct clean_source *source)
{
    if (source->left_alone)
        return;
    trace(TRACE_ERROR, "%s: compaction leaves segment %020" PRId64 ".log as it is: %s", job->name,
        source->base_offset, err_text());
    if (job->text[0] == '\0')
        snprintf(job->text, sizeof job->text, "segment %020" PRId64 ".log stays as it is: %s",
            source->base_offset, err_text());
    source->left_alone = true;
}

/* Without a source there is nothing to compact any more: retention was faster. */
static int
open_source(struct clean_reader *reader, struct clean_job *job, const struct clean_source *source)
{
    int rc = clean_reader_open(reader, job, source);
    if (rc < 0 && errno == ENOENT)
        return err_set(BUS_ERR_RESOURCE_NOT_FOUND, "a segment was removed meanwhile");
    return rc;
}

static void
note_done(struct clean_job *job, const struct clean_batch *batch)
{
    /* Relaxed: for whoever looks. */
    atomic_fetch_add_explicit(&job->bytes_done, (int64_t)batch->size, memory_order_relaxed);
}

/* ---- the map -------------------------------------------------------------------------------- */

enum { MAP_DONE = 0, MAP_FULL = 1 };

static int
map_records(struct clean_job *job, const struct clean_batch *batch)
{
    struct batch_iter iter;
    struct record record;
    int rc = batch_iter_init(&iter, batch->bytes, batch->size, &batch->header, &job->filter.scratch,
        CLEAN_BATCH_BYTES_MAX);
    while (rc == 0 && (rc = batch_iter_next(&iter, &record)) == 1) {
        rc = 0;
        if (record.offset < job->clean_offset || record.key_bytes < 0)
            continue;
        if (!clean_map_put(
                &job->map, CLEAN_KEY_RECORD, record.key, (size_t)record.key_bytes, record.offset)) {
            job->up_to = record.offset;
            return MAP_FULL;
        }
    }
    return rc;
}

static int
map_batch(struct clean_job *job, const struct clean_batch *batch)
{
    const struct batch_header *header = &batch->header;
    if (batch_next_offset(header) <= job->clean_offset || header->attributes & BATCH_ATTR_CONTROL)
        return MAP_DONE;
    int rc = map_records(job, batch);
    /* Without room for it the producer's older batches stay, which harms nobody. */
    if (rc == MAP_DONE && header->producer_id >= 0)
        (void)clean_map_put(&job->map, CLEAN_KEY_PRODUCER, &header->producer_id,
            sizeof header->producer_id, header->base_offset);
    return rc;
}

static int
map_source(struct clean_job *job, const struct clean_source *source)
{
    struct clean_reader reader;
    struct clean_batch batch;
    int rc = open_source(&reader, job, source);
    while (rc == 0 && (rc = clean_reader_next(&reader, &batch)) == CLEAN_READER_BATCH) {
        rc = clean_stopped(job) ? interrupted() : map_batch(job, &batch);
        note_done(job, &batch);
    }
    clean_reader_close(&reader);
    return rc;
}

/* Notes the last record of each key in the dirty part, or in as much of it as there is memory for.
 */
static int
fill_map(struct clean_job *job)
{
    int rc = clean_map_init(&job->map, job->map_bytes, job->dirty_offset - job->clean_offset);
    job->up_to = job->dirty_offset;
    for (size_t i = 0; rc == 0 && i < job->source_count; i++) {
        struct clean_source *source = &job->sources[i];
        if (source->next_offset <= job->clean_offset)
            continue;
        rc = map_source(job, source);
        if (is_damage(rc)) {
            leave_alone(job, source);
            rc = 0;
        }
    }
    job->map_full = rc == MAP_FULL;
    return rc < 0 ? rc : 0;
}

static void
prepare_filter(struct clean_job *job)
{
    struct clean_filter *filter = &job->filter;
    filter->map = &job->map;
    filter->end_offset = job->up_to;
    filter->horizon_ms = job->dirt.horizon_ms;
    filter->passed_ms = job->dirt.passed_ms;
    filter->producer_before_ms = job->dirt.producer_before_ms;
    int64_t total = atomic_load_explicit(&job->bytes_done, memory_order_relaxed);
    for (size_t i = 0; i < job->source_count && job->sources[i].base_offset < job->up_to; i++)
        total += job->sources[i].bytes;
    atomic_store_explicit(&job->bytes_total, total, memory_order_relaxed);
}

/* ---- new segments --------------------------------------------------------------------------- */

static int
write_batch(struct clean_job *job, struct clean_writer *writer, const struct clean_batch *batch)
{
    struct clean_filter *filter = &job->filter;
    int fate = clean_filter_batch(filter, batch);
    if (fate < 0)
        return fate;
    job->group.changed |= fate != CLEAN_SAME;
    if (fate == CLEAN_GONE)
        return 0;
    if (fate == CLEAN_SAME)
        return clean_writer_put(writer, &batch->header, batch->bytes, batch->size);
    struct batch_header header;
    int rc = batch_header_read(filter->out.data, filter->out.length, &header);
    return rc != BATCH_OK ? rc
                          : clean_writer_put(writer, &header, filter->out.data, filter->out.length);
}

static int
write_source(struct clean_job *job, struct clean_writer *writer, const struct clean_source *source)
{
    struct clean_reader reader;
    struct clean_batch batch;
    int rc = open_source(&reader, job, source);
    while (rc == 0 && (rc = clean_reader_next(&reader, &batch)) == CLEAN_READER_BATCH) {
        rc = clean_stopped(job) ? interrupted() : write_batch(job, writer, &batch);
        note_done(job, &batch);
    }
    clean_reader_close(&reader);
    clean_filter_shrink(&job->filter);
    return rc;
}

/* The producers' room is not touched. */
static int
check_space(const struct clean_job *job, const struct clean_source *source)
{
    struct statvfs disk;
    if (fstatvfs(job->folder, &disk) < 0)
        return err_sys(errno, "look at the free space");
    int64_t free_bytes = (int64_t)(disk.f_bavail * disk.f_frsize);
    if (free_bytes >= source->bytes + job->reserve_bytes)
        return 0;
    return err_set(BUS_ERR_DISK_FULL,
        "too little disk space to compact a segment of %" PRId64 " bytes: make space",
        source->bytes);
}

static bool
joins(const struct clean_job *job, const struct clean_writer *writer, size_t at)
{
    const struct clean_source *source = &job->sources[at];
    if (at == job->group.first)
        return true;
    return !source->left_alone && source->base_offset < job->up_to &&
           writer->position + source->bytes <= job->segment_bytes &&
           source->next_offset - writer->base_offset <= INT32_MAX;
}

/* Writes sources from group->first up to `limit` into one segment, as many as fit. When one is
 * damaged, group->end is its number. */
static int
build_group(struct clean_job *job, size_t limit)
{
    struct clean_group *group = &job->group;
    struct clean_writer writer;
    int64_t dropped = job->filter.dropped, kept = job->filter.kept;
    int rc = clean_writer_open(&writer, job, job->sources[group->first].base_offset);
    group->changed = false;
    group->end = group->first;
    while (rc == 0 && group->end < limit && joins(job, &writer, group->end)) {
        const struct clean_source *source = &job->sources[group->end];
        rc = check_space(job, source);
        if (rc == 0)
            rc = write_source(job, &writer, source);
        if (rc == 0)
            group->end++;
    }
    if (rc == 0)
        rc = clean_writer_finish(&writer, job->sources[group->end - 1].next_offset);
    group->position = writer.position;
    group->index = writer.index;
    clean_writer_close(&writer);
    if (rc == 0)
        return 0;
    job->filter.dropped = dropped;
    job->filter.kept = kept;
    clean_writer_discard(job, job->sources[group->first].base_offset);
    return rc;
}

enum { GROUP_NONE = 0, GROUP_READY = 1 };

/* A segment in which nothing changed stays where it is. */
static bool
is_same(const struct clean_job *job)
{
    return !job->group.changed && job->group.end == job->group.first + 1;
}

/* Tries to build the group that begins at job->at. GROUP_NONE: not with this segment. */
static int
try_group(struct clean_job *job)
{
    struct clean_group *group = &job->group;
    group->first = job->at;
    int rc = build_group(job, job->source_count);
    if (is_damage(rc)) {
        leave_alone(job, &job->sources[group->end]);
        rc = group->end > group->first ? build_group(job, group->end) : GROUP_NONE;
        if (job->sources[group->first].left_alone)
            return rc;
    }
    if (rc < 0)
        return rc;
    if (!is_same(job))
        return GROUP_READY;
    clean_writer_discard(job, job->sources[group->first].base_offset);
    job->at = group->end;
    return GROUP_NONE;
}

static int
next_group(struct clean_job *job)
{
    while (job->at < job->source_count && job->sources[job->at].base_offset < job->up_to) {
        if (job->sources[job->at].left_alone) {
            /* What it holds could come to life again without the deletions behind it. */
            job->filter.keep_deletions = true;
            job->at++;
            continue;
        }
        int rc = try_group(job);
        if (rc != GROUP_NONE)
            return rc;
    }
    return GROUP_NONE;
}

enum clean_state
clean_run(struct clean_job *job)
{
    int rc = 0;
    if (job->state == CLEAN_READING) {
        job->began_ns = clock_mono_ns();
        rc = fill_map(job);
        prepare_filter(job);
    }
    if (rc == 0)
        rc = next_group(job);
    if (rc == GROUP_READY)
        return CLEAN_INSTALL;
    job->result = rc;
    if (rc < 0)
        snprintf(job->text, sizeof job->text, "%s", err_text());
    return CLEAN_ENDED;
}
