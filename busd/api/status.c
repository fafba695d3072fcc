/* SPDX-License-Identifier: Apache-2.0
 * DaemonStatus: how busd is.
 */
#include "api/table.h"

int
handle_daemon_status(struct api_request *r)
{
    const struct api_wiring *w = &r->api->wiring;
    struct daemon_status_response *out = r->response;
    out->version = w->version;
    out->data_folder = w->data_folder;
    out->cluster_id = meta_identity(w->controller->meta)->cluster_id;
    out->node_id = controller_node(w->controller);
    out->uptime_ms = request_now_ms(r) - r->api->started_ms;
    out->partitions = (int32_t)request_cluster(r)->partition_total;
    out->open_partitions = r->api->logs.count;
    out->connections = w->ops->connections(w->context);
    out->listeners = w->ops->listeners(w->context);
    return HANDLED_DONE;
}
