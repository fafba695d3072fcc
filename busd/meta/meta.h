/* SPDX-License-Identifier: Apache-2.0
 * What busd has to remember beside the logs: an LMDB environment in <data>/meta. It holds the
 * metadata log (index -> command), the state that the commands have led to (rows of bytes, opaque
 * here), checkpoints of partitions and the node's identity. Every value carries a CRC.
 *
 * Beside it lies meta/backup, a copy of identity and state that is replaced by rename after each
 * change. When the environment is gone it is made again from the backup. Checkpoints are not in it:
 * they change every second, and all but the log start offset can be found in the logs.
 */
#ifndef META_META_H
#define META_META_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct meta;

struct meta_options {
    const char *folder; /* <data>/meta; made when missing */
    size_t map_bytes;   /* the largest size of the file */
    int32_t node_id;    /* used at the first start */
};

enum {
    META_KEY_BYTES_MAX = 64,        /* of a row */
    META_VALUE_BYTES_MAX = 1 << 24, /* of a row or a command */
    META_CLUSTER_ID_BYTES = 22,     /* base64url of 16 random bytes, as Kafka's */
};

/** Who this node is; made at the first start, kept for ever. */
struct meta_identity {
    char cluster_id[META_CLUSTER_ID_BYTES + 1];
    uint8_t instance_id[16]; /* of this data folder */
    int32_t node_id;
};

/**
 * Opens, and makes at the first start. Everything that LMDB would follow is checked before LMDB
 * sees the file. Outcomes: 0, CORRUPT_MESSAGE (the text tells file and remedy), DATA_VERSION,
 * DATA_LOCKED, or a failure of the system. Blocks: for the disk. Gives `*meta`.
 */
int meta_open(const struct meta_options *options, struct meta **meta);

/** Writes the backup if it is behind, closes, frees. NULL inside is fine. Blocks: for the disk. */
void meta_close(struct meta **meta);

/** Who this node is. Borrowed. Thread: any. */
const struct meta_identity *meta_identity(const struct meta *meta);

/** A key and its value. In meta_commit() `value_bytes` 0 removes the key. Borrowed. */
struct meta_row {
    const void *key;
    const void *value;
    size_t key_bytes; /* 1 … META_KEY_BYTES_MAX */
    size_t value_bytes;
};

/** What a command adds: its bytes for the log and the rows that it changes. */
struct meta_change {
    const void *command;
    size_t command_bytes;
    const struct meta_row *rows;
    size_t row_count;
    const struct meta_row *removal; /* NULL, or the id of a deleted topic and what to remove of it
                                       (opaque here): kept until meta_removed() */
};

/**
 * Appends the command to the metadata log and changes the rows, in one transaction on stable
 * storage; `*index` is the command's place in the log. 0, DISK_FULL, KAFKA_STORAGE_ERROR, SYSTEM:
 * then nothing has changed. Thread: any. Blocks: for the disk.
 */
int meta_commit(struct meta *meta, const struct meta_change *change, int64_t *index);

/** Calls `each` for every row in the order of keys; a failure of it ends the walk and is returned.
 * CORRUPT_MESSAGE when a value fails its CRC. */
int meta_rows(
    struct meta *meta, int (*each)(void *context, const struct meta_row *row), void *context);

/** The first and the last index in the metadata log; 0 and -1 when it is empty. */
int meta_log_range(struct meta *meta, int64_t *first, int64_t *last);

/** Calls `each` with the command at `index`. OFFSET_OUT_OF_RANGE when the log has none. */
int meta_log_read(struct meta *meta, int64_t index,
    int (*each)(void *context, const void *command, size_t n), void *context);

/** The checkpoint of a partition, opaque here: the store knows what is in `bytes`. */
struct meta_checkpoint {
    const void *bytes; /* borrowed; NULL: remove it */
    size_t byte_count;
    uint8_t topic_id[16];
    int32_t partition;
};

/** Outcome of meta_checkpoint_load(). */
enum { META_CHECKPOINT_NONE = 1 };

/**
 * Fills `bytes` of the checkpoint of `topic_id` and `partition`, which must have exactly
 * `byte_count` bytes. META_CHECKPOINT_NONE when there is none; one that fails its CRC, or has
 * another size, is told on the trace and counts as none: the log is scanned then. Thread: any.
 */
int meta_checkpoint_load(struct meta *meta, const uint8_t topic_id[16], int32_t partition,
    void *bytes, size_t byte_count);

/** Stores or removes checkpoints, in one transaction on stable storage. Thread: any. Blocks: for
 * the disk. Failures as meta_commit(). */
int meta_checkpoints_save(
    struct meta *meta, const struct meta_checkpoint *checkpoints, size_t count);

/** Tables of what was worked out from logs and can be worked out again: not part of the backup. */
enum meta_table {
    META_OFFSETS,   /* committed offsets and groups */
    META_PRODUCERS, /* states of idempotent producers */
};

/** Outcome of meta_table_load(). */
enum { META_TABLE_NONE = 1 };

/**
 * Stores rows (with `value_bytes` 0: removes them), in one transaction on stable storage. Failures
 * as meta_commit(): then nothing has changed. Thread: any. Blocks: for the disk.
 */
int meta_table_save(
    struct meta *meta, enum meta_table table, const struct meta_row *rows, size_t count);

/** Calls `each` for every row of the table, as meta_rows(). */
int meta_table_each(struct meta *meta, enum meta_table table,
    int (*each)(void *context, const struct meta_row *row), void *context);

/**
 * Appends the value of row->key to `out`. 0; META_TABLE_NONE when there is none, or when it is
 * damaged, which is told on the trace; NO_MEMORY or a failure of LMDB. Thread: any.
 */
int meta_table_load(
    struct meta *meta, enum meta_table table, const struct meta_row *row, struct buf *out);

/** Removes every row of the table, damaged ones too. As meta_table_save() else. */
int meta_table_clear(struct meta *meta, enum meta_table table);

/** Calls `each` for every removal that is left to be done, key and value as in meta_change.
 * Failures as meta_rows(). */
int meta_removals(
    struct meta *meta, int (*each)(void *context, const struct meta_row *row), void *context);

/**
 * A topic's files are gone: forgets the removal and the checkpoints of its partitions, in one
 * transaction on stable storage. Thread: any. Blocks: for the disk. Failures as meta_commit().
 */
int meta_removed(struct meta *meta, const uint8_t topic_id[16]);

/** Writes meta/backup if a commit came after the last one. Thread: any. Blocks: for the disk. */
int meta_backup(struct meta *meta);

#endif
