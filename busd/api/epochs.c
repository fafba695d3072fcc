/* SPDX-License-Identifier: Apache-2.0
 * OffsetForLeaderEpoch: where the batches of an epoch end.
 */
#include "api/peer.h"
#include "api/table.h"
#include "base/err.h"

static int
find_end(struct api_request *r, const struct cluster_topic *topic,
    const struct offset_for_leader_epoch_request_topic_partition *wanted, struct log_epoch_end *end)
{
    struct open_log *log;
    int rc = peer_check_describe(r, topic);
    if (rc == 0)
        rc = peer_log(r, topic, wanted->partition, &log);
    if (rc == 0)
        rc = peer_check_epoch(topic, wanted->partition, wanted->current_leader_epoch);
    return rc < 0 ? rc : log_find_epoch_end(log->log, wanted->leader_epoch, end);
}

static int
fill_topic(struct api_request *r, const struct offset_for_leader_epoch_request_topic *wanted,
    struct offset_for_leader_epoch_response_topic *out)
{
    const struct cluster_topic *topic = peer_topic(r, wanted->topic);
    out->topic = wanted->topic;
    out->partitions_count = wanted->partitions_count;
    out->partitions = wire_array(&offset_for_leader_epoch_response_topic_partition_schema,
        &r->arena, (size_t)wanted->partitions_count);
    if (!out->partitions)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < wanted->partitions_count; i++) {
        struct log_epoch_end end = {-1, -1};
        int rc = topic ? find_end(r, topic, &wanted->partitions[i], &end)
                       : -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
        out->partitions[i].partition = wanted->partitions[i].partition;
        out->partitions[i].error_code = peer_error(r, rc);
        out->partitions[i].leader_epoch = end.leader_epoch;
        out->partitions[i].end_offset = end.end_offset;
    }
    return 0;
}

int
handle_offset_for_leader_epoch(struct api_request *r)
{
    const struct offset_for_leader_epoch_request *request = r->message;
    struct offset_for_leader_epoch_response *out = r->response;
    out->topics = wire_array(
        &offset_for_leader_epoch_response_topic_schema, &r->arena, (size_t)request->topics_count);
    if (!out->topics)
        return -BUS_ERR_NO_MEMORY;
    size_t count = 0;
    for (int32_t i = 0; i < request->topics_count; i++)
        count += (size_t)request->topics[i].partitions_count;
    int rc = peer_check_count(r, count);
    for (int32_t i = 0; i < request->topics_count && rc == 0; i++)
        rc = fill_topic(r, &request->topics[i], &out->topics[out->topics_count++]);
    return rc < 0 ? rc : HANDLED_DONE;
}
