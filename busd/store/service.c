/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/err.h"
#include "base/trace.h"
#include "shm/append.h"
#include "store/private.h"

#include <inttypes.h>

enum {
    FOLLOW_MS = 20, /* of a pass go to the indexes of one log; what is left waits for the next */
    PRUNE_S = 3600, /* between two looks at what was set aside */
    LOCK_MS = 5,    /* the keeper waits no longer for the append lock; it comes back */
    KICK_BYTES = 32 * 1024 * 1024, /* writers ask for more when less than this is left */
};

/* Replaces a damaged generation; tried again on each pass until it succeeds. */
static int
repair(struct log *log)
{
    int rc = log_rebuild(log);
    if (rc < 0 && !log->told_damaged)
        trace(TRACE_ERROR, "%s-%" PRId32 ": the partition stays offline: %s", log->topic,
            log->options.partition, err_text());
    log->told_damaged = rc < 0;
    return rc;
}

/* Whether the active segment has held records for segment.ms. */
static bool
is_old(struct log *log, const struct shm_tail *tail)
{
    int64_t now_ms = clock_wall_ms();
    if (tail->position == 0 || tail->state != SHM_STATE_OPEN)
        return false;
    if (log->active_since_ms < 0 || log->active_since_ms > now_ms)
        log->active_since_ms = now_ms;
    if (log->cleaning.asked && segments_active(log)->base_offset < log->cleaning.asked_offset)
        return true;
    return log->options.segment_ms > 0 && now_ms - log->active_since_ms >= log->options.segment_ms;
}

static int
roll_old(struct log *log)
{
    struct shm_tail tail;
    pthread_mutex_lock(&log->mutex);
    int rc = log_tail(log, &tail);
    bool old = rc == 0 && is_old(log, &tail);
    if (old)
        log->writers_seen = true;
    pthread_mutex_unlock(&log->mutex);
    if (!old)
        return rc;
    rc = room_spare(log);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&log->mutex);
    rc = log_tail(log, &tail);
    if (rc == 0 && is_old(log, &tail))
        rc = shm_roll(&log->generation->view, clock_mono_ns() + LOCK_MS * INT64_C(1000000));
    if (rc >= 0)
        rc = log_tail(log, &tail);
    pthread_mutex_unlock(&log->mutex);
    return rc < 0 ? rc : room_names(log);
}

/* Takes the request of writers for room; the tail is read after that. */
static void
take_request(struct log *log)
{
    pthread_mutex_lock(&log->mutex);
    if (log->generation)
        /* Acq_rel: pairs with append.c's kick(). */
        atomic_exchange_explicit(
            &log->generation->view.control->reserve_wanted, 0, memory_order_acq_rel);
    pthread_mutex_unlock(&log->mutex);
}

/* Where less is kept ahead than writers ask for, the request is left standing: it stops them from
 * calling with every append. They still call when nothing is left, but then busd may be away; so a
 * log that grows is looked after again soon. Returns whether it is. */
static bool
leave_request(struct log *log)
{
    struct shm_tail tail;
    bool grows = false;
    pthread_mutex_lock(&log->mutex);
    if (log_tail(log, &tail) == 0 && !room_wanted(log, &tail) &&
        segments_active(log)->reserved - tail.position < KICK_BYTES) {
        /* Relaxed: a missed call is made up for by the next pass. */
        atomic_store_explicit(
            &log->generation->view.control->reserve_wanted, 1, memory_order_relaxed);
        grows = log->served_offset != tail.end_offset;
        log->served_offset = tail.end_offset;
    }
    pthread_mutex_unlock(&log->mutex);
    return grows;
}

/* Closes files, and unmaps segments, that nobody used since the last look. */
static void
close_idle(struct log *log)
{
    pthread_mutex_lock(&log->mutex);
    for (size_t i = 0; i < log->count; i++) {
        struct segment *segment = log->segments[i];
        if (!segment->used)
            log_file_unref(&segment->file);
        segment->used = false;
    }
    if (log->generation && log->idle_offset == log->end_offset)
        generation_drop_segments(log->generation);
    log->idle_offset = log->end_offset;
    pthread_mutex_unlock(&log->mutex);
}

/* Whoever failed to flush, busd or a producer, it is told here, once. */
static void
tell_offline(struct log *log, const struct shm_tail *tail)
{
    bool offline = tail->state == SHM_STATE_OFFLINE;
    if (offline && !log->told_offline)
        trace(TRACE_ERROR,
            "%s-%" PRId32 ": offline: a flush of %s failed; it can be read, but nothing is written "
            "until busd is started again: see that the disk works before",
            log->topic, log->options.partition, log->folder);
    log->told_offline = offline;
}

