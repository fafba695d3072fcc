/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cluster.h"

#include "unit/unit.h"

#include <stdio.h>
#include <string.h>

static const struct command_replicas on_node_1 = {{1}, 1};

static struct uuid
id_of(unsigned number)
{
    struct uuid id = {{0}};
    id.b[0] = 0x77;
    id.b[1] = (uint8_t)(number * 37); /* another order than that of names */
    id.b[2] = (uint8_t)number;
    return id;
}

static int
apply(struct cluster *cluster, const struct command *command)
{
    struct changes changes;
    int rc = cluster_apply(cluster, command, &changes);
    if (rc == 0)
        changes_fini(&changes);
    return rc;
}

static int
create(struct cluster *cluster, const char *name, unsigned number, int32_t partitions)
{
    struct command command = {.type = COMMAND_TOPIC_CREATE,
        .name = name,
        .id = id_of(number),
        .count = partitions,
        .replicas = on_node_1};
    return apply(cluster, &command);
}

static void
init_with_node(struct cluster *cluster)
{
    struct command node = {.type = COMMAND_NODE_REGISTER, .node = 1, .name = ""};
    cluster_init(cluster, NULL);
    CU_ASSERT_EQUAL_FATAL(apply(cluster, &node), 0);
}

static void
test_names(void)
{
    char name[CLUSTER_TOPIC_NAME_MAX + 2];
    memset(name, 'a', sizeof name);
    name[CLUSTER_TOPIC_NAME_MAX + 1] = '\0';
    CU_ASSERT_EQUAL(cluster_check_name(name), -BUS_ERR_INVALID_TOPIC_EXCEPTION);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "250 bytes"));
    name[CLUSTER_TOPIC_NAME_MAX] = '\0';
    CU_ASSERT_EQUAL(cluster_check_name(name), 0);
    name[CLUSTER_TOPIC_NAME_MAX - 1] = '\0';
    CU_ASSERT_EQUAL(cluster_check_name(name), 0);
    static const char *const bad[] = {
        NULL, "", ".", "..", "a b", "a/b", "a\n", "\xc3\xa4", "a:b", "a,b"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_EQUAL(cluster_check_name(bad[i]), -BUS_ERR_INVALID_TOPIC_EXCEPTION);
    CU_ASSERT_EQUAL(cluster_check_name("..."), 0);
    CU_ASSERT_EQUAL(cluster_check_name("A-z_0.9"), 0);
    CU_ASSERT(cluster_name_internal("__consumer_offsets"));
    CU_ASSERT_FALSE(cluster_name_internal("consumer_offsets"));
}

static void
test_create_and_find(void)
{
    struct cluster cluster;
    char name[16];
    init_with_node(&cluster);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "t%02u", (i * 61) % 100);
        CU_ASSERT_EQUAL_FATAL(create(&cluster, name, i, (int32_t)i + 1), 0);
    }
    for (unsigned i = 0; i < 100; i++) {
        struct uuid id = id_of(i);
        snprintf(name, sizeof name, "t%02u", (i * 61) % 100);
        struct cluster_topic *topic = cluster_topic(&cluster, name);
        CU_ASSERT_PTR_NOT_NULL_FATAL(topic);
        CU_ASSERT_EQUAL(topic->partition_count, (int32_t)i + 1);
        CU_ASSERT_PTR_EQUAL(cluster_topic_of_id(&cluster, &id), topic);
        const struct cluster_partition *partition = cluster_partition(topic, (int32_t)i);
        CU_ASSERT_EQUAL(partition->leader, 1);
        CU_ASSERT_EQUAL(partition->leader_epoch, 0);
        CU_ASSERT_EQUAL(partition->replica_count, 1);
        CU_ASSERT_EQUAL(partition->isr_count, 1);
        CU_ASSERT_PTR_NULL(cluster_partition(topic, (int32_t)i + 1));
        CU_ASSERT_PTR_NULL(cluster_partition(topic, -1));
        snprintf(name, sizeof name, "t%02u", i);
        CU_ASSERT_STRING_EQUAL(cluster_topic_at(&cluster, i)->name, name);
    }
    CU_ASSERT_PTR_NULL(cluster_topic_at(&cluster, 100));
    CU_ASSERT_PTR_NULL(cluster_topic(&cluster, "t"));
    CU_ASSERT_PTR_NULL(cluster_topic(&cluster, "zz"));
    CU_ASSERT_EQUAL(cluster.partition_total, 5050);
    cluster_fini(&cluster);
}

