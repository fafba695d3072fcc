/* SPDX-License-Identifier: Apache-2.0
 * Answers of the coordinator to parked JoinGroup and SyncGroup requests; see struct group_ops.
 */
#ifndef API_JOINING_H
#define API_JOINING_H

#include "core/group.h"

/** group_ops.joined: fills the response and, if the request was parked, sends it. */
void joining_answered(
    void *context, struct group_waiter *waiter, const struct group_joined *answer);

/** group_ops.synced: the same for a SyncGroup. */
void syncing_answered(
    void *context, struct group_waiter *waiter, const struct group_synced *answer);

#endif
