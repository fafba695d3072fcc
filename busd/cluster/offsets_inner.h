/* SPDX-License-Identifier: Apache-2.0
 * Committed offsets as the offsets_*.c files see them: what is in memory, what is on its way to the
 * topic, and what LMDB does not have yet. Inside cluster/ only.
 */
#ifndef CLUSTER_OFFSETS_INNER_H
#define CLUSTER_OFFSETS_INNER_H

#include "base/buf.h"
#include "cluster/offsets.h"

enum {
    OFFSETS_PARTITIONS_MAX = 1000, /* of the topic, as offsets.topic.num.partitions */
    OFFSETS_RECORDS_AT_ONCE = 500, /* of a job that removes many */
    OFFSETS_TOPIC_BUCKETS = 4096,
    OFFSETS_ARENA_BYTES_MAX = 256 << 20, /* a decoded record */
};

/* ---- what is in force ----------------------------------------------------------------------- */

enum offsets_kind { OFFSETS_GROUP, OFFSETS_TOPIC_NAME, OFFSETS_ENTRY };

/** What all that has a row in LMDB begins with. */
struct offsets_thing {
    enum offsets_kind kind;
    bool dirty;                                 /* in offsets.dirty: its row is to be written */
    bool stored;                                /* LMDB has a row of it, or will have one soon */
    struct offsets_thing *dirtier, *less_dirty; /* neighbours in offsets.dirty */
};

struct offsets_group {
    struct offsets_thing thing;
    struct offsets_group *chain; /* of the bucket */
    char *name;                  /* owned */
    uint32_t number;             /* in the keys of rows; never used twice */
    int32_t partition;           /* of the topic */
    uint8_t *metadata;           /* owned; the record's value; NULL: none */
    size_t metadata_bytes;
    bool simple;           /* no metadata, or none with a protocol type: offsets age singly */
    bool members;          /* the metadata has some */
    int64_t since_life_ms; /* when the metadata came */
    struct offsets_entry *entries; /* list */
    size_t entry_count;
};

/** A topic that offsets are committed for. */
struct offsets_topic {
    struct offsets_thing thing;
    struct offsets_topic *chain; /* of the bucket */
    char *name;                  /* owned */
    struct uuid id;
    uint32_t number;
    size_t entries; /* how many are of this topic */
    bool dead;      /* deleted; or never known: what the log tells of it is to be removed */
};

/** A committed offset. */
struct offsets_entry {
    struct offsets_thing thing;
    struct offsets_entry *chain;           /* of the bucket */
    struct offsets_entry *next, *previous; /* of the group */
    struct offsets_group *group;
    struct offsets_topic *topic;
    int32_t partition;
    int32_t leader_epoch;
    int64_t offset;
    int64_t commit_ms;    /* wall clock */
    int64_t life_ms;      /* of the commit; see offsets_life_ms() */
    int64_t retention_ms; /* asked for by the client; -1 */
    char *metadata;       /* owned; NULL: "" */
};

/* ---- what is on its way --------------------------------------------------------------------- */

/** Records to be appended together, and who waits. */
struct offsets_job {
    struct offsets_job *next;
    struct offsets_part *part;
    struct offsets_waiter waiter; /* done NULL: nobody, or told already */
    struct buf records;           /* see offsets_put_record() */
    int32_t count;                /* of records */
    size_t bytes_max;             /* what they take in a batch at most */
    int rc;                       /* of one that was refused */
    int64_t deadline_ms;          /* when whoever waits is told that it takes too long */
};

struct offsets_jobs {
    struct offsets_job *first, **end;
};

/** Jobs in one batch that was appended and is not yet on stable storage. */
struct offsets_flight {
    struct offsets_flight *next;
    int64_t end_offset; /* behind the batch */
    struct offsets_jobs jobs;
};

/** A partition of the topic. */
struct offsets_part {
    struct offsets *offsets;
    int32_t index;
    bool ready;      /* its log was read to the end */
    bool failed;     /* a flush has failed: over until the next start */
    struct log *log; /* NULL: not open */
    void *hold;
    int64_t applied;          /* all below is in memory; -1 unknown: read from the start */
    int64_t retry_ms;         /* when to try again what could not be done; -1 */
    int64_t look_ms;          /* when to look at the flush again while there are flights */
    struct offsets_jobs jobs; /* to be appended */
    struct offsets_jobs told; /* refused, or without any record: who waits is to be told job.rc */
    struct offsets_flight *flights, **flights_end;
};

