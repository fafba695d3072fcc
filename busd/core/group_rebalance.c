/* SPDX-License-Identifier: Apache-2.0
 * A rebalance from its start to the new generation, and the timers of a group.
 */
#include "core/group_inner.h"

#include <stdlib.h>
#include <string.h>

static int64_t
earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/** As long as the most patient member asks for. */
static int64_t
patience_ms(const struct group *group)
{
    int64_t ms = 0;
    for (const struct group_member *m = group->first; m; m = m->next)
        if (m->rebalance_timeout_ms > ms)
            ms = m->rebalance_timeout_ms;
    return ms;
}

/* ---- the start ------------------------------------------------------------------------------ */

/** Those who wait for their share of this generation have to join again. */
static void
drop_assignment(struct groups *groups, struct group *group, int64_t time_ms)
{
    group->assignment_save = 0;
    for (struct group_member *m = group->first; m; m = m->next) {
        member_assign(groups, m, (struct bytes){NULL, 0});
        if (m->sync) {
            member_answer_sync(groups, m, BUS_ERR_REBALANCE_IN_PROGRESS);
            member_touch(m, time_ms);
        }
    }
}

static void
stop_sync_timer(struct group *group)
{
    group->sync_ms = INT64_MAX;
    for (struct group_member *m = group->first; m; m = m->next)
        m->is_unsynced = false;
}

void
group_prepare(struct groups *groups, struct group *group, int64_t time_ms)
{
    if (group->state == GROUP_PREPARING)
        return;
    if (group->state == GROUP_COMPLETING)
        drop_assignment(groups, group, time_ms);
    stop_sync_timer(group);
    int64_t wait_ms = patience_ms(group);
    group->is_initial = group->state == GROUP_EMPTY;
    group->has_newcomer = false;
    if (group->is_initial) {
        int64_t delay_ms = groups->rules.initial_delay_ms;
        group->wait_left_ms = wait_ms > delay_ms ? wait_ms - delay_ms : 0;
        wait_ms = delay_ms;
    }
    /* A static member that waits for its replacement to be saved has joined by that, too. */
    for (struct group_member *m = group->first; m; m = m->next)
        m->save = 0;
    group->state = GROUP_PREPARING;
    group->rebalance_ms = time_ms + wait_ms;
}

/* ---- the end -------------------------------------------------------------------------------- */

static void
drop_absent(struct groups *groups, struct group *group)
{
    struct group_member *next;
    for (struct group_member *m = group->first; m; m = next) {
        next = m->next;
        if (!m->join && !m->instance_id)
            member_remove(groups, m);
    }
}

/** Someone who has joined leads. False: nobody has. */
static bool
elect(struct group *group)
{
    struct group_member *member = group->leader;
    if (!member || !member->join)
        for (member = group->first; member && !member->join; member = member->next)
            ;
    if (member)
        group->leader = member;
    return member != NULL;
}

uint64_t
group_save(struct groups *groups, const struct group *group, int *outcome)
{
    uint64_t save = ++groups->last_save;
    *outcome = groups->ops.save(groups->ops.context, group, save);
    return save;
}

static void
next_generation(struct group *group, char *protocol)
{
    group->generation = group->generation == INT32_MAX ? 1 : group->generation + 1;
    free(group->protocol);
    group->protocol = protocol;
}

static void
become_empty(struct groups *groups, struct group *group)
{
    int outcome;
    next_generation(group, NULL);
    group->state = GROUP_EMPTY;
    group_save(groups, group, &outcome);
}

static void
answer_joins(struct groups *groups, struct group *group, int64_t time_ms)
{
    for (struct group_member *m = group->first; m; m = m->next) {
        struct group_joined answer = {
            .member_id = m->id,
            .group = group,
            .leader = group->leader->id,
            .lists_members = m == group->leader,
        };
        m->is_unsynced = true;
        m->is_new = false;
        m->knows_id = true;
        free(m->replaced_id);
        m->replaced_id = NULL;
        member_touch(m, time_ms);
        member_answer_join(groups, m, &answer);
    }
}

