/* SPDX-License-Identifier: Apache-2.0
 * Committed offsets of a group: storing and asking.
 */
#include "base/err.h"
#include "client/bus.h"
#include "client/membership.h"

#include <stdlib.h>
#include <string.h>

enum { COMMIT_BYTES_MAX = 64 << 20 };

static int
check_group(const struct bus_consumer *consumer)
{
    return *consumer->settings.group_id
               ? 0
               : err_set(BUS_ERR_INVALID_GROUP_ID, "the consumer has no group: set group.id");
}

static int
by_partition(const void *a, const void *b)
{
    const struct bus_assignment *left = a, *right = b;
    int order = strcmp(left->topic, right->topic);
    if (order != 0)
        return order;
    return left->partition < right->partition ? -1 : left->partition > right->partition;
}

/* The list, sorted, by topics. */
static int
fill_request(struct offset_commit_request *request, const struct bus_assignment *sorted,
    size_t count, struct arena *arena)
{
    struct offset_commit_request_topic *topics = arena_array(arena, count, sizeof *topics);
    struct offset_commit_request_topic_partition *partitions =
        arena_array(arena, count, sizeof *partitions);
    if (!topics || !partitions)
        return -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        partitions[i] =
            (struct offset_commit_request_topic_partition){.partition_index = sorted[i].partition,
                .committed_offset = sorted[i].offset,
                .committed_leader_epoch = -1,
                .committed_metadata = ""};
        if (i == 0 || strcmp(sorted[i].topic, sorted[i - 1].topic) != 0)
            topics[request->topics_count++] = (struct offset_commit_request_topic){
                .name = sorted[i].topic, .partitions = &partitions[i]};
        topics[request->topics_count - 1].partitions_count++;
    }
    request->topics = topics;
    return 0;
}

/* The first error of the answer. */
static int16_t
error_of(const struct offset_commit_response *answer, const char **topic, int32_t *partition)
{
    for (int32_t i = 0; i < answer->topics_count; i++) {
        for (int32_t j = 0; j < answer->topics[i].partitions_count; j++) {
            *topic = answer->topics[i].name;
            *partition = answer->topics[i].partitions[j].partition_index;
            if (answer->topics[i].partitions[j].error_code != 0)
                return answer->topics[i].partitions[j].error_code;
        }
    }
    return 0;
}

static int
send_commit(struct bus_consumer *consumer, const struct offset_commit_request *request,
    unsigned flags, int64_t deadline_ns)
{
    struct conn_reply *reply;
    const char *topic = "";
    int32_t partition = -1;
    int rc = conn_call(
        consumer->bus->conn, API_OFFSET_COMMIT, request, flags | CONN_AGAIN, deadline_ns, &reply);
    if (rc < 0)
        return err_prefix(rc, "group %s", request->group_id);
    int16_t error = error_of(reply->message, &topic, &partition);
    if (consumer->membership)
        membership_commit_answered(consumer->membership, error);
    rc = err_prefix(
        conn_refused(error, NULL), "group %s, %s-%d", request->group_id, topic, partition);
    conn_reply_free(&reply);
    return rc;
}

static int
commit_list(struct bus_consumer *consumer, struct bus_assignment *list, size_t count,
    unsigned flags, int64_t deadline_ns)
{
    char id[MEMBER_ID_BYTES_MAX] = "";
    const char *instance = consumer->settings.group_instance_id;
    struct offset_commit_request request = {.group_id = consumer->settings.group_id,
        .generation_id_or_member_epoch = -1,
        .member_id = id,
        .retention_time_ms = -1};
    int rc = check_group(consumer);
    if (rc < 0 || count == 0)
        return rc;
    if (consumer->membership) {
        membership_identity(consumer->membership, id, &request.generation_id_or_member_epoch);
        request.group_instance_id = *instance ? instance : NULL;
        /* Without a generation it would pass for somebody from outside. */
        if (request.generation_id_or_member_epoch < 0)
            return err_set(BUS_ERR_UNKNOWN_MEMBER_ID,
                "the consumer is not in group %s at this moment: poll", request.group_id);
    }
    struct arena arena;
    arena_init(&arena, COMMIT_BYTES_MAX);
    qsort(list, count, sizeof *list, by_partition);
    rc = fill_request(&request, list, count, &arena);
    if (rc == 0)
        rc = send_commit(consumer, &request, flags, deadline_ns);
    arena_fini(&arena);
    return rc;
}

