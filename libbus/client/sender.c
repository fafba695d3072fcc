/* SPDX-License-Identifier: Apache-2.0
 * The thread that brings parcels to their end: retries appends, sends through the socket, flushes
 * for acks=all, and sends batches whose linger.ms is over.
 */
#include "base/clock.h"
#include "client/producer.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROOM_PAUSE_MS = 2,       /* between two looks for room in the log */
    STALL_PAUSE_MS = 10,     /* between two reports of a lock that does not move */
    BUSD_WAIT_MS = 500,      /* for an answer of busd's, while others wait for the lane */
    ROOM_PATIENCE_MS = 1000, /* without room for so long, busd itself is asked to append */
    FLUSH_TURN_MS = 1000,    /* no lane keeps the others from the sender for longer */
    LANES_AT_ONCE = 64,
};

#define NEVER_NS INT64_MAX

static int64_t
sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t
after_ms(int64_t now_ns, int64_t ms)
{
    return now_ns + ms * 1000000;
}

/* ---- one lane, its lock held ---------------------------------------------------------------- */

static const struct settings *
settings(const struct lane *lane)
{
    return &lane->topic->producer->settings;
}

/* The text for a parcel that ran out of time: what stood in the way. */
static int
too_late(const struct parcel *parcel)
{
    const struct lane *lane = parcel->lane;
    if (lane->no_room_ns)
        return err_set(BUS_ERR_DISK_FULL,
            "%s-%d has no room: make space if the disk of busd is full, or start busd if it is "
            "away",
            lane->topic->name, lane->partition);
    if (parcel->text)
        return err_set(BUS_ERR_REQUEST_TIMED_OUT, "not delivered within delivery.timeout.ms: %s",
            parcel->text);
    return err_set(BUS_ERR_REQUEST_TIMED_OUT, "%s-%d: not delivered within delivery.timeout.ms",
        lane->topic->name, lane->partition);
}

/* Remembers why it did not work this time. Returns when to try again. */
static int64_t
try_later(struct parcel *parcel, int64_t now_ns, int64_t pause_ms)
{
    free(parcel->text);
    parcel->text = strdup(err_text());
    parcel->retry_ns = after_ms(now_ns, pause_ms);
    return parcel->retry_ns;
}

/* The log has no room for the head of the queue. */
static int64_t
no_room(struct parcel *parcel, int64_t now_ns)
{
    struct lane *lane = parcel->lane;
    if (!lane->no_room_ns)
        lane->no_room_ns = now_ns;
    int64_t since_ns = now_ns - lane->no_room_ns;
    /* busd knows whether the disk is full, and tells at once. */
    if (since_ns > ROOM_PATIENCE_MS * INT64_C(1000000) && identity_settle(lane) &&
        mediate_start(parcel) == 0)
        return NEVER_NS;
    if (since_ns > settings(lane)->max_block_ms * 1000000) {
        parcel_finish(parcel, too_late(parcel));
        return now_ns;
    }
    return after_ms(now_ns, ROOM_PAUSE_MS);
}

/* Attaches again, or for the first time. Returns when to go on. */
static int64_t
renew(struct parcel *parcel, int64_t now_ns)
{
    struct lane *lane = parcel->lane;
    int64_t deadline_ns = after_ms(now_ns, BUSD_WAIT_MS);
    int rc = lane->mode == LANE_CLOSED ? lane_open(lane, CONN_WAIT, deadline_ns)
                                       : lane_renew(lane, deadline_ns);
    if (rc == 0 && lane->mode == LANE_DIRECT && attach_fenced(&lane->attachment)) {
        rc = err_set(BUS_ERR_NOT_LEADER_OR_FOLLOWER, "busd has not begun a new generation yet");
        return try_later(parcel, now_ns, settings(lane)->retry_backoff_ms);
    }
    if (rc == 0)
        return now_ns;
    if (!lane_is_final(rc))
        return try_later(parcel, now_ns, settings(lane)->retry_backoff_ms);
    lane->mode = LANE_CLOSED;
    parcel_finish(parcel, rc);
    return now_ns;
}

/* The batch may be in the log already, which only busd can tell: it goes through the socket again,
 * also where this lane could append it. */
