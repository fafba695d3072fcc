/* SPDX-License-Identifier: Apache-2.0
 * What of the offsets lies in LMDB: a row for each group, topic and offset, and one for each
 * partition of __consumer_offsets that tells up to where the rows are right. A save writes what has
 * changed; the rows of partitions go with the last of it, in one transaction. So LMDB may lag, and
 * then the topic is read from there.
 *
 * Keys begin with a digit, and these with the lower digits come first when rows are loaded.
 */
#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "base/trace.h"
#include "cluster/offsets_inner.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    SAVE_MS = 1000,        /* how long LMDB may lag behind */
    THINGS_AT_ONCE = 8192, /* in one transaction */
    SAVING = 1,            /* saving.rc while the worker is at it */

    KEY_LIFE = '0',
    KEY_PARTITION = '1',
    KEY_TOPIC = '2',
    KEY_GROUP = '3',
    KEY_ENTRY = '4',
    ID_BYTES = 16,
    ENTRY_KEY_BYTES = 1 + 4 + 4 + 4,
    ENTRY_BYTES = 8 + 4 + 8 + 8 + 8, /* without metadata */
    HEAD_BYTES = 1 + 4,              /* lengths in front of a row in struct offsets_rows */
};

/* ---- rows as bytes -------------------------------------------------------------------------- */

struct key {
    uint8_t bytes[ENTRY_KEY_BYTES];
    size_t n;
};

static struct key
key_of(int kind, uint32_t number)
{
    struct key key = {.n = 1 + 4};
    key.bytes[0] = (uint8_t)kind;
    bytes_put_u32(key.bytes + 1, number);
    return key;
}

static struct key
key_of_thing(const struct offsets_thing *thing)
{
    if (thing->kind == OFFSETS_GROUP)
        return key_of(KEY_GROUP, ((const struct offsets_group *)thing)->number);
    if (thing->kind == OFFSETS_TOPIC_NAME)
        return key_of(KEY_TOPIC, ((const struct offsets_topic *)thing)->number);
    const struct offsets_entry *entry = (const struct offsets_entry *)thing;
    struct key key = key_of(KEY_ENTRY, entry->group->number);
    bytes_put_u32(key.bytes + 5, entry->topic->number);
    bytes_put_i32(key.bytes + 9, entry->partition);
    key.n = ENTRY_KEY_BYTES;
    return key;
}

/** Adds a row; returns where its value of `n` bytes goes, NULL without memory (or for n = 0). */
static uint8_t *
put_row(struct offsets_rows *rows, const struct key *key, size_t n)
{
    uint8_t *at = buf_extend(&rows->bytes, HEAD_BYTES + key->n + n);
    if (!at)
        return NULL;
    at[0] = (uint8_t)key->n;
    bytes_put_u32(at + 1, (uint32_t)n);
    memcpy(at + HEAD_BYTES, key->bytes, key->n);
    rows->count++;
    return at + HEAD_BYTES + key->n;
}

static void
put_topic(struct offsets_rows *rows, const struct offsets_topic *topic)
{
    struct key key = key_of_thing(&topic->thing);
    size_t n = strlen(topic->name);
    uint8_t *at = put_row(rows, &key, ID_BYTES + n);
    if (!at)
        return;
    memcpy(at, topic->id.b, ID_BYTES);
    memcpy(at + ID_BYTES, topic->name, n);
}

static void
put_group(struct offsets_rows *rows, const struct offsets_group *group)
{
    struct key key = key_of_thing(&group->thing);
    size_t n = strlen(group->name);
    uint8_t *at = put_row(rows, &key, 8 + 4 + n + group->metadata_bytes);
    if (!at)
        return;
    bytes_put_i64(at, group->since_life_ms);
    bytes_put_u32(at + 8, (uint32_t)n);
    memcpy(at + 12, group->name, n);
    if (group->metadata_bytes > 0)
        memcpy(at + 12 + n, group->metadata, group->metadata_bytes);
}

