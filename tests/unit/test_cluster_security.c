/* SPDX-License-Identifier: Apache-2.0
 * Rules and users in the cluster's state: commands there and back as bytes, rows, refusals.
 */
#include "core/cluster.h"

#include "unit/unit.h"

#include <string.h>

static const struct acl_rule rule = {
    ACL_GROUP, ACL_PREFIXED, "team-", "User:anna", "10.0.0.1", ACL_READ, ACL_DENY};
static const struct command add_rule = {.type = COMMAND_ACL_ADD, .id = {{9}}, .acl = &rule};

static struct scram_credential
credential_of(enum scram_mechanism mechanism)
{
    struct scram_credential c = {.mechanism = mechanism, .iterations = 5000, .salt_bytes = 4};
    size_t n = crypto_bytes(scram_hash(mechanism));
    memcpy(c.salt, "salt", 4);
    memset(c.stored_key, 's', n);
    memset(c.server_key, 'S', n);
    return c;
}

static struct cluster cluster, copy;

/** Applies a command that went through its bytes; the row goes to the copy. */
static int
run(const struct command *command)
{
    struct command decoded;
    struct changes changes;
    struct cluster_row row;
    struct arena arena;
    struct buf bytes, space;
    buf_init(&bytes);
    buf_init(&space);
    arena_init(&arena, 1 << 20);
    CU_ASSERT_EQUAL_FATAL(command_encode(command, &bytes), 0);
    CU_ASSERT_EQUAL_FATAL(command_decode(bytes.data, bytes.length, &decoded, &arena), 0);
    for (size_t n = 0; n < bytes.length; n++) {
        struct command cut;
        CU_ASSERT(command_decode(bytes.data, n, &cut, &arena) < 0);
    }
    int rc = cluster_prepare(&cluster, &decoded, &changes);
    if (rc == 0) {
        CU_ASSERT_EQUAL(cluster_row(&changes, &space, &row), 0);
        if (row.value_bytes > 0)
            CU_ASSERT_EQUAL(cluster_load(&copy, &row), 0);
        for (size_t n = 1; n < row.value_bytes; n++) {
            struct cluster_row cut = row;
            cut.value_bytes = n;
            CU_ASSERT(cluster_load(&copy, &cut) < 0);
        }
        cluster_commit(&cluster, &changes);
        changes_fini(&changes);
    }
    arena_fini(&arena);
    buf_fini(&bytes);
    buf_fini(&space);
    return rc;
}

static void
begin(void)
{
    cluster_init(&cluster, NULL);
    cluster_init(&copy, NULL);
}

static void
end(void)
{
    cluster_fini(&cluster);
    cluster_fini(&copy);
}

static void
test_rules(void)
{
    begin();
    CU_ASSERT_EQUAL(run(&add_rule), 0);
    CU_ASSERT_EQUAL_FATAL(copy.acls.count, 1);
    const struct acl *loaded = copy.acls.rules[0];
    CU_ASSERT_EQUAL(loaded->id.b[0], 9);
    CU_ASSERT_PTR_EQUAL(acl_set_twin(&copy.acls, &rule), loaded);
    /* The same rule again, and another one under the same id. */
    struct command again = add_rule;
    again.id.b[0] = 10;
    CU_ASSERT_EQUAL(run(&again), -BUS_ERR_DUPLICATE_RESOURCE);
    struct acl_rule other = rule;
    other.operation = ACL_DESCRIBE;
    again = add_rule;
    again.acl = &other;
    CU_ASSERT_EQUAL(run(&again), -BUS_ERR_INVALID_REQUEST);
    again.id = (struct uuid){{0}};
    CU_ASSERT_EQUAL(run(&again), -BUS_ERR_INVALID_REQUEST);
    /* Prepared and dropped: nothing happens. */
    struct changes changes;
    struct command gone = {.type = COMMAND_ACL_REMOVE, .id = {{9}}};
    CU_ASSERT_EQUAL(cluster_prepare(&cluster, &gone, &changes), 0);
    changes_fini(&changes);
    CU_ASSERT_EQUAL(cluster.acls.count, 1);
    CU_ASSERT_EQUAL(run(&gone), 0);
    CU_ASSERT_EQUAL(cluster.acls.count, 0);
    CU_ASSERT_EQUAL(run(&gone), -BUS_ERR_RESOURCE_NOT_FOUND);
    end();
}

