/* SPDX-License-Identifier: Apache-2.0 */
#include "meta/env.h"

#include "base/bytes.h"
#include "record/crc32c.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/statvfs.h>

enum { FULL_BYTES = 65536 }; /* with less, the disk counts as full */

/* LMDB says EIO of a write that was cut short, as one is on a disk that has just become full. */
static int
real_errno(const struct meta *meta, int errnum)
{
    struct statvfs disk;
    bool full = errnum == EIO && statvfs(meta->folder, &disk) == 0 &&
                (uint64_t)disk.f_bavail * disk.f_frsize < FULL_BYTES;
    return full ? ENOSPC : errnum;
}

int
env_error(const struct meta *meta, int rc, const char *what)
{
    switch (rc) {
    case MDB_MAP_FULL:
        return err_set(BUS_ERR_DISK_FULL,
            "%s: %s has reached metadata.map.bytes=%zu; raise it in busd.conf and restart", what,
            meta->folder, meta->map_bytes);
    case MDB_VERSION_MISMATCH:
        return err_set(BUS_ERR_DATA_VERSION,
            "%s: %s/data.mdb has another version of LMDB's format; start the busd that wrote it",
            what, meta->folder);
    case MDB_CORRUPTED:
    case MDB_INVALID:
    case MDB_PAGE_NOTFOUND:
        return err_set(BUS_ERR_CORRUPT_MESSAGE,
            "%s: %s/data.mdb is damaged (%s); stop busd, move the file away and start again: the "
            "metadata comes back from %s/backup",
            what, meta->folder, mdb_strerror(rc), meta->folder);
    case MDB_PANIC:
        return err_set(BUS_ERR_KAFKA_STORAGE_ERROR,
            "%s: an earlier write to %s/data.mdb failed, so nothing more is written to it before "
            "it can be opened anew; see that its disk works, and make space there",
            what, meta->folder);
    default:
        if (rc > 0)
            return err_sys(real_errno(meta, rc), "%s: %s/data.mdb", what, meta->folder);
        return err_set(BUS_ERR_SYSTEM, "%s: %s/data.mdb: %s", what, meta->folder, mdb_strerror(rc));
    }
}

/** MDB_PANIC also while there is no environment, after an attempt to open it anew has failed. */
static int
begin(struct meta *meta, bool write, MDB_txn **txn, uint64_t *seen)
{
    pthread_rwlock_rdlock(&meta->gate);
    *seen = meta->opened;
    int rc = meta->env ? mdb_txn_begin(meta->env, NULL, write ? 0 : MDB_RDONLY, txn) : MDB_PANIC;
    if (rc != 0)
        pthread_rwlock_unlock(&meta->gate);
    return rc;
}

int
env_begin(struct meta *meta, bool write, MDB_txn **txn)
{
    uint64_t seen;
    int rc = begin(meta, write, txn, &seen);
    if (rc == MDB_PANIC) {
        int reopened = env_reopen(meta, seen);
        if (reopened < 0)
            return reopened;
        rc = begin(meta, write, txn, &seen);
    }
    return rc == 0 ? 0 : env_error(meta, rc, "starting a transaction");
}