static void
put_entry(struct offsets_rows *rows, const struct offsets_entry *entry)
{
    struct key key = key_of_thing(&entry->thing);
    size_t n = entry->metadata ? strlen(entry->metadata) : 0;
    uint8_t *at = put_row(rows, &key, ENTRY_BYTES + n);
    if (!at)
        return;
    bytes_put_i64(at, entry->offset);
    bytes_put_i32(at + 8, entry->leader_epoch);
    bytes_put_i64(at + 12, entry->commit_ms);
    bytes_put_i64(at + 20, entry->life_ms);
    bytes_put_i64(at + 28, entry->retention_ms);
    if (n > 0)
        memcpy(at + ENTRY_BYTES, entry->metadata, n);
}

static void
put_thing(struct offsets_rows *rows, const struct offsets_thing *thing)
{
    if (thing->kind == OFFSETS_GROUP)
        put_group(rows, (const struct offsets_group *)thing);
    else if (thing->kind == OFFSETS_TOPIC_NAME)
        put_topic(rows, (const struct offsets_topic *)thing);
    else
        put_entry(rows, (const struct offsets_entry *)thing);
}

/** How far the topic is in the rows, and the clock of ages. */
static void
put_ends(const struct offsets *o, struct offsets_rows *rows)
{
    for (int32_t i = 0; i < o->part_count; i++) {
        struct key key = key_of(KEY_PARTITION, (uint32_t)i);
        uint8_t *at = put_row(rows, &key, ID_BYTES + 8);
        if (!at)
            return;
        memcpy(at, o->topic_id.b, ID_BYTES);
        bytes_put_i64(at + ID_BYTES, o->parts[i].applied);
    }
    struct key key = key_of(KEY_LIFE, 0);
    uint8_t *at = put_row(rows, &key, 8);
    if (at)
        bytes_put_i64(at, offsets_life_ms(o));
}

static void
rows_clear(struct offsets_rows *rows)
{
    buf_clear(&rows->bytes);
    rows->count = 0;
}

/* ---- what has changed ----------------------------------------------------------------------- */

static void
save_soon(struct offsets *o)
{
    if (o->saving.due_ms < 0)
        o->saving.due_ms = o->given.ops->mono_ms(o->given.context) + SAVE_MS;
}

static void
unlink_dirty(struct offsets *o, struct offsets_thing *thing)
{
    *(thing->dirtier ? &thing->dirtier->less_dirty : &o->dirtiest) = thing->less_dirty;
    *(thing->less_dirty ? &thing->less_dirty->dirtier : &o->cleanest) = thing->dirtier;
    thing->dirtier = thing->less_dirty = NULL;
    thing->dirty = false;
    o->dirty_count--;
}

void
offsets_dirty(struct offsets *o, struct offsets_thing *thing)
{
    save_soon(o);
    if (thing->dirty)
        return;
    thing->dirty = true;
    thing->dirtier = o->cleanest;
    *(o->cleanest ? &o->cleanest->less_dirty : &o->dirtiest) = thing;
    o->cleanest = thing;
    o->dirty_count++;
}

static void
remove_row(struct offsets *o, const struct key *key)
{
    put_row(&o->saving.removed, key, 0);
    if (buf_failed(&o->saving.removed.bytes))
        o->saving.broken = true;
    save_soon(o);
}

void
offsets_gone(struct offsets *o, struct offsets_thing *thing)
{
    if (thing->dirty)
        unlink_dirty(o, thing);
    if (!thing->stored)
        return;
    struct key key = key_of_thing(thing);
    remove_row(o, &key);
}

/* ---- saving --------------------------------------------------------------------------------- */

/** The rows as LMDB's folder takes them. The caller frees. NULL without memory. */
static struct meta_row *
as_meta_rows(const struct offsets_rows *rows)
{
    struct meta_row *list = calloc(rows->count, sizeof *list);
    const uint8_t *at = rows->bytes.data;
    for (size_t i = 0; list && i < rows->count; i++) {
        list[i] = (struct meta_row){.key_bytes = at[0], .value_bytes = bytes_get_u32(at + 1)};
        list[i].key = at + HEAD_BYTES;
        list[i].value = at + HEAD_BYTES + list[i].key_bytes;
        at += HEAD_BYTES + list[i].key_bytes + list[i].value_bytes;
    }
    return list;
}

