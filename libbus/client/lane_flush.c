/* SPDX-License-Identifier: Apache-2.0
 * Waiting for stable storage. It has a view of its own, since a flush runs beside appends.
 */
#include "base/clock.h"
#include "client/producer.h"
#include "shm/flush.h"

#include <time.h>

enum {
    RENEW_WAIT_MS = 500, /* for busd's answer, while the old view would do; and between two tries */
    PAUSE_MS = 5,        /* between two tries while busd is away */
};

static int
forbidden(const struct lane *lane)
{
    return err_set(BUS_ERR_TOPIC_AUTHORIZATION_FAILED,
        "the permission to write %s directly was taken away", lane->topic->name);
}

/* Makes a restarted busd know the view, which serves on if that fails. */
static void
refresh(struct attachment *flusher)
{
    if (!attach_stale(flusher) || clock_mono_ns() < flusher->retry_ns)
        return;
    int64_t deadline_ns = clock_mono_ns() + RENEW_WAIT_MS * INT64_C(1000000);
    if (attach_renew(flusher, 0, deadline_ns) < 0)
        flusher->retry_ns = clock_mono_ns() + RENEW_WAIT_MS * INT64_C(1000000);
}

/* Brings the flusher's view to where the lane's is: offsets mean something else in the log of a
 * topic that was created anew, or that was cut at damage. What is mapped serves on as long as it is
 * of the same generation. */
static int
follow(struct lane *lane, unsigned flags, int64_t deadline_ns)
{
    struct attachment *flusher = &lane->flusher;
    /* Acquire: pairs with the release in lane.c's view(). */
    uint32_t views = atomic_load_explicit(&lane->views, memory_order_acquire);
    bool behind = !flusher->mapped || lane->flusher_views != views;
    if (!behind) {
        refresh(flusher);
        return 0;
    }
    int rc = attach_renew(flusher, flags, deadline_ns);
    if (rc == ATTACH_MEDIATED)
        return forbidden(lane);
    if (rc >= 0)
        lane->flusher_views = views;
    return rc < 0 ? rc : 0;
}

/* One look at the flush. Returns 0, -TIMED_OUT, or a failure. */
static int
flush_once(struct lane *lane, int64_t end, int64_t deadline_ns)
{
    struct attachment *flusher = &lane->flusher;
    int rc = follow(lane, CONN_WAIT, deadline_ns);
    if (rc < 0)
        return rc;
    attach_prefetch(flusher);
    rc = shm_flush(&flusher->view, end, deadline_ns);
    if (rc == FLUSH_TIMED_OUT)
        return err_set(BUS_ERR_TIMED_OUT, "it was not flushed in time");
    if (rc != FLUSH_FENCED && rc != -BUS_ERR_NOT_LEADER_OR_FOLLOWER &&
        rc != -BUS_ERR_UNKNOWN_TOPIC_ID && rc != -BUS_ERR_CORRUPT_MESSAGE)
        return rc;
    rc = attach_renew(flusher, CONN_WAIT, deadline_ns);
    if (rc == ATTACH_MEDIATED)
        return forbidden(lane);
    return rc < 0 ? rc : -BUS_ERR_NOT_LEADER_OR_FOLLOWER;
}

/* Whether another try may help: busd was away when a segment was needed, or the generation ended.
 * A failed flush itself is final. */
static bool
flush_again(int rc)
{
    return rc < 0 && rc != -BUS_ERR_TIMED_OUT && rc != -BUS_ERR_KAFKA_STORAGE_ERROR &&
           rc != -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION && bus_err_retriable(rc);
}

static int
flush_view(struct lane *lane, int64_t end, int64_t deadline_ns)
{
    for (;;) {
        int rc = flush_once(lane, end, deadline_ns);
        if (!flush_again(rc) || clock_mono_ns() >= deadline_ns)
            return err_prefix(flush_again(rc) ? -BUS_ERR_TIMED_OUT : rc, "%s-%d", lane->topic->name,
                lane->partition);
        struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000};
        nanosleep(&pause, NULL);
    }
}

int
lane_flush_prepare(struct lane *lane, unsigned flags, int64_t deadline_ns)
{
    /* Who has the lock is flushing, and so has a view. */
    if (pthread_mutex_trylock(&lane->flush_lock) != 0)
        return 0;
    int rc = follow(lane, flags, deadline_ns);
    pthread_mutex_unlock(&lane->flush_lock);
    return rc;
}

int
lane_flush(struct lane *lane, int64_t end, int64_t deadline_ns)
{
    struct timespec until = {
        .tv_sec = deadline_ns / 1000000000, .tv_nsec = deadline_ns % 1000000000};
    if (pthread_mutex_clocklock(&lane->flush_lock, CLOCK_MONOTONIC, &until) != 0)
        return err_set(
            BUS_ERR_TIMED_OUT, "%s-%d was not flushed in time", lane->topic->name, lane->partition);
    int rc = flush_view(lane, end, deadline_ns);
    pthread_mutex_unlock(&lane->flush_lock);
    return rc;
}
