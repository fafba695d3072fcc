/* SPDX-License-Identifier: Apache-2.0
 * Which nodes get the replicas of a new partition, and where clients find nodes.
 */
#ifndef API_PLACEMENT_H
#define API_PLACEMENT_H

#include "api/request.h"

/** The replicas for new partitions: this node, as long as it is alone. */
struct command_replicas placement_choose(const struct api_request *r);

/** Whether a client's own choice can be had: 0 or -BUS_ERR_INVALID_REPLICA_ASSIGNMENT. */
int placement_check(const struct api_request *r, const int32_t *nodes, int32_t count);

/** Whether a replication factor (-1: the default) can be had: 0 or INVALID_REPLICATION_FACTOR. */
int placement_check_factor(const struct api_request *r, int16_t factor);

/** Where a client finds a node. */
struct placement_address {
    const char *host; /* borrowed from the peer or the cluster */
    int32_t port;
};

/** How the peer of a request reaches a node: this one where the peer came in, the others where they
 * have registered. */
struct placement_address placement_reach(
    const struct api_request *r, const struct cluster_node *node);

#endif
