/* SPDX-License-Identifier: Apache-2.0
 * Groups and their members.
 */
#include "base/bytes.h"
#include "base/err.h"
#include "client/groups.h"
#include "protocol/wire.h"

#include <bus/groups.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHARE_VERSION_BYTES = 2,
    SHARES_MEMORY_MAX = 64 << 20, /* what the assignments of one snapshot may take */
};

/* What a member has, as the leader of the group has written it down: anything, that is. */
struct share {
    struct bus_place *places; /* in the arena; by topic and partition */
    int32_t count;            /* -1: not readable */
};

struct group {
    const char *name;
    const struct describe_groups_response_group *said; /* NULL: nothing */
    struct share *shares;                              /* in the arena; of each member */
    int16_t error;
};

struct bus_groups {
    struct replies replies; /* names and members point into them */
    struct arena arena;
    struct group *rows; /* owned */
    size_t count;
};

/* ---- assignments ---------------------------------------------------------------------------- */

static int
by_place(const void *a, const void *b)
{
    const struct bus_place *left = a, *right = b;
    int order = strcmp(left->topic, right->topic);
    if (order != 0)
        return order;
    return left->partition < right->partition ? -1 : left->partition > right->partition;
}

static int
fill_share(
    struct arena *arena, const struct consumer_protocol_assignment *from, struct share *share)
{
    size_t total = 0;
    for (int32_t i = 0; i < from->assigned_partitions_count; i++)
        total += (size_t)from->assigned_partitions[i].partitions_count;
    share->places = arena_array(arena, total, sizeof *share->places);
    if (!share->places)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < from->assigned_partitions_count; i++) {
        const struct consumer_protocol_assignment_assigned_partition *topic =
            &from->assigned_partitions[i];
        for (int32_t j = 0; j < topic->partitions_count; j++)
            share->places[share->count++] =
                (struct bus_place){.topic = topic->topic, .partition = topic->partitions[j]};
    }
    qsort(share->places, total, sizeof *share->places, by_place);
    return 0;
}

static int
read_share(struct arena *arena, const char *protocol_type, struct bytes from, struct share *share)
{
    struct consumer_protocol_assignment assignment;
    *share = (struct share){0};
    if (from.len <= 0)
        return 0;
    int rc = -BUS_ERR_INVALID_REQUEST;
    if (strcmp(protocol_type, "consumer") == 0 && from.len > SHARE_VERSION_BYTES)
        rc = wire_decode(&consumer_protocol_assignment_schema, bytes_get_i16(from.data),
            from.data + SHARE_VERSION_BYTES, (size_t)from.len - SHARE_VERSION_BYTES, &assignment,
            arena);
    if (rc == 0)
        return fill_share(arena, &assignment, share);
    share->count = -1;
    return rc == -BUS_ERR_NO_MEMORY ? rc : 0;
}

static int
read_shares(struct arena *arena, struct group *group)
{
    const struct describe_groups_response_group *said = group->said;
    group->shares = arena_array(arena, (size_t)said->members_count, sizeof *group->shares);
    int rc = group->shares ? 0 : -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; rc == 0 && i < said->members_count; i++)
        rc = read_share(
            arena, said->protocol_type, said->members[i].member_assignment, &group->shares[i]);
    return rc;
}

/* ---- describing ----------------------------------------------------------------------------- */

static int16_t
describe_error(const void *answer)
{
    const struct describe_groups_response *response = answer;
    for (int32_t i = 0; i < response->groups_count; i++)
        if (response->groups[i].error_code == BUS_ERR_COORDINATOR_LOAD_IN_PROGRESS)
            return BUS_ERR_COORDINATOR_LOAD_IN_PROGRESS;
    return 0;
}

/* The answers come in the order of the questions; one that does not is no answer. */
static int
take_descriptions(struct bus_groups *groups, size_t first, size_t count,
    const struct describe_groups_response *answer)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct group *group = &groups->rows[first + i];
        const struct describe_groups_response_group *said =
            i < (size_t)answer->groups_count ? &answer->groups[i] : NULL;
        if (!said || strcmp(said->group_id, group->name) != 0)
            return groups_no_answer(group->name);
        group->error = said->error_code;
        if (said->error_code != 0)
            continue;
        group->said = said;
        rc = read_shares(&groups->arena, group);
    }
    return rc;
}

