/* SPDX-License-Identifier: Apache-2.0 */
#include "run/worker.h"

#include "base/check.h"
#include "base/clock.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

enum { STACK_BYTES = 256 * 1024 };

struct job {
    void (*run)(void *context);
    void *context;
    struct job *next;
};

struct worker {
    struct worker_options options;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t work;   /* something to do for the thread */
    pthread_cond_t idle;   /* a job has ended */
    struct job *first, **last;
    size_t waiting;         /* jobs in the list */
    uint64_t posted, ended; /* jobs, since the start */
    int64_t tick_at_ms;     /* CLOCK_MONOTONIC; INT64_MAX never */
    bool ending;
};

static int64_t
next_tick(const struct worker *worker)
{
    return worker->options.tick && worker->options.tick_ms > 0
               ? clock_mono_ms() + worker->options.tick_ms
               : INT64_MAX;
}

/** Waits for a job, for the tick's time or for the end. Holds the mutex before and after. */
static void
wait_for_work(struct worker *worker)
{
    while (!worker->first && !worker->ending && worker->tick_at_ms > clock_mono_ms()) {
        if (worker->tick_at_ms == INT64_MAX) {
            pthread_cond_wait(&worker->work, &worker->mutex);
            continue;
        }
        struct timespec until = {
            .tv_sec = worker->tick_at_ms / 1000, .tv_nsec = worker->tick_at_ms % 1000 * 1000000};
        pthread_cond_timedwait(&worker->work, &worker->mutex, &until);
    }
}

static void
run_first(struct worker *worker)
{
    struct job *job = worker->first;
    worker->first = job->next;
    if (!worker->first)
        worker->last = &worker->first;
    worker->waiting--;
    pthread_mutex_unlock(&worker->mutex);
    job->run(job->context);
    free(job);
    pthread_mutex_lock(&worker->mutex);
    worker->ended++;
    pthread_cond_broadcast(&worker->idle);
}

static void
run_tick(struct worker *worker)
{
    pthread_mutex_unlock(&worker->mutex);
    worker->options.tick(worker->options.context);
    pthread_mutex_lock(&worker->mutex);
}

static void *
run_worker(void *arg)
{
    struct worker *worker = arg;
    pthread_setname_np(pthread_self(), worker->options.name);
    pthread_mutex_lock(&worker->mutex);
    for (;;) {
        wait_for_work(worker);
        if (worker->first) {
            run_first(worker);
        } else if (worker->ending) {
            break;
        }
        /* Jobs do not keep the tick waiting for ever: it is looked at after each of them. */
        if (!worker->ending && worker->tick_at_ms <= clock_mono_ms()) {
            worker->tick_at_ms = next_tick(worker);
            run_tick(worker);
        }
    }
    pthread_mutex_unlock(&worker->mutex);
    return NULL;
}

static void
init_locks(struct worker *worker)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&worker->work, &attributes);
    pthread_cond_init(&worker->idle, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&worker->mutex, NULL);
}

static void
fini_locks(struct worker *worker)
{
    pthread_cond_destroy(&worker->work);
    pthread_cond_destroy(&worker->idle);
    pthread_mutex_destroy(&worker->mutex);
}

/** Starts the thread with all signals blocked, so that they reach the loop's. */
static int
start_thread(struct worker *worker)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGBUS); /* shm/guard.h */
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&worker->thread, &attributes, run_worker, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return rc == 0 ? 0 : err_sys(rc, "starting the thread %s", worker->options.name);
}

int
worker_start(const struct worker_options *options, struct worker **worker)
{
    *worker = NULL;
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return err_no_memory();
    w->options = *options;
    w->last = &w->first;
    w->tick_at_ms = next_tick(w);
    init_locks(w);
    int rc = start_thread(w);
    if (rc < 0) {
        fini_locks(w);
        free(w);
        return rc;
    }
    *worker = w;
    return 0;
}

void
worker_wake(struct worker *worker)
{
    if (!worker->options.tick)
        return;
    pthread_mutex_lock(&worker->mutex);
    worker->tick_at_ms = 0;
    pthread_cond_signal(&worker->work);
    pthread_mutex_unlock(&worker->mutex);
}

void
worker_wake_in(struct worker *worker, int64_t after_ms)
{
    if (!worker->options.tick)
        return;
    int64_t at_ms = clock_mono_ms() + after_ms;
    pthread_mutex_lock(&worker->mutex);
    if (at_ms < worker->tick_at_ms)
        worker->tick_at_ms = at_ms;
    pthread_cond_signal(&worker->work);
    pthread_mutex_unlock(&worker->mutex);
}

void
worker_tick_every(struct worker *worker, int64_t tick_ms)
{
    pthread_mutex_lock(&worker->mutex);
    worker->options.tick_ms = tick_ms;
    worker->tick_at_ms = next_tick(worker);
    pthread_cond_signal(&worker->work);
    pthread_mutex_unlock(&worker->mutex);
}

int
worker_post(struct worker *worker, void (*run)(void *context), void *context)
{
    struct job *job = malloc(sizeof *job);
    if (!job)
        return err_no_memory();
    *job = (struct job){run, context, NULL};
    pthread_mutex_lock(&worker->mutex);
    MUST(!worker->ending);
    bool full = worker->waiting >= worker->options.jobs_max;
    if (!full) {
        *worker->last = job;
        worker->last = &job->next;
        worker->waiting++;
        worker->posted++;
        pthread_cond_signal(&worker->work);
    }
    pthread_mutex_unlock(&worker->mutex);
    if (!full)
        return 0;
    free(job);
    return err_set(BUS_ERR_QUEUE_FULL, "%zu jobs wait for the thread %s", worker->options.jobs_max,
        worker->options.name);
}

void
worker_drain(struct worker *worker)
{
    pthread_mutex_lock(&worker->mutex);
    uint64_t upto = worker->posted;
    while (worker->ended < upto)
        pthread_cond_wait(&worker->idle, &worker->mutex);
    pthread_mutex_unlock(&worker->mutex);
}

void
worker_stop(struct worker **worker)
{
    if (!*worker)
        return;
    pthread_mutex_lock(&(*worker)->mutex);
    (*worker)->ending = true;
    pthread_cond_signal(&(*worker)->work);
    pthread_mutex_unlock(&(*worker)->mutex);
    pthread_join((*worker)->thread, NULL);
    fini_locks(*worker);
    free(*worker);
    *worker = NULL;
}
