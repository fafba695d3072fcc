/* SPDX-License-Identifier: Apache-2.0
 * CompactTopic: starts the compaction of a topic, and tells where it stands.
 */
#include "api/authorize.h"
#include "api/peer.h"
#include "api/table.h"
#include "base/err.h"

#include <string.h>

enum { PERMILLE = 1000 };

/** Who may write in place may have it tidied up; else it takes an administrator. */
static int
check_start(const struct api_request *r, const struct cluster_topic *topic)
{
    bool direct = peer_access(r, topic).direct;
    if (authorize(r, ACL_ALTER, ACL_TOPIC, topic->name, direct))
        return 0;
    return err_set(BUS_ERR_TOPIC_AUTHORIZATION_FAILED,
        "%s may not start the compaction of topic %s: its setting access.direct and the access "
        "rules say who may",
        r->peer->name, topic->name);
}

static int
check(const struct api_request *r, const struct cluster_topic *topic, bool start)
{
    if (!topic)
        return -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
    int rc = peer_may_see(r, topic) ? 0 : peer_check_describe(r, topic);
    if (rc == 0 && start)
        rc = check_start(r, topic);
    if (rc == 0 && start && !settings_list_has(&topic->settings, TOPIC_CLEANUP_POLICY, "compact"))
        rc = err_set(BUS_ERR_POLICY_VIOLATION,
            "topic %s is not compacted: its cleanup.policy lacks compact", topic->name);
    return rc;
}

static int
fill_status(struct api_request *r, struct log *log, struct compact_topic_response_partition *out)
{
    struct log_cleaning_status status;
    log_cleaning_status(log, &status);
    out->state = (int8_t)status.state;
    out->clean_offset = status.clean_offset;
    out->dirty_permille = (int32_t)(status.dirty_ratio * PERMILLE);
    out->bytes_done = status.bytes_done;
    out->bytes_total = status.bytes_total;
    out->runs = status.runs;
    out->ended_ms = status.ended_ms;
    out->bytes_before = status.bytes_before;
    out->bytes_after = status.bytes_after;
    out->records_removed = status.records_dropped;
    if (status.failure[0] == '\0')
        return 0;
    out->failure = arena_string(&r->arena, status.failure, strlen(status.failure));
    return out->failure ? 0 : -BUS_ERR_NO_MEMORY;
}

/** One partition; what fails is its own affair. */
static int
fill_partition(struct api_request *r, const struct cluster_topic *topic, int32_t partition,
    struct compact_topic_response_partition *out)
{
    const struct compact_topic_request *request = r->message;
    struct open_log *log;
    int rc = peer_log(r, topic, partition, &log);
    if (rc == 0 && request->start)
        rc = log_compact(log->log);
    out->partition = partition;
    out->error_code = peer_error(r, rc);
    return rc == 0 ? fill_status(r, log->log, out) : 0;
}

/** The partitions that the request names, or all. */
static int
fill_partitions(struct api_request *r, const struct cluster_topic *topic)
{
    const struct compact_topic_request *request = r->message;
    struct compact_topic_response *out = r->response;
    bool all = request->partitions_count == 0;
    int32_t count = all ? topic->partition_count : request->partitions_count;
    out->partitions =
        wire_array(&compact_topic_response_partition_schema, &r->arena, (size_t)count);
    if (!out->partitions)
        return -BUS_ERR_NO_MEMORY;
    int rc = 0;
    for (int32_t i = 0; rc == 0 && i < count; i++)
        rc = fill_partition(
            r, topic, all ? i : request->partitions[i], &out->partitions[out->partitions_count++]);
    return rc;
}

int
handle_compact_topic(struct api_request *r)
{
    const struct compact_topic_request *request = r->message;
    struct compact_topic_response *out = r->response;
    const struct cluster_topic *topic = peer_topic(r, request->topic);
    int rc = check(r, topic, request->start);
    if (rc == 0)
        rc = peer_check_count(r, (size_t)request->partitions_count);
    out->error_code = peer_error(r, rc);
    if (rc < 0) {
        out->error_message = request_error_text(r);
        return HANDLED_DONE;
    }
    rc = fill_partitions(r, topic);
    return rc < 0 ? rc : HANDLED_DONE;
}
