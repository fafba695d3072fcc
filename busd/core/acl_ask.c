/* SPDX-License-Identifier: Apache-2.0
 * What the rules say: which of them are about a resource, and what follows.
 */
#include "core/acl_order.h"

#include <string.h>

/** What the rules that were looked at have in them. */
struct findings {
    bool about;   /* a rule about the resource, whoever it is for */
    bool allowed; /* what is asked for */
    bool denied;
};

static bool
names_principal(const struct acl_rule *rule, const struct acl_question *q)
{
    return strcmp(rule->principal, ACL_EVERYBODY) == 0 ||
           strcmp(rule->principal, q->principal) == 0;
}

static bool
names_host(const struct acl_rule *rule, const struct acl_question *q)
{
    return strcmp(rule->host, "*") == 0 || strcmp(rule->host, q->host) == 0;
}

/** Whether to allow one operation allows the other. (To deny it denies nothing else.) */
static bool
implies(enum acl_operation allowed, enum acl_operation wanted)
{
    switch (wanted) {
    case ACL_DESCRIBE:
        return allowed == ACL_READ || allowed == ACL_WRITE || allowed == ACL_DELETE ||
               allowed == ACL_ALTER;
    case ACL_DESCRIBE_CONFIGS:
        return allowed == ACL_ALTER_CONFIGS;
    default:
        return false;
    }
}

static bool
names_operation(const struct acl_rule *rule, enum acl_operation wanted)
{
    return rule->operation == ACL_ALL || rule->operation == wanted ||
           (rule->permission == ACL_ALLOW && implies(rule->operation, wanted));
}

static bool
concerns(const struct acl_rule *rule, const struct acl_question *q)
{
    return names_principal(rule, q) && names_host(rule, q) && names_operation(rule, q->operation);
}

static void
look(const struct acl_rule *rule, const struct acl_question *q, struct findings *found)
{
    found->about = true;
    if (!concerns(rule, q))
        return;
    if (rule->permission == ACL_DENY)
        found->denied = true;
    else
        found->allowed = true;
}

static void
look_at_literal(const struct acl_set *set, const char *name, const struct acl_question *q,
    struct findings *found)
{
    struct acl_place place = {q->resource, ACL_LITERAL, name, strlen(name)};
    size_t end = acl_set_place(set, &place, true);
    for (size_t i = acl_set_place(set, &place, false); i < end; i++)
        look(&set->rules[i]->rule, q, found);
}

static size_t
common_bytes(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    return n;
}

/**
 * Prefixes, from the longest on. A prefix of the name that sorts before another pattern which is
 * none has to be a prefix of that pattern as well: so what they have in common is where to go on.
 */
static void
look_at_prefixes(const struct acl_set *set, const struct acl_question *q, struct findings *found)
{
    struct acl_place place = {q->resource, ACL_PREFIXED, q->name, strlen(q->name)};
    size_t at = acl_set_place(set, &place, true);
    while (at > 0) {
        const struct acl_rule *rule = &set->rules[at - 1]->rule;
        if (rule->resource != q->resource || rule->pattern != ACL_PREFIXED)
            return;
        size_t common = common_bytes(rule->name, q->name);
        if (rule->name[common] == '\0') {
            look(rule, q, found);
            at--;
            continue;
        }
        place.name_bytes = common;
        at = acl_set_place(set, &place, true);
    }
}

enum acl_answer
acl_ask(const struct acl_set *set, const struct acl_question *question)
{
    struct findings found = {0};
    if (set->count == 0)
        return ACL_SILENT;
    look_at_literal(set, question->name, question, &found);
    if (strcmp(question->name, "*") != 0)
        look_at_literal(set, "*", question, &found);
    look_at_prefixes(set, question, &found);
    if (found.denied)
        return ACL_DENIED;
    if (found.allowed)
        return ACL_ALLOWED;
    return found.about ? ACL_DENIED : ACL_SILENT;
}

/** Whether a rule is about all that another one is about. */
static bool
covers(const struct acl_rule *wide, const struct acl_rule *narrow)
{
    if (wide->pattern == ACL_LITERAL)
        return strcmp(wide->name, "*") == 0 ||
               (narrow->pattern == ACL_LITERAL && strcmp(wide->name, narrow->name) == 0);
    return strncmp(narrow->name, wide->name, strlen(wide->name)) == 0;
}

static bool
is_taken_back(const struct acl_set *set, const struct acl_rule *allow, const struct acl_question *q)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct acl_rule *rule = &set->rules[i]->rule;
        if (rule->resource == q->resource && rule->permission == ACL_DENY && concerns(rule, q) &&
            covers(rule, allow))
            return true;
    }
    return false;
}

bool
acl_ask_any(const struct acl_set *set, const struct acl_question *question)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct acl_rule *rule = &set->rules[i]->rule;
        if (rule->resource == question->resource && rule->permission == ACL_ALLOW &&
            concerns(rule, question) && !is_taken_back(set, rule, question))
            return true;
    }
    return false;
}

static bool
matches_name(const struct acl_rule *filter, const struct acl_rule *rule)
{
    if (filter->pattern != ACL_PATTERN_ANY && filter->pattern != ACL_PATTERN_MATCH &&
        filter->pattern != rule->pattern)
        return false;
    if (!filter->name || strcmp(filter->name, rule->name) == 0)
        return true;
    if (filter->pattern != ACL_PATTERN_MATCH)
        return false;
    if (rule->pattern == ACL_LITERAL)
        return strcmp(rule->name, "*") == 0;
    return strncmp(filter->name, rule->name, strlen(rule->name)) == 0;
}

bool
acl_matches(const struct acl_rule *filter, const struct acl_rule *rule)
{
    return (filter->resource == ACL_RESOURCE_ANY || filter->resource == rule->resource) &&
           matches_name(filter, rule) &&
           (!filter->principal || strcmp(filter->principal, rule->principal) == 0) &&
           (!filter->host || strcmp(filter->host, rule->host) == 0) &&
           (filter->operation == ACL_OPERATION_ANY || filter->operation == rule->operation) &&
           (filter->permission == ACL_PERMISSION_ANY || filter->permission == rule->permission);
}
