/* SPDX-License-Identifier: Apache-2.0
 * One partition: its segments, its control page and what busd does with them.
 *
 * Any thread may call any function here on one log at the same time, except log_close() and
 * log_delete(), which end it. "Short" below means: waits for a mutex that nobody holds across a
 * flush. Names of topics were checked by the caller ([a-zA-Z0-9._-]{1,249}).
 */
#ifndef STORE_LOG_H
#define STORE_LOG_H

#include "base/buf.h"
#include "shm/append.h"
#include "shm/control.h"
#include "shm/wait.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log_file;
struct log_watch;

struct log_options {
    const char *topic; /* copied */
    uint8_t topic_id[STORE_ID_BYTES];
    int32_t partition;
    uint32_t flags;                /* enum shm_flag; SHM_FLAG_MEMORY cannot change later */
    int32_t leader_epoch;          /* stamped into new batches */
    uint32_t max_message_bytes;    /* largest batch */
    uint32_t segment_bytes;        /* at most SHM_SEGMENT_BYTES_MAX */
    uint32_t preallocate_bytes;    /* step of the reservation ahead of the tail */
    uint32_t index_interval_bytes; /* between two index entries */
    int64_t segment_ms;            /* a segment with records is rolled at this age; ≤ 0 never */
    struct log_rules rules;        /* of retention and compaction */
};

/**
 * Opens the partition, creating or recovering it. With the control object of this boot in place
 * nothing is scanned. Failures: PARTITION_OFFLINE (writers of a lost control object are still
 * alive: ask again later), DISK_FULL, LIMIT_REACHED, SYSTEM, or of the checkpoints. Gives *log.
 * Blocks: for the disk; short when nothing is scanned.
 */
int log_open(struct store *store, const struct log_options *options, struct log **log);

/** Closes it, nulls the pointer. Clients go on with what they have mapped. Blocks: for a pass. */
void log_close(struct log **log);

/** Whether anything of the partition exists on disk, open or not. */
bool log_exists(struct store *store, const struct log_options *options);

/**
 * Removes a partition that is not open, damaged or not: tells its clients (state DELETED), removes
 * objects, files and checkpoint. A crash in the middle is finished by store_open(). Returns 0 (also
 * when there is nothing) or a failure. Blocks: for the disk.
 */
int log_remove(struct store *store, const struct log_options *options);

/** Tells the clients of an open partition that its topic is gone; log_delete() follows. Short. */
void log_end(struct log *log);

/** log_end(), log_close() and log_remove() of an open partition. Nulls the pointer in any case. */
int log_delete(struct log **log);

/** New settings; `topic`, `topic_id`, `partition` and SHM_FLAG_MEMORY are ignored. Short. */
void log_configure(struct log *log, const struct log_options *options);

/** A new leader epoch for the batches to come; never lower than the present one. Short. */
void log_set_leader_epoch(struct log *log, int32_t leader_epoch);

/** What a user sees of the log; every value was checked. */
struct log_bounds {
    int64_t start_offset;   /* the first record */
    int64_t end_offset;     /* the next record to be written */
    int64_t visible_offset; /* readers stop here: the end, or the high watermark if replicated */
    int64_t durable_offset; /* all below is on stable storage; the end for a memory topic */
    int32_t leader_epoch;
    uint32_t generation;
    enum shm_state state; /* OPEN or OFFLINE */
};

/** Reads the bounds. 0 or PARTITION_OFFLINE (the page is damaged and being replaced). Short. */
int log_bounds(struct log *log, struct log_bounds *bounds);

/** Moves the high watermark; ignored unless SHM_FLAG_REPLICATED is set. Wakes readers. Short. */
void log_set_high_watermark(struct log *log, int64_t offset);

/** Outcomes of log_append(). */
enum log_append_outcome {
    LOG_APPENDED = 0,
    LOG_APPEND_BUSY = 1, /* another writer holds the lock, or the keeper makes room: call again in
                          * LOG_RETRY_MS; a holder that makes no progress is evicted by such a
                          * call */
};

enum { LOG_RETRY_MS = 10 };

/**
 * Appends for a mediated producer a batch that the caller has verified. Waits for the lock at most
 * `timeout_ms` (0: tries once). Outcomes above; failures: DISK_FULL, MESSAGE_TOO_LARGE,
 * RECORD_LIST_TOO_LARGE, PARTITION_OFFLINE, KAFKA_STORAGE_ERROR. Blocks: for the lock, and for the
 * disk when the reservation is used up.
 */
int log_append(struct log *log, const struct append_batch *batch, int64_t timeout_ms,
    struct append_result *result);

/** How far a read may go. */
enum log_isolation {
    LOG_READ_VISIBLE = 0, /* consumers: visible_offset */
    LOG_READ_DURABLE = 1, /* visible and durable */
    LOG_READ_END = 2,     /* replicas: end_offset */
};

struct log_read_options {
    int64_t offset;
    size_t max_bytes;
    enum log_isolation isolation;
    bool at_least_one; /* the first batch is given even if it is larger than max_bytes */
};

