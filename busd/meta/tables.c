/* SPDX-License-Identifier: Apache-2.0
 * The tables of what was worked out from logs.
 */
#include "base/trace.h"
#include "meta/env.h"

static enum table
table_of(enum meta_table table)
{
    return TABLE_OFFSETS + table;
}

int
meta_table_save(struct meta *meta, enum meta_table table, const struct meta_row *rows, size_t count)
{
    MDB_txn *txn;
    int rc = env_begin(meta, true, &txn);
    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = rows[i].value_bytes > 0 ? env_put(meta, txn, table_of(table), &rows[i])
                                     : env_remove(meta, txn, table_of(table), &rows[i]);
    return env_end(meta, txn, rc);
}

int
meta_table_each(struct meta *meta, enum meta_table table,
    int (*each)(void *context, const struct meta_row *row), void *context)
{
    return env_each(meta, table_of(table), each, context);
}

int
meta_table_load(
    struct meta *meta, enum meta_table table, const struct meta_row *row, struct buf *out)
{
    MDB_txn *txn;
    int rc = env_begin(meta, false, &txn);
    if (rc < 0)
        return rc;
    struct meta_row found = *row;
    rc = env_get(meta, txn, table_of(table), &found);
    if (rc == ENV_FOUND)
        buf_put(out, found.value, found.value_bytes);
    env_drop(meta, txn);
    if (rc == -BUS_ERR_CORRUPT_MESSAGE)
        trace(TRACE_WARNING, "%s; it is worked out from the log again", err_text());
    if (rc == -BUS_ERR_CORRUPT_MESSAGE || rc == ENV_NONE)
        return META_TABLE_NONE;
    return rc == ENV_FOUND && buf_failed(out) ? err_no_memory() : rc;
}

int
meta_table_clear(struct meta *meta, enum meta_table table)
{
    MDB_txn *txn;
    int rc = env_begin(meta, true, &txn);
    if (rc < 0)
        return rc;
    rc = mdb_drop(txn, meta->tables[table_of(table)], 0);
    return env_end(meta, txn, rc == 0 ? 0 : env_error(meta, rc, "clearing a table"));
}
