/* SPDX-License-Identifier: Apache-2.0
 * OffsetFetch: what groups have committed. Every answer is made in the layout for several groups;
 * older versions get the rows of the one group that they asked for.
 */
#include "api/coordinator.h"
#include "api/peer.h"
#include "api/table.h"
#include "base/err.h"

#include <string.h>

enum { ONE_GROUP_UNTIL_VERSION = 7 };

/* ---- named partitions ----------------------------------------------------------------------- */

static void
fill_row(struct offset_fetch_response_group_topic_partition *row, int32_t partition,
    const struct offsets_position *position)
{
    *row = (struct offset_fetch_response_group_topic_partition){
        .partition_index = partition,
        .committed_offset = position ? position->offset : -1,
        .committed_leader_epoch = position ? position->leader_epoch : -1,
        .metadata = position ? position->metadata : "",
    };
}

static int
fill_topic(struct api_request *r, const char *group,
    const struct offset_fetch_request_group_topic *wanted, enum bus_err error,
    struct offset_fetch_response_group_topic *out)
{
    out->name = wanted->name;
    out->partitions = wire_array(&offset_fetch_response_group_topic_partition_schema, &r->arena,
        (size_t)wanted->partition_indexes_count);
    if (!out->partitions)
        return -BUS_ERR_NO_MEMORY;
    if (!error && !coordinator_may_read(r, wanted->name))
        error = BUS_ERR_TOPIC_AUTHORIZATION_FAILED;
    for (; out->partitions_count < wanted->partition_indexes_count; out->partitions_count++) {
        int32_t partition = wanted->partition_indexes[out->partitions_count];
        struct offset_fetch_response_group_topic_partition *row =
            &out->partitions[out->partitions_count];
        struct offsets_position position;
        bool found =
            !error && offsets_find(r->api->offsets, group, wanted->name, partition, &position);
        fill_row(row, partition, found ? &position : NULL);
        row->error_code = coordinator_code(r, error);
    }
    return 0;
}

static int
fill_named(struct api_request *r, const struct offset_fetch_request_group *wanted,
    enum bus_err error, struct offset_fetch_response_group *out)
{
    out->topics = wire_array(
        &offset_fetch_response_group_topic_schema, &r->arena, (size_t)wanted->topics_count);
    if (!out->topics)
        return -BUS_ERR_NO_MEMORY;
    int rc = 0;
    for (int32_t i = 0; i < wanted->topics_count && rc == 0; i++)
        rc = fill_topic(
            r, wanted->group_id, &wanted->topics[i], error, &out->topics[out->topics_count++]);
    return rc;
}

/* ---- all that there are --------------------------------------------------------------------- */

/** Rows come by topic: in a first walk they are counted, in a second one filled in. */
struct walk {
    struct api_request *r;
    struct offset_fetch_response_group *out;
    struct offset_fetch_response_group_topic_partition *rows; /* of all topics */
    size_t count;
};

static int
count_row(
    void *context, const char *name, int32_t partition, const struct offsets_position *position)
{
    struct walk *w = context;
    (void)name;
    (void)partition;
    (void)position;
    w->count++;
    return 0;
}

static int
start_topic(struct walk *w, const char *name)
{
    struct offset_fetch_response_group *out = w->out;
    struct offset_fetch_response_group_topic *topic = &out->topics[out->topics_count];
    topic->name = arena_string(&w->r->arena, name, strlen(name));
    topic->partitions = w->rows;
    if (!topic->name)
        return -BUS_ERR_NO_MEMORY;
    out->topics_count++;
    return 0;
}

/** Of topics that the peer may not read it does not hear. */
static int
add_row(void *context, const char *name, int32_t partition, const struct offsets_position *position)
{
    struct walk *w = context;
    struct offset_fetch_response_group *out = w->out;
    if (!coordinator_may_read(w->r, name))
        return 0;
    bool is_next =
        out->topics_count == 0 || strcmp(out->topics[out->topics_count - 1].name, name) != 0;
    if (is_next && start_topic(w, name) < 0)
        return -BUS_ERR_NO_MEMORY;
    struct offset_fetch_response_group_topic *topic = &out->topics[out->topics_count - 1];
    fill_row(&topic->partitions[topic->partitions_count++], partition, position);
    w->rows++;
    return 0;
}

