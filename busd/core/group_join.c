/* SPDX-License-Identifier: Apache-2.0
 * JoinGroup: who comes in, under which id, and whether that makes a rebalance.
 */
#include "core/group_inner.h"

#include <stdlib.h>
#include <string.h>

/** One join on its way. */
struct joining {
    struct groups *groups;
    struct group *group;
    const struct group_join *join;
    struct group_waiter *waiter;
    int64_t time_ms;
};

static void
refuse(const struct joining *j, enum bus_err error, const char *member_id)
{
    struct group_joined answer = {.error = error, .member_id = member_id, .leader = ""};
    j->groups->ops.joined(j->groups->ops.context, j->waiter, &answer);
}

/** The generation as it is, to a member that missed it. */
static void
tell_generation(const struct joining *j, struct group_member *member, bool lists_members)
{
    struct group_joined answer = {
        .member_id = member->id,
        .group = j->group,
        .leader = j->group->leader->id,
        .lists_members = lists_members,
    };
    member_touch(member, j->time_ms);
    j->groups->ops.joined(j->groups->ops.context, j->waiter, &answer);
}

/* ---- limits --------------------------------------------------------------------------------- */

/** Who the one who joins is, or whose place it takes; NULL for a newcomer. */
static const struct group_member *
present_member(const struct group *group, const struct group_join *join)
{
    const struct group_member *member = group_member_find(group, join->member_id);
    if (!member && join->instance_id)
        member = group_instance_find(group, join->instance_id);
    return member;
}

/** Whether there is room for the one who joins. While members are joining those count who have. */
static bool
has_room(const struct joining *j)
{
    const struct group_member *member = present_member(j->group, j->join);
    int64_t size_max = j->groups->rules.size_max;
    if (j->group->state == GROUP_EMPTY)
        return true;
    if (j->group->state == GROUP_PREPARING)
        return (member && member->join) || j->group->joined_count < size_max;
    return member || j->group->member_count < size_max;
}

/** Who is in already and asks for no more than before is not to suffer from others. */
static bool
fits_memory(const struct joining *j)
{
    const struct group *group = groups_find(j->groups, j->join->group_id);
    const struct group_member *member = group ? present_member(group, j->join) : NULL;
    int64_t more = 0;
    for (int32_t i = 0; i < j->join->protocol_count; i++)
        more += j->join->protocols[i].metadata.len;
    for (int32_t i = 0; member && i < member->protocol_count; i++)
        more -= member->protocols[i].metadata.len;
    return (member && more <= 0) || j->groups->bytes + more < j->groups->rules.bytes_max;
}

/** Who has never been answered may wait for long, also when its join comes again on another
 * connection; others are owed an answer, and their sessions do not end before it. */
static void
park(const struct joining *j, struct group_member *member)
{
    if (member->is_new)
        member->deadline_ms = j->time_ms + GROUP_NEW_MEMBER_MS;
    member_park_join(j->groups, member, j->waiter);
}

/* ---- new members ---------------------------------------------------------------------------- */

/** The client has to come back with this id, so that retries do not become members of their own. */
static void
give_id(const struct joining *j)
{
    const char *id = j->join->fresh_id;
    size_t bytes = strlen(id) + 1;
    struct group_pending *pending = malloc(sizeof *pending + bytes);
    if (!pending) {
        refuse(j, BUS_ERR_COORDINATOR_NOT_AVAILABLE, "");
        return;
    }
    memcpy(pending->id, id, bytes);
    pending->deadline_ms = j->time_ms + j->join->session_timeout_ms;
    pending->next = j->group->pending;
    j->group->pending = pending;
    j->groups->bytes += (int64_t)(sizeof *pending + bytes);
    refuse(j, BUS_ERR_MEMBER_ID_REQUIRED, id);
}

/** The first member says what kind of group it is. */
static bool
take_type(const struct joining *j)
{
    struct group *group = j->group;
    if (group->first ||
        (group->protocol_type && strcmp(group->protocol_type, j->join->protocol_type) == 0))
        return true;
    char *type = strdup(j->join->protocol_type);
    if (!type)
        return false;
    free(group->protocol_type);
    group->protocol_type = type;
    return true;
}

