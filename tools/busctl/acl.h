/* SPDX-License-Identifier: Apache-2.0
 * What the commands about access rules share: options that say which rules, and words for them.
 */
#ifndef BUSCTL_ACL_H
#define BUSCTL_ACL_H

#include "busctl/command.h"

enum { ACL_OPERATIONS_MAX = 16, ACL_RESOURCES_MAX = 16 };

/** One thing that rules are about; the name is borrowed. */
struct acl_resource {
    enum bus_acl_resource type;
    enum bus_acl_pattern pattern;
    const char *name; /* NULL in filters: any */
};

/** What the options say. */
struct acl_plan {
    struct acl_resource resources[ACL_RESOURCES_MAX];
    int resource_count;
    enum bus_acl_operation operations[ACL_OPERATIONS_MAX];
    int operation_count;
    const char *host; /* NULL: none was given */
    enum bus_acl_permission permission;
    bool yes;
};

/** Options that name resources, operations, host and permission. */
extern const struct opt_row acl_options[];

/** Reads them. Returns CTL_OK, an exit code after telling, or -1 when opts->exit_code counts. */
int acl_parse(struct opts *opts, struct acl_plan *plan);

/** Prints rules as a list. */
void acl_print(struct out *out, const struct bus_acls *acls);

/** "User:anna" for "anna" and for itself; in `space`. False when it does not fit. */
bool acl_principal(const char *word, char *space, size_t bytes);

#endif
