/* SPDX-License-Identifier: Apache-2.0
 * The table of all groups and the queue of their timers.
 */
#include "base/check.h"
#include "core/group_inner.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS_MIN = 64 };

uint64_t
groups_hash(const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}

void
groups_init(struct groups *groups, const struct group_ops *ops, const struct group_rules *rules)
{
    *groups = (struct groups){.ops = *ops, .rules = *rules};
}

void
groups_configure(struct groups *groups, const struct group_rules *rules)
{
    groups->rules = *rules;
}

/* ---- the table ------------------------------------------------------------------------------ */

static struct group **
bucket_of(const struct groups *groups, uint64_t hash)
{
    return &groups->buckets[hash & (groups->bucket_count - 1)];
}

struct group *
groups_find(const struct groups *groups, const char *id)
{
    if (groups->count == 0)
        return NULL;
    uint64_t hash = groups_hash(id);
    struct group *group = *bucket_of(groups, hash);
    while (group && (group->hash != hash || strcmp(group->id, id) != 0))
        group = group->next;
    return group;
}

struct group *
groups_next(const struct groups *groups, const struct group *group)
{
    size_t bucket = 0;
    if (group && group->next)
        return group->next;
    if (group)
        bucket = (group->hash & (groups->bucket_count - 1)) + 1;
    for (; bucket < groups->bucket_count; bucket++)
        if (groups->buckets[bucket])
            return groups->buckets[bucket];
    return NULL;
}

/** Twice the buckets. Without memory the chains just become longer, but the first ones must be. */
static bool
grow_buckets(struct groups *groups)
{
    if (groups->count < groups->bucket_count)
        return true;
    size_t count = groups->bucket_count ? groups->bucket_count * 2 : BUCKETS_MIN;
    struct group **old = groups->buckets, **buckets = calloc(count, sizeof(struct group *));
    if (!buckets)
        return old != NULL;
    size_t old_count = groups->bucket_count;
    groups->buckets = buckets;
    groups->bucket_count = count;
    for (size_t i = 0; i < old_count; i++)
        while (old[i]) {
            struct group *group = old[i], **bucket = bucket_of(groups, group->hash);
            old[i] = group->next;
            group->next = *bucket;
            *bucket = group;
        }
    free(old);
    return true;
}

/** Room in the queue for all groups, so that starting a timer cannot fail. */
static bool
grow_timers(struct groups *groups)
{
    if (groups->count < groups->timer_capacity)
        return true;
    size_t capacity = groups->timer_capacity ? groups->timer_capacity * 2 : BUCKETS_MIN;
    struct group **timers = realloc(groups->timers, capacity * sizeof(struct group *));
    if (!timers)
        return false;
    groups->timers = timers;
    groups->timer_capacity = capacity;
    return true;
}

static int64_t
own_bytes(const struct group *group)
{
    return (int64_t)(sizeof *group + strlen(group->id) + 1);
}

struct group *
groups_add(struct groups *groups, const char *id)
{
    if (!grow_buckets(groups) || !grow_timers(groups))
        return NULL;
    struct group *group = calloc(1, sizeof *group);
    char *copy = strdup(id);
    if (!group || !copy) {
        free(group);
        free(copy);
        return NULL;
    }
    group->id = copy;
    group->hash = groups_hash(id);
    group->sync_ms = group->armed_ms = INT64_MAX;
    struct group **bucket = bucket_of(groups, group->hash);
    group->next = *bucket;
    *bucket = group;
    groups->count++;
    groups->bytes += own_bytes(group);
    return group;
}

void
groups_remove(struct groups *groups, struct group *group)
{
    MUST(!group->first);
    while (group->pending)
        group_pending_drop(groups, &group->pending);
    groups_arm(groups, group);
    MUST(group->armed_ms == INT64_MAX);
    struct group **link = bucket_of(groups, group->hash);
    while (*link != group)
        link = &(*link)->next;
    *link = group->next;
    groups->count--;
    groups->bytes -= own_bytes(group);
    free(group->id);
    free(group->protocol_type);
    free(group->protocol);
    group_index_free(group);
    free(group);
}

enum bus_err
groups_forget(struct groups *groups, const char *id)
{
    struct group *group = groups_find(groups, id);
    if (!group)
        return BUS_ERR_GROUP_ID_NOT_FOUND;
    if (group->state != GROUP_EMPTY)
        return BUS_ERR_NON_EMPTY_GROUP;
    groups_remove(groups, group);
    return BUS_ERR_NONE;
}

