/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "client/producer.h"
#include "record/batch_header.h"
#include "record/codec.h"

#include <stdlib.h>
#include <string.h>

enum {
    LOCK_WAIT_MS = 20,   /* for the append lock, before the stall is reported */
    RENEW_WAIT_MS = 500, /* for busd's answer, while others wait for the lane */
    ROOM_WAIT_MS = 20,   /* for room, in the sending thread: busd reserves it in a few ms */
    ROOM_PAUSE_US = 100, /* between two looks for it */
    NOTES_MIN = 64,
    HEADERS_ON_STACK = 16,
};

int64_t
producer_coarse_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static struct lane *
lane_new(struct bus_topic *topic, int32_t partition)
{
    struct lane *lane = calloc(1, sizeof *lane);
    if (!lane) {
        err_no_memory();
        return NULL;
    }
    struct bus *bus = topic->producer->bus;
    lane->topic = topic;
    lane->partition = partition;
    pthread_mutex_init(&lane->lock, NULL);
    pthread_mutex_init(&lane->flush_lock, NULL);
    attach_init(&lane->attachment, bus, topic->name, partition, ATTACH_WRITE);
    attach_init(&lane->flusher, bus, topic->name, partition, ATTACH_WRITE);
    return lane;
}

void
lane_free(struct lane **lane)
{
    struct lane *old = *lane;
    *lane = NULL;
    if (!old)
        return;
    attach_fini(&old->flusher);
    attach_fini(&old->attachment);
    builder_fini(&old->builder);
    free(old->notes);
    pthread_mutex_destroy(&old->flush_lock);
    pthread_mutex_destroy(&old->lock);
    free(old);
}

struct lane *
lane_get(struct bus_topic *topic, int32_t partition)
{
    /* Acquire: pairs with the release below. */
    struct lane *lane = atomic_load_explicit(&topic->lanes[partition], memory_order_acquire);
    if (lane)
        return lane;
    pthread_mutex_lock(&topic->producer->lock);
    lane = atomic_load_explicit(&topic->lanes[partition], memory_order_relaxed);
    if (!lane) {
        lane = lane_new(topic, partition);
        atomic_store_explicit(&topic->lanes[partition], lane, memory_order_release);
        /* Release: pairs with the acquire in producer.c's for_each_lane(). */
        if (lane && partition >= atomic_load_explicit(&topic->lanes_end, memory_order_relaxed))
            atomic_store_explicit(&topic->lanes_end, partition + 1, memory_order_release);
    }
    pthread_mutex_unlock(&topic->producer->lock);
    return lane;
}

static const struct settings *
settings(const struct lane *lane)
{
    return &lane->topic->producer->settings;
}

static uint32_t
control_flags(const struct lane *lane)
{
    return atomic_load_explicit(&lane->attachment.view.control->flags, memory_order_relaxed);
}

bool
lane_must_flush(const struct lane *lane)
{
    if (settings(lane)->acks != SETTING_ACKS_ALL || lane->mode != LANE_DIRECT)
        return false;
    uint32_t flags = control_flags(lane);
    return (flags & SHM_FLAG_FLUSH_ON_ACK) && !(flags & SHM_FLAG_MEMORY);
}

/* A builder for batches that the topic takes. A compressed one may start out larger. */
static int
build(struct lane *lane, uint32_t max_batch)
{
    const struct settings *wanted = settings(lane);
    if (lane->built)
        builder_fini(&lane->builder);
    lane->built = false;
    size_t capacity = (size_t)wanted->batch_size;
    size_t largest = max_batch > BATCH_HEADER_BYTES * 2 ? max_batch : BATCH_HEADER_BYTES * 2;
    if (wanted->compression_type != CODEC_NONE && largest < (size_t)wanted->buffer_memory)
        largest = (size_t)wanted->buffer_memory;
    if (capacity > max_batch && max_batch > BATCH_HEADER_BYTES * 2)
        capacity = max_batch;
    if (largest > INT32_MAX)
        largest = INT32_MAX;
    if (largest < capacity)
        largest = capacity;
    int rc = builder_init(&lane->builder, capacity, largest);
    if (rc < 0)
        return rc;
    builder_reset(&lane->builder, &lane->topic->producer->builder_options);
    lane->built = true;
    lane->max_batch = max_batch;
    return 0;
}

