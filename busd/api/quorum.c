/* SPDX-License-Identifier: Apache-2.0
 * DescribeQuorum, UpdateFeatures, UnregisterBroker: the metadata log and its only voter.
 */
#include "api/peer.h"
#include "api/placement.h"
#include "api/table.h"
#include "base/err.h"

#include <string.h>

/* ---- DescribeQuorum ------------------------------------------------------------------------- */

enum {
    TEXT_FROM_VERSION = 2, /* also the nodes */
    QUORUM_EPOCH = 1,      /* one node has led from the start */
};

/** Kafka's name of the metadata log. */
static const char *const quorum_topic = "__cluster_metadata";

/** The voter has all that is in the log, which it has just looked at. */
static int
fill_log(struct api_request *r, struct describe_quorum_response_topic_partition *out)
{
    const struct controller *controller = r->api->wiring.controller;
    int64_t first, last;
    int rc = meta_log_range(controller->meta, &first, &last);
    if (rc < 0)
        return rc;
    out->current_voters =
        wire_array(&describe_quorum_response_topic_partition_current_voter_schema, &r->arena, 1);
    if (!out->current_voters)
        return -BUS_ERR_NO_MEMORY;
    out->current_voters_count = 1;
    out->current_voters[0].replica_id = controller_node(controller);
    out->current_voters[0].log_end_offset = last + 1;
    out->current_voters[0].last_fetch_timestamp = request_wall_ms(r);
    out->current_voters[0].last_caught_up_timestamp = request_wall_ms(r);
    out->leader_id = controller_node(controller);
    out->leader_epoch = QUORUM_EPOCH;
    out->high_watermark = last + 1;
    return 0;
}

static int
describe_partition(struct api_request *r, const char *topic, int32_t partition,
    struct describe_quorum_response_topic_partition *out)
{
    out->partition_index = partition;
    int rc = strcmp(topic, quorum_topic) == 0 && partition == 0
                 ? fill_log(r, out)
                 : err_set(BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION,
                       "topic %s partition %d has no quorum: that is %s, partition 0", topic,
                       partition, quorum_topic);
    out->error_code = peer_error(r, rc);
    out->error_message = rc < 0 ? request_error_text(r) : NULL;
    return rc == -BUS_ERR_NO_MEMORY ? rc : 0;
}

static int
describe_topic(struct api_request *r, const struct describe_quorum_request_topic *wanted,
    struct describe_quorum_response_topic *out)
{
    int rc = 0;
    out->topic_name = wanted->topic_name;
    out->partitions = wire_array(&describe_quorum_response_topic_partition_schema, &r->arena,
        (size_t)wanted->partitions_count);
    if (!out->partitions)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < wanted->partitions_count && rc == 0; i++)
        rc = describe_partition(r, wanted->topic_name, wanted->partitions[i].partition_index,
            &out->partitions[out->partitions_count++]);
    return rc;
}

static int
add_nodes(struct api_request *r, struct describe_quorum_response *out)
{
    const struct cluster *cluster = request_cluster(r);
    out->nodes = wire_array(&describe_quorum_response_node_schema, &r->arena, cluster->node_count);
    if (!out->nodes)
        return -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; i < cluster->node_count; i++) {
        struct describe_quorum_response_node *node = &out->nodes[out->nodes_count++];
        struct placement_address at = placement_reach(r, &cluster->nodes[i]);
        node->node_id = cluster->nodes[i].id;
        if (at.port == 0)
            continue;
        node->listeners = wire_array(&describe_quorum_response_node_listener_schema, &r->arena, 1);
        if (!node->listeners)
            return -BUS_ERR_NO_MEMORY;
        node->listeners_count = 1;
        node->listeners[0].name = "CONTROLLER";
        node->listeners[0].host = at.host;
        node->listeners[0].port = (uint16_t)at.port;
    }
    return 0;
}

int
handle_describe_quorum(struct api_request *r)
{
    const struct describe_quorum_request *request = r->message;
    struct describe_quorum_response *out = r->response;
    int rc = peer_check_cluster(r, ACL_DESCRIBE, "describe the quorum", true);
    if (rc < 0) {
        out->error_code = peer_error(r, rc);
        out->error_message = request_error_text(r);
        return HANDLED_DONE;
    }
    out->topics = wire_array(
        &describe_quorum_response_topic_schema, &r->arena, (size_t)request->topics_count);
    if (!out->topics)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < request->topics_count && rc == 0; i++)
        rc = describe_topic(r, &request->topics[i], &out->topics[out->topics_count++]);
    if (rc == 0 && r->header.api_version >= TEXT_FROM_VERSION)
        rc = add_nodes(r, out);
    return rc < 0 ? rc : HANDLED_DONE;
}

/* ---- UpdateFeatures ------------------------------------------------------------------------- */

enum { RESULTS_UNTIL_VERSION = 1 };

/** No feature has versions here that could be chosen. */
static int
refuse_feature(const char *name)
{
    return err_set(BUS_ERR_INVALID_UPDATE_VERSION,
        "feature \"%s\" is not known here: no feature has levels to choose from", name);
}

static int
refuse_each(struct api_request *r)
{
    const struct update_features_request *request = r->message;
    struct update_features_response *out = r->response;
    out->results = wire_array(
        &update_features_response_result_schema, &r->arena, (size_t)request->feature_updates_count);
    if (!out->results)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < request->feature_updates_count; i++) {
        const char *name = request->feature_updates[i].feature;
        int rc = refuse_feature(name);
        out->results[out->results_count++] = (struct update_features_response_result){
            name, peer_error(r, rc), request_error_text(r)};
    }
    return HANDLED_DONE;
}

int
handle_update_features(struct api_request *r)
{
    const struct update_features_request *request = r->message;
    struct update_features_response *out = r->response;
    int rc = peer_check_admin(r, "update features");
    if (rc == 0 && r->header.api_version <= RESULTS_UNTIL_VERSION)
        return refuse_each(r);
    if (rc == 0 && request->feature_updates_count > 0)
        rc = refuse_feature(request->feature_updates[0].feature);
    out->error_code = peer_error(r, rc);
    out->error_message = rc < 0 ? request_error_text(r) : NULL;
    return HANDLED_DONE;
}

/* ---- UnregisterBroker ----------------------------------------------------------------------- */

static int
unregister(const struct api_request *r, int32_t node)
{
    int rc = peer_check_admin(r, "unregister nodes");
    if (rc < 0)
        return rc;
    if (!cluster_node(request_cluster(r), node))
        return err_set(BUS_ERR_BROKER_ID_NOT_REGISTERED, "there is no node %d", node);
    return err_set(
        BUS_ERR_INVALID_REQUEST, "node %d is the only one: it holds all partitions", node);
}

int
handle_unregister_broker(struct api_request *r)
{
    const struct unregister_broker_request *request = r->message;
    struct unregister_broker_response *out = r->response;
    int rc = unregister(r, request->broker_id);
    out->error_code = peer_error(r, rc);
    out->error_message = request_error_text(r);
    return HANDLED_DONE;
}
