/* SPDX-License-Identifier: Apache-2.0
 * Access rules and users through the api: who may change them, what they change for others, and
 * what happens to those who have a log mapped. Peer 0 is busd's own user, peer 1 a stranger.
 */
#include "base/err.h"
#include "unit/api_world.h"

#include <stdio.h>
#include <string.h>

enum { READ = 1, WRITE = 2 };

static struct world w;
static struct batch_builder builder;

static void
set_up(const char *const *settings)
{
    world_init(&w);
    world_topic(&w, "t", 1, settings);
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 1 << 16, 1 << 20), 0);
    w.peers[1].peer.principal[0] = '\0';
}

static void
tear_down(void)
{
    builder_fini(&builder);
    world_fini(&w);
}

/* ---- rules ---------------------------------------------------------------------------------- */

static int16_t
add_rule(int who, struct acl_rule rule)
{
    struct create_acls_request_creation creation = {(int8_t)rule.resource, rule.name,
        (int8_t)rule.pattern, rule.principal, rule.host, (int8_t)rule.operation,
        (int8_t)rule.permission};
    struct create_acls_request request = {&creation, 1};
    const struct create_acls_response *answer = world_call(&w, who, API_CREATE_ACLS, 3, &request);
    CU_ASSERT_EQUAL_FATAL(answer->results_count, 1);
    CU_ASSERT_EQUAL(answer->results[0].error_code != 0, answer->results[0].error_message != NULL);
    return answer->results[0].error_code;
}

/** A literal rule about a topic, for the stranger. */
static void
rule(enum acl_permission permission, enum acl_operation operation, const char *topic)
{
    CU_ASSERT_EQUAL(add_rule(0, (struct acl_rule){ACL_TOPIC, ACL_LITERAL, topic, "User:stranger",
                                    "*", operation, permission}),
        0);
}

/** Removes what matches; tells how many did. */
static int32_t
remove_rules(int who, enum acl_operation operation, int16_t *error)
{
    struct delete_acls_request_filter filter = {.resource_type_filter = ACL_RESOURCE_ANY,
        .pattern_type_filter = ACL_PATTERN_ANY,
        .operation = (int8_t)operation,
        .permission_type = ACL_PERMISSION_ANY};
    struct delete_acls_request request = {&filter, 1};
    const struct delete_acls_response *answer = world_call(&w, who, API_DELETE_ACLS, 3, &request);
    CU_ASSERT_EQUAL_FATAL(answer->filter_results_count, 1);
    *error = answer->filter_results[0].error_code;
    return answer->filter_results[0].matching_acls_count;
}

static const struct describe_acls_response *
describe(int who, int16_t version, struct describe_acls_request request)
{
    return world_call(&w, who, API_DESCRIBE_ACLS, version, &request);
}

static const struct describe_acls_request all_rules = {.resource_type_filter = ACL_RESOURCE_ANY,
    .pattern_type_filter = ACL_PATTERN_ANY,
    .operation = ACL_OPERATION_ANY,
    .permission_type = ACL_PERMISSION_ANY};

