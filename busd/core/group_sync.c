/* SPDX-License-Identifier: Apache-2.0
 * SyncGroup, Heartbeat, LeaveGroup and the check of OffsetCommit: what members do between two
 * rebalances.
 */
#include "core/group_inner.h"

#include <string.h>

/* ---- who speaks ----------------------------------------------------------------------------- */

enum bus_err
group_check_member(const struct group *group, const char *member_id, const char *instance_id)
{
    if (!instance_id)
        return group_member_find(group, member_id) ? BUS_ERR_NONE : BUS_ERR_UNKNOWN_MEMBER_ID;
    const struct group_member *member = group_instance_find(group, instance_id);
    if (!member)
        return BUS_ERR_UNKNOWN_MEMBER_ID;
    return strcmp(member->id, member_id) == 0 ? BUS_ERR_NONE : BUS_ERR_FENCED_INSTANCE_ID;
}

static enum bus_err
check_claim(const struct group *group, const struct group_claim *claim)
{
    enum bus_err error = group_check_member(group, claim->member_id, claim->instance_id);
    if (error)
        return error;
    return claim->generation == group->generation ? BUS_ERR_NONE : BUS_ERR_ILLEGAL_GENERATION;
}

/* ---- SyncGroup ------------------------------------------------------------------------------ */

static bool
differs(const char *told, const char *is)
{
    return told && (!is || strcmp(told, is) != 0);
}

static enum bus_err
check_sync(const struct group *group, const struct group_sync *sync)
{
    if (!group)
        return BUS_ERR_UNKNOWN_MEMBER_ID;
    enum bus_err error = check_claim(group, &sync->claim);
    if (error)
        return error;
    if (differs(sync->protocol_type, group->protocol_type) ||
        differs(sync->protocol, group->protocol))
        return BUS_ERR_INCONSISTENT_GROUP_PROTOCOL;
    return group->state == GROUP_PREPARING ? BUS_ERR_REBALANCE_IN_PROGRESS : BUS_ERR_NONE;
}

static void
note_sync(struct group_member *member)
{
    struct group *group = member->group;
    member->is_unsynced = false;
    for (const struct group_member *m = group->first; m; m = m->next)
        if (m->is_unsynced)
            return;
    group->sync_ms = INT64_MAX;
}

/** Gives every member what the leader has for it; who is not named gets nothing. */
static bool
assign(struct groups *groups, struct group *group, const struct group_sync *sync)
{
    for (struct group_member *m = group->first; m; m = m->next)
        member_assign(groups, m, (struct bytes){NULL, 0});
    int64_t bytes = groups->bytes;
    for (int32_t i = 0; i < sync->share_count; i++)
        bytes += sync->shares[i].assignment.len;
    if (bytes > groups->rules.bytes_max)
        return false;
    for (int32_t i = 0; i < sync->share_count; i++) {
        struct group_member *m = group_member_find(group, sync->shares[i].member_id);
        if (m && !member_assign(groups, m, sync->shares[i].assignment))
            return false;
    }
    return true;
}

void
group_assignment_saved(
    struct groups *groups, struct group *group, int64_t time_ms, enum bus_err error)
{
    group->assignment_save = 0;
    if (!error)
        group->state = GROUP_STABLE;
    for (struct group_member *m = group->first; m; m = m->next) {
        if (error)
            member_assign(groups, m, (struct bytes){NULL, 0});
        if (m->sync) {
            member_answer_sync(groups, m, error);
            member_touch(m, time_ms);
        }
    }
    if (error)
        group_prepare(groups, group, time_ms);
}

/** The leader's word counts once it is on stable storage. */
static void
take_assignment(
    struct groups *groups, struct group *group, const struct group_sync *sync, int64_t time_ms)
{
    int outcome = -BUS_ERR_NO_MEMORY;
    if (group->assignment_save != 0)
        return;
    if (assign(groups, group, sync))
        group->assignment_save = group_save(groups, group, &outcome);
    if (outcome != 0)
        group_assignment_saved(
            groups, group, time_ms, outcome < 0 ? BUS_ERR_COORDINATOR_NOT_AVAILABLE : BUS_ERR_NONE);
}