static int
describe_some(
    struct bus *bus, struct bus_groups *groups, size_t first, size_t count, int64_t deadline_ns)
{
    const char *names[GROUPS_AT_ONCE];
    struct conn_reply *reply;
    for (size_t i = 0; i < count; i++)
        names[i] = groups->rows[first + i].name;
    struct describe_groups_request request = {.groups = names, .groups_count = (int32_t)count};
    int rc = groups_call(bus, API_DESCRIBE_GROUPS, &request, CONN_RESTART | CONN_AGAIN,
        describe_error, deadline_ns, &reply);
    if (rc == 0)
        rc = replies_keep(&groups->replies, reply);
    return rc < 0 ? rc : take_descriptions(groups, first, count, reply->message);
}

static int
describe_all(struct bus *bus, struct bus_groups *groups, int64_t deadline_ns)
{
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < groups->count; at += GROUPS_AT_ONCE) {
        size_t left = groups->count - at;
        rc = describe_some(
            bus, groups, at, left < GROUPS_AT_ONCE ? left : GROUPS_AT_ONCE, deadline_ns);
    }
    return rc;
}

/* ---- listing -------------------------------------------------------------------------------- */

static int16_t
list_error(const void *answer)
{
    const struct list_groups_response *response = answer;
    return response->error_code;
}

static int
by_name(const void *a, const void *b)
{
    const struct group *left = a, *right = b;
    return strcmp(left->name, right->name);
}

static int
list_all(struct bus *bus, struct bus_groups *groups, int64_t deadline_ns)
{
    struct list_groups_request request = {0};
    struct conn_reply *reply;
    int rc = groups_call(
        bus, API_LIST_GROUPS, &request, CONN_RESTART | CONN_AGAIN, list_error, deadline_ns, &reply);
    if (rc == 0)
        rc = replies_keep(&groups->replies, reply);
    if (rc < 0)
        return rc;
    const struct list_groups_response *answer = reply->message;
    rc = conn_refused(answer->error_code, NULL);
    if (rc < 0)
        return rc;
    groups->rows = calloc((size_t)answer->groups_count + 1, sizeof *groups->rows);
    if (!groups->rows)
        return err_no_memory();
    for (int32_t i = 0; i < answer->groups_count; i++)
        groups->rows[groups->count++].name = answer->groups[i].group_id;
    qsort(groups->rows, groups->count, sizeof *groups->rows, by_name);
    return 0;
}

/* ---- one group ------------------------------------------------------------------------------ */

/* The name is the caller's until busd has said it, too. */
static int
describe_one(struct bus *bus, const char *name, struct bus_groups *groups, int64_t deadline_ns)
{
    groups->rows = calloc(1, sizeof *groups->rows);
    if (!groups->rows)
        return err_no_memory();
    groups->rows[0].name = name;
    groups->count = 1;
    int rc = describe_all(bus, groups, deadline_ns);
    if (rc < 0)
        return rc;
    struct group *group = &groups->rows[0];
    rc = groups_refused(name, group->error);
    if (rc == 0 && strcmp(group->said->group_state, "Dead") == 0)
        rc = groups_refused(name, BUS_ERR_GROUP_ID_NOT_FOUND);
    if (rc == 0)
        group->name = group->said->group_id;
    return rc;
}

int
bus_groups_fetch(struct bus *bus, const char *group, struct bus_groups **groups)
{
    int64_t deadline_ns = bus_request_deadline_ns(bus);
    *groups = NULL;
    struct bus_groups *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return err_no_memory();
    arena_init(&fresh->arena, SHARES_MEMORY_MAX);
    int rc;
    if (group) {
        rc = describe_one(bus, group, fresh, deadline_ns);
    } else {
        rc = list_all(bus, fresh, deadline_ns);
        if (rc == 0)
            rc = describe_all(bus, fresh, deadline_ns);
    }
    if (rc < 0)
        bus_groups_free(&fresh);
    *groups = fresh;
    return rc;
}

