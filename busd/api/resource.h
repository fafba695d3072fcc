/* SPDX-License-Identifier: Apache-2.0
 * What the configuration requests speak about: a topic, or busd.
 */
#ifndef API_RESOURCE_H
#define API_RESOURCE_H

#include "api/request.h"

/** Kafka's numbers of resource types. */
enum {
    RESOURCE_TOPIC = 2,
    RESOURCE_BROKER = 4,
};

struct resource {
    const struct cluster_topic *topic; /* NULL: busd */
    const struct settings *settings;   /* the layer of the topic, or busd's set at run time */
    int32_t node;                      /* of busd: -1 every node */
};

/**
 * Finds a resource by type and name; busd is called "" or by its node id. 0,
 * -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION, -BUS_ERR_TOPIC_AUTHORIZATION_FAILED (a topic that the peer
 * may not see) or -BUS_ERR_INVALID_REQUEST.
 */
int resource_find(
    const struct api_request *r, int8_t type, const char *name, struct resource *resource);

#endif