/* Follows what busd may change at any time. The builder is empty. */
static int
look_at_rules(struct lane *lane)
{
    if (lane->mode != LANE_DIRECT)
        return 0;
    const struct shm_control *control = lane->attachment.view.control;
    lane->needs_key = (control_flags(lane) & SHM_FLAG_COMPACTED) != 0;
    uint32_t max = atomic_load_explicit(&control->max_message_bytes, memory_order_relaxed);
    return lane->built && max == lane->max_batch ? 0 : build(lane, max);
}

static int
open_mediated(struct lane *lane, unsigned flags, int64_t deadline_ns)
{
    struct bus *bus = lane->topic->producer->bus;
    if (!lane->built) {
        int rc = build(lane, mediate_max_batch(bus, lane->topic->name, flags, deadline_ns));
        if (rc < 0)
            return rc;
    }
    lane->mode = LANE_MEDIATED;
    lane->needs_key = false; /* busd looks at the keys itself */
    return 0;
}

static int
open_direct(struct lane *lane, unsigned flags, int64_t deadline_ns)
{
    lane->mode = LANE_DIRECT;
    /* Attached while busd is there, so that a flush works when it is away. */
    int rc = lane_must_flush(lane) ? lane_flush_prepare(lane, flags, deadline_ns) : 0;
    if (rc >= 0 && builder_count(&lane->builder) == 0)
        rc = look_at_rules(lane);
    if (rc < 0)
        lane->mode = LANE_CLOSED;
    return rc;
}

/* Attaches; whoever flushes for the lane hears of a view that is another one. */
static int
view(struct lane *lane, unsigned flags, int64_t deadline_ns)
{
    struct uuid before = lane->attachment.topic_id;
    int rc = attach_renew(&lane->attachment, flags, deadline_ns);
    if (rc == ATTACH_CHANGED)
        /* Release: pairs with the load in lane_flush.c. */
        atomic_fetch_add_explicit(&lane->views, 1, memory_order_release);
    if (memcmp(&before, &lane->attachment.topic_id, sizeof before) != 0)
        lane->flush_end = 0; /* what was not flushed went with the topic */
    return rc;
}

int
lane_open(struct lane *lane, unsigned flags, int64_t deadline_ns)
{
    if (atomic_load_explicit(&lane->topic->producer->closing, memory_order_relaxed))
        return err_set(BUS_ERR_WRONG_STATE, "the producer is being closed");
    int rc = identity_get(lane->topic->producer, flags, deadline_ns);
    if (rc < 0)
        return rc;
    if (settings(lane)->direct == SETTING_DIRECT_NEVER)
        return open_mediated(lane, flags, deadline_ns);
    rc = view(lane, flags, deadline_ns);
    if (rc == -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION)
        topic_refresh(lane->topic, clock_mono_ns()); /* it may have been made anew, with fewer */
    if (rc < 0)
        return rc;
    return rc == ATTACH_MEDIATED ? open_mediated(lane, flags, deadline_ns)
                                 : open_direct(lane, flags, deadline_ns);
}

int
lane_renew(struct lane *lane, int64_t deadline_ns)
{
    int rc = view(lane, 0, deadline_ns);
    if (rc < 0) {
        lane->attachment.retry_ns = producer_coarse_ns() + RENEW_WAIT_MS * 1000000;
        return rc;
    }
    if (rc != ATTACH_MEDIATED)
        return 0;
    attach_fini(&lane->attachment);
    attach_init(&lane->attachment, lane->topic->producer->bus, lane->topic->name, lane->partition,
        ATTACH_WRITE);
    return open_mediated(lane, 0, deadline_ns);
}

void
lane_refresh(struct lane *lane, int64_t now_ns)
{
    struct attachment *attachment = &lane->attachment;
    if (__builtin_expect(attach_stale(attachment), 0) && now_ns >= attachment->retry_ns)
        (void)lane_renew(lane, clock_mono_ns() + RENEW_WAIT_MS * 1000000);
}

bool
lane_is_final(int rc)
{
    switch (-rc) {
    case BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case BUS_ERR_PARTITION_OFFLINE:
    case BUS_ERR_DISK_FULL:
        return true;
    case BUS_ERR_NOT_LEADER_OR_FOLLOWER:
    case BUS_ERR_UNKNOWN_TOPIC_ID:
    case BUS_ERR_CORRUPT_MESSAGE:
        return false;
    default:
        return !bus_err_retriable(rc);
    }
}

