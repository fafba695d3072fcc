/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/err.h"
#include "base/trace.h"
#include "store/private.h"

#include <stdlib.h>

/* The log behind `previous` in the list (NULL: the first), held so that it stays. Lets go of
 * `previous`. */
static struct log *
next_log(struct store *store, struct log *previous)
{
    pthread_mutex_lock(&store->mutex);
    struct log *next = previous ? previous->next : store->logs;
    if (next)
        next->users++;
    if (previous && --previous->users == 0)
        pthread_cond_broadcast(&store->unused);
    pthread_mutex_unlock(&store->mutex);
    return next;
}

void
store_each(struct store *store, void (*visit)(void *context, struct log *log), void *context)
{
    for (struct log *log = next_log(store, NULL); log; log = next_log(store, log))
        visit(context, log);
}

size_t
store_service(struct store *store, bool all)
{
    size_t waiting = 0;
    for (struct log *log = next_log(store, NULL); log; log = next_log(store, log)) {
        bool more = false;
        bool unfinished = atomic_load_explicit(&log->unfinished, memory_order_relaxed);
        if (all || unfinished || log_wants_service(log))
            (void)log_service(log, &more);
        waiting += more;
    }
    clean_choose(store);
    return waiting;
}

/* Checkpoints of one flush pass, and the logs they belong to, which are held meanwhile. */
struct collected {
    struct store_checkpoint *checkpoints;
    struct log **logs;
    size_t count, capacity;
};

static int
collected_grow(struct collected *all)
{
    if (all->count < all->capacity)
        return 0;
    size_t capacity = all->capacity ? 2 * all->capacity : 16;
    struct store_checkpoint *checkpoints =
        realloc(all->checkpoints, capacity * sizeof *checkpoints);
    if (!checkpoints)
        return err_no_memory();
    all->checkpoints = checkpoints;
    struct log **logs = realloc(all->logs, capacity * sizeof *logs);
    if (!logs)
        return err_no_memory();
    all->logs = logs;
    all->capacity = capacity;
    return 0;
}

static void
hold(struct log *log)
{
    pthread_mutex_lock(&log->store->mutex);
    log->users++;
    pthread_mutex_unlock(&log->store->mutex);
}

static void
let_go(struct log *log)
{
    struct store *store = log->store;
    pthread_mutex_lock(&store->mutex);
    if (--log->users == 0)
        pthread_cond_broadcast(&store->unused);
    pthread_mutex_unlock(&store->mutex);
}

static void
collect(struct store *store, struct collected *all)
{
    for (struct log *log = next_log(store, NULL); log; log = next_log(store, log)) {
        bool moved;
        struct store_checkpoint checkpoint;
        if (log_failed(log_flush_pass(log, &checkpoint, &moved)))
            trace(TRACE_ERROR, "flush: %s", err_text());
        if (!moved || collected_grow(all) < 0)
            continue;
        all->checkpoints[all->count] = checkpoint;
        all->logs[all->count++] = log;
        hold(log);
    }
}

static bool
is_stale(const struct store_checkpoint *checkpoint, const struct store_checkpoint *saved)
{
    return saved->generation > checkpoint->generation ||
           saved->log_start_offset > checkpoint->log_start_offset ||
           saved->durable_offset > checkpoint->durable_offset;
}

/* Leaves out what was saved in a newer form meanwhile: by an eviction, a deletion of records, or
 * the last flush, which may run beside one of the flusher. */
static void
drop_stale(struct collected *all)
{
    size_t kept = 0;
    for (size_t i = 0; i < all->count; i++) {
        if (is_stale(&all->checkpoints[i], &all->logs[i]->saved)) {
            let_go(all->logs[i]);
            continue;
        }
        all->checkpoints[kept] = all->checkpoints[i];
        all->logs[kept++] = all->logs[i];
    }
    all->count = kept;
}

static int
save(struct store *store, struct collected *all)
{
    const struct store_checkpoints *checkpoints = &store->options.checkpoints;
    pthread_mutex_lock(&store->saving);
    drop_stale(all);
    int rc = 0;
    if (all->count > 0)
        rc = checkpoints->save(checkpoints->context, all->checkpoints, all->count);
    for (size_t i = 0; rc == 0 && i < all->count; i++)
        all->logs[i]->saved = all->checkpoints[i];
    if (rc < 0 && !store->save_failed)
        trace(TRACE_ERROR, "the checkpoints cannot be saved: %s", err_text());
    store->save_failed = rc < 0;
    pthread_mutex_unlock(&store->saving);
    return rc;
}

int
store_flush(struct store *store)
{
    struct collected all = {0};
    collect(store, &all);
    int rc = save(store, &all);
    for (size_t i = 0; i < all.count; i++)
        let_go(all.logs[i]);
    free(all.checkpoints);
    free(all.logs);
    return rc;
}

int
store_settle(struct store *store, int64_t patience_ms)
{
    int64_t until_ms = clock_mono_ms() + patience_ms;
    while (store_service(store, true) > 0 && clock_mono_ms() < until_ms)
        continue;
    return store_flush(store);
}
