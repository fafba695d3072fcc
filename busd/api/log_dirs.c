/* SPDX-License-Identifier: Apache-2.0
 * DescribeLogDirs: what the partitions occupy in the data folder.
 */
#include "api/peer.h"
#include "api/table.h"
#include "base/err.h"

#include <string.h>
#include <sys/statvfs.h>

enum { DISK_FROM_VERSION = 4 };

/** What is asked for, by name: topics may go while the logs are opened turn by turn. */
struct wanted {
    const char *name;
    const int32_t *partitions; /* NULL: all below `count` */
    int32_t count;
};

struct listing {
    struct wanted *topics;
    size_t count;
    size_t at;                                           /* the topic that comes next */
    int32_t part;                                        /* and its partition */
    struct describe_log_dirs_response_result_topic *row; /* of that topic; NULL not begun */
};

/* ---- one partition -------------------------------------------------------------------------- */

static int
add_row(struct api_request *r, const struct wanted *wanted, int32_t partition, int64_t bytes)
{
    struct listing *l = r->state;
    struct describe_log_dirs_response *out = r->response;
    struct describe_log_dirs_response_result *dir = &out->results[0];
    if (!l->row) {
        l->row = &dir->topics[dir->topics_count++];
        l->row->name = wanted->name;
        l->row->partitions = wire_array(&describe_log_dirs_response_result_topic_partition_schema,
            &r->arena, (size_t)wanted->count);
        if (!l->row->partitions)
            return -BUS_ERR_NO_MEMORY;
    }
    struct describe_log_dirs_response_result_topic_partition *row =
        &l->row->partitions[l->row->partitions_count++];
    row->partition_index = partition;
    row->partition_size = bytes;
    return 0;
}

/** What does not exist, and what cannot be opened, is left out, as Kafka does it. */
static int
describe(struct api_request *r, const struct wanted *wanted, int32_t partition)
{
    const struct cluster_topic *topic = cluster_topic(request_cluster(r), wanted->name);
    struct open_log *log;
    struct log_usage usage;
    if (!topic || !peer_may_see(r, topic) || !cluster_partition(topic, partition))
        return 0;
    int rc = peer_log(r, topic, partition, &log);
    if (rc < 0) {
        peer_error(r, rc);
        return 0;
    }
    log_usage(log->log, &usage);
    return add_row(r, wanted, partition, usage.bytes);
}

/** Each partition may have to be opened: many of them are looked at in several turns. */
static int
describe_on(struct api_request *r)
{
    struct listing *l = r->state;
    int64_t since_ms = request_now_ms(r);
    r->wake = describe_on;
    while (l->at < l->count) {
        const struct wanted *wanted = &l->topics[l->at];
        if (l->part == wanted->count) {
            l->at++;
            l->part = 0;
            l->row = NULL;
            continue;
        }
        int32_t i = l->part++;
        int rc = describe(r, wanted, wanted->partitions ? wanted->partitions[i] : i);
        if (rc < 0)
            return rc;
        if (request_yields(r, since_ms))
            return HANDLED_PARKED;
    }
    return HANDLED_DONE;
}

/* ---- the request ---------------------------------------------------------------------------- */

static int
want_all(struct api_request *r, struct listing *l)
{
    const struct cluster *cluster = request_cluster(r);
    l->topics = arena_array(&r->arena, cluster->topic_count, sizeof *l->topics);
    for (; l->topics && l->count < cluster->topic_count; l->count++) {
        const struct cluster_topic *topic = cluster_topic_at(cluster, l->count);
        l->topics[l->count] =
            (struct wanted){arena_string(&r->arena, topic->name, strlen(topic->name)), NULL,
                topic->partition_count};
        if (!l->topics[l->count].name)
            return -BUS_ERR_NO_MEMORY;
    }
    return l->topics ? 0 : -BUS_ERR_NO_MEMORY;
}

static int
want_named(struct api_request *r, struct listing *l)
{
    const struct describe_log_dirs_request *request = r->message;
    size_t partitions = 0;
    l->count = (size_t)request->topics_count;
    l->topics = arena_array(&r->arena, l->count, sizeof *l->topics);
    for (size_t i = 0; l->topics && i < l->count; i++) {
        const struct describe_log_dirs_request_topic *topic = &request->topics[i];
        l->topics[i] = (struct wanted){topic->topic, topic->partitions, topic->partitions_count};
        partitions += (size_t)topic->partitions_count;
    }
    return l->topics ? peer_check_count(r, partitions) : -BUS_ERR_NO_MEMORY;
}

static void
tell_disk(struct api_request *r, struct describe_log_dirs_response_result *dir)
{
    struct statvfs disk;
    if (r->header.api_version < DISK_FROM_VERSION || statvfs(dir->log_dir, &disk) < 0)
        return;
    dir->total_bytes = (int64_t)(disk.f_blocks * disk.f_frsize);
    dir->usable_bytes = (int64_t)(disk.f_bavail * disk.f_frsize);
}

int
handle_describe_log_dirs(struct api_request *r)
{
    const struct describe_log_dirs_request *request = r->message;
    struct describe_log_dirs_response *out = r->response;
    int rc = peer_check_cluster(r, ACL_DESCRIBE, "describe the data folder", true);
    if (rc < 0) {
        out->error_code = peer_error(r, rc);
        return HANDLED_DONE;
    }
    struct listing *l = arena_alloc(&r->arena, sizeof *l);
    out->results = wire_array(&describe_log_dirs_response_result_schema, &r->arena, 1);
    if (!l || !out->results)
        return -BUS_ERR_NO_MEMORY;
    out->results_count = 1;
    out->results[0].log_dir = r->api->wiring.data_folder;
    tell_disk(r, &out->results[0]);
    r->state = l;
    rc = request->topics_count < 0 ? want_all(r, l) : want_named(r, l);
    if (rc < 0)
        return rc;
    out->results[0].topics =
        wire_array(&describe_log_dirs_response_result_topic_schema, &r->arena, l->count);
    return out->results[0].topics ? describe_on(r) : -BUS_ERR_NO_MEMORY;
}