static int64_t
ask_busd(struct parcel *parcel, int64_t now_ns)
{
    struct lane *lane = parcel->lane;
    if (!identity_settle(lane))
        return NEVER_NS;
    int rc = mediate_start(parcel);
    if (rc == 0)
        return NEVER_NS;
    if (bus_err_retriable(rc))
        return try_later(parcel, now_ns, settings(lane)->retry_backoff_ms);
    parcel_finish(parcel, rc);
    return now_ns;
}

/* One try with the head of the queue. Returns when to go on: now, later, or never by itself. */
static int64_t
append_head(struct parcel *parcel, int64_t now_ns)
{
    struct lane *lane = parcel->lane;
    struct append_batch batch = {.bytes = parcel->bytes,
        .size_bytes = parcel->size,
        .offsets = parcel->records,
        .flush = lane_must_flush(lane)};
    struct append_result result;
    if (parcel->unknown)
        return ask_busd(parcel, now_ns);
    int rc = lane_append(lane, &batch, &result);
    switch (rc) {
    case APPEND_DONE:
        parcel_appended(parcel, &result);
        if (!lane_must_flush(lane))
            parcel_finish(parcel, 0);
        return now_ns;
    case APPEND_NO_ROOM:
        return no_room(parcel, now_ns);
    case APPEND_BUSY:
        lane_report_stall(lane);
        err_set(BUS_ERR_REQUEST_TIMED_OUT, "another writer holds the append lock of %s-%d",
            lane->topic->name, lane->partition);
        return try_later(parcel, now_ns, STALL_PAUSE_MS);
    case APPEND_FENCED:
    case -BUS_ERR_NOT_LEADER_OR_FOLLOWER:
    case -BUS_ERR_UNKNOWN_TOPIC_ID:
    case -BUS_ERR_CORRUPT_MESSAGE:
        if (rc < 0)
            try_later(parcel, now_ns, settings(lane)->retry_backoff_ms);
        return lane->mode == LANE_DIRECT ? renew(parcel, now_ns) : now_ns;
    default:
        err_prefix(rc, "%s-%d", lane->topic->name, lane->partition);
        if (!lane_is_final(rc))
            return try_later(parcel, now_ns, settings(lane)->retry_backoff_ms);
        if (rc == -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION)
            lane->mode = LANE_CLOSED;
        parcel_finish(parcel, rc);
        return now_ns;
    }
}

/* Fails what has been on its way for too long. */
static void
expire(struct lane *lane, int64_t now_ns)
{
    struct bus_producer *producer = lane->topic->producer;
    for (struct parcel *parcel = lane->queue.head; parcel; parcel = parcel->next) {
        if (parcel->deadline_ns > now_ns || parcel->state == PARCEL_DONE)
            continue;
        if (parcel->state == PARCEL_IN_FLIGHT) {
            conn_cancel(producer->bus->conn, parcel->call);
            pthread_mutex_lock(&producer->lock);
            bool answered = parcel->answered;
            pthread_mutex_unlock(&producer->lock);
            if (answered)
                continue;
        }
        if (parcel->state != PARCEL_APPENDED) /* the flush has a deadline of its own */
            parcel_finish(parcel, too_late(parcel));
    }
}

/* Sends what may go through the socket now. Returns when to look again. */
static int64_t
mediate_queue(struct lane *lane, int64_t now_ns)
{
    if (!identity_settle(lane))
        return NEVER_NS;
    for (struct parcel *parcel = lane->queue.head; parcel; parcel = parcel->next) {
        if (parcel->state != PARCEL_WAITING)
            continue;
        if (lane->in_flight >= settings(lane)->max_in_flight)
            return NEVER_NS;
        if (parcel->retry_ns > now_ns)
            return parcel->retry_ns;
        int rc = mediate_start(parcel);
        if (rc < 0 && !bus_err_retriable(rc))
            parcel_finish(parcel, rc);
        else if (rc < 0)
            return try_later(parcel, now_ns, settings(lane)->retry_backoff_ms);
    }
    return NEVER_NS;
}