/** Whole batches in one segment file, for sendfile() or log_slice_copy(). */
struct log_slice {
    struct log_file *file; /* a reference; NULL when there are no bytes */
    int fd;                /* of `file`; borrowed */
    int64_t position;      /* in the file */
    size_t bytes;          /* 0: nothing to give */
    int64_t first_offset;  /* base offset of the first batch: may lie below the offset asked for */
    int64_t next_offset;   /* behind the last batch; without bytes the offset asked for */
    unsigned codecs;       /* bit 1 << enum codec for each that a batch has */
};

/** Outcomes of log_read(). */
enum log_read_outcome {
    LOG_READ_OK = 0,       /* also at the visible end, with no bytes: park and ask again */
    LOG_READ_TOO_SMALL = 1 /* the first batch exceeds max_bytes and at_least_one is not set */
};

/**
 * A slice that starts with the batch that contains the offset (or, where compaction removed it, the
 * next batch). Every batch in it has a good CRC, as far as the bytes on disk do not change later.
 * Outcomes above; failures: OFFSET_OUT_OF_RANGE, CORRUPT_MESSAGE (this batch is damaged; the text
 * names topic, partition and offsets; others can be read), PARTITION_OFFLINE. The bytes below never
 * change; end with log_slice_release(). Short, plus the time to read.
 */
int log_read(struct log *log, const struct log_read_options *options, struct log_slice *slice);

/** Appends the bytes of a slice to `out`. 0, NO_MEMORY, or SYSTEM when the file cannot be read. */
int log_slice_copy(const struct log_slice *slice, struct buf *out);

/** Drops the reference; the slice is empty afterwards. Also for an empty slice. Thread: any. */
void log_slice_release(struct log_slice *slice);

/** A found record. */
struct log_found {
    int64_t offset;       /* -1: there is none */
    int64_t timestamp;    /* -1 with offset -1 */
    int32_t leader_epoch; /* of the batch; -1 with offset -1 */
};

/** The first visible record with a timestamp ≥ `timestamp_ms`. 0 or a failure as log_read(). */
int log_find_time(struct log *log, int64_t timestamp_ms, struct log_found *found);

/** The visible record with the largest timestamp (the first of them). 0 or a failure. */
int log_find_max_time(struct log *log, struct log_found *found);

/** The epoch of the batch at `offset`; the current one at the end. 0 or a failure. */
int log_find_epoch(struct log *log, int64_t offset, int32_t *leader_epoch);

/** Kafka's answer to OffsetForLeaderEpoch: -1 and -1 when `leader_epoch` is unknown. */
struct log_epoch_end {
    int32_t leader_epoch;
    int64_t end_offset;
};

/** Where `leader_epoch` ends. 0 or a failure. */
int log_find_epoch_end(struct log *log, int32_t leader_epoch, struct log_epoch_end *end);

/** Outcomes of log_flush(). */
enum log_flush_outcome { LOG_FLUSHED = 0, LOG_FLUSH_TIMED_OUT = 1 };

/**
 * Returns when all below `offset` is on stable storage, in this generation or a later one.
 * Failures: KAFKA_STORAGE_ERROR (final: the partition is OFFLINE). Blocks: for the disk, until
 * `deadline_ns` (CLOCK_MONOTONIC); holds no lock that other functions need.
 */
int log_flush(struct log *log, int64_t offset, int64_t deadline_ns);

/**
 * DeleteRecords: records below `offset` (-1: the visible end) are gone, whole segments below are
 * removed. *start is the new start. Lower than the present start: no effect. Failures:
 * OFFSET_OUT_OF_RANGE, or of the checkpoints. Blocks: for the disk.
 */
int log_set_start(struct log *log, int64_t offset, int64_t *start);

/** The access that a client asks for. */
enum log_access { LOG_ACCESS_READ, LOG_ACCESS_WRITE };

/** A segment for a client. */
struct log_segment {
    int fd;              /* the caller's; O_RDONLY or O_RDWR */
    int64_t seq;         /* in this generation; -1: older than that */
    int64_t base_offset; /* -1: the spare */
    int64_t next_offset; /* of the segment behind; -1: it is being written, or the spare */
    int64_t end;         /* valid bytes of a closed one; 0: see the control page */
    int64_t capacity;    /* bytes to map */
    int64_t position;    /* of the batch with the offset asked for; 0 when asked by seq */
    bool writable;       /* fd is O_RDWR: the segments of this generation, for writers */
};

/** Everything a client needs for the data path; the fds are the caller's (close or send). */
struct log_attachment {
    uint32_t generation;
    int control; /* O_RDWR for writers, O_RDONLY for readers */
    int bell;    /* O_RDWR */
    int writers; /* a shared flock() for writers, who keep it as long as they may write; or -1 */
    int segment_count;              /* 1 or 2 */
    struct log_segment segments[2]; /* the active one, and for writers the spare if it is ready */
};

