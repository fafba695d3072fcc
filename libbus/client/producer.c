/* SPDX-License-Identifier: Apache-2.0 */
#include "client/producer.h"

#include "base/clock.h"
#include "record/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void
init_sync(struct bus_producer *producer)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&producer->moved, &monotonic);
    pthread_cond_init(&producer->work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&producer->lock, NULL);
}

int
bus_producer_open(struct bus *bus, const struct bus_config *config, struct bus_producer **producer)
{
    struct bus_producer *fresh = calloc(1, sizeof *fresh);
    *producer = NULL;
    if (!fresh)
        return err_no_memory();
    settings_of(config, &fresh->settings);
    int rc =
        codec_level_check(fresh->settings.compression_type, (int)fresh->settings.compression_level);
    if (rc < 0) {
        free(fresh);
        return err_prefix(rc, "compression.level");
    }
    rc = identity_init(fresh);
    if (rc < 0) {
        free(fresh);
        return rc;
    }
    fresh->bus = bus;
    fresh->linger_ns = fresh->settings.linger_ms * 1000000;
    fresh->builder_options = BUILDER_OPTIONS_PLAIN;
    fresh->builder_options.codec = fresh->settings.compression_type;
    fresh->builder_options.level = (int)fresh->settings.compression_level;
    init_sync(fresh);
    *producer = fresh;
    return 0;
}

void
bus_producer_on_delivery(struct bus_producer *producer, bus_delivered *delivered, void *context)
{
    producer->delivered = delivered;
    producer->delivered_context = context;
}

void
bus_producer_partition_by(
    struct bus_producer *producer, bus_partitioner *partitioner, void *context)
{
    producer->partitioner = partitioner;
    producer->partitioner_context = context;
}

/* ---- flush and close ------------------------------------------------------------------------ */

/* Calls `visit` for every lane. Returns the first failure: one lane's trouble is not the others'.
 */
static int
for_each_lane(struct bus_producer *producer, int (*visit)(struct lane *lane, int64_t deadline_ns),
    int64_t deadline_ns)
{
    pthread_mutex_lock(&producer->lock);
    struct bus_topic *topic = producer->topics;
    pthread_mutex_unlock(&producer->lock);
    char text[ERR_TEXT_BYTES_MAX];
    int first = 0;
    /* Topics are added in front and never removed, so the rest of the list does not change. */
    for (; topic; topic = topic->next) {
        int32_t end = atomic_load_explicit(&topic->lanes_end, memory_order_acquire);
        for (int32_t i = 0; i < end; i++) {
            struct lane *lane = atomic_load_explicit(&topic->lanes[i], memory_order_acquire);
            int rc = lane ? visit(lane, deadline_ns) : 0;
            if (rc < 0 && first == 0) {
                first = rc;
                memcpy(text, err_text(), sizeof text);
            }
        }
    }
    return first == 0 ? 0 : err_set((enum bus_err) - first, "%s", text);
}

static int
send_lane(struct lane *lane, int64_t deadline_ns)
{
    (void)deadline_ns;
    pthread_mutex_lock(&lane->lock);
    lane_send(lane);
    pthread_mutex_unlock(&lane->lock);
    return 0;
}

static int
not_in_time(const struct lane *lane)
{
    return err_set(BUS_ERR_TIMED_OUT, "%s-%d: records are still on their way", lane->topic->name,
        lane->partition);
}

static int
await_parcels(struct lane *lane, uint64_t created, int64_t deadline_ns)
{
    struct bus_producer *producer = lane->topic->producer;
    struct timespec until = {
        .tv_sec = deadline_ns / 1000000000, .tv_nsec = deadline_ns % 1000000000};
    int errnum = 0;
    pthread_mutex_lock(&producer->lock);
    while (lane->delivered < created && errnum != ETIMEDOUT)
        errnum = pthread_cond_timedwait(&producer->moved, &producer->lock, &until);
    bool done = lane->delivered >= created;
    pthread_mutex_unlock(&producer->lock);
    return done ? 0 : not_in_time(lane);
}

/* Waits for what the lane had sent when the flush came by. */
static int
finish_lane(struct lane *lane, int64_t deadline_ns)
{
    pthread_mutex_lock(&lane->lock);
    uint64_t created = lane->created;
    pthread_mutex_unlock(&lane->lock);
    producer_deliver(lane->topic->producer);
    int rc = await_parcels(lane, created, deadline_ns);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&lane->lock);
    int64_t end = lane->flush_end;
    pthread_mutex_unlock(&lane->lock);
    rc = end > 0 ? lane_flush(lane, end, deadline_ns) : 0;
    if (rc < 0 && rc != -BUS_ERR_TIMED_OUT) {
        /* It is told once. */
        pthread_mutex_lock(&lane->lock);
        if (lane->flush_end == end)
            lane->flush_end = 0;
        pthread_mutex_unlock(&lane->lock);
    }
    return rc;
}

static int64_t
deadline_of(int timeout_ms)
{
    return timeout_ms < 0 ? INT64_MAX / 2 : clock_mono_ns() + (int64_t)timeout_ms * 1000000;
}

int
bus_flush(struct bus_producer *producer, int timeout_ms)
{
    int64_t deadline_ns = deadline_of(timeout_ms);
    for_each_lane(producer, send_lane, deadline_ns);
    int rc = for_each_lane(producer, finish_lane, deadline_ns);
    if (rc < 0)
        return rc;
    char text[ERR_TEXT_BYTES_MAX];
    pthread_mutex_lock(&producer->lock);
    rc = producer->first_error;
    producer->first_error = 0;
    memcpy(text, producer->first_text, sizeof text);
    pthread_mutex_unlock(&producer->lock);
    return rc == 0 ? 0 : err_set((enum bus_err) - rc, "%s", text);
}

/* What is not done when the producer closes never will be. The sender has ended. */
static int
abandon_lane(struct lane *lane, int64_t deadline_ns)
{
    (void)deadline_ns;
    pthread_mutex_lock(&lane->lock);
    int rc = lane_abandon(lane);
    pthread_mutex_unlock(&lane->lock);
    return rc;
}

static void
release(struct bus_producer *producer)
{
    while (producer->topics) {
        struct bus_topic *next = producer->topics->next;
        topic_free(producer->topics);
        producer->topics = next;
    }
    pthread_cond_destroy(&producer->work);
    pthread_cond_destroy(&producer->moved);
    pthread_mutex_destroy(&producer->lock);
    free(producer);
}

int
bus_producer_close(struct bus_producer **producer, int timeout_ms)
{
    struct bus_producer *old = *producer;
    *producer = NULL;
    if (!old)
        return 0;
    int rc = bus_flush(old, timeout_ms);
    char text[ERR_TEXT_BYTES_MAX];
    memcpy(text, err_text(), sizeof text);
    /* A callback may still send: that fails from here on. */
    atomic_store_explicit(&old->closing, true, memory_order_relaxed);
    sender_stop(old);
    int late = for_each_lane(old, abandon_lane, 0);
    if (late < 0 && rc == 0) {
        rc = late;
        memcpy(text, err_text(), sizeof text);
    }
    producer_deliver(old);
    release(old);
    return rc < 0 ? err_set((enum bus_err) - rc, "%s", text) : 0;
}
