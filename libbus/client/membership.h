/* SPDX-License-Identifier: Apache-2.0
 * The group member of a consumer: a connection of its own, since a join waits in busd for the
 * others, and a thread that sends what struct member says. The application's thread does its part
 * in bus_poll().
 *
 * `lock` protects all but what is said to be one thread's. Nobody calls conn_ functions under it.
 */
#ifndef CLIENT_MEMBERSHIP_H
#define CLIENT_MEMBERSHIP_H

#include "client/assign.h"
#include "client/consumer.h"
#include "client/member.h"

struct membership {
    struct bus_consumer *consumer;
    struct settings settings; /* of the bus, with those of the consumer */
    enum assign_strategy strategies[ASSIGN_STRATEGIES];
    int strategy_count;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* for the thread */
    struct member member;
    char **topics; /* owned: the subscription */
    size_t topic_count;
    struct arena share_arena;
    struct assign_list share; /* what the last SyncGroup gave; in share_arena */
    int32_t share_generation; /* -1: none */
    bool stopping;
    bool called;               /* the application was told that there is something for it */
    bool answered;             /* the request under way */
    struct conn_reply *answer; /* owned */

    /* Between the threads, without the lock; each value stands for itself. */
    _Atomic int64_t polled_ms; /* when the last poll ended; INT64_MAX: the application is in one */
    _Atomic int64_t lease_ms;  /* member_lease_ms() */

    /* The thread's own. */
    struct conn *conn;           /* NULL: to be opened */
    struct conn_reply *joined;   /* owned: the answer that made this member the leader */
    enum assign_strategy in_use; /* of this generation */
    bool skips_assignment;
    int64_t nudged_ms; /* the end of the poll after which the application was called to poll */
    struct arena plan_arena;
    struct sync_group_request_assignment *plan; /* by the leader; in plan_arena */
    int32_t plan_count;
    const char **wanted; /* by the leader: what the members subscribe to; in plan_arena */
    size_t wanted_count;
    uint64_t topics_digest; /* of what was found of them */

    /* The application's own. */
    pthread_t thread;
    int64_t commit_ms;        /* of the next automatic commit */
    int64_t retry_ms;         /* of the next try at partitions that could not be opened; or never */
    int failure;              /* the member is out for good: why; 0: it is not */
    int32_t taken_generation; /* that the partitions are of; -1 none */
};

/** Starts a member for the topics. Fails with INVALID_CONFIG or as conn_open(). Blocks: as that. */
int membership_start(struct bus_consumer *consumer, const char *const *topics, size_t count);

/** Replaces the subscription. Returns 0 or NO_MEMORY. Thread: owner. */
int membership_subscribe(struct membership *membership, const char *const *topics, size_t count);

/** Ends the thread, leaves the group, frees. Thread: owner. Blocks: for busd's answer, shortly. */
void membership_stop(struct membership **membership);

/** The id and generation for a commit. Thread: any. */
void membership_identity(
    struct membership *membership, char id[MEMBER_ID_BYTES_MAX], int32_t *generation);

/**
 * Tells what a commit of `generation` was answered with. Returns that, or REBALANCE_IN_PROGRESS
 * when only the generation is behind, not the member. Thread: owner.
 */
int16_t membership_commit_answered(
    struct membership *membership, int32_t generation, int16_t error);

/**
 * Sends a request over the member's connection. Gives the reply, or NULL: broken, not answered for
 * `patience_ms`, or stopping; `was_sent` tells whether busd may have had it. Thread: the member's.
 * Blocks.
 */
struct conn_reply *membership_ask(struct membership *membership, int16_t api_key,
    const void *request, int64_t patience_ms, bool *was_sent);

/* ---- membership_poll.c ---- */

/** bus_poll() begins: its time does not count as one without a poll. Thread: owner. */
void membership_enter(struct membership *membership);

/** It ends. Thread: owner. */
void membership_leave(struct membership *membership);

/**
 * The application's part of a rebalance, and automatic commits. Returns 0 or why this member is not
 * in the group; `until_ns` is lowered to when it wants to be called again. Thread: owner. Blocks:
 * asks busd when there is something to do.
 */
int membership_poll(struct membership *membership, int64_t *until_ns);

/** A partition said that its topic is no more: the group shall look. Thread: owner. */
void membership_miss(struct membership *membership);

/* ---- membership_take.c ---- */

/**
 * Gives up all partitions: `what` is BUS_REVOKED (with enable.auto.commit positions are committed
 * first) or BUS_LOST. Returns 0 or NO_MEMORY, when nothing was done. Thread: owner.
 */
int membership_give_up(struct membership *membership, enum bus_rebalance what);

/**
 * Makes the consumer's partitions those of the share: `gave_up` tells whether any went. What cannot
 * be opened is left out; `missing` tells so, and the failure is returned when it is none that
 * passes. Thread: owner. Blocks: asks busd, for half a second a partition at most.
 */
int membership_take(struct membership *membership, bool *gave_up, bool *missing);

/* ---- membership_lead.c ---- */

/** The leader's work between JoinGroup and SyncGroup. Blocks: for busd's metadata. */
int membership_lead(struct membership *membership);

/** Whether the topics are others than when membership_lead() looked, as far as busd tells. */
bool membership_look(struct membership *membership);

#endif