void
lane_report_stall(struct lane *lane)
{
    const struct attachment *attachment = &lane->attachment;
    struct report_stall_request request = {.topic_id = attachment->topic_id,
        .partition = lane->partition,
        .generation = (int32_t)attachment->generation,
        .owner = (int32_t)atomic_load_explicit(
            &attachment->view.control->append_lock, memory_order_relaxed)};
    (void)conn_start(
        lane->topic->producer->bus->conn, API_REPORT_STALL, &request, NULL, NULL, NULL);
}

void
lane_appended(struct lane *lane, int64_t end, int64_t now_ns)
{
    lane->no_room_ns = 0;
    if (lane_must_flush(lane))
        lane->flush_end = end;
    struct bus_topic *topic = lane->topic;
    if (__builtin_expect(
            now_ns >= atomic_load_explicit(&topic->refresh_ns, memory_order_relaxed), 0))
        topic_refresh(topic, now_ns);
}

int
lane_append(struct lane *lane, const struct append_batch *batch, struct append_result *result)
{
    int64_t now_ns = producer_coarse_ns();
    lane_refresh(lane, now_ns);
    if (lane->mode != LANE_DIRECT)
        return APPEND_FENCED;
    int rc = shm_append(&lane->attachment.view, batch, now_ns + LOCK_WAIT_MS * 1000000, result);
    if (__builtin_expect(rc == APPEND_DONE, 1)) {
        lane_appended(lane, result->base_offset + batch->offsets, now_ns);
        /* The spare is mapped while busd is there to give it: a roll must not need busd. */
        attach_prefetch(&lane->attachment);
    }
    return rc == APPEND_BUSY && attach_fenced(&lane->attachment) ? APPEND_FENCED : rc;
}

/* ---- records into the batch ----------------------------------------------------------------- */

static int
grow_notes(struct lane *lane)
{
    size_t capacity = lane->note_capacity ? lane->note_capacity * 2 : NOTES_MIN;
    struct note *notes = realloc(lane->notes, capacity * sizeof *notes);
    if (!notes)
        return err_no_memory();
    lane->notes = notes;
    lane->note_capacity = capacity;
    return 0;
}

static int
append_or_send(struct lane *lane, const struct builder_record *record)
{
    int rc = builder_append(&lane->builder, record);
    if (__builtin_expect(rc == BUILDER_FULL, 0)) {
        lane_send(lane);
        rc = builder_append(&lane->builder, record);
    }
    return rc;
}

/* A header is a name and a value with lengths to the builder. */
static int
append_with_headers(
    struct lane *lane, const struct bus_message *message, struct builder_record *record)
{
    struct builder_header few[HEADERS_ON_STACK], *headers = few;
    if (message->header_count > INT32_MAX)
        return err_set(
            BUS_ERR_INVALID_ARGUMENT, "a record with %zu headers", message->header_count);
    if (message->header_count > HEADERS_ON_STACK)
        headers = calloc(message->header_count, sizeof *headers);
    if (!headers)
        return err_no_memory();
    int rc = 0;
    for (size_t i = 0; i < message->header_count && rc == 0; i++) {
        const struct bus_header *from = &message->headers[i];
        size_t key_size = from->key ? strlen(from->key) : 0;
        if (!from->key || key_size > INT32_MAX || from->value_size > INT32_MAX)
            rc = err_set(BUS_ERR_INVALID_ARGUMENT, "header %zu has no key, or is too long", i);
        headers[i] = (struct builder_header){.key = from->key,
            .key_bytes = (int32_t)key_size,
            .value = from->value,
            .value_bytes = from->value ? (int32_t)from->value_size : -1};
    }
    record->headers = headers;
    record->header_count = (int32_t)message->header_count;
    if (rc == 0)
        rc = append_or_send(lane, record);
    if (headers != few)
        free(headers);
    return rc;
}

static int
refuse(const struct lane *lane, const struct bus_message *message)
{
    if (!message->key && lane->needs_key)
        return err_set(BUS_ERR_INVALID_RECORD,
            "topic %s is compacted: every record of it needs a key", lane->topic->name);
    return err_set(BUS_ERR_MESSAGE_TOO_LARGE, "a record of more than 2 GiB");
}

/* The first record of a batch: when must it go? */
static void
begin_linger(struct lane *lane)
{
    int64_t linger_ns = lane->topic->producer->linger_ns;
    if (linger_ns == 0)
        return;
    lane->linger_ns = producer_coarse_ns() + linger_ns;
    if (sender_start(lane->topic->producer) == 0)
        sender_wake(lane, lane->linger_ns);
}

