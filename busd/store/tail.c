/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "base/trace.h"
#include "store/private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>

void
log_kick(struct log *log)
{
    const struct store_options *options = &log->store->options;
    if (options->kick)
        options->kick(options->context);
}

int
log_damage(struct log *log, const char *what)
{
    if (!log->damaged) {
        trace(TRACE_ERROR,
            "%s-%" PRId32 ": the shared page of generation %" PRIu32
            " is damaged (%s): a new one follows",
            log->topic, log->options.partition, log->number, what);
        log->damaged = true;
        log_kick(log);
    }
    return err_set(BUS_ERR_PARTITION_OFFLINE,
        "%s-%" PRId32 ": its shared memory was damaged and is being replaced; try again",
        log->topic, log->options.partition);
}

/* Closes the active segment where the control page says, and takes the spare in its place. */
static int
note_roll(struct log *log, const struct shm_tail *tail)
{
    struct segment *active = segments_active(log);
    struct segment *spare = log->spare;
    struct shm_tail old;
    if (!spare || spare->seq != tail->seq ||
        !shm_slot_read(log->generation->view.control, active->seq, &old) || !old.sealed ||
        old.base_offset != active->base_offset || old.position > active->reserved ||
        old.position < log->end_position || old.end_offset < log->end_offset ||
        tail->base_offset != old.end_offset)
        return log_damage(log, "a roll does not fit");
    spare->base_offset = tail->base_offset;
    log->spare = NULL;
    int rc = segments_push(log, spare);
    if (rc < 0)
        return log_damage(log, "out of memory");
    active->end = old.position;
    active->next_offset = old.end_offset;
    shm_segment_unref(&log->generation->view.segments[active->seq % SHM_SLOTS]);
    log->end_offset = tail->base_offset;
    log->end_position = 0;
    log->active_since_ms = -1;
    return 0;
}

static int
check_tail(struct log *log, const struct shm_tail *tail)
{
    struct segment *active = segments_active(log);
    /* Kept, for whatever happens to the page: the next generation must not start as if all were
     * well. */
    log->flush_failed |= tail->state == SHM_STATE_OFFLINE;
    if ((tail->state == SHM_STATE_FENCED && !log->fencing) || tail->state == SHM_STATE_DELETED)
        return log_damage(log, "its state was changed");
    if (tail->seq != active->seq) {
        int rc = note_roll(log, tail);
        if (rc < 0)
            return rc;
        active = segments_active(log);
    }
    if (tail->base_offset != active->base_offset || tail->position < log->end_position ||
        tail->end_offset < log->end_offset)
        return log_damage(log, "its end went back");
    if (tail->limit > active->reserved || tail->position > active->reserved)
        return log_damage(log, "its end lies beyond the reservation");
    return 0;
}

int
log_tail(struct log *log, struct shm_tail *tail)
{
    if (log->deleted)
        return err_set(BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION, "the topic was deleted");
    if (log->damaged || !log->generation)
        return log_damage(log, "nothing could be started yet");
    /* Read before the end: a flush that is going on moves it up to an end that we see later. */
    int64_t durable = shm_durable_offset(&log->generation->view);
    int rc = shm_partition_tail(&log->generation->view, tail);
    if (rc < 0)
        return log_damage(log, err_text());
    if (durable < 0 || durable > tail->end_offset)
        return log_damage(log, "more is durable than there is");
    rc = check_tail(log, tail);
    if (rc < 0)
        return rc;
    log->end_offset = tail->end_offset;
    log->end_position = tail->position;
    return 0;
}

bool
log_failed(int rc)
{
    return rc < 0 && rc != -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
}

int64_t
log_visible(struct log *log, const struct shm_tail *tail, enum log_isolation isolation)
{
    int64_t end = tail->end_offset;
    if (isolation == LOG_READ_END)
        return end;
    if ((log->options.flags & SHM_FLAG_REPLICATED) && log->high_watermark < end)
        end = log->high_watermark;
    if (isolation == LOG_READ_DURABLE && !(log->options.flags & SHM_FLAG_MEMORY)) {
        /* Acquire: pairs with flush.c's raise_durable(). */
        int64_t durable = atomic_load_explicit(
            &log->generation->view.control->durable_offset, memory_order_acquire);
        if (durable < end)
            end = durable;
    }
    return end;
}

static struct segment *
by_seq(struct log *log, int64_t seq)
{
    if (log->spare && log->spare->seq == seq)
        return log->spare;
    for (size_t i = log->count; i > 0; i--)
        if (log->segments[i - 1]->seq == seq)
            return log->segments[i - 1];
    return NULL;
}

/* Maps a segment of this generation for busd itself, by number. */
static int
map_segment(struct log *log, int64_t seq, struct shm_segment **mapped)
{
    struct segment *segment = by_seq(log, seq);
    if (!segment)
        return err_set(BUS_ERR_RESOURCE_NOT_FOUND, "there is no segment %" PRId64, seq);
    char *path = segment_path(log, segment);
    if (!path)
        return err_no_memory();
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int rc = fd < 0 ? err_sys(errno, "open %s", path) : 0;
    free(path);
    if (rc == 0)
        rc = shm_segment_open(fd, (size_t)segment->capacity, true, mapped);
    if (rc < 0)
        return rc;
    (*mapped)->seq = seq;
    (*mapped)->base_offset = segment->base_offset;
    (*mapped)->next_offset = segment->next_offset;
    (*mapped)->end = segment->end > 0 ? (size_t)segment->end : 0;
    return 0;
}

static int
open_locked(
    void *context, int64_t seq, int64_t offset, struct shm_segment **segment, uint32_t *position)
{
    (void)offset;
    *position = 0;
    return map_segment(context, seq, segment);
}

/* A flush may ask for a segment that was rolled to a moment ago, so the tail is looked at first. */
static int
open_unlocked(
    void *context, int64_t seq, int64_t offset, struct shm_segment **segment, uint32_t *position)
{
    struct log *log = context;
    struct shm_tail tail;
    (void)offset;
    *position = 0;
    pthread_mutex_lock(&log->mutex);
    int rc = log_tail(log, &tail);
    if (rc == 0)
        rc = map_segment(log, seq, segment);
    pthread_mutex_unlock(&log->mutex);
    return rc;
}

static void
source_kick(void *context)
{
    log_kick(context);
}

struct shm_source
log_source_locked(struct log *log)
{
    return (struct shm_source){.open = open_locked, .kick = source_kick, .context = log};
}

struct shm_source
log_source_unlocked(struct log *log)
{
    return (struct shm_source){.open = open_unlocked, .kick = source_kick, .context = log};
}
