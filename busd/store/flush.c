/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/flush.h"

#include "base/clock.h"
#include "base/err.h"
#include "store/private.h"

#include <inttypes.h>
#include <time.h>

enum {
    PASS_MS = 30000, /* a background flush that takes longer is left to the next pass */
    RETRY_MS = 1,    /* between two looks for the generation that follows a fenced one */
};

/* The generation to flush, and the offset, never behind the end. */
static int
begin(struct log *log, int64_t *offset, struct generation **generation)
{
    struct shm_tail tail;
    pthread_mutex_lock(&log->mutex);
    int rc = log_tail(log, &tail);
    if (rc == 0) {
        if (*offset > tail.end_offset)
            *offset = tail.end_offset;
        *generation = generation_ref(log->generation);
    }
    pthread_mutex_unlock(&log->mutex);
    return rc;
}

static struct timespec
timespec_of(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

/* One thread of busd at a time uses the view for flushes. */
static bool
take_view(struct generation *generation, int64_t deadline_ns)
{
    struct timespec deadline = timespec_of(deadline_ns);
    int rc = 0;
    pthread_mutex_lock(&generation->flush_mutex);
    while (generation->flushing && rc == 0)
        rc = pthread_cond_timedwait(&generation->flush_done, &generation->flush_mutex, &deadline);
    bool taken = !generation->flushing;
    generation->flushing = true;
    pthread_mutex_unlock(&generation->flush_mutex);
    return taken;
}

static void
give_view(struct generation *generation)
{
    pthread_mutex_lock(&generation->flush_mutex);
    generation->flushing = false;
    pthread_cond_broadcast(&generation->flush_done);
    pthread_mutex_unlock(&generation->flush_mutex);
}

/* Lets go of segments that were flushed for the last time. */
static void
drop_closed(struct generation *generation)
{
    struct shm_segment **segments = generation->flush.segments;
    int64_t newest = -1;
    for (int i = 0; i < SHM_SLOTS; i++)
        if (segments[i] && segments[i]->seq > newest)
            newest = segments[i]->seq;
    for (int i = 0; i < SHM_SLOTS; i++)
        if (segments[i] && segments[i]->seq < newest)
            shm_segment_unref(&segments[i]);
}

/* One attempt in one generation. */
static int
flush_generation(struct generation *generation, int64_t offset, int64_t deadline_ns)
{
    if (shm_durable_offset(&generation->view) >= offset)
        return FLUSH_DONE;
    if (!take_view(generation, deadline_ns))
        return FLUSH_TIMED_OUT;
    int rc = shm_flush(&generation->flush, offset, deadline_ns);
    drop_closed(generation);
    give_view(generation);
    return rc;
}

void
generation_drop_segments(struct generation *generation)
{
    for (int i = 0; i < SHM_SLOTS; i++)
        shm_segment_unref(&generation->view.segments[i]);
    if (!take_view(generation, 0))
        return;
    for (int i = 0; i < SHM_SLOTS; i++)
        shm_segment_unref(&generation->flush.segments[i]);
    give_view(generation);
}

/* The page says it too, but pages can be ruined. */
static void
note_failure(struct log *log)
{
    pthread_mutex_lock(&log->mutex);
    log->flush_failed = true;
    pthread_mutex_unlock(&log->mutex);
}

/* Whether another generation took its place meanwhile, which does not have its segments. */
static bool
is_over(struct log *log, const struct generation *generation)
{
    pthread_mutex_lock(&log->mutex);
    bool over = log->generation != generation;
    pthread_mutex_unlock(&log->mutex);
    return over;
}

int
log_flush(struct log *log, int64_t offset, int64_t deadline_ns)
{
    for (;;) {
        struct generation *generation;
        int rc = begin(log, &offset, &generation);
        bool retry = rc == -BUS_ERR_PARTITION_OFFLINE;
        if (rc == 0) {
            rc = flush_generation(generation, offset, deadline_ns);
            if (rc == -BUS_ERR_KAFKA_STORAGE_ERROR)
                note_failure(log);
            retry = rc == FLUSH_FENCED || (rc < 0 && is_over(log, generation));
            generation_unref(&generation);
        }
        if (!retry)
            return err_prefix(rc, "%s-%" PRId32, log->topic, log->options.partition);
        if (clock_mono_ns() >= deadline_ns)
            return LOG_FLUSH_TIMED_OUT;
        struct timespec pause = timespec_of(RETRY_MS * INT64_C(1000000));
        nanosleep(&pause, NULL);
    }
}

/* How far the keeper has followed the log: a batch boundary whose offset is known. */
static void
note_checkpoint(struct log *log, struct store_checkpoint *checkpoint)
{
    const struct segment *active = segments_active(log);
    checkpoint->generation = log->number;
    checkpoint->log_start_offset = log->start_offset;
    if (active->index.loaded && active->index.offset >= checkpoint->durable_offset) {
        checkpoint->segment_base = active->base_offset;
        checkpoint->position = active->index.position;
        checkpoint->durable_offset = active->index.offset;
    }
    /* A segment without records, right behind a roll: all before it is followed. */
    bool empty = active->index.loaded && active->index.offset < 0 && log->end_position == 0;
    if (empty && active->base_offset >= checkpoint->durable_offset) {
        checkpoint->segment_base = active->base_offset;
        checkpoint->position = 0;
        checkpoint->durable_offset = active->base_offset;
    }
}

static bool
differs(const struct store_checkpoint *a, const struct store_checkpoint *b)
{
    return a->generation != b->generation || a->segment_base != b->segment_base ||
           a->position != b->position || a->durable_offset != b->durable_offset ||
           a->log_start_offset != b->log_start_offset;
}

int
log_flush_pass(struct log *log, struct store_checkpoint *checkpoint, bool *moved)
{
    struct shm_tail tail;
    *moved = false;
    struct store_checkpoint saved = log_saved(log);
    *checkpoint = saved;
    pthread_mutex_lock(&log->mutex);
    int rc = log_tail(log, &tail);
    if (rc == 0)
        note_checkpoint(log, checkpoint);
    pthread_mutex_unlock(&log->mutex);
    if (rc < 0 || tail.state != SHM_STATE_OPEN)
        return 0;
    rc = log_flush(log, tail.end_offset, clock_mono_ns() + PASS_MS * INT64_C(1000000));
    *moved = rc == LOG_FLUSHED && differs(checkpoint, &saved);
    return rc < 0 ? rc : 0;
}
