/* SPDX-License-Identifier: Apache-2.0
 * The records of __consumer_offsets: Kafka's keys and values.
 */
#include "base/bytes.h"
#include "base/err.h"
#include "base/trace.h"
#include "cluster/offsets_inner.h"
#include "protocol/wire.h"
#include "record/builder.h"

#include <stdlib.h>

enum {
    KEY_COMMIT = 1, /* 0 is the same, from times long gone */
    KEY_GROUP = 2,
    VALUE_COMMIT = 3,
    VALUE_COMMIT_EXPIRES = 1, /* the one that tells when it expires */
    VALUE_GROUP = 3,
    VERSION_BYTES = 2,
    LENGTH_BYTES = 4, /* in front of keys and values in a job */
};

/* ---- jobs ----------------------------------------------------------------------------------- */

struct offsets_job *
offsets_job_new(struct offsets_part *part, const struct offsets_waiter *waiter)
{
    struct offsets_job *job = calloc(1, sizeof *job);
    if (!job) {
        err_no_memory();
        return NULL;
    }
    job->part = part;
    if (waiter)
        job->waiter = *waiter;
    buf_init(&job->records);
    return job;
}

void
offsets_job_free(struct offsets_job *job)
{
    buf_fini(&job->records);
    free(job);
}

/** Appends length, version and content of a key or a value. */
static int
put_part(struct offsets_job *job, const struct schema *schema, int16_t version, const void *content)
{
    size_t at = job->records.length;
    buf_extend(&job->records, LENGTH_BYTES + VERSION_BYTES);
    if (buf_failed(&job->records))
        return err_no_memory();
    int rc = wire_encode(schema, version, content, &job->records);
    if (rc < 0)
        return rc;
    size_t n = job->records.length - at - LENGTH_BYTES;
    if (n > INT32_MAX)
        return err_set(BUS_ERR_INVALID_COMMIT_OFFSET_SIZE, "a record of %zu bytes", n);
    bytes_put_i32(job->records.data + at, (int32_t)n);
    bytes_put_i16(job->records.data + at + LENGTH_BYTES, version);
    job->bytes_max += n;
    return 0;
}

static int
put_tombstone(struct offsets_job *job)
{
    uint8_t none[LENGTH_BYTES];
    bytes_put_i32(none, -1);
    buf_put(&job->records, none, sizeof none);
    return buf_failed(&job->records) ? err_no_memory() : 0;
}

/** Counts the record that was added behind `before`, or takes it back. */
static int
end_record(struct offsets_job *job, size_t before, int rc)
{
    if (rc < 0) {
        job->records.length = before;
        return rc;
    }
    job->count++;
    job->bytes_max += BUILDER_RECORD_OVERHEAD_MAX;
    return 0;
}

int
offsets_put_commit(struct offsets_job *job, const struct offsets_commit *commit,
    const struct offsets_item *item, int64_t wall_ms)
{
    struct offset_commit_key key = {
        .group = commit->group, .topic = item->topic, .partition = item->partition};
    struct offset_commit_value value = {
        .offset = item->offset,
        .leader_epoch = item->leader_epoch,
        .metadata = item->metadata ? item->metadata : "",
        .commit_timestamp = wall_ms,
        .expire_timestamp = -1,
    };
    int16_t version = VALUE_COMMIT;
    if (commit->retention_ms >= 0) {
        version = VALUE_COMMIT_EXPIRES;
        if (__builtin_add_overflow(wall_ms, commit->retention_ms, &value.expire_timestamp))
            value.expire_timestamp = INT64_MAX;
    }
    size_t before = job->records.length;
    int rc = put_part(job, &offset_commit_key_schema, KEY_COMMIT, &key);
    if (rc == 0)
        rc = put_part(job, &offset_commit_value_schema, version, &value);
    return end_record(job, before, rc);
}

