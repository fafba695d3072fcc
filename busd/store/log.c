/* SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "shm/append.h"
#include "shm/lock.h"
#include "store/private.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STALL_LOCK_MS = 5 };

char *
log_folder(const struct store *store, const struct log_options *options)
{
    const char *parent = options->flags & SHM_FLAG_MEMORY ? store->memory : store->topics;
    char *path;
    int n = asprintf(&path, "%s/%s-%" PRId32, parent, options->topic, options->partition);
    return n < 0 ? NULL : path;
}

void
log_free(struct log *log)
{
    segments_clear(log);
    generation_unref(&log->generation);
    pthread_mutex_destroy(&log->service);
    pthread_mutex_destroy(&log->mutex);
    free(log->epochs);
    free(log->topic);
    free(log->folder);
    free(log->writers);
    free(log);
}

static void
copy_settings(struct log_options *to, const struct log_options *from)
{
    to->flags = from->flags;
    to->leader_epoch = from->leader_epoch;
    to->max_message_bytes = from->max_message_bytes;
    to->segment_bytes = from->segment_bytes < SHM_SEGMENT_BYTES_MAX
                            ? from->segment_bytes
                            : (uint32_t)SHM_SEGMENT_BYTES_MAX;
    to->preallocate_bytes = from->preallocate_bytes;
    to->index_interval_bytes = from->index_interval_bytes;
    to->segment_ms = from->segment_ms;
    to->rules = from->rules;
}

struct log *
log_new(struct store *store, const struct log_options *options)
{
    struct log *log = calloc(1, sizeof *log);
    if (!log)
        return NULL;
    log->store = store;
    log->options = *options;
    copy_settings(&log->options, options);
    log->active_since_ms = log->retained_ms = -1;
    log->cleaning.swap.base_offset = -1;
    pthread_mutex_init(&log->service, NULL);
    pthread_mutex_init(&log->mutex, NULL);
    log_hints_clear(log);
    log->topic = strdup(options->topic);
    log->options.topic = log->topic;
    log->folder = log_folder(store, options);
    log->writers = log->folder ? files_path(log->folder, "writers.lock") : NULL;
    if (!log->topic || !log->writers) {
        log_free(log);
        return NULL;
    }
    return log;
}

/* Since when the active segment has records: its file tells when nobody remembers. A file that
 * began as a spare is older than its first record, and is rolled a little early. */
static int64_t
age_from_file(struct log *log)
{
    int64_t now_ms = clock_wall_ms();
    struct statx status;
    char *path = segment_path(log, segments_active(log));
    if (!path)
        return now_ms;
    int rc = statx(AT_FDCWD, path, 0, STATX_BTIME, &status);
    free(path);
    if (rc < 0 || !(status.stx_mask & STATX_BTIME))
        return now_ms;
    int64_t born_ms = (int64_t)status.stx_btime.tv_sec * 1000;
    return born_ms < now_ms ? born_ms : now_ms;
}

/* Once the log is there: what is derived from it, and what a crash may have left undone. */
static int
finish_open(struct log *log)
{
    int rc = epochs_load(log);
    if (rc == 0)
        rc = epochs_note(log, log->options.leader_epoch, log->end_offset);
    if (rc == 0)
        rc = log_drop_old(log);
    if (rc < 0)
        return rc;
    struct shm_control *control = log->generation->view.control;
    /* Relaxed: only a view of what this log decides. */
    atomic_store_explicit(&control->log_start_offset, log->start_offset, memory_order_relaxed);
    if (log->end_position > 0)
        log->active_since_ms = age_from_file(log);
    return 0;
}

static void
list_add(struct log *log)
{
    struct store *store = log->store;
    pthread_mutex_lock(&store->mutex);
    log->next = store->logs;
    if (log->next)
        log->next->previous = log;
    store->logs = log;
    pthread_mutex_unlock(&store->mutex);
}

