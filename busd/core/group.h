/* SPDX-License-Identifier: Apache-2.0
 * The coordinator of consumer groups (Kafka's classic protocol): a state machine without fd, clock,
 * thread or random source: (state, now, event) -> effects.
 *
 * Events are the functions that take a monotonic `now_ms`, and groups_saved(). Effects are calls of
 * struct group_ops, made before the event's function returns; they may read the group and must not
 * call back. Outcomes are error codes of the answers, so they are returned as such, without a text.
 *
 * Thread: the loop. Nothing here blocks.
 */
#ifndef CORE_GROUP_H
#define CORE_GROUP_H

#include "base/err.h"
#include "protocol/schema.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GROUP_PROTOCOLS_MAX = 64,     /* that one member may offer */
    GROUP_NEW_MEMBER_MS = 300000, /* how long a join of a new member may stay unanswered */
    GROUP_STALL_MS = 1000,        /* a tick so late means that busd itself had stopped */
    GROUP_REBALANCE_AGAIN_MS_MIN =
        1000, /* until a rebalance that nobody joined is looked at again */
};

enum group_state {
    GROUP_EMPTY,      /* no members, maybe committed offsets */
    GROUP_PREPARING,  /* members are joining */
    GROUP_COMPLETING, /* joined; the leader works out who gets what */
    GROUP_STABLE,
};

/** The state's name in DescribeGroups: "Empty", "PreparingRebalance", … Static. */
const char *group_state_name(enum group_state state);

/** A way to assign partitions that a member knows, and what it tells the leader for that. */
struct group_protocol {
    const char *name;
    struct bytes metadata; /* opaque */
};

struct group;
struct group_member;

/** A parked JoinGroup or SyncGroup: lives with the caller, zeroed at first. */
struct group_waiter {
    struct group_member *member; /* NULL: nothing is waiting */
    bool syncs;                  /* a SyncGroup */
};

struct group_member {
    struct group *group;
    struct group_member *next, *previous;           /* in the order of joining */
    struct group_member *id_chain, *instance_chain; /* in their buckets */
    uint64_t id_hash, instance_hash;
    char *id;          /* owned, like all below */
    char *instance_id; /* NULL: a dynamic member */
    char *client_id, *client_host;
    char *replaced_id; /* the id before the last replacement of a static member, or NULL */
    struct group_protocol *protocols; /* its favourite first */
    int32_t protocol_count;
    struct bytes assignment; /* of this generation; len 0: none */
    int32_t session_timeout_ms, rebalance_timeout_ms;
    int64_t deadline_ms;              /* of the session */
    struct group_waiter *join, *sync; /* parked; borrowed */
    uint64_t save;                    /* that its join waits for; 0: none */
    size_t bytes;                     /* what it is charged for */
    bool is_new;                      /* has had no answer to a join yet */
    bool knows_id;                    /* could come back on another connection */
    bool skips_assignment;            /* its JoinGroup knows SkipAssignment */
    bool is_unsynced;                 /* has not asked for its assignment in this generation */
};

/** An id that was given to a client which has to come back with it. */
struct group_pending {
    struct group_pending *next;
    int64_t deadline_ms;
    char id[];
};

struct group {
    struct group *next; /* in its bucket */
    uint64_t hash;
    char *id;
    enum group_state state;
    int32_t generation;
    char *protocol_type; /* NULL: no member ever; stays when the group is empty */
    char *protocol;      /* the one in use; NULL: none */
    struct group_member *first, *last, *leader;
    struct group_member **by_id, **by_instance; /* owned; buckets */
    size_t bucket_count;                        /* of each */
    struct group_pending *pending;
    int32_t member_count;
    int32_t joined_count;     /* members with a parked join */
    int64_t rebalance_ms;     /* PREPARING: when those who have joined go on without the others */
    int64_t wait_left_ms;     /* initial wait: by how much it may still grow */
    int64_t sync_ms;          /* when members without a SyncGroup are dropped; INT64_MAX never */
    uint64_t assignment_save; /* of the leader's assignment; 0: none is under way */
    bool is_initial;          /* PREPARING from empty: waits for more members in any case */
    bool has_newcomer;        /* during the initial wait */
    int64_t armed_ms;         /* its place in the queue of timers; INT64_MAX none */
    size_t timer;             /* index there */
};

/** Limits and delays, from busd's settings. */
struct group_rules {
    int64_t initial_delay_ms;
    int64_t session_min_ms, session_max_ms;
    int64_t size_max;   /* members of one group */
    int64_t groups_max; /* groups in memory */
    int64_t bytes_max;  /* of all groups and members */
};

/** The answer to a JoinGroup; borrowed. */
struct group_joined {
    enum bus_err error;
    const char *member_id;     /* "" none */
    const struct group *group; /* generation, protocol, …; NULL with an error */
    const char *leader;        /* the leader's id; "" with an error */
    bool lists_members;        /* the answer lists the group's members: to the leader */
    bool skips_assignment;
};

/** The answer to a SyncGroup; borrowed. */
struct group_synced {
    enum bus_err error;
    const struct group *group; /* NULL with an error */
    struct bytes assignment;
};

enum { GROUP_SAVED = 1 }; /* of group_ops.save: done already */

