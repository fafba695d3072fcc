/* SPDX-License-Identifier: Apache-2.0
 * The set of rules, kept sorted.
 */
#include "core/acl.h"

#include "base/check.h"
#include "base/err.h"
#include "core/acl_order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one rule ------------------------------------------------------------------------------- */

struct acl *
acl_new(const struct uuid *id, const struct acl_rule *rule)
{
    size_t name = strlen(rule->name) + 1, principal = strlen(rule->principal) + 1;
    size_t host = strlen(rule->host) + 1;
    struct acl *acl = malloc(sizeof *acl + name + principal + host);
    if (!acl)
        return NULL;
    char *space = (char *)(acl + 1);
    acl->id = *id;
    acl->rule = *rule;
    acl->rule.name = memcpy(space, rule->name, name);
    acl->rule.principal = memcpy(space + name, rule->principal, principal);
    acl->rule.host = memcpy(space + name + principal, rule->host, host);
    return acl;
}

void
acl_free(struct acl **acl)
{
    free(*acl);
    *acl = NULL;
}

static int
refuse(const char *why)
{
    return err_set(BUS_ERR_INVALID_REQUEST, "%s", why);
}

static int
check_principal(const char *principal)
{
    const char *colon = principal ? strchr(principal, ':') : NULL;
    if (!colon || colon == principal || colon[1] == '\0' ||
        strlen(principal) > ACL_PRINCIPAL_BYTES_MAX)
        return err_set(BUS_ERR_INVALID_REQUEST,
            "the principal \"%.60s\" is none: say User:NAME, or " ACL_EVERYBODY " for everybody",
            principal ? principal : "");
    return 0;
}

int
acl_check(const struct acl_rule *rule)
{
    if (rule->resource < ACL_TOPIC || rule->resource > ACL_TRANSACTIONAL_ID)
        return refuse("a rule is about a topic, a group, the cluster or a transactional id");
    if (rule->pattern != ACL_LITERAL && rule->pattern != ACL_PREFIXED)
        return refuse("the pattern of a rule is a literal name or a prefix");
    if (rule->operation < ACL_ALL || rule->operation > ACL_OPERATION_LAST)
        return refuse("the operation of a rule is none that there is");
    if (rule->permission != ACL_DENY && rule->permission != ACL_ALLOW)
        return refuse("a rule allows or denies");
    if (!rule->name || !*rule->name || strlen(rule->name) > ACL_NAME_BYTES_MAX)
        return refuse("the name of the resource is empty or too long");
    if (rule->resource == ACL_CLUSTER && strcmp(rule->name, ACL_CLUSTER_NAME) != 0)
        return refuse("the cluster is called " ACL_CLUSTER_NAME " in rules");
    if (!rule->host || !*rule->host || strlen(rule->host) > ACL_HOST_BYTES_MAX)
        return refuse("the host of a rule is a numeric address, or * for all");
    return check_principal(rule->principal);
}

int
acl_check_filter(const struct acl_rule *filter)
{
    if (filter->resource < ACL_RESOURCE_ANY || filter->resource > ACL_TRANSACTIONAL_ID)
        return refuse("the filter's type of resource is none that there is");
    if (filter->pattern < ACL_PATTERN_ANY || filter->pattern > ACL_PREFIXED)
        return refuse("the filter's type of pattern is none that there is");
    if (filter->operation < ACL_OPERATION_ANY || filter->operation > ACL_OPERATION_LAST)
        return refuse("the filter's operation is none that there is");
    if (filter->permission < ACL_PERMISSION_ANY || filter->permission > ACL_ALLOW)
        return refuse("the filter's permission is none that there is");
    return 0;
}

const char *
acl_operation_name(enum acl_operation operation)
{
    static const char *const names[] = {[ACL_OPERATION_ANY] = "Any",
        [ACL_ALL] = "All",
        [ACL_READ] = "Read",
        [ACL_WRITE] = "Write",
        [ACL_CREATE] = "Create",
        [ACL_DELETE] = "Delete",
        [ACL_ALTER] = "Alter",
        [ACL_DESCRIBE] = "Describe",
        [ACL_CLUSTER_ACTION] = "ClusterAction",
        [ACL_DESCRIBE_CONFIGS] = "DescribeConfigs",
        [ACL_ALTER_CONFIGS] = "AlterConfigs",
        [ACL_IDEMPOTENT_WRITE] = "IdempotentWrite"};
    return operation >= ACL_OPERATION_ANY && operation <= ACL_OPERATION_LAST ? names[operation]
                                                                             : "?";
}

