/* SPDX-License-Identifier: Apache-2.0
 * DeleteRecords: moves the start of partitions.
 */
#include "api/authorize.h"
#include "api/peer.h"
#include "api/table.h"
#include "base/err.h"

/** Who may write in place could erase as well; else it takes an administrator. */
static int
check_delete(const struct api_request *r, const struct cluster_topic *topic)
{
    bool direct = peer_access(r, topic).direct;
    if (!authorize(r, ACL_DELETE, ACL_TOPIC, topic->name, direct))
        return err_set(BUS_ERR_TOPIC_AUTHORIZATION_FAILED,
            "%s may not delete records of topic %s: its setting access.direct and the access "
            "rules say who may",
            r->peer->name, topic->name);
    if (!settings_list_has(&topic->settings, TOPIC_CLEANUP_POLICY, "delete"))
        return err_set(BUS_ERR_POLICY_VIOLATION,
            "records of topic %s go by compaction alone: its cleanup.policy lacks delete",
            topic->name);
    return 0;
}

static int
delete_below(struct api_request *r, const struct cluster_topic *topic,
    const struct delete_records_request_topic_partition *wanted, int64_t *start)
{
    struct open_log *log;
    int rc = check_delete(r, topic);
    if (rc == 0)
        rc = peer_log(r, topic, wanted->partition_index, &log);
    if (rc < 0)
        return rc;
    if (wanted->offset < -1)
        return err_set(BUS_ERR_OFFSET_OUT_OF_RANGE, "topic %s partition %d has no offset %lld",
            topic->name, wanted->partition_index, (long long)wanted->offset);
    return log_set_start(log->log, wanted->offset, start);
}

static int
fill_topic(struct api_request *r, const struct delete_records_request_topic *wanted,
    struct delete_records_response_topic *out)
{
    const struct cluster_topic *topic = peer_topic(r, wanted->name);
    out->name = wanted->name;
    out->partitions_count = wanted->partitions_count;
    out->partitions = wire_array(&delete_records_response_topic_partition_schema, &r->arena,
        (size_t)wanted->partitions_count);
    if (!out->partitions)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < wanted->partitions_count; i++) {
        struct delete_records_response_topic_partition *row = &out->partitions[i];
        int64_t start = -1;
        int rc = topic ? delete_below(r, topic, &wanted->partitions[i], &start)
                       : -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
        row->partition_index = wanted->partitions[i].partition_index;
        row->error_code = peer_error(r, rc);
        row->low_watermark = rc < 0 ? -1 : start;
    }
    return 0;
}

int
handle_delete_records(struct api_request *r)
{
    const struct delete_records_request *request = r->message;
    struct delete_records_response *out = r->response;
    out->topics =
        wire_array(&delete_records_response_topic_schema, &r->arena, (size_t)request->topics_count);
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
