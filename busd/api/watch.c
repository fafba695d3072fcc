/* SPDX-License-Identifier: Apache-2.0
 * The list of items changes on the loop, the thread sleeps on a copy of their words. A change bumps
 * the thread's own word, so that it takes a new copy; what was taken off the list is let go only by
 * the thread, when its copy no longer has it.
 */
#include "api/watch.h"
#include "base/err.h"

#include <pthread.h>
#include <stdlib.h>

struct watch_item {
    struct watcher *watcher;
    struct wait_set set; /* one entry: the words of the log */
    struct log_watch *hold;
    uint32_t generation;
    bool ended; /* off the list as soon as the thread comes by */
    struct watch_item *next;
};

struct watcher {
    void (*news)(void *context);
    void *context;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t first; /* there is an item, or an end */
    struct watch_item *items;
    int count; /* that have not ended */
    bool changed;
    bool stop;
    _Atomic uint32_t own; /* bumped with every change, to end a sleep */
};

/* ---- the thread ----------------------------------------------------------------------------- */

static void
let_go(struct watch_item *item)
{
    log_watch_end(&item->hold);
    free(item);
}

/** Takes a new copy of the words; called with the lock held. */
static void
copy_words(struct watcher *w, struct wait_set *set)
{
    wait_init(set);
    wait_add_word(set, &w->own);
    for (struct watch_item **at = &w->items; *at;) {
        struct watch_item *item = *at;
        if (item->ended) {
            *at = item->next;
            let_go(item);
            continue;
        }
        set->entries[set->count++] = item->set.entries[0];
        at = &item->next;
    }
    w->changed = false;
}

/** Waits until there is something to watch. False: the thread ends. */
static bool
next_words(struct watcher *w, struct wait_set *set, bool *changed)
{
    pthread_mutex_lock(&w->lock);
    *changed = w->changed;
    if (w->changed || w->stop)
        copy_words(w, set);
    while (!w->items && !w->stop) {
        pthread_cond_wait(&w->first, &w->lock);
        copy_words(w, set);
        *changed = true;
    }
    bool go_on = !w->stop;
    pthread_mutex_unlock(&w->lock);
    return go_on;
}

static bool
has_moved(const struct wait_set *set)
{
    for (int i = 1; i < set->count; i++) /* entry 0 is our own */
        /* Acquire: pairs with wait_word_wake() of the publisher. */
        if (atomic_load_explicit(set->entries[i].word, memory_order_acquire) !=
            set->entries[i].seen)
            return true;
    return false;
}

static void *
run(void *context)
{
    struct watcher *w = context;
    struct wait_set set;
    wait_init(&set);
    bool changed;
    bool moved = false;
    while (next_words(w, &set, &changed)) {
        wait_begin(&set);
        /* Told now and not before wait_begin(): what came until then rang no bell. */
        if (changed || moved)
            w->news(w->context);
        wait_sleep(&set, INT64_MAX);
        moved = has_moved(&set);
    }
    return NULL;
}

/* ---- the loop ------------------------------------------------------------------------------- */

int
watcher_start(void (*news)(void *context), void *context, struct watcher **watcher)
{
    struct watcher *w = calloc(1, sizeof *w);
    if (!w)
        return err_no_memory();
    w->news = news;
    w->context = context;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->first, NULL);
    int errnum = pthread_create(&w->thread, NULL, run, w);
    if (errnum != 0) {
        free(w);
        return err_sys(errnum, "start of the watcher's thread");
    }
    pthread_setname_np(w->thread, "busd-watch");
    *watcher = w;
    return 0;
}

/** Called with the lock held; releases it. */
static void
tell_thread(struct watcher *w)
{
    w->changed = true;
    pthread_cond_signal(&w->first);
    pthread_mutex_unlock(&w->lock);
    wait_word_wake(&w->own);
}

void
watcher_stop(struct watcher **watcher)
{
    struct watcher *w = *watcher;
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    tell_thread(w);
    pthread_join(w->thread, NULL);
    while (w->items) {
        struct watch_item *item = w->items;
        w->items = item->next;
        let_go(item);
    }
    pthread_cond_destroy(&w->first);
    pthread_mutex_destroy(&w->lock);
    free(w);
    *watcher = NULL;
}

int
watch_item_new(
    struct watcher *watcher, struct log *log, uint32_t generation, struct watch_item **made)
{
    if (watcher->count == WAIT_WORDS_MAX)
        return err_set(BUS_ERR_LIMIT_REACHED, "%d partitions are watched", watcher->count);
    struct watch_item *item = calloc(1, sizeof *item);
    if (!item)
        return err_no_memory();
    item->watcher = watcher;
    item->generation = generation;
    int rc = log_watch(log, &item->set, &item->hold);
    if (rc < 0) {
        free(item);
        return rc;
    }
    pthread_mutex_lock(&watcher->lock);
    item->next = watcher->items;
    watcher->items = item;
    watcher->count++;
    tell_thread(watcher);
    *made = item;
    return 0;
}

uint32_t
watch_item_generation(const struct watch_item *item)
{
    return item->generation;
}

void
watch_item_free(struct watch_item **item)
{
    if (!*item)
        return;
    struct watcher *w = (*item)->watcher;
    pthread_mutex_lock(&w->lock);
    (*item)->ended = true;
    w->count--;
    tell_thread(w);
    *item = NULL;
}