static void
test_create_refusals(void)
{
    struct cluster cluster;
    init_with_node(&cluster);
    CU_ASSERT_EQUAL(create(&cluster, "a.b", 1, 1), 0);
    CU_ASSERT_EQUAL(create(&cluster, "a.b", 2, 1), -BUS_ERR_TOPIC_ALREADY_EXISTS);
    CU_ASSERT_EQUAL(create(&cluster, "a_b", 2, 1), -BUS_ERR_INVALID_TOPIC_EXCEPTION);
    CU_ASSERT_EQUAL(create(&cluster, "c", 1, 1), -BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(create(&cluster, "c", 2, 0), -BUS_ERR_INVALID_PARTITIONS);
    CU_ASSERT_EQUAL(create(&cluster, "c", 2, -1), -BUS_ERR_INVALID_PARTITIONS);
    CU_ASSERT_EQUAL(create(&cluster, "c", 2, 10001), -BUS_ERR_INVALID_PARTITIONS);
    CU_ASSERT_EQUAL(create(&cluster, "c", 2, 10000), 0);
    CU_ASSERT_EQUAL(create(&cluster, "d", 3, 9999), 0);
    CU_ASSERT_EQUAL(create(&cluster, "e", 4, 1), -BUS_ERR_POLICY_VIOLATION);
    CU_ASSERT_EQUAL(cluster.topic_count, 3);
    struct command command = {.type = COMMAND_TOPIC_DELETE, .id = id_of(2)};
    CU_ASSERT_EQUAL(apply(&cluster, &command), 0);
    command = (struct command){.type = COMMAND_TOPIC_CREATE,
        .name = "e",
        .id = id_of(4),
        .count = 1,
        .replicas = {{1, 2}, 2}};
    CU_ASSERT_EQUAL(apply(&cluster, &command), -BUS_ERR_INVALID_REPLICA_ASSIGNMENT);
    command.replicas = (struct command_replicas){{1, 1}, 2};
    CU_ASSERT_EQUAL(apply(&cluster, &command), -BUS_ERR_INVALID_REPLICA_ASSIGNMENT);
    command.replicas.count = 0;
    CU_ASSERT_EQUAL(apply(&cluster, &command), -BUS_ERR_INVALID_REPLICATION_FACTOR);
    CU_ASSERT_EQUAL(cluster.topic_count, 2);
    cluster_fini(&cluster);
}

static void
test_delete(void)
{
    struct cluster cluster;
    struct changes changes;
    init_with_node(&cluster);
    CU_ASSERT_EQUAL(create(&cluster, "a", 1, 3), 0);
    CU_ASSERT_EQUAL(create(&cluster, "b", 2, 4), 0);
    struct command command = {.type = COMMAND_TOPIC_DELETE, .id = id_of(1)};
    CU_ASSERT_EQUAL_FATAL(cluster_prepare(&cluster, &command, &changes), 0);
    CU_ASSERT_PTR_NOT_NULL(cluster_topic(&cluster, "a"));
    cluster_commit(&cluster, &changes);
    CU_ASSERT_PTR_NULL(cluster_topic(&cluster, "a"));
    CU_ASSERT_STRING_EQUAL(changes.topic->name, "a");
    CU_ASSERT_EQUAL(changes.topic->partition_count, 3);
    changes_fini(&changes);
    CU_ASSERT_EQUAL(cluster.partition_total, 4);
    CU_ASSERT_EQUAL(apply(&cluster, &command), -BUS_ERR_UNKNOWN_TOPIC_ID);
    cluster_fini(&cluster);
}

static void
test_grow(void)
{
    struct cluster cluster;
    struct changes changes;
    init_with_node(&cluster);
    CU_ASSERT_EQUAL(create(&cluster, "a", 1, 3), 0);
    struct cluster_topic *topic = cluster_topic(&cluster, "a");
    topic->partitions[2].leader_epoch = 9;
    struct command command = {
        .type = COMMAND_TOPIC_GROW, .id = id_of(1), .count = 5, .replicas = on_node_1};
    CU_ASSERT_EQUAL_FATAL(cluster_apply(&cluster, &command, &changes), 0);
    CU_ASSERT_EQUAL(changes.first_partition, 3);
    changes_fini(&changes);
    CU_ASSERT_PTR_EQUAL(cluster_topic(&cluster, "a"), topic);
    CU_ASSERT_EQUAL(topic->partition_count, 5);
    CU_ASSERT_EQUAL(topic->partitions[2].leader_epoch, 9);
    CU_ASSERT_EQUAL(topic->partitions[4].leader, 1);
    CU_ASSERT_EQUAL(cluster.partition_total, 5);
    CU_ASSERT_EQUAL(apply(&cluster, &command), -BUS_ERR_INVALID_PARTITIONS);
    command.count = 4;
    CU_ASSERT_EQUAL(apply(&cluster, &command), -BUS_ERR_INVALID_PARTITIONS);
    command.count = 10001;
    CU_ASSERT_EQUAL(apply(&cluster, &command), -BUS_ERR_INVALID_PARTITIONS);
    CU_ASSERT_EQUAL(topic->partition_count, 5);
    cluster_fini(&cluster);
}

static void
test_alter(void)
{
    struct cluster cluster;
    init_with_node(&cluster);
    struct command_setting settings[] = {{"storage.type", "memory", SETTING_OP_SET}};
    struct command command = {.type = COMMAND_TOPIC_CREATE,
        .name = "a",
        .id = id_of(1),
        .count = 1,
        .replicas = on_node_1,
        .settings = settings,
        .setting_count = 1};
    CU_ASSERT_EQUAL(apply(&cluster, &command), 0);
    struct cluster_topic *topic = cluster_topic(&cluster, "a");
    CU_ASSERT_EQUAL(settings_int(&topic->settings, TOPIC_STORAGE_TYPE), TOPIC_STORAGE_MEMORY);
    command.type = COMMAND_TOPIC_ALTER;
    CU_ASSERT_EQUAL(apply(&cluster, &command), -BUS_ERR_INVALID_CONFIG);
    struct command_setting two[] = {
        {"retention.ms", "1h", SETTING_OP_SET}, {"segment.bytes", "12", SETTING_OP_SET}};
    command.settings = two;
    command.setting_count = 2;
    CU_ASSERT_EQUAL(apply(&cluster, &command), -BUS_ERR_INVALID_CONFIG);
    CU_ASSERT_FALSE(settings_is_set(&topic->settings, TOPIC_RETENTION_MS));
    two[1].value = "1m";
    CU_ASSERT_EQUAL(apply(&cluster, &command), 0);
    CU_ASSERT_EQUAL(settings_int(&topic->settings, TOPIC_RETENTION_MS), 3600000);
    two[0] = (struct command_setting){"retention.ms", NULL, SETTING_OP_DELETE};
    CU_ASSERT_EQUAL(apply(&cluster, &command), 0);
    CU_ASSERT_EQUAL(settings_int(&topic->settings, TOPIC_RETENTION_MS), 604800000);
    two[0].name = "retention.msec";
    CU_ASSERT_EQUAL(apply(&cluster, &command), -BUS_ERR_INVALID_CONFIG);
    cluster_fini(&cluster);
}

static void
test_broker_and_ids(void)
{
    struct cluster cluster;
    struct changes changes;
    init_with_node(&cluster);
    CU_ASSERT_EQUAL(create(&cluster, "a", 1, 1), 0);
    struct command_setting setting = {"log.retention.ms", "1h", SETTING_OP_SET};
    struct command command = {
        .type = COMMAND_BROKER_ALTER, .node = -1, .settings = &setting, .setting_count = 1};
    CU_ASSERT_EQUAL(apply(&cluster, &command), 0);
    struct cluster_topic *topic = cluster_topic(&cluster, "a");
    CU_ASSERT_EQUAL(settings_int(&topic->settings, TOPIC_RETENTION_MS), 3600000);
    CU_ASSERT_EQUAL(settings_source(&topic->settings, TOPIC_RETENTION_MS), SETTING_FROM_DYNAMIC);
    setting.name = "socket.path";
    CU_ASSERT_EQUAL(apply(&cluster, &command), -BUS_ERR_INVALID_CONFIG);
    command.node = 2;
    CU_ASSERT_EQUAL(apply(&cluster, &command), -BUS_ERR_INVALID_REQUEST);
    command = (struct command){.type = COMMAND_PRODUCER_IDS, .count = 1000};
    CU_ASSERT_EQUAL(apply(&cluster, &command), 0);
    CU_ASSERT_EQUAL(cluster_apply(&cluster, &command, &changes), 0);
    CU_ASSERT_EQUAL(changes.first_producer_id, 1000);
    changes_fini(&changes);
    command.count = CLUSTER_PRODUCER_BLOCK + 1;
    CU_ASSERT_EQUAL(apply(&cluster, &command), -BUS_ERR_INVALID_REQUEST);
    command = (struct command){.type = COMMAND_NODE_REGISTER, .node = 0, .name = "h", .count = 9};
    CU_ASSERT_EQUAL(apply(&cluster, &command), 0);
    CU_ASSERT_EQUAL(cluster.nodes[0].id, 0);
    CU_ASSERT_EQUAL(cluster_node(&cluster, 0)->port, 9);
    CU_ASSERT_PTR_NULL(cluster_node(&cluster, 2));
    command.node = -1;
    CU_ASSERT_EQUAL(apply(&cluster, &command), -BUS_ERR_INVALID_REQUEST);
    command.type = (enum command_type)99;
    CU_ASSERT_EQUAL(apply(&cluster, &command), -BUS_ERR_INVALID_REQUEST);
    cluster_fini(&cluster);
}

/** Prepares a command, loads its row into `copy`, commits it. */
static void
apply_and_load(struct cluster *cluster, struct cluster *copy, const struct command *command)
{
    struct changes changes;
    struct cluster_row row;
    struct buf space;
    buf_init(&space);
    CU_ASSERT_EQUAL_FATAL(cluster_prepare(cluster, command, &changes), 0);
    CU_ASSERT_EQUAL_FATAL(cluster_row(&changes, &space, &row), 0);
    CU_ASSERT_EQUAL(cluster_load(copy, &row), 0);
    cluster_commit(cluster, &changes);
    changes_fini(&changes);
    /* No prefix of the row is taken for a row, and the second row of a topic is refused. */
    size_t bytes = row.value_bytes;
    for (row.value_bytes = 0; row.value_bytes < bytes; row.value_bytes++)
        CU_ASSERT(cluster_load(copy, &row) < 0);
    buf_fini(&space);
}

static void
test_rows(void)
{
    struct cluster cluster, copy;
    struct command_setting setting = {"retention.ms", "1h", SETTING_OP_SET};
    cluster_init(&cluster, NULL);
    cluster_init(&copy, NULL);
    struct command node = {.type = COMMAND_NODE_REGISTER, .node = 1, .name = "host", .count = 99};
    apply_and_load(&cluster, &copy, &node);
    struct command topic = {.type = COMMAND_TOPIC_CREATE,
        .name = "orders",
        .id = id_of(5),
        .count = 7,
        .replicas = on_node_1,
        .settings = &setting,
        .setting_count = 1};
    apply_and_load(&cluster, &copy, &topic);
    struct command ids = {.type = COMMAND_PRODUCER_IDS, .count = 10};
    apply_and_load(&cluster, &copy, &ids);
    setting.name = "log.segment.bytes";
    setting.value = "2m";
    struct command broker = {
        .type = COMMAND_BROKER_ALTER, .node = -1, .settings = &setting, .setting_count = 1};
    apply_and_load(&cluster, &copy, &broker);
    const struct cluster_topic *loaded = cluster_topic(&copy, "orders");
    CU_ASSERT_PTR_NOT_NULL_FATAL(loaded);
    CU_ASSERT_EQUAL(loaded->partition_count, 7);
    CU_ASSERT_EQUAL(memcmp(loaded->partitions, cluster_topic(&cluster, "orders")->partitions,
                        7 * sizeof loaded->partitions[0]),
        0);
    CU_ASSERT_EQUAL(settings_int(&loaded->settings, TOPIC_RETENTION_MS), 3600000);
    CU_ASSERT_EQUAL(settings_int(&loaded->settings, TOPIC_SEGMENT_BYTES), 2 << 20);
    CU_ASSERT_EQUAL(copy.next_producer_id, 10);
    CU_ASSERT_EQUAL(copy.partition_total, 7);
    CU_ASSERT_STRING_EQUAL(cluster_node(&copy, 1)->host, "host");
    cluster_fini(&cluster);
    cluster_fini(&copy);
}

static void
test_deletion_row(void)
{
    struct cluster cluster;
    struct changes changes;
    struct cluster_row row;
    struct buf space;
    buf_init(&space);
    init_with_node(&cluster);
    CU_ASSERT_EQUAL(create(&cluster, "a", 1, 1), 0);
    struct command command = {.type = COMMAND_TOPIC_DELETE, .id = id_of(1)};
    CU_ASSERT_EQUAL_FATAL(cluster_prepare(&cluster, &command, &changes), 0);
    CU_ASSERT_EQUAL_FATAL(cluster_row(&changes, &space, &row), 0);
    CU_ASSERT_EQUAL(row.value_bytes, 0);
    CU_ASSERT_EQUAL(row.key_bytes, 17);
    changes_fini(&changes);
    CU_ASSERT_PTR_NOT_NULL(cluster_topic(&cluster, "a"));
    uint8_t newer[] = {9, 0};
    row = (struct cluster_row){.key = {'t'}, .key_bytes = 17, .value = newer, .value_bytes = 2};
    CU_ASSERT_EQUAL(cluster_load(&cluster, &row), -BUS_ERR_DATA_VERSION);
    newer[0] = 1;
    row.key[0] = '?';
    CU_ASSERT_EQUAL(cluster_load(&cluster, &row), -BUS_ERR_DATA_VERSION);
    row.key_bytes = 0;
    CU_ASSERT_EQUAL(cluster_load(&cluster, &row), -BUS_ERR_CORRUPT_MESSAGE);
    buf_fini(&space);
    cluster_fini(&cluster);
}

static const struct unit_case cases[] = {
    {"names are checked at their limits", test_names},
    {"topics are found by name, id and order", test_create_and_find},
    {"what cannot be created is refused", test_create_refusals},
    {"a deleted topic is handed to the changes", test_delete},
    {"partitions only grow and keep their state", test_grow},
    {"settings change all or none", test_alter},
    {"settings of busd, producer ids and nodes", test_broker_and_ids},
    {"rows bring the state back", test_rows},
    {"a deletion removes its row, newer rows are refused", test_deletion_row},
    {NULL, NULL},
};

void
register_cluster(void)
{
    unit_register("cluster", cases);
}