int
log_open(struct store *store, const struct log_options *options, struct log **log)
{
    struct log *fresh = log_new(store, options);
    if (!fresh)
        return err_no_memory();
    int rc = 0;
    if (options->flags & SHM_FLAG_MEMORY)
        rc = store_memory_folder(store);
    if (rc == 0)
        rc = log_claim(fresh);
    pthread_mutex_lock(&fresh->service);
    pthread_mutex_lock(&fresh->mutex);
    if (rc == 0)
        rc = log_recover(fresh);
    if (rc == 0)
        rc = finish_open(fresh);
    pthread_mutex_unlock(&fresh->mutex);
    pthread_mutex_unlock(&fresh->service);
    if (rc < 0) {
        err_prefix(rc, "%s-%" PRId32, options->topic, options->partition);
        log_free(fresh);
        return rc;
    }
    log_configure(fresh, options);
    list_add(fresh);
    log_kick(fresh);
    *log = fresh;
    return 0;
}

/* Takes the log off the list once no pass uses it. */
static void
list_remove(struct log *log)
{
    struct store *store = log->store;
    pthread_mutex_lock(&store->mutex);
    while (log->users > 0)
        pthread_cond_wait(&store->unused, &store->mutex);
    if (log->previous)
        log->previous->next = log->next;
    else
        store->logs = log->next;
    if (log->next)
        log->next->previous = log->previous;
    pthread_mutex_unlock(&store->mutex);
}

void
log_close(struct log **log)
{
    struct log *old = *log;
    *log = NULL;
    if (!old)
        return;
    list_remove(old);
    clean_forget(old);
    log_free(old);
}

/* The words of the control page that only busd decides, stored again and again: a writer may have
 * scribbled on them. segment.bytes must not exceed what clients have mapped, so a larger one waits
 * for the next segment. */
void
log_publish_settings(struct log *log)
{
    const struct segment *active = segments_active(log);
    /* Without a segment: a repair has begun and could not be finished yet. */
    if (!log->generation || !active)
        return;
    struct shm_control *control = log->generation->view.control;
    int64_t bytes = log->options.segment_bytes;
    if (bytes > active->capacity)
        bytes = active->capacity;
    /* Relaxed: each append reads them anew, none depends on another. */
    atomic_store_explicit(&control->flags, log_flags(log), memory_order_relaxed);
    atomic_store_explicit(
        &control->max_message_bytes, log->options.max_message_bytes, memory_order_relaxed);
    atomic_store_explicit(&control->segment_bytes, (uint32_t)bytes, memory_order_relaxed);
    atomic_store_explicit(&control->leader_epoch, log->options.leader_epoch, memory_order_relaxed);
    atomic_store_explicit(&control->log_start_offset, log->start_offset, memory_order_relaxed);
    /* Release: pairs with cursor.c's visible_end(). */
    atomic_store_explicit(&control->high_watermark, log->high_watermark, memory_order_release);
}

void
log_configure(struct log *log, const struct log_options *options)
{
    uint32_t memory = log->options.flags & SHM_FLAG_MEMORY;
    int32_t leader_epoch = log->options.leader_epoch;
    pthread_mutex_lock(&log->mutex);
    copy_settings(&log->options, options);
    log->options.flags = (options->flags & ~(uint32_t)SHM_FLAG_MEMORY) | memory;
    log->options.leader_epoch = leader_epoch;
    log->step = log->options.preallocate_bytes;
    log_publish_settings(log);
    pthread_mutex_unlock(&log->mutex);
    log_set_leader_epoch(log, options->leader_epoch);
}

/* Under the append lock nobody stamps the old epoch behind the start of the new one. Without the
 * lock (its holder is stuck) a batch or two may; they keep the epoch that they carry. */