static void
add_member(const struct joining *j, const char *id, struct group_pending **pending)
{
    struct group_member *member = member_new(j->join, id);
    if (!member || !group_index_reserve(j->group) || !take_type(j)) {
        if (member)
            member_free(member);
        refuse(j, BUS_ERR_COORDINATOR_NOT_AVAILABLE, "");
        return;
    }
    member->is_new = true;
    member->knows_id = pending != NULL;
    if (pending)
        group_pending_drop(j->groups, pending);
    j->group->has_newcomer = j->group->state == GROUP_PREPARING && j->group->generation == 0;
    member_add(j->groups, j->group, member);
    park(j, member);
    group_prepare(j->groups, j->group, j->time_ms);
}

/* ---- static members ------------------------------------------------------------------------- */

/** The old process of a static member learns that it has a successor. */
static void
fence(const struct joining *j, struct group_member *member)
{
    struct group_joined fenced = {
        .error = BUS_ERR_FENCED_INSTANCE_ID, .member_id = member->id, .leader = ""};
    member_answer_join(j->groups, member, &fenced);
    member_answer_sync(j->groups, member, BUS_ERR_FENCED_INSTANCE_ID);
}

void
group_replacement_saved(
    struct groups *groups, struct group_member *member, int64_t time_ms, enum bus_err error)
{
    struct group *group = member->group;
    bool leads = member == group->leader;
    struct group_joined answer = {
        .error = error,
        .member_id = error ? "" : member->id,
        .group = error ? NULL : group,
        .leader = error ? "" : group->leader->id,
    };
    member->save = 0;
    if (!error && leads && member->skips_assignment)
        answer.lists_members = answer.skips_assignment = true;
    /* An old client would work out an assignment that nobody asks for: it must not know. */
    if (!error && leads && !member->skips_assignment && member->replaced_id)
        answer.leader = member->replaced_id;
    if (member->join)
        member_touch(member, time_ms);
    member_answer_join(groups, member, &answer);
}

/** The group stays as it is, only the member's id is another one. */
static void
save_replacement(const struct joining *j, struct group_member *member)
{
    int outcome;
    member->save = group_save(j->groups, j->group, &outcome);
    if (outcome != 0)
        group_replacement_saved(j->groups, member, j->time_ms,
            outcome < 0 ? BUS_ERR_COORDINATOR_NOT_AVAILABLE : BUS_ERR_NONE);
}

static void
replace_member(const struct joining *j, struct group_member *member)
{
    char *id = strdup(j->join->fresh_id);
    if (!id || !member_update(j->groups, member, j->join)) {
        free(id);
        refuse(j, BUS_ERR_COORDINATOR_NOT_AVAILABLE, "");
        return;
    }
    fence(j, member);
    free(member->replaced_id);
    group_index_drop(j->group, member);
    member->replaced_id = member->id;
    member->id = id;
    group_index_add(j->group, member);
    member_touch(member, j->time_ms);
    park(j, member);
    bool same_protocol =
        j->group->protocol && strcmp(group_vote(j->group), j->group->protocol) == 0;
    if (j->group->state == GROUP_STABLE && same_protocol)
        save_replacement(j, member);
    else
        group_prepare(j->groups, j->group, j->time_ms);
}

static void
join_new(const struct joining *j)
{
    struct group_member *same =
        j->join->instance_id ? group_instance_find(j->group, j->join->instance_id) : NULL;
    if (!group_supports(j->group, j->join))
        refuse(j, BUS_ERR_INCONSISTENT_GROUP_PROTOCOL, "");
    else if (same)
        replace_member(j, same);
    else if (j->join->needs_known_id && !j->join->instance_id)
        give_id(j);
    else
        add_member(j, j->join->fresh_id, NULL);
}

/* ---- members that come again ---------------------------------------------------------------- */

static void
rejoin(const struct joining *j, struct group_member *member)
{
    if (!member_update(j->groups, member, j->join)) {
        refuse(j, BUS_ERR_COORDINATOR_NOT_AVAILABLE, member->id);
        return;
    }
    park(j, member);
    group_prepare(j->groups, j->group, j->time_ms);
}

