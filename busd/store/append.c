/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/append.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/trace.h"
#include "shm/lock.h"
#include "store/private.h"

#include <inttypes.h>

enum { ROOMS_MAX = 3 }; /* how often one append makes room before it gives up */

/* ---- the holder of the append lock ---------------------------------------------------------- */

/* Looks at the lock once more. LOG_STALL_EVICTED here means that the holder is due for it. */
static enum log_stall_outcome
sample(struct log *log)
{
    const struct shm_control *control = log->generation->view.control;
    uint32_t owner = shm_lock_owner(&control->append_lock);
    int64_t now_ns = clock_mono_ns();
    int64_t seq = segments_active(log)->seq;
    uint64_t published = SHM_PUBLISHED((uint64_t)log->end_position,
        (uint64_t)(log->end_offset - segments_active(log)->base_offset));
    if (owner == 0) {
        log->stall_owner = 0;
        return LOG_STALL_OVER;
    }
    if (owner != log->stall_owner || seq != log->stall_seq || published != log->stall_published) {
        log->stall_owner = owner;
        log->stall_seq = seq;
        log->stall_published = published;
        log->stall_since_ns = now_ns;
        return LOG_STALL_WAIT;
    }
    int64_t held_ms = (now_ns - log->stall_since_ns) / 1000000;
    return held_ms < log->store->options.append_lock_timeout_ms ? LOG_STALL_WAIT
                                                                : LOG_STALL_EVICTED;
}

/* Under log->mutex. */
static int
look(struct log *log, uint32_t generation)
{
    struct shm_tail tail;
    if (generation != log->number)
        return LOG_STALL_OVER;
    int rc = log_tail(log, &tail);
    if (rc < 0)
        return rc;
    return tail.state == SHM_STATE_OPEN ? (int)sample(log) : LOG_STALL_OVER;
}

static void
tell_eviction(const struct log *log, uint32_t owner)
{
    trace(TRACE_WARNING,
        "%s-%" PRId32 ": thread %" PRIu32 " held the append lock for more than %" PRId64
        " ms and was evicted: generation %" PRIu32 " begins at offset %" PRId64,
        log->topic, log->options.partition, owner, log->store->options.append_lock_timeout_ms,
        log->number, log->end_offset);
}

/* Takes the locks in their order and looks again: the holder may have woken up meanwhile. */
static int
evict(struct log *log, uint32_t generation)
{
    if (!log_service_try(log))
        return LOG_STALL_WAIT;
    pthread_mutex_lock(&log->mutex);
    int rc = look(log, generation);
    if (rc == LOG_STALL_EVICTED) {
        uint32_t owner = log->stall_owner;
        rc = log_evict(log);
        if (rc == 0) {
            tell_eviction(log, owner);
            rc = LOG_STALL_EVICTED;
        }
    }
    pthread_mutex_unlock(&log->mutex);
    pthread_mutex_unlock(&log->service);
    return rc;
}

int
log_stalled(struct log *log, uint32_t generation)
{
    pthread_mutex_lock(&log->mutex);
    int rc = look(log, generation);
    pthread_mutex_unlock(&log->mutex);
    return rc == LOG_STALL_EVICTED ? evict(log, generation) : rc;
}

int
log_revoke(struct log *log)
{
    if (!log_service_try(log))
        return LOG_REVOKE_LATER;
    pthread_mutex_lock(&log->mutex);
    int rc = log_evict(log);
    if (rc == 0)
        trace(TRACE_NOTICE,
            "%s-%" PRId32 ": somebody may no more use it directly: generation %" PRIu32
            " begins at offset %" PRId64,
            log->topic, log->options.partition, log->number, log->end_offset);
    pthread_mutex_unlock(&log->mutex);
    pthread_mutex_unlock(&log->service);
    return rc < 0 ? rc : LOG_REVOKED;
}

/* ---- appending for others ------------------------------------------------------------------- */

/* The caller has looked at the CRC: who reads the batch need not look at its bytes again. Only when
 * it lies where the log ended before, and behind what is known to be right already. */
static void
note_verified(struct log *log, const struct shm_tail *before, const struct append_batch *batch)
{
    struct shm_tail tail;
    if (log_tail(log, &tail) < 0 || tail.seq != before->seq ||
        tail.position - before->position != (int64_t)batch->size_bytes)
        return;
    struct segment *segment = segments_active(log);
    if (segment->verified_to == segment->verified_from)
        segment->verified_from = segment->verified_to = before->position;
    if (segment->verified_to == before->position)
        segment->verified_to = tail.position;
}

static int
append_once(struct log *log, const struct append_batch *batch, int64_t deadline_ns,
    struct append_result *result, uint32_t *generation)
{
    struct shm_tail tail;
    pthread_mutex_lock(&log->mutex);
    int rc = log_tail(log, &tail);
    *generation = log->number;
    log->writers_seen = true;
    if (rc == 0)
        rc = shm_append(&log->generation->view, batch, deadline_ns, result);
    if (rc == APPEND_DONE)
        note_verified(log, &tail, batch);
    if (rc == APPEND_FENCED)
        rc = log_damage(log, "its state was changed");
    else if (rc == -BUS_ERR_CORRUPT_MESSAGE)
        rc = log_damage(log, err_text());
    pthread_mutex_unlock(&log->mutex);
    return rc;
}

int
log_append(struct log *log, const struct append_batch *batch, int64_t timeout_ms,
    struct append_result *result)
{
    int64_t deadline_ns = clock_mono_ns() + timeout_ms * 1000000;
    for (int rooms = 0; rooms < ROOMS_MAX;) {
        uint32_t generation;
        int rc = append_once(log, batch, deadline_ns, result, &generation);
        if (rc == APPEND_BUSY) {
            rc = log_stalled(log, generation);
            if (rc == LOG_STALL_EVICTED)
                continue;
            return rc < 0 ? rc : LOG_APPEND_BUSY;
        }
        if (rc != APPEND_NO_ROOM)
            return rc < 0 ? err_prefix(rc, "%s-%" PRId32, log->topic, log->options.partition)
                          : LOG_APPENDED;
        rooms++;
        rc = log_try_room(log);
        if (rc != 0)
            return rc < 0 ? rc : LOG_APPEND_BUSY;
    }
    return err_set(BUS_ERR_DISK_FULL, "%s-%" PRId32 ": no room could be made in %s", log->topic,
        log->options.partition, log->folder);
}