int
commit_parts(struct bus_consumer *consumer, struct part *const *parts, size_t count, unsigned flags,
    int64_t deadline_ns)
{
    struct bus_assignment *list = calloc(count + 1, sizeof *list);
    size_t used = 0;
    if (!list)
        return err_no_memory();
    for (size_t i = 0; i < count; i++)
        if (parts[i]->position != parts[i]->committed)
            list[used++] = (struct bus_assignment){.topic = parts[i]->topic,
                .partition = parts[i]->partition,
                .offset = parts[i]->position};
    int rc = commit_list(consumer, list, used, flags, deadline_ns);
    for (size_t i = 0; rc == 0 && i < count; i++)
        parts[i]->committed = parts[i]->position;
    free(list);
    return rc;
}

int
bus_commit_sync(struct bus_consumer *consumer)
{
    return commit_parts(consumer, consumer->parts, consumer->count, CONN_RESTART,
        bus_request_deadline_ns(consumer->bus));
}

int
bus_commit_offsets(
    struct bus_consumer *consumer, const struct bus_assignment *offsets, size_t count)
{
    struct bus_assignment *copy = calloc(count + 1, sizeof *copy);
    if (!copy)
        return err_no_memory();
    if (count > 0)
        memcpy(copy, offsets, count * sizeof *copy);
    int rc =
        commit_list(consumer, copy, count, CONN_RESTART, bus_request_deadline_ns(consumer->bus));
    free(copy);
    /* What the positions are compared with is not known any more. */
    for (size_t i = 0; i < consumer->count; i++)
        consumer->parts[i]->committed = -1;
    return rc;
}

static int
read_found(const struct offset_fetch_response *answer, int64_t *offset)
{
    if (answer->groups_count != 1)
        return err_set(BUS_ERR_UNKNOWN_SERVER_ERROR, "busd's answer does not speak of the group");
    int rc = conn_refused(answer->groups[0].error_code, NULL);
    if (rc < 0)
        return rc;
    if (answer->groups[0].topics_count != 1 || answer->groups[0].topics[0].partitions_count != 1)
        return err_set(BUS_ERR_UNKNOWN_SERVER_ERROR, "busd's answer does not speak of it");
    *offset = answer->groups[0].topics[0].partitions[0].committed_offset;
    return conn_refused(answer->groups[0].topics[0].partitions[0].error_code, NULL);
}

int
commit_find(struct bus_consumer *consumer, const char *topic, int32_t partition,
    int64_t deadline_ns, int64_t *offset)
{
    struct offset_fetch_request_group_topic one = {
        .name = topic, .partition_indexes = &partition, .partition_indexes_count = 1};
    struct offset_fetch_request_group group = {.group_id = consumer->settings.group_id,
        .member_epoch = -1,
        .topics = &one,
        .topics_count = 1};
    struct offset_fetch_request request = {.groups = &group, .groups_count = 1};
    struct conn_reply *reply;
    int rc = check_group(consumer);
    if (rc == 0)
        rc = conn_call(consumer->bus->conn, API_OFFSET_FETCH, &request, CONN_RESTART | CONN_AGAIN,
            deadline_ns, &reply);
    if (rc < 0)
        return rc;
    rc = err_prefix(
        read_found(reply->message, offset), "group %s, %s-%d", group.group_id, topic, partition);
    conn_reply_free(&reply);
    return rc;
}

int
bus_committed(struct bus_consumer *consumer, const char *topic, int32_t partition, int64_t *offset)
{
    return commit_find(consumer, topic, partition, bus_request_deadline_ns(consumer->bus), offset);
}
