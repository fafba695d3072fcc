/* SPDX-License-Identifier: Apache-2.0
 * IncrementalAlterConfigs, and AlterConfigs which replaces all that was set. Each resource is one
 * command: all of its changes or none.
 */
#include "api/peer.h"
#include "api/resource.h"
#include "api/table.h"
#include "api/twice.h"
#include "base/err.h"

#include <string.h>

/** The changes of one resource, in the arena. */
struct change_list {
    struct command_setting *items;
    size_t count;
};

static int
propose(struct api_request *r, const struct resource *resource, const struct change_list *changes,
    bool validate_only)
{
    struct controller *controller = r->api->wiring.controller;
    struct command command = {
        .type = resource->topic ? COMMAND_TOPIC_ALTER : COMMAND_BROKER_ALTER,
        .node = resource->node,
        .settings = changes->items,
        .setting_count = changes->count,
    };
    if (resource->topic)
        command.id = resource->topic->id;
    if (changes->count > COMMAND_SETTINGS_MAX)
        return err_set(BUS_ERR_INVALID_REQUEST, "%zu settings at a time: %d are the most",
            changes->count, COMMAND_SETTINGS_MAX);
    return validate_only ? controller_check(controller, &command)
                         : controller_propose(controller, &command);
}

static int
make_room(struct api_request *r, struct change_list *changes, size_t count)
{
    changes->items = arena_array(&r->arena, count, sizeof *changes->items);
    changes->count = 0;
    return changes->items ? 0 : -BUS_ERR_NO_MEMORY;
}

/** Adds a change; a name may come once. The list is short: see COMMAND_SETTINGS_MAX. */
static int
add(struct change_list *changes, const char *name, const char *value, enum setting_op op)
{
    for (size_t i = 0; i < changes->count; i++)
        if (strcmp(changes->items[i].name, name) == 0)
            return err_set(BUS_ERR_INVALID_REQUEST, "the request names the setting %s twice", name);
    if (changes->count == COMMAND_SETTINGS_MAX)
        return err_set(
            BUS_ERR_INVALID_REQUEST, "more than %d settings at a time", COMMAND_SETTINGS_MAX);
    changes->items[changes->count++] = (struct command_setting){name, value, op};
    return 0;
}

/* ---- resources that are named twice ---------------------------------------------------------- */

static const char *
name_of(struct api_request *r, int8_t type, const char *name)
{
    return arena_format(&r->arena, "%d:%s", type, name);
}

static int
check_once(struct api_request *r, int8_t type, const char *name)
{
    const char *full = name_of(r, type, name);
    if (!full)
        return -BUS_ERR_NO_MEMORY;
    if (!twice_has(r->state, full))
        return 0;
    return err_set(BUS_ERR_INVALID_REQUEST, "the request names \"%s\" twice", name);
}

/* ---- IncrementalAlterConfigs ---------------------------------------------------------------- */

static int
check_operation(const struct incremental_alter_configs_request_resource_config *config)
{
    if (config->config_operation < SETTING_OP_SET || config->config_operation > SETTING_OP_SUBTRACT)
        return err_set(BUS_ERR_INVALID_REQUEST, "setting %s: there is no operation %d",
            config->name, config->config_operation);
    if (!config->value && config->config_operation != SETTING_OP_DELETE)
        return err_set(BUS_ERR_INVALID_REQUEST,
            "setting %s has no value: operation 1 (DELETE) brings the default back", config->name);
    return 0;
}

static int
list_increments(struct api_request *r,
    const struct incremental_alter_configs_request_resource *wanted, struct change_list *changes)
{
    int rc = make_room(r, changes, COMMAND_SETTINGS_MAX);
    for (int32_t i = 0; i < wanted->configs_count && rc == 0; i++) {
        const struct incremental_alter_configs_request_resource_config *c = &wanted->configs[i];
        rc = check_operation(c);
        if (rc == 0)
            rc = add(changes, c->name, c->config_operation == SETTING_OP_DELETE ? NULL : c->value,
                (enum setting_op)c->config_operation);
    }
    return rc;
}

static int
check_change(const struct api_request *r, int8_t type, const char *name)
{
    return type == RESOURCE_TOPIC
               ? peer_check_topic(r, ACL_ALTER_CONFIGS, name, "change settings of", false)
               : peer_check_cluster(r, ACL_ALTER_CONFIGS, "change settings", false);
}

static int
alter_by_increments(
    struct api_request *r, const struct incremental_alter_configs_request_resource *wanted)
{
    const struct incremental_alter_configs_request *request = r->message;
    struct resource resource;
    struct change_list changes;
    int rc = check_change(r, wanted->resource_type, wanted->resource_name);
    if (rc == 0)
        rc = check_once(r, wanted->resource_type, wanted->resource_name);
    if (rc == 0)
        rc = resource_find(r, wanted->resource_type, wanted->resource_name, &resource);
    if (rc == 0)
        rc = list_increments(r, wanted, &changes);
    return rc < 0 ? rc : propose(r, &resource, &changes, request->validate_only);
}

