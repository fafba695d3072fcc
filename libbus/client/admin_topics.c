/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "client/bus.h"
#include "client/metadata.h"

#include <bus/admin.h>
#include <stdlib.h>
#include <string.h>

enum { REPLICATION_DEFAULT = -1 };

static int32_t
timeout_of(const struct bus *bus)
{
    return (int32_t)bus->settings.request_timeout_ms;
}

static int
no_answer(const char *topic)
{
    return err_set(
        BUS_ERR_UNKNOWN_SERVER_ERROR, "topic %s: busd's answer does not speak of it", topic);
}

/* An error of busd's about a topic, with its own words where it gave some. */
static int
topic_refused(const char *topic, int16_t wire, const char *text)
{
    if (wire == BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION && !(text && *text))
        return metadata_unknown(topic);
    return err_prefix(conn_refused(wire, text), "topic %.100s", topic);
}

int
bus_topic_create(struct bus *bus, const char *topic, int32_t partitions,
    const struct bus_setting *settings, size_t setting_count)
{
    struct create_topics_request_topic_config *configs = calloc(setting_count + 1, sizeof *configs);
    if (!configs)
        return err_no_memory();
    for (size_t i = 0; i < setting_count; i++)
        configs[i] = (struct create_topics_request_topic_config){
            .name = settings[i].name, .value = settings[i].value};
    struct create_topics_request_topic wanted = {.name = topic,
        .num_partitions = partitions,
        .replication_factor = REPLICATION_DEFAULT,
        .configs = configs,
        .configs_count = (int32_t)setting_count};
    struct create_topics_request request = {
        .topics = &wanted, .topics_count = 1, .timeout_ms = timeout_of(bus)};
    struct conn_reply *reply;
    int rc = conn_call(bus->conn, API_CREATE_TOPICS, &request, CONN_RESTART | CONN_ACTS,
        bus_request_deadline_ns(bus), &reply);
    free(configs);
    if (rc < 0)
        return err_prefix(rc, "create topic %s", topic);
    const struct create_topics_response *answer = reply->message;
    rc = answer->topics_count == 1
             ? topic_refused(topic, answer->topics[0].error_code, answer->topics[0].error_message)
             : no_answer(topic);
    conn_reply_free(&reply);
    return rc;
}

int
bus_topic_delete(struct bus *bus, const char *topic)
{
    struct delete_topics_request_topic wanted = {.name = topic};
    /* Versions up to 5 have the names, later ones the structs; the codec sends what fits. */
    struct delete_topics_request request = {.topics = &wanted,
        .topics_count = 1,
        .topic_names = &topic,
        .topic_names_count = 1,
        .timeout_ms = timeout_of(bus)};
    struct conn_reply *reply;
    int rc = conn_call(bus->conn, API_DELETE_TOPICS, &request, CONN_RESTART | CONN_ACTS,
        bus_request_deadline_ns(bus), &reply);
    if (rc < 0)
        return err_prefix(rc, "delete topic %s", topic);
    const struct delete_topics_response *answer = reply->message;
    rc = answer->responses_count == 1 ? topic_refused(topic, answer->responses[0].error_code,
                                            answer->responses[0].error_message)
                                      : no_answer(topic);
    conn_reply_free(&reply);
    return rc;
}

int
bus_topic_grow(struct bus *bus, const char *topic, int32_t partitions)
{
    struct create_partitions_request_topic wanted = {
        .name = topic, .count = partitions, .assignments_count = -1};
    struct create_partitions_request request = {
        .topics = &wanted, .topics_count = 1, .timeout_ms = timeout_of(bus)};
    struct conn_reply *reply;
    int rc = conn_call(bus->conn, API_CREATE_PARTITIONS, &request, CONN_RESTART | CONN_ACTS,
        bus_request_deadline_ns(bus), &reply);
    if (rc < 0)
        return err_prefix(rc, "topic %.100s", topic);
    const struct create_partitions_response *answer = reply->message;
    rc = answer->results_count == 1
             ? topic_refused(topic, answer->results[0].error_code, answer->results[0].error_message)
             : no_answer(topic);
    conn_reply_free(&reply);
    return rc;
}

struct bus_topics {
    struct conn_reply *reply; /* owned; the items point into it */
    size_t count;
    const struct metadata_response_topic *items[];
};

static int
by_name(const void *a, const void *b)
{
    const struct metadata_response_topic *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

/* Takes the reply. */
static int
topics_of_reply(struct conn_reply *reply, const char *topic, struct bus_topics **topics)
{
    const struct metadata_response *answer = reply->message;
    struct bus_topics *fresh =
        calloc(1, sizeof *fresh + (size_t)answer->topics_count * sizeof fresh->items[0]);
    int rc = fresh ? 0 : err_no_memory();
    for (int32_t i = 0; rc == 0 && i < answer->topics_count; i++) {
        const struct metadata_response_topic *item = &answer->topics[i];
        if (topic)
            rc = topic_refused(topic, item->error_code, NULL);
        if (item->error_code == 0 && item->name)
            fresh->items[fresh->count++] = item;
    }
    if (rc == 0 && topic && fresh->count != 1)
        rc = metadata_unknown(topic);
    if (rc < 0) {
        conn_reply_free(&reply);
        free(fresh);
        return rc;
    }
    qsort(fresh->items, fresh->count, sizeof fresh->items[0], by_name);
    fresh->reply = reply;
    *topics = fresh;
    return 0;
}

int
bus_topics_fetch(struct bus *bus, const char *topic, struct bus_topics **topics)
{
    struct metadata_request_topic wanted = {.name = topic};
    struct metadata_request request = {
        .topics = topic ? &wanted : NULL, .topics_count = topic ? 1 : -1};
    struct conn_reply *reply;
    *topics = NULL;
    int rc = conn_call(bus->conn, API_METADATA, &request, CONN_RESTART | CONN_AGAIN,
        bus_request_deadline_ns(bus), &reply);
    return rc < 0 ? rc : topics_of_reply(reply, topic, topics);
}

void
bus_topics_free(struct bus_topics **topics)
{
    struct bus_topics *old = *topics;
    *topics = NULL;
    if (old)
        conn_reply_free(&old->reply);
    free(old);
}

size_t
bus_topics_count(const struct bus_topics *topics)
{
    return topics->count;
}

const char *
bus_topics_name(const struct bus_topics *topics, size_t index)
{
    return index < topics->count ? topics->items[index]->name : NULL;
}

const uint8_t *
bus_topics_id(const struct bus_topics *topics, size_t index)
{
    return index < topics->count ? topics->items[index]->topic_id.b : NULL;
}

int32_t
bus_topics_partitions(const struct bus_topics *topics, size_t index)
{
    return index < topics->count ? metadata_count(topics->items[index]) : 0;
}
