/* SPDX-License-Identifier: Apache-2.0
 * What is left to be removed of deleted topics.
 */
#include "meta/env.h"

#include <string.h>

enum { TOPIC_ID_BYTES = 16 };

int
meta_removals(
    struct meta *meta, int (*each)(void *context, const struct meta_row *row), void *context)
{
    return env_each(meta, TABLE_REMOVALS, each, context);
}

/** Removes every checkpoint whose key begins with the id. */
static int
forget_checkpoints(struct meta *meta, MDB_txn *txn, const uint8_t topic_id[TOPIC_ID_BYTES])
{
    MDB_cursor *cursor;
    MDB_val key = {TOPIC_ID_BYTES, (void *)(uintptr_t)topic_id}, value;
    int rc = mdb_cursor_open(txn, meta->tables[TABLE_CHECKPOINTS], &cursor);
    if (rc != 0)
        return env_error(meta, rc, "removing metadata");
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && key.mv_size > TOPIC_ID_BYTES &&
           memcmp(key.mv_data, topic_id, TOPIC_ID_BYTES) == 0) {
        rc = mdb_cursor_del(cursor, 0);
        /* The cursor now stands on what was behind; GET_CURRENT fails at the end of a page. */
        if (rc == 0)
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return rc == 0 || rc == MDB_NOTFOUND ? 0 : env_error(meta, rc, "removing metadata");
}

int
meta_removed(struct meta *meta, const uint8_t topic_id[TOPIC_ID_BYTES])
{
    MDB_txn *txn;
    struct meta_row row = {.key = topic_id, .key_bytes = TOPIC_ID_BYTES};
    int rc = env_begin(meta, true, &txn);
    if (rc < 0)
        return rc;
    rc = forget_checkpoints(meta, txn, topic_id);
    if (rc == 0)
        rc = env_remove(meta, txn, TABLE_REMOVALS, &row);
    return env_end(meta, txn, rc);
}
