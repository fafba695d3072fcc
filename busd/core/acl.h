/* SPDX-License-Identifier: Apache-2.0
 * Access control lists: rules of the form "User:anna may write to topics that begin with orders-",
 * kept sorted, and the decision that they lead to. The numbers are Kafka's, on the wire and on
 * disk; the decision is that of Kafka's StandardAuthorizer.
 *
 * Thread: the loop. Nothing here blocks.
 */
#ifndef CORE_ACL_H
#define CORE_ACL_H

#include "protocol/schema.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** What a rule is about. */
enum acl_resource {
    ACL_RESOURCE_ANY = 1, /* in filters */
    ACL_TOPIC = 2,
    ACL_GROUP = 3,
    ACL_CLUSTER = 4,
    ACL_TRANSACTIONAL_ID = 5,
};

/** How a rule names it. */
enum acl_pattern {
    ACL_PATTERN_ANY = 1,   /* in filters */
    ACL_PATTERN_MATCH = 2, /* in filters: whatever concerns the name */
    ACL_LITERAL = 3,       /* the name, or "*" for all */
    ACL_PREFIXED = 4,      /* names that begin so */
};

/** What is done with it; also bit positions in AuthorizedOperations. */
enum acl_operation {
    ACL_OPERATION_ANY = 1, /* in filters */
    ACL_ALL = 2,
    ACL_READ = 3,
    ACL_WRITE = 4,
    ACL_CREATE = 5,
    ACL_DELETE = 6,
    ACL_ALTER = 7,
    ACL_DESCRIBE = 8,
    ACL_CLUSTER_ACTION = 9,
    ACL_DESCRIBE_CONFIGS = 10,
    ACL_ALTER_CONFIGS = 11,
    ACL_IDEMPOTENT_WRITE = 12,
    ACL_OPERATION_LAST = ACL_IDEMPOTENT_WRITE,
};

enum acl_permission {
    ACL_PERMISSION_ANY = 1, /* in filters */
    ACL_DENY = 2,
    ACL_ALLOW = 3,
};

enum {
    ACL_NAME_BYTES_MAX = 1024,     /* of a resource */
    ACL_PRINCIPAL_BYTES_MAX = 300, /* "User:" and a name */
    ACL_HOST_BYTES_MAX = 255,
};

/** The name of the one resource of type ACL_CLUSTER. */
#define ACL_CLUSTER_NAME "kafka-cluster"

/** The principal of a rule that is about everybody. */
#define ACL_EVERYBODY "User:*"

/** A rule, or as a filter, in which NULL and the ANY values match everything. Strings borrowed. */
struct acl_rule {
    enum acl_resource resource;
    enum acl_pattern pattern;
    const char *name;
    const char *principal;
    const char *host; /* "*" or a numeric address */
    enum acl_operation operation;
    enum acl_permission permission;
};

/** A rule in the set; owns its strings. */
struct acl {
    struct uuid id;
    struct acl_rule rule;
};

struct acl_set {
    struct acl **rules; /* owned; sorted by all that the rule says, so there are no two alike */
    size_t count;
    size_t capacity;
};

/** Releases every rule. */
void acl_set_fini(struct acl_set *set);

/** A copy of a rule on the heap, with an id; NULL without memory. */
struct acl *acl_new(const struct uuid *id, const struct acl_rule *rule);

/** Frees it; nulls the pointer. NULL inside is fine. */
void acl_free(struct acl **acl);

/** Makes sure that the next add cannot fail. 0 or NO_MEMORY. */
int acl_set_reserve(struct acl_set *set);

/** Takes a rule that has no twin in the set; room was reserved. */
void acl_set_add(struct acl_set *set, struct acl *acl);

/** Takes a rule out of the set and gives it to the caller. */
void acl_set_remove(struct acl_set *set, struct acl *acl);

/** The rule that says the same; NULL when there is none. Borrowed. */
struct acl *acl_set_twin(const struct acl_set *set, const struct acl_rule *rule);

/** The rule of an id; NULL when there is none. Borrowed. */
struct acl *acl_set_of_id(const struct acl_set *set, const struct uuid *id);

/** Whether a rule can be one: 0, or INVALID_REQUEST with what is wrong in the text. */
int acl_check(const struct acl_rule *rule);

/** The same for a filter. */
int acl_check_filter(const struct acl_rule *filter);

/** Whether a filter is about a rule. */
bool acl_matches(const struct acl_rule *filter, const struct acl_rule *rule);

/** Somebody wants something. Strings borrowed. */
struct acl_question {
    const char *principal; /* "User:anna" */
    const char *host;      /* a numeric address */
    enum acl_operation operation;
    enum acl_resource resource;
    const char *name;
};

/** What the rules say to it. */
enum acl_answer {
    ACL_SILENT,  /* no rule is about the resource */
    ACL_ALLOWED, /* a rule allows it, none denies it */
    ACL_DENIED,  /* a rule denies it, or there are rules about the resource and none allows it */
};

/**
 * Asks all rules. Deny wins; Read, Write, Delete and Alter allow Describe as well, AlterConfigs
 * DescribeConfigs.
 */
enum acl_answer acl_ask(const struct acl_set *set, const struct acl_question *question);

/**
 * Whether some resource of the question's type (its name does not count) is allowed by a rule and
 * not denied by one that covers the whole of it.
 */
bool acl_ask_any(const struct acl_set *set, const struct acl_question *question);

/** A few words for traces and errors: "Allow User:anna Write on topic orders-*". */
void acl_text(const struct acl_rule *rule, char *text, size_t bytes);

/** "Read"; "?" for a number that means nothing. Static. */
const char *acl_operation_name(enum acl_operation operation);

/** "topic"; "?" for a number that means nothing. Static. */
const char *acl_resource_name(enum acl_resource resource);

#endif
