/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/err.h"
#include "base/trace.h"
#include "store/private.h"
#include "store/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

/* Bytes of a segment that one call looks at; more waits for the next call. */
enum { FOLLOW_BYTES_MAX = 64 * 1024 * 1024 };

enum { RETRY_S = 60 }; /* until a closed segment that could not be read is looked at again */

/* One piece of work: a stretch of one segment, and what comes of it. */
struct follow {
    struct log *log;
    struct segment *segment;
    struct log_file *file; /* a reference */
    int64_t end;           /* bytes that may be looked at */
    int64_t end_offset;
    bool closed;
    int64_t flushed;    /* below this, damage is the disk's, not a scribbler's */
    bool damaged;       /* no batch where one should be: the generation must go */
    struct index index; /* the segment's, ahead of it */
    struct index_batch *batch;
};

/* The segment to look at: first those that were rolled a moment ago, so that their indexes are
 * flushed before a checkpoint lies behind them; then the active one; then older ones that an
 * earlier busd may not have completed. */
static struct segment *
choose(const struct log *log)
{
    struct segment *active = segments_active(log);
    int64_t now_ns = clock_mono_ns();
    for (size_t i = log->count - 1; i > 0; i--) {
        struct segment *segment = log->segments[i - 1];
        if (segment->index.loaded && !segment->index.complete && segment->retry_ns <= now_ns)
            return segment;
        if (!segment->index.loaded)
            break;
    }
    if (!active->index.loaded || active->index.position < log->end_position)
        return active;
    for (size_t i = log->count - 1; i > 0; i--) {
        struct segment *segment = log->segments[i - 1];
        if (!segment->index.complete && segment->retry_ns <= now_ns)
            return segment;
    }
    return NULL;
}

static int
prepare(struct follow *follow)
{
    struct log *log = follow->log;
    struct segment *segment = follow->segment;
    struct log_file *file;
    int rc = segment_index(log, segment);
    if (rc == 0)
        rc = segment_end(log, segment, &follow->end);
    if (rc == 0)
        rc = segment_file(log, segment, &file);
    if (rc < 0)
        return rc;
    follow->file = log_file_ref(file);
    follow->end_offset = segment_end_offset(log, segment);
    follow->closed = segment != segments_active(log);
    struct store_checkpoint saved = log_saved(log);
    if (follow->closed)
        follow->flushed = INT64_MAX;
    else if (saved.generation > 0 && saved.segment_base == segment->base_offset)
        follow->flushed = saved.position;
    follow->index = segment->index;
    return 0;
}

/* No checksum covers the base offset. Only compaction, and a start that is not known, leave holes.
 */
static bool
fits(const struct follow *follow, const struct batch_header *batch)
{
    const struct index *index = &follow->index;
    bool holes = index->offset < 0 || log_holes(follow->log);
    int64_t least = index->offset >= 0 ? index->offset : follow->segment->base_offset;
    return (holes ? batch->base_offset >= least : batch->base_offset == least) &&
           batch_next_offset(batch) <= follow->end_offset;
}

static int
note_epoch(struct follow *follow, const struct batch_header *batch)
{
    struct log *log = follow->log;
    if (follow->closed)
        return 0;
    pthread_mutex_lock(&log->mutex);
    int rc = epochs_note(log, batch->leader_epoch, batch->base_offset);
    pthread_mutex_unlock(&log->mutex);
    return rc;
}

/* No batch where one should be. Behind the checkpoint of the active segment somebody scribbled.
 * Elsewhere it is damage on disk: told, withheld, and stepped over. */
static int
meet_damage(struct follow *follow, struct walk *walk)
{
    const struct log *log = follow->log;
    struct index *index = &follow->index;
    if (index->position >= follow->flushed) {
        follow->damaged = true;
        return WALK_END;
    }
    trace(TRACE_ERROR,
        "%s-%" PRId32 ": segment %020" PRId64 ".log is damaged on disk at position %" PRId64,
        log->topic, log->options.partition, follow->segment->base_offset, index->position);
    struct walk_range range = {
        .least = follow->segment->base_offset, .end_offset = follow->end_offset};
    int64_t from;
    int rc = walk_skip(walk, &range, &from);
    if (rc == WALK_END)
        index->position = follow->end;
    return rc;
}