static void
test_rules(void)
{
    set_up(NULL);
    rule(ACL_ALLOW, ACL_READ, "t");
    rule(ACL_ALLOW, ACL_READ, "t");
    rule(ACL_DENY, ACL_WRITE, "t");
    rule(ACL_ALLOW, ACL_READ, "other");
    for (int16_t version = 1; version <= 3; version++) {
        const struct describe_acls_response *answer = describe(0, version, all_rules);
        CU_ASSERT_EQUAL_FATAL(answer->resources_count, 2);
        CU_ASSERT_STRING_EQUAL(answer->resources[0].resource_name, "other");
        CU_ASSERT_EQUAL(answer->resources[1].acls_count, 2);
        CU_ASSERT_EQUAL(answer->resources[1].pattern_type, ACL_LITERAL);
        CU_ASSERT_STRING_EQUAL(answer->resources[1].acls[0].principal, "User:stranger");
    }
    struct describe_acls_request narrow = all_rules;
    narrow.permission_type = ACL_DENY;
    const struct describe_acls_response *answer = describe(0, 3, narrow);
    CU_ASSERT_EQUAL_FATAL(answer->resources_count, 1);
    CU_ASSERT_EQUAL(answer->resources[0].acls[0].operation, ACL_WRITE);
    narrow.operation = 0;
    CU_ASSERT_EQUAL(describe(0, 3, narrow)->error_code, BUS_ERR_INVALID_REQUEST);
    world_restart(&w);
    w.peers[1].peer.principal[0] = '\0';
    CU_ASSERT_EQUAL(describe(0, 3, all_rules)->resources_count, 2);
    int16_t error;
    CU_ASSERT_EQUAL(remove_rules(0, ACL_READ, &error), 2);
    CU_ASSERT_EQUAL(error, 0);
    CU_ASSERT_EQUAL(describe(0, 3, all_rules)->resources_count, 1);
    CU_ASSERT_EQUAL(remove_rules(0, ACL_READ, &error), 0);
    CU_ASSERT_EQUAL(remove_rules(0, (enum acl_operation)99, &error), 0);
    CU_ASSERT_EQUAL(error, BUS_ERR_INVALID_REQUEST);
    tear_down();
}

