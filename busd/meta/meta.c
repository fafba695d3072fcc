/* SPDX-License-Identifier: Apache-2.0 */
#include "meta/meta.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/trace.h"
#include "meta/env.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    IDENTITY_BYTES = 1 + 4 + 16 + META_CLUSTER_ID_BYTES, /* form, node, instance, cluster */
    CHECKPOINT_KEY_BYTES = 16 + 4,
    PATH_BYTES_MAX = 300,
};

static const char *const table_names[TABLES] = {
    [TABLE_IDENTITY] = "identity",
    [TABLE_LOG] = "log",
    [TABLE_ROWS] = "rows",
    [TABLE_CHECKPOINTS] = "checkpoints",
    [TABLE_REMOVALS] = "removals",
    [TABLE_OFFSETS] = "offsets",
    [TABLE_PRODUCERS] = "producers",
};

/* ---- identity ------------------------------------------------------------------------------- */

static int
random_bytes(void *bytes, size_t n)
{
    ssize_t got = getrandom(bytes, n, 0);
    return got == (ssize_t)n ? 0 : err_sys(errno, "getrandom");
}

/** base64url without padding; 16 bytes become 22 letters. */
static void
id_text(const uint8_t id[16], char text[META_CLUSTER_ID_BYTES + 1])
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (int i = 0; i < META_CLUSTER_ID_BYTES; i++) {
        int bit = i * 6;
        unsigned pair = (unsigned)id[bit / 8] << 8;
        if (bit / 8 + 1 < 16)
            pair |= id[bit / 8 + 1];
        text[i] = letters[pair >> (10 - bit % 8) & 63];
    }
    text[META_CLUSTER_ID_BYTES] = '\0';
}

static int
make_identity(struct meta *meta, int32_t node_id)
{
    uint8_t cluster[16];
    int rc = random_bytes(cluster, sizeof cluster);
    if (rc == 0)
        rc = random_bytes(meta->identity.instance_id, sizeof meta->identity.instance_id);
    if (rc < 0)
        return rc;
    cluster[0] &= 0x7f; /* the first letter is then never '-', which tools take for a flag */
    id_text(cluster, meta->identity.cluster_id);
    meta->identity.node_id = node_id;
    return 0;
}

int
env_put_identity(struct meta *meta, MDB_txn *txn)
{
    uint8_t bytes[IDENTITY_BYTES];
    bytes[0] = META_FORM;
    bytes_put_i32(bytes + 1, meta->identity.node_id);
    memcpy(bytes + 5, meta->identity.instance_id, 16);
    memcpy(bytes + 21, meta->identity.cluster_id, META_CLUSTER_ID_BYTES);
    struct meta_row row = {"identity", bytes, 8, sizeof bytes};
    return env_put(meta, txn, TABLE_IDENTITY, &row);
}

/** ENV_FOUND, ENV_NONE or a failure. */
static int
get_identity(struct meta *meta, MDB_txn *txn, struct meta_identity *identity)
{
    struct meta_row row = {.key = "identity", .key_bytes = 8};
    int rc = env_get(meta, txn, TABLE_IDENTITY, &row);
    if (rc != ENV_FOUND)
        return rc;
    const uint8_t *bytes = row.value;
    if (row.value_bytes > 0 && bytes[0] > META_FORM)
        return err_set(BUS_ERR_DATA_VERSION,
            "%s was written by a newer busd (form %u, this one knows %d); start that one",
            meta->folder, bytes[0], META_FORM);
    if (row.value_bytes != IDENTITY_BYTES)
        return err_set(
            BUS_ERR_CORRUPT_MESSAGE, "%s/data.mdb: the identity is damaged", meta->folder);
    identity->node_id = bytes_get_i32(bytes + 1);
    memcpy(identity->instance_id, bytes + 5, 16);
    memcpy(identity->cluster_id, bytes + 21, META_CLUSTER_ID_BYTES);
    return ENV_FOUND;
}

const struct meta_identity *
meta_identity(const struct meta *meta)
{
    return &meta->identity;
}

/* ---- open, close ---------------------------------------------------------------------------- */

