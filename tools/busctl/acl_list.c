/* SPDX-License-Identifier: Apache-2.0
 * The rules that match: listed, or removed.
 */
#include "busctl/acl.h"

#include <stdio.h>

enum { PRINCIPAL_BYTES = 310 };

static const char *const list_examples[] = {
    "$0 acl list",
    "$0 acl list anna",
    "$0 acl list -t orders --json",
    NULL,
};

static const char *const remove_examples[] = {
    "$0 acl remove anna -t orders -o write",
    "$0 acl remove anna --yes",
    NULL,
};

/** The rules that the command line means: nothing said matches everything. */
static struct bus_acl
filter_of(const struct acl_plan *plan, const char *principal)
{
    struct bus_acl filter = {.resource = BUS_ACL_ANY_RESOURCE,
        .pattern = BUS_ACL_ANY_PATTERN,
        .principal = principal,
        .host = plan->host,
        .operation = BUS_ACL_ANY_OPERATION,
        .permission = plan->permission == BUS_ACL_DENY ? BUS_ACL_DENY : BUS_ACL_ANY_PERMISSION};
    if (plan->resource_count > 0) {
        filter.resource = plan->resources[0].type;
        filter.pattern = plan->resources[0].pattern;
        filter.name = plan->resources[0].name;
    }
    if (plan->operation_count > 0)
        filter.operation = plan->operations[0];
    return filter;
}

static int
parse(struct opts *opts, struct acl_plan *plan, char space[PRINCIPAL_BYTES], struct bus_acl *filter)
{
    int code = acl_parse(opts, plan);
    if (code == CTL_OK)
        code = opts_expect(opts, 0, 1, "at most one user");
    if (code == CTL_OK && (plan->resource_count > 1 || plan->operation_count > 1))
        code = ctl_usage(opts->ctl, "one resource and one operation at a time");
    if (code != CTL_OK)
        return code;
    const char *who = opts_arguments(opts)[0];
    if (who && !acl_principal(who, space, PRINCIPAL_BYTES))
        return ctl_usage(opts->ctl, "the name %.40s… is too long", who);
    *filter = filter_of(plan, who ? space : NULL);
    return CTL_OK;
}

static int
print(struct ctl *ctl, struct bus_acls **acls)
{
    int code = ctl_out(ctl);
    if (code == CTL_OK)
        acl_print(ctl->out, *acls);
    bus_acls_free(acls);
    return code;
}

static int
run_list(struct ctl *ctl, struct opts *opts)
{
    struct acl_plan plan;
    struct bus_acl filter;
    struct bus_acls *acls;
    struct bus *bus;
    char space[PRINCIPAL_BYTES];
    int code = parse(opts, &plan, space, &filter);
    if (code < 0)
        return opts->exit_code;
    if (code == CTL_OK)
        code = ctl_connect(ctl, &bus);
    if (code != CTL_OK)
        return code;
    /* To ask for a name is to ask for all that concerns it. */
    if (filter.name && filter.pattern == BUS_ACL_LITERAL)
        filter.pattern = BUS_ACL_MATCH;
    int rc = bus_acls_fetch(bus, &filter, &acls);
    code = rc < 0 ? ctl_fail_bus(ctl, rc, NULL) : print(ctl, &acls);
    bus_close(&bus);
    return code;
}

const struct command command_acl_list = {
    .group = "acl",
    .name = "list",
    .arguments = "[WHO]",
    .text = "Lists the access rules: all, or those that match.",
    .options = acl_options,
    .examples = list_examples,
    .run = run_list,
};

static bool
confirmed(void)
{
    char answer[16] = "";
    fputs("Remove every access rule that matches? [y/N] ", stderr);
    return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static int
run_remove(struct ctl *ctl, struct opts *opts)
{
    struct acl_plan plan;
    struct bus_acl filter;
    struct bus_acls *acls;
    struct bus *bus;
    char space[PRINCIPAL_BYTES];
    int code = parse(opts, &plan, space, &filter);
    if (code < 0)
        return opts->exit_code;
    if (code == CTL_OK && !filter.principal && !filter.name && !plan.yes && !ctl_is_watched())
        code = ctl_usage(ctl, "say whose rules or which resource, or --yes to remove all");
    if (code == CTL_OK && !plan.yes && ctl_is_watched() && !confirmed())
        return ctl_fail(ctl, "nothing was removed: answer y, or give --yes");
    if (code == CTL_OK)
        code = ctl_connect(ctl, &bus);
    if (code != CTL_OK)
        return code;
    int rc = bus_acl_remove(bus, &filter, &acls);
    code = rc < 0 ? ctl_fail_bus(ctl, rc, NULL) : print(ctl, &acls);
    bus_close(&bus);
    return code;
}

const struct command command_acl_remove = {
    .group = "acl",
    .name = "remove",
    .arguments = "[WHO]",
    .text = "Removes the access rules that match, and lists them.",
    .options = acl_options,
    .examples = remove_examples,
    .run = run_remove,
};
