/* SPDX-License-Identifier: Apache-2.0
 * OffsetCommit and OffsetDelete: changes of committed offsets.
 */
#include "api/coordinator.h"
#include "api/peer.h"
#include "api/subscription.h"
#include "api/table.h"
#include "base/err.h"

#include <stdlib.h>
#include <string.h>

enum { NOT_FOUND_FROM_VERSION = 9 };

/** A change until it is stored. */
struct change {
    struct offsets_job *job; /* NULL: none is under way */
    struct offsets_item *items;
    int16_t **errors; /* of each item in the response */
    size_t count;
    bool done;
};

static int
look(struct api_request *r)
{
    const struct change *change = r->state;
    return change->done ? HANDLED_DONE : HANDLED_PARKED;
}

static void
end_change(struct api_request *r)
{
    const struct change *change = r->state;
    if (change->job)
        offsets_forget_waiter(change->job);
}

static void
settle(struct api_request *r, enum bus_err error)
{
    struct change *change = r->state;
    for (size_t i = 0; i < change->count; i++)
        *change->errors[i] = coordinator_code(r, error);
    change->done = true;
}

static void
stored(void *context, int rc)
{
    struct api_request *r = context;
    struct change *change = r->state;
    change->job = NULL;
    settle(r, coordinator_error(rc));
    if (r->parked)
        request_wake(r);
}

static struct change *
make_change(struct api_request *r, size_t partitions)
{
    struct change *change = arena_alloc(&r->arena, sizeof *change);
    if (!change)
        return NULL;
    change->items = arena_array(&r->arena, partitions, sizeof *change->items);
    change->errors = arena_array(&r->arena, partitions, sizeof(int16_t *));
    r->state = change;
    r->wake = look;
    r->end = end_change;
    return change->items && change->errors ? change : NULL;
}

static void
add_item(struct change *change, const struct offsets_item *item, int16_t *error)
{
    change->items[change->count] = *item;
    change->errors[change->count++] = error;
}

/** Has the items stored, or removed; answers now or later. */
static int
make(struct api_request *r, const char *group, int64_t retention_ms,
    int (*how)(struct offsets *offsets, const struct offsets_commit *commit,
        const struct offsets_waiter *waiter, struct offsets_job **job))
{
    struct change *change = r->state;
    const struct offsets_commit commit = {
        .group = group,
        .items = change->items,
        .count = change->count,
        .retention_ms = retention_ms,
    };
    const struct offsets_waiter waiter = {stored, r};
    int rc = change->count > 0 ? how(r->api->offsets, &commit, &waiter, &change->job) : 0;
    if (rc != 0 || change->count == 0)
        settle(r, coordinator_error(rc));
    return look(r);
}

/** Whether the peer may commit for this partition, and it exists. */
static int
check_partition(const struct api_request *r, const char *name, int32_t partition)
{
    const struct cluster_topic *topic = peer_topic(r, name);
    int rc = topic ? peer_check_read(r, topic) : -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (rc == 0 && !cluster_partition(topic, partition))
        rc = -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
    return rc;
}

/* ---- OffsetCommit --------------------------------------------------------------------------- */

static enum bus_err
check_commit(const struct api_request *r)
{
    const struct offset_commit_request *request = r->message;
    const struct group_claim claim = {request->group_id, request->member_id,
        request->group_instance_id, request->generation_id_or_member_epoch};
    enum bus_err error = coordinator_ready(r->api->coordinator, request->group_id);
    if (!error)
        error = coordinator_check_rules(r, request->group_id, ACL_READ);
    if (!error)
        error = group_commit(coordinator_groups(r->api->coordinator), request_now_ms(r), &claim);
    if (error != BUS_ERR_GROUP_ID_NOT_FOUND)
        return error;
    if (offsets_known(r->api->offsets, request->group_id))
        return BUS_ERR_UNKNOWN_MEMBER_ID;
    return r->header.api_version < NOT_FOUND_FROM_VERSION ? BUS_ERR_ILLEGAL_GENERATION : error;
}

static int
check_row(const struct api_request *r, const char *topic,
    const struct offset_commit_request_topic_partition *row)
{
    int64_t metadata_max =
        settings_int(&request_cluster(r)->settings, BROKER_OFFSET_METADATA_MAX_BYTES);
    int rc = check_partition(r, topic, row->partition_index);
    if (rc < 0)
        return rc;
    if (row->committed_metadata && (int64_t)strlen(row->committed_metadata) > metadata_max)
        return -BUS_ERR_OFFSET_METADATA_TOO_LARGE;
    return row->committed_offset < 0 ? -BUS_ERR_INVALID_REQUEST : 0;
}

static void
take_row(struct api_request *r, const char *topic,
    const struct offset_commit_request_topic_partition *row, enum bus_err refused,
    struct offset_commit_response_topic_partition *out)
{
    const struct offsets_item item = {
        .topic = topic,
        .partition = row->partition_index,
        .leader_epoch = row->committed_leader_epoch,
        .offset = row->committed_offset,
        .metadata = row->committed_metadata,
    };
    int rc = refused ? -(int)refused : check_row(r, topic, row);
    out->partition_index = row->partition_index;
    out->error_code = peer_error(r, rc);
    if (rc == 0)
        add_item(r->state, &item, &out->error_code);
}

