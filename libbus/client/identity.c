/* SPDX-License-Identifier: Apache-2.0
 * Idempotence: a producer's id, the sequence numbers of its batches in each partition, and what an
 * answer says about them.
 *
 * An append to the mapped log happens or does not, and the writer knows. A batch that went through
 * the socket may be in the log although no answer came: it keeps its sequence number and goes
 * through busd again, which knows it by that. When busd says that a batch is out of order, and no
 * earlier one of the lane is on its way, then neither it nor any behind it is in the log: they are
 * numbered anew in the next epoch. That is how a batch that failed for good is closed up.
 */
#include "client/producer.h"
#include "record/batch_header.h"

enum { IN_FLIGHT_MAX = 5 }; /* batches of which busd recognises a repetition */

static bool
is_possible(const struct settings *settings)
{
    return settings->acks == SETTING_ACKS_ALL && settings->max_in_flight <= IN_FLIGHT_MAX &&
           settings->retries > 0;
}

int
identity_init(struct bus_producer *producer)
{
    const struct settings *settings = &producer->settings;
    bool possible = is_possible(settings);
    producer->producer_id = -1;
    bool off = settings->enable_idempotence == SETTING_IDEMPOTENCE_FALSE || !possible;
    atomic_store_explicit(
        &producer->identity, off ? IDENTITY_OFF : IDENTITY_WANTED, memory_order_relaxed);
    if (settings->enable_idempotence != SETTING_IDEMPOTENCE_TRUE || possible)
        return 0;
    return err_set(BUS_ERR_INVALID_CONFIG,
        "enable.idempotence needs acks=all, max.in.flight.requests.per.connection of at most %d "
        "and retries above 0",
        IN_FLIGHT_MAX);
}

/* Takes what busd gave, unless another lane was faster. */
static void
settle(struct bus_producer *producer, int64_t id, enum identity_state state)
{
    pthread_mutex_lock(&producer->lock);
    if (atomic_load_explicit(&producer->identity, memory_order_relaxed) == IDENTITY_WANTED) {
        producer->producer_id = id;
        /* Release: pairs with the load in identity_get(); the id is there. */
        atomic_store_explicit(&producer->identity, state, memory_order_release);
    }
    pthread_mutex_unlock(&producer->lock);
}

int
identity_get(struct bus_producer *producer, unsigned flags, int64_t deadline_ns)
{
    /* Acquire: pairs with the store in settle(). */
    if (atomic_load_explicit(&producer->identity, memory_order_acquire) != IDENTITY_WANTED)
        return 0;
    struct init_producer_id_request request = {.producer_id = -1, .producer_epoch = -1};
    struct conn_reply *reply;
    int rc = conn_call(producer->bus->conn, API_INIT_PRODUCER_ID, &request, flags | CONN_AGAIN,
        deadline_ns, &reply);
    /* A busd from before idempotence: what nobody has asked for is done without. */
    if (rc == -BUS_ERR_UNSUPPORTED_VERSION &&
        producer->settings.enable_idempotence == SETTING_IDEMPOTENCE_AUTO) {
        settle(producer, -1, IDENTITY_OFF);
        return 0;
    }
    if (rc < 0)
        return err_prefix(rc, "asking for a producer id");
    const struct init_producer_id_response *answer = reply->message;
    rc = conn_refused(answer->error_code, NULL);
    if (rc == 0 && answer->producer_id < 0)
        rc = err_set(BUS_ERR_UNKNOWN_SERVER_ERROR, "busd's answer has no id");
    if (rc == 0)
        settle(producer, answer->producer_id, IDENTITY_KNOWN);
    conn_reply_free(&reply);
    return err_prefix(rc, "asking for a producer id");
}

bool
identity_numbers(const struct lane *lane)
{
    return lane->topic->producer->producer_id >= 0;
}

void
identity_stamp(struct lane *lane)
{
    if (identity_numbers(lane))
        builder_set_producer(
            &lane->builder, lane->topic->producer->producer_id, lane->epoch, lane->sequence);
}

void
identity_advance(struct lane *lane)
{
    if (identity_numbers(lane))
        lane->sequence =
            (int32_t)(((uint32_t)lane->sequence + (uint32_t)builder_count(&lane->builder)) &
                      INT32_MAX);
}

/* Whether something of the lane that was sent before is still on its way. */
static bool
is_first(const struct parcel *parcel)
{
    const struct parcel *at = parcel->lane->queue.head;
    while (at != parcel && at->state != PARCEL_WAITING && at->state != PARCEL_IN_FLIGHT)
        at = at->next;
    return at == parcel;
}

bool
identity_may_retry(struct parcel *parcel, int rc)
{
    if (!identity_numbers(parcel->lane))
        return false;
    if (rc != -BUS_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER) {
        parcel->unknown = true;
        return false;
    }
    if (!is_first(parcel))
        return true;
    parcel->lane->renumber = parcel->lane->epoch < INT16_MAX;
    return parcel->lane->renumber;
}

/* Gives a batch that waits the lane's next number. */
static void
number(struct lane *lane, struct parcel *parcel)
{
    struct batch_header header;
    if (batch_header_read(parcel->bytes, parcel->size, &header) != BATCH_OK)
        return;
    header.producer_id = lane->topic->producer->producer_id;
    header.producer_epoch = lane->epoch;
    header.base_sequence = lane->sequence;
    batch_header_write(parcel->bytes, &header);
    batch_seal(parcel->bytes, parcel->size);
    parcel->unknown = false;
    lane->sequence =
        (int32_t)(((uint32_t)lane->sequence + (uint32_t)header.last_offset_delta + 1) & INT32_MAX);
}

bool
identity_settle(struct lane *lane)
{
    if (!lane->renumber)
        return true;
    if (lane->in_flight > 0)
        return false;
    lane->renumber = false;
    lane->epoch++;
    lane->sequence = 0;
    for (struct parcel *parcel = lane->queue.head; parcel; parcel = parcel->next)
        if (parcel->state == PARCEL_WAITING)
            number(lane, parcel);
    return true;
}
