/* SPDX-License-Identifier: Apache-2.0
 * libbus: consumer groups, seen from outside: who is in them, what they have committed, how far
 * they are behind; to delete them and to set their offsets. Offsets of many partitions at once.
 *
 * Every call here asks busd and blocks at most `request.timeout.ms`; it may run on any thread,
 * several at once on one `bus`. What happens when busd is away is said in <bus/admin.h>.
 */
#ifndef BUS_GROUPS_H
#define BUS_GROUPS_H

#include <bus/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- groups and their members --------------------------------------------------------------- */

/** Groups with their members, a snapshot. */
struct bus_groups;

/**
 * Fetches all groups, sorted by name, or only `group`: then it fails with GROUP_ID_NOT_FOUND,
 * INVALID_GROUP_ID, or GROUP_AUTHORIZATION_FAILED (its members read what the caller may not read).
 * The caller frees the result.
 */
int bus_groups_fetch(struct bus *bus, const char *group, struct bus_groups **groups);

/** Frees a snapshot; its strings go with it. Thread: owner. */
void bus_groups_free(struct bus_groups **groups);

/** How many groups. */
size_t bus_groups_count(const struct bus_groups *groups);

/** A group of a snapshot; strings borrowed from it, never NULL. */
struct bus_group_state {
    const char *group;
    const char *state; /* "Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead" */
    const char *protocol_type; /* "consumer"; "" when it has only ever had offsets */
    const char *protocol;      /* the assignor in use; "" unless Stable */
    int32_t members;           /* -1: see `error` */
    int32_t error;             /* why its members are not told: an `enum bus_err`; 0 they are */
};

/** Group number `index`; -BUS_ERR_INVALID_ARGUMENT behind the last. */
int bus_groups_get(const struct bus_groups *groups, size_t index, struct bus_group_state *state);

/** A member of a group; strings borrowed from the snapshot. */
struct bus_member_state {
    const char *member_id;
    const char *instance_id; /* of a static member, else NULL */
    const char *client_id;
    const char *host;
    int32_t partitions; /* that it has; 0 during a rebalance; -1 not in Kafka's consumer protocol */
};

/** Member number `index` of group number `group`; -BUS_ERR_INVALID_ARGUMENT behind the last. */
int bus_groups_member(
    const struct bus_groups *groups, size_t group, size_t index, struct bus_member_state *member);

/** A partition; the name is borrowed from where it came. */
struct bus_place {
    const char *topic;
    int32_t partition;
};

/** Partition number `index` of a member, by topic; -BUS_ERR_INVALID_ARGUMENT behind the last. */
int bus_groups_assigned(const struct bus_groups *groups, size_t group, size_t member, size_t index,
    struct bus_place *place);

/** The number of the member of group number `group` that has the partition; -1: nobody has. */
int32_t bus_groups_owner(
    const struct bus_groups *groups, size_t group, const char *topic, int32_t partition);

/**
 * Deletes a group and all that it has committed. Fails with NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND,
 * GROUP_AUTHORIZATION_FAILED.
 */
int bus_group_delete(struct bus *bus, const char *group);

/* ---- committed offsets ---------------------------------------------------------------------- */

/** What groups have committed, a snapshot. */
struct bus_commits;

/**
 * Fetches the committed offsets of groups together with the ends of their partitions. `groups` are
 * `count` names; an unknown one has no rows. Rows come group after group in the order asked for, in
 * each by topic and partition; partitions that the caller may not read are left out. The caller
 * frees the result.
 */
int bus_commits_fetch(
    struct bus *bus, const char *const *groups, size_t count, struct bus_commits **commits);

/** Frees a snapshot; its strings go with it. Thread: owner. */
void bus_commits_free(struct bus_commits **commits);

/** How many rows. */
size_t bus_commits_count(const struct bus_commits *commits);

/** What a group has committed for a partition; strings borrowed, never NULL. */
struct bus_commit_state {
    const char *group;
    const char *topic;
    const char *metadata;     /* what the member wrote beside it */
    int64_t offset;           /* committed: the next record to be read */
    int64_t log_start_offset; /* -1: see `error` */
    int64_t end_offset;       /* -1: see `error` */
    int64_t lag;              /* end_offset - offset, at least 0; -1: see `error` */
    int32_t partition;
    int32_t leader_epoch; /* when it was committed; -1 unknown */
    int32_t error;        /* why the ends are not known: an `enum bus_err`; 0 they are */
};

/** Row number `index`; -BUS_ERR_INVALID_ARGUMENT behind the last. */
int bus_commits_get(
    const struct bus_commits *commits, size_t index, struct bus_commit_state *state);

/** An offset to be set, and what came of it. */
struct bus_commit_change {
    const char *topic;    /* borrowed for the call */
    const char *metadata; /* NULL: none; borrowed for the call */
    int64_t offset;       /* 0 and up */
    int32_t partition;
    int32_t error; /* set by the call: an `enum bus_err`, 0 it was done */
};

/**
 * Sets what a group has committed, as if a member had; makes the group if there is none. Only for a
 * group without members: members commit for themselves, and go on from where they are. Returns 0
 * when all was done, else the failure of the first one that was not, NON_EMPTY_GROUP when there are
 * members; `error` of each change tells which were done.
 */
int bus_commits_set(
    struct bus *bus, const char *group, struct bus_commit_change *changes, size_t count);

/**
 * Forgets what a group has committed for partitions; `metadata` and `offset` of the changes are
 * not looked at. Fails with GROUP_SUBSCRIBED_TO_TOPIC when members of the group read the topic,
 * GROUP_ID_NOT_FOUND, UNKNOWN_TOPIC_OR_PARTITION; returns as bus_commits_set().
 */
int bus_commits_delete(
    struct bus *bus, const char *group, struct bus_commit_change *changes, size_t count);

/* ---- offsets of partitions ------------------------------------------------------------------ */

/** What to look for in a partition, and what was found. */
struct bus_offset_query {
    const char *topic;    /* borrowed for the call */
    int64_t timestamp_ms; /* or BUS_OFFSET_BEGINNING, BUS_OFFSET_END, BUS_OFFSET_MAX_TIME */
    int64_t offset;       /* set: of the first record at or after the time; -1: there is none */
    int64_t found_ms;     /* set: its timestamp, -1 none or not asked for by time */
    int32_t partition;
    int32_t error; /* set: an `enum bus_err`, 0 it was found, or is not there */
};

/**
 * Looks for offsets in many partitions with few requests. Returns 0 when busd has answered, also
 * when it refused some: `error` of each query tells.
 */
int bus_offsets_find(struct bus *bus, struct bus_offset_query *queries, size_t count);

#ifdef __cplusplus
}
#endif
#endif
