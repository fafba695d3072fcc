/* SPDX-License-Identifier: Apache-2.0
 * What the files of the group coordinator share; see group.h.
 */
#ifndef CORE_GROUP_INNER_H
#define CORE_GROUP_INNER_H

#include "core/group.h"

/* ---- groups.c ------------------------------------------------------------------------------- */

/** The hash of a name. */
uint64_t groups_hash(const char *name);

/** A new empty group; NULL without memory. */
struct group *groups_add(struct groups *groups, const char *id);

/** Takes a group without members out and frees it. */
void groups_remove(struct groups *groups, struct group *group);

/** The machine's time: without what busd itself had stopped. */
int64_t groups_time(const struct groups *groups, int64_t now_ms);

/** Puts the group at the right place in the queue of timers. */
void groups_arm(struct groups *groups, struct group *group);

/* ---- group.c: members ----------------------------------------------------------------------- */

/** A member that is in no group yet, with a copy of what the join tells. NULL without memory. */
struct group_member *member_new(const struct group_join *join, const char *id);

/** Frees a member that is in no group. */
void member_free(struct group_member *member);

/** Puts the member into the group; the first one leads. Charges it. After group_index_reserve(). */
void member_add(struct groups *groups, struct group *group, struct group_member *member);

/**
 * Takes the member out and frees it. Parked requests of its are answered UNKNOWN_MEMBER_ID; when it
 * led, the oldest member leads.
 */
void member_remove(struct groups *groups, struct group_member *member);

/** Gives the member what a later join tells. False without memory: nothing has changed. */
bool member_update(
    struct groups *groups, struct group_member *member, const struct group_join *join);

/** Whether the join offers the same protocols with the same metadata as the member did. */
bool member_matches(const struct group_member *member, const struct group_join *join);

/** Copies an assignment; false without memory. An empty one never fails. */
bool member_assign(struct groups *groups, struct group_member *member, struct bytes assignment);

/** Parks a join; one that is parked already is told to come again. */
void member_park_join(
    struct groups *groups, struct group_member *member, struct group_waiter *waiter);

/** Parks a sync; one that is parked already is told to come again. */
void member_park_sync(
    struct groups *groups, struct group_member *member, struct group_waiter *waiter);

/** Answers the parked join, if there is one. */
void member_answer_join(
    struct groups *groups, struct group_member *member, const struct group_joined *answer);

/** Answers the parked sync, if there is one, with the member's assignment or with an error. */
void member_answer_sync(struct groups *groups, struct group_member *member, enum bus_err error);

/** The member has been heard of. */
void member_touch(struct group_member *member, int64_t time_ms);

/** When the member's session ends; INT64_MAX while an answer is owed to it. */
int64_t member_deadline_ms(const struct group_member *member);

/** The pending id; NULL when there is none. `*link` is what points at it. */
struct group_pending *group_pending_find(
    struct group *group, const char *id, struct group_pending ***link);

/** Forgets a pending id. */
void group_pending_drop(struct groups *groups, struct group_pending **link);

/* ---- group_index.c -------------------------------------------------------------------------- */

/** Makes sure that a member can be added; false without memory. */
bool group_index_reserve(struct group *group);

/** Releases the index of a group without members. */
void group_index_free(struct group *group);

/** Adds a member by its ids. */
void group_index_add(struct group *group, struct group_member *member);

/** Takes it out, before one of its ids changes. */
void group_index_drop(struct group *group, const struct group_member *member);

/** The static member of an instance id; NULL when there is none. */
struct group_member *group_instance_find(const struct group *group, const char *instance_id);

/* ---- group_vote.c --------------------------------------------------------------------------- */

/** Whether somebody with these protocols fits to the group's members. */
bool group_supports(const struct group *group, const struct group_join *join);

/** The protocol that the members choose; borrowed from one of them. The group has members. */
const char *group_vote(const struct group *group);

/* ---- group_rebalance.c ---------------------------------------------------------------------- */

/** Starts a rebalance, unless one has started. */
void group_prepare(struct groups *groups, struct group *group, int64_t time_ms);

/**
 * Ends the joining when it is time to; puts the group's timer right. The last thing of every event:
 * a group that nobody needs is gone afterwards.
 */
void group_proceed(struct groups *groups, struct group *group, int64_t time_ms);

/** Members have gone: those who stay share their partitions. */
void group_shrunk(struct groups *groups, struct group *group, int64_t time_ms);

/** Does what the group's timers ask for. */
void group_expire(struct groups *groups, struct group *group, int64_t time_ms);

/** The earliest of the group's timers. */
int64_t group_deadline_ms(const struct group *group);

/** Begins a save; what waits for it has the number returned. Never 0. */
uint64_t group_save(struct groups *groups, const struct group *group, int *outcome);

/* ---- group_sync.c --------------------------------------------------------------------------- */

/** Whether the claim is a member's: NONE, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID. */
enum bus_err group_check_member(
    const struct group *group, const char *member_id, const char *instance_id);

/** The save of the leader's assignment is over. */
void group_assignment_saved(
    struct groups *groups, struct group *group, int64_t time_ms, enum bus_err error);

/* ---- group_join.c --------------------------------------------------------------------------- */

/** The save of a replaced static member is over. */
void group_replacement_saved(
    struct groups *groups, struct group_member *member, int64_t time_ms, enum bus_err error);

#endif
