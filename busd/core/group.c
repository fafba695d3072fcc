/* SPDX-License-Identifier: Apache-2.0
 * The members of a group: what they are, who they are, what they are owed.
 */
#include "base/check.h"
#include "core/group_inner.h"

#include <stdlib.h>
#include <string.h>

const char *
group_state_name(enum group_state state)
{
    static const char *const names[] = {
        "Empty", "PreparingRebalance", "CompletingRebalance", "Stable"};
    return names[state];
}

/* ---- making and changing -------------------------------------------------------------------- */

static size_t
protocols_bytes(const struct group_join *join)
{
    size_t bytes = (size_t)join->protocol_count * sizeof *join->protocols;
    for (int32_t i = 0; i < join->protocol_count; i++) {
        const struct group_protocol *p = &join->protocols[i];
        bytes += strlen(p->name) + 1 + (p->metadata.len > 0 ? (size_t)p->metadata.len : 0);
    }
    return bytes;
}

/** A copy of the protocols in one piece: the array, then the names and what they say. */
static struct group_protocol *
copy_protocols(const struct group_join *join)
{
    struct group_protocol *copy = malloc(protocols_bytes(join));
    if (!copy)
        return NULL;
    uint8_t *at = (uint8_t *)(copy + join->protocol_count);
    for (int32_t i = 0; i < join->protocol_count; i++) {
        const struct group_protocol *p = &join->protocols[i];
        size_t name_bytes = strlen(p->name) + 1;
        size_t bytes = p->metadata.len > 0 ? (size_t)p->metadata.len : 0;
        copy[i].name = memcpy(at, p->name, name_bytes);
        copy[i].metadata = (struct bytes){at + name_bytes, (int32_t)bytes};
        if (bytes > 0)
            memcpy(at + name_bytes, p->metadata.data, bytes);
        at += name_bytes + bytes;
    }
    return copy;
}

/** A member may have had to be waited for at least so long that a timer can be set. */
static int32_t
rebalance_timeout_ms(const struct group_join *join)
{
    int32_t ms = join->rebalance_timeout_ms;
    if (ms < 0)
        ms = join->session_timeout_ms;
    return ms > 0 ? ms : 1;
}

static void
take_terms(struct group_member *member, const struct group_join *join)
{
    member->protocol_count = join->protocol_count;
    member->session_timeout_ms = join->session_timeout_ms;
    member->rebalance_timeout_ms = rebalance_timeout_ms(join);
    member->skips_assignment = join->skips_assignment;
}

static size_t
fixed_bytes(const struct group_join *join, const char *id)
{
    return sizeof(struct group_member) + strlen(id) + strlen(join->client_id) +
           strlen(join->client_host) + (join->instance_id ? strlen(join->instance_id) : 0) + 4;
}

struct group_member *
member_new(const struct group_join *join, const char *id)
{
    struct group_member *member = calloc(1, sizeof *member);
    if (!member)
        return NULL;
    member->id = strdup(id);
    member->client_id = strdup(join->client_id);
    member->client_host = strdup(join->client_host);
    member->instance_id = join->instance_id ? strdup(join->instance_id) : NULL;
    member->protocols = copy_protocols(join);
    if (!member->id || !member->client_id || !member->client_host || !member->protocols ||
        (join->instance_id && !member->instance_id)) {
        member_free(member);
        return NULL;
    }
    take_terms(member, join);
    member->bytes = fixed_bytes(join, id) + protocols_bytes(join);
    member->deadline_ms = INT64_MAX;
    return member;
}

void
member_free(struct group_member *member)
{
    free(member->id);
    free(member->client_id);
    free(member->client_host);
    free(member->instance_id);
    free(member->replaced_id);
    free(member->protocols);
    free((void *)member->assignment.data);
    free(member);
}

static void
recharge(struct groups *groups, struct group_member *member, size_t less, size_t more)
{
    member->bytes = member->bytes - less + more;
    groups->bytes += (int64_t)more - (int64_t)less;
}

static size_t
own_protocols_bytes(const struct group_member *member)
{
    struct group_join join = {
        .protocols = member->protocols, .protocol_count = member->protocol_count};
    return protocols_bytes(&join);
}

bool
member_update(struct groups *groups, struct group_member *member, const struct group_join *join)
{
    struct group_protocol *protocols = copy_protocols(join);
    if (!protocols)
        return false;
    recharge(groups, member, own_protocols_bytes(member), protocols_bytes(join));
    free(member->protocols);
    member->protocols = protocols;
    take_terms(member, join);
    return true;
}

bool
member_matches(const struct group_member *member, const struct group_join *join)
{
    if (member->protocol_count != join->protocol_count)
        return false;
    for (int32_t i = 0; i < join->protocol_count; i++) {
        const struct group_protocol *a = &member->protocols[i], *b = &join->protocols[i];
        int32_t bytes = b->metadata.len > 0 ? b->metadata.len : 0;
        if (strcmp(a->name, b->name) != 0 || a->metadata.len != bytes ||
            (bytes > 0 && memcmp(a->metadata.data, b->metadata.data, (size_t)bytes) != 0))
            return false;
    }
    return true;
}

