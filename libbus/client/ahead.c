/* SPDX-License-Identifier: Apache-2.0
 * Brings in the pages ahead of the tail from a thread of their own. The first touch of a page costs
 * several times what filling it costs, so a producer at full speed would spend most of its time in
 * the kernel; on a second processor that happens beside it. Without the thread shm_append() does
 * the same in small steps.
 */
#include "client/producer.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum {
    PAGE_BYTES = 4096,
    STEP_BYTES = 1 << 20,   /* at once, between two looks at the lane */
    AHEAD_MAX = 16 << 20,   /* of the tail: some ms at full speed */
    LOOK_BYTES = 128 << 10, /* appended between two looks at what is left */
};

static size_t
smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The next pages to bring in: false when there are enough, or none. Lane lock held. */
static bool
find_step(const struct lane *lane, struct shm_segment **segment, size_t *from, size_t *until)
{
    struct shm_tail tail;
    if (lane->mode != LANE_DIRECT || shm_partition_tail(&lane->attachment.view, &tail) < 0)
        return false;
    *segment = lane->attachment.view.segments[(uint64_t)tail.seq % SHM_SLOTS];
    if (!*segment || (*segment)->seq != tail.seq)
        return false;
    /* Somebody who has sent little gets little: the pages cost memory. */
    size_t goal = tail.position + smaller(AHEAD_MAX, (size_t)lane->appended_bytes);
    goal = smaller(smaller(goal, tail.limit), (*segment)->capacity) & ~(size_t)(PAGE_BYTES - 1);
    *from = (*segment)->populated > tail.position ? (*segment)->populated : tail.position;
    *from &= ~(size_t)(PAGE_BYTES - 1);
    *until = smaller(goal, *from + STEP_BYTES);
    return *from < *until;
}

/* Works for a lane until enough is there. The reference keeps the mapping while no lock is held. */
static void
work_ahead(struct lane *lane)
{
    struct shm_segment *segment;
    size_t from, until;
    pthread_mutex_lock(&lane->lock);
    while (find_step(lane, &segment, &from, &until)) {
        shm_segment_ref(segment);
        pthread_mutex_unlock(&lane->lock);
        /* Failing is harmless: the pages then come in at their first touch. */
        (void)madvise(segment->bytes + from, until - from, MADV_POPULATE_WRITE);
        pthread_mutex_lock(&lane->lock);
        if (segment->populated < until)
            segment->populated = until;
        shm_segment_unref(&segment);
    }
    lane->ahead_asked = false;
    pthread_mutex_unlock(&lane->lock);
}

static void *
run(void *arg)
{
    struct bus_producer *producer = arg;
    pthread_mutex_lock(&producer->ahead_lock);
    while (!producer->ahead_stopping) {
        struct lane *lane = producer->ahead_head;
        if (!lane) {
            pthread_cond_wait(&producer->ahead_work, &producer->ahead_lock);
            continue;
        }
        producer->ahead_head = lane->next_ahead;
        pthread_mutex_unlock(&producer->ahead_lock);
        work_ahead(lane);
        pthread_mutex_lock(&producer->ahead_lock);
    }
    pthread_mutex_unlock(&producer->ahead_lock);
    return NULL;
}

void
ahead_start(struct bus_producer *producer)
{
    pthread_mutex_lock(&producer->ahead_lock);
    if (!producer->ahead_started && sysconf(_SC_NPROCESSORS_ONLN) > 1) {
        sigset_t all, old;
        sigfillset(&all);
        sigdelset(&all, SIGBUS); /* shm/guard.h */
        pthread_sigmask(SIG_SETMASK, &all, &old);
        producer->ahead_started = pthread_create(&producer->ahead_thread, NULL, run, producer) == 0;
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    pthread_mutex_unlock(&producer->ahead_lock);
}

void
ahead_note(struct lane *lane, size_t bytes)
{
    struct bus_producer *producer = lane->topic->producer;
    struct shm_segment *segment;
    size_t from, until;
    lane->appended_bytes += (int64_t)bytes;
    lane->unlooked_bytes += bytes;
    if (lane->unlooked_bytes < LOOK_BYTES)
        return;
    lane->unlooked_bytes = 0;
    if (lane->ahead_asked || !producer->ahead_started || !find_step(lane, &segment, &from, &until))
        return;
    lane->ahead_asked = true;
    pthread_mutex_lock(&producer->ahead_lock);
    lane->next_ahead = producer->ahead_head;
    producer->ahead_head = lane;
    pthread_cond_signal(&producer->ahead_work);
    pthread_mutex_unlock(&producer->ahead_lock);
}

void
ahead_stop(struct bus_producer *producer)
{
    pthread_mutex_lock(&producer->ahead_lock);
    bool started = producer->ahead_started;
    producer->ahead_stopping = true;
    pthread_cond_signal(&producer->ahead_work);
    pthread_mutex_unlock(&producer->ahead_lock);
    if (started)
        pthread_join(producer->ahead_thread, NULL);
}
