/* SPDX-License-Identifier: Apache-2.0
 * Looking up a topic.
 */
#ifndef CLIENT_METADATA_H
#define CLIENT_METADATA_H

#include "client/bus.h"

struct metadata_topic {
    struct uuid id;
    int32_t partitions;
};

/**
 * Asks busd for a topic, waiting for one that is being created. `create`: busd may create it, if
 * its settings permit. Fails with UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION,
 * TOPIC_AUTHORIZATION_FAILED or those of conn_call(). Thread: any. Blocks: until `deadline_ns`.
 */
int metadata_find(struct bus *bus, const char *name, bool create, int64_t deadline_ns,
    struct metadata_topic *topic);

/** The failure for a topic that does not exist, with the remedy in its text. */
int metadata_unknown(const char *name);

/** The number of partitions of a topic in a Metadata answer. */
int32_t metadata_count(const struct metadata_response_topic *topic);

#endif