static void
test_limits(void)
{
    begin();
    struct command_setting none[] = {
        {"acls.max", "1", SETTING_OP_SET}, {"users.max", "1", SETTING_OP_SET}};
    struct command limit = {
        .type = COMMAND_BROKER_ALTER, .node = -1, .settings = none, .setting_count = 2};
    struct scram_credential credential = credential_of(SCRAM_SHA_256);
    CU_ASSERT_EQUAL(run(&limit), 0);
    CU_ASSERT_EQUAL(run(&add_rule), 0);
    struct acl_rule other = rule;
    other.name = "x";
    struct command more = {.type = COMMAND_ACL_ADD, .id = {{1}}, .acl = &other};
    CU_ASSERT_EQUAL(run(&more), -BUS_ERR_POLICY_VIOLATION);
    struct command user = {.type = COMMAND_USER_SET, .name = "anna", .credential = &credential};
    CU_ASSERT_EQUAL(run(&user), 0);
    CU_ASSERT_EQUAL(run(&user), 0);
    user.name = "bert";
    CU_ASSERT_EQUAL(run(&user), -BUS_ERR_POLICY_VIOLATION);
    end();
}

static void
test_users(void)
{
    begin();
    struct scram_credential credential = credential_of(SCRAM_SHA_512);
    struct command set = {.type = COMMAND_USER_SET, .name = "anna", .credential = &credential};
    CU_ASSERT_EQUAL(run(&set), 0);
    const struct user_row *row = user_set_find(&copy.users, "anna", SCRAM_SHA_512);
    CU_ASSERT_PTR_NOT_NULL_FATAL(row);
    CU_ASSERT_EQUAL(memcmp(&row->credential, &credential, sizeof credential), 0);
    CU_ASSERT_PTR_NULL(user_set_find(&copy.users, "anna", SCRAM_SHA_256));
    /* The same mechanism replaces, another one stands beside it. */
    credential.iterations = 4096;
    CU_ASSERT_EQUAL(run(&set), 0);
    CU_ASSERT_EQUAL(cluster.users.count, 1);
    CU_ASSERT_EQUAL(cluster.users.rows[0]->credential.iterations, 4096);
    credential = credential_of(SCRAM_SHA_256);
    CU_ASSERT_EQUAL(run(&set), 0);
    CU_ASSERT_EQUAL(cluster.users.count, 2);
    CU_ASSERT_EQUAL(copy.users.count, 2);
    struct command remove = {.type = COMMAND_USER_REMOVE, .name = "anna", .count = SCRAM_SHA_512};
    CU_ASSERT_EQUAL(run(&remove), 0);
    CU_ASSERT_EQUAL(run(&remove), -BUS_ERR_RESOURCE_NOT_FOUND);
    CU_ASSERT_EQUAL(cluster.users.count, 1);
    remove.name = NULL;
    CU_ASSERT_EQUAL(run(&remove), -BUS_ERR_RESOURCE_NOT_FOUND);
    end();
}

static void
test_long_names(void)
{
    char name[USER_NAME_BYTES_MAX + 2] = "";
    struct scram_credential credential = credential_of(SCRAM_SHA_256);
    struct command set = {.type = COMMAND_USER_SET, .name = name, .credential = &credential};
    begin();
    CU_ASSERT_EQUAL(run(&set), -BUS_ERR_UNACCEPTABLE_CREDENTIAL);
    memset(name, 'n', USER_NAME_BYTES_MAX + 1);
    CU_ASSERT_EQUAL(run(&set), -BUS_ERR_UNACCEPTABLE_CREDENTIAL);
    name[USER_NAME_BYTES_MAX] = '\0';
    CU_ASSERT_EQUAL(run(&set), 0);
    CU_ASSERT_PTR_NOT_NULL(user_set_find(&copy.users, name, SCRAM_SHA_256));
    end();
}

static const struct unit_case cases[] = {
    {"rules come and go, as bytes and as rows", test_rules},
    {"no more rules and users than allowed", test_limits},
    {"users come, change and go", test_users},
    {"names of users at their limits", test_long_names},
    {NULL, NULL},
};

void
register_cluster_security(void)
{
    unit_register("cluster_security", cases);
}
