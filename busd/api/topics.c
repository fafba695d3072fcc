/* SPDX-License-Identifier: Apache-2.0
 * CreateTopics.
 */
#include "api/topics.h"
#include "api/authorize.h"
#include "api/peer.h"
#include "api/placement.h"
#include "api/table.h"
#include "api/twice.h"
#include "base/err.h"

#include <string.h>

/* ---- names that are not free yet ------------------------------------------------------------ */

/** Where the files of a new topic will be, those of a deleted one may still be. */
static int
check_free(const struct api_request *r, const char *name)
{
    if (!removals_hold(&r->api->logs.removals, name))
        return 0;
    return err_set(BUS_ERR_REQUEST_TIMED_OUT,
        "the files of the deleted topic %s are not removed yet: try again, and see busd's trace",
        name);
}

static bool
has_to_wait(const struct api_request *r)
{
    const struct create_topics_request *request = r->message;
    for (int32_t i = 0; i < request->topics_count; i++)
        if (removals_hold(&r->api->logs.removals, request->topics[i].name))
            return true;
    return false;
}

/** Whether the request is to be looked at again, when a removal has ended. */
static bool
wait_for_names(struct api_request *r)
{
    const struct create_topics_request *request = r->message;
    if (!has_to_wait(r))
        return false;
    if (r->wake)
        return request_now_ms(r) < r->deadline_ms;
    int64_t limit_ms = settings_int(&request_cluster(r)->settings, BROKER_REQUEST_TIMEOUT_MS);
    bool shorter = request->timeout_ms >= 0 && request->timeout_ms < limit_ms;
    r->deadline_ms = request_now_ms(r) + (shorter ? request->timeout_ms : limit_ms);
    r->wake = handle_create_topics;
    return true;
}

/* ---- a topic as it is asked for ---------------------------------------------------------------
 */

static int
take_assignments(const struct api_request *r, const struct create_topics_request_topic *wanted,
    struct command *command)
{
    if (wanted->num_partitions != -1 || wanted->replication_factor != -1)
        return err_set(BUS_ERR_INVALID_REQUEST,
            "with an assignment of replicas, partitions and replication factor must be -1");
    for (int32_t i = 0; i < wanted->assignments_count; i++) {
        const struct create_topics_request_topic_assignment *a = &wanted->assignments[i];
        if (a->partition_index != i)
            return err_set(BUS_ERR_INVALID_REPLICA_ASSIGNMENT,
                "the assignment of replicas must name the partitions 0, 1, 2 … in order");
        int rc = placement_check(r, a->broker_ids, a->broker_ids_count);
        if (rc < 0)
            return rc;
    }
    command->count = wanted->assignments_count;
    return 0;
}

static int
take_counts(const struct api_request *r, const struct create_topics_request_topic *wanted,
    struct command *command)
{
    const struct settings *settings = &request_cluster(r)->settings;
    command->count = wanted->num_partitions == -1
                         ? (int32_t)settings_int(settings, BROKER_NUM_PARTITIONS)
                         : wanted->num_partitions;
    return placement_check_factor(r, wanted->replication_factor);
}

/** The settings that have a value; null means the default, as does leaving one out. */
static int
take_settings(struct api_request *r, const struct create_topics_request_topic *wanted,
    struct command *command)
{
    struct command_setting *settings =
        arena_array(&r->arena, (size_t)wanted->configs_count, sizeof *settings);
    if (!settings)
        return -BUS_ERR_NO_MEMORY;
    command->settings = settings;
    for (int32_t i = 0; i < wanted->configs_count; i++) {
        const struct create_topics_request_topic_config *config = &wanted->configs[i];
        if (config->value)
            settings[command->setting_count++] =
                (struct command_setting){config->name, config->value, SETTING_OP_SET};
    }
    return 0;
}

static int
make_command(struct api_request *r, const struct create_topics_request_topic *wanted,
    struct command *command)
{
    *command = (struct command){.type = COMMAND_TOPIC_CREATE, .name = wanted->name};
    command->replicas = placement_choose(r);
    int rc = cluster_check_name(wanted->name);
    if (rc == 0)
        rc = wanted->assignments_count > 0 ? take_assignments(r, wanted, command)
                                           : take_counts(r, wanted, command);
    if (rc == 0)
        rc = take_settings(r, wanted, command);
    return rc == 0 ? controller_new_id(&command->id) : rc;
}