static int
open_tables(struct meta *meta, MDB_txn *txn, unsigned flags)
{
    for (int i = 0; i < TABLES; i++) {
        int rc = mdb_dbi_open(txn, table_names[i], flags, &meta->tables[i]);
        if (rc != 0)
            return env_error(meta, rc, "opening metadata");
    }
    return 0;
}

static int
open_env(struct meta *meta)
{
    int rc = mdb_env_create(&meta->env);
    if (rc == 0)
        rc = mdb_env_set_mapsize(meta->env, meta->map_bytes);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(meta->env, TABLES);
    if (rc == 0)
        rc = mdb_env_open(meta->env, meta->folder, MDB_NOTLS, 0600);
    return rc == 0 ? 0 : env_error(meta, rc, "opening metadata");
}

static int
sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(errno, "opening the folder %s", path);
    int rc = fsync(fd) == 0 ? 0 : err_sys(errno, "flushing the folder %s", path);
    close(fd);
    return rc;
}

/** Brings the names of a new environment to stable storage. LMDB flushes bytes only, and a file
 * without a name is lost with all that was committed to it. */
static int
sync_names(const struct meta *meta)
{
    char above[PATH_BYTES_MAX];
    snprintf(above, sizeof above, "%s/..", meta->folder);
    int rc = sync_folder(meta->folder);
    return rc < 0 ? rc : sync_folder(above);
}

/** What a new environment starts with: the backup of a lost one, or a new identity. Its names are
 * durable before that is committed, so an environment with an identity has them. */
static int
fill(struct meta *meta, MDB_txn *txn, int32_t node_id)
{
    int rc = sync_names(meta);
    if (rc == 0)
        rc = backup_restore(meta, txn);
    if (rc != BACKUP_NONE)
        return rc;
    rc = make_identity(meta, node_id);
    if (rc == 0)
        rc = env_put_identity(meta, txn);
    return rc;
}

/** Opens the tables and reads the identity. */
static int
open_content(struct meta *meta, int32_t node_id)
{
    MDB_txn *txn;
    int rc = env_begin(meta, true, &txn);
    if (rc < 0)
        return rc;
    rc = open_tables(meta, txn, MDB_CREATE);
    if (rc == 0)
        rc = get_identity(meta, txn, &meta->identity);
    if (rc == ENV_NONE)
        rc = fill(meta, txn, node_id);
    int64_t first;
    if (rc == 0)
        rc = env_log_range(meta, txn, &first, &meta->log_last);
    return env_end(meta, txn, rc);
}

static int
make_folder(const char *folder)
{
    if (mkdir(folder, 0700) == 0 || errno == EEXIST)
        return 0;
    return err_sys(errno, "making the folder %s", folder);
}

static int
check_file(const struct meta *meta)
{
    char path[PATH_BYTES_MAX];
    snprintf(path, sizeof path, "%s/data.mdb", meta->folder);
    int rc = file_check(path);
    if (rc != -BUS_ERR_CORRUPT_MESSAGE)
        return rc;
    char why[ERR_TEXT_BYTES_MAX];
    snprintf(why, sizeof why, "%s", err_text());
    return err_set(BUS_ERR_CORRUPT_MESSAGE,
        "%s. Remedy: mv %s %s.damaged, and start busd again: it makes the metadata anew from "
        "%s/backup",
        why, path, path, meta->folder);
}

static int
open_all(struct meta *meta, int32_t node_id)
{
    int rc = make_folder(meta->folder);
    if (rc < 0)
        return rc;
    rc = check_file(meta);
    if (rc >= 0)
        rc = open_env(meta);
    return rc < 0 ? rc : open_content(meta, node_id);
}

/** Whether the environment is as it was left: LMDB could not tell whether its last write, which
 * failed, is in the file after all. */
