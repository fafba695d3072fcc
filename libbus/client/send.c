/* SPDX-License-Identifier: Apache-2.0
 * The sending calls: choose a partition, put the record into its lane's batch, send the batch.
 */
#include "client/send.h"
#include "base/clock.h"
#include "client/producer.h"
#include "record/murmur2.h"

enum {
    TOUCHED_MAX = 64, /* lanes of one call whose batches are left open until its end */
};

/* ---- partitions ----------------------------------------------------------------------------- */

static int
choose_by_callback(struct bus_topic *topic, const struct bus_message *message, int32_t count)
{
    struct bus_producer *producer = topic->producer;
    int32_t chosen = producer->partitioner(
        producer->partitioner_context, topic->name, count, message->key, message->key_size);
    if (chosen < 0 || chosen >= count)
        return err_set(BUS_ERR_INVALID_ARGUMENT,
            "the partitioner chose %d, but topic %s has the partitions 0 to %d", chosen,
            topic->name, count - 1);
    return chosen;
}

int
send_choose(struct bus_topic *topic, const struct bus_message *message)
{
    int32_t count = bus_topic_partitions(topic);
    if (message->partition >= 0) {
        if (__builtin_expect(message->partition < count, 1))
            return message->partition;
        int rc = topic_look(topic, message->partition);
        return rc < 0 ? rc : message->partition;
    }
    if (message->partition != BUS_PARTITION_ANY)
        return err_set(BUS_ERR_INVALID_ARGUMENT, "%d is no partition", message->partition);
    if (topic->producer->partitioner)
        return choose_by_callback(topic, message, count);
    if (message->key)
        return murmur2_partition(message->key, message->key_size, count);
    return atomic_load_explicit(&topic->sticky, memory_order_relaxed);
}

/* ---- lanes ---------------------------------------------------------------------------------- */

/* Attaches, within the time that a send may block; 0: not while busd is away. */
static int
open_lane(struct lane *lane)
{
    const struct bus_producer *producer = lane->topic->producer;
    int64_t deadline_ns = bus_request_deadline_ns(producer->bus);
    int64_t block_ns = producer->settings.max_block_ms * 1000000;
    if (block_ns == 0)
        return lane_open(lane, 0, deadline_ns);
    block_ns += clock_mono_ns();
    return lane_open(lane, CONN_WAIT, block_ns < deadline_ns ? block_ns : deadline_ns);
}

int
send_enter(struct bus_topic *topic, int32_t partition, struct lane **lane)
{
    struct lane *found = lane_get(topic, partition);
    if (!found)
        return -BUS_ERR_NO_MEMORY;
    pthread_mutex_lock(&found->lock);
    if (__builtin_expect(found->mode == LANE_CLOSED || !found->built, 0)) {
        int rc = open_lane(found);
        if (rc < 0) {
            pthread_mutex_unlock(&found->lock);
            return rc;
        }
    }
    *lane = found;
    return 0;
}

static bool
memory_is_full(const struct bus_producer *producer)
{
    return atomic_load_explicit(&producer->queued_bytes, memory_order_relaxed) >=
           (size_t)producer->settings.buffer_memory;
}

int
send_timestamp(const struct bus_message *message, int64_t *now_ms, int64_t *timestamp_ms)
{
    if (message->timestamp_ms >= 0) {
        *timestamp_ms = message->timestamp_ms;
        return 0;
    }
    if (message->timestamp_ms != BUS_TIME_NOW)
        return err_set(
            BUS_ERR_INVALID_TIMESTAMP, "%lld is not a time", (long long)message->timestamp_ms);
    if (*now_ms == 0)
        *now_ms = clock_wall_coarse_ms();
    *timestamp_ms = *now_ms;
    return 0;
}

/* ---- one call ------------------------------------------------------------------------------- */

/* The lanes that a call has put records into. */
struct touched {
    struct lane *held; /* locked; NULL none */
    struct lane *open[TOUCHED_MAX];
    int count;
};

static void
leave(struct touched *touched, bool linger)
{
    struct lane *lane = touched->held;
    touched->held = NULL;
    if (!linger) {
        bool known = false;
        for (int i = 0; i < touched->count && !known; i++)
            known = touched->open[i] == lane;
        if (!known && touched->count == TOUCHED_MAX)
            lane_send(lane);
        else if (!known)
            touched->open[touched->count++] = lane;
    }
    pthread_mutex_unlock(&lane->lock);
}

/* The end of a call: without linger, every batch that it left open goes now. */
static void
finish(struct touched *touched, bool linger)
{
    if (touched->held && !linger)
        lane_send(touched->held);
    struct lane *last = touched->held;
    if (last)
        pthread_mutex_unlock(&last->lock);
    for (int i = 0; i < touched->count; i++) {
        struct lane *lane = touched->open[i];
        if (lane == last)
            continue;
        pthread_mutex_lock(&lane->lock);
        lane_send(lane);
        pthread_mutex_unlock(&lane->lock);
    }
}

