/* SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"
#include "base/err.h"
#include "base/trace.h"
#include "shm/append.h"
#include "store/private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

/* Closed segments that a new control page shows, so that whoever flushes the new generation flushes
 * them too. */
enum { CARRIED_MAX = SHM_SLOTS - 3 };

int
log_drop_spares(struct log *log)
{
    struct files_list list;
    int rc = files_list_read(log->folder, &list);
    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        const struct files_entry *entry = &list.entries[i];
        if (!entry->spare || (log->spare && log->spare->spare == entry->number))
            continue;
        bool activated = false;
        for (size_t s = 0; s < log->count; s++)
            activated |= log->segments[s]->spare == entry->number;
        char name[FILES_NAME_BYTES_MAX];
        files_spare_name(name, entry->number);
        if (!activated)
            rc = files_remove(log->folder, name);
    }
    files_list_fini(&list);
    return rc;
}

int
log_drop_old(struct log *log)
{
    size_t old = 0;
    while (old + 1 < log->count && log->segments[old + 1]->base_offset <= log->start_offset)
        old++;
    if (old == 0)
        return 0;
    int rc = 0;
    size_t dropped = 0;
    while (rc == 0 && dropped < old) {
        rc = files_remove_segment(log->folder, log->segments[dropped]->base_offset);
        if (rc == 0)
            segment_free(&log->segments[dropped++]);
    }
    for (size_t i = dropped; i < log->count; i++)
        log->segments[i - dropped] = log->segments[i];
    log->count -= dropped;
    log_hints_clear(log);
    return rc;
}

/* Ends the last segment for good. An empty one is removed, so that its name is free: an evicted
 * writer keeps scribbling in a file that nobody else has. */
static int
close_active(struct log *log)
{
    struct segment *active = segments_active(log);
    if (!active)
        return 0;
    if (active->spare >= 0 && log->end_position > 0) {
        int rc = segment_rename(log, active);
        if (rc < 0)
            return rc;
    }
    if (log->end_position > 0) {
        active->end = log->end_position;
        active->next_offset = log->end_offset;
        return 0;
    }
    int rc = active->spare >= 0 ? 0 : files_remove_segment(log->folder, active->base_offset);
    if (rc < 0)
        return rc;
    log->count--;
    segment_free(&active);
    log_hints_clear(log);
    if (log->count > 0)
        segments_active(log)->next_offset = log->end_offset;
    return 0;
}

static int
open_next(struct log *log)
{
    struct segment_wanted wanted = {.base_offset = log->end_offset,
        .spare = -1,
        .bytes = room_first(log),
        .capacity = log->options.segment_bytes};
    struct segment *fresh;
    char name[FILES_NAME_BYTES_MAX];
    files_name(name, wanted.base_offset, ".log");
    /* Left over from an attempt that failed: nobody was ever told of it. */
    int rc = files_remove_segment(log->folder, wanted.base_offset);
    if (rc == 0)
        rc = segment_create(log, &wanted, &fresh);
    if (rc == 0)
        rc = segments_push(log, fresh);
    if (rc == 0)
        log->end_position = 0;
    return rc;
}

static int
sync_segment(struct log *log, const struct segment *segment)
{
    char *path = segment_path(log, segment);
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    int rc = fd < 0 ? path ? err_sys(errno, "open %s", path) : err_no_memory() : 0;
    if (rc == 0 && fdatasync(fd) < 0) {
        rc = err_sys(errno, "flush %s", path);
        log->flush_failed = true;
    }
    if (fd >= 0)
        close(fd);
    free(path);
    return rc;
}

/* The first segment that the new page shows: all that is not flushed, if there is a slot for it;
 * what is older is flushed now. */
static int
choose_first(struct log *log, int64_t durable_offset, size_t *first)
{
    *first = log->count - 1;
    if (log->options.flags & SHM_FLAG_MEMORY || durable_offset >= log->end_offset)
        return 0;
    size_t dirty = *first;
    while (dirty > 0 && log->segments[dirty - 1]->next_offset > durable_offset)
        dirty--;
    *first = *first > CARRIED_MAX ? *first - CARRIED_MAX : 0;
    if (*first < dirty)
        *first = dirty;
    for (size_t i = dirty; i < *first; i++) {
        int rc = sync_segment(log, log->segments[i]);
        if (rc < 0)
            return rc;
    }
    for (size_t i = *first; i + 1 < log->count; i++) {
        int64_t end;
        int rc = segment_end(log, log->segments[i], &end);
        if (rc < 0)
            return rc;
    }
    return 0;
}

