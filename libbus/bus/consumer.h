/* SPDX-License-Identifier: Apache-2.0
 * libbus: consuming in place.
 *
 * bus_poll() hands out records that point into the mapped log (or, for a compressed batch, into a
 * buffer of the consumer). Validity rule: topic, key, value and headers of a record are valid until
 * the next call of bus_poll(), bus_assign(), a seek, or bus_consumer_close() on the same consumer.
 * They must not be written to.
 */
#ifndef BUS_CONSUMER_H
#define BUS_CONSUMER_H

#include <bus/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A consumer; used by one thread at a time. */
struct bus_consumer;

/** A record as read. Its layout is part of the library's binary interface. */
struct bus_record {
    const char *topic; /* NUL-terminated */
    int32_t partition;
    int32_t header_count;
    int64_t offset;
    int64_t timestamp_ms; /* milliseconds since 1970 UTC, -1 none */
    const void *key;      /* NULL: no key */
    const void *value;    /* NULL: a tombstone */
    uint32_t key_size;
    uint32_t value_size;
    const void *headers; /* private: see bus_record_header() */
    uint32_t headers_size;
    uint32_t private_bits;
};

/** A header of a record read; borrowed under the validity rule. The key is NOT NUL-terminated. */
struct bus_record_header {
    const char *key;
    size_t key_size;
    const void *value; /* NULL: a null value */
    size_t value_size;
};

/** Header number `index`; -BUS_ERR_INVALID_ARGUMENT behind the last. Thread: any. Blocks: no. */
int bus_record_header(
    const struct bus_record *record, int32_t index, struct bus_record_header *header);

/** Where a consumer shall read. */
struct bus_assignment {
    const char *topic; /* borrowed for the call */
    int32_t partition;
    int64_t offset; /* or BUS_OFFSET_BEGINNING, BUS_OFFSET_END */
};

/** Opens a consumer with nothing assigned. `config` may be NULL and is copied. Thread: any. */
int bus_consumer_open(
    struct bus *bus, const struct bus_config *config, struct bus_consumer **consumer);

/**
 * Closes it; a member of a group leaves first, see bus_unsubscribe(). Thread: owner. Blocks: only
 * for what a group needs, up to `request.timeout.ms`.
 */
void bus_consumer_close(struct bus_consumer **consumer);

/**
 * Replaces what is assigned; count 0 assigns nothing. Fails with UNKNOWN_TOPIC_OR_PARTITION,
 * TOPIC_AUTHORIZATION_FAILED, LIMIT_REACHED (file descriptors), LAYOUT_VERSION (busd and library
 * are of different versions) or DAEMON_UNAVAILABLE, and then changes nothing. An offset
 * outside the log is a failure, OFFSET_OUT_OF_RANGE, with auto.offset.reset=none; else the first
 * poll follows that setting. Thread: owner. Blocks: up to `request.timeout.ms`.
 */
int bus_assign(
    struct bus_consumer *consumer, const struct bus_assignment *assignments, size_t count);

/**
 * Reads up to `max` records (1 … 100000) into `records`: of one partition and one batch at a call,
 * the partitions taken in turn. Waits up to `timeout_ms` when there are none: first spinning
 * (`spin.us`, adaptive), then asleep. Returns the count, 0 when the time ran out.
 *
 * An offset out of range follows `auto.offset.reset` (latest, earliest; with none the call fails
 * with OFFSET_OUT_OF_RANGE). Damaged data fails with CORRUPT_MESSAGE naming the partition and
 * offset; the consumer stays there, and a seek behind it goes on. What busd must help with while it
 * is away (the next segment, above all) is waited for, not reported. A topic that was deleted ends
 * with UNKNOWN_TOPIC_OR_PARTITION. Other partitions go on beside one that fails. Thread: owner.
 * Blocks: as said, and half a second longer for each partition at most when busd has to be asked (a
 * segment that is not mapped, a restart) and does not answer.
 */
int bus_poll(struct bus_consumer *consumer, struct bus_record *records, int max, int timeout_ms);

/**
 * Moves one assigned partition to `offset`, or to BUS_OFFSET_BEGINNING or _END. The next poll finds
 * the place with busd's index, or while busd is away in the segments that are mapped. Blocks: no.
 * Thread: owner.
 */
int bus_seek(struct bus_consumer *consumer, const char *topic, int32_t partition, int64_t offset);

/**
 * Moves to the first record at or after the time; to the end if there is none. Thread: owner.
 * Blocks: asks busd, up to `request.timeout.ms`.
 */
int bus_seek_time(
    struct bus_consumer *consumer, const char *topic, int32_t partition, int64_t timestamp_ms);

/** The offset of the next record that bus_poll() will give for the partition. Thread: owner. */
int bus_position(
    struct bus_consumer *consumer, const char *topic, int32_t partition, int64_t *offset);

/** The end that the consumer may read to at this moment, by its isolation.level. Thread: owner. */
int bus_end_offset(
    struct bus_consumer *consumer, const char *topic, int32_t partition, int64_t *offset);

/** Leaves a partition out of bus_poll() until resumed. Thread: owner. */
int bus_pause(struct bus_consumer *consumer, const char *topic, int32_t partition);

/** Takes a paused partition into bus_poll() again. Thread: owner. */
int bus_resume(struct bus_consumer *consumer, const char *topic, int32_t partition);

