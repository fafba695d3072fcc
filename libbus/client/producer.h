/* SPDX-License-Identifier: Apache-2.0
 * Inside of a producer.
 *
 * A *lane* is a partition as one producer writes it: a builder for the batch that is growing, and a
 * queue of *parcels*, the batches that left the builder and are not done. The usual way of a batch
 * is short: the thread that filled it appends it to the mapped log and no parcel is made. A parcel
 * is made when somebody must hear of the end (a callback, a waiting thread), when the batch goes
 * through the socket, or when the append did not work at once; then the sender, a thread of the
 * producer that starts when it is first needed, brings it to its end.
 *
 * Locks, in the order in which they may be taken: lane->lock, the connection's, producer->lock.
 */
#ifndef CLIENT_PRODUCER_H
#define CLIENT_PRODUCER_H

#include "base/err.h"
#include "client/attach.h"
#include "record/builder.h"
#include "shm/append.h"

#include <bus/producer.h>
#include <pthread.h>

enum {
    PRODUCER_PARTITIONS_MAX = 10000, /* that busd allows in a topic */
    PRODUCER_TOPICS_MAX = 10000,
};

/* What the callback is told about one record of a batch. */
struct note {
    void *opaque;
    int64_t timestamp_ms;
};

enum parcel_state {
    PARCEL_WAITING,   /* to be appended, or sent */
    PARCEL_IN_FLIGHT, /* with busd */
    PARCEL_APPENDED,  /* in the log, to be flushed */
    PARCEL_DONE,      /* one way or the other; leaves the queue when it is the first */
};

/* A thread that waits for its record; all under producer->lock. */
struct send_waiter {
    bool done;
    int rc;
    struct bus_delivery delivery;
    char text[ERR_TEXT_BYTES_MAX];
};

/* A batch that left the builder. In the lane's queue it is the lane lock's, later the producer's.
 */
struct parcel {
    struct parcel *next;         /* in the lane's queue, then in the producer's `finished` */
    struct parcel *next_arrived; /* in the producer's `arrived` */
    struct lane *lane;
    enum parcel_state state;
    uint8_t *bytes; /* owned; NULL once it is in the log */
    size_t size;
    size_t charged; /* to buffer.memory */
    uint32_t records;
    int32_t attempts;         /* that failed */
    int64_t deadline_ns;      /* delivery.timeout.ms */
    int64_t retry_ns;         /* not before */
    uint64_t call;            /* of the connection, while in flight */
    bool unknown;             /* a try may have put it into the log: only busd can tell */
    bool answered;            /* under producer->lock: it is in `arrived` */
    struct conn_reply *reply; /* owned: busd's answer on its way to the sender */
    int rc;                   /* of the answer, then of the delivery */
    char *text;               /* owned: why, in words; may be NULL */
    int64_t base_offset;
    int64_t log_append_time_ms; /* -1: the records' own timestamps hold */
    int64_t timestamp_ms;       /* of the first record */
    struct note *notes;         /* owned: one for each record; NULL without a callback */
    struct send_waiter *waiter; /* or NULL */
};

struct parcel_list {
    struct parcel *head;
    struct parcel *tail;
};

enum identity_state {
    IDENTITY_WANTED, /* to be fetched with the first lane */
    IDENTITY_KNOWN,
    IDENTITY_OFF, /* not wanted, or not to be had: batches have no numbers */
};

enum lane_mode {
    LANE_CLOSED,   /* not attached yet, or not any more */
    LANE_DIRECT,   /* appends to the mapped log */
    LANE_MEDIATED, /* sends through the socket */
};

struct lane {
    pthread_mutex_t lock;
    struct bus_topic *topic;
    int32_t partition;
    enum lane_mode mode;
    bool needs_key;     /* the topic is compacted */
    bool built;         /* `builder` is initialised */
    uint32_t max_batch; /* max.message.bytes when the builder was made */
    struct batch_builder builder;
    struct note *notes; /* of the batch in the builder */
    size_t note_capacity;
    int64_t linger_ns; /* when the batch in the builder shall go; 0: none waits */
    struct attachment attachment;
    struct parcel_list queue; /* in the order of sending */
    int unsent;               /* of them WAITING or IN_FLIGHT: nothing may overtake them */
    int in_flight;
    int64_t no_room_ns; /* since when the log has had no room for us; 0: it has */
    int64_t flush_end;  /* behind the last record of this lane that acks wants flushed; 0: none */
    int32_t sequence;   /* of the next batch */
    int16_t epoch;      /* of the producer's id in this partition */
    bool renumber;      /* what waits gets new numbers once nothing is in flight */
    uint64_t created;   /* parcels */

    _Atomic uint32_t views; /* how often `attachment` came to another generation or topic */

