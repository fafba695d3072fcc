/* SPDX-License-Identifier: Apache-2.0
 * libbus: users with passwords, and access rules. Users are for those who come over the network and
 * say who they are (SASL/SCRAM); rules are for everybody, on every door. As in <bus/admin.h>, every
 * call asks busd and blocks at most `request.timeout.ms`. To do it takes an administrator, or a
 * rule that allows Alter (to see it: Describe) on the cluster.
 */
#ifndef BUS_SECURITY_H
#define BUS_SECURITY_H

#include <bus/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- users ---------------------------------------------------------------------------------- */

/** How a user proves to have a password; numbers of Kafka. */
enum bus_mechanism {
    BUS_SCRAM_SHA_256 = 1,
    BUS_SCRAM_SHA_512 = 2,
};

/**
 * A password, salted by the caller: PBKDF2 with HMAC of the mechanism's hash, as long as the hash
 * (32 or 64 bytes). So the password itself goes nowhere. Borrowed.
 */
struct bus_password {
    enum bus_mechanism mechanism;
    int32_t iterations; /* 4096 to 16384 */
    const void *salt;   /* 1 to 255 random bytes */
    size_t salt_size;
    const void *salted;
    size_t salted_size;
};

/** Gives a user passwords, one for each mechanism; all or none. Replaces those of the same
 * mechanism. Fails with UNACCEPTABLE_CREDENTIAL. */
int bus_user_set(
    struct bus *bus, const char *user, const struct bus_password *passwords, size_t count);

/** Takes a user's password for a mechanism away. Fails with RESOURCE_NOT_FOUND. */
int bus_user_remove(struct bus *bus, const char *user, enum bus_mechanism mechanism);

/** The users that there are, a snapshot. */
struct bus_users;

/** One password of a user. */
struct bus_user {
    const char *name; /* borrowed from the snapshot */
    enum bus_mechanism mechanism;
    int32_t iterations;
};

/** Fetches all users, or one (none in the snapshot: there is no such user). The caller frees it. */
int bus_users_fetch(struct bus *bus, const char *user, struct bus_users **users);

/** Frees a snapshot; its strings go with it. Thread: owner. */
void bus_users_free(struct bus_users **users);

/** Password number `index` of a snapshot, in the order of names; INVALID_ARGUMENT behind the last.
 */
int bus_users_get(const struct bus_users *users, size_t index, struct bus_user *user);

/* ---- access rules ---------------------------------------------------------------------------- */

/** What a rule is about. */
enum bus_acl_resource {
    BUS_ACL_ANY_RESOURCE = 1, /* in filters */
    BUS_ACL_TOPIC = 2,
    BUS_ACL_GROUP = 3,
    BUS_ACL_CLUSTER = 4, /* its name is BUS_ACL_CLUSTER_NAME */
    BUS_ACL_TRANSACTIONAL_ID = 5,
};

#define BUS_ACL_CLUSTER_NAME "kafka-cluster"

/** How a rule names it. */
enum bus_acl_pattern {
    BUS_ACL_ANY_PATTERN = 1, /* in filters */
    BUS_ACL_MATCH = 2,       /* in filters: all rules that concern the name */
    BUS_ACL_LITERAL = 3,     /* the name; "*" stands for all */
    BUS_ACL_PREFIXED = 4,    /* names that begin so */
};

enum bus_acl_operation {
    BUS_ACL_ANY_OPERATION = 1, /* in filters */
    BUS_ACL_ALL = 2,
    BUS_ACL_READ = 3,
    BUS_ACL_WRITE = 4,
    BUS_ACL_CREATE = 5,
    BUS_ACL_DELETE = 6,
    BUS_ACL_ALTER = 7,
    BUS_ACL_DESCRIBE = 8,
    BUS_ACL_CLUSTER_ACTION = 9,
    BUS_ACL_DESCRIBE_CONFIGS = 10,
    BUS_ACL_ALTER_CONFIGS = 11,
    BUS_ACL_IDEMPOTENT_WRITE = 12,
};

enum bus_acl_permission {
    BUS_ACL_ANY_PERMISSION = 1, /* in filters */
    BUS_ACL_DENY = 2,
    BUS_ACL_ALLOW = 3,
};

/** A rule; as a filter, NULL and the ANY values match everything. Strings borrowed. */
struct bus_acl {
    enum bus_acl_resource resource;
    enum bus_acl_pattern pattern;
    const char *name;
    const char *principal; /* "User:anna", "User:*" for everybody */
    const char *host;      /* "*", or a numeric address; who is on the Unix socket: 127.0.0.1 */
    enum bus_acl_operation operation;
    enum bus_acl_permission permission;
};

/** Adds rules; those that are there already stay. Fails at the first that is refused. */
int bus_acl_add(struct bus *bus, const struct bus_acl *acls, size_t count);

/** Rules, a snapshot. */
struct bus_acls;

/** Removes the rules that match; they are in the snapshot, which the caller frees. */
int bus_acl_remove(struct bus *bus, const struct bus_acl *filter, struct bus_acls **removed);

/** Fetches the rules that match. The caller frees the snapshot. */
int bus_acls_fetch(struct bus *bus, const struct bus_acl *filter, struct bus_acls **acls);

/** Frees a snapshot; its strings go with it. Thread: owner. */
void bus_acls_free(struct bus_acls **acls);

/** Rule number `index` of a snapshot, sorted by what they are about; INVALID_ARGUMENT behind the
 * last. */
int bus_acls_get(const struct bus_acls *acls, size_t index, struct bus_acl *acl);

#ifdef __cplusplus
}
#endif
#endif