static void
change_epoch(struct log *log, int32_t leader_epoch)
{
    struct shm_control *control = log->generation->view.control;
    struct shm_tail tail;
    int64_t deadline_ns = clock_mono_ns() + STALL_LOCK_MS * INT64_C(1000000);
    enum shm_lock_outcome lock = shm_lock(&control->append_lock, deadline_ns);
    /* Release: as strong as the lock that may be missing. */
    atomic_store_explicit(&control->leader_epoch, leader_epoch, memory_order_release);
    if (log_tail(log, &tail) == 0)
        (void)epochs_note(log, leader_epoch, tail.end_offset);
    if (lock == SHM_LOCK_TAKEN || lock == SHM_LOCK_OWNER_DIED)
        shm_unlock(&control->append_lock);
}

void
log_set_leader_epoch(struct log *log, int32_t leader_epoch)
{
    pthread_mutex_lock(&log->mutex);
    struct shm_control *control = log->generation ? log->generation->view.control : NULL;
    if (leader_epoch >= log->options.leader_epoch) {
        log->options.leader_epoch = leader_epoch;
        if (control &&
            atomic_load_explicit(&control->leader_epoch, memory_order_relaxed) != leader_epoch)
            change_epoch(log, leader_epoch);
    }
    pthread_mutex_unlock(&log->mutex);
}

int
log_bounds(struct log *log, struct log_bounds *bounds)
{
    struct shm_tail tail;
    pthread_mutex_lock(&log->mutex);
    int rc = log_tail(log, &tail);
    if (rc == 0) {
        *bounds = (struct log_bounds){.start_offset = log->start_offset,
            .end_offset = tail.end_offset,
            .visible_offset = log_visible(log, &tail, LOG_READ_VISIBLE),
            .durable_offset = tail.end_offset,
            .leader_epoch = log->options.leader_epoch,
            .generation = log->number,
            .state = tail.state};
        int64_t durable = shm_durable_offset(&log->generation->view);
        if (!(log->options.flags & SHM_FLAG_MEMORY) && durable < bounds->durable_offset)
            bounds->durable_offset = durable;
    }
    pthread_mutex_unlock(&log->mutex);
    return rc;
}

void
log_set_high_watermark(struct log *log, int64_t offset)
{
    pthread_mutex_lock(&log->mutex);
    if (offset > log->high_watermark) {
        log->high_watermark = offset;
        if (log->generation) {
            /* Seq_cst: the release pairs with cursor.c's visible_end(), the total order with
             * wait.c's flag makes sure that shm_wake() sees a reader who sleeps. */
            atomic_store_explicit(
                &log->generation->view.control->high_watermark, offset, memory_order_seq_cst);
            shm_wake(&log->generation->view);
        }
    }
    pthread_mutex_unlock(&log->mutex);
}

int
log_watch(struct log *log, struct wait_set *set, struct log_watch **hold)
{
    struct log_watch *watch = malloc(sizeof *watch);
    if (!watch)
        return err_no_memory();
    pthread_mutex_lock(&log->mutex);
    int rc = 0;
    if (!log->generation || log->damaged)
        rc = log_damage(log, "it is watched");
    else if (!wait_add(set, &log->generation->view))
        rc = err_set(BUS_ERR_LIMIT_REACHED, "one thread can watch %d partitions", WAIT_WORDS_MAX);
    else
        watch->generation = generation_ref(log->generation);
    pthread_mutex_unlock(&log->mutex);
    if (rc < 0)
        free(watch);
    else
        *hold = watch;
    return rc;
}

void
log_watch_end(struct log_watch **hold)
{
    struct log_watch *watch = *hold;
    *hold = NULL;
    if (!watch)
        return;
    generation_unref(&watch->generation);
    free(watch);
}

void
log_usage(struct log *log, struct log_usage *usage)
{
    pthread_mutex_lock(&log->mutex);
    *usage = (struct log_usage){
        .segments = (int64_t)log->count, .evictions = log->evictions, .rebuilds = log->rebuilds};
    for (size_t i = 0; i < log->count; i++) {
        int64_t end;
        if (segment_end(log, log->segments[i], &end) == 0)
            usage->bytes += end;
        segment_rest(log, log->segments[i]);
    }
    pthread_mutex_unlock(&log->mutex);
}

const struct log_options *
log_options(const struct log *log)
{
    return &log->options;
}