static struct parcel *
first_unsent(struct parcel *parcel)
{
    while (parcel && parcel->state != PARCEL_WAITING && parcel->state != PARCEL_IN_FLIGHT)
        parcel = parcel->next;
    return parcel;
}

/* Moves the queue on as far as it goes. Returns when to look again. */
static int64_t
drive_queue(struct lane *lane, int64_t now_ns)
{
    expire(lane, now_ns);
    /* What was sent stays in the queue until somebody takes it out: looking at all of that again
     * for each batch would cost more than the batches when many have gathered. */
    struct parcel *parcel = lane->queue.head;
    for (;;) {
        parcel = first_unsent(parcel);
        if (!parcel)
            return NEVER_NS;
        int64_t expires_ns = parcel->deadline_ns;
        if (lane->mode == LANE_MEDIATED)
            return sooner(mediate_queue(lane, now_ns), expires_ns);
        if (parcel->state == PARCEL_IN_FLIGHT)
            return expires_ns;
        if (parcel->retry_ns > now_ns)
            return sooner(parcel->retry_ns, expires_ns);
        int64_t next_ns =
            lane->mode == LANE_CLOSED ? renew(parcel, now_ns) : append_head(parcel, now_ns);
        if (next_ns > now_ns)
            return sooner(next_ns, expires_ns);
    }
}

static int64_t
linger_left(struct lane *lane, int64_t now_ns)
{
    if (lane->linger_ns == 0 || builder_count(&lane->builder) == 0)
        return NEVER_NS;
    if (lane->linger_ns > now_ns)
        return lane->linger_ns;
    lane_send(lane);
    return NEVER_NS;
}

/* What waits for a flush; 0: nothing. */
struct flush_wish {
    int64_t end;         /* offset behind the last record that waits */
    int64_t deadline_ns; /* of the first */
};

static struct flush_wish
look_for_flush(const struct lane *lane)
{
    struct flush_wish wish = {.deadline_ns = NEVER_NS};
    for (const struct parcel *parcel = lane->queue.head; parcel; parcel = parcel->next) {
        if (parcel->state != PARCEL_APPENDED)
            continue;
        wish.end = parcel->base_offset + parcel->records;
        wish.deadline_ns = sooner(wish.deadline_ns, parcel->deadline_ns);
    }
    return wish;
}

/* The flush up to `end` came to `rc`. What ran into the turn's end is flushed in the next one. */
static void
flushed(struct lane *lane, int64_t end, int rc, int64_t now_ns)
{
    for (struct parcel *parcel = lane->queue.head; parcel; parcel = parcel->next) {
        if (parcel->state != PARCEL_APPENDED || parcel->base_offset + parcel->records > end)
            continue;
        if (rc != -BUS_ERR_TIMED_OUT)
            parcel_finish(parcel, rc);
        else if (parcel->deadline_ns <= now_ns)
            parcel_finish(parcel, -BUS_ERR_REQUEST_TIMED_OUT);
    }
}

/* Does what there is to do for a lane. Returns when to look again. */
static int64_t
drive(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    int64_t now_ns = clock_mono_ns();
    int64_t next_ns = linger_left(lane, now_ns);
    next_ns = sooner(next_ns, drive_queue(lane, now_ns));
    struct flush_wish wish = look_for_flush(lane);
    parcel_collect(lane);
    pthread_mutex_unlock(&lane->lock);
    if (wish.end == 0)
        return next_ns;
    int rc = lane_flush(lane, wish.end, sooner(wish.deadline_ns, after_ms(now_ns, FLUSH_TURN_MS)));
    pthread_mutex_lock(&lane->lock);
    now_ns = clock_mono_ns();
    flushed(lane, wish.end, rc, now_ns);
    parcel_collect(lane);
    /* Others may have appended while the disk worked. */
    if (look_for_flush(lane).end != 0 || lane->unsent > 0)
        next_ns = now_ns;
    pthread_mutex_unlock(&lane->lock);
    return next_ns;
}

/* ---- the thread ----------------------------------------------------------------------------- */

