/* SPDX-License-Identifier: Apache-2.0
 * DeleteTopics and CreatePartitions.
 */
#include "api/peer.h"
#include "api/placement.h"
#include "api/table.h"
#include "api/twice.h"
#include "base/err.h"

#include <string.h>

enum { DISABLED_FROM_VERSION = 3 }; /* clients know TOPIC_DELETION_DISABLED */

/* ---- DeleteTopics --------------------------------------------------------------------------- */

static int
find_to_delete(struct api_request *r, const char *name, const struct uuid *id,
    const struct cluster_topic **topic)
{
    if (!settings_bool(&request_cluster(r)->settings, BROKER_DELETE_TOPIC_ENABLE))
        return err_set(r->header.api_version < DISABLED_FROM_VERSION
                           ? BUS_ERR_INVALID_REQUEST
                           : BUS_ERR_TOPIC_DELETION_DISABLED,
            "topics may not be deleted here: set delete.topic.enable=true");
    if (twice_has(r->state, name))
        return err_set(BUS_ERR_INVALID_REQUEST, "the request names topic %s twice", name);
    static const struct uuid none;
    bool has_id = memcmp(id, &none, sizeof none) != 0;
    if ((name != NULL) == has_id)
        return err_set(BUS_ERR_INVALID_REQUEST, "a topic is named either by name or by id");
    *topic = has_id ? peer_topic_of_id(r, id) : peer_topic(r, name);
    if (!*topic)
        return has_id ? -BUS_ERR_UNKNOWN_TOPIC_ID : -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
    return peer_check_topic(r, ACL_DELETE, (*topic)->name, "delete", false);
}

static void
delete_one(struct api_request *r, struct delete_topics_response_topic *out, const char *name,
    const struct uuid *id)
{
    const struct cluster_topic *topic = NULL;
    out->name = name;
    out->topic_id = *id;
    int rc = find_to_delete(r, name, id, &topic);
    if (rc == 0) {
        struct command command = {.type = COMMAND_TOPIC_DELETE, .id = topic->id};
        out->topic_id = topic->id;
        out->name = arena_string(&r->arena, topic->name, strlen(topic->name));
        rc = removals_prepare(&r->api->logs.removals, topic);
        if (rc == 0)
            rc = controller_propose(r->api->wiring.controller, &command);
    }
    out->error_code = peer_error(r, rc);
    out->error_message = rc < 0 ? request_error_text(r) : NULL;
}

/** Each topic waits for the disk: many of them are deleted in several turns. */
static int
delete_on(struct api_request *r)
{
    static const struct uuid none;
    const struct delete_topics_request *request = r->message;
    struct delete_topics_response *out = r->response;
    int64_t since_ms = request_now_ms(r);
    int32_t count = request->topics_count + request->topic_names_count;
    r->wake = delete_on;
    while (out->responses_count < count) {
        int32_t i = out->responses_count++;
        if (i < request->topics_count)
            delete_one(
                r, &out->responses[i], request->topics[i].name, &request->topics[i].topic_id);
        else
            delete_one(
                r, &out->responses[i], request->topic_names[i - request->topics_count], &none);
        if (request_yields(r, since_ms))
            return HANDLED_PARKED;
    }
    return HANDLED_DONE;
}

int
handle_delete_topics(struct api_request *r)
{
    const struct delete_topics_request *request = r->message;
    struct delete_topics_response *out = r->response;
    size_t count = (size_t)request->topics_count + (size_t)request->topic_names_count;
    struct twice *twice = arena_alloc(&r->arena, sizeof *twice);
    out->responses = wire_array(&delete_topics_response_topic_schema, &r->arena, count);
    if (!twice || !out->responses || twice_init(twice, &r->arena, count) < 0)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < request->topics_count; i++)
        twice_add(twice, request->topics[i].name);
    for (int32_t i = 0; i < request->topic_names_count; i++)
        twice_add(twice, request->topic_names[i]);
    twice_sort(twice);
    r->state = twice;
    return delete_on(r);
}

/* ---- CreatePartitions ----------------------------------------------------------------------- */

static int
check_assignments(const struct api_request *r, const struct create_partitions_request_topic *wanted,
    const struct cluster_topic *topic)
{
    if (wanted->assignments_count < 0)
        return 0;
    if (wanted->assignments_count != wanted->count - topic->partition_count)
        return err_set(BUS_ERR_INVALID_REPLICA_ASSIGNMENT,
            "topic %s would get %d partitions, the assignment has %d", topic->name,
            wanted->count - topic->partition_count, wanted->assignments_count);
    for (int32_t i = 0; i < wanted->assignments_count; i++) {
        int rc = placement_check(
            r, wanted->assignments[i].broker_ids, wanted->assignments[i].broker_ids_count);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int
grow(struct api_request *r, int32_t index)
{
    const struct create_partitions_request *request = r->message;
    const struct create_partitions_request_topic *wanted = &request->topics[index];
    struct controller *controller = r->api->wiring.controller;
    int rc = peer_check_topic(r, ACL_ALTER, wanted->name, "add partitions to", false);
    if (rc < 0)
        return rc;
    if (twice_has(r->state, wanted->name))
        return err_set(BUS_ERR_INVALID_REQUEST, "the request names topic %s twice", wanted->name);
    const struct cluster_topic *topic = peer_topic(r, wanted->name);
    if (!topic)
        return -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
    /* Groups belong to partitions by their number. */
    if (cluster_name_internal(topic->name))
        return err_set(BUS_ERR_INVALID_TOPIC_EXCEPTION,
            "topic %s belongs to busd: the number of its partitions is fixed when it is made",
            topic->name);
    if (wanted->count <= topic->partition_count)
        return err_set(BUS_ERR_INVALID_PARTITIONS,
            "topic %s has %d partitions already; their number can only grow, and %d was asked for",
            topic->name, topic->partition_count, wanted->count);
    rc = check_assignments(r, wanted, topic);
    if (rc < 0)
        return rc;
    struct command command = {
        .type = COMMAND_TOPIC_GROW,
        .id = topic->id,
        .count = wanted->count,
        .replicas = placement_choose(r),
    };
    return request->validate_only ? controller_check(controller, &command)
                                  : controller_propose(controller, &command);
}

/** As create_on() of CreateTopics. */
static int
grow_on(struct api_request *r)
{
    const struct create_partitions_request *request = r->message;
    struct create_partitions_response *out = r->response;
    int64_t since_ms = request_now_ms(r);
    r->wake = grow_on;
    while (out->results_count < request->topics_count) {
        int32_t i = out->results_count++;
        int rc = grow(r, i);
        out->results[i].name = request->topics[i].name;
        out->results[i].error_code = peer_error(r, rc);
        out->results[i].error_message = rc < 0 ? request_error_text(r) : NULL;
        if (request_yields(r, since_ms))
            return HANDLED_PARKED;
    }
    return HANDLED_DONE;
}

int
handle_create_partitions(struct api_request *r)
{
    const struct create_partitions_request *request = r->message;
    struct create_partitions_response *out = r->response;
    struct twice *twice = arena_alloc(&r->arena, sizeof *twice);
    out->results = wire_array(
        &create_partitions_response_result_schema, &r->arena, (size_t)request->topics_count);
    if (!twice || !out->results || twice_init(twice, &r->arena, (size_t)request->topics_count) < 0)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < request->topics_count; i++)
        twice_add(twice, request->topics[i].name);
    twice_sort(twice);
    r->state = twice;
    return grow_on(r);
}