bool
member_assign(struct groups *groups, struct group_member *member, struct bytes assignment)
{
    size_t bytes = assignment.len > 0 ? (size_t)assignment.len : 0;
    uint8_t *copy = bytes > 0 ? malloc(bytes) : NULL;
    if (bytes > 0 && !copy)
        return false;
    if (copy)
        memcpy(copy, assignment.data, bytes);
    recharge(groups, member, (size_t)member->assignment.len, bytes);
    free((void *)member->assignment.data);
    member->assignment = (struct bytes){copy, (int32_t)bytes};
    return true;
}

struct bytes
group_member_metadata(const struct group_member *member)
{
    const char *protocol = member->group->protocol;
    for (int32_t i = 0; protocol && i < member->protocol_count; i++)
        if (strcmp(member->protocols[i].name, protocol) == 0)
            return member->protocols[i].metadata;
    return (struct bytes){NULL, 0};
}

/* ---- in and out ----------------------------------------------------------------------------- */

void
member_add(struct groups *groups, struct group *group, struct group_member *member)
{
    member->group = group;
    member->previous = group->last;
    if (group->last)
        group->last->next = member;
    else
        group->first = member;
    group->last = member;
    if (!group->leader)
        group->leader = member;
    group_index_add(group, member);
    group->member_count++;
    groups->bytes += (int64_t)member->bytes;
}

void
member_remove(struct groups *groups, struct group_member *member)
{
    struct group *group = member->group;
    static const struct group_joined sorry = {
        .error = BUS_ERR_UNKNOWN_MEMBER_ID, .member_id = "", .leader = ""};
    member_answer_join(groups, member, &sorry);
    member_answer_sync(groups, member, BUS_ERR_UNKNOWN_MEMBER_ID);
    group_index_drop(group, member);
    if (member->previous)
        member->previous->next = member->next;
    else
        group->first = member->next;
    if (member->next)
        member->next->previous = member->previous;
    else
        group->last = member->previous;
    if (group->leader == member)
        group->leader = group->first;
    group->member_count--;
    groups->bytes -= (int64_t)member->bytes;
    member_free(member);
}

struct group_pending *
group_pending_find(struct group *group, const char *id, struct group_pending ***link)
{
    *link = &group->pending;
    while (**link && strcmp((**link)->id, id) != 0)
        *link = &(**link)->next;
    return **link;
}

void
group_pending_drop(struct groups *groups, struct group_pending **link)
{
    struct group_pending *pending = *link;
    *link = pending->next;
    groups->bytes -= (int64_t)(sizeof *pending + strlen(pending->id) + 1);
    free(pending);
}

/* ---- parked requests ------------------------------------------------------------------------ */

void
member_answer_join(
    struct groups *groups, struct group_member *member, const struct group_joined *answer)
{
    struct group_waiter *waiter = member->join;
    if (!waiter)
        return;
    member->join = NULL;
    member->group->joined_count--;
    waiter->member = NULL;
    groups->ops.joined(groups->ops.context, waiter, answer);
}

void
member_answer_sync(struct groups *groups, struct group_member *member, enum bus_err error)
{
    struct group_waiter *waiter = member->sync;
    struct group_synced answer = {.error = error};
    if (!waiter)
        return;
    if (error == BUS_ERR_NONE) {
        answer.group = member->group;
        answer.assignment = member->assignment;
    }
    member->sync = NULL;
    waiter->member = NULL;
    groups->ops.synced(groups->ops.context, waiter, &answer);
}

void
member_park_join(struct groups *groups, struct group_member *member, struct group_waiter *waiter)
{
    struct group_joined again = {
        .error = BUS_ERR_REBALANCE_IN_PROGRESS, .member_id = member->id, .leader = ""};
    MUST(!waiter->member);
    member_answer_join(groups, member, &again);
    member->save = 0;
    member->join = waiter;
    member->group->joined_count++;
    *waiter = (struct group_waiter){.member = member};
}

void
member_park_sync(struct groups *groups, struct group_member *member, struct group_waiter *waiter)
{
    MUST(!waiter->member);
    member_answer_sync(groups, member, BUS_ERR_REBALANCE_IN_PROGRESS);
    member->sync = waiter;
    *waiter = (struct group_waiter){.member = member, .syncs = true};
}

/* ---- time ----------------------------------------------------------------------------------- */

void
member_touch(struct group_member *member, int64_t time_ms)
{
    member->deadline_ms = time_ms + member->session_timeout_ms;
}

int64_t
member_deadline_ms(const struct group_member *member)
{
    bool is_owed = member->sync || (member->join && !member->is_new);
    return is_owed ? INT64_MAX : member->deadline_ms;
}
