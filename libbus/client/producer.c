/* SPDX-License-Identifier: Apache-2.0 */
#include "client/producer.h"

#include "base/clock.h"
#include "client/metadata.h"
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
    pthread_cond_init(&producer->ahead_work, NULL);
    pthread_mutex_init(&producer->lock, NULL);
    pthread_mutex_init(&producer->ahead_lock, NULL);
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

/* ---- topics --------------------------------------------------------------------------------- */

static struct bus_topic *
find_topic(const struct bus_producer *producer, const char *name)
{
    struct bus_topic *topic = producer->topics;
    while (topic && strcmp(topic->name, name) != 0)
        topic = topic->next;
    return topic;
}

static void
topic_free(struct bus_topic *topic)
{
    for (int32_t i = 0; topic->lanes && i < PRODUCER_PARTITIONS_MAX; i++) {
        struct lane *lane = atomic_load_explicit(&topic->lanes[i], memory_order_relaxed);
        lane_free(&lane);
    }
    free(topic->lanes);
    free(topic->name);
    free(topic);
}

static struct bus_topic *
topic_new(struct bus_producer *producer, const char *name, int32_t partitions)
{
    struct bus_topic *topic = calloc(1, sizeof *topic);
    if (!topic) {
        err_no_memory();
        return NULL;
    }
    topic->producer = producer;
    topic->name = strdup(name);
    topic->lanes = calloc(PRODUCER_PARTITIONS_MAX, sizeof topic->lanes[0]);
    if (!topic->name || !topic->lanes) {
        topic_free(topic);
        err_no_memory();
        return NULL;
    }
    atomic_store_explicit(&topic->partitions, partitions, memory_order_relaxed);
    /* Producers that start together should not all start at partition 0. */
    atomic_store_explicit(
        &topic->sticky, (int32_t)(clock_mono_ns() / 1000 % partitions), memory_order_relaxed);
    return topic;
}

/* Adds the topic, unless another thread was faster. Takes `fresh`. */
static int
add_topic(struct bus_producer *producer, struct bus_topic *fresh, struct bus_topic **topic)
{
    pthread_mutex_lock(&producer->lock);
    struct bus_topic *known = find_topic(producer, fresh->name);
    bool full = !known && producer->topic_count >= PRODUCER_TOPICS_MAX;
    if (!known && !full) {
        fresh->next = producer->topics;
        producer->topics = fresh;
        producer->topic_count++;
        known = fresh;
        fresh = NULL;
    }
    pthread_mutex_unlock(&producer->lock);
    if (fresh)
        topic_free(fresh);
    if (full)
        return err_set(
            BUS_ERR_LIMIT_REACHED, "a producer has at most %d topics", PRODUCER_TOPICS_MAX);
    *topic = known;
    return 0;
}

static int
look_up(struct bus_producer *producer, const char *name, int32_t *partitions)
{
    struct metadata_topic found;
    int rc = metadata_find(producer->bus, name, producer->settings.allow_auto_create_topics,
        bus_request_deadline_ns(producer->bus), &found);
    if (rc < 0)
        return rc;
    *partitions =
        found.partitions < PRODUCER_PARTITIONS_MAX ? found.partitions : PRODUCER_PARTITIONS_MAX;
    return 0;
}

int
bus_producer_topic(struct bus_producer *producer, const char *name, struct bus_topic **topic)
{
    pthread_mutex_lock(&producer->lock);
    *topic = find_topic(producer, name);
    pthread_mutex_unlock(&producer->lock);
    if (*topic)
        return 0;
    int32_t partitions;
    int rc = look_up(producer, name, &partitions);
    if (rc < 0)
        return rc;
    struct bus_topic *fresh = topic_new(producer, name, partitions);
    return fresh ? add_topic(producer, fresh, topic) : -BUS_ERR_NO_MEMORY;
}

int32_t
bus_topic_partitions(const struct bus_topic *topic)
{
    return atomic_load_explicit(&topic->partitions, memory_order_relaxed);
}

/* ---- flush and close ------------------------------------------------------------------------ */

/* Calls `visit` for every lane; stops at the first failure. */
static int
for_each_lane(struct bus_producer *producer, int (*visit)(struct lane *lane, int64_t deadline_ns),
    int64_t deadline_ns)
{
    pthread_mutex_lock(&producer->lock);
    struct bus_topic *topic = producer->topics;
    pthread_mutex_unlock(&producer->lock);
    /* Topics are added in front and never removed, so the rest of the list does not change. */
    for (; topic; topic = topic->next) {
        int32_t count = bus_topic_partitions(topic);
        for (int32_t i = 0; i < count; i++) {
            struct lane *lane = atomic_load_explicit(&topic->lanes[i], memory_order_acquire);
            int rc = lane ? visit(lane, deadline_ns) : 0;
            if (rc < 0)
                return rc;
        }
    }
    return 0;
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
    bool flush = lane_must_flush(lane);
    int64_t end = lane->appended_end;
    pthread_mutex_unlock(&lane->lock);
    return flush && end > 0 ? lane_flush(lane, end, deadline_ns) : 0;
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
    for (struct parcel *parcel = lane->queue.head; parcel; parcel = parcel->next) {
        if (parcel->state == PARCEL_IN_FLIGHT)
            conn_cancel(lane->topic->producer->bus->conn, parcel->call);
        if (parcel->state != PARCEL_DONE)
            parcel_finish(parcel, not_in_time(lane));
    }
    parcel_collect(lane);
    pthread_mutex_unlock(&lane->lock);
    return 0;
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
    sender_stop(old);
    ahead_stop(old);
    for_each_lane(old, abandon_lane, 0);
    producer_deliver(old);
    while (old->topics) {
        struct bus_topic *next = old->topics->next;
        topic_free(old->topics);
        old->topics = next;
    }
    pthread_cond_destroy(&old->work);
    pthread_cond_destroy(&old->moved);
    pthread_mutex_destroy(&old->lock);
    pthread_cond_destroy(&old->ahead_work);
    pthread_mutex_destroy(&old->ahead_lock);
    free(old);
    return rc < 0 ? err_set((enum bus_err) - rc, "%s", text) : 0;
}