const char *
acl_resource_name(enum acl_resource resource)
{
    switch (resource) {
    case ACL_TOPIC:
        return "topic";
    case ACL_GROUP:
        return "group";
    case ACL_CLUSTER:
        return "cluster";
    case ACL_TRANSACTIONAL_ID:
        return "transactional id";
    case ACL_RESOURCE_ANY:
        return "any";
    }
    return "?";
}

void
acl_text(const struct acl_rule *rule, char *text, size_t bytes)
{
    snprintf(text, bytes, "%s %.80s%s%.40s %s on %s %.80s%s",
        rule->permission == ACL_DENY ? "Deny" : "Allow", rule->principal,
        strcmp(rule->host, "*") == 0 ? "" : " at ", strcmp(rule->host, "*") == 0 ? "" : rule->host,
        acl_operation_name(rule->operation), acl_resource_name(rule->resource), rule->name,
        rule->pattern == ACL_PREFIXED ? "*" : "");
}

/* ---- the set -------------------------------------------------------------------------------- */

static int
compare_text(const char *a, size_t n, const char *b, size_t m)
{
    int order = memcmp(a, b, n < m ? n : m);
    return order ? order : (n > m) - (n < m);
}

/** By resource first: what is asked for lies together. */
static int
compare_resource(const struct acl_rule *rule, const struct acl_place *place)
{
    if (rule->resource != place->resource)
        return rule->resource < place->resource ? -1 : 1;
    if (rule->pattern != place->pattern)
        return rule->pattern < place->pattern ? -1 : 1;
    return compare_text(rule->name, strlen(rule->name), place->name, place->name_bytes);
}

static int
compare(const struct acl_rule *a, const struct acl_rule *b)
{
    struct acl_place place = {b->resource, b->pattern, b->name, strlen(b->name)};
    int order = compare_resource(a, &place);
    if (order == 0)
        order = strcmp(a->principal, b->principal);
    if (order == 0)
        order = strcmp(a->host, b->host);
    if (order == 0)
        order = (a->operation > b->operation) - (a->operation < b->operation);
    return order ? order : (a->permission > b->permission) - (a->permission < b->permission);
}

size_t
acl_set_place(const struct acl_set *set, const struct acl_place *place, bool behind)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_resource(&set->rules[middle]->rule, place);
        if (order < 0 || (behind && order == 0))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/** The place of the first rule that is not below. */
static size_t
place_of(const struct acl_set *set, const struct acl_rule *rule)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&set->rules[middle]->rule, rule) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void
acl_set_fini(struct acl_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        acl_free(&set->rules[i]);
    free(set->rules);
    *set = (struct acl_set){0};
}

int
acl_set_reserve(struct acl_set *set)
{
    if (set->count < set->capacity)
        return 0;
    size_t capacity = set->capacity ? set->capacity * 2 : 16;
    struct acl **rules = realloc(set->rules, capacity * sizeof *rules);
    if (!rules)
        return err_no_memory();
    set->rules = rules;
    set->capacity = capacity;
    return 0;
}

void
acl_set_add(struct acl_set *set, struct acl *acl)
{
    MUST(set->count < set->capacity);
    size_t at = place_of(set, &acl->rule);
    memmove(set->rules + at + 1, set->rules + at, (set->count - at) * sizeof set->rules[0]);
    set->rules[at] = acl;
    set->count++;
}

void
acl_set_remove(struct acl_set *set, struct acl *acl)
{
    size_t at = place_of(set, &acl->rule);
    MUST(at < set->count && set->rules[at] == acl);
    set->count--;
    memmove(set->rules + at, set->rules + at + 1, (set->count - at) * sizeof set->rules[0]);
}

struct acl *
acl_set_twin(const struct acl_set *set, const struct acl_rule *rule)
{
    size_t at = place_of(set, rule);
    bool same = at < set->count && compare(&set->rules[at]->rule, rule) == 0;
    return same ? set->rules[at] : NULL;
}

struct acl *
acl_set_of_id(const struct acl_set *set, const struct uuid *id)
{
    for (size_t i = 0; i < set->count; i++)
        if (memcmp(&set->rules[i]->id, id, sizeof *id) == 0)
            return set->rules[i];
    return NULL;
}
