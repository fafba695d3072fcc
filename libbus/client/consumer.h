/* SPDX-License-Identifier: Apache-2.0
 * Inside of a consumer.
 *
 * Each assigned partition is a *part*: an attachment for reading, a cursor over its batches and,
 * while a batch is being given out, an iterator over its records. A poll takes the parts in turn.
 */
#ifndef CLIENT_CONSUMER_H
#define CLIENT_CONSUMER_H

#include "client/attach.h"
#include "client/commits.h"
#include "record/batch.h"
#include "shm/cursor.h"
#include "shm/wait.h"

#include <bus/consumer.h>
#include <pthread.h>

enum {
    CONSUMER_RECORDS_MAX = 100000, /* of one poll */
    CONSUMER_PARTS_MAX = 10000,
};

struct membership;

struct part {
    struct attachment attachment;
    struct cursor cursor;
    struct batch_iter iter;
    bool in_batch; /* `iter` has records to give */
    bool paused;
    bool broken;         /* `iter` met damage behind the records that it gave */
    bool gone;           /* of a member: the topic was deleted, which was told */
    bool lacks_position; /* of a member with auto.offset.reset=none: nothing was committed */
    char *topic;         /* owned */
    int32_t partition;
    int64_t position;    /* the next offset to give */
    int64_t committed;   /* what the group has stored; -1: not known */
    int64_t batch_next;  /* behind the batch of `iter` */
    int64_t fresh_from;  /* what lies here or behind was published while we watched */
    int64_t retry_ns;    /* nothing to be had before this time; 0: look at once */
    struct buf packed;   /* a private copy of a compressed batch */
    struct buf unpacked; /* its records */
};

struct bus_consumer {
    struct bus *bus;
    struct settings settings;
    enum cursor_isolation isolation;
    struct part **parts; /* owned, each too */
    size_t count;
    size_t turn;           /* the part that is next */
    int64_t spin_ns;       /* how long the next wait spins */
    unsigned waits;        /* so far */
    _Atomic uint32_t wake; /* bumped by bus_wakeup() */
    uint32_t wake_seen;

    struct membership *membership; /* owned; NULL: not subscribed */
    struct commits commits;
    _Atomic uint32_t group_word; /* bumped when the group, or a commit, wants the application */
    uint32_t group_seen;
    bus_rebalanced *rebalanced;
    void *rebalanced_context;

    /* bus_consumer_fd(): every call takes the lock once there is a watcher. */
    bool watched;
    pthread_mutex_t lock;
    pthread_cond_t armed_now;
    pthread_t watcher;
    int event_fd;
    bool armed;
    bool stopping;
    _Atomic uint32_t watch_word; /* wakes the watcher */
};

/** Whether group_word has moved since the last consumer_heard_call(). */
static inline bool
consumer_is_called(const struct bus_consumer *consumer)
{
    /* Acquire: pairs with wait_word_wake(). */
    return atomic_load_explicit(&consumer->group_word, memory_order_acquire) !=
           consumer->group_seen;
}

/** The application looks now what it was called for. Thread: owner. */
void consumer_heard_call(struct bus_consumer *consumer);

/** The part of an assigned partition; WRONG_STATE when there is none. Thread: owner. */
int consumer_find_part(
    const struct bus_consumer *consumer, const char *topic, int32_t partition, struct part **part);

/* ---- part.c: one partition ---- */

/** A part without anything open. NULL: NO_MEMORY. */
struct part *part_new(struct bus *bus, const char *topic, int32_t partition);

/** Closes and frees. Nulls the pointer. */
void part_free(struct part **part);

/**
 * Attaches and goes to `offset` (or to an end). Failures: those of attach_renew(), and
 * OFFSET_OUT_OF_RANGE when `strict`. Blocks: until `deadline_ns`.
 */
int part_open(struct part *part, const struct bus_consumer *consumer, int64_t offset, bool strict,
    int64_t deadline_ns);

/** Moves to an offset, an end included. Returns 0 or CORRUPT_MESSAGE (the page). */
int part_seek(struct part *part, const struct bus_consumer *consumer, int64_t offset);

/** The end that this consumer may read to. Returns 0 or CORRUPT_MESSAGE. */
int part_end(const struct part *part, const struct bus_consumer *consumer, int64_t *end);

/** Up to `max` records of one batch: their number, 0 none now, or a failure. */
int part_read(
    struct part *part, const struct bus_consumer *consumer, struct bus_record *records, int max);

/** Whether part_read() is worth a try at `now_ns`. */
bool part_ready(const struct part *part, int64_t now_ns);

/* ---- consumer_wait.c ---- */

/** Waits for records up to the deadline: as bus_poll(). */
int consumer_wait(
    struct bus_consumer *consumer, struct bus_record *records, int max, int64_t deadline_ns);

/** One round over the parts without waiting: as bus_poll() with timeout 0. */
int consumer_round(struct bus_consumer *consumer, struct bus_record *records, int max);

/** What there is time for when nothing is to be read: maps what a roll will need, without waiting.
 */
void consumer_prepare(struct bus_consumer *consumer);

/** Fills a wait set; false when it does not hold all the words, so that sleeps must be short. */
bool consumer_wait_set(const struct bus_consumer *consumer, struct wait_set *set);

/** Whether any part is worth a try; `next_ns` is when to look again anyway. */
bool consumer_ready(const struct bus_consumer *consumer, int64_t now_ns, int64_t *next_ns);

/* ---- consumer_watch.c ---- */

/** Takes the lock that keeps the watcher out, when there is one. */
static inline void
watch_enter(struct bus_consumer *consumer)
{
    if (__builtin_expect(consumer->watched, 0))
        pthread_mutex_lock(&consumer->lock);
}

/** Gives it back. */
static inline void
watch_leave(struct bus_consumer *consumer)
{
    if (__builtin_expect(consumer->watched, 0))
        pthread_mutex_unlock(&consumer->lock);
}

/** Gives it back after a change of what there is to read: the watcher looks at once. */
void watch_leave_changed(struct bus_consumer *consumer);

/** A poll found nothing: the watcher shall say when that changes. Lock held. */
void watch_arm(struct bus_consumer *consumer);

/** Ends the watcher, if there is one. */
void watch_stop(struct bus_consumer *consumer);

#endif
