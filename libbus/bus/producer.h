/* SPDX-License-Identifier: Apache-2.0
 * libbus: producing.
 *
 * A record goes into the current batch of its partition; the batch is appended to the mapped log
 * when it reaches `batch.size`, when it is `linger.ms` old, or at bus_flush(). With linger.ms=0
 * (the default) a batch is appended as soon as the call that filled it returns. Where the process
 * may not map the partition for writing, the batch goes through busd's socket instead: slower, not
 * different.
 */
#ifndef BUS_PRODUCER_H
#define BUS_PRODUCER_H

#include <bus/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A header of a record; `value` NULL is a null value. Borrowed for the call. */
struct bus_header {
    const char *key; /* NUL-terminated UTF-8 */
    const void *value;
    size_t value_size;
};

/** What became of a record. */
struct bus_delivery {
    int error; /* 0, or a negated enum bus_err */
    int32_t partition;
    int64_t offset; /* -1 with acks=0 through the socket, or after an error */
    int64_t timestamp_ms;
};

/** A record to send; everything is borrowed for the call and copied. */
struct bus_message {
    int32_t partition;    /* or BUS_PARTITION_ANY: by the key, as Kafka's Java client does */
    int64_t timestamp_ms; /* or BUS_TIME_NOW */
    const void *key;      /* NULL: no key */
    size_t key_size;
    const void *value; /* NULL: a tombstone */
    size_t value_size;
    const struct bus_header *headers;
    size_t header_count;
    void *opaque; /* handed to the delivery callback */
};

/**
 * Told once for each record that bus_send_async() or bus_send_many() has taken, in the order of
 * each partition. Runs on the producer's own thread or inside a producer call of the application,
 * one at a time for a producer; it must not block, nor call the producer except bus_send_async(),
 * which does not wait in here: a full buffer is QUEUE_FULL at once. When the record has failed,
 * bus_error() says why.
 */
typedef void bus_delivered(void *context, void *opaque, const struct bus_delivery *delivery);

/** Chooses a partition in [0, partitions) for a message without one. Thread: the caller's. */
typedef int32_t bus_partitioner(
    void *context, const char *topic, int32_t partitions, const void *key, size_t key_size);

/** A producer; any thread may send through it. */
struct bus_producer;

/** A topic of a producer: resolve the name once, send many times. Lives as long as the producer. */
struct bus_topic;

/** Opens a producer. `config` may be NULL and is copied. Thread: any. Blocks: no. */
int bus_producer_open(
    struct bus *bus, const struct bus_config *config, struct bus_producer **producer);

/**
 * Flushes for at most `timeout_ms`, then closes. Records not delivered by then are reported to the
 * callback with TIMED_OUT and the call returns -BUS_ERR_TIMED_OUT, or the error of bus_flush(); the
 * handle is gone in any case. What a callback sends meanwhile is reported too, or is refused with
 * WRONG_STATE. Thread: owner. Blocks: up to the timeout.
 */
int bus_producer_close(struct bus_producer **producer, int timeout_ms);

/** Sets the delivery callback, before the first send. Thread: owner. */
void bus_producer_on_delivery(
    struct bus_producer *producer, bus_delivered *delivered, void *context);

/** Sets the partitioner, before the first send; NULL is Kafka's default. Thread: owner. */
void bus_producer_partition_by(
    struct bus_producer *producer, bus_partitioner *partitioner, void *context);

/**
 * Finds a topic. Fails with UNKNOWN_TOPIC_OR_PARTITION (or creates it, when busd has
 * auto.create.topics.enable), TOPIC_AUTHORIZATION_FAILED, LIMIT_REACHED, or DAEMON_UNAVAILABLE.
 * Attaches the partitions when there are 16 of them at most, so that all can be written while busd
 * is away; of a larger topic each is attached by its first record. The result is borrowed from the
 * producer. Thread: any. Blocks: up to `request.timeout.ms`.
 */
int bus_producer_topic(struct bus_producer *producer, const char *name, struct bus_topic **topic);

/**
 * Its number of partitions, as last seen: while records are sent, busd is asked again every
 * `metadata.max.age.ms`. Thread: any.
 */
int32_t bus_topic_partitions(const struct bus_topic *topic);

/**
 * Puts a record on its way and returns; the delivery callback tells the end. When the buffer
 * (`buffer.memory`) or the log has no room: waits up to `max.block.ms`, or with 0 fails at once
 * with QUEUE_FULL. Other failures: MESSAGE_TOO_LARGE, INVALID_RECORD (no key on a compacted topic),
 * INVALID_TIMESTAMP, INVALID_ARGUMENT, UNKNOWN_TOPIC_OR_PARTITION (an explicit partition that is
 * not there). The first record to a partition attaches it, unless that is done: that asks busd,
 * waits for it up to `max.block.ms` and `request.timeout.ms`, and fails as busd does.
 * A record that was taken fails later, through the callback and bus_flush(), with DISK_FULL,
 * PARTITION_OFFLINE, KAFKA_STORAGE_ERROR (the flush of acks=all failed), UNKNOWN_TOPIC_OR_PARTITION
 * (deleted; later ones go to a topic of that name that was created anew), REQUEST_TIMED_OUT, or
 * with what busd refused. Thread: any. Blocks: as said.
 */
int bus_send_async(struct bus_topic *topic, const struct bus_message *message);

/**
 * Several records of one call, in order: one lock for all. Returns how many were taken; fewer than
 * `count` only when the next one fails, and negative when the first does. Thread: any.
 */
int bus_send_many(struct bus_topic *topic, const struct bus_message *messages, int count);

/**
 * Sends one record and waits until it is done as `acks` says. `delivery` may be NULL.
 * Fails with REQUEST_TIMED_OUT after `delivery.timeout.ms`: the record may or may not be in the
 * log. Thread: any. Blocks: yes.
 */
int bus_send(
    struct bus_topic *topic, const struct bus_message *message, struct bus_delivery *delivery);

/**
 * Appends what is waiting and returns when everything sent before this call is done, as `acks`
 * says, also when some of it has failed. Returns 0, -BUS_ERR_TIMED_OUT, or the first delivery error
 * since the last flush.
 * Thread: any. Blocks: up to the timeout.
 */
int bus_flush(struct bus_producer *producer, int timeout_ms);

/** Room for one value in the log itself. */
struct bus_loan {
    void *value; /* `value_size` writable bytes, uninitialised */
    size_t value_size;
    void *owner; /* private */
};

/**
 * Lends room in the log for a record with this key and a value of exactly `value_size` bytes: fill
 * it in place, then commit or abort. The thread holds the partition's append lock until then: do
 * not call other bus functions of this producer meanwhile, and be done within
 * append.lock.timeout.ms (busd's setting, 100 ms), else busd takes the loan away. Without a
 * writable mapping the room is private memory and the commit sends it through the socket. Failures:
 * those of bus_send_async(). Thread: any; one loan a thread. Blocks: for the lock.
 */
int bus_loan(struct bus_topic *topic, int32_t partition, const void *key, size_t key_size,
    size_t value_size, struct bus_loan *loan);

/**
 * Publishes the loan and waits as `acks` says. Fails with EVICTED when it was taken away: the
 * record is not in the log. Thread: the one that borrowed. Blocks: for acks=all, until the flush.
 */
int bus_commit(struct bus_loan *loan, struct bus_delivery *delivery);

/** Gives the room back unused. Thread: the one that borrowed. Blocks: no. */
void bus_abort(struct bus_loan *loan);

#ifdef __cplusplus
}
#endif
#endif
