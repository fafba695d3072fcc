/* SPDX-License-Identifier: Apache-2.0
 * ElectLeaders, AlterPartitionReassignments, ListPartitionReassignments: what one node has to say
 * about where partitions lie and who leads them. Nothing ever moves, and each partition has its
 * leader already.
 */
#include "api/peer.h"
#include "api/placement.h"
#include "api/table.h"
#include "base/err.h"

/** The topic of a partition that exists; NULL: *rc tells why. */
static const struct cluster_topic *
find(const struct api_request *r, const char *name, int32_t partition, int *rc)
{
    const struct cluster_topic *topic = peer_topic(r, name);
    *rc = -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (!topic)
        return NULL;
    if (!cluster_partition(topic, partition)) {
        *rc = err_set(BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION,
            "topic %s has no partition %d: it has %d, counted from 0", name, partition,
            topic->partition_count);
        return NULL;
    }
    *rc = 0;
    return topic;
}

/* ---- ElectLeaders --------------------------------------------------------------------------- */

enum { ELECTION_TYPE_MAX = 1 }; /* 0: the preferred replica, 1: one out of sync if need be */

static int
elect(const struct api_request *r, const char *name, int32_t partition)
{
    int rc;
    if (!find(r, name, partition, &rc))
        return rc;
    return err_set(BUS_ERR_ELECTION_NOT_NEEDED, "topic %s partition %d has its leader: node %d",
        name, partition, controller_node(r->api->wiring.controller));
}

static int
elect_in_topic(struct api_request *r, const struct elect_leaders_request_topic *wanted,
    struct elect_leaders_response_topic *out)
{
    out->topic = wanted->topic;
    out->partition_result = wire_array(&elect_leaders_response_topic_partition_schema, &r->arena,
        (size_t)wanted->partitions_count);
    if (!out->partition_result)
        return -BUS_ERR_NO_MEMORY;
    out->partition_result_count = wanted->partitions_count;
    for (int32_t i = 0; i < wanted->partitions_count; i++) {
        int rc = elect(r, wanted->topic, wanted->partitions[i]);
        out->partition_result[i] = (struct elect_leaders_response_topic_partition){
            wanted->partitions[i], peer_error(r, rc), request_error_text(r)};
    }
    return 0;
}

static int
check_elect(const struct api_request *r)
{
    const struct elect_leaders_request *request = r->message;
    size_t partitions = 0;
    for (int32_t i = 0; i < request->topic_partitions_count; i++)
        partitions += (size_t)request->topic_partitions[i].partitions_count;
    int rc = peer_check_admin(r, "elect leaders");
    if (rc == 0 && (request->election_type < 0 || request->election_type > ELECTION_TYPE_MAX))
        rc = err_set(BUS_ERR_INVALID_REQUEST,
            "there is no election type %d: 0 is preferred, 1 is unclean", request->election_type);
    return rc == 0 ? peer_check_count(r, partitions) : rc;
}

int
handle_elect_leaders(struct api_request *r)
{
    const struct elect_leaders_request *request = r->message;
    struct elect_leaders_response *out = r->response;
    int rc = check_elect(r);
    out->error_code = peer_error(r, rc);
    /* Asked for all partitions, Kafka tells only of those that needed an election: none does. */
    if (rc < 0 || request->topic_partitions_count <= 0)
        return HANDLED_DONE;
    out->replica_election_results = wire_array(
        &elect_leaders_response_topic_schema, &r->arena, (size_t)request->topic_partitions_count);
    if (!out->replica_election_results)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < request->topic_partitions_count && rc == 0; i++)
        rc = elect_in_topic(r, &request->topic_partitions[i],
            &out->replica_election_results[out->replica_election_results_count++]);
    return rc < 0 ? rc : HANDLED_DONE;
}

/* ---- AlterPartitionReassignments ------------------------------------------------------------- */

/** Where it is already is the only place that it can be assigned to. */
static int
reassign(const struct api_request *r, const char *name,
    const struct alter_partition_reassignments_request_topic_partition *wanted)
{
    int rc;
    if (!find(r, name, wanted->partition_index, &rc))
        return rc;
    if (wanted->replicas_count < 0)
        return err_set(BUS_ERR_NO_REASSIGNMENT_IN_PROGRESS,
            "topic %s partition %d is not being moved", name, wanted->partition_index);
    return placement_check(r, wanted->replicas, wanted->replicas_count);
}

static int
reassign_topic(struct api_request *r,
    const struct alter_partition_reassignments_request_topic *wanted,
    struct alter_partition_reassignments_response_topic *out)
{
    out->name = wanted->name;
    out->partitions = wire_array(&alter_partition_reassignments_response_topic_partition_schema,
        &r->arena, (size_t)wanted->partitions_count);
    if (!out->partitions)
        return -BUS_ERR_NO_MEMORY;
    out->partitions_count = wanted->partitions_count;
    for (int32_t i = 0; i < wanted->partitions_count; i++) {
        int rc = reassign(r, wanted->name, &wanted->partitions[i]);
        out->partitions[i] = (struct alter_partition_reassignments_response_topic_partition){
            wanted->partitions[i].partition_index, peer_error(r, rc),
            rc < 0 ? request_error_text(r) : NULL};
    }
    return 0;
}

static int
check_reassign(const struct api_request *r)
{
    const struct alter_partition_reassignments_request *request = r->message;
    size_t partitions = 0;
    for (int32_t i = 0; i < request->topics_count; i++)
        partitions += (size_t)request->topics[i].partitions_count;
    int rc = peer_check_admin(r, "move partitions");
    return rc == 0 ? peer_check_count(r, partitions) : rc;
}

int
handle_alter_partition_reassignments(struct api_request *r)
{
    const struct alter_partition_reassignments_request *request = r->message;
    struct alter_partition_reassignments_response *out = r->response;
    int rc = check_reassign(r);
    if (rc < 0) {
        out->error_code = peer_error(r, rc);
        out->error_message = request_error_text(r);
        return HANDLED_DONE;
    }
    out->responses = wire_array(&alter_partition_reassignments_response_topic_schema, &r->arena,
        (size_t)request->topics_count);
    if (!out->responses)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < request->topics_count && rc == 0; i++)
        rc = reassign_topic(r, &request->topics[i], &out->responses[out->responses_count++]);
    return rc < 0 ? rc : HANDLED_DONE;
}

/* ---- ListPartitionReassignments -------------------------------------------------------------- */

int
handle_list_partition_reassignments(struct api_request *r)
{
    struct list_partition_reassignments_response *out = r->response;
    int rc = peer_check_cluster(r, ACL_DESCRIBE, "see what is being moved", true);
    out->error_code = peer_error(r, rc);
    out->error_message = rc < 0 ? request_error_text(r) : NULL;
    return HANDLED_DONE; /* with an empty list: nothing is being moved */
}