int
offsets_put_removal(
    struct offsets_job *job, const char *group, const char *topic, int32_t partition)
{
    struct offset_commit_key key = {.group = group, .topic = topic, .partition = partition};
    size_t before = job->records.length;
    int rc = put_part(job, &offset_commit_key_schema, KEY_COMMIT, &key);
    if (rc == 0)
        rc = put_tombstone(job);
    return end_record(job, before, rc);
}

int
offsets_put_group(
    struct offsets_job *job, const char *group, const struct group_metadata_value *metadata)
{
    struct group_metadata_key key = {.group = group};
    size_t before = job->records.length;
    int rc = put_part(job, &group_metadata_key_schema, KEY_GROUP, &key);
    if (rc == 0)
        rc = metadata ? put_part(job, &group_metadata_value_schema, VALUE_GROUP, metadata)
                      : put_tombstone(job);
    return end_record(job, before, rc);
}

static const uint8_t *
next_part(const struct offsets_job *job, size_t *at, int32_t *n)
{
    const uint8_t *from = job->records.data + *at;
    *n = bytes_get_i32(from);
    *at += LENGTH_BYTES + (*n > 0 ? (size_t)*n : 0);
    return *n < 0 ? NULL : from + LENGTH_BYTES;
}

bool
offsets_next_record(const struct offsets_job *job, size_t *at, struct offsets_raw *raw)
{
    if (*at >= job->records.length)
        return false;
    raw->key = next_part(job, at, &raw->key_bytes);
    raw->value = next_part(job, at, &raw->value_bytes);
    return true;
}

/* ---- reading -------------------------------------------------------------------------------- */

/** The version in front of a key or a value; -1 without one. */
static int16_t
version_of(const uint8_t *bytes, int64_t n)
{
    return n >= VERSION_BYTES ? bytes_get_i16(bytes) : (int16_t)-1;
}

static int
no_sense(const char *what, int16_t version)
{
    return err_set(BUS_ERR_CORRUPT_MESSAGE, "a record of " OFFSETS_TOPIC " has %s of version %d",
        what, version);
}

static int
read_commit(const struct offsets_raw *raw, struct offsets_record *record, struct arena *arena)
{
    struct offset_commit_key key;
    int rc = wire_decode(&offset_commit_key_schema, version_of(raw->key, raw->key_bytes),
        raw->key + VERSION_BYTES, (size_t)raw->key_bytes - VERSION_BYTES, &key, arena);
    if (rc < 0)
        return rc;
    record->type = OFFSETS_RECORD_COMMIT;
    record->group = key.group;
    record->topic = key.topic;
    record->partition = key.partition;
    if (record->removed)
        return 0;
    int16_t version = version_of(raw->value, raw->value_bytes);
    if (version < 0 || version > offset_commit_value_schema.max)
        return no_sense("an offset", version);
    return wire_decode(&offset_commit_value_schema, version, raw->value + VERSION_BYTES,
        (size_t)raw->value_bytes - VERSION_BYTES, &record->commit, arena);
}

int
offsets_metadata_read(
    const uint8_t *value, size_t n, struct group_metadata_value *metadata, struct arena *arena)
{
    int16_t version = version_of(value, (int64_t)n);
    if (version < 0 || version > group_metadata_value_schema.max)
        return no_sense("a group", version);
    return wire_decode(&group_metadata_value_schema, version, value + VERSION_BYTES,
        n - VERSION_BYTES, metadata, arena);
}

static int
read_group(const struct offsets_raw *raw, struct offsets_record *record, struct arena *arena)
{
    struct group_metadata_key key;
    int rc = wire_decode(&group_metadata_key_schema, KEY_GROUP, raw->key + VERSION_BYTES,
        (size_t)raw->key_bytes - VERSION_BYTES, &key, arena);
    if (rc < 0)
        return rc;
    record->type = OFFSETS_RECORD_GROUP;
    record->group = key.group;
    return record->removed ? 0
                           : offsets_metadata_read(
                                 raw->value, (size_t)raw->value_bytes, &record->metadata, arena);
}

