/* SPDX-License-Identifier: Apache-2.0 */
#include "api/placement.h"
#include "base/err.h"

struct command_replicas
placement_choose(const struct api_request *r)
{
    return (struct command_replicas){
        .nodes = {controller_node(r->api->wiring.controller)},
        .count = 1,
    };
}

int
placement_check(const struct api_request *r, const int32_t *nodes, int32_t count)
{
    int32_t own = controller_node(r->api->wiring.controller);
    if (count == 1 && nodes[0] == own)
        return 0;
    return err_set(BUS_ERR_INVALID_REPLICA_ASSIGNMENT,
        "each partition can be assigned to node %d alone: it is the only one", own);
}

int
placement_check_factor(const struct api_request *r, int16_t factor)
{
    (void)r;
    if (factor == -1 || factor == 1)
        return 0;
    return err_set(BUS_ERR_INVALID_REPLICATION_FACTOR,
        "replication factor %d cannot be had with one node: ask for 1 or -1", factor);
}

struct placement_address
placement_reach(const struct api_request *r, const struct cluster_node *node)
{
    const struct api_listener *listener = r->peer->listener;
    if (listener && node->id == controller_node(r->api->wiring.controller))
        return (struct placement_address){listener->host, listener->port};
    return (struct placement_address){node->host, node->port};
}