static int
fill_all(struct api_request *r, const char *group, struct offset_fetch_response_group *out)
{
    struct walk w = {.r = r, .out = out};
    int rc = offsets_each(r->api->offsets, group, count_row, &w);
    if (rc < 0)
        return rc;
    out->topics = wire_array(&offset_fetch_response_group_topic_schema, &r->arena, w.count);
    w.rows = wire_array(&offset_fetch_response_group_topic_partition_schema, &r->arena, w.count);
    if (!out->topics || !w.rows)
        return -BUS_ERR_NO_MEMORY;
    return offsets_each(r->api->offsets, group, add_row, &w);
}

/* ---- the request ---------------------------------------------------------------------------- */

static int
fill_group(struct api_request *r, const struct offset_fetch_request_group *wanted,
    struct offset_fetch_response_group *out)
{
    enum bus_err error = coordinator_ready(r->api->coordinator, wanted->group_id);
    if (!error)
        error = coordinator_check_rules(r, wanted->group_id, ACL_DESCRIBE);
    out->group_id = wanted->group_id;
    out->error_code = coordinator_code(r, error);
    if (wanted->topics_count >= 0)
        return fill_named(r, wanted, error, out);
    return error ? 0 : fill_all(r, wanted->group_id, out);
}

static int
fetch_several(struct api_request *r)
{
    const struct offset_fetch_request *request = r->message;
    struct offset_fetch_response *out = r->response;
    out->groups =
        wire_array(&offset_fetch_response_group_schema, &r->arena, (size_t)request->groups_count);
    if (!out->groups)
        return -BUS_ERR_NO_MEMORY;
    int rc = 0;
    for (int32_t i = 0; i < request->groups_count && rc == 0; i++)
        rc = fill_group(r, &request->groups[i], &out->groups[out->groups_count++]);
    return rc < 0 ? rc : HANDLED_DONE;
}

static int
ask_for_one(struct api_request *r, struct offset_fetch_request_group *wanted)
{
    const struct offset_fetch_request *request = r->message;
    wanted->group_id = request->group_id;
    wanted->topics_count = request->topics_count;
    if (request->topics_count < 0)
        return 0;
    wanted->topics = wire_array(
        &offset_fetch_request_group_topic_schema, &r->arena, (size_t)request->topics_count);
    for (int32_t i = 0; wanted->topics && i < request->topics_count; i++)
        wanted->topics[i] = (struct offset_fetch_request_group_topic){request->topics[i].name,
            request->topics[i].partition_indexes, request->topics[i].partition_indexes_count};
    return wanted->topics ? 0 : -BUS_ERR_NO_MEMORY;
}

static int
tell_one(struct api_request *r, const struct offset_fetch_response_group *group)
{
    struct offset_fetch_response *out = r->response;
    out->error_code = group->error_code;
    out->topics =
        wire_array(&offset_fetch_response_topic_schema, &r->arena, (size_t)group->topics_count);
    for (; out->topics && out->topics_count < group->topics_count; out->topics_count++) {
        const struct offset_fetch_response_group_topic *from = &group->topics[out->topics_count];
        struct offset_fetch_response_topic *to = &out->topics[out->topics_count];
        to->name = from->name;
        to->partitions = wire_array(&offset_fetch_response_topic_partition_schema, &r->arena,
            (size_t)from->partitions_count);
        if (!to->partitions)
            return -BUS_ERR_NO_MEMORY;
        to->partitions_count = from->partitions_count;
        for (int32_t i = 0; i < from->partitions_count; i++)
            to->partitions[i] = (struct offset_fetch_response_topic_partition){
                from->partitions[i].partition_index, from->partitions[i].committed_offset,
                from->partitions[i].committed_leader_epoch, from->partitions[i].metadata,
                from->partitions[i].error_code};
    }
    return out->topics ? HANDLED_DONE : -BUS_ERR_NO_MEMORY;
}

int
handle_offset_fetch(struct api_request *r)
{
    struct offset_fetch_request_group wanted = {0};
    struct offset_fetch_response_group group = {0};
    if (r->header.api_version > ONE_GROUP_UNTIL_VERSION)
        return fetch_several(r);
    int rc = ask_for_one(r, &wanted);
    if (rc == 0)
        rc = fill_group(r, &wanted, &group);
    return rc < 0 ? rc : tell_one(r, &group);
}
