/* SPDX-License-Identifier: Apache-2.0
 * What ends offsets without anybody asking: age, and the end of their topics.
 */
#include "base/clock.h"
#include "base/err.h"
#include "base/trace.h"
#include "cluster/offsets_inner.h"

#include <string.h>

enum { MS_A_MINUTE = 60000 };

/** Tombstones for one partition of the topic, queued some hundred at a time. */
struct removal {
    struct offsets *offsets;
    struct offsets_job *job; /* being filled, or NULL */
    int64_t life_ms, retention_ms;
};

static void
flush_removal(struct removal *removal)
{
    if (removal->job)
        offsets_job_queue(removal->job);
    removal->job = NULL;
}

/** A job of the partition with room for more. */
static struct offsets_job *
job_for(struct removal *removal, int32_t partition)
{
    struct offsets_job *job = removal->job;
    if (job && (job->part->index != partition || job->count >= OFFSETS_RECORDS_AT_ONCE))
        flush_removal(removal);
    if (!removal->job)
        removal->job = offsets_job_new(&removal->offsets->parts[partition], NULL);
    return removal->job;
}

/** Without memory nothing happens: the next check finds it again. */
static void
remove_offset(struct removal *removal, const char *group, int32_t group_partition,
    const char *topic, int32_t partition)
{
    struct offsets_job *job = job_for(removal, group_partition);
    if (!job || offsets_put_removal(job, group, topic, partition) < 0)
        trace(TRACE_WARNING, "removing an offset of group %s: %s", group, err_text());
}

/* ---- age ------------------------------------------------------------------------------------ */

static enum offsets_usage
usage_of(const struct offsets *o, const struct offsets_group *group, const char *topic)
{
    if (o->given.ops->usage)
        return o->given.ops->usage(o->given.context, group->name, topic);
    return group->members ? OFFSETS_SUBSCRIBED : OFFSETS_UNUSED;
}

/** Kafka's rule: a group without members ages as a whole from when it lost them, unless it never
 * had any; with members, what they do not read ages from the commit. */
static bool
has_expired(const struct removal *removal, const struct offsets_entry *entry)
{
    const struct offsets_group *group = entry->group;
    enum offsets_usage usage = usage_of(removal->offsets, group, entry->topic->name);
    /* What says that the members are gone may still be on its way to the topic. */
    if (usage == OFFSETS_SUBSCRIBED || (usage == OFFSETS_UNUSED && group->members))
        return false;
    bool whole = usage == OFFSETS_UNUSED && !group->simple;
    int64_t from_ms =
        whole && group->since_life_ms > entry->life_ms ? group->since_life_ms : entry->life_ms;
    int64_t retention_ms = entry->retention_ms >= 0 ? entry->retention_ms : removal->retention_ms;
    if (entry->retention_ms >= 0)
        from_ms = entry->life_ms;
    return removal->life_ms - from_ms >= retention_ms;
}

static void
expire_group(struct removal *removal, struct offsets_group *group)
{
    struct offsets *o = removal->offsets;
    size_t expired = 0;
    for (struct offsets_entry *entry = group->entries; entry; entry = entry->next)
        if (has_expired(removal, entry)) {
            expired++;
            remove_offset(
                removal, group->name, group->partition, entry->topic->name, entry->partition);
        }
    bool idle = group->metadata && !group->members && usage_of(o, group, "") == OFFSETS_UNUSED;
    if (!idle || expired < group->entry_count)
        return;
    struct offsets_job *job = job_for(removal, group->partition);
    if (!job || offsets_put_group(job, group->name, NULL) < 0)
        trace(TRACE_WARNING, "removing group %s: %s", group->name, err_text());
}

void
offsets_expire_run(struct offsets *o)
{
    int64_t now = o->given.ops->mono_ms(o->given.context);
    if (now < o->check_ms)
        return;
    int64_t interval_ms = offsets_setting(o, BROKER_OFFSETS_RETENTION_CHECK_INTERVAL_MS);
    o->check_ms = now + interval_ms;
    /* The clock of ages is stored with every save: see to one. */
    if (o->saving.due_ms < 0 && o->group_count > 0)
        o->saving.due_ms = now;
    for (int32_t i = 0; i < o->part_count; i++) {
        struct removal removal = {.offsets = o,
            .life_ms = offsets_life_ms(o),
            .retention_ms = offsets_setting(o, BROKER_OFFSETS_RETENTION_MINUTES) * MS_A_MINUTE};
        for (size_t b = 0; b < o->group_buckets && o->parts[i].ready; b++)
            for (struct offsets_group *group = o->groups[b]; group; group = group->chain)
                if (group->partition == i)
                    expire_group(&removal, group);
        flush_removal(&removal);
    }
}