    pthread_mutex_t flush_lock; /* the next two; waited for with no other lock held */
    struct attachment flusher;  /* a second view, since a flush runs beside appends */
    uint32_t flusher_views;     /* `views` when it was attached */

    /* Under producer->lock. */
    struct lane *next_work; /* in the list of the sender */
    bool has_work;          /* is in that list */
    int64_t work_ns;        /* when the sender shall look */
    uint64_t delivered;     /* parcels */
};

struct bus_topic {
    struct bus_topic *next;
    struct bus_producer *producer;
    char *name;
    _Atomic int32_t partitions;
    _Atomic int32_t sticky;        /* where records without key go */
    _Atomic int64_t look_ns;       /* no look for a partition that is missing before this */
    _Atomic int64_t refresh_ns;    /* when to look for more of them anyway */
    _Atomic bool refreshing;       /* that look is under way */
    uint64_t refresh_call;         /* it, or the last one */
    _Atomic(struct lane *) *lanes; /* PRODUCER_PARTITIONS_MAX places; made on first use */
    _Atomic int32_t lanes_end;     /* behind the last one made */
};

struct bus_producer {
    struct bus *bus;
    struct settings settings;
    bus_delivered *delivered;
    void *delivered_context;
    bus_partitioner *partitioner;
    void *partitioner_context;
    struct builder_options builder_options;
    int64_t linger_ns;
    _Atomic size_t queued_bytes; /* that parcels are charged for */
    _Atomic int identity;        /* enum identity_state */
    int64_t producer_id;         /* once that is KNOWN; else -1 */
    _Atomic bool closing;        /* no lane opens any more */

    pthread_mutex_t lock; /* all below */
    pthread_cond_t moved; /* a parcel was delivered, a waiter is done, memory came back */
    pthread_cond_t work;  /* the sender has something to do */
    struct bus_topic *topics;
    int topic_count;
    pthread_t sender;
    bool sender_started;
    bool stopping;
    int64_t sleeps_until_ns;     /* the sender; 0 while it is awake */
    struct lane *work_head;      /* lanes that the sender shall look at */
    struct parcel *arrived;      /* answered by busd; the last comes first */
    struct parcel_list finished; /* to be told to the callback */
    bool delivering;
    pthread_t deliverer;
    int first_error; /* since the last flush */
    char first_text[ERR_TEXT_BYTES_MAX];
};

/* ---- identity.c ---- */

/** What the settings say of idempotence: 0 or INVALID_CONFIG. */
int identity_init(struct bus_producer *producer);

/** Sees to an id, if one is wanted. 0, or a failure as conn_call() with these flags. */
int identity_get(struct bus_producer *producer, unsigned flags, int64_t deadline_ns);

/** Whether batches are numbered. */
bool identity_numbers(const struct lane *lane);

/** Numbers the batch in the builder; before builder_finish(). Lock held. */
void identity_stamp(struct lane *lane);

/** The batch in the builder is in the log or in the queue: the next number is for the next. */
void identity_advance(struct lane *lane);

/** busd has refused the parcel, or its answer is lost: whether it may be sent again whatever the
 * code says. Lock held. */
bool identity_may_retry(struct parcel *parcel, int rc);

/** Gives new numbers where they are due. False: not before what is in flight was answered. Lock
 * held. */
bool identity_settle(struct lane *lane);

/* ---- topic.c ---- */

/** Frees a topic and its lanes, whose queues are empty. */
void topic_free(struct bus_topic *topic);

/**
 * Looks for a partition that is not there as far as we know. Returns 0 when it is there now, or a
 * failure. Thread: any. Blocks: request.timeout.ms.
 */
int topic_look(struct bus_topic *topic, int32_t partition);

/** Asks for the number of partitions without waiting. Thread: any, a lane's lock may be held. */
void topic_refresh(struct bus_topic *topic, int64_t now_ns);

/* ---- lane.c ---- */

/** CLOCK_MONOTONIC as of the last tick: a few ns a call, a few ms behind. */
int64_t producer_coarse_ns(void);

/** The lane of a partition below the topic's count, made on first use; NULL: NO_MEMORY. */
struct lane *lane_get(struct bus_topic *topic, int32_t partition);

/** Frees a lane; its queue is empty. */
void lane_free(struct lane **lane);

/**
 * Makes a closed lane ready: attaches, or finds that it must go through the socket. `flags` are
 * those of conn_call(). Fails with WRONG_STATE while the producer closes. Lock held. Blocks: until
 * `deadline_ns`.
 */
int lane_open(struct lane *lane, unsigned flags, int64_t deadline_ns);

/** Adds a record to the batch; a full batch is sent first. Lock held, lane open. */
int lane_put(struct lane *lane, const struct bus_message *message, int64_t timestamp_ms);

