/* SPDX-License-Identifier: Apache-2.0
 * Groups, topics and offsets in memory: two tables of chained buckets that double.
 */
#include "base/err.h"
#include "cluster/offsets_inner.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS_MIN = 64 };

/* ---- hashes --------------------------------------------------------------------------------- */

static uint64_t
hash_name(const char *name)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * UINT64_C(1099511628211);
    return hash ^ hash >> 29;
}

static uint64_t
hash_entry(uint32_t group, uint32_t topic, int32_t partition)
{
    uint64_t hash = ((uint64_t)group << 32 | topic) * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ (uint32_t)partition) * UINT64_C(0xff51afd7ed558ccd);
    return hash ^ hash >> 32;
}

static uint64_t
hash_of(const struct offsets_entry *entry)
{
    return hash_entry(entry->group->number, entry->topic->number, entry->partition);
}

/** Doubles a table when it is full; without memory it stays as it is, only slower. */
static void
grow_groups(struct offsets *o)
{
    if (o->group_count < o->group_buckets)
        return;
    size_t more = o->group_buckets ? 2 * o->group_buckets : BUCKETS_MIN;
    struct offsets_group **next = calloc(more, sizeof(struct offsets_group *));
    if (!next)
        return;
    for (size_t i = 0; i < o->group_buckets; i++)
        while (o->groups[i]) {
            struct offsets_group *group = o->groups[i];
            o->groups[i] = group->chain;
            group->chain = next[hash_name(group->name) % more];
            next[hash_name(group->name) % more] = group;
        }
    free(o->groups);
    o->groups = next;
    o->group_buckets = more;
}

static void
grow_entries(struct offsets *o)
{
    if (o->entry_count < o->entry_buckets)
        return;
    size_t more = o->entry_buckets ? 2 * o->entry_buckets : BUCKETS_MIN;
    struct offsets_entry **next = calloc(more, sizeof(struct offsets_entry *));
    if (!next)
        return;
    for (size_t i = 0; i < o->entry_buckets; i++)
        while (o->entries[i]) {
            struct offsets_entry *entry = o->entries[i];
            o->entries[i] = entry->chain;
            entry->chain = next[hash_of(entry) % more];
            next[hash_of(entry) % more] = entry;
        }
    free(o->entries);
    o->entries = next;
    o->entry_buckets = more;
}

/* ---- groups --------------------------------------------------------------------------------- */

struct offsets_group *
offsets_group_find(const struct offsets *o, const char *name)
{
    struct offsets_group *group = NULL;
    if (o->group_buckets > 0)
        group = o->groups[hash_name(name) % o->group_buckets];
    while (group && strcmp(group->name, name) != 0)
        group = group->chain;
    return group;
}

struct offsets_group *
offsets_group_get(struct offsets *o, const char *name)
{
    struct offsets_group *group = offsets_group_find(o, name);
    if (group)
        return group;
    grow_groups(o);
    group = calloc(1, sizeof *group);
    if (group)
        group->name = strdup(name);
    if (!group || !group->name || o->group_buckets == 0) {
        if (group)
            free(group->name);
        free(group);
        err_no_memory();
        return NULL;
    }
    group->thing.kind = OFFSETS_GROUP;
    group->number = o->next_number++;
    group->partition = offsets_partition(o, name);
    group->simple = true;
    struct offsets_group **bucket = &o->groups[hash_name(name) % o->group_buckets];
    group->chain = *bucket;
    *bucket = group;
    o->group_count++;
    offsets_dirty(o, &group->thing);
    return group;
}

/** What the metadata says about how offsets age. */
static void
note_kind(struct offsets_group *group)
{
    struct group_metadata_value value;
    group->simple = true;
    group->members = false;
    if (!group->metadata)
        return;
    struct arena arena;
    arena_init(&arena, OFFSETS_ARENA_BYTES_MAX);
    if (offsets_metadata_read(group->metadata, group->metadata_bytes, &value, &arena) == 0) {
        group->simple = value.protocol_type[0] == '\0';
        group->members = value.members_count > 0;
    }
    arena_fini(&arena);
}

int
offsets_group_set(
    struct offsets *o, struct offsets_group *group, const uint8_t *value, size_t n, int64_t life_ms)
{
    uint8_t *copy = NULL;
    if (value) {
        copy = malloc(n > 0 ? n : 1);
        if (!copy)
            return err_no_memory();
        memcpy(copy, value, n);
    }
    free(group->metadata);
    group->metadata = copy;
    group->metadata_bytes = value ? n : 0;
    group->since_life_ms = life_ms;
    note_kind(group);
    offsets_dirty(o, &group->thing);
    return 0;
}

bool
offsets_group_drop(struct offsets *o, struct offsets_group *group)
{
    if (group->metadata || group->entries)
        return false;
    struct offsets_group **at = &o->groups[hash_name(group->name) % o->group_buckets];
    while (*at != group)
        at = &(*at)->chain;
    *at = group->chain;
    o->group_count--;
    offsets_gone(o, &group->thing);
    free(group->name);
    free(group);
    return true;
}

/* ---- topics --------------------------------------------------------------------------------- */

static struct offsets_topic **
bucket_of(const struct offsets *o, const char *name)
{
    return &o->topics[hash_name(name) % OFFSETS_TOPIC_BUCKETS];
}

