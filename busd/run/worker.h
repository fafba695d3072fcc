/* SPDX-License-Identifier: Apache-2.0
 * A thread with a queue of jobs and a tick: the flusher, the keeper.
 */
#ifndef RUN_WORKER_H
#define RUN_WORKER_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct worker;

struct worker_options {
    const char *name;            /* of the thread, 15 bytes at most */
    int64_t tick_ms;             /* how often `tick` is called; 0: never */
    void (*tick)(void *context); /* on the worker's thread; may be NULL */
    void *context;
    size_t jobs_max; /* how many jobs may wait */
};

/** Starts the thread. Gives `*worker`. 0 or a failure. */
int worker_start(const struct worker_options *options, struct worker **worker);

/** Has the tick called soon instead of at its time. Thread: any. Blocks: no. */
void worker_wake(struct worker *worker);

/** Has the tick called in `after_ms` if it is not due before. Thread: any. Blocks: no. */
void worker_wake_in(struct worker *worker, int64_t after_ms);

/** Another period of the tick from now on. Thread: any. Blocks: no. */
void worker_tick_every(struct worker *worker, int64_t tick_ms);

/**
 * Queues `run(context)` for the worker's thread. 0, or QUEUE_FULL and NO_MEMORY, and then it will
 * not be called. Thread: any. Blocks: no.
 */
int worker_post(struct worker *worker, void (*run)(void *context), void *context);

/** Waits until all jobs posted before have run. Thread: any but the worker's. Blocks. */
void worker_drain(struct worker *worker);

/** Runs the jobs that are queued, ends the thread, frees. Blocks. */
void worker_stop(struct worker **worker);

#endif
