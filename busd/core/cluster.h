/* SPDX-License-Identifier: Apache-2.0
 * The state of the cluster: topics, partitions, settings, nodes. A state machine without fd, clock
 * or random source: (state, command) -> changes.
 *
 * A command takes two steps, so that disk and memory change together or not at all:
 *
 *     rc = cluster_prepare(cluster, &command, &changes);   checks; builds the new state beside
 *     … cluster_rows(&changes, …) are written in one transaction …
 *     cluster_commit(cluster, &changes);                   cannot fail
 *     … effects: look at the changes …
 *     changes_fini(&changes);
 *
 * Thread: the loop. Nothing here blocks.
 */
#ifndef CORE_CLUSTER_H
#define CORE_CLUSTER_H

#include "core/command.h"

/** One partition as the cluster sees it. */
struct cluster_partition {
    int32_t leader;          /* node id; -1 none */
    int32_t leader_epoch;    /* grows with each change of leader */
    int32_t partition_epoch; /* grows with each change */
    int32_t replica_count;
    int32_t isr_count;
    int32_t replicas[CLUSTER_REPLICAS_MAX]; /* node ids, the preferred leader first */
    int32_t isr[CLUSTER_REPLICAS_MAX];      /* those in sync, in the order of `replicas` */
};

/** A topic. The pointer stays valid until the topic's deletion is committed. */
struct cluster_topic {
    char name[CLUSTER_TOPIC_NAME_MAX + 1];
    struct uuid id;
    int32_t partition_count;
    struct cluster_partition *partitions; /* owned */
    struct settings settings;             /* its parent: cluster.settings */
};

/** A node that has registered. */
struct cluster_node {
    int32_t id;
    int32_t port;                          /* 0: none */
    char host[CLUSTER_HOST_BYTES_MAX + 1]; /* "" without network */
};

struct cluster {
    struct cluster_topic **by_name; /* owned; sorted by name */
    struct cluster_topic **by_id;   /* the same topics, sorted by id */
    size_t topic_count;
    size_t topic_capacity;
    struct cluster_node *nodes; /* owned; sorted by id */
    size_t node_count;
    int64_t partition_total;  /* of all topics */
    int64_t next_producer_id; /* the first one that no node has */
    struct settings settings; /* busd's, set at run time */
    struct acl_set acls;
    struct user_set users;
};

/** An empty cluster. `fixed` are busd's settings by file and flags; borrowed, may be NULL. */
void cluster_init(struct cluster *cluster, const struct settings *fixed);

/** Releases everything. */
void cluster_fini(struct cluster *cluster);

/** The topic of a name; NULL when there is none. Borrowed. */
struct cluster_topic *cluster_topic(const struct cluster *cluster, const char *name);

/** The topic of an id; NULL when there is none. Borrowed. */
struct cluster_topic *cluster_topic_of_id(const struct cluster *cluster, const struct uuid *id);

/** Topic number `index` in the order of names; NULL behind the last. Borrowed. */
struct cluster_topic *cluster_topic_at(const struct cluster *cluster, size_t index);

/** Partition `index` of a topic; NULL when it has no such partition. Borrowed. */
const struct cluster_partition *cluster_partition(const struct cluster_topic *topic, int32_t index);

/** The node of an id; NULL when it has not registered. Borrowed. */
const struct cluster_node *cluster_node(const struct cluster *cluster, int32_t id);

/** Whether the name is of a topic of the system itself ("__consumer_offsets", …). */
bool cluster_name_internal(const char *name);

/** Whether a topic may be called so: 0 or INVALID_TOPIC_EXCEPTION. NULL is refused. */
int cluster_check_name(const char *name);

/** Whether a topic may have so many partitions: 0 or INVALID_PARTITIONS. */
int cluster_check_partitions(int32_t count);

/** What a command did; which members count depends on the command's type. */
struct changes {
    enum command_type type;
    struct cluster_topic *topic; /* TOPIC_*: the topic concerned; borrowed after the commit, but
                                    owned by the changes for TOPIC_DELETE */
    int32_t first_partition;     /* TOPIC_CREATE, TOPIC_GROW: the first new one */
    int64_t first_producer_id;   /* PRODUCER_IDS: of the block */
    int32_t producer_id_count;
    struct cluster_topic *next;    /* before the commit: what the topic will be; owned */
    struct cluster_node node;      /* NODE_REGISTER */
    struct settings settings;      /* BROKER_ALTER: what the settings will be */
    struct acl *acl;               /* ACL_ADD: the new rule, owned before the commit, borrowed
                                      after; ACL_REMOVE: the old one, the other way round */
    struct user_row *user;         /* USER_SET: the new row, as `acl`; USER_REMOVE: the old one */
    struct user_row *replaced;     /* USER_SET: the old row, if any; owned after the commit */
    const struct cluster *cluster; /* borrowed */
    bool committed;
};

/**
 * Checks a command and works out what it does; the cluster does not change. Outcomes: 0,
 * TOPIC_ALREADY_EXISTS, INVALID_TOPIC_EXCEPTION, INVALID_PARTITIONS, INVALID_REPLICA_ASSIGNMENT,
 * INVALID_CONFIG, UNKNOWN_TOPIC_ID, POLICY_VIOLATION (partitions.max, acls.max, users.max),
 * INVALID_REQUEST, UNACCEPTABLE_CREDENTIAL, RESOURCE_NOT_FOUND, DUPLICATE_RESOURCE, NO_MEMORY.
 * `changes` need changes_fini() only after 0. Between prepare and commit no other command may be
 * prepared.
 */
int cluster_prepare(
    struct cluster *cluster, const struct command *command, struct changes *changes);

/** Makes the prepared changes. Cannot fail. */
void cluster_commit(struct cluster *cluster, struct changes *changes);

/** Drops what the changes own: the unused new state, or the deleted topic. */
void changes_fini(struct changes *changes);

/** prepare and commit in one. */
int cluster_apply(struct cluster *cluster, const struct command *command, struct changes *changes);

enum { CLUSTER_KEY_BYTES_MAX = 2 + USER_NAME_BYTES_MAX };

/** A piece of the state as it is stored: `value_bytes` 0 removes the key. */
struct cluster_row {
    uint8_t key[CLUSTER_KEY_BYTES_MAX];
    size_t key_bytes;
    const uint8_t *value; /* borrowed from the buffer given */
    size_t value_bytes;
};

/**
 * The row that prepared changes alter (each command alters one); its value is appended to `space`.
 * 0 or NO_MEMORY.
 */
int cluster_row(const struct changes *changes, struct buf *space, struct cluster_row *row);

/**
 * Loads one stored row into a cluster that is being filled. Refuses damage with CORRUPT_MESSAGE
 * and a newer form with DATA_VERSION.
 */
int cluster_load(struct cluster *cluster, const struct cluster_row *row);

#endif
