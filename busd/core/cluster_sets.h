/* SPDX-License-Identifier: Apache-2.0
 * The sets inside the cluster state: topics by name and by id, nodes. Inside core/ only: others
 * change the state by commands.
 */
#ifndef CORE_CLUSTER_SETS_H
#define CORE_CLUSTER_SETS_H

#include "core/cluster.h"

/** A topic outside the sets, its id and partitions zeroed; NULL without memory. The name is
 * checked, the count positive. */
struct cluster_topic *cluster_topic_new(
    const struct cluster *cluster, const char *name, int32_t partition_count);

/** Frees a topic that is in no set; nulls the pointer. NULL inside is fine. */
void cluster_topic_free(struct cluster_topic **topic);

/** Makes sure that the next add cannot fail. 0 or NO_MEMORY. */
int cluster_reserve_topic(struct cluster *cluster);

/** Takes a topic into the sets; room was reserved. */
void cluster_add_topic(struct cluster *cluster, struct cluster_topic *topic);

/** Takes a topic out of the sets and gives it to the caller. */
void cluster_remove_topic(struct cluster *cluster, struct cluster_topic *topic);

/** Makes sure that the next set cannot fail. 0 or NO_MEMORY. */
int cluster_reserve_node(struct cluster *cluster);

/** Adds or replaces a node; room was reserved. */
void cluster_set_node(struct cluster *cluster, const struct cluster_node *node);

#endif