/** Opens the fds of a client. 0 or a failure (then nothing is open). Short. */
int log_attach(struct log *log, enum log_access access, struct log_attachment *attachment);

/** Closes every fd of an attachment. */
void log_attachment_close(struct log_attachment *attachment);

/** Which segment. */
struct log_segment_wanted {
    uint32_t generation; /* 0: any, with seq -1 */
    int64_t seq;         /* -1: by offset */
    int64_t offset;
    enum log_access access;
};

/**
 * One segment: number `seq` of `generation` or, when seq is -1, the one that holds `offset`.
 * Returns 0, OFFSET_OUT_OF_RANGE, or NOT_LEADER_OR_FOLLOWER when the generation is over (attach
 * again), RESOURCE_NOT_FOUND when there is no such seq (yet), CORRUPT_MESSAGE when the batch with
 * this offset is destroyed (the text says where to go on). Short.
 */
int log_segment(
    struct log *log, const struct log_segment_wanted *wanted, struct log_segment *segment);

/**
 * A direct writer found no room: reserves now. 0: there is room, or will be in a moment;
 * -BUS_ERR_DISK_FULL, -BUS_ERR_PARTITION_OFFLINE. Blocks: for the disk.
 */
int log_make_room(struct log *log);

/** Outcomes of log_stalled(). */
enum log_stall_outcome {
    LOG_STALL_OVER = 0, /* the lock moved on, or the generation is over: try again / attach again */
    LOG_STALL_WAIT =
        1, /* held without progress, but not yet for long: call again in LOG_RETRY_MS */
    LOG_STALL_EVICTED = 2, /* the holder was evicted: attach again */
};

/**
 * A client reports that it could not take the append lock of `generation`. Looks at the lock, and
 * when it was seen held by the same thread without progress for append.lock.timeout.ms, starts a
 * new generation. Outcomes above, or a failure of starting it. Short; blocks for the disk to evict.
 */
int log_stalled(struct log *log, uint32_t generation);

/** Outcomes of log_revoke(). */
enum log_revoke_outcome {
    LOG_REVOKED = 0,
    LOG_REVOKE_LATER = 1, /* the log is being worked on: call again in LOG_RETRY_MS */
};

/**
 * Ends the generation, so that whoever has it mapped has to attach again: what is appended later
 * is in pages and in a file that it does not have. Outcomes above, or a failure of starting the
 * next one. Short; blocks for the disk.
 */
int log_revoke(struct log *log);

/**
 * Adds the partition to `set`, so that a thread of busd can wait for new records of direct
 * producers. *hold keeps the pages mapped until log_watch_end(). Returns 0, or -BUS_ERR_LIMIT_
 * REACHED when the set is full, or PARTITION_OFFLINE. Short.
 */
int log_watch(struct log *log, struct wait_set *set, struct log_watch **hold);

/** Ends a watch; nulls the pointer. After the last use of the set. Thread: any. */
void log_watch_end(struct log_watch **hold);

/** Whether the page asks for store_service(); a few loads, no lock held. */
bool log_wants_service(struct log *log);

/** What the log occupies, for DescribeLogDirs and metrics. */
struct log_usage {
    int64_t bytes;    /* of batches */
    int64_t segments; /* files */
    int64_t evictions;
    int64_t rebuilds; /* after damage in shared memory */
};

/** Reads the usage. Short. */
void log_usage(struct log *log, struct log_usage *usage);

/** Where the compaction of a log stands. */
enum log_cleaning_state {
    LOG_CLEANING_IDLE = 0,
    LOG_CLEANING_ASKED = 1,     /* somebody asked; it has not begun yet */
    LOG_CLEANING_READING = 2,   /* the newest records of the keys are looked for */
    LOG_CLEANING_REWRITING = 3, /* segments are rewritten */
};

enum { LOG_CLEANING_TEXT_BYTES = 256 };

struct log_cleaning_status {
    enum log_cleaning_state state;
    int64_t clean_offset; /* up to here it was compacted */
    double dirty_ratio;   /* of dirty to all bytes, at the last look */
    int64_t bytes_done;   /* of the run that is under way */
    int64_t bytes_total;  /* which it has to read */
    int64_t runs;         /* that ended since the opening */
    int64_t ended_ms;     /* when the last one ended, wall clock; 0 none */
    int64_t bytes_before; /* of the last one */
    int64_t bytes_after;
    int64_t records_dropped;
    char
        failure[LOG_CLEANING_TEXT_BYTES]; /* why the last one failed, or left a segment alone; "" */
};

/** Reads it. Short. */
void log_cleaning_status(struct log *log, struct log_cleaning_status *status);

/**
 * Has the log compacted soon, whatever its dirty ratio: the segment being written is closed for it.
 * 0, or POLICY_VIOLATION when it is not compacted at all. Short.
 */
int log_compact(struct log *log);

/** Whether a partition that is not open has closed segments, and so something to retain. */
bool log_has_closed(struct store *store, const struct log_options *options);

/** The options given at the opening, `topic` included; borrowed until close. */
const struct log_options *log_options(const struct log *log);

#endif
