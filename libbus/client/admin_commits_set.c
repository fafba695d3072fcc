/* SPDX-License-Identifier: Apache-2.0
 * Setting and forgetting what a group has committed.
 */
#include "base/err.h"
#include "client/groups.h"

#include <bus/groups.h>
#include <stdlib.h>

enum { NO_GENERATION = -1 }; /* what comes from no member */

/* One request: as many changes as busd is asked to make at once. */
struct piece {
    struct bus *bus;
    const char *group;
    struct bus_commit_change *changes;
    size_t count;
    int64_t deadline_ns;
};

static int
refuse_all(const struct piece *piece, int16_t wire)
{
    for (size_t i = 0; i < piece->count; i++)
        piece->changes[i].error = -err_of_wire(wire);
    return 0;
}

/* The answer to change number `index`; false when it speaks of another one. */
static bool
take_result(const struct piece *piece, size_t index, int32_t partition, int16_t wire)
{
    struct bus_commit_change *change = &piece->changes[index];
    change->error = -err_of_wire(wire);
    return partition == change->partition;
}

/* ---- setting -------------------------------------------------------------------------------- */

static int16_t
commit_error(const void *answer)
{
    const struct offset_commit_response *response = answer;
    bool is_told = response->topics_count > 0 && response->topics[0].partitions_count > 0;
    return is_told ? response->topics[0].partitions[0].error_code : 0;
}

static int
take_commit(const struct piece *piece, const struct offset_commit_response *answer)
{
    bool good = answer->topics_count == (int32_t)piece->count;
    for (size_t i = 0; good && i < piece->count; i++) {
        const struct offset_commit_response_topic *topic = &answer->topics[i];
        good = topic->partitions_count == 1 &&
               take_result(
                   piece, i, topic->partitions[0].partition_index, topic->partitions[0].error_code);
    }
    return good ? 0 : groups_no_answer(piece->group);
}

/* A topic for each change, so that answers come in the order of the changes. */
static int
commit_piece(const struct piece *piece)
{
    struct offset_commit_request_topic topics[PARTITIONS_AT_ONCE];
    struct offset_commit_request_topic_partition partitions[PARTITIONS_AT_ONCE];
    for (size_t i = 0; i < piece->count; i++) {
        const struct bus_commit_change *change = &piece->changes[i];
        partitions[i] =
            (struct offset_commit_request_topic_partition){.partition_index = change->partition,
                .committed_offset = change->offset,
                .committed_leader_epoch = -1,
                .committed_metadata = change->metadata ? change->metadata : ""};
        topics[i] = (struct offset_commit_request_topic){
            .name = change->topic, .partitions = &partitions[i], .partitions_count = 1};
    }
    struct offset_commit_request request = {.group_id = piece->group,
        .generation_id_or_member_epoch = NO_GENERATION,
        .member_id = "",
        .retention_time_ms = -1,
        .topics = topics,
        .topics_count = (int32_t)piece->count};
    struct conn_reply *reply;
    int rc = groups_call(piece->bus, API_OFFSET_COMMIT, &request, CONN_RESTART | CONN_AGAIN,
        commit_error, piece->deadline_ns, &reply);
    if (rc < 0)
        return rc;
    rc = take_commit(piece, reply->message);
    conn_reply_free(&reply);
    return rc;
}

/* ---- forgetting ----------------------------------------------------------------------------- */

static int16_t
delete_error(const void *answer)
{
    const struct offset_delete_response *response = answer;
    return response->error_code;
}

static int
take_delete(const struct piece *piece, const struct offset_delete_response *answer)
{
    if (answer->error_code != 0)
        return refuse_all(piece, answer->error_code);
    bool good = answer->topics_count == (int32_t)piece->count;
    for (size_t i = 0; good && i < piece->count; i++) {
        const struct offset_delete_response_topic *topic = &answer->topics[i];
        good = topic->partitions_count == 1 &&
               take_result(
                   piece, i, topic->partitions[0].partition_index, topic->partitions[0].error_code);
    }
    return good ? 0 : groups_no_answer(piece->group);
}

static int
delete_piece(const struct piece *piece)
{
    struct offset_delete_request_topic topics[PARTITIONS_AT_ONCE];
    struct offset_delete_request_topic_partition partitions[PARTITIONS_AT_ONCE];
    for (size_t i = 0; i < piece->count; i++) {
        partitions[i].partition_index = piece->changes[i].partition;
        topics[i] = (struct offset_delete_request_topic){
            .name = piece->changes[i].topic, .partitions = &partitions[i], .partitions_count = 1};
    }
    struct offset_delete_request request = {
        .group_id = piece->group, .topics = topics, .topics_count = (int32_t)piece->count};
    struct conn_reply *reply;
    int rc = groups_call(piece->bus, API_OFFSET_DELETE, &request, CONN_RESTART | CONN_ACTS,
        delete_error, piece->deadline_ns, &reply);
    if (rc < 0)
        return rc;
    rc = take_delete(piece, reply->message);
    conn_reply_free(&reply);
    return rc;
}

/* ---- both ----------------------------------------------------------------------------------- */

static bool
is_about_group(int32_t error)
{
    return error == BUS_ERR_NON_EMPTY_GROUP || error == BUS_ERR_GROUP_ID_NOT_FOUND ||
           error == BUS_ERR_INVALID_GROUP_ID || error == BUS_ERR_GROUP_AUTHORIZATION_FAILED;
}

/* Tells of the first change that was refused. */
static int
tell(const char *group, struct bus_commit_change *changes, size_t count)
{
    const struct bus_commit_change *first = NULL;
    for (size_t i = 0; i < count; i++) {
        /* busd does not know the member that there is not: others are in the group. */
        if (changes[i].error == BUS_ERR_UNKNOWN_MEMBER_ID)
            changes[i].error = BUS_ERR_NON_EMPTY_GROUP;
        if (!first && changes[i].error)
            first = &changes[i];
    }
    if (!first)
        return 0;
    int16_t error = (int16_t)first->error;
    return is_about_group(error)
               ? groups_refused(group, error)
               : groups_partition_refused(group, first->topic, first->partition, error);
}

static int
make_all(struct bus *bus, const char *group, struct bus_commit_change *changes, size_t count,
    int (*make)(const struct piece *piece))
{
    struct piece piece = {.bus = bus, .group = group, .deadline_ns = bus_request_deadline_ns(bus)};
    for (size_t i = 0; i < count; i++)
        changes[i].error = BUS_ERR_OPERATION_NOT_ATTEMPTED;
    for (size_t at = 0; at < count; at += piece.count) {
        piece.changes = changes + at;
        piece.count = count - at < PARTITIONS_AT_ONCE ? count - at : PARTITIONS_AT_ONCE;
        int rc = make(&piece);
        if (rc < 0)
            return err_prefix(rc, "group %.200s", group);
    }
    return tell(group, changes, count);
}

int
bus_commits_set(struct bus *bus, const char *group, struct bus_commit_change *changes, size_t count)
{
    return make_all(bus, group, changes, count, commit_piece);
}

int
bus_commits_delete(
    struct bus *bus, const char *group, struct bus_commit_change *changes, size_t count)
{
    return make_all(bus, group, changes, count, delete_piece);
}
