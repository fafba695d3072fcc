/* SPDX-License-Identifier: Apache-2.0
 * Loans: the application writes the value into the log itself.
 */
#include "base/clock.h"
#include "client/producer.h"
#include "client/send.h"
#include "record/batch_header.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    LOCK_WAIT_MS = 20, /* for the append lock, before the stall is reported */
    ROOM_PAUSE_MS = 2, /* between two tries */
    RENEW_WAIT_MS = 500,
};

/* Outcome of try_room(). */
enum { ROOM_LATER = 1 };

/* What lies behind bus_loan.owner. A direct loan holds the lane's lock and the append lock. */
struct loan {
    struct lane *lane;
    bool direct;
    struct append_loan room; /* direct */
    uint8_t *bytes;          /* the batch: in the log, or owned */
    size_t size;
    int64_t timestamp_ms;
};

static int
wrong_size(size_t key_size, size_t value_size)
{
    if (key_size <= INT32_MAX / 2 && value_size <= INT32_MAX / 2)
        return 0;
    return err_set(BUS_ERR_MESSAGE_TOO_LARGE, "a loan of %zu bytes", value_size);
}

static void
rest(void)
{
    struct timespec pause = {.tv_nsec = ROOM_PAUSE_MS * 1000000};
    nanosleep(&pause, NULL);
}

/* Writes all but the value; gives where the value goes. */
static size_t
write_frame(const struct loan *loan, const void *key, size_t key_size, size_t value_size)
{
    struct batch_single single = {.ts = loan->timestamp_ms,
        .key = key,
        .key_bytes = key ? (int32_t)key_size : -1,
        .value_bytes = (int32_t)value_size,
        .producer_id = -1,
        .producer_epoch = -1,
        .base_sequence = -1};
    return batch_single_begin(loan->bytes, &single);
}

/* One try for room in the log. 0: there it is; ROOM_LATER: another may help; or a failure. */
static int
try_room(struct loan *loan)
{
    struct lane *lane = loan->lane;
    int64_t now_ns = clock_mono_ns();
    int rc = shm_loan_begin(
        &lane->attachment.view, loan->size, now_ns + LOCK_WAIT_MS * 1000000, &loan->room);
    if (rc == APPEND_BUSY && attach_fenced(&lane->attachment))
        rc = APPEND_FENCED;
    switch (rc) {
    case APPEND_DONE:
        loan->bytes = loan->room.bytes;
        return 0;
    case APPEND_NO_ROOM:
        err_set(BUS_ERR_DISK_FULL, "no room in the log: the disk is full, or busd is away");
        return ROOM_LATER;
    case APPEND_BUSY:
        lane_report_stall(lane);
        err_set(BUS_ERR_REQUEST_TIMED_OUT, "another writer holds the append lock");
        return ROOM_LATER;
    case APPEND_FENCED:
    case -BUS_ERR_NOT_LEADER_OR_FOLLOWER:
    case -BUS_ERR_UNKNOWN_TOPIC_ID:
    case -BUS_ERR_CORRUPT_MESSAGE:
        rc = lane_renew(lane, now_ns + RENEW_WAIT_MS * INT64_C(1000000));
        break;
    default:
        break;
    }
    if (rc == -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION)
        lane->mode = LANE_CLOSED; /* the next call finds the one that was created anew */
    return rc == 0 || !lane_is_final(rc) ? ROOM_LATER : rc;
}

/* Waits until nothing of this lane is left to send, so that the loan's record keeps its place. */
static int
await_queue(struct lane *lane, int64_t deadline_ns)
{
    while (lane->unsent > 0) {
        if (clock_mono_ns() >= deadline_ns)
            return err_set(BUS_ERR_QUEUE_FULL, "earlier records still wait for the log");
        pthread_mutex_unlock(&lane->lock);
        rest();
        pthread_mutex_lock(&lane->lock);
    }
    return 0;
}

/* Room in the log, the lane's lock held before and after. */
static int
lend_direct(struct loan *loan)
{
    struct lane *lane = loan->lane;
    int64_t deadline_ns = clock_mono_ns() + lane->topic->producer->settings.max_block_ms * 1000000;
    int rc = await_queue(lane, deadline_ns);
    if (rc < 0)
        return rc;
    lane_refresh(lane, producer_coarse_ns());
    while ((rc = lane->mode == LANE_DIRECT ? try_room(loan) : 0) == ROOM_LATER &&
           clock_mono_ns() < deadline_ns)
        rest();
    if (rc == ROOM_LATER)
        return err_prefix(-BUS_ERR_QUEUE_FULL, "%s-%d", lane->topic->name, lane->partition);
    loan->direct = rc == 0 && lane->mode == LANE_DIRECT;
    return rc;
}

static int
choose(struct bus_topic *topic, int32_t partition, const void *key, size_t key_size)
{
    struct bus_message message = {.partition = partition, .key = key, .key_size = key_size};
    return send_choose(topic, &message);
}