/** The settings that the topic has or would have, as the answer of version 5 and up tells them. */
static int
tell_settings(
    struct api_request *r, const struct command *command, struct create_topics_response_topic *out)
{
    struct settings layer;
    settings_init(&layer, &setting_table_topic, SETTING_FROM_TOPIC, &request_cluster(r)->settings);
    int rc = 0;
    for (size_t i = 0; i < command->setting_count && rc == 0; i++)
        rc = settings_set_named(&layer, command->settings[i].name, command->settings[i].value);
    out->configs = wire_array(
        &create_topics_response_topic_config_schema, &r->arena, setting_table_topic.count);
    if (!out->configs)
        rc = -BUS_ERR_NO_MEMORY;
    for (unsigned row = 0; row < setting_table_topic.count && rc == 0; row++) {
        char space[SETTING_FORMAT_BYTES];
        const char *value = settings_format(&layer, row, space);
        struct create_topics_response_topic_config *config = &out->configs[out->configs_count++];
        config->name = setting_table_topic.rows[row].name;
        config->value = arena_string(&r->arena, value, strlen(value));
        config->config_source = (int8_t)settings_source(&layer, row);
    }
    settings_fini(&layer);
    return rc;
}

static int
create(struct api_request *r, const struct create_topics_request_topic *wanted,
    struct create_topics_response_topic *out)
{
    const struct create_topics_request *request = r->message;
    struct controller *controller = r->api->wiring.controller;
    struct command command;
    int rc = make_command(r, wanted, &command);
    if (rc == 0)
        rc = check_free(r, wanted->name);
    if (rc == 0)
        rc = request->validate_only ? controller_check(controller, &command)
                                    : controller_propose(controller, &command);
    if (rc < 0)
        return rc;
    out->num_partitions = command.count;
    out->replication_factor = (int16_t)command.replicas.count;
    if (!request->validate_only)
        out->topic_id = command.id;
    if (r->header.api_version < 5)
        return 0;
    out->configs_count = 0;
    return tell_settings(r, &command, out);
}

static void
create_row(struct api_request *r, const struct create_topics_request_topic *wanted,
    struct create_topics_response_topic *out)
{
    out->name = wanted->name;
    out->configs_count = -1;
    int rc = peer_check_create(r, wanted->name);
    if (rc == 0 && twice_has(r->state, wanted->name))
        rc = err_set(BUS_ERR_INVALID_REQUEST, "the request names topic %s twice", wanted->name);
    if (rc == 0)
        rc = create(r, wanted, out);
    out->error_code = peer_error(r, rc);
    out->error_message = rc < 0 ? request_error_text(r) : NULL;
    if (rc == -BUS_ERR_TOPIC_AUTHORIZATION_FAILED)
        out->topic_config_error_code = BUS_ERR_TOPIC_AUTHORIZATION_FAILED;
}

/** Each topic waits for the disk: many of them are made in several turns. */
static int
create_on(struct api_request *r)
{
    const struct create_topics_request *request = r->message;
    struct create_topics_response *out = r->response;
    int64_t since_ms = request_now_ms(r);
    r->wake = create_on;
    while (out->topics_count < request->topics_count) {
        create_row(r, &request->topics[out->topics_count], &out->topics[out->topics_count]);
        out->topics_count++;
        if (request_yields(r, since_ms))
            return HANDLED_PARKED;
    }
    return HANDLED_DONE;
}

static int
begin_create(struct api_request *r)
{
    const struct create_topics_request *request = r->message;
    struct create_topics_response *out = r->response;
    struct twice *twice = arena_alloc(&r->arena, sizeof *twice);
    out->topics =
        wire_array(&create_topics_response_topic_schema, &r->arena, (size_t)request->topics_count);
    if (!twice || !out->topics || twice_init(twice, &r->arena, (size_t)request->topics_count) < 0)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < request->topics_count; i++)
        twice_add(twice, request->topics[i].name);
    twice_sort(twice);
    r->state = twice;
    return create_on(r);
}

int
handle_create_topics(struct api_request *r)
{
    return peer_is_admin(r) && wait_for_names(r) ? HANDLED_PARKED : begin_create(r);
}

int
topics_create_plain(struct api_request *r, const char *name)
{
    struct controller *controller = r->api->wiring.controller;
    struct command command = {
        .type = COMMAND_TOPIC_CREATE,
        .name = name,
        .count = (int32_t)settings_int(&request_cluster(r)->settings, BROKER_NUM_PARTITIONS),
        .replicas = placement_choose(r),
    };
    int rc = cluster_name_internal(name)
                 ? err_set(BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION,
                       "topic %s belongs to busd, which makes it when it is needed", name)
                 : check_free(r, name);
    /* Where no rule is about it, the setting that this comes from allows it to everybody. */
    if (rc == 0 && !authorize(r, ACL_CREATE, ACL_CLUSTER, ACL_CLUSTER_NAME, true) &&
        peer_check_topic(r, ACL_CREATE, name, "create", false) < 0)
        rc = -BUS_ERR_TOPIC_AUTHORIZATION_FAILED;
    if (rc == 0)
        rc = controller_new_id(&command.id);
    return rc == 0 ? controller_propose(controller, &command) : rc;
}
