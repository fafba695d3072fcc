/* SPDX-License-Identifier: Apache-2.0
 * DescribeConfigs, IncrementalAlterConfigs, AlterConfigs.
 */
#include "base/err.h"
#include "unit/api_world.h"

#include <string.h>

enum { TOPIC = 2, BROKER = 4 };

static struct world w;

static const struct describe_configs_response_result *
describe(int who, int16_t version, int8_t type, const char *name, const char *key)
{
    struct describe_configs_request_resource resource = {.resource_type = type,
        .resource_name = name,
        .configuration_keys = &key,
        .configuration_keys_count = key ? 1 : -1};
    struct describe_configs_request request = {.resources = &resource,
        .resources_count = 1,
        .include_synonyms = true,
        .include_documentation = true};
    const struct describe_configs_response *answer =
        world_call(&w, who, API_DESCRIBE_CONFIGS, version, &request);
    CU_ASSERT_EQUAL_FATAL(answer->results_count, 1);
    CU_ASSERT_EQUAL(answer->results[0].error_code != 0, answer->results[0].error_message != NULL);
    return &answer->results[0];
}

static const struct describe_configs_response_result_config *
describe_one(int16_t version, int8_t type, const char *name, const char *key)
{
    const struct describe_configs_response_result *result = describe(0, version, type, name, key);
    CU_ASSERT_EQUAL_FATAL(result->error_code, 0);
    CU_ASSERT_EQUAL_FATAL(result->configs_count, 1);
    CU_ASSERT_STRING_EQUAL(result->configs[0].name, key);
    return &result->configs[0];
}

static void
test_describes_topic(void)
{
    static const char *const settings[] = {"retention.ms=5000", NULL};
    world_init(&w);
    world_topic(&w, "t", 1, settings);
    for (int16_t version = 1; version <= 4; version++) {
        const struct describe_configs_response_result *all = describe(0, version, TOPIC, "t", NULL);
        CU_ASSERT_EQUAL(all->configs_count, (int32_t)setting_table_topic.count);
        struct describe_configs_request_resource resource = {
            .resource_type = TOPIC, .resource_name = "t"};
        struct describe_configs_request none = {.resources = &resource, .resources_count = 1};
        const struct describe_configs_response *answer =
            world_call(&w, 0, API_DESCRIBE_CONFIGS, version, &none);
        CU_ASSERT_EQUAL(answer->results[0].configs_count, (int32_t)setting_table_topic.count);
        const struct describe_configs_response_result_config *row =
            describe_one(version, TOPIC, "t", "retention.ms");
        CU_ASSERT_STRING_EQUAL(row->value, "5000");
        CU_ASSERT_EQUAL(row->config_source, SETTING_FROM_TOPIC);
        CU_ASSERT_EQUAL(row->config_type, version >= 3 ? SETTING_LONG : 0);
        CU_ASSERT_EQUAL(row->documentation != NULL, version >= 3);
        CU_ASSERT_FALSE(row->read_only);
        CU_ASSERT_EQUAL_FATAL(row->synonyms_count, 2);
        CU_ASSERT_STRING_EQUAL(row->synonyms[0].name, "retention.ms");
        CU_ASSERT_STRING_EQUAL(row->synonyms[1].name, "log.retention.ms");
        CU_ASSERT_STRING_EQUAL(row->synonyms[1].value, "604800000");
        CU_ASSERT_EQUAL(row->synonyms[1].source, SETTING_FROM_DEFAULT);
    }
    CU_ASSERT_TRUE(describe_one(4, TOPIC, "t", "storage.type")->read_only);
    CU_ASSERT_EQUAL(
        describe_one(4, TOPIC, "t", "message.timestamp.type")->config_type, SETTING_STRING);
    world_fini(&w);
}

static void
test_layers(void)
{
    world_init(&w);
    world_topic(&w, "t", 1, NULL);
    CU_ASSERT_EQUAL(settings_set_named(&w.fixed, "log.retention.ms", "111"), 0);
    const struct describe_configs_response_result_config *row =
        describe_one(4, TOPIC, "t", "retention.ms");
    CU_ASSERT_STRING_EQUAL(row->value, "111");
    CU_ASSERT_EQUAL(row->config_source, SETTING_FROM_STATIC);
    CU_ASSERT_EQUAL_FATAL(row->synonyms_count, 2);
    CU_ASSERT_STRING_EQUAL(row->synonyms[0].name, "log.retention.ms");
    CU_ASSERT_EQUAL(row->synonyms[0].source, SETTING_FROM_STATIC);
    world_fini(&w);
}