struct offsets_topic *
offsets_topic_add(struct offsets *o, const char *name, const struct uuid *id, uint32_t number)
{
    struct offsets_topic *topic = calloc(1, sizeof *topic);
    if (topic)
        topic->name = strdup(name);
    if (!topic || !topic->name) {
        free(topic);
        err_no_memory();
        return NULL;
    }
    topic->thing.kind = OFFSETS_TOPIC_NAME;
    topic->id = *id;
    topic->number = number;
    const struct cluster_topic *now = cluster_topic(&o->given.controller->cluster, name);
    topic->dead = !now || memcmp(&now->id, id, sizeof *id) != 0;
    struct offsets_topic **bucket = bucket_of(o, name);
    topic->chain = *bucket;
    *bucket = topic;
    return topic;
}

/** What the name means now: the living one, or the placeholder of a name that nobody knows. */
static struct offsets_topic *
find_topic(const struct offsets *o, const char *name)
{
    static const struct uuid none;
    const struct cluster_topic *now = cluster_topic(&o->given.controller->cluster, name);
    const struct uuid *id = now ? &now->id : &none;
    struct offsets_topic *topic = *bucket_of(o, name);
    while (topic && (memcmp(&topic->id, id, sizeof *id) != 0 || strcmp(topic->name, name) != 0))
        topic = topic->chain;
    return topic;
}

struct offsets_topic *
offsets_topic_get(struct offsets *o, const char *name)
{
    static const struct uuid none;
    struct offsets_topic *topic = find_topic(o, name);
    if (topic)
        return topic;
    const struct cluster_topic *now = cluster_topic(&o->given.controller->cluster, name);
    topic = offsets_topic_add(o, name, now ? &now->id : &none, o->next_number);
    if (topic) {
        o->next_number++;
        offsets_dirty(o, &topic->thing);
    }
    return topic;
}

void
offsets_topic_drop(struct offsets *o, struct offsets_topic *topic)
{
    if (topic->entries > 0)
        return;
    struct offsets_topic **at = bucket_of(o, topic->name);
    while (*at != topic)
        at = &(*at)->chain;
    *at = topic->chain;
    offsets_gone(o, &topic->thing);
    free(topic->name);
    free(topic);
}

/* ---- entries -------------------------------------------------------------------------------- */

struct offsets_entry *
offsets_entry_find(const struct offsets *o, const struct offsets_group *group,
    const struct offsets_topic *topic, int32_t partition)
{
    struct offsets_entry *entry = NULL;
    if (o->entry_buckets > 0)
        entry = o->entries[hash_entry(group->number, topic->number, partition) % o->entry_buckets];
    while (
        entry && (entry->group != group || entry->topic != topic || entry->partition != partition))
        entry = entry->chain;
    return entry;
}

struct offsets_entry *
offsets_entry_get(
    struct offsets *o, struct offsets_group *group, struct offsets_topic *topic, int32_t partition)
{
    struct offsets_entry *entry = offsets_entry_find(o, group, topic, partition);
    if (entry)
        return entry;
    grow_entries(o);
    entry = o->entry_buckets > 0 ? calloc(1, sizeof *entry) : NULL;
    if (!entry) {
        err_no_memory();
        return NULL;
    }
    entry->thing.kind = OFFSETS_ENTRY;
    entry->group = group;
    entry->topic = topic;
    entry->partition = partition;
    struct offsets_entry **bucket = &o->entries[hash_of(entry) % o->entry_buckets];
    entry->chain = *bucket;
    *bucket = entry;
    entry->next = group->entries;
    if (entry->next)
        entry->next->previous = entry;
    group->entries = entry;
    group->entry_count++;
    topic->entries++;
    o->entry_count++;
    return entry;
}

void
offsets_entry_drop(struct offsets *o, struct offsets_entry *entry)
{
    struct offsets_entry **at = &o->entries[hash_of(entry) % o->entry_buckets];
    while (*at != entry)
        at = &(*at)->chain;
    *at = entry->chain;
    *(entry->previous ? &entry->previous->next : &entry->group->entries) = entry->next;
    if (entry->next)
        entry->next->previous = entry->previous;
    entry->group->entry_count--;
    o->entry_count--;
    offsets_gone(o, &entry->thing);
    if (--entry->topic->entries == 0)
        offsets_topic_drop(o, entry->topic);
    free(entry->metadata);
    free(entry);
}

struct offsets_entry *
offsets_entry_named(
    const struct offsets *o, const char *group_name, const char *topic_name, int32_t partition)
{
    struct offsets_group *group = offsets_group_find(o, group_name);
    struct offsets_topic *topic = group ? find_topic(o, topic_name) : NULL;
    return topic ? offsets_entry_find(o, group, topic, partition) : NULL;
}

static void
free_group(struct offsets_group *group)
{
    while (group->entries) {
        struct offsets_entry *entry = group->entries;
        group->entries = entry->next;
        free(entry->metadata);
        free(entry);
    }
    free(group->metadata);
    free(group->name);
    free(group);
}

void
offsets_state_clear(struct offsets *o)
{
    for (size_t i = 0; i < o->group_buckets; i++)
        while (o->groups[i]) {
            struct offsets_group *group = o->groups[i];
            o->groups[i] = group->chain;
            free_group(group);
        }
    for (size_t i = 0; i < OFFSETS_TOPIC_BUCKETS; i++)
        while (o->topics[i]) {
            struct offsets_topic *topic = o->topics[i];
            o->topics[i] = topic->chain;
            free(topic->name);
            free(topic);
        }
    free(o->groups);
    free(o->entries);
    o->groups = NULL;
    o->entries = NULL;
    o->group_buckets = o->group_count = o->entry_buckets = o->entry_count = 0;
    o->dirtiest = o->cleanest = NULL;
    o->dirty_count = 0;
}