/**
 * An fd for event loops: readable while records may wait, whether they were published or a seek, a
 * resume or an assignment has led to them. After it was readable call bus_poll() with timeout 0
 * until it returns 0, which arms it again; a member of a group is called in time to stay one.
 * Owned by the consumer. The first call
 * starts a thread that sleeps on the partitions. Thread: owner.
 */
int bus_consumer_fd(struct bus_consumer *consumer);

/**
 * Makes a bus_poll() that waits return at once with 0; when none waits, the next one that would.
 * Thread: any; async-signal-safe.
 */
void bus_wakeup(struct bus_consumer *consumer);

/** What happened to partitions of a group's member. */
enum bus_rebalance {
    BUS_ASSIGNED, /* they are this consumer's now, at the offsets given */
    BUS_REVOKED,  /* they go to others; up to the offsets given they are this one's */
    BUS_LOST,     /* others may have them already: nothing can be committed any more */
};

/**
 * Told about a rebalance. Runs inside of bus_poll() or bus_unsubscribe(); of the consumer's
 * functions it may call bus_commit_sync(), bus_commit_offsets(), bus_committed(), bus_position()
 * and, at BUS_ASSIGNED, the seeks. The assignments are borrowed for the call.
 */
typedef void bus_rebalanced(void *context, struct bus_consumer *consumer, enum bus_rebalance what,
    const struct bus_assignment *assignments, size_t count);

/** Sets the callback, or NULL. Thread: owner. Blocks: no. */
void bus_on_rebalance(struct bus_consumer *consumer, bus_rebalanced *rebalanced, void *context);

/**
 * Reads these topics as a member of the group `group.id`, which shares the partitions out among its
 * members; or changes the subscription. The member has a connection and a thread of its own, which
 * tells busd that it lives; but it leaves the group when bus_poll() is not called for
 * `max.poll.interval.ms`. Partitions come and go inside of bus_poll(), and start where the group
 * has committed, else by `auto.offset.reset`. When the group refuses the member
 * (INCONSISTENT_GROUP_PROTOCOL, INVALID_SESSION_TIMEOUT, GROUP_MAX_SIZE_REACHED,
 * FENCED_INSTANCE_ID, GROUP_AUTHORIZATION_FAILED), or one of its partitions cannot be opened,
 * bus_poll() fails with that. With `enable.auto.commit` positions are committed
 * each `auto.commit.interval.ms`, and before a partition is given up: records that bus_poll() gave
 * count as done when it is called again. Fails with INVALID_GROUP_ID without a group.id,
 * INVALID_ARGUMENT, WRONG_STATE after bus_assign(), or as bus_open(). Thread: owner. Blocks: for
 * the connection, at most `socket.connection.setup.timeout.ms`.
 */
int bus_subscribe(struct bus_consumer *consumer, const char *const *topics, size_t count);

/**
 * Leaves the group and gives up all its partitions; with `enable.auto.commit` positions are
 * committed first. A member with a `group.instance.id` leaves only by its session timeout. Returns
 * 0, also when there was no subscription. Thread: owner. Blocks: up to `request.timeout.ms`.
 */
int bus_unsubscribe(struct bus_consumer *consumer);

/**
 * Commits for the group what bus_position() says of all partitions. Returns when it is on stable
 * storage. Fails with REBALANCE_IN_PROGRESS (poll, then commit again), ILLEGAL_GENERATION,
 * UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID (the partitions are lost), or what busd refuses. Also
 * for assigned partitions, as long as the group has no members. Thread: owner. Blocks: up to
 * `request.timeout.ms`.
 */
int bus_commit_sync(struct bus_consumer *consumer);

/**
 * As bus_commit_sync(), for the offsets given: those of the records to be read next. A member can
 * commit for its own partitions only: else WRONG_STATE.
 */
int bus_commit_offsets(
    struct bus_consumer *consumer, const struct bus_assignment *offsets, size_t count);

/**
 * Told how a commit of bus_commit_async() ended: `rc` is 0 or a failure, which bus_error()
 * explains. Runs inside of bus_poll(), bus_unsubscribe() or bus_consumer_close(), in the order of
 * the calls; it may call what a bus_rebalanced may. The offsets are borrowed for the call.
 */
typedef void bus_commit_done(void *context, struct bus_consumer *consumer, int rc,
    const struct bus_assignment *offsets, size_t count);

/**
 * As bus_commit_offsets(), or with `offsets` NULL as bus_commit_sync(), but returns when the
 * request is on its way; `done` (may be NULL) is told the end once. The offsets are copied. A
 * commit that fails is not repeated: the next one says the same and more. Fails with QUEUE_FULL
 * when 1000 are under way, DAEMON_UNAVAILABLE, or as bus_commit_offsets(); `done` is not called
 * then. Thread: owner. Blocks: no.
 */
int bus_commit_async(struct bus_consumer *consumer, const struct bus_assignment *offsets,
    size_t count, bus_commit_done *done, void *context);

/** What the group has committed for a partition; -1: nothing. Thread: owner. Blocks: as there. */
int bus_committed(
    struct bus_consumer *consumer, const char *topic, int32_t partition, int64_t *offset);

/**
 * Who the consumer is in its group: the id that busd gave it (copied, at most `size` bytes with the
 * NUL; "" before it has one; `member_id` may be NULL with size 0), and as the result the generation
 * that its partitions are of, -1 when it has none. Thread: owner. Blocks: no.
 */
int32_t bus_group_member(struct bus_consumer *consumer, char *member_id, size_t size);

#ifdef __cplusplus
}
#endif
#endif