int
handle_incremental_alter_configs(struct api_request *r)
{
    const struct incremental_alter_configs_request *request = r->message;
    struct incremental_alter_configs_response *out = r->response;
    out->responses_count = request->resources_count;
    out->responses = wire_array(&incremental_alter_configs_response_response_schema, &r->arena,
        (size_t)request->resources_count);
    struct twice *twice = arena_alloc(&r->arena, sizeof *twice);
    if (!twice || !out->responses ||
        twice_init(twice, &r->arena, (size_t)request->resources_count) < 0)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < request->resources_count; i++)
        twice_add(twice,
            name_of(r, request->resources[i].resource_type, request->resources[i].resource_name));
    twice_sort(twice);
    r->state = twice;
    for (int32_t i = 0; i < request->resources_count; i++) {
        int rc = alter_by_increments(r, &request->resources[i]);
        out->responses[i] = (struct incremental_alter_configs_response_response){
            .error_code = peer_error(r, rc),
            .error_message = rc < 0 ? request_error_text(r) : NULL,
            .resource_type = request->resources[i].resource_type,
            .resource_name = request->resources[i].resource_name,
        };
    }
    return HANDLED_DONE;
}

/* ---- AlterConfigs --------------------------------------------------------------------------- */

static bool
is_listed(const struct change_list *changes, const char *name)
{
    for (size_t i = 0; i < changes->count; i++)
        if (strcmp(changes->items[i].name, name) == 0)
            return true;
    return false;
}

/** What was fixed at the creation of a topic is no part of what a replacement replaces. */
static bool
is_fixed(const struct settings *settings, unsigned row)
{
    return settings->table == &setting_table_topic && row == TOPIC_STORAGE_TYPE;
}

/** Whether a replacement only repeats a fixed value. */
static bool
repeats_fixed(const struct settings *settings, const char *name, const char *value)
{
    char space[SETTING_FORMAT_BYTES];
    return settings->table == &setting_table_topic &&
           strcmp(name, setting_table_topic.rows[TOPIC_STORAGE_TYPE].name) == 0 &&
           strcmp(value, settings_format(settings, TOPIC_STORAGE_TYPE, space)) == 0;
}

/** All that is set and was not named goes back to its default. */
static int
list_others(const struct settings *settings, struct change_list *changes)
{
    int rc = 0;
    for (unsigned row = 0; row < settings->table->count && rc == 0; row++) {
        const char *name = settings->table->rows[row].name;
        if (settings_is_set(settings, row) && !is_fixed(settings, row) && !is_listed(changes, name))
            rc = add(changes, name, NULL, SETTING_OP_DELETE);
    }
    return rc;
}

static int
list_replacement(struct api_request *r, const struct settings *settings,
    const struct alter_configs_request_resource *wanted, struct change_list *changes)
{
    int rc = make_room(r, changes, COMMAND_SETTINGS_MAX);
    for (int32_t i = 0; i < wanted->configs_count && rc == 0; i++) {
        const struct alter_configs_request_resource_config *config = &wanted->configs[i];
        if (config->value && !repeats_fixed(settings, config->name, config->value))
            rc = add(changes, config->name, config->value, SETTING_OP_SET);
    }
    return rc < 0 ? rc : list_others(settings, changes);
}

static int
replace(struct api_request *r, const struct alter_configs_request_resource *wanted)
{
    const struct alter_configs_request *request = r->message;
    struct resource resource;
    struct change_list changes;
    int rc = check_change(r, wanted->resource_type, wanted->resource_name);
    if (rc == 0)
        rc = check_once(r, wanted->resource_type, wanted->resource_name);
    if (rc == 0)
        rc = resource_find(r, wanted->resource_type, wanted->resource_name, &resource);
    if (rc == 0)
        rc = list_replacement(r, resource.settings, wanted, &changes);
    return rc < 0 ? rc : propose(r, &resource, &changes, request->validate_only);
}

int
handle_alter_configs(struct api_request *r)
{
    const struct alter_configs_request *request = r->message;
    struct alter_configs_response *out = r->response;
    out->responses_count = request->resources_count;
    out->responses = wire_array(
        &alter_configs_response_response_schema, &r->arena, (size_t)request->resources_count);
    struct twice *twice = arena_alloc(&r->arena, sizeof *twice);
    if (!twice || !out->responses ||
        twice_init(twice, &r->arena, (size_t)request->resources_count) < 0)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < request->resources_count; i++)
        twice_add(twice,
            name_of(r, request->resources[i].resource_type, request->resources[i].resource_name));
    twice_sort(twice);
    r->state = twice;
    for (int32_t i = 0; i < request->resources_count; i++) {
        int rc = replace(r, &request->resources[i]);
        out->responses[i] = (struct alter_configs_response_response){
            .error_code = peer_error(r, rc),
            .error_message = rc < 0 ? request_error_text(r) : NULL,
            .resource_type = request->resources[i].resource_type,
            .resource_name = request->resources[i].resource_name,
        };
    }
    return HANDLED_DONE;
}