int
lane_put(struct lane *lane, const struct bus_message *message, int64_t timestamp_ms)
{
    if (__builtin_expect((!message->key && lane->needs_key) || message->key_size > INT32_MAX ||
                             message->value_size > INT32_MAX,
            0))
        return refuse(lane, message);
    struct builder_record record = {.ts = timestamp_ms,
        .key = message->key,
        .key_bytes = message->key ? (int32_t)message->key_size : -1,
        .value = message->value,
        .value_bytes = message->value ? (int32_t)message->value_size : -1};
    bool noted = lane->topic->producer->delivered != NULL;
    if (noted && (size_t)builder_count(&lane->builder) >= lane->note_capacity &&
        grow_notes(lane) < 0)
        return -BUS_ERR_NO_MEMORY;
    int rc = __builtin_expect(message->header_count == 0, 1)
                 ? append_or_send(lane, &record)
                 : append_with_headers(lane, message, &record);
    if (rc < 0)
        return err_prefix(rc, "%s-%d", lane->topic->name, lane->partition);
    if (noted)
        lane->notes[builder_count(&lane->builder) - 1] =
            (struct note){.opaque = message->opaque, .timestamp_ms = timestamp_ms};
    if (__builtin_expect(builder_count(&lane->builder) == 1, 0))
        begin_linger(lane);
    return 0;
}

/* ---- batches on their way ------------------------------------------------------------------- */

/* The records of the batch in the builder as a parcel; `told`: with their notes, for the callback.
 */
static struct parcel *
wrap(struct lane *lane, bool told)
{
    struct note *fresh = told ? malloc(NOTES_MIN * sizeof *fresh) : NULL;
    if (told && !fresh) {
        err_no_memory();
        return NULL;
    }
    struct parcel *parcel = parcel_add(lane, PARCEL_WAITING);
    if (!parcel) {
        free(fresh);
        return NULL;
    }
    parcel->records = (uint32_t)builder_count(&lane->builder);
    parcel->timestamp_ms = lane->builder.base_timestamp;
    if (told) {
        parcel_charge(parcel, sizeof *parcel + lane->note_capacity * sizeof *fresh);
        parcel->notes = lane->notes;
        lane->notes = fresh;
        lane->note_capacity = NOTES_MIN;
    }
    return parcel;
}

/* The batch cannot be sent. Returns rc for the one who waits. */
static int
give_up(struct lane *lane, int rc, struct send_waiter *waiter)
{
    struct bus_producer *producer = lane->topic->producer;
    if (waiter)
        return rc;
    struct parcel *parcel = producer->delivered ? wrap(lane, true) : NULL;
    if (parcel)
        parcel_finish(parcel, rc);
    else
        producer_note_error(producer, rc);
    parcel_collect(lane);
    return rc;
}

/* The batch is in the log: who must hear of it? */
static int
appended(struct lane *lane, const struct append_result *result, struct send_waiter *waiter,
    struct bus_delivery *delivery)
{
    struct bus_producer *producer = lane->topic->producer;
    identity_advance(lane);
    if (waiter) {
        *delivery = (struct bus_delivery){.partition = lane->partition,
            .offset = result->base_offset,
            .timestamp_ms = result->log_append_time_ms >= 0 ? result->log_append_time_ms
                                                            : lane->builder.base_timestamp};
        return 0;
    }
    if (!producer->delivered)
        return 0;
    bool flush = lane_must_flush(lane);
    int rc = flush ? sender_start(producer) : 0;
    struct parcel *parcel = rc == 0 ? wrap(lane, true) : NULL;
    if (!parcel)
        return give_up(lane, rc < 0 ? rc : -BUS_ERR_NO_MEMORY, NULL);
    parcel_appended(parcel, result);
    if (flush)
        sender_wake(lane, 0);
    else
        parcel_finish(parcel, 0);
    parcel_collect(lane);
    return 0;
}

/* Hands the batch to the sender. */
static int
queue(struct lane *lane, const void *bytes, size_t size, struct send_waiter *waiter)
{
    struct bus_producer *producer = lane->topic->producer;
    int rc = sender_start(producer);
    if (rc < 0)
        return give_up(lane, rc, waiter);
    uint8_t *copy = malloc(size);
    struct parcel *parcel = copy ? wrap(lane, !waiter && producer->delivered) : NULL;
    if (!parcel) {
        free(copy);
        return give_up(lane, err_no_memory(), waiter);
    }
    memcpy(copy, bytes, size);
    identity_advance(lane);
    parcel_load(parcel, copy, size);
    parcel->waiter = waiter;
    sender_wake(lane, 0);
    return LANE_QUEUED;
}

