/* SPDX-License-Identifier: Apache-2.0
 * The commands that change the state of the cluster, and their form as bytes: a record of the
 * metadata log. Ids, counts and replicas are already decided when a command is made, so that every
 * node that applies it gets the same state.
 */
#ifndef CORE_COMMAND_H
#define CORE_COMMAND_H

#include "base/buf.h"
#include "core/acl.h"
#include "core/settings.h"
#include "core/users.h"
#include "protocol/arena.h"
#include "protocol/schema.h"

/** The numbers are on disk: they are never used for something else. */
enum command_type {
    COMMAND_TOPIC_CREATE = 1,
    COMMAND_TOPIC_DELETE = 2,
    COMMAND_TOPIC_GROW = 3,
    COMMAND_TOPIC_ALTER = 4,
    COMMAND_BROKER_ALTER = 5,
    COMMAND_NODE_REGISTER = 6,
    COMMAND_PRODUCER_IDS = 7,
    COMMAND_ACL_ADD = 8,
    COMMAND_ACL_REMOVE = 9,
    COMMAND_USER_SET = 10,
    COMMAND_USER_REMOVE = 11,
    COMMAND_LAST = COMMAND_USER_REMOVE,
};

enum {
    COMMAND_BYTES_MAX = 1 << 20,     /* an encoded command */
    COMMAND_SETTINGS_MAX = 256,      /* changes of settings in one command */
    CLUSTER_TOPIC_NAME_MAX = 249,    /* bytes, without the NUL */
    CLUSTER_PARTITIONS_MAX = 10000,  /* of a topic */
    CLUSTER_REPLICAS_MAX = 7,        /* of a partition */
    CLUSTER_HOST_BYTES_MAX = 255,    /* of a node's name */
    CLUSTER_NODE_ID_MAX = 1000000,   /* as node.id */
    CLUSTER_PRODUCER_BLOCK = 100000, /* producer ids handed to a node at a time, at most */
};

/** A change of one setting. */
struct command_setting {
    const char *name;
    const char *value; /* NULL for SETTING_OP_DELETE */
    enum setting_op op;
};

/** The node ids that shall hold a partition, the preferred leader first. */
struct command_replicas {
    int32_t nodes[CLUSTER_REPLICAS_MAX];
    int32_t count; /* 1 … CLUSTER_REPLICAS_MAX */
};

/** One command; which members count depends on the type. Strings and arrays are borrowed. */
struct command {
    enum command_type type;
    const char *name; /* TOPIC_CREATE: the topic; NODE_REGISTER: the host, may be "";
                         USER_*: the user */
    struct uuid id;   /* TOPIC_*: of the topic; ACL_*: of the rule */
    int32_t node;     /* NODE_REGISTER, BROKER_ALTER (-1: every node), PRODUCER_IDS */
    int32_t count;    /* TOPIC_CREATE, TOPIC_GROW: partitions afterwards; NODE_REGISTER: port;
                         PRODUCER_IDS: how many; USER_REMOVE: the mechanism */
    struct command_replicas replicas;       /* TOPIC_CREATE, TOPIC_GROW: of each new partition */
    const struct command_setting *settings; /* TOPIC_CREATE (all of them SET), *_ALTER */
    size_t setting_count;
    const struct acl_rule *acl;                /* ACL_ADD */
    const struct scram_credential *credential; /* USER_SET */
};

/** Appends the bytes of a command. 0, NO_MEMORY, or INVALID_REQUEST past COMMAND_BYTES_MAX. */
int command_encode(const struct command *command, struct buf *out);

/**
 * Reads a command back; strings and arrays are the arena's. Refuses what is not exactly one
 * command with CORRUPT_MESSAGE, and one of a newer busd with DATA_VERSION. Whether the command
 * makes sense is cluster_prepare()'s to say. Thread: any. Blocks: no.
 */
int command_decode(const uint8_t *bytes, size_t n, struct command *command, struct arena *arena);

#endif