static int
check_unchanged(struct meta *meta, MDB_txn *txn)
{
    /* A copy: everybody reads the one in `meta` without a lock. */
    struct meta_identity identity = meta->identity;
    int64_t first, last;
    int rc = get_identity(meta, txn, &identity);
    if (rc == 0)
        rc = env_log_range(meta, txn, &first, &last);
    bool same = rc == 0 && last == meta->log_last &&
                memcmp(&identity, &meta->identity, sizeof identity) == 0;
    if (rc < 0 || same)
        return rc;
    return err_set(BUS_ERR_KAFKA_STORAGE_ERROR,
        "%s/data.mdb has a change that was told to have failed, or lacks one: restart busd, which "
        "then goes on with what is in the file",
        meta->folder);
}

static int
open_again(struct meta *meta)
{
    int rc = check_file(meta);
    if (rc == FILE_NONE)
        rc = err_set(BUS_ERR_KAFKA_STORAGE_ERROR,
            "%s/data.mdb is gone: restart busd, which makes it anew from %s/backup", meta->folder,
            meta->folder);
    if (rc == 0)
        rc = open_env(meta);
    if (rc < 0)
        return rc;
    MDB_txn *txn;
    rc = mdb_txn_begin(meta->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return env_error(meta, rc, "opening metadata");
    rc = open_tables(meta, txn, 0);
    if (rc == 0)
        rc = check_unchanged(meta, txn);
    /* The tables stay open after a commit only, also of a transaction that reads. */
    int committed = mdb_txn_commit(txn);
    return rc == 0 && committed != 0 ? env_error(meta, committed, "opening metadata") : rc;
}

int
env_reopen(struct meta *meta, uint64_t seen)
{
    int rc = 0;
    pthread_rwlock_wrlock(&meta->gate);
    if (meta->opened == seen) {
        mdb_env_close(meta->env);
        meta->env = NULL;
        rc = open_again(meta);
        if (rc < 0) {
            mdb_env_close(meta->env);
            meta->env = NULL;
        } else {
            trace(TRACE_NOTICE, "%s/data.mdb was opened anew after a write that failed",
                meta->folder);
        }
        meta->opened++;
    }
    pthread_rwlock_unlock(&meta->gate);
    return rc;
}

int
meta_open(const struct meta_options *options, struct meta **meta)
{
    *meta = NULL;
    size_t n = strlen(options->folder);
    if (n > FOLDER_BYTES_MAX)
        return err_set(BUS_ERR_INVALID_ARGUMENT, "the path %s is too long", options->folder);
    struct meta *m = calloc(1, sizeof *m);
    if (!m)
        return err_no_memory();
    memcpy(m->folder, options->folder, n);
    m->map_bytes = options->map_bytes;
    pthread_mutex_init(&m->backup_mutex, NULL);
    pthread_rwlock_init(&m->gate, NULL);
    int rc = open_all(m, options->node_id);
    if (rc < 0) {
        mdb_env_close(m->env);
        pthread_mutex_destroy(&m->backup_mutex);
        pthread_rwlock_destroy(&m->gate);
        free(m);
        return rc;
    }
    /* A busd that was killed may have committed what is not in the backup. Relaxed: nobody else has
     * it yet. */
    atomic_store_explicit(&m->backup_due, true, memory_order_relaxed);
    *meta = m;
    return 0;
}

void
meta_close(struct meta **meta)
{
    if (!*meta)
        return;
    if (meta_backup(*meta) < 0)
        trace(TRACE_WARNING, "%s", err_text());
    mdb_env_close((*meta)->env);
    pthread_mutex_destroy(&(*meta)->backup_mutex);
    pthread_rwlock_destroy(&(*meta)->gate);
    free(*meta);
    *meta = NULL;
}

/* ---- rows and log --------------------------------------------------------------------------- */

static int
put_rows(struct meta *meta, MDB_txn *txn, const struct meta_change *change)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < change->row_count; i++) {
        const struct meta_row *row = &change->rows[i];
        rc = row->value_bytes > 0 ? env_put(meta, txn, TABLE_ROWS, row)
                                  : env_remove(meta, txn, TABLE_ROWS, row);
    }
    return rc;
}

