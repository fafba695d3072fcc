/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/acl.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

const struct opt_row acl_options[] = {
    {'t', "topic", "NAME", "rules about a topic; '*': all, 'orders-*': names that begin so",
        OPT_TOPIC},
    {'g', "group", "NAME", "rules about a consumer group", OPT_GROUP},
    {'C', "cluster", NULL, "rules about the cluster: create topics, change rules and users",
        OPT_NOTHING},
    {'o', "operation", "WORDS",
        "what: read, write, create, delete, alter, describe, alter-configs, describe-configs, "
        "idempotent-write, cluster-action, all; several with commas",
        OPT_NOTHING},
    {'H', "host", "ADDRESS", "only from this address; local programs: 127.0.0.1", OPT_NOTHING},
    {'d', "deny", NULL, "rules that deny; without: those that allow", OPT_NOTHING},
    {'y', "yes", NULL, "do not ask", OPT_NOTHING},
    {0},
};

static const struct {
    const char *word;
    enum bus_acl_operation operation;
} operations[] = {
    {"all", BUS_ACL_ALL},
    {"read", BUS_ACL_READ},
    {"write", BUS_ACL_WRITE},
    {"create", BUS_ACL_CREATE},
    {"delete", BUS_ACL_DELETE},
    {"alter", BUS_ACL_ALTER},
    {"describe", BUS_ACL_DESCRIBE},
    {"cluster-action", BUS_ACL_CLUSTER_ACTION},
    {"describe-configs", BUS_ACL_DESCRIBE_CONFIGS},
    {"alter-configs", BUS_ACL_ALTER_CONFIGS},
    {"idempotent-write", BUS_ACL_IDEMPOTENT_WRITE},
};

enum { OPERATIONS = sizeof operations / sizeof operations[0] };

static const char *
operation_word(enum bus_acl_operation operation)
{
    for (int i = 0; i < OPERATIONS; i++)
        if (operations[i].operation == operation)
            return operations[i].word;
    return "?";
}

static const char *
resource_word(enum bus_acl_resource resource)
{
    switch (resource) {
    case BUS_ACL_TOPIC:
        return "topic";
    case BUS_ACL_GROUP:
        return "group";
    case BUS_ACL_CLUSTER:
        return "cluster";
    case BUS_ACL_TRANSACTIONAL_ID:
        return "transactional-id";
    case BUS_ACL_ANY_RESOURCE:
        break;
    }
    return "?";
}

/* ---- options -------------------------------------------------------------------------------- */

/** A name that ends in a star is a prefix, a lone star is the name for all. */
static int
add_resource(struct opts *opts, struct acl_plan *plan, enum bus_acl_resource type, char *name)
{
    size_t n = strlen(name);
    if (n == 0)
        return ctl_usage(opts->ctl, "a name is empty: give one, or '*' for all");
    if (plan->resource_count == ACL_RESOURCES_MAX)
        return ctl_usage(opts->ctl, "more than %d resources in one command", ACL_RESOURCES_MAX);
    struct acl_resource *resource = &plan->resources[plan->resource_count++];
    *resource = (struct acl_resource){type, BUS_ACL_LITERAL, name};
    if (n > 1 && name[n - 1] == '*') {
        name[n - 1] = '\0';
        resource->pattern = BUS_ACL_PREFIXED;
    }
    return CTL_OK;
}

static int
add_operation(struct opts *opts, struct acl_plan *plan, const char *word, size_t n)
{
    for (int i = 0; i < OPERATIONS; i++) {
        if (strlen(operations[i].word) != n || strncasecmp(operations[i].word, word, n) != 0)
            continue;
        if (plan->operation_count == ACL_OPERATIONS_MAX)
            return ctl_usage(opts->ctl, "more than %d operations", ACL_OPERATIONS_MAX);
        plan->operations[plan->operation_count++] = operations[i].operation;
        return CTL_OK;
    }
    return ctl_usage(opts->ctl, "there is no operation \"%.*s\"", (int)n, word);
}

static int
add_operations(struct opts *opts, struct acl_plan *plan)
{
    int code = CTL_OK;
    for (const char *at = opts->value; code == CTL_OK && *at;) {
        size_t n = strcspn(at, ",");
        code = add_operation(opts, plan, at, n);
        at += n + (at[n] == ',');
    }
    return code;
}

static int
take(struct opts *opts, struct acl_plan *plan, int key)
{
    static char cluster[] = BUS_ACL_CLUSTER_NAME;
    switch (key) {
    case 't':
        return add_resource(opts, plan, BUS_ACL_TOPIC, (char *)opts->value);
    case 'g':
        return add_resource(opts, plan, BUS_ACL_GROUP, (char *)opts->value);
    case 'C':
        return add_resource(opts, plan, BUS_ACL_CLUSTER, cluster);
    case 'o':
        return add_operations(opts, plan);
    case 'H':
        plan->host = opts->value;
        return CTL_OK;
    case 'd':
        plan->permission = BUS_ACL_DENY;
        return CTL_OK;
    default:
        plan->yes = true;
        return CTL_OK;
    }
}

int
acl_parse(struct opts *opts, struct acl_plan *plan)
{
    int code = CTL_OK;
    *plan = (struct acl_plan){.permission = BUS_ACL_ALLOW};
    for (int key; code == CTL_OK && (key = opts_next(opts)) != OPTS_END;) {
        if (key == OPTS_EXIT)
            return -1;
        code = take(opts, plan, key);
    }
    return code;
}

bool
acl_principal(const char *word, char *space, size_t bytes)
{
    int n = snprintf(space, bytes, "%s%s", strchr(word, ':') ? "" : "User:", word);
    return n > 0 && (size_t)n < bytes;
}

/* ---- output --------------------------------------------------------------------------------- */

void
acl_print(struct out *out, const struct bus_acls *acls)
{
    struct bus_acl acl;
    out_list(out, NULL);
    for (size_t i = 0; bus_acls_get(acls, i, &acl) == 0; i++) {
        char name[1100];
        snprintf(name, sizeof name, "%s%s", acl.name, acl.pattern == BUS_ACL_PREFIXED ? "*" : "");
        out_object(out, NULL);
        out_text(out, "principal", acl.principal);
        out_text(out, "permission", acl.permission == BUS_ACL_DENY ? "deny" : "allow");
        out_text(out, "operation", operation_word(acl.operation));
        out_text(out, "resource", resource_word(acl.resource));
        out_text(out, "name", name);
        out_text(out, "host", acl.host);
        out_end(out);
    }
    out_end(out);
}
