/* SPDX-License-Identifier: Apache-2.0
 * DescribeCluster: the nodes.
 */
#include "api/peer.h"
#include "api/table.h"
#include "base/err.h"

enum { ENDPOINT_BROKERS = 1 };

static int
add_brokers(struct api_request *r, struct describe_cluster_response *out)
{
    const struct cluster *cluster = request_cluster(r);
    out->brokers =
        wire_array(&describe_cluster_response_broker_schema, &r->arena, cluster->node_count);
    if (!out->brokers)
        return -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; i < cluster->node_count; i++) {
        struct describe_cluster_response_broker *broker = &out->brokers[out->brokers_count++];
        broker->broker_id = cluster->nodes[i].id;
        broker->host = cluster->nodes[i].host;
        broker->port = cluster->nodes[i].port;
    }
    return 0;
}

int
handle_describe_cluster(struct api_request *r)
{
    const struct describe_cluster_request *request = r->message;
    struct describe_cluster_response *out = r->response;
    struct controller *controller = r->api->wiring.controller;
    out->cluster_id = meta_identity(controller->meta)->cluster_id;
    out->controller_id = controller_node(controller);
    out->endpoint_type = request->endpoint_type;
    if (request->endpoint_type != ENDPOINT_BROKERS) {
        out->error_code = peer_error(r,
            err_set(BUS_ERR_INVALID_REQUEST,
                "endpoint type %d is not served: 1 asks for the brokers", request->endpoint_type));
        out->error_message = request_error_text(r);
        return HANDLED_DONE;
    }
    if (request->include_cluster_authorized_operations)
        out->cluster_authorized_operations = peer_cluster_operations(r);
    int rc = add_brokers(r, out);
    return rc < 0 ? rc : HANDLED_DONE;
}