static void
take_answers(struct bus_producer *producer)
{
    pthread_mutex_lock(&producer->lock);
    struct parcel *parcel = producer->arrived;
    producer->arrived = NULL;
    for (struct parcel *p = parcel; p; p = p->next_arrived)
        p->answered = false;
    pthread_mutex_unlock(&producer->lock);
    while (parcel) {
        struct parcel *next = parcel->next_arrived;
        struct lane *lane = parcel->lane;
        pthread_mutex_lock(&lane->lock);
        mediate_answered(parcel, clock_mono_ns());
        parcel_collect(lane);
        pthread_mutex_unlock(&lane->lock);
        sender_wake(lane, 0);
        parcel = next;
    }
}

/* Takes lanes whose time has come out of the list. producer->lock held. */
static int
take_lanes(struct bus_producer *producer, int64_t now_ns, struct lane **lanes, int64_t *next_ns)
{
    int count = 0;
    struct lane **at = &producer->work_head;
    *next_ns = NEVER_NS;
    while (*at) {
        struct lane *lane = *at;
        if (lane->work_ns > now_ns) {
            *next_ns = sooner(*next_ns, lane->work_ns);
            at = &lane->next_work;
        } else if (count < LANES_AT_ONCE) {
            *at = lane->next_work;
            lane->has_work = false;
            lanes[count++] = lane;
        } else {
            *next_ns = now_ns;
            break;
        }
    }
    return count;
}

/* Sleeps until a lane's time comes or somebody wakes. producer->lock held. */
static void
sleep_until(struct bus_producer *producer, int64_t until_ns)
{
    producer->sleeps_until_ns = until_ns;
    if (until_ns == NEVER_NS) {
        pthread_cond_wait(&producer->work, &producer->lock);
    } else {
        struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
        pthread_cond_timedwait(&producer->work, &producer->lock, &until);
    }
    producer->sleeps_until_ns = 0;
}

static void *
run(void *arg)
{
    struct bus_producer *producer = arg;
    struct lane *lanes[LANES_AT_ONCE];
    for (;;) {
        take_answers(producer);
        int64_t next_ns;
        pthread_mutex_lock(&producer->lock);
        bool stopping = producer->stopping;
        int count = take_lanes(producer, clock_mono_ns(), lanes, &next_ns);
        if (!stopping && count == 0 && !producer->arrived)
            sleep_until(producer, next_ns);
        pthread_mutex_unlock(&producer->lock);
        if (stopping)
            return NULL;
        for (int i = 0; i < count; i++) {
            int64_t again_ns = drive(lanes[i]);
            if (again_ns != NEVER_NS)
                sender_wake(lanes[i], again_ns);
        }
        producer_deliver(producer);
    }
}

int
sender_start(struct bus_producer *producer)
{
    int rc = 0;
    pthread_mutex_lock(&producer->lock);
    if (!producer->sender_started) {
        sigset_t all, old;
        sigfillset(&all);
        sigdelset(&all, SIGBUS); /* shm/guard.h */
        pthread_sigmask(SIG_SETMASK, &all, &old);
        int errnum = pthread_create(&producer->sender, NULL, run, producer);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (errnum == 0)
            producer->sender_started = true;
        else
            rc = err_sys(errnum, "start the sender of the producer");
    }
    pthread_mutex_unlock(&producer->lock);
    return rc;
}

void
sender_wake(struct lane *lane, int64_t at_ns)
{
    struct bus_producer *producer = lane->topic->producer;
    pthread_mutex_lock(&producer->lock);
    if (!lane->has_work) {
        lane->has_work = true;
        lane->work_ns = at_ns;
        lane->next_work = producer->work_head;
        producer->work_head = lane;
    } else {
        lane->work_ns = sooner(lane->work_ns, at_ns);
    }
    if (at_ns < producer->sleeps_until_ns)
        pthread_cond_signal(&producer->work);
    pthread_mutex_unlock(&producer->lock);
}

void
sender_stop(struct bus_producer *producer)
{
    pthread_mutex_lock(&producer->lock);
    bool started = producer->sender_started;
    producer->stopping = true;
    pthread_cond_signal(&producer->work);
    pthread_mutex_unlock(&producer->lock);
    if (started)
        pthread_join(producer->sender, NULL);
    producer->sender_started = false;
    take_answers(producer);
}