void
bus_groups_free(struct bus_groups **groups)
{
    struct bus_groups *old = *groups;
    *groups = NULL;
    if (!old)
        return;
    replies_fini(&old->replies);
    arena_fini(&old->arena);
    free(old->rows);
    free(old);
}

/* ---- looking -------------------------------------------------------------------------------- */

size_t
bus_groups_count(const struct bus_groups *groups)
{
    return groups->count;
}

int
bus_groups_get(const struct bus_groups *groups, size_t index, struct bus_group_state *state)
{
    if (index >= groups->count)
        return err_set(BUS_ERR_INVALID_ARGUMENT, "there are %zu groups", groups->count);
    const struct group *group = &groups->rows[index];
    const struct describe_groups_response_group *said = group->said;
    *state = (struct bus_group_state){.group = group->name,
        .state = said ? said->group_state : "",
        .protocol_type = said ? said->protocol_type : "",
        .protocol = said ? said->protocol_data : "",
        .members = said ? said->members_count : -1,
        .error = -err_of_wire(group->error)};
    return 0;
}

static int32_t
members_of(const struct bus_groups *groups, size_t group)
{
    bool is_known = group < groups->count && groups->rows[group].said;
    return is_known ? groups->rows[group].said->members_count : 0;
}

int
bus_groups_member(
    const struct bus_groups *groups, size_t group, size_t index, struct bus_member_state *member)
{
    int32_t members = members_of(groups, group);
    if (index >= (size_t)members)
        return err_set(BUS_ERR_INVALID_ARGUMENT, "there are %d members", members);
    const struct describe_groups_response_group_member *from =
        &groups->rows[group].said->members[index];
    *member = (struct bus_member_state){.member_id = from->member_id,
        .instance_id = from->group_instance_id,
        .client_id = from->client_id,
        .host = from->client_host,
        .partitions = groups->rows[group].shares[index].count};
    return 0;
}

int
bus_groups_assigned(const struct bus_groups *groups, size_t group, size_t member, size_t index,
    struct bus_place *place)
{
    const struct share *share = member < (size_t)members_of(groups, group)
                                    ? &groups->rows[group].shares[member]
                                    : &(struct share){0};
    if (share->count < 0 || index >= (size_t)share->count)
        return err_set(BUS_ERR_INVALID_ARGUMENT, "the member has fewer partitions");
    *place = share->places[index];
    return 0;
}

int32_t
bus_groups_owner(
    const struct bus_groups *groups, size_t group, const char *topic, int32_t partition)
{
    const struct bus_place wanted = {.topic = topic, .partition = partition};
    int32_t members = members_of(groups, group);
    for (int32_t i = 0; i < members; i++) {
        const struct share *share = &groups->rows[group].shares[i];
        if (share->count > 0 &&
            bsearch(&wanted, share->places, (size_t)share->count, sizeof *share->places, by_place))
            return i;
    }
    return -1;
}

/* ---- deleting ------------------------------------------------------------------------------- */

static int16_t
delete_error(const void *answer)
{
    const struct delete_groups_response *response = answer;
    return response->results_count == 1 ? response->results[0].error_code : 0;
}

int
bus_group_delete(struct bus *bus, const char *group)
{
    struct delete_groups_request request = {.groups_names = &group, .groups_names_count = 1};
    struct conn_reply *reply;
    int rc = groups_call(bus, API_DELETE_GROUPS, &request, CONN_RESTART | CONN_ACTS, delete_error,
        bus_request_deadline_ns(bus), &reply);
    if (rc < 0)
        return err_prefix(rc, "delete group %.200s", group);
    const struct delete_groups_response *answer = reply->message;
    rc = answer->results_count == 1 ? groups_refused(group, answer->results[0].error_code)
                                    : groups_no_answer(group);
    conn_reply_free(&reply);
    return rc;
}