void
group_sync(struct groups *groups, int64_t now_ms, const struct group_sync *sync,
    struct group_waiter *waiter)
{
    int64_t time_ms = groups_time(groups, now_ms);
    struct group *group = groups_find(groups, sync->claim.group_id);
    struct group_synced refused = {.error = check_sync(group, sync)};
    if (refused.error) {
        groups->ops.synced(groups->ops.context, waiter, &refused);
        return;
    }
    struct group_member *member = group_member_find(group, sync->claim.member_id);
    note_sync(member);
    member_touch(member, time_ms);
    member_park_sync(groups, member, waiter);
    if (group->state == GROUP_STABLE)
        member_answer_sync(groups, member, BUS_ERR_NONE);
    else if (member == group->leader)
        take_assignment(groups, group, sync, time_ms);
    group_proceed(groups, group, time_ms);
}

void
group_cancel(struct groups *groups, int64_t now_ms, struct group_waiter *waiter)
{
    struct group_member *member = waiter->member;
    if (!member)
        return;
    int64_t time_ms = groups_time(groups, now_ms);
    struct group *group = member->group;
    waiter->member = NULL;
    member_touch(member, time_ms);
    if (waiter->syncs) {
        member->sync = NULL;
    } else {
        member->join = NULL;
        group->joined_count--;
        if (!member->knows_id && !member->instance_id)
            member_remove(groups, member);
    }
    group_proceed(groups, group, time_ms);
}

/* ---- Heartbeat, OffsetCommit ---------------------------------------------------------------- */

enum bus_err
group_heartbeat(struct groups *groups, int64_t now_ms, const struct group_claim *claim)
{
    struct group *group = groups_find(groups, claim->group_id);
    enum bus_err error = group ? check_claim(group, claim) : BUS_ERR_UNKNOWN_MEMBER_ID;
    if (error)
        return error;
    /* A later deadline needs no new timer: when the old one comes, it looks again. */
    member_touch(group_member_find(group, claim->member_id), groups_time(groups, now_ms));
    return group->state == GROUP_PREPARING ? BUS_ERR_REBALANCE_IN_PROGRESS : BUS_ERR_NONE;
}

enum bus_err
group_commit(struct groups *groups, int64_t now_ms, const struct group_claim *claim)
{
    struct group *group = groups_find(groups, claim->group_id);
    if (claim->generation < 0 && (!group || group->state == GROUP_EMPTY))
        return BUS_ERR_NONE;
    if (!group)
        return BUS_ERR_GROUP_ID_NOT_FOUND;
    enum bus_err error = check_claim(group, claim);
    if (error)
        return error;
    if (group->state == GROUP_COMPLETING)
        return BUS_ERR_REBALANCE_IN_PROGRESS;
    member_touch(group_member_find(group, claim->member_id), groups_time(groups, now_ms));
    return BUS_ERR_NONE;
}

/* ---- LeaveGroup ----------------------------------------------------------------------------- */

enum bus_err
group_leave(struct groups *groups, int64_t now_ms, const struct group_claim *claim)
{
    int64_t time_ms = groups_time(groups, now_ms);
    struct group *group = groups_find(groups, claim->group_id);
    struct group_pending **pending;
    struct group_member *member = NULL;
    if (!group)
        return BUS_ERR_UNKNOWN_MEMBER_ID;
    if (claim->member_id[0] != '\0' && group_pending_find(group, claim->member_id, &pending)) {
        group_pending_drop(groups, pending);
    } else {
        /* An operator sends a static member away by its instance id alone. */
        if (claim->member_id[0] == '\0' && claim->instance_id)
            member = group_instance_find(group, claim->instance_id);
        else if (claim->member_id[0] != '\0') {
            enum bus_err error = group_check_member(group, claim->member_id, claim->instance_id);
            if (error)
                return error;
            member = group_member_find(group, claim->member_id);
        }
        if (!member)
            return BUS_ERR_UNKNOWN_MEMBER_ID;
        member_remove(groups, member);
        group_shrunk(groups, group, time_ms);
    }
    group_proceed(groups, group, time_ms);
    return BUS_ERR_NONE;
}