/** What the coordinator has done by others. */
struct group_ops {
    /** Answers a join; the waiter is free again. */
    void (*joined)(void *context, struct group_waiter *waiter, const struct group_joined *answer);
    /** Answers a sync; the waiter is free again. */
    void (*synced)(void *context, struct group_waiter *waiter, const struct group_synced *answer);
    /**
     * Puts the group as it is now on stable storage. 0: groups_saved() with this number follows;
     * GROUP_SAVED; or a failure.
     */
    int (*save)(void *context, const struct group *group, uint64_t save);
    void *context;
};

/** All groups. */
struct groups {
    struct group_ops ops;
    struct group_rules rules;
    struct group **buckets; /* owned */
    size_t bucket_count;
    size_t count;
    struct group **timers; /* owned; a heap, the next one first */
    size_t timer_count;
    size_t timer_capacity; /* at least `count` */
    int64_t late_ms; /* how long busd itself had stopped: its clients' time does not count it */
    int64_t bytes;   /* charged for groups and members */
    uint64_t last_save;
};

/** No groups. */
void groups_init(
    struct groups *groups, const struct group_ops *ops, const struct group_rules *rules);

/** Frees everything; no waiter may be left. */
void groups_fini(struct groups *groups);

/** Takes changed limits into use, for what comes. */
void groups_configure(struct groups *groups, const struct group_rules *rules);

/** The group of an id; NULL when there is none. Borrowed. */
struct group *groups_find(const struct groups *groups, const char *id);

/** The group behind `group` (NULL: the first) in no order; NULL behind the last. Borrowed. */
struct group *groups_next(const struct groups *groups, const struct group *group);

/** When groups_tick() has something to do; INT64_MAX: never. */
int64_t groups_deadline_ms(const struct groups *groups);

/** Time has passed. */
void groups_tick(struct groups *groups, int64_t now_ms);

/** A JoinGroup; borrowed. */
struct group_join {
    const char *group_id;
    const char *member_id;   /* "" unknown */
    const char *instance_id; /* NULL: dynamic */
    const char *fresh_id;    /* the caller's random id, for a new member */
    const char *client_id, *client_host;
    const char *protocol_type;
    const struct group_protocol *protocols;
    int32_t protocol_count;
    int32_t session_timeout_ms;
    int32_t rebalance_timeout_ms; /* negative: as the session's */
    bool needs_known_id;          /* version 4 and up: a new dynamic member is told its id first */
    bool skips_assignment;        /* version 9 and up */
};

/** Answered exactly once through ops.joined, now or later, unless the waiter is cancelled. */
void group_join(struct groups *groups, int64_t now_ms, const struct group_join *join,
    struct group_waiter *waiter);

/** Who speaks for which generation; borrowed. */
struct group_claim {
    const char *group_id;
    const char *member_id;
    const char *instance_id; /* NULL: none */
    int32_t generation;
};

/** A SyncGroup; borrowed. */
struct group_sync {
    struct group_claim claim;
    const char *protocol_type, *protocol; /* NULL: not told */
    const struct group_share *shares;     /* the leader's */
    int32_t share_count;
};

/** What a member gets. */
struct group_share {
    const char *member_id;
    struct bytes assignment;
};

/** Answered exactly once through ops.synced, now or later, unless the waiter is cancelled. */
void group_sync(struct groups *groups, int64_t now_ms, const struct group_sync *sync,
    struct group_waiter *waiter);

/** The client that waits is gone: it gets no answer. Nothing if the waiter is free. */
void group_cancel(struct groups *groups, int64_t now_ms, struct group_waiter *waiter);

/** A heartbeat. The error code of its answer. */
enum bus_err group_heartbeat(
    struct groups *groups, int64_t now_ms, const struct group_claim *claim);

/** A member leaves, or is sent away by its instance id alone. The error code of its answer. */
enum bus_err group_leave(struct groups *groups, int64_t now_ms, const struct group_claim *claim);

/**
 * Whether a commit of offsets is to be taken: NONE, also for a group that does not exist and a
 * generation below 0; GROUP_ID_NOT_FOUND, or the error code of the answer.
 */
enum bus_err group_commit(struct groups *groups, int64_t now_ms, const struct group_claim *claim);

/** A save is over: `rc` 0, or a failure. Unknown numbers are ignored. */
void groups_saved(
    struct groups *groups, int64_t now_ms, const char *group_id, uint64_t save, int rc);

/** Forgets an empty group: NONE, GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP. */
enum bus_err groups_forget(struct groups *groups, const char *id);

/** A member of group as it was saved; borrowed. */
struct group_image_member {
    const char *id, *instance_id; /* instance_id NULL: dynamic */
    const char *client_id, *client_host;
    int32_t session_timeout_ms, rebalance_timeout_ms;
    struct bytes subscription, assignment;
};

/** A group as it was saved; borrowed. */
struct group_image {
    const char *id;
    const char *protocol_type, *protocol, *leader; /* NULL or "": none */
    int32_t generation;
    const struct group_image_member *members;
    int32_t member_count;
};

/**
 * Brings back a saved group, whose members have a whole session to be heard of. 0,
 * -BUS_ERR_CORRUPT_MESSAGE (the image makes no sense, or the group exists), -BUS_ERR_NO_MEMORY.
 */
int groups_restore(struct groups *groups, int64_t now_ms, const struct group_image *image);

/** What a member tells for the group's protocol; null without one. Borrowed. */
struct bytes group_member_metadata(const struct group_member *member);

/** The member of an id; NULL when there is none. Borrowed. */
struct group_member *group_member_find(const struct group *group, const char *id);

#endif