void
groups_fini(struct groups *groups)
{
    struct group *group;
    while ((group = groups_next(groups, NULL))) {
        while (group->first)
            member_remove(groups, group->first);
        group->state = GROUP_EMPTY;
        group->sync_ms = INT64_MAX;
        groups_remove(groups, group);
    }
    MUST(groups->bytes == 0);
    free(groups->buckets);
    free(groups->timers);
}

/* ---- the queue of timers: a binary heap ----------------------------------------------------- */

static void
place(struct groups *groups, struct group *group, size_t at)
{
    groups->timers[at] = group;
    group->timer = at;
}

static void
sift_up(struct groups *groups, struct group *group)
{
    size_t at = group->timer;
    while (at > 0 && groups->timers[(at - 1) / 2]->armed_ms > group->armed_ms) {
        place(groups, groups->timers[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    place(groups, group, at);
}

static void
sift_down(struct groups *groups, struct group *group)
{
    size_t at = group->timer, child;
    while ((child = 2 * at + 1) < groups->timer_count) {
        if (child + 1 < groups->timer_count &&
            groups->timers[child + 1]->armed_ms < groups->timers[child]->armed_ms)
            child++;
        if (groups->timers[child]->armed_ms >= group->armed_ms)
            break;
        place(groups, groups->timers[child], at);
        at = child;
    }
    place(groups, group, at);
}

static void
unqueue(struct groups *groups, struct group *group)
{
    struct group *last = groups->timers[--groups->timer_count];
    group->armed_ms = INT64_MAX;
    if (last == group)
        return;
    place(groups, last, group->timer);
    sift_up(groups, last);
    sift_down(groups, last);
}

void
groups_arm(struct groups *groups, struct group *group)
{
    int64_t deadline_ms = group_deadline_ms(group);
    bool queued = group->armed_ms != INT64_MAX;
    if (deadline_ms == group->armed_ms)
        return;
    if (deadline_ms == INT64_MAX) {
        unqueue(groups, group);
        return;
    }
    group->armed_ms = deadline_ms;
    if (!queued)
        group->timer = groups->timer_count++;
    sift_up(groups, group);
    sift_down(groups, group);
}

/* ---- time ----------------------------------------------------------------------------------- */

int64_t
groups_time(const struct groups *groups, int64_t now_ms)
{
    return now_ms - groups->late_ms;
}

int64_t
groups_deadline_ms(const struct groups *groups)
{
    return groups->timer_count == 0 ? INT64_MAX : groups->timers[0]->armed_ms + groups->late_ms;
}

/**
 * When busd was stopped, or the machine asleep, the members' heartbeats wait in the sockets:
 * nobody is late until they have been read.
 */
static void
forgive_stall(struct groups *groups, int64_t now_ms)
{
    int64_t deadline_ms = groups_deadline_ms(groups);
    if (deadline_ms != INT64_MAX && now_ms - deadline_ms > GROUP_STALL_MS)
        groups->late_ms += now_ms - deadline_ms + GROUP_STALL_MS;
}

void
groups_tick(struct groups *groups, int64_t now_ms)
{
    forgive_stall(groups, now_ms);
    int64_t time_ms = groups_time(groups, now_ms);
    while (groups->timer_count > 0 && groups->timers[0]->armed_ms <= time_ms)
        group_expire(groups, groups->timers[0], time_ms);
}

/* ---- saves ---------------------------------------------------------------------------------- */

/** What a failure of the storage is called in an answer: the client comes again. */
static enum bus_err
save_error(int rc)
{
    if (rc >= 0)
        return BUS_ERR_NONE;
    return rc == -BUS_ERR_MESSAGE_TOO_LARGE ? BUS_ERR_UNKNOWN_SERVER_ERROR
                                            : BUS_ERR_COORDINATOR_NOT_AVAILABLE;
}

static void
settle_save(struct groups *groups, struct group *group, int64_t time_ms, uint64_t save, int rc)
{
    if (group->assignment_save == save) {
        group_assignment_saved(groups, group, time_ms, save_error(rc));
        return;
    }
    for (struct group_member *m = group->first; m; m = m->next)
        if (m->save == save) {
            group_replacement_saved(groups, m, time_ms, save_error(rc));
            return;
        }
}

void
groups_saved(struct groups *groups, int64_t now_ms, const char *group_id, uint64_t save, int rc)
{
    int64_t time_ms = groups_time(groups, now_ms);
    struct group *group = groups_find(groups, group_id);
    if (!group || save == 0)
        return;
    settle_save(groups, group, time_ms, save, rc);
    group_proceed(groups, group, time_ms);
}