static void
test_who_may_rule(void)
{
    const struct acl_rule grab = {
        ACL_TOPIC, ACL_LITERAL, "*", "User:stranger", "*", ACL_ALL, ACL_ALLOW};
    struct acl_rule cluster = {
        ACL_CLUSTER, ACL_LITERAL, ACL_CLUSTER_NAME, "User:stranger", "*", ACL_DESCRIBE, ACL_ALLOW};
    int16_t error;
    set_up(NULL);
    CU_ASSERT_EQUAL(add_rule(1, grab), BUS_ERR_CLUSTER_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(remove_rules(1, ACL_OPERATION_ANY, &error), 0);
    CU_ASSERT_EQUAL(error, BUS_ERR_CLUSTER_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(describe(1, 3, all_rules)->error_code, BUS_ERR_CLUSTER_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(add_rule(0, cluster), 0);
    CU_ASSERT_EQUAL(describe(1, 3, all_rules)->resources_count, 1);
    CU_ASSERT_EQUAL(add_rule(1, grab), BUS_ERR_CLUSTER_AUTHORIZATION_FAILED);
    cluster.operation = ACL_ALTER;
    CU_ASSERT_EQUAL(add_rule(0, cluster), 0);
    CU_ASSERT_EQUAL(add_rule(1, grab), 0);
    struct acl_rule bad = grab;
    bad.principal = "stranger";
    CU_ASSERT_EQUAL(add_rule(0, bad), BUS_ERR_INVALID_REQUEST);
    tear_down();
}

static int16_t
produce(int who)
{
    return world_produce(&w, who, "t", world_batch(&builder, 1, 1000, 0), NULL);
}

static int16_t
list_offsets(int who)
{
    struct list_offsets_request_topic_partition p = {.current_leader_epoch = -1, .timestamp = -1};
    struct list_offsets_request_topic t = {"t", &p, 1};
    struct list_offsets_request request = {.topics = &t, .topics_count = 1};
    const struct list_offsets_response *a = world_call(&w, who, API_LIST_OFFSETS, 5, &request);
    return a->topics[0].partitions[0].error_code;
}

/** The error code of a topic in Metadata by name; `*listed`: how many topics are in the list. */
static int16_t
metadata(int who, const char *name, int32_t *listed)
{
    struct metadata_request all = {.topics_count = -1};
    const struct metadata_response *answer = world_call(&w, who, API_METADATA, 9, &all);
    *listed = answer->topics_count;
    struct metadata_request_topic one = {.name = name};
    struct metadata_request named = {.topics = &one, .topics_count = 1};
    answer = world_call(&w, who, API_METADATA, 9, &named);
    return answer->topics[0].error_code;
}

static void
test_topics(void)
{
    int32_t listed;
    set_up(NULL);
    CU_ASSERT_EQUAL(produce(1), 0);
    rule(ACL_ALLOW, ACL_DESCRIBE, "t");
    CU_ASSERT_EQUAL(produce(1), BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(list_offsets(1), 0);
    CU_ASSERT_EQUAL(metadata(1, "t", &listed), 0);
    CU_ASSERT_EQUAL(listed, 1);
    rule(ACL_ALLOW, ACL_WRITE, "t");
    CU_ASSERT_EQUAL(produce(1), 0);
    rule(ACL_DENY, ACL_DESCRIBE, "*");
    CU_ASSERT_EQUAL(produce(1), 0);
    CU_ASSERT_EQUAL(list_offsets(1), BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(metadata(1, "t", &listed), BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(listed, 0);
    /* Nor does it learn which topics there are. */
    CU_ASSERT_EQUAL(metadata(1, "none", &listed), BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(metadata(0, "none", &listed), BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    rule(ACL_DENY, ACL_ALL, "t");
    CU_ASSERT_EQUAL(produce(1), BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(produce(0), 0);
    tear_down();
}

static int16_t
create_topic(int who, const char *name)
{
    struct create_topics_request_topic topic = {
        .name = name, .num_partitions = 1, .replication_factor = 1};
    struct create_topics_request request = {.topics = &topic, .topics_count = 1};
    const struct create_topics_response *a = world_call(&w, who, API_CREATE_TOPICS, 5, &request);
    return a->topics[0].error_code;
}

static int16_t
delete_topic(int who, const char *name)
{
    struct delete_topics_request request = {.topic_names = &name, .topic_names_count = 1};
    const struct delete_topics_response *a = world_call(&w, who, API_DELETE_TOPICS, 5, &request);
    return a->responses[0].error_code;
}

/** What only administrators may do, others may by a rule. */
static void
test_delegated(void)
{
    set_up(NULL);
    CU_ASSERT_EQUAL(create_topic(1, "mine"), BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(add_rule(0, (struct acl_rule){ACL_TOPIC, ACL_PREFIXED, "mine", "User:stranger",
                                    "127.0.0.1", ACL_ALL, ACL_ALLOW}),
        0);
    CU_ASSERT_EQUAL(create_topic(1, "yours"), BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(create_topic(1, "mine-1"), 0);
    CU_ASSERT_EQUAL(delete_topic(1, "t"), BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(delete_topic(1, "mine-1"), 0);
    tear_down();
}

static void
alter_broker(const char *name, const char *value)
{
    struct incremental_alter_configs_request_resource_config config = {name, 0, value};
    struct incremental_alter_configs_request_resource resource = {4, "", &config, 1};
    struct incremental_alter_configs_request request = {&resource, 1, false};
    const struct incremental_alter_configs_response *a =
        world_call(&w, 0, API_INCREMENTAL_ALTER_CONFIGS, 1, &request);
    CU_ASSERT_EQUAL(a->responses[0].error_code, 0);
}

static void
test_defaults(void)
{
    int32_t listed;
    set_up(NULL);
    alter_broker("allow.everyone.if.no.acl.found", "false");
    CU_ASSERT_EQUAL(produce(1), BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(metadata(1, "t", &listed), BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(produce(0), 0);
    alter_broker("super.users", "User:bert; User:strange;User:stranger");
    CU_ASSERT_EQUAL(produce(1), 0);
    CU_ASSERT_EQUAL(create_topic(1, "x"), 0);
    alter_broker("super.users", "User:strange,User:strangers,stranger");
    CU_ASSERT_EQUAL(create_topic(1, "y"), BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    tear_down();
}

static int16_t
init_producer(int who)
{
    struct init_producer_id_request request = {.producer_id = -1, .producer_epoch = -1};
    const struct init_producer_id_response *a =
        world_call(&w, who, API_INIT_PRODUCER_ID, 4, &request);
    return a->error_code;
}

static void
test_idempotence(void)
{
    set_up(NULL);
    CU_ASSERT_EQUAL(init_producer(1), 0);
    alter_broker("allow.everyone.if.no.acl.found", "false");
    CU_ASSERT_EQUAL(init_producer(1), BUS_ERR_CLUSTER_AUTHORIZATION_FAILED);
    rule(ACL_ALLOW, ACL_WRITE, "somewhere");
    CU_ASSERT_EQUAL(init_producer(1), 0);
    tear_down();
}

static int16_t
find_coordinator(int who, const char *group)
{
    struct find_coordinator_request request = {
        .coordinator_keys = &group, .coordinator_keys_count = 1};
    const struct find_coordinator_response *a =
        world_call(&w, who, API_FIND_COORDINATOR, 4, &request);
    return a->coordinators[0].error_code;
}

static int16_t
heartbeat(int who, const char *group)
{
    struct heartbeat_request request = {.group_id = group, .member_id = "m"};
    const struct heartbeat_response *a = world_call(&w, who, API_HEARTBEAT, 3, &request);
    return a->error_code;
}

static void
test_groups(void)
{
    struct acl_rule group = {
        ACL_GROUP, ACL_PREFIXED, "team-", "User:stranger", "*", ACL_DESCRIBE, ACL_ALLOW};
    set_up(NULL);
    CU_ASSERT_EQUAL(find_coordinator(1, "team-1"), 0);
    CU_ASSERT_EQUAL(heartbeat(1, "team-1"), BUS_ERR_UNKNOWN_MEMBER_ID);
    CU_ASSERT_EQUAL(add_rule(0, group), 0);
    CU_ASSERT_EQUAL(find_coordinator(1, "team-1"), 0);
    CU_ASSERT_EQUAL(heartbeat(1, "team-1"), BUS_ERR_GROUP_AUTHORIZATION_FAILED);
    group.operation = ACL_READ;
    CU_ASSERT_EQUAL(add_rule(0, group), 0);
    CU_ASSERT_EQUAL(heartbeat(1, "team-1"), BUS_ERR_UNKNOWN_MEMBER_ID);
    group.permission = ACL_DENY;
    group.operation = ACL_ALL;
    CU_ASSERT_EQUAL(add_rule(0, group), 0);
    CU_ASSERT_EQUAL(find_coordinator(1, "team-1"), BUS_ERR_GROUP_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(find_coordinator(1, "tea"), 0);
    tear_down();
}

/** What each request about a group says to who may not. */
static void
test_every_group_request(void)
{
    const enum bus_err no = BUS_ERR_GROUP_AUTHORIZATION_FAILED;
    const char *name = "g";
    set_up(NULL);
    CU_ASSERT_EQUAL(add_rule(0, (struct acl_rule){ACL_GROUP, ACL_LITERAL, "g", "User:stranger", "*",
                                    ACL_ALL, ACL_DENY}),
        0);
    struct join_group_request join = {.group_id = name,
        .member_id = "",
        .protocol_type = "consumer",
        .session_timeout_ms = 10000};
    const struct join_group_response *joined = world_call(&w, 1, API_JOIN_GROUP, 5, &join);
    CU_ASSERT_EQUAL(joined->error_code, no);
    struct sync_group_request sync = {.group_id = name, .member_id = "m"};
    const struct sync_group_response *synced = world_call(&w, 1, API_SYNC_GROUP, 3, &sync);
    CU_ASSERT_EQUAL(synced->error_code, no);
    struct leave_group_request leave = {.group_id = name, .member_id = "m"};
    const struct leave_group_response *left = world_call(&w, 1, API_LEAVE_GROUP, 2, &leave);
    CU_ASSERT_EQUAL(left->error_code, no);
    struct offset_commit_request_topic_partition position = {.committed_offset = 1};
    struct offset_commit_request_topic topic = {"t", &position, 1};
    struct offset_commit_request commit = {.group_id = name,
        .generation_id_or_member_epoch = -1,
        .member_id = "",
        .topics = &topic,
        .topics_count = 1};
    const struct offset_commit_response *told = world_call(&w, 1, API_OFFSET_COMMIT, 7, &commit);
    CU_ASSERT_EQUAL(told->topics[0].partitions[0].error_code, no);
    struct offset_fetch_request fetch = {.group_id = name, .topics_count = -1};
    const struct offset_fetch_response *fetched = world_call(&w, 1, API_OFFSET_FETCH, 7, &fetch);
    CU_ASSERT_EQUAL(fetched->error_code, no);
    struct offset_delete_request forget = {.group_id = name};
    CU_ASSERT_EQUAL(world_send(&w, 1, API_OFFSET_DELETE, 0, &forget), API_ANSWERED);
    struct describe_groups_request ask = {.groups = &name, .groups_count = 1};
    const struct describe_groups_response *shown = world_call(&w, 1, API_DESCRIBE_GROUPS, 4, &ask);
    CU_ASSERT_EQUAL(shown->groups[0].error_code, no);
    tear_down();
}

static int32_t
listed_groups(int who)
{
    struct list_groups_request request = {0};
    const struct list_groups_response *a = world_call(&w, who, API_LIST_GROUPS, 3, &request);
    return a->groups_count;
}

/** A group that is there is hidden from who may not see it, and kept. */
static void
test_hidden_group(void)
{
    const char *name = "g";
    set_up(NULL);
    struct offset_commit_request_topic_partition position = {.committed_offset = 1};
    struct offset_commit_request_topic topic = {"t", &position, 1};
    struct offset_commit_request commit = {.group_id = name,
        .generation_id_or_member_epoch = -1,
        .member_id = "",
        .topics = &topic,
        .topics_count = 1};
    if (world_send(&w, 0, API_OFFSET_COMMIT, 7, &commit) == API_PARKED)
        world_pass(&w, 0);
    const struct offset_commit_response *told = world_answer(&w, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(told);
    CU_ASSERT_EQUAL(told->topics[0].partitions[0].error_code, 0);
    CU_ASSERT_EQUAL(listed_groups(1), 1);
    CU_ASSERT_EQUAL(add_rule(0, (struct acl_rule){ACL_GROUP, ACL_LITERAL, "*", "User:stranger", "*",
                                    ACL_READ, ACL_ALLOW}),
        0);
    CU_ASSERT_EQUAL(listed_groups(1), 1);
    struct delete_groups_request gone = {.groups_names = &name, .groups_names_count = 1};
    const struct delete_groups_response *deleted = world_call(&w, 1, API_DELETE_GROUPS, 1, &gone);
    CU_ASSERT_EQUAL(deleted->results[0].error_code, BUS_ERR_GROUP_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(add_rule(0, (struct acl_rule){ACL_GROUP, ACL_PREFIXED, "g", "User:stranger",
                                    "*", ACL_DESCRIBE, ACL_DENY}),
        0);
    CU_ASSERT_EQUAL(listed_groups(1), 0);
    CU_ASSERT_EQUAL(listed_groups(0), 1);
    tear_down();
}

/* ---- mapped logs ---------------------------------------------------------------------------- */

static const struct attach_partition_response *
attach(int who, int8_t access)
{
    struct attach_partition_request request = {
        .topic_name = "t", .access = access, .layout_version = SHM_LAYOUT_VERSION};
    return world_call(&w, who, API_ATTACH_PARTITION, 0, &request);
}

static void
alter_topic(const char *name, const char *value)
{
    struct incremental_alter_configs_request_resource_config config = {name, 0, value};
    struct incremental_alter_configs_request_resource resource = {2, "t", &config, 1};
    struct incremental_alter_configs_request request = {&resource, 1, false};
    const struct incremental_alter_configs_response *a =
        world_call(&w, 0, API_INCREMENTAL_ALTER_CONFIGS, 1, &request);
    CU_ASSERT_EQUAL(a->responses[0].error_code, 0);
}

/** Makes the stranger one of those who may write in place. */
static void
trust(void)
{
    w.peers[1].peer.groups[1] = WORLD_GID_DIRECT;
    w.peers[1].peer.group_count = 2;
}

static void
test_evicts_writers(void)
{
    set_up(NULL);
    trust();
    const struct attach_partition_response *answer = attach(1, WRITE);
    CU_ASSERT_EQUAL(answer->access, WRITE);
    int32_t generation = answer->generation;
    /* What does not concern it leaves it alone. */
    rule(ACL_ALLOW, ACL_READ, "other");
    CU_ASSERT_EQUAL(attach(0, WRITE)->generation, generation);
    rule(ACL_ALLOW, ACL_WRITE, "t");
    CU_ASSERT_EQUAL(attach(0, WRITE)->generation, generation);
    rule(ACL_DENY, ACL_WRITE, "t");
    CU_ASSERT_EQUAL(attach(0, WRITE)->generation, generation + 1);
    CU_ASSERT_EQUAL(attach(1, WRITE)->error_code, BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    /* Once is enough. */
    rule(ACL_DENY, ACL_ALTER, "t");
    CU_ASSERT_EQUAL(attach(0, WRITE)->generation, generation + 1);
    tear_down();
}

static void
test_evicts_readers(void)
{
    set_up(NULL);
    int32_t generation = attach(1, READ)->generation;
    rule(ACL_DENY, ACL_READ, "t");
    CU_ASSERT_EQUAL(attach(0, READ)->generation, generation + 1);
    CU_ASSERT_EQUAL(attach(1, READ)->error_code, BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    tear_down();
}

/** The settings access.* as well. */
static void
test_narrowed_settings(void)
{
    set_up(NULL);
    trust();
    int32_t generation = attach(1, WRITE)->generation;
    alter_topic("retention.ms", "5000");
    CU_ASSERT_EQUAL(attach(0, WRITE)->generation, generation);
    alter_topic("access.direct", "self");
    CU_ASSERT_EQUAL(attach(0, WRITE)->generation, generation + 1);
    const struct attach_partition_response *answer = attach(1, WRITE);
    CU_ASSERT_EQUAL(answer->access, 0);
    CU_ASSERT(answer->mediated);
    /* As a reader it may come again, and is put out again. */
    CU_ASSERT_EQUAL(attach(1, READ)->access, READ);
    alter_topic("access.read", "self");
    CU_ASSERT_EQUAL(attach(0, WRITE)->generation, generation + 2);
    tear_down();
}

/* ---- users ---------------------------------------------------------------------------------- */

static const uint8_t salted[64] = "0123456789012345678901234567890123456789";

static int16_t
set_user(int who, const char *name, int8_t mechanism, int32_t iterations, int32_t bytes)
{
    struct alter_user_scram_credentials_request_upsertion u = {
        name, mechanism, iterations, {(const uint8_t *)"salt", 4}, {salted, bytes}};
    struct alter_user_scram_credentials_request request = {.upsertions = &u, .upsertions_count = 1};
    const struct alter_user_scram_credentials_response *a =
        world_call(&w, who, API_ALTER_USER_SCRAM_CREDENTIALS, 0, &request);
    CU_ASSERT_EQUAL_FATAL(a->results_count, 1);
    CU_ASSERT_STRING_EQUAL(a->results[0].user, name);
    return a->results[0].error_code;
}

static const struct describe_user_scram_credentials_response *
users(int who, const char *name)
{
    struct describe_user_scram_credentials_request_user user = {name};
    struct describe_user_scram_credentials_request request = {&user, name ? 1 : -1};
    return world_call(&w, who, API_DESCRIBE_USER_SCRAM_CREDENTIALS, 0, &request);
}

static void
test_users(void)
{
    set_up(NULL);
    CU_ASSERT_EQUAL(set_user(0, "anna", SCRAM_SHA_256, 4096, 32), 0);
    CU_ASSERT_EQUAL(set_user(0, "anna", SCRAM_SHA_512, 8192, 64), 0);
    CU_ASSERT_EQUAL(set_user(0, "bert", SCRAM_SHA_512, 8192, 64), 0);
    CU_ASSERT_EQUAL(set_user(0, "x", SCRAM_SHA_512, 8192, 32), BUS_ERR_UNACCEPTABLE_CREDENTIAL);
    CU_ASSERT_EQUAL(set_user(0, "x", SCRAM_SHA_256, 4095, 32), BUS_ERR_UNACCEPTABLE_CREDENTIAL);
    CU_ASSERT_EQUAL(set_user(0, "", SCRAM_SHA_256, 4096, 32), BUS_ERR_UNACCEPTABLE_CREDENTIAL);
    CU_ASSERT_EQUAL(set_user(0, "x", 3, 4096, 32), BUS_ERR_UNSUPPORTED_SASL_MECHANISM);
    CU_ASSERT_EQUAL(
        set_user(1, "x", SCRAM_SHA_256, 4096, 32), BUS_ERR_CLUSTER_AUTHORIZATION_FAILED);
    world_restart(&w);
    const struct describe_user_scram_credentials_response *a = users(0, NULL);
    CU_ASSERT_EQUAL_FATAL(a->results_count, 2);
    CU_ASSERT_STRING_EQUAL(a->results[0].user, "anna");
    CU_ASSERT_EQUAL_FATAL(a->results[0].credential_infos_count, 2);
    CU_ASSERT_EQUAL(a->results[0].credential_infos[0].mechanism, SCRAM_SHA_256);
    CU_ASSERT_EQUAL(a->results[0].credential_infos[0].iterations, 4096);
    CU_ASSERT_EQUAL(users(0, "x")->results[0].error_code, BUS_ERR_RESOURCE_NOT_FOUND);
    CU_ASSERT_EQUAL(users(1, NULL)->error_code, BUS_ERR_CLUSTER_AUTHORIZATION_FAILED);
    tear_down();
}

/** All changes of a user or none; others are not concerned. */
static void
test_several_users(void)
{
    set_up(NULL);
    CU_ASSERT_EQUAL(set_user(0, "anna", SCRAM_SHA_256, 4096, 32), 0);
    struct alter_user_scram_credentials_request_deletion d[] = {
        {"anna", SCRAM_SHA_256}, {"nobody", SCRAM_SHA_256}};
    struct alter_user_scram_credentials_request_upsertion u[] = {
        {"bert", SCRAM_SHA_256, 4096, {salted, 4}, {salted, 32}},
        {"carl", SCRAM_SHA_256, 4096, {salted, 4}, {salted, 32}},
        {"carl", SCRAM_SHA_256, 5000, {salted, 4}, {salted, 32}},
        {"anna", SCRAM_SHA_512, 1, {salted, 4}, {salted, 64}}};
    struct alter_user_scram_credentials_request request = {d, 2, u, 4};
    const struct alter_user_scram_credentials_response *a =
        world_call(&w, 0, API_ALTER_USER_SCRAM_CREDENTIALS, 0, &request);
    static const struct {
        const char *name;
        int16_t code;
    } wanted[] = {{"anna", BUS_ERR_UNACCEPTABLE_CREDENTIAL}, {"nobody", BUS_ERR_RESOURCE_NOT_FOUND},
        {"bert", 0}, {"carl", BUS_ERR_DUPLICATE_RESOURCE}};
    CU_ASSERT_EQUAL_FATAL(a->results_count, 4);
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_STRING_EQUAL(a->results[i].user, wanted[i].name);
        CU_ASSERT_EQUAL(a->results[i].error_code, wanted[i].code);
    }
    const struct describe_user_scram_credentials_response *left = users(0, NULL);
    CU_ASSERT_EQUAL_FATAL(left->results_count, 2);
    CU_ASSERT_STRING_EQUAL(left->results[0].user, "anna");
    CU_ASSERT_STRING_EQUAL(left->results[1].user, "bert");
    tear_down();
}

static const struct unit_case cases[] = {
    {"rules are added, described and removed, and survive a restart", test_rules},
    {"rules are changed by whom a rule about the cluster allows it", test_who_may_rule},
    {"rules about topics bind producers, readers and lists", test_topics},
    {"a rule lets others create and delete", test_delegated},
    {"without a rule: the default, and super users", test_defaults},
    {"who may write somewhere may be idempotent", test_idempotence},
    {"rules about groups", test_groups},
    {"rules about groups bind every request", test_every_group_request},
    {"groups are hidden by rules, and not deleted against them", test_hidden_group},
    {"who may no more write has its pages taken", test_evicts_writers},
    {"who may no more read has its pages taken", test_evicts_readers},
    {"narrowed settings take pages too", test_narrowed_settings},
    {"users are set, listed and kept", test_users},
    {"several users in one request", test_several_users},
    {NULL, NULL},
};

void
register_api_security(void)
{
    unit_register("api_security", cases);
}
