/* SPDX-License-Identifier: Apache-2.0
 * ListOffsets: the ends of a partition, and its offsets by time.
 */
#include "api/isolation.h"
#include "api/peer.h"
#include "api/table.h"
#include "base/err.h"

/** Times below zero ask for places. */
enum {
    AT_LATEST = -1,
    AT_EARLIEST = -2,
    AT_MAX_TIMESTAMP = -3,  /* version 7 and up */
    AT_EARLIEST_LOCAL = -4, /* version 8 and up: there is no other storage than ours */
    AT_LATEST_TIERED = -5,  /* version 9 and up: nothing is there */
};

static int
find_latest(const struct api_request *r, const struct log_bounds *bounds, struct log_found *found)
{
    const struct list_offsets_request *request = r->message;
    int isolation = isolation_of(r, request->isolation_level);
    if (isolation < 0)
        return isolation;
    found->offset = isolation_end(isolation, bounds);
    found->leader_epoch = bounds->leader_epoch;
    return 0;
}

static int
find_earliest(struct log *log, const struct log_bounds *bounds, struct log_found *found)
{
    found->offset = bounds->start_offset;
    return log_find_epoch(log, found->offset, &found->leader_epoch);
}

static int
find_place(const struct api_request *r, struct log *log, int64_t place, struct log_found *found)
{
    struct log_bounds bounds;
    int rc = log_bounds(log, &bounds);
    if (rc < 0)
        return rc;
    int16_t version = r->header.api_version;
    *found = (struct log_found){.offset = -1, .timestamp = -1, .leader_epoch = -1};
    if (place == AT_LATEST)
        return find_latest(r, &bounds, found);
    if (place == AT_EARLIEST || (place == AT_EARLIEST_LOCAL && version >= 8))
        return find_earliest(log, &bounds, found);
    if (place == AT_MAX_TIMESTAMP && version >= 7)
        return log_find_max_time(log, found);
    if (place == AT_LATEST_TIERED && version >= 9)
        return 0;
    return err_set(BUS_ERR_UNSUPPORTED_VERSION, "ListOffsets version %d knows no timestamp %lld",
        version, (long long)place);
}

static int
find(struct api_request *r, const struct cluster_topic *topic,
    const struct list_offsets_request_topic_partition *wanted, struct log_found *found)
{
    struct open_log *log;
    int rc = peer_check_describe(r, topic);
    if (rc == 0)
        rc = peer_log(r, topic, wanted->partition_index, &log);
    if (rc == 0)
        rc = peer_check_epoch(topic, wanted->partition_index, wanted->current_leader_epoch);
    if (rc < 0)
        return rc;
    return wanted->timestamp < 0 ? find_place(r, log->log, wanted->timestamp, found)
                                 : log_find_time(log->log, wanted->timestamp, found);
}

static int
fill_topic(struct api_request *r, const struct list_offsets_request_topic *wanted,
    struct list_offsets_response_topic *out)
{
    const struct cluster_topic *topic = peer_topic(r, wanted->name);
    out->name = wanted->name;
    out->partitions_count = wanted->partitions_count;
    out->partitions = wire_array(
        &list_offsets_response_topic_partition_schema, &r->arena, (size_t)wanted->partitions_count);
    if (!out->partitions)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < wanted->partitions_count; i++) {
        struct log_found found;
        struct list_offsets_response_topic_partition *row = &out->partitions[i];
        int rc = topic ? find(r, topic, &wanted->partitions[i], &found)
                       : -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
        row->partition_index = wanted->partitions[i].partition_index;
        row->error_code = peer_error(r, rc);
        if (rc < 0)
            continue;
        row->offset = found.offset;
        row->timestamp = found.timestamp;
        row->leader_epoch = found.leader_epoch;
    }
    return 0;
}

int
handle_list_offsets(struct api_request *r)
{
    const struct list_offsets_request *request = r->message;
    struct list_offsets_response *out = r->response;
    out->topics =
        wire_array(&list_offsets_response_topic_schema, &r->arena, (size_t)request->topics_count);
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