static int
put_one(struct bus_topic *topic, const struct bus_message *message, struct touched *touched,
    int64_t *now_ms)
{
    struct bus_producer *producer = topic->producer;
    bool linger = producer->linger_ns != 0;
    int64_t timestamp_ms;
    int rc = send_timestamp(message, now_ms, &timestamp_ms);
    int partition = rc < 0 ? rc : send_choose(topic, message);
    if (partition < 0)
        return partition;
    if (__builtin_expect(memory_is_full(producer), 0)) {
        if (touched->held)
            leave(touched, linger);
        rc = producer_await_room(producer);
        if (rc < 0)
            return rc;
    }
    if (!touched->held || touched->held->partition != partition) {
        if (touched->held)
            leave(touched, linger);
        rc = send_enter(topic, partition, &touched->held);
        if (rc < 0)
            return rc;
    }
    return lane_put(touched->held, message, timestamp_ms);
}

int
bus_send_many(struct bus_topic *topic, const struct bus_message *messages, int count)
{
    struct touched touched;
    touched.held = NULL;
    touched.count = 0;
    int64_t now_ms = 0;
    int rc = 0, taken = 0;
    while (taken < count) {
        rc = put_one(topic, &messages[taken], &touched, &now_ms);
        if (__builtin_expect(rc < 0, 0))
            break;
        taken++;
    }
    finish(&touched, topic->producer->linger_ns != 0);
    if (topic->producer->delivered)
        producer_deliver(topic->producer);
    return taken > 0 || count <= 0 ? taken : rc;
}

int
bus_send_async(struct bus_topic *topic, const struct bus_message *message)
{
    struct bus_producer *producer = topic->producer;
    int64_t now_ms = 0, timestamp_ms;
    struct lane *lane;
    int rc = send_timestamp(message, &now_ms, &timestamp_ms);
    int partition = rc < 0 ? rc : send_choose(topic, message);
    if (partition < 0)
        return partition;
    if (__builtin_expect(memory_is_full(producer), 0) && (rc = producer_await_room(producer)) < 0)
        return rc;
    rc = send_enter(topic, partition, &lane);
    if (rc < 0)
        return rc;
    rc = lane_put(lane, message, timestamp_ms);
    if (producer->linger_ns == 0)
        lane_send(lane);
    pthread_mutex_unlock(&lane->lock);
    if (producer->delivered)
        producer_deliver(producer);
    return rc;
}

/* ---- waiting sends -------------------------------------------------------------------------- */

int
send_await(struct bus_producer *producer, struct send_waiter *waiter, struct bus_delivery *delivery)
{
    producer_deliver(producer);
    pthread_mutex_lock(&producer->lock);
    while (!waiter->done)
        pthread_cond_wait(&producer->moved, &producer->lock);
    pthread_mutex_unlock(&producer->lock);
    *delivery = waiter->delivery;
    return waiter->rc < 0 ? err_set((enum bus_err) - waiter->rc, "%s", waiter->text) : 0;
}

int
send_flush(struct lane *lane, int64_t end)
{
    int64_t wait_ns = lane->topic->producer->settings.delivery_timeout_ms * 1000000;
    int rc = lane_flush(lane, end, clock_mono_ns() + wait_ns);
    return rc == -BUS_ERR_TIMED_OUT ? -BUS_ERR_REQUEST_TIMED_OUT : rc;
}

int
bus_send(struct bus_topic *topic, const struct bus_message *message, struct bus_delivery *delivery)
{
    struct bus_producer *producer = topic->producer;
    struct send_waiter *waiter = NULL, slow;
    struct bus_delivery result = {.partition = -1, .offset = -1, .timestamp_ms = -1};
    struct lane *lane;
    int64_t now_ms = 0, timestamp_ms;
    int rc = send_timestamp(message, &now_ms, &timestamp_ms);
    int partition = rc < 0 ? rc : send_choose(topic, message);
    if (partition < 0)
        return partition;
    if (__builtin_expect(memory_is_full(producer), 0) && (rc = producer_await_room(producer)) < 0)
        return rc;
    rc = send_enter(topic, partition, &lane);
    if (rc < 0)
        return rc;
    lane_send(lane); /* what was sent before goes before */
    slow.done = false;
    waiter = &slow;
    rc = lane_put(lane, message, timestamp_ms);
    if (rc == 0)
        rc = lane_send_waiting(lane, waiter, &result);
    bool flush = rc == 0 && lane_must_flush(lane);
    pthread_mutex_unlock(&lane->lock);
    if (rc == LANE_QUEUED)
        rc = send_await(producer, waiter, &result);
    else if (flush)
        rc = send_flush(lane, result.offset + 1);
    if (producer->delivered)
        producer_deliver(producer);
    result.error = rc;
    if (delivery)
        *delivery = result;
    return rc;
}
