/* SPDX-License-Identifier: Apache-2.0
 * Deleted topics whose files are still there: to remove gigabytes takes its time, so a thread does
 * it, and what fails is tried again.
 *
 * Thread: the loop, for every function here.
 */
#ifndef API_REMOVALS_H
#define API_REMOVALS_H

#include "cluster/controller.h"
#include "run/worker.h"
#include "store/log.h"

#include <pthread.h>

struct removal;

struct removals {
    struct store *store;           /* borrowed, as the two below */
    struct controller *controller; /* told when files are gone */
    struct worker *remover;        /* NULL: files are removed in place, blocking (tests) */
    void (*news)(void *context);   /* any thread: a job has ended; NULL without remover */
    void *context;
    struct removal *all;      /* owned */
    struct removal *prepared; /* owned; not begun */
    pthread_mutex_t lock;     /* guards what jobs leave behind in their removals */
};

/** Goes on with the removals that are noted; the caller has filled the borrowed members. What
 * cannot be read is traced. */
void removals_init(struct removals *removals);

/** Waits for the thread, and lets go; the next start goes on with what is left. */
void removals_fini(struct removals *removals);

/** Makes sure that the next removal_new(), for this topic, cannot fail. 0 or NO_MEMORY. */
int removals_prepare(struct removals *removals, const struct cluster_topic *topic);

/** A new removal, which begins with removal_start(); NULL without memory. Borrowed. */
struct removal *removal_new(struct removals *removals, const struct removal_note *note);

/** Gives it the open log of a partition, which is closed with the files. Takes the log. */
void removal_take(struct removal *removal, int32_t partition, struct log *log);

/** One log more, or one less (-1), will be given later: the files wait for it. */
void removal_expect(struct removal *removal, int logs);

/** All logs were given, or are expected. */
void removal_start(struct removal *removal);

/** Whether files of a deleted topic of this name may be there. */
bool removals_hold(const struct removals *removals, const char *topic);

/** Ends those that are done and has others tried again. After `news`, and at the deadline. */
void removals_reap(struct removals *removals, int64_t now_ms);

/** When removals_reap() has something to do without news; -1: never. */
int64_t removals_deadline_ms(const struct removals *removals);

#endif
