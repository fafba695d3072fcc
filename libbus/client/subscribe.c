/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "client/bus.h"
#include "client/commit.h"
#include "client/membership.h"

#include <stdio.h>

enum { TOPICS_MAX = 1000 };

void
bus_on_rebalance(struct bus_consumer *consumer, bus_rebalanced *rebalanced, void *context)
{
    consumer->rebalanced = rebalanced;
    consumer->rebalanced_context = context;
}

int
bus_subscribe(struct bus_consumer *consumer, const char *const *topics, size_t count)
{
    if (!*consumer->settings.group_id)
        return err_set(BUS_ERR_INVALID_GROUP_ID, "the consumer has no group: set group.id");
    if (count < 1 || count > TOPICS_MAX)
        return err_set(BUS_ERR_INVALID_ARGUMENT, "a subscription to %zu topics: 1 to %d can be had",
            count, TOPICS_MAX);
    if (consumer->membership)
        return membership_subscribe(consumer->membership, topics, count);
    if (consumer->count > 0)
        return err_set(BUS_ERR_WRONG_STATE,
            "partitions were assigned with bus_assign(): assign none before bus_subscribe()");
    return membership_start(consumer, topics, count);
}

int
bus_unsubscribe(struct bus_consumer *consumer)
{
    if (!consumer->membership)
        return 0;
    int rc = membership_give_up(consumer->membership, BUS_REVOKED);
    if (rc < 0)
        return rc;
    commits_finish(consumer, bus_request_deadline_ns(consumer->bus));
    membership_stop(&consumer->membership);
    return 0;
}

int32_t
bus_group_member(struct bus_consumer *consumer, char *member_id, size_t size)
{
    char id[MEMBER_ID_BYTES_MAX] = "";
    int32_t generation;
    if (consumer->membership)
        membership_identity(consumer->membership, id, &generation);
    if (size > 0)
        snprintf(member_id, size, "%s", id);
    return consumer->membership ? consumer->membership->taken_generation : -1;
}