int
env_commit(struct meta *meta, MDB_txn *txn, int rc)
{
    if (rc < 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    int committed = mdb_txn_commit(txn);
    return committed == 0 ? rc : env_error(meta, committed, "storing metadata");
}

int
env_end(struct meta *meta, MDB_txn *txn, int rc)
{
    rc = env_commit(meta, txn, rc);
    pthread_rwlock_unlock(&meta->gate);
    return rc;
}

void
env_drop(struct meta *meta, MDB_txn *txn)
{
    mdb_txn_abort(txn);
    pthread_rwlock_unlock(&meta->gate);
}

static uint32_t
crc_of(const void *key, size_t key_bytes, const void *value, size_t value_bytes)
{
    return crc32c_extend(crc32c(key, key_bytes), value, value_bytes);
}

int
env_put(struct meta *meta, MDB_txn *txn, enum table table, const struct meta_row *row)
{
    if (row->key_bytes == 0 || row->key_bytes > META_KEY_BYTES_MAX ||
        row->value_bytes > META_VALUE_BYTES_MAX)
        return err_set(BUS_ERR_INVALID_ARGUMENT,
            "a metadata row of %zu + %zu bytes: at most %d + %d", row->key_bytes, row->value_bytes,
            META_KEY_BYTES_MAX, META_VALUE_BYTES_MAX);
    MDB_val key = {row->key_bytes, (void *)(uintptr_t)row->key};
    MDB_val value = {CRC_BYTES + row->value_bytes, NULL};
    int rc = mdb_put(txn, meta->tables[table], &key, &value, MDB_RESERVE);
    if (rc != 0)
        return env_error(meta, rc, "storing metadata");
    uint8_t *at = value.mv_data;
    bytes_put_u32(at, crc_of(row->key, row->key_bytes, row->value, row->value_bytes));
    if (row->value_bytes > 0)
        memcpy(at + CRC_BYTES, row->value, row->value_bytes);
    return 0;
}

int
env_remove(struct meta *meta, MDB_txn *txn, enum table table, const struct meta_row *row)
{
    MDB_val key = {row->key_bytes, (void *)(uintptr_t)row->key};
    int rc = mdb_del(txn, meta->tables[table], &key, NULL);
    return rc == 0 || rc == MDB_NOTFOUND ? 0 : env_error(meta, rc, "removing metadata");
}

int
env_open_value(
    const struct meta *meta, const MDB_val *key, const MDB_val *value, struct meta_row *row)
{
    const uint8_t *at = value->mv_data;
    row->key = key->mv_data;
    row->key_bytes = key->mv_size;
    row->value = at + CRC_BYTES;
    row->value_bytes = value->mv_size - CRC_BYTES;
    if (value->mv_size >= CRC_BYTES &&
        bytes_get_u32(at) == crc_of(row->key, row->key_bytes, row->value, row->value_bytes))
        return 0;
    return err_set(BUS_ERR_CORRUPT_MESSAGE,
        "a value in %s/data.mdb fails its checksum; stop busd, move the file away and start again: "
        "the metadata comes back from %s/backup",
        meta->folder, meta->folder);
}

int
env_get(struct meta *meta, MDB_txn *txn, enum table table, struct meta_row *row)
{
    MDB_val key = {row->key_bytes, (void *)(uintptr_t)row->key};
    MDB_val value;
    int rc = mdb_get(txn, meta->tables[table], &key, &value);
    if (rc == MDB_NOTFOUND)
        return ENV_NONE;
    return rc == 0 ? env_open_value(meta, &key, &value, row)
                   : env_error(meta, rc, "reading metadata");
}

/* ---- the metadata log ----------------------------------------------------------------------- */

/** The index at one end of the log; `*index` stays as it is when the log is empty. */
static int
log_end(struct meta *meta, MDB_cursor *cursor, MDB_cursor_op op, int64_t *index)
{
    MDB_val key, value;
    struct meta_row row;
    int rc = mdb_cursor_get(cursor, &key, &value, op);
    if (rc == MDB_NOTFOUND)
        return 0;
    if (rc != 0)
        return env_error(meta, rc, "reading the metadata log");
    rc = env_open_value(meta, &key, &value, &row);
    if (rc == 0 && row.key_bytes != LOG_KEY_BYTES)
        rc = env_error(meta, MDB_CORRUPTED, "reading the metadata log");
    if (rc == 0)
        *index = bytes_get_i64(row.key);
    return rc;
}

static int
walk(struct meta *meta, MDB_cursor *cursor, int (*each)(void *context, const struct meta_row *row),
    void *context)
{
    MDB_val key, value;
    int rc;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        struct meta_row row;
        int seen = env_open_value(meta, &key, &value, &row);
        if (seen == 0)
            seen = each(context, &row);
        if (seen < 0)
            return seen;
    }
    return rc == MDB_NOTFOUND ? 0 : env_error(meta, rc, "reading metadata");
}

int
env_each(struct meta *meta, enum table table,
    int (*each)(void *context, const struct meta_row *row), void *context)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    int rc = env_begin(meta, false, &txn);
    if (rc < 0)
        return rc;
    rc = mdb_cursor_open(txn, meta->tables[table], &cursor);
    if (rc == 0) {
        rc = walk(meta, cursor, each, context);
        mdb_cursor_close(cursor);
    } else {
        rc = env_error(meta, rc, "reading metadata");
    }
    env_drop(meta, txn);
    return rc;
}

int
env_log_range(struct meta *meta, MDB_txn *txn, int64_t *first, int64_t *last)
{
    MDB_cursor *cursor;
    *first = 0;
    *last = -1;
    int rc = mdb_cursor_open(txn, meta->tables[TABLE_LOG], &cursor);
    if (rc != 0)
        return env_error(meta, rc, "reading the metadata log");
    rc = log_end(meta, cursor, MDB_FIRST, first);
    if (rc == 0)
        rc = log_end(meta, cursor, MDB_LAST, last);
    mdb_cursor_close(cursor);
    if (rc == 0 &&
        (*first < 0 || *last == INT64_MAX || *last < *first - 1 || *last - *first >= LOG_KEEP))
        rc = env_error(meta, MDB_CORRUPTED, "reading the metadata log");
    return rc;
}

int
env_log_append(struct meta *meta, MDB_txn *txn, const struct meta_change *change, int64_t *index)
{
    int64_t first, last;
    int rc = env_log_range(meta, txn, &first, &last);
    if (rc < 0)
        return rc;
    uint8_t key[LOG_KEY_BYTES];
    bytes_put_i64(key, last + 1);
    struct meta_row row = {key, change->command, sizeof key, change->command_bytes};
    rc = env_put(meta, txn, TABLE_LOG, &row);
    if (rc == 0 && last + 1 - first >= LOG_KEEP) {
        bytes_put_i64(key, first);
        rc = env_remove(meta, txn, TABLE_LOG, &row);
    }
    *index = last + 1;
    return rc;
}