/* The next batch, if it belongs here. */
static int
next_batch(struct follow *follow, struct walk *walk)
{
    int rc = walk_next(walk);
    if (rc == WALK_BATCH && fits(follow, &walk->batch))
        return rc;
    if (rc == WALK_END && walk->position >= follow->end)
        return rc;
    if (rc == WALK_BATCH)
        walk_seek(walk, walk->batch_position, follow->index.offset);
    return rc < 0 && rc != -BUS_ERR_CORRUPT_MESSAGE ? rc : meet_damage(follow, walk);
}

/* Walks without any lock: the bytes are published and the file stays. */
static int
look(struct follow *follow)
{
    struct walk walk;
    int64_t stop = follow->index.position + FOLLOW_BYTES_MAX;
    int32_t epoch = -1;
    int rc = walk_init(&walk, follow->file->fd, 0, follow->end);
    walk.holes = log_holes(follow->log);
    walk_seek(&walk, follow->index.position,
        follow->index.position == 0 ? follow->segment->base_offset : follow->index.offset);
    while (rc >= 0 && walk.position < stop && follow->batch->count < INDEX_BATCH_MAX - 1) {
        rc = next_batch(follow, &walk);
        if (rc != WALK_BATCH)
            break;
        if (walk.batch.leader_epoch != epoch)
            rc = note_epoch(follow, &walk.batch);
        epoch = walk.batch.leader_epoch;
        index_take(&follow->index, follow->batch, &walk.batch, walk.batch_position,
            (int64_t)follow->log->options.index_interval_bytes);
    }
    walk_fini(&walk);
    return rc < 0 ? rc : 0;
}

/* Puts the results where lookups see them, unless the index was begun anew meanwhile. */
static void
publish(struct follow *follow)
{
    struct segment *segment = follow->segment;
    struct index *index = &follow->index;
    bool same = segment->index.loaded && segment->index.position <= index->position &&
                segment->index.entries == index->entries;
    if (!same)
        return;
    index->entries += (uint32_t)follow->batch->count;
    index->time_entries += (uint32_t)follow->batch->time_count;
    segment->index = *index;
    if (follow->damaged)
        log_damage(follow->log, "its batches make no sense");
}

static int
run(struct follow *follow)
{
    int rc = look(follow);
    if (rc < 0)
        return rc;
    if (follow->closed && !follow->damaged && follow->index.position >= follow->end) {
        index_close(&follow->index, follow->batch);
        follow->index.complete = true;
    }
    struct log *log = follow->log;
    struct index_files files = segment_index_files(log, follow->segment);
    rc = index_append(&follow->index, &files, follow->batch);
    if (rc == 0 && follow->index.complete && !(log->options.flags & SHM_FLAG_MEMORY))
        rc = index_sync(&files);
    return rc;
}

/* Space that was reserved behind the end of a closed segment goes back to the disk. */
static int
trim(struct log *log, struct segment *segment)
{
    char *path = segment_path(log, segment);
    int rc = path ? 0 : err_no_memory();
    int fd = -1;
    if (rc == 0) {
        fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
            rc = err_sys(errno, "open %s", path);
    }
    int64_t from = (segment->end + 4095) & ~INT64_C(4095);
    if (rc == 0)
        rc = files_punch(fd, from, segment->reserved);
    if (fd >= 0)
        close(fd);
    free(path);
    segment->trimmed = true;
    return rc;
}

/* What cannot be read must not keep the indexes of newer segments, and with them the checkpoints,
 * from going on. */
static void
put_off(struct follow *follow)
{
    if (follow->segment != segments_active(follow->log))
        follow->segment->retry_ns = clock_mono_ns() + RETRY_S * INT64_C(1000000000);
}

int
log_follow(struct log *log, bool *more)
{
    struct follow follow = {.log = log};
    struct shm_tail tail;
    *more = false;
    pthread_mutex_lock(&log->mutex);
    int rc = log_tail(log, &tail);
    if (rc == 0 && (follow.segment = choose(log)) && (rc = prepare(&follow)) < 0)
        put_off(&follow);
    pthread_mutex_unlock(&log->mutex);
    if (rc < 0 || !follow.segment)
        return rc;
    follow.batch = calloc(1, sizeof *follow.batch);
    rc = follow.batch ? run(&follow) : err_no_memory();
    pthread_mutex_lock(&log->mutex);
    if (rc == 0)
        publish(&follow);
    else
        put_off(&follow);
    *more = (rc == 0 || follow.closed) && choose(log) != NULL;
    pthread_mutex_unlock(&log->mutex);
    free(follow.batch);
    log_file_unref(&follow.file);
    if (rc == 0 && follow.index.complete && !follow.segment->trimmed)
        rc = trim(log, follow.segment);
    return rc;
}
