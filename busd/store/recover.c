/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "base/trace.h"
#include "shm/append.h"
#include "store/private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* ---- taking over a living generation -------------------------------------------------------- */

static int
misfit(const char *what)
{
    return err_set(BUS_ERR_CORRUPT_MESSAGE, "the control page does not fit the files: %s", what);
}

static const struct files_entry *
find_file(const struct files_list *list, bool spare, int64_t number)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->entries[i].spare == spare && list->entries[i].number == number)
            return &list->entries[i];
    return NULL;
}

/* Files beyond the active segment are of a generation that never began. */
static int
drop_beyond(struct log *log, int64_t base_offset)
{
    while (log->count > 0 && segments_active(log)->base_offset > base_offset) {
        struct segment *last = log->segments[--log->count];
        int rc = cut_segment(log->folder, last->base_offset);
        segment_free(&last);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The segment before the active one must be closed where that begins; slots are not used again so
 * soon that it could be gone. */
static int
check_roll(const struct shm_control *control, const struct shm_tail *tail)
{
    struct shm_tail closed;
    if (tail->seq == 0)
        return 0;
    if (!shm_slot_read(control, tail->seq - 1, &closed) || !closed.sealed ||
        closed.end_offset != tail->base_offset)
        return misfit("the active segment does not continue the one before");
    return 0;
}

/* The active segment may still have the name that it had as the spare. */
static int
add_activated_spare(struct log *log, const struct files_list *list, const struct shm_tail *tail)
{
    const struct files_entry *entry = find_file(list, true, tail->seq);
    if (!entry)
        return misfit("the active segment is missing");
    struct segment *segment = segment_new(tail->base_offset, entry->number);
    if (!segment)
        return err_no_memory();
    segment->reserved = segment_bytes_of(entry);
    int rc = segment_rename(log, segment);
    if (rc < 0) {
        segment_free(&segment);
        return rc;
    }
    if (log->count > 0)
        segments_active(log)->next_offset = tail->base_offset;
    return segments_push(log, segment);
}

static int
adopt_active(struct log *log, const struct shm_control *control, const struct shm_tail *tail)
{
    struct segment *active = segments_active(log);
    if (tail->limit > active->reserved)
        return misfit("the active segment is shorter than its reservation");
    if (tail->end_offset < log->saved.durable_offset)
        return misfit("it ends before the checkpoint");
    /* Relaxed: a hint, checked here. Clients mapped at least so much of the active segment. */
    uint32_t bytes = atomic_load_explicit(&control->segment_bytes, memory_order_relaxed);
    if (bytes == 0 || bytes > SHM_SEGMENT_BYTES_MAX)
        return misfit("its segment.bytes is out of range");
    active->seq = tail->seq;
    active->next_offset = active->end = -1;
    active->reserved = tail->limit;
    active->capacity = bytes > tail->limit ? bytes : tail->limit;
    log->end_offset = tail->end_offset;
    log->end_position = tail->position;
    return 0;
}

/* Closed segments of this generation: writers and flushes know them by number. */
static void
adopt_closed(struct log *log, const struct shm_control *control, const struct shm_tail *tail)
{
    int64_t seq = tail->seq;
    for (size_t i = log->count - 1; i > 0 && seq > 0; i--) {
        struct segment *segment = log->segments[i - 1];
        struct shm_tail closed;
        if (!shm_slot_read(control, --seq, &closed) || !closed.sealed ||
            closed.base_offset != segment->base_offset ||
            closed.end_offset != segment->next_offset || closed.position > segment->reserved ||
            segment->next_offset <= log->cleaning.rewritten_offset)
            return;
        segment->seq = seq;
        segment->end = closed.position;
    }
}

static int
adopt_spare(struct log *log, const struct files_list *list, const struct shm_control *control,
    const struct shm_tail *tail)
{
    struct shm_tail slot;
    if (!tail->has_spare || !shm_slot_read(control, tail->seq + 1, &slot))
        return 0;
    const struct files_entry *entry = find_file(list, true, tail->seq + 1);
    if (!entry || entry->bytes < slot.limit)
        return misfit("the spare segment is missing");
    struct segment *spare = segment_new(-1, entry->number);
    if (!spare)
        return err_no_memory();
    spare->seq = tail->seq + 1;
    spare->reserved = slot.limit;
    spare->capacity = segments_active(log)->capacity;
    if (spare->capacity < slot.limit)
        spare->capacity = slot.limit;
    log->spare = spare;
    return 0;
}

static int
adopt_files(struct log *log, struct generation *generation, const struct files_list *list)
{
    const struct shm_control *control = generation->view.control;
    struct shm_tail tail;
    /* Read before the end, which may move on meanwhile. */
    int64_t durable = shm_durable_offset(&generation->view);
    int rc = shm_partition_tail(&generation->view, &tail);
    if (rc == 0 && (durable < 0 || durable > tail.end_offset))
        rc = misfit("more is durable than there is");
    if (rc == 0)
        rc = check_roll(control, &tail);
    if (rc == 0)
        rc = log_list(log, list);
    if (rc == 0)
        rc = drop_beyond(log, tail.base_offset);
    if (rc < 0)
        return rc;
    if (log->count == 0 || segments_active(log)->base_offset != tail.base_offset)
        rc = add_activated_spare(log, list, &tail);
    if (rc == 0)
        rc = adopt_active(log, control, &tail);
    if (rc < 0)
        return rc;
    adopt_closed(log, control, &tail);
    return adopt_spare(log, list, control, &tail);
}

int
log_adopt(struct log *log, struct generation *generation)
{
    struct files_list list;
    int rc = clean_settle(log);
    if (rc == 0)
        rc = files_list_read(log->folder, &list);
    if (rc < 0)
        return rc;
    rc = adopt_files(log, generation, &list);
    files_list_fini(&list);
    if (rc < 0) {
        segments_clear(log);
        return rc;
    }
    log->generation = generation;
    log->number = generation->number;
    log->writers_seen = log->spare || segments_active(log)->seq > 0;
    log->direct_writers = log->writers_seen;
    return 0;
}

/* ---- recovery ------------------------------------------------------------------------------- */

/* Whether a writer of this or an earlier generation is still alive: each holds a shared lock. */
static int
writers_alive(struct log *log, bool *alive)
{
    int fd = open(log->writers, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(errno, "open %s", log->writers);
    int rc = 0;
    *alive = false;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        *alive = errno == EWOULDBLOCK;
        if (!*alive)
            rc = err_sys(errno, "lock %s", log->writers);
    }
    close(fd);
    return rc;
}

int
log_load_checkpoint(struct log *log)
{
    const struct store_checkpoints *checkpoints = &log->store->options.checkpoints;
    int rc = checkpoints->load(
        checkpoints->context, log->options.topic_id, log->options.partition, &log->saved);
    if (rc < 0)
        return rc;
    if (rc == STORE_CHECKPOINT_NONE)
        log->saved = (struct store_checkpoint){0};
    memcpy(log->saved.topic_id, log->options.topic_id, STORE_ID_BYTES);
    log->saved.partition = log->options.partition;
    log->start_offset = log->saved.log_start_offset;
    log->high_watermark = log->start_offset;
    log->number = log->saved.generation;
    return 0;
}

/* Scans and starts a new generation. */
static int
start_over(struct log *log, bool alive, bool rewrite)
{
    struct scan_options options = {.alive = alive, .rewrite = rewrite};
    struct scan_end end;
    int rc = log_scan(log, &options, &end);
    if (rc < 0)
        return rc;
    return log_renew(log, end.reusable, end.offset);
}

/* A page that is in our hands, in whatever state. */
static int
recover_from(struct log *log, struct generation *found)
{
    /* Acquire: pairs with shm_fence(). */
    uint32_t state = atomic_load_explicit(&found->view.control->state, memory_order_acquire);
    int rc = state == SHM_STATE_OPEN || state == SHM_STATE_FENCED
                 ? log_adopt(log, found)
                 : err_set(BUS_ERR_CORRUPT_MESSAGE, "its state is %" PRIu32, state);
    if (rc == 0 && state == SHM_STATE_OPEN)
        return 0;
    if (rc == 0)
        /* busd died while it was replacing this one. */
        return log_renew(log, false, log->saved.durable_offset);
    if (rc != -BUS_ERR_CORRUPT_MESSAGE) {
        generation_unref(&found);
        return rc;
    }
    trace(state == SHM_STATE_OFFLINE ? TRACE_NOTICE : TRACE_WARNING,
        "%s-%" PRId32 ": generation %" PRIu32 " is not continued: %s", log->topic,
        log->options.partition, found->number, err_text());
    shm_fence(&found->view, SHM_STATE_FENCED);
    generation_unref(&found);
    bool alive;
    rc = writers_alive(log, &alive);
    return rc < 0 ? rc : start_over(log, alive, state == SHM_STATE_OFFLINE);
}

static int
recover_alone(struct log *log, bool damaged)
{
    bool alive;
    int rc = writers_alive(log, &alive);
    if (rc < 0)
        return rc;
    if (alive && !damaged)
        return err_set(BUS_ERR_PARTITION_OFFLINE,
            "%s-%" PRId32 ": its shared memory is gone while processes that write to it are still "
            "running: it comes back when they end (see: fuser %s)",
            log->topic, log->options.partition, log->writers);
    return start_over(log, alive, false);
}

/* Looks for the pages of the generation that the checkpoint names, then of the one before: the
 * checkpoint is saved before the new pages are there. */
int
log_recover(struct log *log)
{
    int rc = log_load_checkpoint(log);
    if (rc == 0)
        rc = clean_load(log);
    if (rc < 0)
        return rc;
    uint32_t newest = log->number > 0 ? log->number : 1;
    bool damaged = false;
    for (uint32_t number = newest; number + 1 >= newest && number > 0; number--) {
        struct generation *found;
        rc = generation_open(log, number, &found);
        if (rc == GENERATION_NONE)
            continue;
        log->number = newest;
        if (rc == 0)
            return recover_from(log, found);
        if (rc != -BUS_ERR_CORRUPT_MESSAGE)
            return rc;
        trace(TRACE_WARNING, "%s-%" PRId32 ": generation %" PRIu32 " is not continued: %s",
            log->topic, log->options.partition, number, err_text());
        generation_fence(log, number, SHM_STATE_FENCED);
        damaged = true;
    }
    /* A new partition begins with number 1; where something was before, that one was given. */
    log->number = newest;
    if (log->saved.generation == 0 && !damaged) {
        struct files_list list;
        rc = files_list_read(log->folder, &list);
        if (rc < 0)
            return rc;
        if (list.count == 0)
            log->number = 0;
        files_list_fini(&list);
    }
    return recover_alone(log, damaged);
}

int
log_rebuild(struct log *log)
{
    bool alive;
    if (log->generation)
        shm_fence(&log->generation->view, SHM_STATE_FENCED);
    else
        generation_fence(log, log->number, SHM_STATE_FENCED);
    generation_void(log, log->number);
    int rc = writers_alive(log, &alive);
    if (rc < 0)
        return rc;
    log->rebuilds++;
    return start_over(log, alive, false);
}