/** Ends the batch in the builder, if there is one, and sends it on its way. Lock held. */
void lane_send(struct lane *lane);

/** Outcome of lane_send_waiting(). */
enum { LANE_QUEUED = 1 };

/**
 * As lane_send() for a batch that `waiter` waits for. Returns 0 when it is in the log (`delivery`
 * is filled), LANE_QUEUED when the sender will tell the waiter, or a failure.
 */
int lane_send_waiting(struct lane *lane, struct send_waiter *waiter, struct bus_delivery *delivery);

/** One try to append to the mapped log: an append_outcome or a failure. Lock held, lane direct. */
int lane_append(struct lane *lane, const struct append_batch *batch, struct append_result *result);

/** Attaches again after the generation ended or busd was restarted. Lock held. */
int lane_renew(struct lane *lane, int64_t deadline_ns);

/** Makes a restarted busd know the lane again. Lock held, lane direct; it may be mediated then. */
void lane_refresh(struct lane *lane, int64_t now_ns);

/** A batch of this lane is in the log and ends at offset `end`. Lock held. */
void lane_appended(struct lane *lane, int64_t end, int64_t now_ns);

/** Whether a failure of an append or an attachment is the end for the batch. */
bool lane_is_final(int rc);

/**
 * Tells busd of a lock that does not move. There is no need to wait for what it says: an eviction
 * shows itself as a fenced generation at the next try. Lock held, lane direct.
 */
void lane_report_stall(struct lane *lane);

/** Whether acks asks for a flush of what this lane appends. */
bool lane_must_flush(const struct lane *lane);

/**
 * Closes the lane for good; what is not done fails with TIMED_OUT, which is returned then. Lock
 * held.
 */
int lane_abandon(struct lane *lane);

/* ---- lane_flush.c ---- */

/** Attaches for flushes while busd is there. Lane lock held. Blocks: until `deadline_ns`. */
int lane_flush_prepare(struct lane *lane, unsigned flags, int64_t deadline_ns);

/**
 * Returns when all below `end` is flushed: 0, -BUS_ERR_TIMED_OUT or a failure. No lock held.
 * Blocks: until `deadline_ns`.
 */
int lane_flush(struct lane *lane, int64_t end, int64_t deadline_ns);

/* ---- parcel.c ---- */

/** A parcel of the lane with this much time to live, at the end of the queue. NULL: NO_MEMORY. */
struct parcel *parcel_add(struct lane *lane, enum parcel_state state);

/** Gives a parcel its batch (taken) and charges it to buffer.memory. Lock held. */
void parcel_load(struct parcel *parcel, uint8_t *bytes, size_t size);

/** Charges buffer.memory with more for a parcel, until that is freed. Lock held. */
void parcel_charge(struct parcel *parcel, size_t bytes);

/** Moves a parcel to another state, keeping the lane's counts. Lock held. */
void parcel_set(struct parcel *parcel, enum parcel_state state);

/** The batch is in the log; its bytes go. Lock held. */
void parcel_appended(struct parcel *parcel, const struct append_result *result);

/** Ends a parcel: `rc` 0 or the failure that this thread's error text tells. Lock held. */
void parcel_finish(struct parcel *parcel, int rc);

/** Takes finished parcels from the front of the queue to the deliveries. Lock held. */
void parcel_collect(struct lane *lane);

/** A failure that no parcel stands for: for the next flush to report. */
void producer_note_error(struct bus_producer *producer, int rc);

/** Runs the callbacks of finished parcels, unless another thread is at it. No lock held. */
void producer_deliver(struct bus_producer *producer);

/** Waits until buffer.memory has room: 0 or QUEUE_FULL. No lock held. Blocks: max.block.ms. */
int producer_await_room(struct bus_producer *producer);

/* ---- sender.c ---- */

/** Starts the sender if it does not run. Returns 0 or a failure. Thread: any. */
int sender_start(struct bus_producer *producer);

/** Makes the sender look at the lane at `at_ns` or before; 0: now. Lane lock held or not. */
void sender_wake(struct lane *lane, int64_t at_ns);

/** Ends the sender thread, if there is one, and takes in what busd has answered. */
void sender_stop(struct bus_producer *producer);

/* ---- mediate.c ---- */

/** Sends a waiting parcel through the socket. Returns 0 or a failure. Lock held. */
int mediate_start(struct parcel *parcel);

/** What busd's answer means for the parcel: done, again later, or failed. Lock held. */
void mediate_answered(struct parcel *parcel, int64_t now_ns);

/** The topic's max.message.bytes as busd tells it; Kafka's default when it does not. */
uint32_t mediate_max_batch(struct bus *bus, const char *topic, unsigned flags, int64_t deadline_ns);

#endif
