/* SPDX-License-Identifier: Apache-2.0
 * DescribeConfigs: every setting, its value and where that comes from.
 */
#include "api/peer.h"
#include "api/resource.h"
#include "api/table.h"
#include "base/err.h"

#include <string.h>

static const char *
format(struct api_request *r, const struct settings *settings, unsigned row)
{
    char space[SETTING_FORMAT_BYTES];
    const char *text = settings_format(settings, row, space);
    return arena_string(&r->arena, text, strlen(text));
}

/* ---- synonyms: the same setting in each layer, the one in force first ------------------------ */

enum { SYNONYMS_MAX = 4 }; /* topic, set at run time, set by file, default */

static void
add_synonym(struct describe_configs_response_result_config *out, const char *name,
    const char *value, enum setting_source source)
{
    out->synonyms[out->synonyms_count++] =
        (struct describe_configs_response_result_config_synonym){name, value, (int8_t)source};
}

static int
add_synonyms(struct api_request *r, const struct settings *settings, unsigned row,
    struct describe_configs_response_result_config *out)
{
    const struct setting_row *lowest = &settings->table->rows[row];
    out->synonyms = wire_array(
        &describe_configs_response_result_config_synonym_schema, &r->arena, SYNONYMS_MAX);
    if (!out->synonyms)
        return -BUS_ERR_NO_MEMORY;
    for (const struct settings *layer = settings; layer; layer = layer->parent) {
        lowest = &layer->table->rows[row];
        if (settings_is_set(layer, row) && out->synonyms_count < SYNONYMS_MAX - 1)
            add_synonym(out, lowest->name, format(r, layer, row), layer->source);
        if (layer->parent && layer->parent->table != layer->table)
            row += layer->table->parent_first;
    }
    add_synonym(out, lowest->name, lowest->standard, SETTING_FROM_DEFAULT);
    return 0;
}

/* ---- settings ------------------------------------------------------------------------------- */

static int8_t
wire_type(enum setting_type type)
{
    return type == SETTING_ENUM ? SETTING_STRING : (int8_t)type;
}

static int
fill_config(struct api_request *r, const struct settings *settings, unsigned row,
    struct describe_configs_response_result_config *out)
{
    const struct describe_configs_request *request = r->message;
    const struct setting_row *its = &settings->table->rows[row];
    out->name = its->name;
    out->value = format(r, settings, row);
    out->read_only = its->when == SETTING_RESTART ||
                     (settings->table == &setting_table_topic && row == TOPIC_STORAGE_TYPE);
    out->config_source = (int8_t)settings_source(settings, row);
    out->config_type = wire_type(its->type);
    out->documentation = request->include_documentation ? its->text : NULL;
    if (!out->value)
        return -BUS_ERR_NO_MEMORY;
    return request->include_synonyms ? add_synonyms(r, settings, row, out) : 0;
}

static bool
is_wanted(const struct describe_configs_request_resource *wanted, const char *name)
{
    /* Kafka takes an empty list for all of them too, and old clients rely on it. */
    if (wanted->configuration_keys_count <= 0)
        return true;
    for (int32_t i = 0; i < wanted->configuration_keys_count; i++)
        if (strcmp(wanted->configuration_keys[i], name) == 0)
            return true;
    return false;
}

static int
fill_resource(struct api_request *r, const struct describe_configs_request_resource *wanted,
    struct describe_configs_response_result *out)
{
    struct resource resource;
    int rc = resource_find(r, wanted->resource_type, wanted->resource_name, &resource);
    if (rc == 0)
        rc = resource.topic ? peer_check_topic(r, ACL_DESCRIBE_CONFIGS, resource.topic->name,
                                  "see the settings of", true)
                            : peer_check_cluster(r, ACL_DESCRIBE_CONFIGS, "see the settings", true);
    if (rc < 0)
        return rc;
    const struct setting_table *table = resource.settings->table;
    out->configs =
        wire_array(&describe_configs_response_result_config_schema, &r->arena, table->count);
    if (!out->configs)
        return -BUS_ERR_NO_MEMORY;
    for (unsigned row = 0; row < table->count && rc == 0; row++)
        if (is_wanted(wanted, table->rows[row].name))
            rc = fill_config(r, resource.settings, row, &out->configs[out->configs_count++]);
    return rc;
}

int
handle_describe_configs(struct api_request *r)
{
    const struct describe_configs_request *request = r->message;
    struct describe_configs_response *out = r->response;
    out->results_count = request->resources_count;
    out->results = wire_array(
        &describe_configs_response_result_schema, &r->arena, (size_t)request->resources_count);
    if (!out->results)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < request->resources_count; i++) {
        struct describe_configs_response_result *result = &out->results[i];
        result->resource_type = request->resources[i].resource_type;
        result->resource_name = request->resources[i].resource_name;
        int rc = fill_resource(r, &request->resources[i], result);
        if (rc == -BUS_ERR_NO_MEMORY)
            return rc;
        result->error_code = peer_error(r, rc);
        result->error_message = rc < 0 ? request_error_text(r) : NULL;
    }
    return HANDLED_DONE;
}