int
offsets_record_read(
    const struct offsets_raw *raw, struct offsets_record *record, struct arena *arena)
{
    *record = (struct offsets_record){.removed = raw->value_bytes < 0};
    int16_t version = version_of(raw->key, raw->key_bytes);
    if (version == KEY_GROUP)
        return read_group(raw, record, arena);
    if (version >= 0 && version <= KEY_COMMIT)
        return read_commit(raw, record, arena);
    /* Kafka's newer groups have keys of their own, which mean nothing here. */
    return version < 0 ? no_sense("a key", version) : 0;
}

/* ---- into force ----------------------------------------------------------------------------- */

static int
set_metadata(struct offsets_entry *entry, const char *metadata)
{
    bool none = metadata[0] == '\0';
    char *copy = none ? NULL : strdup(metadata);
    if (!none && !copy)
        return err_no_memory();
    free(entry->metadata);
    entry->metadata = copy;
    return 0;
}

static int64_t
retention_of(const struct offset_commit_value *value)
{
    if (value->expire_timestamp < 0)
        return -1;
    int64_t retention_ms = value->expire_timestamp - value->commit_timestamp;
    return retention_ms > 0 ? retention_ms : 0;
}

static int
apply_commit(struct offsets *o, const struct offsets_record *record)
{
    struct offsets_group *group = offsets_group_get(o, record->group);
    struct offsets_topic *topic = group ? offsets_topic_get(o, record->topic) : NULL;
    struct offsets_entry *entry =
        topic ? offsets_entry_get(o, group, topic, record->partition) : NULL;
    if (!entry)
        return -BUS_ERR_NO_MEMORY;
    entry->offset = record->commit.offset;
    entry->leader_epoch = record->commit.leader_epoch;
    entry->commit_ms = record->commit.commit_timestamp;
    entry->retention_ms = retention_of(&record->commit);
    entry->life_ms = offsets_life_ms(o);
    offsets_dirty(o, &entry->thing);
    return set_metadata(entry, record->commit.metadata);
}

static void
apply_removal(struct offsets *o, const struct offsets_record *record)
{
    struct offsets_entry *entry =
        offsets_entry_named(o, record->group, record->topic, record->partition);
    if (!entry)
        return;
    struct offsets_group *group = entry->group;
    offsets_entry_drop(o, entry);
    if (offsets_group_drop(o, group) && o->given.ops->forgotten)
        o->given.ops->forgotten(o->given.context, record->group);
}

static int
apply_group(struct offsets *o, const struct offsets_raw *raw, const char *name)
{
    struct offsets_group *group;
    if (raw->value_bytes >= 0) {
        group = offsets_group_get(o, name);
        return group ? offsets_group_set(
                           o, group, raw->value, (size_t)raw->value_bytes, offsets_life_ms(o))
                     : -BUS_ERR_NO_MEMORY;
    }
    group = offsets_group_find(o, name);
    if (!group)
        return 0;
    offsets_group_set(o, group, NULL, 0, 0);
    if (offsets_group_drop(o, group) && o->given.ops->forgotten)
        o->given.ops->forgotten(o->given.context, name);
    return 0;
}

int
offsets_apply(struct offsets *o, const struct offsets_raw *raw)
{
    struct offsets_record record;
    arena_reset(&o->arena);
    int rc = offsets_record_read(raw, &record, &o->arena);
    if (rc == 0 && record.type == OFFSETS_RECORD_GROUP)
        rc = apply_group(o, raw, record.group);
    else if (rc == 0 && record.type == OFFSETS_RECORD_COMMIT && record.removed)
        apply_removal(o, &record);
    else if (rc == 0 && record.type == OFFSETS_RECORD_COMMIT)
        rc = apply_commit(o, &record);
    if (rc < 0 && rc != -BUS_ERR_NO_MEMORY) {
        trace(TRACE_WARNING, "%s: the record is passed over", err_text());
        rc = 0;
    }
    return rc;
}