static void
test_describes_busd(void)
{
    world_init(&w);
    CU_ASSERT_EQUAL(
        describe(1, 4, BROKER, "", NULL)->configs_count, (int32_t)setting_table_broker.count);
    const struct describe_configs_response_result_config *row =
        describe_one(4, BROKER, "7", "num.partitions");
    CU_ASSERT_STRING_EQUAL(row->value, "1");
    CU_ASSERT_FALSE(row->read_only);
    CU_ASSERT_TRUE(describe_one(4, BROKER, "7", "socket.path")->read_only);
    world_fini(&w);
}

static void
test_describe_refuses(void)
{
    static const char *const closed[] = {"access.read=self", "access.write=self", NULL};
    world_init(&w);
    world_topic(&w, "t", 1, closed);
    CU_ASSERT_EQUAL(
        describe(0, 4, TOPIC, "nope", NULL)->error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_EQUAL(
        describe(1, 4, TOPIC, "t", NULL)->error_code, BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(describe(0, 4, BROKER, "8", NULL)->error_code, BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(describe(0, 4, 8, "7", NULL)->error_code, BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(describe(0, 4, TOPIC, "t", "no.such.key")->configs_count, 0);
    world_fini(&w);
}

/* ---- changes -------------------------------------------------------------------------------- */

struct change {
    int who;
    int8_t type;
    const char *resource, *name, *value;
    int8_t op;
    bool only_check;
};

static int16_t
alter(int16_t version, const struct change *c)
{
    struct incremental_alter_configs_request_resource_config config = {c->name, c->op, c->value};
    struct incremental_alter_configs_request_resource resource = {c->type, c->resource, &config, 1};
    struct incremental_alter_configs_request request = {&resource, 1, c->only_check};
    const struct incremental_alter_configs_response *answer =
        world_call(&w, c->who, API_INCREMENTAL_ALTER_CONFIGS, version, &request);
    CU_ASSERT_EQUAL_FATAL(answer->responses_count, 1);
    CU_ASSERT_EQUAL(
        answer->responses[0].error_code != 0, answer->responses[0].error_message != NULL);
    CU_ASSERT_STRING_EQUAL(answer->responses[0].resource_name, c->resource);
    return answer->responses[0].error_code;
}

static void
test_alters_topic(void)
{
    world_init(&w);
    world_topic(&w, "t", 1, NULL);
    struct change c = {0, TOPIC, "t", "retention.ms", "1000", SETTING_OP_SET, true};
    CU_ASSERT_EQUAL(alter(0, &c), 0);
    CU_ASSERT_STRING_EQUAL(describe_one(4, TOPIC, "t", c.name)->value, "604800000");
    c.only_check = false;
    CU_ASSERT_EQUAL(alter(1, &c), 0);
    CU_ASSERT_STRING_EQUAL(describe_one(4, TOPIC, "t", c.name)->value, "1000");
    world_restart(&w);
    CU_ASSERT_STRING_EQUAL(describe_one(4, TOPIC, "t", c.name)->value, "1000");
    c.op = SETTING_OP_DELETE;
    c.value = NULL;
    CU_ASSERT_EQUAL(alter(1, &c), 0);
    CU_ASSERT_STRING_EQUAL(describe_one(4, TOPIC, "t", c.name)->value, "604800000");
    c = (struct change){0, TOPIC, "t", "cleanup.policy", "compact", SETTING_OP_APPEND, false};
    CU_ASSERT_EQUAL(alter(1, &c), 0);
    CU_ASSERT_STRING_EQUAL(describe_one(4, TOPIC, "t", c.name)->value, "delete,compact");
    c.op = SETTING_OP_SUBTRACT;
    CU_ASSERT_EQUAL(alter(1, &c), 0);
    CU_ASSERT_STRING_EQUAL(describe_one(4, TOPIC, "t", c.name)->value, "delete");
    world_fini(&w);
}

static void
test_resources_twice(void)
{
    struct incremental_alter_configs_request_resource_config set = {
        "retention.ms", SETTING_OP_SET, "1000"};
    struct incremental_alter_configs_request_resource resources[] = {
        {TOPIC, "t", &set, 1}, {TOPIC, "u", &set, 1}, {TOPIC, "t", &set, 1}};
    struct incremental_alter_configs_request request = {resources, 3, false};
    struct alter_configs_request_resource_config plain = {"retention.ms", "2000"};
    struct alter_configs_request_resource whole[] = {
        {TOPIC, "t", &plain, 1}, {TOPIC, "u", &plain, 1}, {TOPIC, "t", &plain, 1}};
    struct alter_configs_request replace = {whole, 3, false};
    world_init(&w);
    world_topic(&w, "t", 1, NULL);
    world_topic(&w, "u", 1, NULL);
    const struct incremental_alter_configs_response *answer =
        world_call(&w, 0, API_INCREMENTAL_ALTER_CONFIGS, 1, &request);
    CU_ASSERT_EQUAL(answer->responses[0].error_code, BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(answer->responses[1].error_code, 0);
    CU_ASSERT_EQUAL(answer->responses[2].error_code, BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_STRING_EQUAL(describe_one(4, TOPIC, "t", "retention.ms")->value, "604800000");
    const struct alter_configs_response *replaced =
        world_call(&w, 0, API_ALTER_CONFIGS, 2, &replace);
    CU_ASSERT_EQUAL(replaced->responses[0].error_code, BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(replaced->responses[1].error_code, 0);
    CU_ASSERT_STRING_EQUAL(describe_one(4, TOPIC, "u", "retention.ms")->value, "2000");
    world_fini(&w);
}

static void
test_reaches_open_logs(void)
{
    struct batch_builder builder;
    world_init(&w);
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 1 << 16, 1 << 20), 0);
    world_topic(&w, "t", 1, NULL);
    struct bytes batch = world_batch(&builder, 20, 1, 0);
    CU_ASSERT(batch.len > 200);
    CU_ASSERT_EQUAL(world_produce(&w, 0, "t", batch, NULL), 0);
    struct change c = {0, TOPIC, "t", "max.message.bytes", "200", SETTING_OP_SET, false};
    CU_ASSERT_EQUAL(alter(1, &c), 0);
    CU_ASSERT_EQUAL(world_produce(&w, 0, "t", batch, NULL), BUS_ERR_MESSAGE_TOO_LARGE);
    c = (struct change){0, TOPIC, "t", "max.message.bytes", NULL, SETTING_OP_DELETE, false};
    CU_ASSERT_EQUAL(alter(1, &c), 0);
    CU_ASSERT_EQUAL(world_produce(&w, 0, "t", batch, NULL), 0);
    c = (struct change){0, BROKER, "", "message.max.bytes", "200", SETTING_OP_SET, false};
    CU_ASSERT_EQUAL(alter(1, &c), 0);
    CU_ASSERT_EQUAL(world_produce(&w, 0, "t", batch, NULL), BUS_ERR_MESSAGE_TOO_LARGE);
    builder_fini(&builder);
    world_fini(&w);
}

static void
test_alter_refuses(void)
{
    world_init(&w);
    world_topic(&w, "t", 1, NULL);
    static const struct {
        struct change change;
        int16_t code;
    } rows[] = {
        {{1, TOPIC, "t", "retention.ms", "1", 0, false}, BUS_ERR_TOPIC_AUTHORIZATION_FAILED},
        {{0, TOPIC, "nope", "retention.ms", "1", 0, false}, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION},
        {{0, TOPIC, "t", "retention.ms", "x", 0, false}, BUS_ERR_INVALID_CONFIG},
        {{0, TOPIC, "t", "retention.ms", "-2", 0, true}, BUS_ERR_INVALID_CONFIG},
        {{0, TOPIC, "t", "retention.m", "1", 0, false}, BUS_ERR_INVALID_CONFIG},
        {{0, TOPIC, "t", "storage.type", "memory", 0, false}, BUS_ERR_INVALID_CONFIG},
        {{0, TOPIC, "t", "retention.ms", "1", 2, false}, BUS_ERR_INVALID_CONFIG},
        {{0, TOPIC, "t", "retention.ms", "1", 4, false}, BUS_ERR_INVALID_REQUEST},
        {{0, TOPIC, "t", "retention.ms", "1", -1, false}, BUS_ERR_INVALID_REQUEST},
        {{0, TOPIC, "t", "retention.ms", NULL, 0, false}, BUS_ERR_INVALID_REQUEST},
        {{0, BROKER, "8", "num.partitions", "2", 0, false}, BUS_ERR_INVALID_REQUEST},
        {{0, BROKER, "7", "socket.path", "/x", 0, false}, BUS_ERR_INVALID_CONFIG},
        {{0, BROKER, "7", "num.partitions", "0", 0, false}, BUS_ERR_INVALID_CONFIG},
        {{0, 32, "g", "a", "b", 0, false}, BUS_ERR_INVALID_REQUEST},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CU_ASSERT_EQUAL(alter(1, &rows[i].change), rows[i].code);
    world_fini(&w);
}

static void
test_all_or_none(void)
{
    world_init(&w);
    world_topic(&w, "t", 1, NULL);
    struct incremental_alter_configs_request_resource_config configs[] = {
        {"retention.ms", SETTING_OP_SET, "1"}, {"segment.ms", SETTING_OP_SET, "never"}};
    struct incremental_alter_configs_request_resource resource = {TOPIC, "t", configs, 2};
    struct incremental_alter_configs_request request = {&resource, 1, false};
    const struct incremental_alter_configs_response *answer =
        world_call(&w, 0, API_INCREMENTAL_ALTER_CONFIGS, 1, &request);
    CU_ASSERT_EQUAL(answer->responses[0].error_code, BUS_ERR_INVALID_CONFIG);
    CU_ASSERT_STRING_EQUAL(describe_one(4, TOPIC, "t", "retention.ms")->value, "604800000");
    configs[1] = configs[0];
    answer = world_call(&w, 0, API_INCREMENTAL_ALTER_CONFIGS, 1, &request);
    CU_ASSERT_EQUAL(answer->responses[0].error_code, BUS_ERR_INVALID_REQUEST);
    world_fini(&w);
}

static void
test_replaces(void)
{
    static const char *const settings[] = {
        "retention.ms=5000", "segment.ms=6000", "storage.type=memory", NULL};
    world_init(&w);
    world_topic(&w, "t", 1, settings);
    for (int16_t version = 0; version <= 2; version++) {
        struct alter_configs_request_resource_config config = {"segment.ms", "7000"};
        struct alter_configs_request_resource resource = {TOPIC, "t", &config, 1};
        struct alter_configs_request request = {&resource, 1, version == 0};
        const struct alter_configs_response *answer =
            world_call(&w, 0, API_ALTER_CONFIGS, version, &request);
        CU_ASSERT_EQUAL(answer->responses[0].error_code, 0);
        CU_ASSERT_STRING_EQUAL(
            describe_one(4, TOPIC, "t", "segment.ms")->value, version == 0 ? "6000" : "7000");
        CU_ASSERT_STRING_EQUAL(describe_one(4, TOPIC, "t", "retention.ms")->value,
            version == 0 ? "5000" : "604800000");
        CU_ASSERT_STRING_EQUAL(describe_one(4, TOPIC, "t", "storage.type")->value, "memory");
    }
    struct alter_configs_request_resource_config config = {"segment.ms", "soon"};
    struct alter_configs_request_resource resource = {TOPIC, "t", &config, 1};
    struct alter_configs_request request = {&resource, 1, false};
    const struct alter_configs_response *answer = world_call(&w, 0, API_ALTER_CONFIGS, 2, &request);
    CU_ASSERT_EQUAL(answer->responses[0].error_code, BUS_ERR_INVALID_CONFIG);
    answer = world_call(&w, 1, API_ALTER_CONFIGS, 2, &request);
    CU_ASSERT_EQUAL(answer->responses[0].error_code, BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    world_fini(&w);
}

static const struct unit_case cases[] = {
    {"describes a topic with synonyms and documentation", test_describes_topic},
    {"tells which layer a value comes from", test_layers},
    {"describes busd by its id and by no name", test_describes_busd},
    {"refuses to describe what is not there", test_describe_refuses},
    {"changes a topic by each operation", test_alters_topic},
    {"changes no resource that is named twice", test_resources_twice},
    {"brings changes to open logs at once", test_reaches_open_logs},
    {"refuses changes that make no sense", test_alter_refuses},
    {"makes all changes of a resource or none", test_all_or_none},
    {"replaces what was set", test_replaces},
    {NULL, NULL},
};

void
register_api_configs(void)
{
    unit_register("api_configs", cases);
}
