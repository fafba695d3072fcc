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
    bool answered; /* the request under way */
    int answer_rc;
    struct conn_reply *answer; /* owned */

    /* The thread's own. */
    struct conn *conn;           /* NULL: to be opened */
    struct conn_reply *joined;   /* owned: the answer that made this member the leader */
    enum assign_strategy in_use; /* of this generation */
    bool skips_assignment;
    struct arena plan_arena;
    struct sync_group_request_assignment *plan; /* by the leader; in plan_arena */
    int32_t plan_count;

    /* The application's own. */
    pthread_t thread;
    int64_t commit_ms; /* of the next automatic commit */
};

/** Starts a member for the topics. Fails with INVALID_CONFIG or as conn_open(). Blocks: as that. */
int membership_start(struct bus_consumer *consumer, const char *const *topics, size_t count);

/** Replaces the subscription. Returns 0 or NO_MEMORY. Thread: owner. */
int membership_subscribe(struct membership *membership, const char *const *topics, size_t count);

/** Ends the thread, leaves the group, frees. Thread: owner. Blocks: for busd's answer, shortly. */
void membership_stop(struct membership **membership);

/**
 * The application's part of a rebalance, and automatic commits. Returns 0 or why this member is not
 * in the group. Thread: owner. Blocks: asks busd when there is something to do.
 */
int membership_poll(struct membership *membership);

/** Commits, if that is automatic, and gives up all partitions; as in a rebalance. */
void membership_give_up(struct membership *membership);

/** Whether bus_poll() should look here. Thread: any that may look at the consumer. */
bool membership_calls(const struct bus_consumer *consumer);

/** The id and generation for a commit. Thread: any. */
void membership_identity(
    struct membership *membership, char id[MEMBER_ID_BYTES_MAX], int32_t *generation);

/** Tells what a commit was answered with. Thread: owner. */
void membership_commit_answered(struct membership *membership, int16_t error);

/* ---- membership_lead.c ---- */

/** The leader's work between JoinGroup and SyncGroup. Blocks: for busd's metadata. */
int membership_lead(struct membership *membership);

/* ---- commit.c ---- */

/** Commits positions of those parts that have moved. Blocks: until `deadline_ns`. */
int commit_parts(struct bus_consumer *consumer, struct part *const *parts, size_t count,
    unsigned flags, int64_t deadline_ns);

/** The committed offset, -1 none. Fails with what busd refuses. Blocks: until `deadline_ns`. */
int commit_find(struct bus_consumer *consumer, const char *topic, int32_t partition,
    int64_t deadline_ns, int64_t *offset);

#endif
