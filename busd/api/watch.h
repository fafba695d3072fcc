/* SPDX-License-Identifier: Apache-2.0
 * A thread that sleeps on the wake words of logs for the requests that wait for records, because
 * direct producers append without telling busd.
 */
#ifndef API_WATCH_H
#define API_WATCH_H

#include "store/log.h"

struct watcher;
struct watch_item;

/**
 * Starts the thread. `news` is called on it when a watched log may have records that the caller
 * has not seen; it must be quick and may not call back. Gives *watcher. 0 or a failure.
 */
int watcher_start(void (*news)(void *context), void *context, struct watcher **watcher);

/** Ends the thread and frees; its items were freed. Blocks: briefly. */
void watcher_stop(struct watcher **watcher);

/**
 * Watches a log in its present generation, until the item is freed; `news` follows at least once,
 * since records may have come before the watch began. Gives *item. 0, -BUS_ERR_LIMIT_REACHED or
 * -BUS_ERR_NO_MEMORY. Thread: the loop. Blocks: no.
 */
int watch_item_new(
    struct watcher *watcher, struct log *log, uint32_t generation, struct watch_item **item);

/** The generation that the item watches. */
uint32_t watch_item_generation(const struct watch_item *item);

/** Ends the watch; nulls the pointer, which may be NULL. Thread: the loop. Blocks: no. */
void watch_item_free(struct watch_item **item);

#endif