static int
take_rows(struct api_request *r, enum bus_err refused)
{
    const struct offset_commit_request *request = r->message;
    struct offset_commit_response *out = r->response;
    out->topics =
        wire_array(&offset_commit_response_topic_schema, &r->arena, (size_t)request->topics_count);
    for (; out->topics && out->topics_count < request->topics_count; out->topics_count++) {
        const struct offset_commit_request_topic *wanted = &request->topics[out->topics_count];
        struct offset_commit_response_topic *topic = &out->topics[out->topics_count];
        topic->name = wanted->name;
        topic->partitions = wire_array(&offset_commit_response_topic_partition_schema, &r->arena,
            (size_t)wanted->partitions_count);
        if (!topic->partitions)
            return -BUS_ERR_NO_MEMORY;
        topic->partitions_count = wanted->partitions_count;
        for (int32_t i = 0; i < wanted->partitions_count; i++)
            take_row(r, wanted->name, &wanted->partitions[i], refused, &topic->partitions[i]);
    }
    return out->topics ? 0 : -BUS_ERR_NO_MEMORY;
}

int
handle_offset_commit(struct api_request *r)
{
    const struct offset_commit_request *request = r->message;
    size_t partitions = 0;
    for (int32_t i = 0; i < request->topics_count; i++)
        partitions += (size_t)request->topics[i].partitions_count;
    if (!make_change(r, partitions))
        return -BUS_ERR_NO_MEMORY;
    int rc = take_rows(r, check_commit(r));
    return rc < 0 ? rc : make(r, request->group_id, request->retention_time_ms, offsets_commit);
}

/* ---- OffsetDelete --------------------------------------------------------------------------- */

/** Members of a group whose subscriptions are not ours to read may use any topic. */
static enum bus_err
check_delete(const struct api_request *r)
{
    const struct offset_delete_request *request = r->message;
    const struct group *group = coordinator_find(r, request->group_id);
    enum bus_err error = coordinator_ready(r->api->coordinator, request->group_id);
    if (error)
        return error;
    if (!group && !offsets_known(r->api->offsets, request->group_id))
        return BUS_ERR_GROUP_ID_NOT_FOUND;
    if (group && group->first && strcmp(group->protocol_type, SUBSCRIPTION_CONSUMER) != 0)
        return BUS_ERR_NON_EMPTY_GROUP;
    return coordinator_check_access(r, request->group_id, ACL_DELETE);
}

static void
delete_row(struct api_request *r, const char *topic, int32_t partition, bool is_read,
    struct offset_delete_response_topic_partition *out)
{
    const struct offsets_item item = {.topic = topic, .partition = partition};
    int rc = check_partition(r, topic, partition);
    if (rc == 0 && is_read)
        rc = -BUS_ERR_GROUP_SUBSCRIBED_TO_TOPIC;
    out->partition_index = partition;
    out->error_code = peer_error(r, rc);
    if (rc == 0)
        add_item(r->state, &item, &out->error_code);
}

static int
delete_rows(struct api_request *r)
{
    const struct offset_delete_request *request = r->message;
    struct offset_delete_response *out = r->response;
    const struct group *group = coordinator_find(r, request->group_id);
    out->topics =
        wire_array(&offset_delete_response_topic_schema, &r->arena, (size_t)request->topics_count);
    for (; out->topics && out->topics_count < request->topics_count; out->topics_count++) {
        const struct offset_delete_request_topic *wanted = &request->topics[out->topics_count];
        struct offset_delete_response_topic *topic = &out->topics[out->topics_count];
        bool is_read = group && subscription_has(group, wanted->name);
        topic->name = wanted->name;
        topic->partitions = wire_array(&offset_delete_response_topic_partition_schema, &r->arena,
            (size_t)wanted->partitions_count);
        if (!topic->partitions)
            return -BUS_ERR_NO_MEMORY;
        topic->partitions_count = wanted->partitions_count;
        for (int32_t i = 0; i < wanted->partitions_count; i++)
            delete_row(r, wanted->name, wanted->partitions[i].partition_index, is_read,
                &topic->partitions[i]);
    }
    return out->topics ? 0 : -BUS_ERR_NO_MEMORY;
}

int
handle_offset_delete(struct api_request *r)
{
    const struct offset_delete_request *request = r->message;
    struct offset_delete_response *out = r->response;
    size_t partitions = 0;
    enum bus_err error = check_delete(r);
    if (error) {
        out->error_code = coordinator_code(r, error);
        return HANDLED_DONE;
    }
    for (int32_t i = 0; i < request->topics_count; i++)
        partitions += (size_t)request->topics[i].partitions_count;
    if (!make_change(r, partitions))
        return -BUS_ERR_NO_MEMORY;
    int rc = delete_rows(r);
    return rc < 0 ? rc : make(r, request->group_id, -1, offsets_delete);
}
