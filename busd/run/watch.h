/* SPDX-License-Identifier: Apache-2.0
 * A thread that sleeps on the wake words of partitions and tells the loop when one has news, so
 * that requests may wait for records which clients append without busd.
 *
 *     watch_item_new(watch, view, tell, context, &item);
 *     watch_arm(item, offset);       tell(context) is called once on the loop, as soon as the
 *                                    partition ends above `offset`, or is no longer open
 */
#ifndef RUN_WATCH_H
#define RUN_WATCH_H

#include "run/loop.h"
#include "shm/partition.h"

struct watch;
struct watch_item;

/** Starts the thread. Borrows the loop. Gives `*watch`. 0 or a failure. */
int watch_start(struct loop *loop, struct watch **watch);

/** Ends the thread and frees; the items must have been freed. Thread: loop. Blocks: briefly. */
void watch_stop(struct watch **watch);

/** A disarmed item. Borrows `view` until the item is freed. Gives `*item`. Thread: loop. */
int watch_item_new(struct watch *watch, const struct shm_partition *view,
    void (*tell)(void *context), void *context, struct watch_item **item);

/** Asks for one call of `tell` when there is more than `offset`. Replaces an earlier arming.
 * Thread: loop. Blocks: no. */
void watch_arm(struct watch_item *item, int64_t offset);

/** No call any more until armed again. Thread: loop. Blocks: no. */
void watch_disarm(struct watch_item *item);

/** Frees; the thread does not look at the view any more afterwards. Thread: loop. Blocks:
 * briefly. */
void watch_item_free(struct watch_item **item);

#endif