/** On the worker's thread, which has `rows` to itself meanwhile. */
static void
save(void *context)
{
    struct offsets *o = context;
    struct offsets_saving *saving = &o->saving;
    struct meta_row *list = as_meta_rows(&saving->rows);
    int rc =
        list ? meta_table_save(o->given.controller->meta, META_OFFSETS, list, saving->rows.count)
             : err_no_memory();
    if (rc < 0)
        trace(TRACE_DEBUG, "saving committed offsets: %s", err_text());
    free(list);
    /* Release: pairs with the load in end_save(). */
    atomic_store_explicit(&saving->rc, rc, memory_order_release);
    if (o->given.worker)
        o->given.ops->soon(o->given.context);
}

/** Collects what has changed. Without memory nothing is collected. */
static int
collect(struct offsets *o)
{
    struct offsets_rows *rows = &o->saving.rows;
    struct offsets_thing *thing = o->dirtiest;
    buf_put(&rows->bytes, o->saving.removed.bytes.data, o->saving.removed.bytes.length);
    rows->count += o->saving.removed.count;
    for (int n = 0; thing && n < THINGS_AT_ONCE; n++, thing = thing->less_dirty)
        put_thing(rows, thing);
    if (!thing)
        put_ends(o, rows);
    if (buf_failed(&rows->bytes)) {
        rows_clear(rows);
        return err_no_memory();
    }
    rows_clear(&o->saving.removed);
    while (o->dirtiest != thing) {
        o->dirtiest->stored = true;
        unlink_dirty(o, o->dirtiest);
    }
    return 0;
}

/** Takes the rows back from the worker; those of a save that failed stay for another try. */
static void
end_save(struct offsets *o)
{
    struct offsets_saving *saving = &o->saving;
    /* Acquire: pairs with the store in save(). */
    int rc = atomic_load_explicit(&saving->rc, memory_order_acquire);
    if (rc == SAVING)
        return;
    saving->running = false;
    if (rc < 0 && !saving->failed)
        trace(TRACE_ERROR,
            "committed offsets are safe in " OFFSETS_TOPIC
            ", but could not be saved in LMDB (error %d): it is tried again",
            -rc);
    saving->failed = rc < 0;
    if (rc == 0)
        rows_clear(&saving->rows);
    saving->due_ms = -1;
    if (rc < 0 || o->dirtiest || saving->removed.count > 0)
        save_soon(o);
}

static void
start_save(struct offsets *o)
{
    struct offsets_saving *saving = &o->saving;
    saving->due_ms = -1;
    if (saving->rows.count == 0 && collect(o) < 0) {
        save_soon(o);
        return;
    }
    atomic_store_explicit(&saving->rc, SAVING, memory_order_relaxed);
    saving->running = true;
    if (!o->given.worker)
        save(o);
    else if (worker_post(o->given.worker, save, o) < 0)
        atomic_store_explicit(&saving->rc, -BUS_ERR_QUEUE_FULL, memory_order_relaxed);
}

void
offsets_rows_run(struct offsets *o)
{
    struct offsets_saving *saving = &o->saving;
    if (saving->running)
        end_save(o);
    int64_t now = o->given.ops->mono_ms(o->given.context);
    if (saving->running || saving->broken || saving->due_ms < 0 || now < saving->due_ms)
        return;
    start_save(o);
    end_save(o);
}

void
offsets_rows_settle(struct offsets *o)
{
    struct offsets_saving *saving = &o->saving;
    if (saving->running)
        worker_drain(o->given.worker);
    if (saving->running)
        end_save(o);
    o->given.worker = NULL;
    saving->failed = false;
    while (!saving->broken && !saving->failed &&
           (saving->rows.count > 0 || o->dirtiest || saving->removed.count > 0 ||
               saving->due_ms >= 0)) {
        start_save(o);
        end_save(o);
    }
}

void
offsets_rows_fini(struct offsets *o)
{
    buf_fini(&o->saving.rows.bytes);
    buf_fini(&o->saving.removed.bytes);
}

/* ---- loading -------------------------------------------------------------------------------- */

