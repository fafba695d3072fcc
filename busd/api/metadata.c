/* SPDX-License-Identifier: Apache-2.0
 * Metadata: nodes, topics, partitions and who leads them.
 */
#include "api/authorize.h"
#include "api/peer.h"
#include "api/placement.h"
#include "api/table.h"
#include "api/topics.h"
#include "base/err.h"

#include <string.h>

enum { IDS_FROM_VERSION = 12 }; /* topics may be named by id */

static int
add_brokers(struct api_request *r, struct metadata_response *out)
{
    const struct cluster *cluster = request_cluster(r);
    out->brokers = wire_array(&metadata_response_broker_schema, &r->arena, cluster->node_count);
    if (!out->brokers)
        return -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; i < cluster->node_count; i++) {
        struct metadata_response_broker *broker = &out->brokers[out->brokers_count++];
        broker->node_id = cluster->nodes[i].id;
        struct placement_address at = placement_reach(r, &cluster->nodes[i]);
        broker->host = at.host;
        broker->port = at.port;
    }
    return 0;
}

static void
fill_partition(
    struct metadata_response_topic_partition *out, int32_t index, const struct cluster_partition *p)
{
    out->error_code = p->leader < 0 ? BUS_ERR_LEADER_NOT_AVAILABLE : BUS_ERR_NONE;
    out->partition_index = index;
    out->leader_id = p->leader;
    out->leader_epoch = p->leader_epoch;
    out->replica_nodes = (int32_t *)p->replicas;
    out->replica_nodes_count = p->replica_count;
    out->isr_nodes = (int32_t *)p->isr;
    out->isr_nodes_count = p->isr_count;
}

static int
fill_topic(
    struct api_request *r, struct metadata_response_topic *out, const struct cluster_topic *topic)
{
    const struct metadata_request *request = r->message;
    out->name = topic->name;
    out->topic_id = topic->id;
    out->is_internal = cluster_name_internal(topic->name);
    out->partitions = wire_array(
        &metadata_response_topic_partition_schema, &r->arena, (size_t)topic->partition_count);
    if (!out->partitions)
        return -BUS_ERR_NO_MEMORY;
    for (; out->partitions_count < topic->partition_count; out->partitions_count++)
        fill_partition(&out->partitions[out->partitions_count], out->partitions_count,
            &topic->partitions[out->partitions_count]);
    if (request->include_topic_authorized_operations)
        out->topic_authorized_operations = peer_topic_operations(r, topic);
    return 0;
}

/** Finds the topic that a request names, makes it if both sides want that. NULL: *rc tells why. */
static const struct cluster_topic *
named_topic(struct api_request *r, const struct metadata_request_topic *wanted, int *rc)
{
    const struct metadata_request *request = r->message;
    const struct cluster *cluster = request_cluster(r);
    const struct cluster_topic *topic;
    if (!wanted->name) {
        topic = cluster_topic_of_id(cluster, &wanted->topic_id);
        *rc = topic ? 0 : -BUS_ERR_UNKNOWN_TOPIC_ID;
        return topic;
    }
    topic = cluster_topic(cluster, wanted->name);
    if (topic)
        return topic;
    *rc = cluster_check_name(wanted->name);
    if (*rc < 0)
        return NULL;
    *rc = -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (!request->allow_auto_topic_creation ||
        !settings_bool(&cluster->settings, BROKER_AUTO_CREATE_TOPICS_ENABLE))
        return NULL;
    *rc = topics_create_plain(r, wanted->name);
    return *rc == 0 ? cluster_topic(cluster, wanted->name) : NULL;
}

/** Ids came to requests in a version of their own; Kafka refuses the whole request before it. */
static bool
has_early_ids(const struct api_request *r)
{
    static const struct uuid none;
    const struct metadata_request *request = r->message;
    for (int32_t i = 0; i < request->topics_count; i++) {
        const struct metadata_request_topic *topic = &request->topics[i];
        if (!topic->name || memcmp(&topic->topic_id, &none, sizeof none) != 0)
            return r->header.api_version < IDS_FROM_VERSION;
    }
    return false;
}

static int
add_named(struct api_request *r, struct metadata_response_topic *out,
    const struct metadata_request_topic *wanted, bool refused)
{
    int rc = 0;
    /* Who may not see a name is not told either whether there is such a topic. */
    if (wanted->name && !authorize(r, ACL_DESCRIBE, ACL_TOPIC, wanted->name, true)) {
        out->error_code = BUS_ERR_TOPIC_AUTHORIZATION_FAILED;
        out->name = wanted->name;
        return 0;
    }
    const struct cluster_topic *topic = refused ? NULL : named_topic(r, wanted, &rc);
    if (refused)
        rc = -BUS_ERR_INVALID_REQUEST;
    if (topic && peer_may_see(r, topic))
        return fill_topic(r, out, topic);
    out->error_code = topic ? (int16_t)BUS_ERR_TOPIC_AUTHORIZATION_FAILED : peer_error(r, rc);
    out->name = wanted->name;
    out->topic_id = wanted->topic_id;
    return 0;
}

static int
add_all_topics(struct api_request *r, struct metadata_response *out)
{
    const struct cluster *cluster = request_cluster(r);
    out->topics = wire_array(&metadata_response_topic_schema, &r->arena, cluster->topic_count);
    if (!out->topics)
        return -BUS_ERR_NO_MEMORY;
    int rc = 0;
    for (size_t i = 0; i < cluster->topic_count && rc == 0; i++) {
        const struct cluster_topic *topic = cluster_topic_at(cluster, i);
        if (peer_may_see(r, topic))
            rc = fill_topic(r, &out->topics[out->topics_count++], topic);
    }
    return rc;
}

static int
add_named_topics(struct api_request *r, struct metadata_response *out)
{
    const struct metadata_request *request = r->message;
    out->topics =
        wire_array(&metadata_response_topic_schema, &r->arena, (size_t)request->topics_count);
    if (!out->topics)
        return -BUS_ERR_NO_MEMORY;
    bool refused = has_early_ids(r);
    int rc = 0;
    for (int32_t i = 0; i < request->topics_count && rc == 0; i++)
        rc = add_named(r, &out->topics[out->topics_count++], &request->topics[i], refused);
    return rc;
}

int
handle_metadata(struct api_request *r)
{
    const struct metadata_request *request = r->message;
    struct metadata_response *out = r->response;
    /* Version 0 knows no null: there the empty list asks for everything. */
    bool all =
        request->topics_count < 0 || (r->header.api_version == 0 && request->topics_count == 0);
    int rc = add_brokers(r, out);
    if (rc == 0)
        rc = all ? add_all_topics(r, out) : add_named_topics(r, out);
    out->cluster_id = meta_identity(r->api->wiring.controller->meta)->cluster_id;
    out->controller_id = controller_node(r->api->wiring.controller);
    if (request->include_cluster_authorized_operations)
        out->cluster_authorized_operations = peer_cluster_operations(r);
    return rc < 0 ? rc : HANDLED_DONE;
}
