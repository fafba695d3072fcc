/* SPDX-License-Identifier: Apache-2.0
 * Logs that nobody uses are not open, but their records grow old as well. So each partition with
 * closed segments is opened now and then, a few at a time; the store does the rest.
 */
#include "api/logs.h"
#include "api/request.h"
#include "base/err.h"
#include "base/trace.h"

enum { SWEEP_LOOKS_MAX = 64 }; /* partitions looked at in one step; one of them is opened at most */

/* Goes on to the next partition; NULL behind the last. */
static const struct cluster_topic *
next_partition(const struct cluster *cluster, struct api_sweep *sweep, int32_t *partition)
{
    const struct cluster_topic *topic = cluster_topic_at(cluster, sweep->topic);
    while (topic && sweep->partition >= topic->partition_count) {
        sweep->partition = 0;
        topic = cluster_topic_at(cluster, ++sweep->topic);
    }
    *partition = sweep->partition++;
    return topic;
}

/* Opens the log if it needs it. */
static bool
open_old(struct logs *logs, const struct cluster_topic *topic, int32_t partition)
{
    struct open_log *log;
    if (logs_find(logs, topic->id.b, partition) || !logs_has_closed(logs, topic, partition))
        return false;
    if (logs_get(logs, topic, partition, &log) < 0)
        trace(TRACE_WARNING, "looking after %s", err_text());
    return true;
}

bool
api_sweep(struct api *api, struct api_sweep *sweep)
{
    const struct cluster *cluster = &api->wiring.controller->cluster;
    for (int looks = 0; looks < SWEEP_LOOKS_MAX; looks++) {
        int32_t partition;
        const struct cluster_topic *topic = next_partition(cluster, sweep, &partition);
        if (!topic) {
            *sweep = (struct api_sweep){0};
            return false;
        }
        if (open_old(&api->logs, topic, partition))
            return true;
    }
    return true;
}