/** The groups and topics by number, while rows are loaded: they come in order. */
struct loading {
    struct offsets *offsets;
    struct offsets_thing **topics, **groups;
    size_t topic_count, group_count;
    size_t topic_room, group_room;
};

static int
remember(struct offsets_thing ***list, size_t *count, size_t *room, struct offsets_thing *thing)
{
    if (*count == *room) {
        size_t more = *room ? 2 * *room : 1024;
        struct offsets_thing **next = realloc(*list, more * sizeof(struct offsets_thing *));
        if (!next)
            return err_no_memory();
        *list = next;
        *room = more;
    }
    (*list)[(*count)++] = thing;
    return 0;
}

static uint32_t
number_of(const struct offsets_thing *thing)
{
    return thing->kind == OFFSETS_GROUP ? ((const struct offsets_group *)thing)->number
                                        : ((const struct offsets_topic *)thing)->number;
}

static struct offsets_thing *
recall(struct offsets_thing *const *list, size_t count, uint32_t number)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (number_of(list[middle]) < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && number_of(list[low]) == number ? list[low] : NULL;
}

static int
malformed(const struct meta_row *row)
{
    return err_set(BUS_ERR_CORRUPT_MESSAGE, "a row of committed offsets with %zu + %zu bytes",
        row->key_bytes, row->value_bytes);
}

/** A NUL-terminated copy for the length of the call; NULL without memory. */
static const char *
text_of(struct offsets *o, const uint8_t *bytes, size_t n)
{
    buf_clear(&o->scratch);
    buf_put(&o->scratch, bytes, n);
    buf_put(&o->scratch, "", 1);
    return buf_failed(&o->scratch) ? NULL : (const char *)o->scratch.data;
}

static void
note_number(struct offsets *o, uint32_t number)
{
    if (number >= o->next_number)
        o->next_number = number + 1;
}

static int
load_partition(struct offsets *o, const struct meta_row *row)
{
    const uint8_t *value = row->value;
    uint32_t index = bytes_get_u32((const uint8_t *)row->key + 1);
    if (row->value_bytes != ID_BYTES + 8)
        return malformed(row);
    if (index < (uint32_t)o->part_count && memcmp(value, o->topic_id.b, ID_BYTES) == 0)
        o->parts[index].applied = bytes_get_i64(value + ID_BYTES);
    return 0;
}

static int
load_topic(struct loading *loading, const struct meta_row *row)
{
    struct offsets *o = loading->offsets;
    const uint8_t *value = row->value;
    if (row->value_bytes <= ID_BYTES)
        return malformed(row);
    struct uuid id;
    memcpy(id.b, value, ID_BYTES);
    const char *name = text_of(o, value + ID_BYTES, row->value_bytes - ID_BYTES);
    uint32_t number = bytes_get_u32((const uint8_t *)row->key + 1);
    struct offsets_topic *topic = name ? offsets_topic_add(o, name, &id, number) : NULL;
    if (!topic)
        return err_no_memory();
    topic->thing.stored = true;
    note_number(o, number);
    return remember(&loading->topics, &loading->topic_count, &loading->topic_room, &topic->thing);
}

static int
load_group(struct loading *loading, const struct meta_row *row)
{
    struct offsets *o = loading->offsets;
    const uint8_t *value = row->value;
    size_t name_bytes = row->value_bytes > 12 ? bytes_get_u32(value + 8) : 0;
    if (name_bytes == 0 || name_bytes > row->value_bytes - 12)
        return malformed(row);
    const char *name = text_of(o, value + 12, name_bytes);
    if (name && offsets_group_find(o, name))
        return malformed(row);
    struct offsets_group *group = name ? offsets_group_get(o, name) : NULL;
    if (!group)
        return err_no_memory();
    group->number = bytes_get_u32((const uint8_t *)row->key + 1);
    note_number(o, group->number);
    size_t rest = row->value_bytes - 12 - name_bytes;
    int rc = 0;
    if (rest > 0)
        rc = offsets_group_set(o, group, value + 12 + name_bytes, rest, bytes_get_i64(value));
    if (group->thing.dirty)
        unlink_dirty(o, &group->thing);
    group->thing.stored = true;
    return rc < 0 ? rc
                  : remember(&loading->groups, &loading->group_count, &loading->group_room,
                        &group->thing);
}

