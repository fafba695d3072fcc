/* SPDX-License-Identifier: Apache-2.0 */
#include "core/acl.h"

#include "unit/unit.h"

#include <bus/errors.h>
#include <stdio.h>
#include <string.h>

static struct acl_set set;

static void
add(struct acl_rule rule)
{
    static uint8_t number;
    struct uuid id = {{++number, 1}};
    CU_ASSERT_EQUAL_FATAL(acl_check(&rule), 0);
    CU_ASSERT_EQUAL_FATAL(acl_set_reserve(&set), 0);
    acl_set_add(&set, acl_new(&id, &rule));
}

static void
rule(enum acl_permission permission, const char *principal, enum acl_operation operation,
    enum acl_pattern pattern, const char *name)
{
    add((struct acl_rule){ACL_TOPIC, pattern, name, principal, "*", operation, permission});
}

static enum acl_answer
ask(const char *principal, enum acl_operation operation, const char *name)
{
    struct acl_question q = {principal, "10.0.0.1", operation, ACL_TOPIC, name};
    return acl_ask(&set, &q);
}

static void
test_silence(void)
{
    CU_ASSERT_EQUAL(ask("User:anna", ACL_READ, "t"), ACL_SILENT);
    rule(ACL_ALLOW, "User:anna", ACL_READ, ACL_LITERAL, "t");
    CU_ASSERT_EQUAL(ask("User:anna", ACL_READ, "t"), ACL_ALLOWED);
    CU_ASSERT_EQUAL(ask("User:anna", ACL_WRITE, "t"), ACL_DENIED);
    CU_ASSERT_EQUAL(ask("User:bert", ACL_READ, "t"), ACL_DENIED);
    CU_ASSERT_EQUAL(ask("User:anna", ACL_READ, "tt"), ACL_SILENT);
    CU_ASSERT_EQUAL(ask("User:anna", ACL_READ, ""), ACL_SILENT);
    struct acl_question group = {"User:anna", "::1", ACL_READ, ACL_GROUP, "t"};
    CU_ASSERT_EQUAL(acl_ask(&set, &group), ACL_SILENT);
    acl_set_fini(&set);
}

static void
test_deny_wins(void)
{
    rule(ACL_ALLOW, "User:*", ACL_ALL, ACL_LITERAL, "*");
    CU_ASSERT_EQUAL(ask("User:anna", ACL_ALTER, "t"), ACL_ALLOWED);
    rule(ACL_DENY, "User:anna", ACL_WRITE, ACL_PREFIXED, "or");
    CU_ASSERT_EQUAL(ask("User:anna", ACL_WRITE, "orders"), ACL_DENIED);
    CU_ASSERT_EQUAL(ask("User:anna", ACL_READ, "orders"), ACL_ALLOWED);
    /* To deny writing is not to deny describing. */
    CU_ASSERT_EQUAL(ask("User:anna", ACL_DESCRIBE, "orders"), ACL_ALLOWED);
    CU_ASSERT_EQUAL(ask("User:anna", ACL_WRITE, "o"), ACL_ALLOWED);
    CU_ASSERT_EQUAL(ask("User:bert", ACL_WRITE, "orders"), ACL_ALLOWED);
    rule(ACL_DENY, "User:bert", ACL_ALL, ACL_LITERAL, "*");
    CU_ASSERT_EQUAL(ask("User:bert", ACL_DESCRIBE, "x"), ACL_DENIED);
    acl_set_fini(&set);
}

static void
test_implied(void)
{
    static const enum acl_operation describing[] = {ACL_READ, ACL_WRITE, ACL_DELETE, ACL_ALTER};
    for (size_t i = 0; i < 4; i++) {
        rule(ACL_ALLOW, "User:anna", describing[i], ACL_LITERAL, "t");
        CU_ASSERT_EQUAL(ask("User:anna", ACL_DESCRIBE, "t"), ACL_ALLOWED);
        CU_ASSERT_EQUAL(ask("User:anna", ACL_DESCRIBE_CONFIGS, "t"), ACL_DENIED);
        acl_set_fini(&set);
    }
    rule(ACL_ALLOW, "User:anna", ACL_ALTER_CONFIGS, ACL_LITERAL, "t");
    CU_ASSERT_EQUAL(ask("User:anna", ACL_DESCRIBE_CONFIGS, "t"), ACL_ALLOWED);
    CU_ASSERT_EQUAL(ask("User:anna", ACL_DESCRIBE, "t"), ACL_DENIED);
    acl_set_fini(&set);
    rule(ACL_ALLOW, "User:anna", ACL_DESCRIBE, ACL_LITERAL, "t");
    CU_ASSERT_EQUAL(ask("User:anna", ACL_READ, "t"), ACL_DENIED);
    acl_set_fini(&set);
}

