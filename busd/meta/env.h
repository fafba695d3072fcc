/* SPDX-License-Identifier: Apache-2.0
 * The LMDB environment as the files of meta/ see it: tables of values with a CRC in front. Inside
 * meta/ only.
 */
#ifndef META_ENV_H
#define META_ENV_H

#include "base/buf.h"
#include "meta/meta.h"

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

/** The tables of the environment. */
enum table {
    TABLE_IDENTITY,    /* "identity" -> struct meta_identity, packed */
    TABLE_LOG,         /* index, 8 bytes -> command */
    TABLE_ROWS,        /* as meta_commit() gives them */
    TABLE_CHECKPOINTS, /* topic id, partition -> bytes */
    TABLE_REMOVALS,    /* topic id -> what is left to be removed of a deleted topic */
    TABLE_OFFSETS,     /* META_OFFSETS; those of enum meta_table follow in its order */
    TABLE_PRODUCERS,   /* META_PRODUCERS */
    TABLES
};

enum {
    LOG_KEEP = 4096,   /* commands that stay in the log: the state is in the rows */
    META_FORM = 1,     /* of the environment's content */
    CRC_BYTES = 4,     /* in front of each value */
    LOG_KEY_BYTES = 8, /* big-endian: the order of keys is that of indexes */
    FOLDER_BYTES_MAX = 240,
};

struct meta {
    MDB_env *env;
    MDB_dbi tables[TABLES];
    struct meta_identity identity;
    char folder[FOLDER_BYTES_MAX + 1];
    size_t map_bytes;
    pthread_rwlock_t gate; /* transactions hold it shared, opening anew exclusively */
    uint64_t opened;       /* how often; by `gate` */
    int64_t log_last; /* index of the last command that was committed; the loop's, or by `gate` */
    _Atomic bool backup_due;      /* set at the start and by a commit; pairs with meta_backup() */
    pthread_mutex_t backup_mutex; /* one backup at a time */
};

/** The failure for a return code of LMDB; `what` is what was tried. */
int env_error(const struct meta *meta, int rc, const char *what);

/**
 * Starts a transaction; `write` waits for the one that another thread has open. After a write that
 * failed in the middle LMDB refuses its environment for good: then it is opened anew first.
 */
int env_begin(struct meta *meta, bool write, MDB_txn **txn);

/** Ends a transaction: commits when rc >= 0, else drops it; returns rc or the failure. */
int env_end(struct meta *meta, MDB_txn *txn, int rc);

/** The same for a writer that has something to note before `gate` is given back, which it does. */
int env_commit(struct meta *meta, MDB_txn *txn, int rc);

/** Ends a transaction that has only read. */
void env_drop(struct meta *meta, MDB_txn *txn);

/**
 * Closes the environment and opens it anew, unless another thread has done so since it was opened
 * for the `seen`th time. What is in it must be what was committed. 0 or a failure; then the next
 * call tries again. No transaction of this thread is open.
 */
int env_reopen(struct meta *meta, uint64_t seen);

/** Puts a value with its CRC. */
int env_put(struct meta *meta, MDB_txn *txn, enum table table, const struct meta_row *row);

/** Removes a key; an absent one is no failure. */
int env_remove(struct meta *meta, MDB_txn *txn, enum table table, const struct meta_row *row);

/** Outcomes of env_get(). */
enum env_outcome { ENV_FOUND = 0, ENV_NONE = 1 };

/** Finds the value of row->key; it points into the map until the end of the transaction.
 * CORRUPT_MESSAGE when the CRC is wrong. */
int env_get(struct meta *meta, MDB_txn *txn, enum table table, struct meta_row *row);

/** Checks and strips the CRC of a pair. 0 or CORRUPT_MESSAGE. */
int env_open_value(
    const struct meta *meta, const MDB_val *key, const MDB_val *value, struct meta_row *row);

/** Calls `each` for every row of a table, in the order of keys, in a transaction of its own; stops
 * at its first failure and returns it. The row is good during the call only. */
int env_each(struct meta *meta, enum table table,
    int (*each)(void *context, const struct meta_row *row), void *context);

/** The first and last index of the metadata log; 0 and -1 when it is empty. */
int env_log_range(struct meta *meta, MDB_txn *txn, int64_t *first, int64_t *last);

/** Appends a command and trims the log's old end. */
int env_log_append(
    struct meta *meta, MDB_txn *txn, const struct meta_change *change, int64_t *index);

/** Writes the identity. */
int env_put_identity(struct meta *meta, MDB_txn *txn);

/** Outcomes of file_check(). */
enum file_outcome { FILE_GOOD = 0, FILE_NONE = 1 };

/**
 * Checks the whole structure of an LMDB file, so that LMDB never follows a damaged page: it trusts
 * its file and would crash. FILE_NONE when it is absent or empty; CORRUPT_MESSAGE, DATA_VERSION or
 * a failure to read otherwise. Blocks: for the disk.
 */
int file_check(const char *path);

/** Outcomes of backup_restore(). */
enum backup_outcome { BACKUP_RESTORED = 0, BACKUP_NONE = 1 };

/** Fills an empty environment from the backup, as part of `txn`. CORRUPT_MESSAGE when that is
 * damaged too. */
int backup_restore(struct meta *meta, MDB_txn *txn);

#endif