/* Fills a loan that has its lane, locked. On success the lock stays with a direct loan. */
static int
lend(struct loan *loan, const void *key, size_t key_size, size_t value_size)
{
    struct lane *lane = loan->lane;
    lane_send(lane); /* what was sent before goes before */
    if (!key && lane->needs_key)
        return err_set(BUS_ERR_INVALID_RECORD,
            "topic %s is compacted: every record of it needs a key", lane->topic->name);
    loan->size = batch_single_bytes(key ? (int32_t)key_size : -1, (int32_t)value_size);
    int rc = lane->mode == LANE_DIRECT ? lend_direct(loan) : 0;
    if (rc < 0)
        return err_prefix(rc, "%s-%d", lane->topic->name, lane->partition);
    if (!loan->direct)
        loan->bytes = malloc(loan->size);
    return loan->bytes ? 0 : err_no_memory();
}

int
bus_loan(struct bus_topic *topic, int32_t partition, const void *key, size_t key_size,
    size_t value_size, struct bus_loan *loan)
{
    *loan = (struct bus_loan){0};
    int rc = wrong_size(key_size, value_size);
    int chosen = rc < 0 ? rc : choose(topic, partition, key, key_size);
    if (chosen < 0)
        return chosen;
    struct loan *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return err_no_memory();
    rc = send_enter(topic, chosen, &fresh->lane);
    if (rc < 0) {
        free(fresh);
        return rc;
    }
    rc = lend(fresh, key, key_size, value_size);
    if (rc < 0 || !fresh->direct)
        pthread_mutex_unlock(&fresh->lane->lock);
    if (rc < 0) {
        free(fresh);
        return rc;
    }
    fresh->timestamp_ms = clock_wall_coarse_ms();
    size_t value_at = write_frame(fresh, key, key_size, value_size);
    *loan = (struct bus_loan){
        .value = fresh->bytes + value_at, .value_size = value_size, .owner = fresh};
    return 0;
}

/* Publishes a direct loan and gives the lane back. */
static int
commit_direct(struct loan *loan, struct bus_delivery *delivery)
{
    struct lane *lane = loan->lane;
    int64_t offset = loan->room.base_offset;
    batch_single_finish(loan->bytes, loan->size);
    batch_patch(loan->bytes, offset, loan->room.leader_epoch);
    if (loan->room.log_append_time) {
        loan->timestamp_ms = clock_wall_ms();
        batch_stamp_log_append(loan->bytes, loan->size, loan->timestamp_ms);
    }
    int rc = shm_loan_commit(&lane->attachment.view, &loan->room, 1);
    if (rc == 0)
        lane_appended(lane, offset + 1, producer_coarse_ns());
    bool flush = rc == 0 && lane_must_flush(lane);
    pthread_mutex_unlock(&lane->lock);
    *delivery = (struct bus_delivery){.partition = lane->partition,
        .offset = rc == 0 ? offset : -1,
        .timestamp_ms = loan->timestamp_ms};
    if (flush)
        rc = send_flush(lane, offset + 1);
    return err_prefix(rc, "%s-%d", lane->topic->name, lane->partition);
}

/* Sends private room through the queue of the lane, as a batch that is built already. */
static int
commit_mediated(struct loan *loan, struct bus_delivery *delivery)
{
    struct lane *lane = loan->lane;
    struct bus_producer *producer = lane->topic->producer;
    struct send_waiter waiter = {.done = false};
    batch_single_finish(loan->bytes, loan->size);
    int rc = sender_start(producer);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&lane->lock);
    lane_send(lane);
    struct parcel *parcel = parcel_add(lane, PARCEL_WAITING);
    if (parcel) {
        parcel_load(parcel, loan->bytes, loan->size);
        parcel->records = 1;
        parcel->timestamp_ms = loan->timestamp_ms;
        parcel->waiter = &waiter;
        loan->bytes = NULL;
        sender_wake(lane, 0);
    }
    pthread_mutex_unlock(&lane->lock);
    return parcel ? send_await(producer, &waiter, delivery) : -BUS_ERR_NO_MEMORY;
}

int
bus_commit(struct bus_loan *loan, struct bus_delivery *delivery)
{
    struct loan *old = loan->owner;
    *loan = (struct bus_loan){0};
    if (!old)
        return err_set(BUS_ERR_WRONG_STATE, "this loan is over");
    struct bus_producer *producer = old->lane->topic->producer;
    struct bus_delivery result = {.partition = old->lane->partition, .offset = -1};
    int rc = old->direct ? commit_direct(old, &result) : commit_mediated(old, &result);
    if (!old->direct)
        free(old->bytes);
    free(old);
    producer_deliver(producer);
    result.error = rc;
    if (delivery)
        *delivery = result;
    return rc;
}

void
bus_abort(struct bus_loan *loan)
{
    struct loan *old = loan->owner;
    *loan = (struct bus_loan){0};
    if (!old)
        return;
    if (old->direct) {
        shm_loan_abort(&old->lane->attachment.view, &old->room);
        pthread_mutex_unlock(&old->lane->lock);
    } else {
        free(old->bytes);
    }
    free(old);
}
