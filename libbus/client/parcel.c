/* SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"
#include "base/clock.h"
#include "client/producer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool
is_unsent(enum parcel_state state)
{
    return state == PARCEL_WAITING || state == PARCEL_IN_FLIGHT;
}

struct parcel *
parcel_add(struct lane *lane, enum parcel_state state)
{
    struct parcel *parcel = calloc(1, sizeof *parcel);
    if (!parcel) {
        err_no_memory();
        return NULL;
    }
    parcel->lane = lane;
    parcel->state = state;
    parcel->base_offset = -1;
    parcel->log_append_time_ms = -1;
    parcel->deadline_ns =
        producer_coarse_ns() + lane->topic->producer->settings.delivery_timeout_ms * 1000000;
    if (lane->queue.tail)
        lane->queue.tail->next = parcel;
    else
        lane->queue.head = parcel;
    lane->queue.tail = parcel;
    lane->unsent += is_unsent(state);
    lane->in_flight += state == PARCEL_IN_FLIGHT;
    lane->created++;
    return parcel;
}

void
parcel_set(struct parcel *parcel, enum parcel_state state)
{
    struct lane *lane = parcel->lane;
    lane->unsent += is_unsent(state) - is_unsent(parcel->state);
    lane->in_flight += (state == PARCEL_IN_FLIGHT) - (parcel->state == PARCEL_IN_FLIGHT);
    parcel->state = state;
}

void
parcel_charge(struct parcel *parcel, size_t bytes)
{
    struct bus_producer *producer = parcel->lane->topic->producer;
    parcel->charged += bytes;
    atomic_fetch_add_explicit(&producer->queued_bytes, bytes, memory_order_relaxed);
}

static void
discharge(struct parcel *parcel, size_t bytes)
{
    struct bus_producer *producer = parcel->lane->topic->producer;
    parcel->charged -= bytes;
    atomic_fetch_sub_explicit(&producer->queued_bytes, bytes, memory_order_relaxed);
}

void
parcel_load(struct parcel *parcel, uint8_t *bytes, size_t size)
{
    parcel->bytes = bytes;
    parcel->size = size;
    parcel_charge(parcel, size);
}

/* The memory of a batch comes back; those who wait for room hear of it. */
static void
drop_bytes(struct parcel *parcel)
{
    if (!parcel->bytes)
        return;
    struct bus_producer *producer = parcel->lane->topic->producer;
    free(parcel->bytes);
    parcel->bytes = NULL;
    discharge(parcel, parcel->size);
    pthread_mutex_lock(&producer->lock);
    pthread_cond_broadcast(&producer->moved);
    pthread_mutex_unlock(&producer->lock);
}

void
parcel_appended(struct parcel *parcel, const struct append_result *result)
{
    parcel->base_offset = result->base_offset;
    parcel->log_append_time_ms = result->log_append_time_ms;
    drop_bytes(parcel);
    parcel_set(parcel, PARCEL_APPENDED);
}

void
parcel_finish(struct parcel *parcel, int rc)
{
    parcel->rc = rc;
    if (rc < 0) {
        free(parcel->text);
        parcel->text = strdup(err_text());
        parcel->base_offset = -1;
    }
    drop_bytes(parcel);
    parcel_set(parcel, PARCEL_DONE);
}

static int64_t
time_of(const struct parcel *parcel, int64_t own_ms)
{
    return parcel->log_append_time_ms >= 0 ? parcel->log_append_time_ms : own_ms;
}

static const char *
text_of(const struct parcel *parcel)
{
    return parcel->text ? parcel->text : bus_err_text(parcel->rc);
}

/* Keeps the first error since the last flush. producer->lock held. */
static void
keep_error(struct bus_producer *producer, int rc, const char *text)
{
    if (rc == 0 || producer->first_error != 0)
        return;
    producer->first_error = rc;
    memset(producer->first_text, 0, sizeof producer->first_text);
    memcpy(producer->first_text, text, strnlen(text, sizeof producer->first_text - 1));
}

void
producer_note_error(struct bus_producer *producer, int rc)
{
    pthread_mutex_lock(&producer->lock);
    keep_error(producer, rc, err_text());
    pthread_mutex_unlock(&producer->lock);
}

static void
tell_waiter(const struct parcel *parcel)
{
    struct send_waiter *waiter = parcel->waiter;
    waiter->rc = parcel->rc;
    waiter->delivery = (struct bus_delivery){.error = parcel->rc,
        .partition = parcel->lane->partition,
        .offset = parcel->base_offset,
        .timestamp_ms = time_of(parcel, parcel->timestamp_ms)};
    const char *text = parcel->rc < 0 ? text_of(parcel) : "";
    size_t length = strnlen(text, sizeof waiter->text - 1);
    memcpy(waiter->text, text, length);
    waiter->text[length] = '\0';
    waiter->done = true;
}