/** Prefixes of "abcdef" among patterns that sort between them and are none. */
static void
test_prefixes(void)
{
    static const char *const others[] = {
        "aa", "abb", "abca", "abcdea", "abcdefg", "abcdf", "b", "Z"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        rule(ACL_ALLOW, "User:x", ACL_READ, ACL_PREFIXED, others[i]);
    CU_ASSERT_EQUAL(ask("User:anna", ACL_READ, "abcdef"), ACL_SILENT);
    for (int length = 1; length <= 6; length++) {
        char prefix[8] = "";
        memcpy(prefix, "abcdef", (size_t)length);
        rule(ACL_ALLOW, "User:anna", ACL_READ, ACL_PREFIXED, prefix);
        CU_ASSERT_EQUAL(ask("User:anna", ACL_READ, "abcdef"), ACL_ALLOWED);
        CU_ASSERT_EQUAL(ask("User:bert", ACL_READ, "abcdef"), ACL_DENIED);
        struct acl_rule same = {
            ACL_TOPIC, ACL_PREFIXED, prefix, "User:anna", "*", ACL_READ, ACL_ALLOW};
        struct acl *twin = acl_set_twin(&set, &same);
        CU_ASSERT_PTR_NOT_NULL_FATAL(twin);
        acl_set_remove(&set, twin);
        acl_free(&twin);
        CU_ASSERT_EQUAL(ask("User:anna", ACL_READ, "abcdef"), ACL_SILENT);
    }
    acl_set_fini(&set);
    /* A star in a prefix is a letter. */
    rule(ACL_ALLOW, "User:anna", ACL_READ, ACL_PREFIXED, "*");
    CU_ASSERT_EQUAL(ask("User:anna", ACL_READ, "abc"), ACL_SILENT);
    acl_set_fini(&set);
}

static void
test_hosts(void)
{
    struct acl_rule here = {ACL_TOPIC, ACL_LITERAL, "t", "User:*", "10.0.0.1", ACL_READ, ACL_ALLOW};
    add(here);
    struct acl_question q = {"User:anna", "10.0.0.1", ACL_READ, ACL_TOPIC, "t"};
    CU_ASSERT_EQUAL(acl_ask(&set, &q), ACL_ALLOWED);
    q.host = "10.0.0.11";
    CU_ASSERT_EQUAL(acl_ask(&set, &q), ACL_DENIED);
    acl_set_fini(&set);
}

static void
test_any(void)
{
    struct acl_question q = {"User:anna", "::1", ACL_WRITE, ACL_TOPIC, ""};
    CU_ASSERT_FALSE(acl_ask_any(&set, &q));
    rule(ACL_ALLOW, "User:anna", ACL_READ, ACL_LITERAL, "a");
    CU_ASSERT_FALSE(acl_ask_any(&set, &q));
    rule(ACL_ALLOW, "User:anna", ACL_WRITE, ACL_PREFIXED, "orders-");
    CU_ASSERT(acl_ask_any(&set, &q));
    rule(ACL_DENY, "User:anna", ACL_WRITE, ACL_LITERAL, "orders-1");
    CU_ASSERT(acl_ask_any(&set, &q));
    rule(ACL_DENY, "User:anna", ACL_WRITE, ACL_PREFIXED, "or");
    CU_ASSERT_FALSE(acl_ask_any(&set, &q));
    rule(ACL_ALLOW, "User:*", ACL_ALL, ACL_LITERAL, "*");
    CU_ASSERT(acl_ask_any(&set, &q));
    rule(ACL_DENY, "User:*", ACL_WRITE, ACL_LITERAL, "*");
    CU_ASSERT_FALSE(acl_ask_any(&set, &q));
    acl_set_fini(&set);
}

static const struct acl_rule everything = {
    ACL_RESOURCE_ANY, ACL_PATTERN_ANY, NULL, NULL, NULL, ACL_OPERATION_ANY, ACL_PERMISSION_ANY};

static void
test_filters(void)
{
    struct acl_rule literal = {
        ACL_TOPIC, ACL_LITERAL, "orders-1", "User:anna", "*", ACL_READ, ACL_ALLOW};
    struct acl_rule prefix = literal, star = literal, filter = everything;
    prefix.pattern = ACL_PREFIXED;
    prefix.name = "orders-";
    star.name = "*";
    CU_ASSERT(acl_matches(&filter, &literal));
    filter.name = "orders-1";
    CU_ASSERT(acl_matches(&filter, &literal));
    CU_ASSERT_FALSE(acl_matches(&filter, &prefix));
    CU_ASSERT_FALSE(acl_matches(&filter, &star));
    filter.pattern = ACL_PATTERN_MATCH;
    CU_ASSERT(acl_matches(&filter, &literal));
    CU_ASSERT(acl_matches(&filter, &prefix));
    CU_ASSERT(acl_matches(&filter, &star));
    filter.name = "order";
    CU_ASSERT_FALSE(acl_matches(&filter, &prefix));
    filter.pattern = ACL_PREFIXED;
    filter.name = NULL;
    CU_ASSERT(acl_matches(&filter, &prefix));
    CU_ASSERT_FALSE(acl_matches(&filter, &literal));
    filter = everything;
    filter.principal = "User:bert";
    CU_ASSERT_FALSE(acl_matches(&filter, &literal));
    filter = everything;
    filter.host = "::1";
    CU_ASSERT_FALSE(acl_matches(&filter, &literal));
    filter = everything;
    filter.operation = ACL_ALL;
    CU_ASSERT_FALSE(acl_matches(&filter, &literal));
    filter = everything;
    filter.permission = ACL_DENY;
    CU_ASSERT_FALSE(acl_matches(&filter, &literal));
    filter = everything;
    filter.resource = ACL_GROUP;
    CU_ASSERT_FALSE(acl_matches(&filter, &literal));
}

static int
check_name(size_t n)
{
    char name[ACL_NAME_BYTES_MAX + 2] = "";
    memset(name, 'n', n);
    struct acl_rule r = {ACL_GROUP, ACL_LITERAL, name, "User:a", "*", ACL_READ, ACL_ALLOW};
    return acl_check(&r);
}

static void
test_checks(void)
{
    const struct acl_rule good = {
        ACL_CLUSTER, ACL_LITERAL, ACL_CLUSTER_NAME, "User:a", "*", ACL_ALTER, ACL_ALLOW};
    struct acl_rule r = good;
    CU_ASSERT_EQUAL(acl_check(&r), 0);
    r.name = "other";
    CU_ASSERT_EQUAL(acl_check(&r), -BUS_ERR_INVALID_REQUEST);
    static const char *const principals[] = {"anna", ":anna", "User:", "", NULL};
    for (size_t i = 0; i < 5; i++) {
        r = good;
        r.principal = principals[i];
        CU_ASSERT_EQUAL(acl_check(&r), -BUS_ERR_INVALID_REQUEST);
    }
    for (int value = 0; value <= 20; value++) {
        r = good;
        r.operation = (enum acl_operation)value;
        CU_ASSERT_EQUAL(acl_check(&r) == 0, value >= 2 && value <= 12);
        r = good;
        r.permission = (enum acl_permission)value;
        CU_ASSERT_EQUAL(acl_check(&r) == 0, value == 2 || value == 3);
        r = good;
        r.pattern = (enum acl_pattern)value;
        CU_ASSERT_EQUAL(acl_check(&r) == 0, value == 3 || value == 4);
        r = everything;
        r.resource = (enum acl_resource)value;
        CU_ASSERT_EQUAL(acl_check_filter(&r) == 0, value >= 1 && value <= 5);
    }
    CU_ASSERT_EQUAL(check_name(ACL_NAME_BYTES_MAX), 0);
    CU_ASSERT_EQUAL(check_name(ACL_NAME_BYTES_MAX + 1), -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(check_name(0), -BUS_ERR_INVALID_REQUEST);
}

static const struct unit_case cases[] = {
    {"says nothing where no rule is about the resource, and denies where none allows",
        test_silence},
    {"denies what any rule denies", test_deny_wins},
    {"allows what is implied", test_implied},
    {"finds each prefix of a name", test_prefixes},
    {"tells hosts apart", test_hosts},
    {"finds that something of a kind is allowed", test_any},
    {"matches filters", test_filters},
    {"checks rules and filters", test_checks},
    {NULL, NULL},
};

void
register_acl(void)
{
    unit_register("acl", cases);
}
