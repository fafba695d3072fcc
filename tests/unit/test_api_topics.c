/* SPDX-License-Identifier: Apache-2.0
 * Metadata, CreateTopics, DeleteTopics, CreatePartitions.
 */
#include "base/err.h"
#include "unit/api_world.h"

#include <string.h>

static struct world w;
static const int16_t metadata_versions[] = {0, 1, 4, 8, 9, 10, 12};
static const struct uuid no_id;

/* ---- Metadata ------------------------------------------------------------------------------- */

static const struct metadata_response *
ask_all(int who, int16_t version)
{
    struct metadata_request request = {.topics_count = version == 0 ? 0 : -1};
    return world_call(&w, who, API_METADATA, version, &request);
}

static const struct metadata_response_topic *
ask_one(int who, int16_t version, const char *name, struct uuid id, bool create)
{
    struct metadata_request_topic topic = {.name = name, .topic_id = id};
    struct metadata_request request = {.topics = &topic,
        .topics_count = 1,
        .allow_auto_topic_creation = create,
        .include_topic_authorized_operations = true};
    const struct metadata_response *answer = world_call(&w, who, API_METADATA, version, &request);
    CU_ASSERT_EQUAL_FATAL(answer->topics_count, 1);
    return &answer->topics[0];
}

static void
test_metadata_all(void)
{
    world_init(&w);
    world_topic(&w, "b", 2, NULL);
    world_topic(&w, "a", 1, NULL);
    for (size_t i = 0; i < sizeof metadata_versions / sizeof metadata_versions[0]; i++) {
        int16_t version = metadata_versions[i];
        const struct metadata_response *answer = ask_all(0, version);
        CU_ASSERT_EQUAL_FATAL(answer->topics_count, 2);
        CU_ASSERT_STRING_EQUAL(answer->topics[0].name, "a");
        CU_ASSERT_STRING_EQUAL(answer->topics[1].name, "b");
        CU_ASSERT_EQUAL_FATAL(answer->topics[1].partitions_count, 2);
        const struct metadata_response_topic_partition *p = &answer->topics[1].partitions[1];
        CU_ASSERT_EQUAL(p->partition_index, 1);
        CU_ASSERT_EQUAL(p->leader_id, WORLD_NODE);
        CU_ASSERT_EQUAL(p->leader_epoch, version >= 7 ? 0 : -1);
        CU_ASSERT_EQUAL_FATAL(p->replica_nodes_count, 1);
        CU_ASSERT_EQUAL(p->replica_nodes[0], WORLD_NODE);
        CU_ASSERT_EQUAL(p->isr_nodes_count, 1);
        CU_ASSERT_EQUAL_FATAL(answer->brokers_count, 1);
        CU_ASSERT_EQUAL(answer->brokers[0].node_id, WORLD_NODE);
        CU_ASSERT_EQUAL(answer->brokers[0].port, 9092);
        CU_ASSERT_EQUAL(answer->controller_id, version >= 1 ? WORLD_NODE : -1);
        struct uuid id = version >= 10 ? world_id(&w, "b") : no_id;
        CU_ASSERT_EQUAL(memcmp(&answer->topics[1].topic_id, &id, sizeof id), 0);
    }
    world_fini(&w);
}

static void
test_metadata_none(void)
{
    world_init(&w);
    world_topic(&w, "a", 1, NULL);
    struct metadata_request request = {.topics_count = 0};
    const struct metadata_response *answer = world_call(&w, 0, API_METADATA, 1, &request);
    CU_ASSERT_EQUAL(answer->topics_count, 0);
    CU_ASSERT_EQUAL(answer->brokers_count, 1);
    world_fini(&w);
}