static void
join_member(const struct joining *j, struct group_member *member)
{
    bool leads = member == j->group->leader;
    bool same = member_matches(member, j->join);
    switch (j->group->state) {
    case GROUP_COMPLETING:
        /* It did not get the answer to its last join, then. */
        if (same)
            tell_generation(j, member, leads);
        else
            rejoin(j, member);
        return;
    case GROUP_STABLE:
        /* A leader joins again for reasons that its metadata need not show: new partitions. */
        if (same && !leads)
            tell_generation(j, member, false);
        else
            rejoin(j, member);
        return;
    default:
        rejoin(j, member);
        return;
    }
}

static void
join_known(const struct joining *j)
{
    const char *id = j->join->member_id;
    struct group_pending **pending;
    if (!group_supports(j->group, j->join)) {
        refuse(j, BUS_ERR_INCONSISTENT_GROUP_PROTOCOL, id);
        return;
    }
    if (group_pending_find(j->group, id, &pending) && !j->join->instance_id) {
        add_member(j, id, pending);
        return;
    }
    enum bus_err error = group_check_member(j->group, id, j->join->instance_id);
    if (error)
        refuse(j, error, id);
    else
        join_member(j, group_member_find(j->group, id));
}

/* ---- the event ------------------------------------------------------------------------------ */

static enum bus_err
check_terms(const struct joining *j)
{
    const struct group_rules *rules = &j->groups->rules;
    const struct group_join *join = j->join;
    if (join->group_id[0] == '\0')
        return BUS_ERR_INVALID_GROUP_ID;
    if (join->session_timeout_ms < rules->session_min_ms ||
        join->session_timeout_ms > rules->session_max_ms)
        return BUS_ERR_INVALID_SESSION_TIMEOUT;
    if (join->protocol_count > GROUP_PROTOCOLS_MAX)
        return BUS_ERR_INCONSISTENT_GROUP_PROTOCOL;
    return fits_memory(j) ? BUS_ERR_NONE : BUS_ERR_GROUP_MAX_SIZE_REACHED;
}

/** The group; a newcomer without id founds it. */
static enum bus_err
find_group(struct joining *j)
{
    j->group = groups_find(j->groups, j->join->group_id);
    if (j->group)
        return has_room(j) ? BUS_ERR_NONE : BUS_ERR_GROUP_MAX_SIZE_REACHED;
    if (j->join->member_id[0] != '\0')
        return BUS_ERR_UNKNOWN_MEMBER_ID;
    if (j->join->protocol_type[0] == '\0' || j->join->protocol_count == 0)
        return BUS_ERR_INCONSISTENT_GROUP_PROTOCOL;
    if ((int64_t)j->groups->count >= j->groups->rules.groups_max)
        return BUS_ERR_GROUP_MAX_SIZE_REACHED;
    j->group = groups_add(j->groups, j->join->group_id);
    return j->group ? BUS_ERR_NONE : BUS_ERR_COORDINATOR_NOT_AVAILABLE;
}

/** Who is not let in does not stay in either: the last ones to join again are too many. */
static void
drop_refused(const struct joining *j)
{
    struct group_member *member = group_member_find(j->group, j->join->member_id);
    struct group_pending **pending;
    if (member)
        member_remove(j->groups, member);
    else if (group_pending_find(j->group, j->join->member_id, &pending))
        group_pending_drop(j->groups, pending);
}

void
group_join(struct groups *groups, int64_t now_ms, const struct group_join *join,
    struct group_waiter *waiter)
{
    struct joining j = {
        .groups = groups, .join = join, .waiter = waiter, .time_ms = groups_time(groups, now_ms)};
    enum bus_err error = check_terms(&j);
    if (!error)
        error = find_group(&j);
    if (error) {
        if (j.group)
            drop_refused(&j);
        refuse(&j, error, error == BUS_ERR_GROUP_MAX_SIZE_REACHED ? "" : join->member_id);
    } else if (join->member_id[0] == '\0') {
        join_new(&j);
    } else {
        join_known(&j);
    }
    if (j.group)
        group_proceed(groups, j.group, j.time_ms);
}