struct store_checkpoint
log_saved(struct log *log)
{
    pthread_mutex_lock(&log->store->saving);
    struct store_checkpoint saved = log->saved;
    pthread_mutex_unlock(&log->store->saving);
    return saved;
}

int
log_checkpoint(struct log *log, const struct store_checkpoint *checkpoint)
{
    struct store *store = log->store;
    const struct store_checkpoints *checkpoints = &store->options.checkpoints;
    pthread_mutex_lock(&store->saving);
    int rc = checkpoints->save(checkpoints->context, checkpoint, 1);
    if (rc == 0)
        log->saved = *checkpoint;
    pthread_mutex_unlock(&store->saving);
    return err_prefix(rc, "checkpoint of %s-%" PRId32, log->topic, log->options.partition);
}

/* Saved before the new pages exist: so that a number is never used twice. */
static int
save_number(struct log *log, uint32_t number, int64_t durable_offset)
{
    struct store_checkpoint checkpoint = log_saved(log);
    checkpoint.generation = number;
    checkpoint.log_start_offset = log->start_offset;
    if (durable_offset >= log->end_offset && !log->flush_failed) {
        checkpoint.segment_base = segments_active(log)->base_offset;
        checkpoint.position = log->end_position;
        checkpoint.durable_offset = log->end_offset;
    }
    return log_checkpoint(log, &checkpoint);
}

static int
start_generation(struct log *log, int64_t durable_offset)
{
    struct generation_options options = {
        .number = log->number + 1, .durable_offset = durable_offset};
    int rc = choose_first(log, durable_offset, &options.first);
    if (rc < 0 && !log->flush_failed)
        return rc;
    /* The first number of all needs no note: it follows from there being none. */
    rc = log->number > 0 ? save_number(log, options.number, durable_offset) : 0;
    struct generation *fresh;
    if (rc == 0)
        rc = generation_create(log, &options, &fresh);
    if (rc < 0)
        return rc;
    if (log->flush_failed)
        shm_fence(&fresh->view, SHM_STATE_OFFLINE);
    generation_unref(&log->generation);
    log->generation = fresh;
    for (uint32_t old = log->number; old > 0 && old + 1 >= log->number; old--)
        if (generation_unlink(log, old) < 0)
            trace(TRACE_WARNING, "%s-%" PRId32 ": %s", log->topic, log->options.partition,
                err_text());
    log->number = options.number;
    return 0;
}

int
log_renew(struct log *log, bool reuse, int64_t durable_offset)
{
    int rc = 0;
    segment_free(&log->spare);
    if (!reuse)
        rc = close_active(log);
    if (rc == 0)
        rc = log_drop_spares(log);
    if (rc == 0 && !reuse)
        rc = open_next(log);
    if (rc == 0 && reuse && segments_active(log)->capacity < log->options.segment_bytes)
        segments_active(log)->capacity = log->options.segment_bytes;
    if (durable_offset > log->end_offset)
        durable_offset = log->end_offset;
    if (rc == 0)
        rc = start_generation(log, durable_offset);
    log->damaged = rc < 0;
    log->stall_owner = 0;
    log->active_since_ms = -1;
    return rc;
}

int
log_evict(struct log *log)
{
    struct shm_tail tail;
    int rc = log_tail(log, &tail);
    if (rc < 0)
        return rc;
    struct shm_control *control = log->generation->view.control;
    /* A client whose flush fails says so in the same word. Relaxed: the fence orders the rest. */
    log->flush_failed |= atomic_exchange_explicit(&control->state, SHM_STATE_FENCED,
                             memory_order_relaxed) == SHM_STATE_OFFLINE;
    shm_fence(&log->generation->view, SHM_STATE_FENCED);
    log->fencing = true;
    rc = log_tail(log, &tail);
    log->fencing = false;
    if (rc < 0)
        return rc;
    int64_t durable = shm_durable_offset(&log->generation->view);
    int64_t saved = log_saved(log).durable_offset;
    if (durable < saved)
        durable = saved;
    rc = log_renew(log, false, durable);
    if (rc < 0)
        return rc;
    log->evictions++;
    return 0;
}
