/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/acl.h"

enum { PRINCIPAL_BYTES = 310 };

static const char *const examples[] = {
    "$0 acl add anna -t orders -o write",
    "$0 acl add User:anna -t 'orders-*' -g 'billing-*' -o read",
    "$0 acl add guest -d -t '*' -o all -H 192.0.2.7",
    "$0 acl add anna -C -o create",
    NULL,
};

static int
add(struct ctl *ctl, struct bus *bus, const struct acl_plan *plan, const char *principal)
{
    for (int i = 0; i < plan->resource_count; i++) {
        struct bus_acl acls[ACL_OPERATIONS_MAX];
        for (int j = 0; j < plan->operation_count; j++)
            acls[j] = (struct bus_acl){plan->resources[i].type, plan->resources[i].pattern,
                plan->resources[i].name, principal, plan->host ? plan->host : "*",
                plan->operations[j], plan->permission};
        int rc = bus_acl_add(bus, acls, (size_t)plan->operation_count);
        if (rc < 0)
            return ctl_fail_bus(ctl, rc, principal);
    }
    return CTL_OK;
}

static int
add_all(struct ctl *ctl, const struct acl_plan *plan, char **who)
{
    struct bus *bus;
    int code = ctl_connect(ctl, &bus);
    if (code != CTL_OK)
        return code;
    for (; code == CTL_OK && *who; who++) {
        char principal[PRINCIPAL_BYTES];
        code = acl_principal(*who, principal, sizeof principal)
                   ? add(ctl, bus, plan, principal)
                   : ctl_usage(ctl, "the name %.40s… is too long", *who);
    }
    bus_close(&bus);
    return code;
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    struct acl_plan plan;
    int code = acl_parse(opts, &plan);
    if (code < 0)
        return opts->exit_code;
    if (code == CTL_OK)
        code = opts_expect(opts, 1, -1, "who the rule is for, as anna or User:*");
    if (code == CTL_OK && plan.resource_count == 0)
        code = ctl_usage(ctl, "say what the rule is about: --topic, --group or --cluster");
    if (code == CTL_OK && plan.operation_count == 0)
        code = ctl_usage(ctl, "say what may be done: --operation read, for example");
    return code == CTL_OK ? add_all(ctl, &plan, opts_arguments(opts)) : code;
}

const struct command command_acl_add = {
    .group = "acl",
    .name = "add",
    .arguments = "WHO...",
    .text = "Adds access rules. WHO is a user, or '*' for everybody.",
    .options = acl_options,
    .examples = examples,
    .run = run,
};