/** Rows on their way to LMDB. The worker reads it while `running`. */
struct offsets_rows {
    struct buf bytes; /* each row: key length u8, value length u32, key, value */
    size_t count;
};

struct offsets_saving {
    struct offsets_rows rows;    /* what the worker writes */
    struct offsets_rows removed; /* rows of things that are gone; they go first */
    int64_t due_ms;              /* when to save next; -1 nothing to save */
    bool running;                /* the worker has `rows` */
    bool failed;                 /* told already */
    bool broken;                 /* LMDB stays as it is until the next start */
    _Atomic int rc;              /* the worker's; SAVING until it is done. Release and acquire:
                                    with the outcome the loop gets `rows` back */
};

struct offsets {
    struct offsets_options given;
    struct controller_listener listener;
    struct buf scratch; /* of records that are decoded */
    struct arena arena; /* the same */

    struct offsets_group **groups; /* buckets */
    size_t group_buckets, group_count;
    struct offsets_entry **entries; /* buckets */
    size_t entry_buckets, entry_count;
    struct offsets_topic **topics; /* OFFSETS_TOPIC_BUCKETS buckets: those alive and those dead */
    uint32_t next_number;          /* of groups and topics */
    struct offsets_thing *dirtiest, *cleanest; /* the list of what is to be saved */
    size_t dirty_count;

    struct uuid topic_id; /* of __consumer_offsets */
    struct offsets_part *parts;
    int32_t part_count; /* 0: the topic does not exist yet */

    struct offsets_saving saving;
    int64_t life_base_ms; /* what LMDB had at the start */
    int64_t opened_ms;    /* monotonic clock of the start */
    int64_t check_ms;     /* when to look for what has expired */
    bool running;         /* inside offsets_run() */
    bool listening;
};

/** Milliseconds by the monotonic clock, over all starts of busd: what ages are counted in. A jump
 * of the wall clock does not count, nor does the time while busd is away. */
int64_t offsets_life_ms(const struct offsets *offsets);

/** A setting of busd. */
int64_t offsets_setting(const struct offsets *offsets, enum broker_setting row);

/* ---- offsets_state.c ------------------------------------------------------------------------ */

/** Releases all groups, topics and entries. */
void offsets_state_clear(struct offsets *offsets);

/** The group, or NULL. */
struct offsets_group *offsets_group_find(const struct offsets *offsets, const char *name);

/** The group, made if need be; NULL without memory. */
struct offsets_group *offsets_group_get(struct offsets *offsets, const char *name);

/** Replaces the metadata (copied; NULL: none). 0 or NO_MEMORY. */
int offsets_group_set(struct offsets *offsets, struct offsets_group *group, const uint8_t *value,
    size_t n, int64_t life_ms);

/** Frees a group of which nothing is left; others are left alone. True: it is gone. */
bool offsets_group_drop(struct offsets *offsets, struct offsets_group *group);

/** The topic that the name means now, made if need be (dead, if the cluster does not know it);
 * NULL without memory. */
struct offsets_topic *offsets_topic_get(struct offsets *offsets, const char *name);

/** As it was stored; NULL without memory. */
struct offsets_topic *offsets_topic_add(
    struct offsets *offsets, const char *name, const struct uuid *id, uint32_t number);

/** Frees a topic without entries. */
void offsets_topic_drop(struct offsets *offsets, struct offsets_topic *topic);

/** The entry, or NULL. */
struct offsets_entry *offsets_entry_find(const struct offsets *offsets,
    const struct offsets_group *group, const struct offsets_topic *topic, int32_t partition);

/** The entry, made if need be; NULL without memory. */
struct offsets_entry *offsets_entry_get(struct offsets *offsets, struct offsets_group *group,
    struct offsets_topic *topic, int32_t partition);

/** Removes an entry, and its topic if that was the last one; the group stays. */
void offsets_entry_drop(struct offsets *offsets, struct offsets_entry *entry);

/** Finds group, topic and entry by their names; NULL. */
struct offsets_entry *offsets_entry_named(
    const struct offsets *offsets, const char *group, const char *topic, int32_t partition);

/* ---- offsets_record.c ----------------------------------------------------------------------- */

/** A record of the topic, decoded. */
struct offsets_record {
    enum { OFFSETS_RECORD_OTHER, OFFSETS_RECORD_COMMIT, OFFSETS_RECORD_GROUP } type;
    const char *group; /* borrowed from the arena */
    const char *topic;
    int32_t partition;
    bool removed; /* a tombstone */
    struct offset_commit_value commit;
    struct group_metadata_value metadata;
};

