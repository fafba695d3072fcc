/* SPDX-License-Identifier: Apache-2.0
 * Steps that the sending calls and loans share.
 */
#ifndef CLIENT_SEND_H
#define CLIENT_SEND_H

#include "client/producer.h"

/** The partition for a message, or a failure. Thread: any. Blocks: for a partition not yet known.
 */
int send_choose(struct bus_topic *topic, const struct bus_message *message);

/** The timestamp for a message; `*now_ms` (0 at first) keeps the time of the call. */
int send_timestamp(const struct bus_message *message, int64_t *now_ms, int64_t *timestamp_ms);

/** Opens a lane if need be, and returns with its lock held. Blocks: for busd at the first time. */
int send_enter(struct bus_topic *topic, int32_t partition, struct lane **lane);

/** Waits until the sender is done with the waiter's record. No lock held. */
int send_await(
    struct bus_producer *producer, struct send_waiter *waiter, struct bus_delivery *delivery);

/** Waits until all below `end` is flushed, for delivery.timeout.ms. No lock held. */
int send_flush(struct lane *lane, int64_t end);

#endif