static int
fill_entry(struct offsets_entry *entry, const struct meta_row *row)
{
    const uint8_t *value = row->value;
    size_t n = row->value_bytes - ENTRY_BYTES;
    entry->thing.stored = true;
    entry->offset = bytes_get_i64(value);
    entry->leader_epoch = bytes_get_i32(value + 8);
    entry->commit_ms = bytes_get_i64(value + 12);
    entry->life_ms = bytes_get_i64(value + 20);
    entry->retention_ms = bytes_get_i64(value + 28);
    if (n == 0)
        return 0;
    entry->metadata = strndup((const char *)value + ENTRY_BYTES, n);
    return entry->metadata ? 0 : err_no_memory();
}

static int
load_entry(struct loading *loading, const struct meta_row *row)
{
    struct offsets *o = loading->offsets;
    const uint8_t *key = row->key;
    if (row->key_bytes != ENTRY_KEY_BYTES || row->value_bytes < ENTRY_BYTES)
        return malformed(row);
    struct offsets_thing *group =
        recall(loading->groups, loading->group_count, bytes_get_u32(key + 1));
    struct offsets_thing *topic =
        recall(loading->topics, loading->topic_count, bytes_get_u32(key + 5));
    if (!group || !topic)
        return malformed(row);
    struct offsets_entry *entry = offsets_entry_get(
        o, (struct offsets_group *)group, (struct offsets_topic *)topic, bytes_get_i32(key + 9));
    return entry ? fill_entry(entry, row) : -BUS_ERR_NO_MEMORY;
}

static int
load_row(void *context, const struct meta_row *row)
{
    struct loading *loading = context;
    if (row->key_bytes < 5)
        return malformed(row);
    switch (*(const uint8_t *)row->key) {
    case KEY_LIFE:
        if (row->value_bytes != 8)
            return malformed(row);
        loading->offsets->life_base_ms = bytes_get_i64(row->value);
        return 0;
    case KEY_PARTITION:
        return load_partition(loading->offsets, row);
    case KEY_TOPIC:
        return load_topic(loading, row);
    case KEY_GROUP:
        return load_group(loading, row);
    case KEY_ENTRY:
        return load_entry(loading, row);
    default:
        return malformed(row);
    }
}

void
offsets_rows_forget(struct offsets *o, int32_t partition)
{
    for (size_t i = 0; i < o->group_buckets; i++)
        for (struct offsets_group *group = o->groups[i], *next; group; group = next) {
            next = group->chain;
            if (group->partition != partition)
                continue;
            while (group->entries)
                offsets_entry_drop(o, group->entries);
            offsets_group_set(o, group, NULL, 0, 0);
            offsets_group_drop(o, group);
        }
}

/** Begins with nothing, and with nothing in LMDB. */
static int
start_anew(struct offsets *o)
{
    offsets_state_clear(o);
    rows_clear(&o->saving.removed);
    o->life_base_ms = 0;
    for (int32_t i = 0; i < o->part_count; i++)
        o->parts[i].applied = -1;
    return meta_table_clear(o->given.controller->meta, META_OFFSETS);
}

int
offsets_rows_load(struct offsets *o)
{
    struct loading loading = {.offsets = o};
    int rc = meta_table_each(o->given.controller->meta, META_OFFSETS, load_row, &loading);
    free(loading.topics);
    free(loading.groups);
    if (rc == -BUS_ERR_CORRUPT_MESSAGE) {
        trace(TRACE_WARNING, "%s; all of " OFFSETS_TOPIC " is read again", err_text());
        return start_anew(o);
    }
    if (rc < 0 || (o->part_count == 0 && o->group_count == 0))
        return rc;
    if (o->part_count == 0)
        return start_anew(o);
    for (int32_t i = 0; i < o->part_count; i++)
        if (o->parts[i].applied < 0)
            offsets_rows_forget(o, i);
    return 0;
}