/** A new job without records for the group's partition; NULL without memory. */
struct offsets_job *offsets_job_new(struct offsets_part *part, const struct offsets_waiter *waiter);

/** Frees it. */
void offsets_job_free(struct offsets_job *job);

/** Adds the record of a commit. 0 or a failure. */
int offsets_put_commit(struct offsets_job *job, const struct offsets_commit *commit,
    const struct offsets_item *item, int64_t wall_ms);

/** Adds a tombstone of a commit. 0 or a failure. */
int offsets_put_removal(
    struct offsets_job *job, const char *group, const char *topic, int32_t partition);

/** Adds the record of a group's metadata; NULL: a tombstone. 0 or a failure. */
int offsets_put_group(
    struct offsets_job *job, const char *group, const struct group_metadata_value *metadata);

/** A record of a job, as bytes. */
struct offsets_raw {
    const uint8_t *key, *value;
    int32_t key_bytes, value_bytes; /* value_bytes -1: a tombstone */
};

/** The record at `*at` of a job's records; `*at` moves behind it. False at the end. */
bool offsets_next_record(const struct offsets_job *job, size_t *at, struct offsets_raw *raw);

/** Reads a record. 0, CORRUPT_MESSAGE or NO_MEMORY; strings are the arena's. */
int offsets_record_read(
    const struct offsets_raw *raw, struct offsets_record *record, struct arena *arena);

/** Reads metadata back from a record's value. As offsets_record_read(). */
int offsets_metadata_read(
    const uint8_t *value, size_t n, struct group_metadata_value *metadata, struct arena *arena);

/** Brings a record into force. 0 or NO_MEMORY; one that makes no sense is traced and passed over.
 */
int offsets_apply(struct offsets *offsets, const struct offsets_raw *raw);

/* ---- offsets_log.c -------------------------------------------------------------------------- */

/** Takes the partitions of the topic into use; none is ready yet. 0 or NO_MEMORY. */
int offsets_parts_open(struct offsets *offsets, const struct cluster_topic *topic);

/** Closes the logs; whoever still waits is told `rc`. */
void offsets_parts_close(struct offsets *offsets, int rc);

/** Does what is due in a partition. One that is not ready is opened and what is behind `applied`
 * is read; what cannot be read is tried again. Blocks: for the disk, then. */
void offsets_part_run(struct offsets_part *part);

/** Appends what is queued and waits for the flush; nobody is told yet. 0 or a failure. Blocks: for
 * the disk. */
int offsets_part_harden(struct offsets_part *part);

/** The same, and brings it into force and tells. Blocks: for the disk. */
void offsets_part_settle(struct offsets_part *part);

/** When the partition wants to be looked at; -1 never. */
int64_t offsets_part_deadline_ms(const struct offsets_part *part);

/** Queues a job, which is the partition's then. */
void offsets_job_queue(struct offsets_job *job);

/* ---- offsets_rows.c ------------------------------------------------------------------------- */

/** Loads what LMDB has. 0, NO_MEMORY, or a failure of LMDB; damage: everything is read from the
 * topic again. */
int offsets_rows_load(struct offsets *offsets);

/** Drops all that belongs to a partition of the topic, in memory; LMDB follows. */
void offsets_rows_forget(struct offsets *offsets, int32_t partition);

/** The thing's row is to be written. */
void offsets_dirty(struct offsets *offsets, struct offsets_thing *thing);

/** The thing is about to be freed: its row goes. */
void offsets_gone(struct offsets *offsets, struct offsets_thing *thing);

/** Starts a save when it is due, and takes note of the end of one. */
void offsets_rows_run(struct offsets *offsets);

/** Saves all, here and now. Blocks: for the disk. */
void offsets_rows_settle(struct offsets *offsets);

/** Releases what is held for saving. */
void offsets_rows_fini(struct offsets *offsets);

/* ---- offsets_expire.c ----------------------------------------------------------------------- */

/** Looks for what has expired, when it is time. */
void offsets_expire_run(struct offsets *offsets);

/** Queues tombstones for all that dead topics have, and drops it. */
void offsets_bury(struct offsets *offsets);

/** A topic was deleted: its offsets go. */
void offsets_topic_deleted(struct offsets *offsets, const struct cluster_topic *topic);

#endif