static void
try_again(struct group *group, int64_t time_ms)
{
    int64_t wait_ms = patience_ms(group);
    if (wait_ms < GROUP_REBALANCE_AGAIN_MS_MIN)
        wait_ms = GROUP_REBALANCE_AGAIN_MS_MIN;
    group->rebalance_ms = time_ms + wait_ms;
}

/** Those who have joined make the next generation; static members belong to it in any case. */
static void
complete(struct groups *groups, struct group *group, int64_t time_ms)
{
    drop_absent(groups, group);
    if (!group->first) {
        become_empty(groups, group);
        return;
    }
    char *protocol = elect(group) ? strdup(group_vote(group)) : NULL;
    if (!protocol) {
        try_again(group, time_ms);
        return;
    }
    next_generation(group, protocol);
    group->state = GROUP_COMPLETING;
    group->sync_ms = time_ms + patience_ms(group);
    answer_joins(groups, group, time_ms);
}

/** Whether the first members of a group are still being collected. */
static bool
waits_for_newcomers(const struct group *group, int64_t time_ms)
{
    return group->is_initial && time_ms < group->rebalance_ms;
}

/** Newcomers make the initial wait longer, as long as the members' patience allows. */
static bool
waits_longer(const struct groups *groups, struct group *group)
{
    int64_t more_ms = earlier(groups->rules.initial_delay_ms, group->wait_left_ms);
    if (!group->is_initial || !group->has_newcomer || more_ms == 0)
        return false;
    group->has_newcomer = false;
    group->wait_left_ms -= more_ms;
    group->rebalance_ms += more_ms;
    return true;
}

/** Whether nobody would miss the group: it never had a generation, and nobody is on the way. */
static bool
is_blank(const struct group *group)
{
    return group->state == GROUP_EMPTY && group->generation == 0 && !group->pending;
}

void
group_proceed(struct groups *groups, struct group *group, int64_t time_ms)
{
    if (group->state == GROUP_PREPARING && !waits_for_newcomers(group, time_ms) &&
        !waits_longer(groups, group)) {
        bool all_joined = group->joined_count == group->member_count && !group->pending;
        group->is_initial = false;
        if (all_joined || time_ms >= group->rebalance_ms)
            complete(groups, group, time_ms);
    }
    if (is_blank(group))
        groups_remove(groups, group);
    else
        groups_arm(groups, group);
}

void
group_shrunk(struct groups *groups, struct group *group, int64_t time_ms)
{
    if (group->state == GROUP_STABLE || group->state == GROUP_COMPLETING)
        group_prepare(groups, group, time_ms);
}

/* ---- timers --------------------------------------------------------------------------------- */

int64_t
group_deadline_ms(const struct group *group)
{
    int64_t ms = group->sync_ms;
    if (group->state == GROUP_PREPARING)
        ms = earlier(ms, group->rebalance_ms);
    for (const struct group_pending *p = group->pending; p; p = p->next)
        ms = earlier(ms, p->deadline_ms);
    for (const struct group_member *m = group->first; m; m = m->next)
        ms = earlier(ms, member_deadline_ms(m));
    return ms;
}

static void
expire_pending(struct groups *groups, struct group *group, int64_t time_ms)
{
    struct group_pending **link = &group->pending;
    while (*link)
        if ((*link)->deadline_ms <= time_ms)
            group_pending_drop(groups, link);
        else
            link = &(*link)->next;
}

static bool
expire_members(struct groups *groups, struct group *group, int64_t time_ms)
{
    bool any = false;
    struct group_member *next;
    bool syncs_end = group->sync_ms <= time_ms;
    for (struct group_member *m = group->first; m; m = next) {
        next = m->next;
        if (member_deadline_ms(m) <= time_ms || (syncs_end && m->is_unsynced)) {
            member_remove(groups, m);
            any = true;
        }
    }
    if (syncs_end)
        group->sync_ms = INT64_MAX;
    return any;
}

void
group_expire(struct groups *groups, struct group *group, int64_t time_ms)
{
    expire_pending(groups, group, time_ms);
    if (expire_members(groups, group, time_ms))
        group_shrunk(groups, group, time_ms);
    group_proceed(groups, group, time_ms);
}