/* ---- topics that are gone ------------------------------------------------------------------- */

/** Drops what a group has for dead topics. Where the name lives again with an offset of its own,
 * that is the newest in the log, and there is nothing to remove from it. */
static void
bury_of(struct removal *removal, struct offsets_group *group)
{
    struct offsets *o = removal->offsets;
    for (struct offsets_entry *entry = group->entries, *next; entry; entry = next) {
        next = entry->next;
        if (!entry->topic->dead)
            continue;
        struct offsets_entry *living =
            offsets_entry_named(o, group->name, entry->topic->name, entry->partition);
        if (!living || living == entry)
            remove_offset(
                removal, group->name, group->partition, entry->topic->name, entry->partition);
        offsets_entry_drop(o, entry);
    }
}

static bool
anybody_dead(const struct offsets *o)
{
    for (size_t i = 0; i < OFFSETS_TOPIC_BUCKETS; i++)
        for (const struct offsets_topic *topic = o->topics[i]; topic; topic = topic->chain)
            if (topic->dead)
                return true;
    return false;
}

void
offsets_bury(struct offsets *o)
{
    if (!anybody_dead(o))
        return;
    for (int32_t i = 0; i < o->part_count; i++) {
        struct removal removal = {.offsets = o};
        for (size_t b = 0; b < o->group_buckets && o->parts[i].ready; b++)
            for (struct offsets_group *group = o->groups[b], *next; group; group = next) {
                next = group->chain;
                if (group->partition != i)
                    continue;
                bury_of(&removal, group);
                offsets_group_drop(o, group);
            }
        flush_removal(&removal);
    }
}

/** What is on its way for the topic would come into force behind its end. */
static void
bury_job(struct removal *removal, const struct offsets_job *job, const char *topic)
{
    struct offsets *o = removal->offsets;
    struct offsets_raw raw;
    struct offsets_record record;
    for (size_t at = 0; offsets_next_record(job, &at, &raw);) {
        arena_reset(&o->arena);
        if (offsets_record_read(&raw, &record, &o->arena) == 0 && !record.removed &&
            record.type == OFFSETS_RECORD_COMMIT && strcmp(record.topic, topic) == 0)
            remove_offset(removal, record.group, job->part->index, record.topic, record.partition);
    }
}

static void
bury_jobs(struct offsets *o, struct offsets_part *part, const char *topic)
{
    struct removal removal = {.offsets = o};
    for (struct offsets_flight *flight = part->flights; flight; flight = flight->next)
        for (struct offsets_job *job = flight->jobs.first; job; job = job->next)
            bury_job(&removal, job, topic);
    /* What is queued below goes behind these. */
    struct offsets_job *last = NULL;
    for (struct offsets_job *job = part->jobs.first; job; job = job->next)
        last = job;
    for (struct offsets_job *job = part->jobs.first; last; job = job->next) {
        bury_job(&removal, job, topic);
        if (job == last)
            break;
    }
    flush_removal(&removal);
}

void
offsets_topic_deleted(struct offsets *o, const struct cluster_topic *gone)
{
    for (size_t i = 0; i < OFFSETS_TOPIC_BUCKETS; i++)
        for (struct offsets_topic *topic = o->topics[i]; topic; topic = topic->chain)
            if (memcmp(&topic->id, &gone->id, sizeof topic->id) == 0)
                topic->dead = true;
    for (int32_t i = 0; i < o->part_count; i++)
        bury_jobs(o, &o->parts[i], gone->name);
    offsets_bury(o);
    /* The topic may be made again before the loop turns: its end comes before that in the log. */
    for (int32_t i = 0; i < o->part_count; i++)
        if (o->parts[i].jobs.first && offsets_part_harden(&o->parts[i]) < 0)
            trace(TRACE_WARNING, "the offsets of topic %s: %s", gone->name, err_text());
}
