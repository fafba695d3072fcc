/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "client/bus.h"
#include "client/metadata.h"

#include <bus/admin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Kafka's numbers. */
enum { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4 };
enum { OPERATION_SET = 0, OPERATION_DELETE = 1 };
enum { SOURCE_TOPIC = 1, SOURCE_DEFAULT = 5 };

int
bus_topic_alter(
    struct bus *bus, const char *topic, const struct bus_setting *settings, size_t setting_count)
{
    struct incremental_alter_configs_request_resource_config *configs =
        calloc(setting_count + 1, sizeof *configs);
    if (!configs)
        return err_no_memory();
    for (size_t i = 0; i < setting_count; i++)
        configs[i] =
            (struct incremental_alter_configs_request_resource_config){.name = settings[i].name,
                .config_operation = settings[i].value ? OPERATION_SET : OPERATION_DELETE,
                .value = settings[i].value};
    struct incremental_alter_configs_request_resource resource = {.resource_type = RESOURCE_TOPIC,
        .resource_name = topic,
        .configs = configs,
        .configs_count = (int32_t)setting_count};
    struct incremental_alter_configs_request request = {
        .resources = &resource, .resources_count = 1};
    struct conn_reply *reply;
    int rc = conn_call(bus->conn, API_INCREMENTAL_ALTER_CONFIGS, &request,
        CONN_RESTART | CONN_AGAIN, bus_request_deadline_ns(bus), &reply);
    free(configs);
    if (rc < 0)
        return err_prefix(rc, "topic %.100s", topic);
    const struct incremental_alter_configs_response *answer = reply->message;
    if (answer->responses_count != 1)
        rc = err_set(BUS_ERR_UNKNOWN_SERVER_ERROR, "busd's answer does not speak of it");
    else
        rc = conn_refused(answer->responses[0].error_code, answer->responses[0].error_message);
    conn_reply_free(&reply);
    return err_prefix(rc, "topic %.100s", topic);
}

struct bus_settings {
    struct conn_reply *reply; /* owned */
    const struct describe_configs_response_result *result;
    bool of_topic;
};

/* Takes the reply. */
static int
settings_of_reply(struct conn_reply *reply, const char *topic, struct bus_settings **settings)
{
    const struct describe_configs_response *answer = reply->message;
    struct bus_settings *fresh = calloc(1, sizeof *fresh);
    int rc = fresh ? 0 : err_no_memory();
    if (rc == 0 && answer->results_count != 1)
        rc = err_set(BUS_ERR_UNKNOWN_SERVER_ERROR, "busd did not tell its settings");
    if (rc == 0)
        rc = conn_refused(answer->results[0].error_code, answer->results[0].error_message);
    if (rc < 0) {
        conn_reply_free(&reply);
        free(fresh);
        return topic ? err_prefix(rc, "topic %.100s", topic) : rc;
    }
    *fresh = (struct bus_settings){
        .reply = reply, .result = &answer->results[0], .of_topic = topic != NULL};
    *settings = fresh;
    return 0;
}

int
bus_settings_fetch(struct bus *bus, const char *topic, struct bus_settings **settings)
{
    struct describe_configs_request_resource resource = {
        .resource_type = topic ? RESOURCE_TOPIC : RESOURCE_BROKER,
        .resource_name = topic ? topic : "",
        .configuration_keys_count = -1};
    struct describe_configs_request request = {
        .resources = &resource, .resources_count = 1, .include_documentation = true};
    struct conn_reply *reply;
    *settings = NULL;
    int rc = conn_call(bus->conn, API_DESCRIBE_CONFIGS, &request, CONN_RESTART | CONN_AGAIN,
        bus_request_deadline_ns(bus), &reply);
    return rc < 0 ? rc : settings_of_reply(reply, topic, settings);
}

void
bus_settings_free(struct bus_settings **settings)
{
    struct bus_settings *old = *settings;
    *settings = NULL;
    if (old)
        conn_reply_free(&old->reply);
    free(old);
}

int
bus_settings_get(const struct bus_settings *settings, size_t index, struct bus_setting_state *state)
{
    if (index >= (size_t)settings->result->configs_count)
        return err_set(
            BUS_ERR_INVALID_ARGUMENT, "there are %d settings", settings->result->configs_count);
    const struct describe_configs_response_result_config *from = &settings->result->configs[index];
    *state = (struct bus_setting_state){.name = from->name,
        .value = from->value ? from->value : "",
        .text = from->documentation ? from->documentation : "",
        .is_default = settings->of_topic ? from->config_source != SOURCE_TOPIC
                                         : from->config_source == SOURCE_DEFAULT,
        .read_only = from->read_only};
    return 0;
}

/* Copies what fits, always terminated. */
static void
copy_text(char *to, size_t bytes, const char *from)
{
    snprintf(to, bytes, "%s", from ? from : "");
}

int
bus_status(struct bus *bus, struct bus_status *status)
{
    struct daemon_status_request request = {0};
    struct conn_reply *reply;
    int rc = conn_call(bus->conn, API_DAEMON_STATUS, &request, CONN_RESTART | CONN_AGAIN,
        bus_request_deadline_ns(bus), &reply);
    if (rc < 0)
        return rc;
    const struct daemon_status_response *answer = reply->message;
    rc = conn_refused(answer->error_code, answer->error_message);
    *status = (struct bus_status){.node_id = answer->node_id,
        .uptime_ms = answer->uptime_ms,
        .partitions = answer->partitions,
        .open_partitions = answer->open_partitions,
        .connections = answer->connections,
        .memory_bytes = answer->memory_bytes};
    copy_text(status->version, sizeof status->version, answer->version);
    copy_text(status->data_folder, sizeof status->data_folder, answer->data_folder);
    copy_text(status->cluster_id, sizeof status->cluster_id, answer->cluster_id);
    copy_text(status->listeners, sizeof status->listeners, answer->listeners);
    conn_reply_free(&reply);
    return rc;
}
