/* SPDX-License-Identifier: Apache-2.0
 * Who of a group reads which partition: Kafka's four assignors as pure functions, and the bytes in
 * which members tell each other what they want and what they get (Kafka's consumer protocol).
 *
 * Everything that is returned lives in the caller's arena. Thread: any. Nothing blocks.
 */
#ifndef CLIENT_ASSIGN_H
#define CLIENT_ASSIGN_H

#include "base/buf.h"
#include "protocol/apis.h"
#include "protocol/arena.h"

enum assign_strategy {
    ASSIGN_RANGE,       /* per topic, runs of neighbours */
    ASSIGN_ROUNDROBIN,  /* all partitions in turn */
    ASSIGN_STICKY,      /* even, and who has a partition keeps it if possible */
    ASSIGN_COOPERATIVE, /* as sticky, but what moves is first given up, then given out */
    ASSIGN_STRATEGIES,
};

/** Kafka's name: "range", "roundrobin", "sticky", "cooperative-sticky". Static. */
const char *assign_name(enum assign_strategy strategy);

/** The strategy of a name of `n` bytes, or -1. */
int assign_find(const char *name, size_t n);

/**
 * Parses partition.assignment.strategy: names with commas between them, each at most once. Returns
 * how many there are, or INVALID_CONFIG.
 */
int assign_parse(const char *text, enum assign_strategy strategies[ASSIGN_STRATEGIES]);

struct assign_partition {
    const char *topic;
    int32_t partition;
};

struct assign_list {
    struct assign_partition *items;
    size_t count;
};

/** Whether the list has this partition. */
bool assign_has(const struct assign_list *list, const char *topic, int32_t partition);

struct assign_topic {
    const char *name;
    int32_t partitions; /* < 1: the topic is not there */
};

struct assign_member {
    const char *id;
    const char *instance_id; /* NULL: a dynamic member */
    const char **topics;     /* what it subscribes to */
    size_t topic_count;
    struct assign_list owned; /* what it had, for the sticky strategies */
    int32_t generation;       /* in which it had that; -1 unknown */
    struct assign_list share; /* the result */
};

/**
 * Works out the share of each member. `topics` are those subscribed to, in any order; unknown ones
 * count as not there. Returns 0 or NO_MEMORY.
 */
int assign_solve(enum assign_strategy strategy, struct assign_member *members, size_t member_count,
    const struct assign_topic *topics, size_t topic_count, struct arena *arena);

/**
 * Appends what a member tells the leader: ConsumerProtocolSubscription v3. `owned` is what it has,
 * or for ASSIGN_STICKY what it had in `generation`. Returns 0 or NO_MEMORY.
 */
int assign_put_subscription(enum assign_strategy strategy, const char *const *topics,
    size_t topic_count, const struct assign_list *owned, int32_t generation, struct buf *out);

/**
 * Reads what another member told, v0 to v3, into topics, owned and generation of `member`. Fails
 * with INVALID_REQUEST when it is no such message, or NO_MEMORY.
 */
int assign_get_subscription(enum assign_strategy strategy, struct bytes data, struct arena *arena,
    struct assign_member *member);

/** Appends a share: ConsumerProtocolAssignment v3. Returns 0 or NO_MEMORY. */
int assign_put_share(const struct assign_list *share, struct buf *out);

/** Reads a share, v0 to v3; no bytes are an empty one. Fails as assign_get_subscription(). */
int assign_get_share(struct bytes data, struct arena *arena, struct assign_list *share);

#endif
