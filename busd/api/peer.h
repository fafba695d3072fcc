/* SPDX-License-Identifier: Apache-2.0
 * What the one who asks may do, and how a failure is told to him.
 */
#ifndef API_PEER_H
#define API_PEER_H

#include "api/request.h"
#include "core/access.h"
#include "core/acl.h"

/** What the peer may do with a topic. */
struct access peer_access(const struct api_request *r, const struct cluster_topic *topic);

/** Whether the peer knows the topic at all: it may read or write. */
bool peer_may_see(const struct api_request *r, const struct cluster_topic *topic);

/** 0, or -BUS_ERR_TOPIC_AUTHORIZATION_FAILED that names topic, peer and setting. */
int peer_check_read(const struct api_request *r, const struct cluster_topic *topic);

/** The same for writing, through busd or in place. */
int peer_check_write(const struct api_request *r, const struct cluster_topic *topic);

/** Whether the peer may know where the topic's records begin and end: access.read and Describe. */
int peer_check_describe(const struct api_request *r, const struct cluster_topic *topic);

/**
 * Whether the access rules let the peer do this to a topic: 0, or -BUS_ERR_TOPIC_AUTHORIZATION_
 * FAILED; `what` as in "delete", `otherwise` counts where no rule is about the topic.
 */
int peer_check_topic(const struct api_request *r, enum acl_operation operation, const char *topic,
    const char *what, bool otherwise);

/** Whether the peer may create a topic of this name. 0 or -BUS_ERR_TOPIC_AUTHORIZATION_FAILED. */
int peer_check_create(const struct api_request *r, const char *topic);

/** Whether the peer may do everything; see api/authorize.h. */
bool peer_is_admin(const struct api_request *r);

/** As peer_check_topic() for the cluster: 0, or -BUS_ERR_CLUSTER_AUTHORIZATION_FAILED. */
int peer_check_cluster(
    const struct api_request *r, enum acl_operation operation, const char *what, bool otherwise);

/** Alter on the cluster, for administrators where no rule is about it; `what` as in "move logs". */
int peer_check_admin(const struct api_request *r, const char *what);

/** The bits of AuthorizedOperations for a topic. */
int32_t peer_topic_operations(const struct api_request *r, const struct cluster_topic *topic);

/** The same for the cluster. */
int32_t peer_cluster_operations(const struct api_request *r);

/** The same for a group. */
int32_t peer_group_operations(const struct api_request *r, const char *group);

/**
 * The error code for an answer. Clients on the Unix door know our own codes; others get the nearest
 * that Kafka has.
 */
int16_t peer_error(const struct api_request *r, int rc);

/**
 * A line in the trace about bytes that no sound client sends; err_text() says what is wrong with
 * them. At most one a second, so that nobody can flood the trace; the others are counted.
 */
void peer_tell_bad_data(const struct api_request *r);

/** The topic of a name; NULL with the error text set when there is none. Borrowed. */
struct cluster_topic *peer_topic(const struct api_request *r, const char *name);

/** The same by id. */
struct cluster_topic *peer_topic_of_id(const struct api_request *r, const struct uuid *id);

/**
 * Finds the log of a partition, opens it if need be. 0, -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION,
 * -BUS_ERR_NOT_LEADER_OR_FOLLOWER, or as logs_get().
 */
int peer_log(struct api_request *r, const struct cluster_topic *topic, int32_t partition,
    struct open_log **log);

/**
 * Whether a request may name so many partitions: each is looked for, on disk at times, so one that
 * names more than there are is refused. 0 or INVALID_REQUEST.
 */
int peer_check_count(const struct api_request *r, size_t partitions);

/**
 * Compares the leader epoch that a client believes in (-1: it does not say) with the present one:
 * 0, -BUS_ERR_FENCED_LEADER_EPOCH or -BUS_ERR_UNKNOWN_LEADER_EPOCH.
 */
int peer_check_epoch(const struct cluster_topic *topic, int32_t partition, int32_t epoch);

#endif
