/* SPDX-License-Identifier: Apache-2.0
 * Who may do what with a group. A group has no owner and no list of its own: what counts is whether
 * the peer may read what the group reads.
 */
#include "api/authorize.h"
#include "api/coordinator.h"
#include "api/peer.h"
#include "api/subscription.h"

#include <stdlib.h>
#include <string.h>

struct group *
coordinator_find(const struct api_request *r, const char *group)
{
    return groups_find(coordinator_groups(r->api->coordinator), group);
}

bool
coordinator_may_read(const struct api_request *r, const char *name)
{
    const struct cluster_topic *topic = cluster_topic(request_cluster(r), name);
    return !topic || peer_check_describe(r, topic) == 0;
}

static bool
is_forbidden(void *context, const char *topic, size_t n)
{
    const struct api_request *r = context;
    char name[CLUSTER_TOPIC_NAME_MAX + 1];
    if (n >= sizeof name)
        return false;
    memcpy(name, topic, n);
    name[n] = '\0';
    return !coordinator_may_read(r, name);
}

enum bus_err
coordinator_check_rules(const struct api_request *r, const char *id, enum acl_operation operation)
{
    return authorize(r, operation, ACL_GROUP, id, true) ? BUS_ERR_NONE
                                                        : BUS_ERR_GROUP_AUTHORIZATION_FAILED;
}

enum bus_err
coordinator_check_access(const struct api_request *r, const char *id, enum acl_operation operation)
{
    enum acl_answer answer = authorize_ask(r->api, r->peer, operation, ACL_GROUP, id);
    if (answer != ACL_SILENT)
        return answer == ACL_ALLOWED ? BUS_ERR_NONE : BUS_ERR_GROUP_AUTHORIZATION_FAILED;
    const struct group *group = coordinator_find(r, id);
    if (!group || subscription_walk(group, is_forbidden, (void *)r) != SUBSCRIPTION_FOUND)
        return BUS_ERR_NONE;
    return BUS_ERR_GROUP_AUTHORIZATION_FAILED;
}

static int
check_position(
    void *context, const char *topic, int32_t partition, const struct offsets_position *position)
{
    (void)partition;
    (void)position;
    return coordinator_may_read(context, topic) ? 0 : -BUS_ERR_GROUP_AUTHORIZATION_FAILED;
}

enum bus_err
coordinator_check_offsets(const struct api_request *r, const char *id, enum acl_operation operation)
{
    enum bus_err error = coordinator_check_access(r, id, operation);
    if (error || authorize_ask(r->api, r->peer, operation, ACL_GROUP, id) == ACL_ALLOWED)
        return error;
    int rc = offsets_each(r->api->offsets, id, check_position, (void *)r);
    return rc == 0 ? BUS_ERR_NONE : (enum bus_err) - rc;
}

int16_t
coordinator_code(const struct api_request *r, enum bus_err error)
{
    return peer_error(r, (int)error);
}

enum bus_err
coordinator_error(int rc)
{
    enum bus_err error = (enum bus_err)abs(rc);
    switch (error) {
    case BUS_ERR_NO_MEMORY:
    case BUS_ERR_LIMIT_REACHED:
    case BUS_ERR_REQUEST_TIMED_OUT:
    case BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION: /* of the topic that the offsets are in */
        return BUS_ERR_COORDINATOR_NOT_AVAILABLE;
    default:
        return error;
    }
}
