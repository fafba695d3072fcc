/* SPDX-License-Identifier: Apache-2.0
 * DescribeCluster: the nodes.
 */
#include "api/peer.h"
#include "api/placement.h"
#include "api/table.h"
#include "base/err.h"

enum { ENDPOINT_BROKERS = 1, ENDPOINT_CONTROLLERS = 2 };

static int
check_endpoint(int8_t type)
{
    if (type == ENDPOINT_BROKERS)
        return 0;
    return err_set(type == ENDPOINT_CONTROLLERS ? BUS_ERR_MISMATCHED_ENDPOINT_TYPE
                                                : BUS_ERR_UNSUPPORTED_ENDPOINT_TYPE,
        "endpoint type %d is not served: 1 asks for the brokers", type);
}

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
        struct placement_address at = placement_reach(r, &cluster->nodes[i]);
        broker->host = at.host;
        broker->port = at.port;
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
    int rc = check_endpoint(request->endpoint_type);
    if (rc < 0) {
        out->error_code = peer_error(r, rc);
        out->error_message = request_error_text(r);
        return HANDLED_DONE;
    }
    if (request->include_cluster_authorized_operations)
        out->cluster_authorized_operations = peer_cluster_operations(r);
    rc = add_brokers(r, out);
    return rc < 0 ? rc : HANDLED_DONE;
}