static void
parcel_free(struct parcel *parcel)
{
    MUST(!parcel->bytes);
    discharge(parcel, parcel->charged);
    conn_reply_free(&parcel->reply);
    free(parcel->notes);
    free(parcel->text);
    free(parcel);
}

void
parcel_collect(struct lane *lane)
{
    struct bus_producer *producer = lane->topic->producer;
    if (!lane->queue.head || lane->queue.head->state != PARCEL_DONE)
        return;
    pthread_mutex_lock(&producer->lock);
    while (lane->queue.head && lane->queue.head->state == PARCEL_DONE) {
        struct parcel *parcel = lane->queue.head;
        lane->queue.head = parcel->next;
        if (!lane->queue.head)
            lane->queue.tail = NULL;
        parcel->next = NULL;
        if (parcel->waiter)
            tell_waiter(parcel);
        else
            keep_error(producer, parcel->rc, parcel->rc < 0 ? text_of(parcel) : "");
        if (parcel->notes) {
            if (producer->finished.tail)
                producer->finished.tail->next = parcel;
            else
                producer->finished.head = parcel;
            producer->finished.tail = parcel;
        } else {
            lane->delivered++;
            parcel_free(parcel);
        }
    }
    pthread_cond_broadcast(&producer->moved);
    pthread_mutex_unlock(&producer->lock);
}

static void
tell_callback(struct bus_producer *producer, const struct parcel *parcel)
{
    for (uint32_t i = 0; i < parcel->records; i++) {
        struct bus_delivery delivery = {.error = parcel->rc,
            .partition = parcel->lane->partition,
            .offset = parcel->base_offset < 0 ? -1 : parcel->base_offset + i,
            .timestamp_ms = time_of(parcel, parcel->notes[i].timestamp_ms)};
        if (parcel->rc < 0)
            err_set((enum bus_err) - parcel->rc, "%s", text_of(parcel));
        producer->delivered(producer->delivered_context, parcel->notes[i].opaque, &delivery);
    }
}

void
producer_deliver(struct bus_producer *producer)
{
    if (!producer->delivered)
        return;
    /* What the callbacks do is not what the caller is told about. */
    char text[ERR_TEXT_BYTES_MAX];
    memcpy(text, err_text(), sizeof text);
    pthread_mutex_lock(&producer->lock);
    bool mine = !producer->delivering;
    while (mine && producer->finished.head) {
        struct parcel *parcel = producer->finished.head;
        producer->finished.head = parcel->next;
        if (!producer->finished.head)
            producer->finished.tail = NULL;
        producer->delivering = true;
        producer->deliverer = pthread_self();
        pthread_mutex_unlock(&producer->lock);
        tell_callback(producer, parcel);
        pthread_mutex_lock(&producer->lock);
        parcel->lane->delivered++;
        parcel_free(parcel);
        pthread_cond_broadcast(&producer->moved);
    }
    if (mine)
        producer->delivering = false;
    pthread_mutex_unlock(&producer->lock);
    if (strcmp(text, err_text()) != 0)
        err_set(BUS_ERR_UNKNOWN_SERVER_ERROR, "%s", text);
}

/* A callback that sends must not wait for what only its return can move. producer->lock held. */
static bool
inside_callback(const struct bus_producer *producer)
{
    return producer->delivering && pthread_equal(producer->deliverer, pthread_self());
}

int
producer_await_room(struct bus_producer *producer)
{
    size_t limit = (size_t)producer->settings.buffer_memory;
    int64_t until_ns = clock_mono_ns() + producer->settings.max_block_ms * 1000000;
    struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
    int errnum = 0;
    pthread_mutex_lock(&producer->lock);
    bool waits = producer->settings.max_block_ms > 0 && !inside_callback(producer);
    while (atomic_load_explicit(&producer->queued_bytes, memory_order_relaxed) >= limit && waits &&
           errnum != ETIMEDOUT)
        errnum = pthread_cond_timedwait(&producer->moved, &producer->lock, &until);
    pthread_mutex_unlock(&producer->lock);
    if (atomic_load_explicit(&producer->queued_bytes, memory_order_relaxed) < limit)
        return 0;
    return err_set(BUS_ERR_QUEUE_FULL,
        "%zu bytes of batches wait already (buffer.memory): busd is away, its disk is slow or "
        "full, or it does not keep up",
        limit);
}