static bool
is_awaited(struct log *log)
{
    /* Relaxed: see log_service_try(). */
    return atomic_load_explicit(&log->awaited, memory_order_relaxed);
}

/* As much as the time allows, and nothing at all while somebody waits for log->service. */
static int
follow(struct log *log, bool *more)
{
    int64_t until_ns = clock_mono_ns() + FOLLOW_MS * INT64_C(1000000);
    int rc = 0;
    *more = true;
    while (rc == 0 && *more && !is_awaited(log) && clock_mono_ns() < until_ns)
        rc = log_follow(log, more);
    return rc;
}

static int
work(struct log *log, bool *more)
{
    struct shm_tail tail;
    take_request(log);
    pthread_mutex_lock(&log->mutex);
    int rc = log_tail(log, &tail);
    if (rc < 0 && log->damaged)
        rc = repair(log);
    if (rc == 0)
        tell_offline(log, &tail);
    pthread_mutex_unlock(&log->mutex);
    if (rc < 0)
        return rc;
    rc = room_reserve(log, 0);
    if (rc == 0)
        rc = room_names(log);
    if (rc == 0)
        rc = room_spare(log);
    bool grows = rc == 0 && log_fill(log);
    if (rc == 0)
        rc = roll_old(log);
    if (rc == 0)
        rc = follow(log, more);
    *more |= grows;
    if (rc == 0)
        rc = epochs_save(log);
    if (rc == 0)
        rc = clean_serve(log);
    if (rc == 0)
        rc = log_retain(log);
    *more |= leave_request(log);
    return rc;
}

/* What recovery set aside is looked at after the opening, and then now and then. */
static void
prune(struct log *log)
{
    int64_t now_ms = clock_mono_ms();
    if (log->pruned_ms > 0 && now_ms - log->pruned_ms < PRUNE_S * 1000)
        return;
    log->pruned_ms = now_ms;
    if (cut_prune(log->folder, clock_wall_ms()) < 0)
        trace(TRACE_WARNING, "%s-%" PRId32 ": %s", log->topic, log->options.partition, err_text());
}

int
log_service(struct log *log, bool *more)
{
    *more = false;
    pthread_mutex_lock(&log->service);
    int rc = work(log, more);
    close_idle(log);
    prune(log);
    bool failed = log_failed(rc) && rc != -BUS_ERR_PARTITION_OFFLINE;
    if (failed && !log->service_failed)
        trace(TRACE_ERROR, "%s-%" PRId32 ": %s", log->topic, log->options.partition, err_text());
    log->service_failed = failed;
    /* Relaxed: for the next pass, which finds the work under the locks. Whoever waited comes back
     * to a free lock now; or never, since he has found the room that this pass made. */
    atomic_store_explicit(&log->unfinished, *more, memory_order_relaxed);
    atomic_store_explicit(&log->awaited, false, memory_order_relaxed);
    pthread_mutex_unlock(&log->service);
    return rc;
}

bool
log_wants_service(struct log *log)
{
    struct shm_tail tail;
    pthread_mutex_lock(&log->mutex);
    bool wants =
        log_tail(log, &tail) < 0 || segments_active(log)->spare >= 0 || room_wanted(log, &tail);
    wants = wants || log->cleaning.asked;
    pthread_mutex_unlock(&log->mutex);
    return wants || clean_waits(log);
}

bool
log_service_try(struct log *log)
{
    /* Relaxed: a hint to whoever has the lock; nothing depends on when it is seen. */
    bool taken = pthread_mutex_trylock(&log->service) == 0;
    atomic_store_explicit(&log->awaited, !taken, memory_order_relaxed);
    return taken;
}

int
log_try_room(struct log *log)
{
    if (!log_service_try(log))
        return LOG_ROOM_BUSY;
    int rc = room_reserve(log, log->options.max_message_bytes);
    if (rc == 0)
        rc = room_spare(log);
    pthread_mutex_unlock(&log->service);
    if (rc < 0)
        return rc;
    struct shm_tail tail;
    pthread_mutex_lock(&log->mutex);
    rc = log_tail(log, &tail);
    if (rc == 0 && tail.state != SHM_STATE_OPEN)
        rc = err_set(BUS_ERR_PARTITION_OFFLINE,
            "%s-%" PRId32 " is offline: a flush failed; see busd's log", log->topic,
            log->options.partition);
    else if (rc == 0 && log->disk_full)
        rc = err_set(BUS_ERR_DISK_FULL, "%s-%" PRId32 ": the disk is full: make space in %s",
            log->topic, log->options.partition, log->folder);
    pthread_mutex_unlock(&log->mutex);
    return rc;
}

int
log_make_room(struct log *log)
{
    int rc = log_try_room(log);
    return rc < 0 ? rc : 0;
}
