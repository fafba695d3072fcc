/* SPDX-License-Identifier: Apache-2.0
 * The topics of a producer: found once, looked at again from time to time.
 */
#include "base/clock.h"
#include "client/metadata.h"
#include "client/producer.h"

#include <stdlib.h>
#include <string.h>

enum {
    LOOK_MS = 1000,     /* between two looks for a partition that a message names */
    ATTACH_AT_ONCE = 16 /* a topic with up to so many partitions is attached as a whole */
};

static struct bus_topic *
find_topic(const struct bus_producer *producer, const char *name)
{
    struct bus_topic *topic = producer->topics;
    while (topic && strcmp(topic->name, name) != 0)
        topic = topic->next;
    return topic;
}

void
topic_free(struct bus_topic *topic)
{
    if (topic->refresh_call)
        conn_cancel(topic->producer->bus->conn, topic->refresh_call);
    for (int32_t i = 0; topic->lanes && i < PRODUCER_PARTITIONS_MAX; i++) {
        struct lane *lane = atomic_load_explicit(&topic->lanes[i], memory_order_relaxed);
        lane_free(&lane);
    }
    free(topic->lanes);
    free(topic->name);
    free(topic);
}

static int64_t
next_refresh_ns(const struct bus_producer *producer, int64_t now_ns)
{
    int64_t own_ms = producer->settings.metadata_max_age_ms;
    int64_t bus_ms = producer->bus->settings.metadata_max_age_ms;
    return now_ns + (own_ms < bus_ms ? own_ms : bus_ms) * 1000000;
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
    int64_t now_ns = clock_mono_ns();
    atomic_store_explicit(&topic->partitions, partitions, memory_order_relaxed);
    /* Producers that start together should not all start at partition 0. */
    atomic_store_explicit(
        &topic->sticky, (int32_t)(now_ns / 1000 % partitions), memory_order_relaxed);
    atomic_store_explicit(
        &topic->refresh_ns, next_refresh_ns(producer, now_ns), memory_order_relaxed);
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

/* How many partitions a producer makes of what busd says. */
static int32_t
within_limit(int32_t partitions)
{
    return partitions < PRODUCER_PARTITIONS_MAX ? partitions : PRODUCER_PARTITIONS_MAX;
}

static int
look_up(struct bus_producer *producer, const char *name, int64_t deadline_ns, int32_t *partitions)
{
    struct metadata_topic found;
    int rc = metadata_find(
        producer->bus, name, producer->settings.allow_auto_create_topics, deadline_ns, &found);
    if (rc < 0)
        return rc;
    *partitions = within_limit(found.partitions);
    return 0;
}

/* Attaches the partitions while busd is there, so that none of them needs it later. What fails
 * fails again, and is told, when somebody sends. */
static void
attach_all(struct bus_topic *topic, int64_t deadline_ns)
{
    int32_t count = bus_topic_partitions(topic);
    bool direct = topic->producer->settings.direct != SETTING_DIRECT_NEVER;
    for (int32_t i = 0; i < count && count <= ATTACH_AT_ONCE && direct; i++) {
        struct lane *lane = lane_get(topic, i);
        if (!lane)
            return;
        pthread_mutex_lock(&lane->lock);
        int rc = lane->mode == LANE_CLOSED ? lane_open(lane, 0, deadline_ns) : 0;
        direct = rc >= 0 && lane->mode == LANE_DIRECT;
        pthread_mutex_unlock(&lane->lock);
    }
}

int
bus_producer_topic(struct bus_producer *producer, const char *name, struct bus_topic **topic)
{
    pthread_mutex_lock(&producer->lock);
    *topic = find_topic(producer, name);
    pthread_mutex_unlock(&producer->lock);
    if (*topic)
        return 0;
    int64_t deadline_ns = bus_request_deadline_ns(producer->bus);
    int32_t partitions;
    int rc = look_up(producer, name, deadline_ns, &partitions);
    if (rc < 0)
        return rc;
    struct bus_topic *fresh = topic_new(producer, name, partitions);
    if (!fresh)
        return -BUS_ERR_NO_MEMORY;
    rc = add_topic(producer, fresh, topic);
    if (rc == 0)
        attach_all(*topic, deadline_ns);
    return rc;
}

int32_t
bus_topic_partitions(const struct bus_topic *topic)
{
    return atomic_load_explicit(&topic->partitions, memory_order_relaxed);
}

/* ---- later looks ---------------------------------------------------------------------------- */

static void
set_partitions(struct bus_topic *topic, int32_t partitions)
{
    int32_t count = within_limit(partitions);
    if (count < 1)
        return;
    atomic_store_explicit(&topic->partitions, count, memory_order_relaxed);
    if (atomic_load_explicit(&topic->sticky, memory_order_relaxed) >= count)
        atomic_store_explicit(&topic->sticky, 0, memory_order_relaxed);
}

int
topic_look(struct bus_topic *topic, int32_t partition)
{
    struct bus_producer *producer = topic->producer;
    int64_t now_ns = clock_mono_ns();
    int64_t not_before_ns = atomic_load_explicit(&topic->look_ns, memory_order_relaxed);
    if (partition < PRODUCER_PARTITIONS_MAX && now_ns >= not_before_ns) {
        atomic_store_explicit(
            &topic->look_ns, now_ns + LOOK_MS * INT64_C(1000000), memory_order_relaxed);
        struct metadata_topic found;
        int rc = metadata_find(
            producer->bus, topic->name, false, bus_request_deadline_ns(producer->bus), &found);
        if (rc < 0)
            return rc;
        set_partitions(topic, found.partitions);
    }
    int32_t count = bus_topic_partitions(topic);
    if (partition < count)
        return 0;
    return err_set(BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION,
        "topic %s has no partition %d: it has %d of them, 0 to %d", topic->name, partition, count,
        count - 1);
}

/* Runs on the connection's thread. */
static void
refreshed(void *context, int rc, struct conn_reply *reply)
{
    struct bus_topic *topic = context;
    if (rc == 0) {
        const struct metadata_response *answer = reply->message;
        if (answer->topics_count == 1 && answer->topics[0].error_code == 0)
            set_partitions(topic, metadata_count(&answer->topics[0]));
    }
    conn_reply_free(&reply);
    /* Release: pairs with the exchange in topic_refresh(). */
    atomic_store_explicit(&topic->refreshing, false, memory_order_release);
}

void
topic_refresh(struct bus_topic *topic, int64_t now_ns)
{
    struct bus_producer *producer = topic->producer;
    struct metadata_request_topic wanted = {.name = topic->name};
    struct metadata_request request = {.topics = &wanted, .topics_count = 1};
    atomic_store_explicit(
        &topic->refresh_ns, next_refresh_ns(producer, now_ns), memory_order_relaxed);
    /* Acquire: pairs with the store in refreshed(): the last call is over. */
    if (atomic_exchange_explicit(&topic->refreshing, true, memory_order_acquire))
        return;
    int rc = conn_start(
        producer->bus->conn, API_METADATA, &request, refreshed, topic, &topic->refresh_call);
    if (rc < 0)
        atomic_store_explicit(&topic->refreshing, false, memory_order_release);
}