int
meta_commit(struct meta *meta, const struct meta_change *change, int64_t *index)
{
    MDB_txn *txn;
    int rc = env_begin(meta, true, &txn);
    if (rc < 0)
        return rc;
    rc = env_log_append(meta, txn, change, index);
    if (rc == 0)
        rc = put_rows(meta, txn, change);
    if (rc == 0 && change->removal)
        rc = env_put(meta, txn, TABLE_REMOVALS, change->removal);
    rc = env_commit(meta, txn, rc);
    /* Before the gate opens: nobody compares `log_last` with the file before both have changed. */
    if (rc == 0)
        meta->log_last = *index;
    pthread_rwlock_unlock(&meta->gate);
    /* Release: pairs with the exchange in meta_backup(), which then sees the commit. */
    if (rc == 0)
        atomic_store_explicit(&meta->backup_due, true, memory_order_release);
    return rc;
}

int
meta_rows(struct meta *meta, int (*each)(void *context, const struct meta_row *row), void *context)
{
    return env_each(meta, TABLE_ROWS, each, context);
}

int
meta_log_range(struct meta *meta, int64_t *first, int64_t *last)
{
    MDB_txn *txn;
    int rc = env_begin(meta, false, &txn);
    if (rc < 0)
        return rc;
    rc = env_log_range(meta, txn, first, last);
    env_drop(meta, txn);
    return rc;
}

int
meta_log_read(struct meta *meta, int64_t index,
    int (*each)(void *context, const void *command, size_t n), void *context)
{
    MDB_txn *txn;
    int rc = env_begin(meta, false, &txn);
    if (rc < 0)
        return rc;
    uint8_t key[LOG_KEY_BYTES];
    bytes_put_i64(key, index);
    struct meta_row row = {.key = key, .key_bytes = sizeof key};
    rc = env_get(meta, txn, TABLE_LOG, &row);
    if (rc == ENV_FOUND)
        rc = each(context, row.value, row.value_bytes);
    else if (rc == ENV_NONE)
        rc =
            err_set(BUS_ERR_OFFSET_OUT_OF_RANGE, "the metadata log has no command %" PRId64, index);
    env_drop(meta, txn);
    return rc;
}

/* ---- checkpoints ---------------------------------------------------------------------------- */

static void
checkpoint_key(uint8_t key[CHECKPOINT_KEY_BYTES], const uint8_t topic_id[16], int32_t partition)
{
    memcpy(key, topic_id, 16);
    bytes_put_i32(key + 16, partition);
}

int
meta_checkpoint_load(struct meta *meta, const uint8_t topic_id[16], int32_t partition, void *bytes,
    size_t byte_count)
{
    MDB_txn *txn;
    int rc = env_begin(meta, false, &txn);
    if (rc < 0)
        return rc;
    uint8_t key[CHECKPOINT_KEY_BYTES];
    checkpoint_key(key, topic_id, partition);
    struct meta_row row = {.key = key, .key_bytes = sizeof key};
    rc = env_get(meta, txn, TABLE_CHECKPOINTS, &row);
    if (rc == ENV_FOUND && row.value_bytes == byte_count) {
        memcpy(bytes, row.value, byte_count);
    } else if (rc == ENV_FOUND || rc == -BUS_ERR_CORRUPT_MESSAGE) {
        trace(TRACE_WARNING,
            "the checkpoint of partition %" PRId32 " is damaged; its log will be "
            "scanned",
            partition);
        rc = META_CHECKPOINT_NONE;
    } else if (rc == ENV_NONE) {
        rc = META_CHECKPOINT_NONE;
    }
    env_drop(meta, txn);
    return rc;
}

int
meta_checkpoints_save(struct meta *meta, const struct meta_checkpoint *checkpoints, size_t count)
{
    MDB_txn *txn;
    int rc = env_begin(meta, true, &txn);
    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        uint8_t key[CHECKPOINT_KEY_BYTES];
        checkpoint_key(key, checkpoints[i].topic_id, checkpoints[i].partition);
        struct meta_row row = {key, checkpoints[i].bytes, sizeof key, checkpoints[i].byte_count};
        rc = row.value ? env_put(meta, txn, TABLE_CHECKPOINTS, &row)
                       : env_remove(meta, txn, TABLE_CHECKPOINTS, &row);
    }
    return env_end(meta, txn, rc);
}
