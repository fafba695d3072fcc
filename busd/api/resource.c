/* SPDX-License-Identifier: Apache-2.0 */
#include "api/resource.h"
#include "api/peer.h"
#include "base/err.h"

#include <stdio.h>
#include <string.h>

static int
find_topic(const struct api_request *r, const char *name, struct resource *resource)
{
    const struct cluster_topic *topic = peer_topic(r, name);
    if (!topic)
        return -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (!peer_may_see(r, topic))
        return peer_check_describe(r, topic);
    *resource = (struct resource){.topic = topic, .settings = &topic->settings};
    return 0;
}

static int
find_busd(const struct api_request *r, const char *name, struct resource *resource)
{
    int32_t own = controller_node(r->api->wiring.controller);
    char own_name[16];
    snprintf(own_name, sizeof own_name, "%d", own);
    bool everywhere = name[0] == '\0';
    if (!everywhere && strcmp(name, own_name) != 0)
        return err_set(BUS_ERR_INVALID_REQUEST,
            "there is no node \"%s\": this one is %d, and \"\" stands for every node", name, own);
    *resource = (struct resource){
        .settings = &request_cluster(r)->settings,
        .node = everywhere ? -1 : own,
    };
    return 0;
}

int
resource_find(const struct api_request *r, int8_t type, const char *name, struct resource *resource)
{
    switch (type) {
    case RESOURCE_TOPIC:
        return find_topic(r, name, resource);
    case RESOURCE_BROKER:
        return find_busd(r, name, resource);
    default:
        return err_set(BUS_ERR_INVALID_REQUEST,
            "resources of type %d have no configuration here: topics (2) and brokers (4) do", type);
    }
}