static void
test_metadata_named(void)
{
    world_init(&w);
    world_topic(&w, "a", 1, NULL);
    CU_ASSERT_EQUAL(ask_one(0, 4, "a", no_id, false)->error_code, 0);
    CU_ASSERT_EQUAL(
        ask_one(0, 4, "nope", no_id, true)->error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_EQUAL(
        ask_one(0, 4, "no/pe", no_id, true)->error_code, BUS_ERR_INVALID_TOPIC_EXCEPTION);
    const struct metadata_response_topic *topic = ask_one(0, 12, NULL, world_id(&w, "a"), false);
    CU_ASSERT_EQUAL(topic->error_code, 0);
    CU_ASSERT_STRING_EQUAL(topic->name, "a");
    CU_ASSERT(topic->topic_authorized_operations > 0);
    struct uuid other = {{1, 2, 3}};
    CU_ASSERT_EQUAL(ask_one(0, 12, NULL, other, false)->error_code, BUS_ERR_UNKNOWN_TOPIC_ID);
    world_fini(&w);
}

static void
test_auto_create(void)
{
    world_init(&w);
    CU_ASSERT_EQUAL(settings_set_named(&w.fixed, "auto.create.topics.enable", "true"), 0);
    CU_ASSERT_EQUAL(settings_set_named(&w.fixed, "num.partitions", "3"), 0);
    CU_ASSERT_EQUAL(
        ask_one(0, 4, "new", no_id, false)->error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    const struct metadata_response_topic *topic = ask_one(0, 4, "new", no_id, true);
    CU_ASSERT_EQUAL(topic->error_code, 0);
    CU_ASSERT_EQUAL(topic->partitions_count, 3);
    CU_ASSERT_EQUAL(ask_one(0, 4, "n/w", no_id, true)->error_code, BUS_ERR_INVALID_TOPIC_EXCEPTION);
    CU_ASSERT_EQUAL(ask_one(0, 4, "__consumer_offsets", no_id, true)->error_code,
        BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    world_fini(&w);
}

static void
test_metadata_hides(void)
{
    static const char *const closed[] = {"access.read=self", "access.write=self", NULL};
    world_init(&w);
    world_topic(&w, "secret", 1, closed);
    world_topic(&w, "open", 1, NULL);
    CU_ASSERT_EQUAL(ask_all(0, 9)->topics_count, 2);
    CU_ASSERT_EQUAL(ask_all(2, 9)->topics_count, 2);
    const struct metadata_response *answer = ask_all(1, 9);
    CU_ASSERT_EQUAL_FATAL(answer->topics_count, 1);
    CU_ASSERT_STRING_EQUAL(answer->topics[0].name, "open");
    const struct metadata_response_topic *topic = ask_one(1, 9, "secret", no_id, false);
    CU_ASSERT_EQUAL(topic->error_code, BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(topic->partitions_count, 0);
    world_fini(&w);
}

/* ---- CreateTopics --------------------------------------------------------------------------- */

static const struct create_topics_response_topic *
create(int who, int16_t version, const struct create_topics_request_topic *topic, bool only_check)
{
    struct create_topics_request request = {.topics = (struct create_topics_request_topic *)topic,
        .topics_count = 1,
        .validate_only = only_check};
    const struct create_topics_response *answer =
        world_call(&w, who, API_CREATE_TOPICS, version, &request);
    CU_ASSERT_EQUAL_FATAL(answer->topics_count, 1);
    CU_ASSERT_EQUAL(answer->topics[0].error_code != 0, answer->topics[0].error_message != NULL);
    return &answer->topics[0];
}

static int16_t
create_code(const struct create_topics_request_topic *topic)
{
    return create(0, 5, topic, false)->error_code;
}

static void
test_create_versions(void)
{
    static const char *const names[] = {"two", "three", "four", "five", "six", "seven"};
    world_init(&w);
    for (int16_t version = 2; version <= 7; version++) {
        struct create_topics_request_topic topic = {
            .name = names[version - 2], .num_partitions = 2, .replication_factor = 1};
        const struct create_topics_response_topic *out = create(0, version, &topic, false);
        CU_ASSERT_EQUAL(out->error_code, 0);
        CU_ASSERT_STRING_EQUAL(out->name, names[version - 2]);
        CU_ASSERT_EQUAL(out->num_partitions, version >= 5 ? 2 : -1);
        CU_ASSERT_EQUAL(out->replication_factor, version >= 5 ? 1 : -1);
        struct uuid id = version >= 7 ? world_id(&w, topic.name) : no_id;
        CU_ASSERT_EQUAL(memcmp(&out->topic_id, &id, sizeof id), 0);
        CU_ASSERT_EQUAL(out->configs_count > 10, version >= 5);
    }
    world_fini(&w);
}

static void
test_create_settings(void)
{
    world_init(&w);
    struct create_topics_request_topic_config configs[] = {
        {"retention.ms", "1234"}, {"segment.ms", NULL}};
    struct create_topics_request_topic topic = {.name = "t",
        .num_partitions = -1,
        .replication_factor = -1,
        .configs = configs,
        .configs_count = 2};
    const struct create_topics_response_topic *out = create(0, 7, &topic, false);
    CU_ASSERT_EQUAL_FATAL(out->error_code, 0);
    CU_ASSERT_EQUAL(out->num_partitions, 1);
    int seen = 0;
    for (int32_t i = 0; i < out->configs_count; i++) {
        if (strcmp(out->configs[i].name, "retention.ms") == 0) {
            CU_ASSERT_STRING_EQUAL(out->configs[i].value, "1234");
            CU_ASSERT_EQUAL(out->configs[i].config_source, SETTING_FROM_TOPIC);
            seen++;
        }
        if (strcmp(out->configs[i].name, "segment.ms") == 0) {
            CU_ASSERT_STRING_EQUAL(out->configs[i].value, "604800000");
            CU_ASSERT_EQUAL(out->configs[i].config_source, SETTING_FROM_DEFAULT);
            seen++;
        }
    }
    CU_ASSERT_EQUAL(seen, 2);
    world_fini(&w);
}

static void
test_create_validates(void)
{
    world_init(&w);
    struct create_topics_request_topic topic = {
        .name = "t", .num_partitions = 2, .replication_factor = 1};
    const struct create_topics_response_topic *out = create(0, 7, &topic, true);
    CU_ASSERT_EQUAL(out->error_code, 0);
    CU_ASSERT_EQUAL(out->num_partitions, 2);
    CU_ASSERT_PTR_NULL(cluster_topic(&w.controller.cluster, "t"));
    topic.num_partitions = 0;
    CU_ASSERT_EQUAL(create(0, 7, &topic, true)->error_code, BUS_ERR_INVALID_PARTITIONS);
    world_fini(&w);
}

static void
test_create_refuses(void)
{
    world_init(&w);
    struct create_topics_request_topic good = {
        .name = "t", .num_partitions = 1, .replication_factor = 1};
    struct create_topics_request_topic topic = good;
    CU_ASSERT_EQUAL(create_code(&topic), 0);
    CU_ASSERT_EQUAL(create_code(&topic), BUS_ERR_TOPIC_ALREADY_EXISTS);
    topic.name = "a b";
    CU_ASSERT_EQUAL(create_code(&topic), BUS_ERR_INVALID_TOPIC_EXCEPTION);
    topic.name = "";
    CU_ASSERT_EQUAL(create_code(&topic), BUS_ERR_INVALID_TOPIC_EXCEPTION);
    topic = good;
    topic.name = "u";
    topic.num_partitions = CLUSTER_PARTITIONS_MAX + 1;
    CU_ASSERT_EQUAL(create_code(&topic), BUS_ERR_INVALID_PARTITIONS);
    topic.num_partitions = -2;
    CU_ASSERT_EQUAL(create_code(&topic), BUS_ERR_INVALID_PARTITIONS);
    topic.num_partitions = 1;
    topic.replication_factor = 2;
    CU_ASSERT_EQUAL(create_code(&topic), BUS_ERR_INVALID_REPLICATION_FACTOR);
    topic.replication_factor = 0;
    CU_ASSERT_EQUAL(create_code(&topic), BUS_ERR_INVALID_REPLICATION_FACTOR);
    struct create_topics_request_topic_config config = {"retention.ms", "soon"};
    topic = (struct create_topics_request_topic){.name = "u",
        .num_partitions = 1,
        .replication_factor = 1,
        .configs = &config,
        .configs_count = 1};
    CU_ASSERT_EQUAL(create_code(&topic), BUS_ERR_INVALID_CONFIG);
    config = (struct create_topics_request_topic_config){"no.such.setting", "1"};
    CU_ASSERT_EQUAL(create_code(&topic), BUS_ERR_INVALID_CONFIG);
    CU_ASSERT_EQUAL(w.controller.cluster.topic_count, 1);
    world_fini(&w);
}

static void
test_create_assignments(void)
{
    world_init(&w);
    int32_t here = WORLD_NODE, there = WORLD_NODE + 1;
    struct create_topics_request_topic_assignment rows[] = {
        {.partition_index = 0, .broker_ids = &here, .broker_ids_count = 1},
        {.partition_index = 1, .broker_ids = &here, .broker_ids_count = 1}};
    struct create_topics_request_topic topic = {.name = "t",
        .num_partitions = -1,
        .replication_factor = -1,
        .assignments = rows,
        .assignments_count = 2};
    CU_ASSERT_EQUAL(create(0, 5, &topic, true)->num_partitions, 2);
    topic.num_partitions = 2;
    CU_ASSERT_EQUAL(create_code(&topic), BUS_ERR_INVALID_REQUEST);
    topic.num_partitions = -1;
    rows[1].partition_index = 3;
    CU_ASSERT_EQUAL(create_code(&topic), BUS_ERR_INVALID_REPLICA_ASSIGNMENT);
    rows[1].partition_index = 1;
    rows[1].broker_ids = &there;
    CU_ASSERT_EQUAL(create_code(&topic), BUS_ERR_INVALID_REPLICA_ASSIGNMENT);
    world_fini(&w);
}

static void
test_create_twice_in_one(void)
{
    world_init(&w);
    struct create_topics_request_topic topics[] = {
        {.name = "a", .num_partitions = 1, .replication_factor = 1},
        {.name = "b", .num_partitions = 1, .replication_factor = 1},
        {.name = "a", .num_partitions = 1, .replication_factor = 1}};
    struct create_topics_request request = {.topics = topics, .topics_count = 3};
    const struct create_topics_response *answer = world_call(&w, 0, API_CREATE_TOPICS, 5, &request);
    CU_ASSERT_EQUAL(answer->topics[0].error_code, BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(answer->topics[1].error_code, 0);
    CU_ASSERT_EQUAL(answer->topics[2].error_code, BUS_ERR_INVALID_REQUEST);
    world_fini(&w);
}

static void
test_admins_only(void)
{
    world_init(&w);
    struct create_topics_request_topic topic = {
        .name = "t", .num_partitions = 1, .replication_factor = 1};
    const struct create_topics_response_topic *out = create(1, 5, &topic, false);
    CU_ASSERT_EQUAL(out->error_code, BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_PTR_NOT_NULL(strstr(out->error_message, "User:stranger"));
    w.peers[1].peer.groups[1] = WORLD_GID_ADMIN;
    w.peers[1].peer.group_count = 2;
    CU_ASSERT_EQUAL(create(1, 5, &topic, false)->error_code, 0);
    topic.name = "u";
    CU_ASSERT_EQUAL(create(2, 5, &topic, false)->error_code, 0);
    topic.name = "v";
    /* Over TCP as well, as long as the kernel tells who it is. */
    w.peers[0].peer.door = API_DOOR_KAFKA;
    CU_ASSERT_EQUAL(create(0, 5, &topic, true)->error_code, 0);
    w.peers[0].peer.uid = (uid_t)-1;
    w.peers[0].peer.principal[0] = '\0';
    CU_ASSERT_EQUAL(create(0, 5, &topic, false)->error_code, BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    world_fini(&w);
}

/* ---- DeleteTopics --------------------------------------------------------------------------- */

static const struct delete_topics_response_topic *
drop(int who, int16_t version, const char *name, struct uuid id)
{
    struct delete_topics_request_topic topic = {.name = name, .topic_id = id};
    struct delete_topics_request request = {0};
    if (version >= 6) {
        request.topics = &topic;
        request.topics_count = 1;
    } else {
        request.topic_names = &name;
        request.topic_names_count = 1;
    }
    const struct delete_topics_response *answer =
        world_call(&w, who, API_DELETE_TOPICS, version, &request);
    CU_ASSERT_EQUAL_FATAL(answer->responses_count, 1);
    return &answer->responses[0];
}

static void
test_delete(void)
{
    static const int16_t versions[] = {1, 4, 5, 6};
    world_init(&w);
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        world_topic(&w, "t", 2, NULL);
        const struct delete_topics_response_topic *out = drop(0, versions[i], "t", no_id);
        CU_ASSERT_EQUAL(out->error_code, 0);
        CU_ASSERT_STRING_EQUAL(out->name, "t");
        CU_ASSERT_PTR_NULL(cluster_topic(&w.controller.cluster, "t"));
        out = drop(0, versions[i], "t", no_id);
        CU_ASSERT_EQUAL(out->error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
        CU_ASSERT_EQUAL(out->error_message != NULL, versions[i] >= 5);
    }
    world_topic(&w, "t", 1, NULL);
    struct uuid id = world_id(&w, "t");
    CU_ASSERT_EQUAL(drop(0, 6, NULL, id)->error_code, 0);
    CU_ASSERT_EQUAL(drop(0, 6, NULL, id)->error_code, BUS_ERR_UNKNOWN_TOPIC_ID);
    world_fini(&w);
}

static void
test_delete_refuses(void)
{
    world_init(&w);
    world_topic(&w, "t", 1, NULL);
    CU_ASSERT_EQUAL(drop(1, 5, "t", no_id)->error_code, BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(drop(0, 6, NULL, no_id)->error_code, BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(drop(0, 6, "t", world_id(&w, "t"))->error_code, BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(settings_set_named(&w.fixed, "delete.topic.enable", "false"), 0);
    CU_ASSERT_EQUAL(drop(0, 5, "t", no_id)->error_code, BUS_ERR_TOPIC_DELETION_DISABLED);
    CU_ASSERT_EQUAL(drop(0, 2, "t", no_id)->error_code, BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_PTR_NOT_NULL(cluster_topic(&w.controller.cluster, "t"));
    world_fini(&w);
}

static void
test_delete_twice(void)
{
    const char *names[] = {"t", "u", "t"};
    struct delete_topics_request request = {.topic_names = names, .topic_names_count = 3};
    world_init(&w);
    world_topic(&w, "t", 1, NULL);
    world_topic(&w, "u", 1, NULL);
    const struct delete_topics_response *answer = world_call(&w, 0, API_DELETE_TOPICS, 5, &request);
    CU_ASSERT_EQUAL_FATAL(answer->responses_count, 3);
    CU_ASSERT_EQUAL(answer->responses[0].error_code, BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(answer->responses[1].error_code, 0);
    CU_ASSERT_EQUAL(answer->responses[2].error_code, BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_PTR_NOT_NULL(cluster_topic(&w.controller.cluster, "t"));
    CU_ASSERT_PTR_NULL(cluster_topic(&w.controller.cluster, "u"));
    world_fini(&w);
}

/** Has the api look again until the request is answered; gives how often that was. */
static int
turns(int outcome)
{
    int count = 0;
    for (; outcome == API_PARKED && w.peers[0].answers == 0 && count < 100; count++)
        world_pass(&w, 1);
    CU_ASSERT_EQUAL(w.peers[0].answers, 1);
    return count;
}

/* What waits for the disk again and again lets others in between. */
static void
test_turns(void)
{
    enum { MANY = 5 };
    static const char *const names[MANY] = {"a", "b", "c", "d", "e"};
    struct create_topics_request_topic topics[MANY];
    struct create_partitions_request_topic grown[MANY];
    for (int i = 0; i < MANY; i++) {
        topics[i] = (struct create_topics_request_topic){
            .name = names[i], .num_partitions = 1, .replication_factor = 1};
        grown[i] = (struct create_partitions_request_topic){
            .name = names[i], .count = 2, .assignments_count = -1};
    }
    struct create_topics_request create = {.topics = topics, .topics_count = MANY};
    struct create_partitions_request grow_all = {.topics = grown, .topics_count = MANY};
    struct delete_topics_request drop_all = {
        .topic_names = (const char **)names, .topic_names_count = MANY};
    world_init(&w);
    w.mono_step_ms = 20;
    CU_ASSERT_EQUAL(turns(world_send(&w, 0, API_CREATE_TOPICS, 7, &create)), MANY);
    const struct create_topics_response *created = world_answer(&w, 0);
    CU_ASSERT_EQUAL(turns(world_send(&w, 0, API_CREATE_PARTITIONS, 3, &grow_all)), MANY);
    const struct create_partitions_response *grew = world_answer(&w, 0);
    CU_ASSERT_EQUAL(turns(world_send(&w, 0, API_DELETE_TOPICS, 5, &drop_all)), MANY);
    const struct delete_topics_response *dropped = world_answer(&w, 0);
    CU_ASSERT_EQUAL_FATAL(created->topics_count, MANY);
    CU_ASSERT_EQUAL_FATAL(grew->results_count, MANY);
    CU_ASSERT_EQUAL_FATAL(dropped->responses_count, MANY);
    for (int i = 0; i < MANY; i++) {
        CU_ASSERT_EQUAL(created->topics[i].error_code, 0);
        CU_ASSERT_EQUAL(grew->results[i].error_code, 0);
        CU_ASSERT_EQUAL(dropped->responses[i].error_code, 0);
        CU_ASSERT_STRING_EQUAL(dropped->responses[i].name, names[i]);
    }
    CU_ASSERT_EQUAL(world_send(&w, 0, API_CREATE_TOPICS, 7, &create), API_PARKED);
    api_peer_gone(w.api, &w.peers[0].peer);
    CU_ASSERT_EQUAL(w.controller.cluster.topic_count, 1);
    w.mono_step_ms = 0;
    world_fini(&w);
}

static void
test_new_id_each_time(void)
{
    world_init(&w);
    world_topic(&w, "t", 1, NULL);
    struct uuid first = world_id(&w, "t");
    CU_ASSERT_EQUAL(drop(0, 6, "t", no_id)->error_code, 0);
    world_topic(&w, "t", 1, NULL);
    struct uuid second = world_id(&w, "t");
    CU_ASSERT_NOT_EQUAL(memcmp(&first, &second, sizeof first), 0);
    world_restart(&w);
    struct uuid third = world_id(&w, "t");
    CU_ASSERT_EQUAL(memcmp(&third, &second, sizeof second), 0);
    world_fini(&w);
}

/* ---- CreatePartitions ----------------------------------------------------------------------- */

static const struct create_partitions_response_result *
grow(int who, int16_t version, const struct create_partitions_request_topic *topic, bool only_check)
{
    struct create_partitions_request request = {
        .topics = (struct create_partitions_request_topic *)topic,
        .topics_count = 1,
        .validate_only = only_check};
    const struct create_partitions_response *answer =
        world_call(&w, who, API_CREATE_PARTITIONS, version, &request);
    CU_ASSERT_EQUAL_FATAL(answer->results_count, 1);
    CU_ASSERT_EQUAL(answer->results[0].error_code != 0, answer->results[0].error_message != NULL);
    return &answer->results[0];
}

static void
test_grow(void)
{
    world_init(&w);
    world_topic(&w, "t", 1, NULL);
    const struct cluster_topic *t = cluster_topic(&w.controller.cluster, "t");
    struct create_partitions_request_topic topic = {.name = "t", .assignments_count = -1};
    for (int16_t version = 0; version <= 3; version++) {
        topic.count = version + 2;
        CU_ASSERT_EQUAL(grow(0, version, &topic, true)->error_code, 0);
        CU_ASSERT_EQUAL(t->partition_count, version + 1);
        CU_ASSERT_EQUAL(grow(0, version, &topic, false)->error_code, 0);
        CU_ASSERT_EQUAL(t->partition_count, version + 2);
    }
    int32_t here = WORLD_NODE;
    struct create_partitions_request_topic_assignment row = {&here, 1};
    topic = (struct create_partitions_request_topic){"t", 6, &row, 1};
    CU_ASSERT_EQUAL(grow(0, 3, &topic, false)->error_code, 0);
    CU_ASSERT_EQUAL(t->partition_count, 6);
    world_fini(&w);
}

static void
test_grow_refuses(void)
{
    world_init(&w);
    world_topic(&w, "t", 3, NULL);
    struct create_partitions_request_topic topic = {
        .name = "t", .count = 4, .assignments_count = -1};
    CU_ASSERT_EQUAL(grow(1, 3, &topic, false)->error_code, BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    topic.count = 3;
    CU_ASSERT_EQUAL(grow(0, 3, &topic, false)->error_code, BUS_ERR_INVALID_PARTITIONS);
    topic.count = CLUSTER_PARTITIONS_MAX + 1;
    CU_ASSERT_EQUAL(grow(0, 3, &topic, false)->error_code, BUS_ERR_INVALID_PARTITIONS);
    topic.name = "nope";
    CU_ASSERT_EQUAL(grow(0, 3, &topic, false)->error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    int32_t there = WORLD_NODE + 1;
    struct create_partitions_request_topic_assignment row = {&there, 1};
    topic = (struct create_partitions_request_topic){"t", 4, &row, 1};
    CU_ASSERT_EQUAL(grow(0, 3, &topic, false)->error_code, BUS_ERR_INVALID_REPLICA_ASSIGNMENT);
    topic.count = 5;
    CU_ASSERT_EQUAL(grow(0, 3, &topic, false)->error_code, BUS_ERR_INVALID_REPLICA_ASSIGNMENT);
    struct create_partitions_request_topic two[] = {
        {.name = "t", .count = 4, .assignments_count = -1},
        {.name = "t", .count = 5, .assignments_count = -1}};
    struct create_partitions_request request = {.topics = two, .topics_count = 2};
    const struct create_partitions_response *answer =
        world_call(&w, 0, API_CREATE_PARTITIONS, 3, &request);
    CU_ASSERT_EQUAL(answer->results[0].error_code, BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(answer->results[1].error_code, BUS_ERR_INVALID_REQUEST);
    world_fini(&w);
}

static const struct unit_case cases[] = {
    {"metadata of all topics in every layout", test_metadata_all},
    {"metadata of no topic", test_metadata_none},
    {"metadata by name and by id", test_metadata_named},
    {"metadata creates what both sides want created", test_auto_create},
    {"metadata hides what a peer may not see", test_metadata_hides},
    {"creates a topic in every version", test_create_versions},
    {"creates with settings and tells all of them", test_create_settings},
    {"validates without creating", test_create_validates},
    {"refuses to create what cannot be", test_create_refuses},
    {"creates by an assignment of replicas", test_create_assignments},
    {"refuses a topic named twice in one request", test_create_twice_in_one},
    {"lets administrators create and nobody else", test_admins_only},
    {"deletes by name and by id", test_delete},
    {"refuses to delete what it should not", test_delete_refuses},
    {"deletes nothing that is named twice", test_delete_twice},
    {"takes turns over many topics", test_turns},
    {"gives a topic a new id when it is created again", test_new_id_each_time},
    {"adds partitions in every version", test_grow},
    {"refuses to add partitions wrongly", test_grow_refuses},
    {NULL, NULL},
};

void
register_api_topics(void)
{
    unit_register("api_topics", cases);
}