/* The next records without key go elsewhere. */
static void
move_sticky(struct lane *lane)
{
    struct bus_topic *topic = lane->topic;
    int32_t seen = lane->partition;
    int32_t count = atomic_load_explicit(&topic->partitions, memory_order_relaxed);
    if (count > 1 && atomic_load_explicit(&topic->sticky, memory_order_relaxed) == seen)
        atomic_compare_exchange_strong_explicit(&topic->sticky, &seen,
            (lane->partition + 1) % count, memory_order_relaxed, memory_order_relaxed);
}

/* Failures of a first try after which a second would end the same. */
static bool
is_hopeless(int rc)
{
    switch (-rc) {
    case BUS_ERR_MESSAGE_TOO_LARGE:
    case BUS_ERR_RECORD_LIST_TOO_LARGE:
    case BUS_ERR_PARTITION_OFFLINE:
    case BUS_ERR_WRONG_STATE:
        return true;
    default:
        return false;
    }
}

/* A producer may be faster than busd reserves space. A short wait is cheaper than the way over the
 * sender, and slows down whom it should. */
static int
append_patiently(struct lane *lane, const struct append_batch *batch, struct append_result *result)
{
    int rc = lane_append(lane, batch, result);
    if (__builtin_expect(rc != APPEND_NO_ROOM, 1) || lane->no_room_ns)
        return rc;
    int64_t wait_ms = settings(lane)->max_block_ms;
    int64_t until_ns =
        clock_mono_ns() + (wait_ms < ROOM_WAIT_MS ? wait_ms : ROOM_WAIT_MS) * 1000000;
    while (rc == APPEND_NO_ROOM && clock_mono_ns() < until_ns) {
        struct timespec pause = {.tv_nsec = ROOM_PAUSE_US * 1000};
        nanosleep(&pause, NULL);
        rc = lane_append(lane, batch, result);
    }
    return rc;
}

static int
dispatch(struct lane *lane, struct send_waiter *waiter, struct bus_delivery *delivery)
{
    const void *bytes;
    size_t size;
    identity_stamp(lane);
    int rc = builder_finish(&lane->builder, &bytes, &size);
    if (rc < 0)
        return give_up(lane, rc, waiter);
    if (lane->mode != LANE_DIRECT || lane->unsent > 0)
        return queue(lane, bytes, size, waiter);
    struct append_batch batch = {.bytes = bytes,
        .size_bytes = size,
        .offsets = (uint32_t)builder_count(&lane->builder),
        .flush = lane_must_flush(lane)};
    struct append_result result;
    rc = append_patiently(lane, &batch, &result);
    if (__builtin_expect(rc == APPEND_DONE, 1))
        return appended(lane, &result, waiter, delivery);
    if (rc < 0 && is_hopeless(rc))
        return give_up(lane, err_prefix(rc, "%s-%d", lane->topic->name, lane->partition), waiter);
    return queue(lane, bytes, size, waiter);
}

int
lane_send_waiting(struct lane *lane, struct send_waiter *waiter, struct bus_delivery *delivery)
{
    int rc = dispatch(lane, waiter, delivery);
    move_sticky(lane);
    lane->linger_ns = 0;
    builder_reset(&lane->builder, &lane->topic->producer->builder_options);
    int failed = look_at_rules(lane);
    if (failed < 0)
        producer_note_error(lane->topic->producer, failed);
    return rc;
}

void
lane_send(struct lane *lane)
{
    if (lane->built && builder_count(&lane->builder) > 0)
        (void)lane_send_waiting(lane, NULL, NULL);
}

int
lane_abandon(struct lane *lane)
{
    struct bus_producer *producer = lane->topic->producer;
    int rc = 0;
    lane->mode = LANE_CLOSED;
    int late = err_set(BUS_ERR_TIMED_OUT, "%s-%d: the producer was closed before it was delivered",
        lane->topic->name, lane->partition);
    for (struct parcel *parcel = lane->queue.head; parcel; parcel = parcel->next) {
        if (parcel->state == PARCEL_IN_FLIGHT)
            conn_cancel(producer->bus->conn, parcel->call);
        if (parcel->state != PARCEL_DONE)
            parcel_finish(parcel, rc = late);
    }
    /* What a callback has sent while we were closing. */
    if (lane->built && builder_count(&lane->builder) > 0) {
        rc = give_up(lane, late, NULL);
        builder_reset(&lane->builder, &producer->builder_options);
    }
    parcel_collect(lane);
    return rc;
}
