/* SPDX-License-Identifier: Apache-2.0
 * ListGroups, DescribeGroups, DeleteGroups.
 */
#include "api/authorize.h"
#include "api/coordinator.h"
#include "api/peer.h"
#include "api/table.h"
#include "base/err.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NOT_FOUND_FROM_VERSION = 6 }; /* of DescribeGroups: an unknown group is an error */

/** The only kind of group here; "consumer" is Kafka's name for groups of its newer protocol. */
static const char *const group_type = "classic";

/* ---- ListGroups ----------------------------------------------------------------------------- */

struct listing {
    struct api_request *r;
    int32_t room;  /* rows allocated */
    bool sees_all; /* by a rule about the cluster */
};

static bool
is_wanted(const char *const *words, int32_t count, const char *word)
{
    for (int32_t i = 0; i < count; i++)
        if (strcasecmp(words[i], word) == 0)
            return true;
    return count == 0;
}

/** The rows move as they become more; the arena has the older ones until the answer is sent. */
static int
grow_list(struct listing *l)
{
    struct list_groups_response *out = l->r->response;
    int32_t room = l->room ? l->room * 2 : 16;
    struct list_groups_response_group *rows =
        wire_array(&list_groups_response_group_schema, &l->r->arena, (size_t)room);
    if (!rows)
        return -BUS_ERR_NO_MEMORY;
    if (out->groups_count > 0)
        memcpy(rows, out->groups, (size_t)out->groups_count * sizeof *rows);
    out->groups = rows;
    l->room = room;
    return 0;
}

static int
list_group(struct listing *l, const char *id, const char *protocol_type, enum group_state state)
{
    const struct list_groups_request *request = l->r->message;
    struct list_groups_response *out = l->r->response;
    const char *name = group_state_name(state);
    if (!is_wanted(request->states_filter, request->states_filter_count, name) ||
        !is_wanted(request->types_filter, request->types_filter_count, group_type))
        return 0;
    if (!l->sees_all && coordinator_check_rules(l->r, id, ACL_DESCRIBE) != BUS_ERR_NONE)
        return 0;
    if (out->groups_count == l->room && grow_list(l) < 0)
        return -BUS_ERR_NO_MEMORY;
    char *type = arena_string(&l->r->arena, protocol_type, strlen(protocol_type));
    char *copy = arena_string(&l->r->arena, id, strlen(id));
    if (!type || !copy)
        return -BUS_ERR_NO_MEMORY;
    out->groups[out->groups_count++] = (struct list_groups_response_group){
        .group_id = copy, .protocol_type = type, .group_state = name, .group_type = group_type};
    return 0;
}

/** A group that the coordinator does not have never had members: it has offsets only. */
static int
list_simple(void *context, const char *id)
{
    struct listing *l = context;
    return coordinator_find(l->r, id) ? 0 : list_group(l, id, "", GROUP_EMPTY);
}

int
handle_list_groups(struct api_request *r)
{
    struct list_groups_response *out = r->response;
    struct listing l = {.r = r};
    l.sees_all =
        authorize_ask(r->api, r->peer, ACL_DESCRIBE, ACL_CLUSTER, ACL_CLUSTER_NAME) == ACL_ALLOWED;
    if (coordinator_is_loading(r->api->coordinator))
        out->error_code = coordinator_code(r, BUS_ERR_COORDINATOR_LOAD_IN_PROGRESS);
    const struct groups *groups = coordinator_groups(r->api->coordinator);
    int rc = 0;
    for (const struct group *g = groups_next(groups, NULL); g && rc == 0;
         g = groups_next(groups, g))
        rc = list_group(&l, g->id, g->protocol_type ? g->protocol_type : "", g->state);
    if (rc == 0)
        rc = offsets_each_name(r->api->offsets, list_simple, &l);
    return rc < 0 ? rc : HANDLED_DONE;
}

/* ---- DescribeGroups ------------------------------------------------------------------------- */

/** What members say and get is only final, and only shown, in a stable group. */
static int
describe_members(
    struct api_request *r, const struct group *group, struct describe_groups_response_group *out)
{
    bool is_stable = group->state == GROUP_STABLE;
    out->members = wire_array(
        &describe_groups_response_group_member_schema, &r->arena, (size_t)group->member_count);
    if (!out->members)
        return -BUS_ERR_NO_MEMORY;
    for (const struct group_member *m = group->first; m; m = m->next)
        out->members[out->members_count++] = (struct describe_groups_response_group_member){
            .member_id = m->id,
            .group_instance_id = m->instance_id,
            .client_id = m->client_id,
            .client_host = m->client_host,
            .member_metadata = is_stable ? group_member_metadata(m) : (struct bytes){NULL, 0},
            .member_assignment = is_stable ? m->assignment : (struct bytes){NULL, 0},
        };
    return 0;
}

static enum bus_err
check_describe(const struct api_request *r, const char *id)
{
    if (id[0] == '\0')
        return BUS_ERR_INVALID_GROUP_ID;
    enum bus_err error = coordinator_ready(r->api->coordinator, id);
    return error ? error : coordinator_check_access(r, id, ACL_DESCRIBE);
}

/** A group without members: it has offsets, or it does not exist, which newer clients are told. */
static void
describe_simple(struct api_request *r, const char *id, struct describe_groups_response_group *out)
{
    bool is_known = offsets_known(r->api->offsets, id);
    out->group_state = is_known ? "Empty" : "Dead";
    if (is_known || r->header.api_version < NOT_FOUND_FROM_VERSION)
        return;
    err_set(BUS_ERR_GROUP_ID_NOT_FOUND, "group %s does not exist", id);
    out->error_code = coordinator_code(r, BUS_ERR_GROUP_ID_NOT_FOUND);
    out->error_message = request_error_text(r);
}

static int
describe(struct api_request *r, const char *id, struct describe_groups_response_group *out)
{
    const struct describe_groups_request *request = r->message;
    enum bus_err error = check_describe(r, id);
    out->group_id = id;
    out->group_state = "";
    out->error_code = coordinator_code(r, error);
    if (error)
        return 0;
    if (request->include_authorized_operations)
        out->authorized_operations = peer_group_operations(r, id);
    const struct group *group = coordinator_find(r, id);
    if (!group) {
        describe_simple(r, id, out);
        return 0;
    }
    out->group_state = group_state_name(group->state);
    out->protocol_type = group->protocol_type;
    out->protocol_data = group->state == GROUP_STABLE ? group->protocol : "";
    return describe_members(r, group, out);
}

int
handle_describe_groups(struct api_request *r)
{
    const struct describe_groups_request *request = r->message;
    struct describe_groups_response *out = r->response;
    out->groups = wire_array(
        &describe_groups_response_group_schema, &r->arena, (size_t)request->groups_count);
    if (!out->groups)
        return -BUS_ERR_NO_MEMORY;
    int rc = 0;
    for (int32_t i = 0; i < request->groups_count && rc == 0; i++)
        rc = describe(r, request->groups[i], &out->groups[out->groups_count++]);
    return rc < 0 ? rc : HANDLED_DONE;
}

/* ---- DeleteGroups --------------------------------------------------------------------------- */

/** One group on its way out. */
struct deletion {
    struct deletions *all;
    struct delete_groups_response_result *result;
    struct offsets_job *job; /* NULL: done, or refused */
};

struct deletions {
    struct api_request *r;
    struct deletion *rows;
    int32_t count, left;
};

static enum bus_err
check_delete(const struct api_request *r, const char *id)
{
    const struct group *group = coordinator_find(r, id);
    if (id[0] == '\0')
        return BUS_ERR_INVALID_GROUP_ID;
    enum bus_err error = coordinator_ready(r->api->coordinator, id);
    if (error)
        return error;
    if (!group && !offsets_known(r->api->offsets, id))
        return BUS_ERR_GROUP_ID_NOT_FOUND;
    if (group && group->state != GROUP_EMPTY)
        return BUS_ERR_NON_EMPTY_GROUP;
    return coordinator_check_offsets(r, id, ACL_DELETE);
}

static int
look(struct api_request *r)
{
    const struct deletions *all = r->state;
    return all->left > 0 ? HANDLED_PARKED : HANDLED_DONE;
}

static void
end_deletions(struct api_request *r)
{
    const struct deletions *all = r->state;
    for (int32_t i = 0; i < all->count; i++)
        if (all->rows[i].job)
            offsets_forget_waiter(all->rows[i].job);
}

/** Who joined meanwhile has a group all the same: it begins anew. */
static void
deleted(void *context, int rc)
{
    struct deletion *row = context;
    struct api_request *r = row->all->r;
    row->job = NULL;
    row->result->error_code = coordinator_code(r, coordinator_error(rc));
    if (rc == 0)
        coordinator_forgotten(r->api->coordinator, row->result->group_id);
    if (--row->all->left == 0 && r->parked)
        request_wake(r);
}

static void
start_deletion(struct deletions *all, struct deletion *row, const char *id)
{
    struct api_request *r = all->r;
    const struct offsets_waiter waiter = {deleted, row};
    enum bus_err error = check_delete(r, id);
    int rc = 0;
    row->result->group_id = id;
    if (!error)
        rc = offsets_delete_group(r->api->offsets, id, &waiter, &row->job);
    if (rc != 0)
        error = coordinator_error(rc);
    row->result->error_code = coordinator_code(r, error);
    if (!error)
        all->left++;
}

int
handle_delete_groups(struct api_request *r)
{
    const struct delete_groups_request *request = r->message;
    struct delete_groups_response *out = r->response;
    size_t count = (size_t)request->groups_names_count;
    struct deletions *all = arena_alloc(&r->arena, sizeof *all);
    out->results = wire_array(&delete_groups_response_result_schema, &r->arena, count);
    if (!all || !out->results)
        return -BUS_ERR_NO_MEMORY;
    all->r = r;
    all->rows = arena_array(&r->arena, count, sizeof *all->rows);
    if (!all->rows)
        return -BUS_ERR_NO_MEMORY;
    r->state = all;
    r->wake = look;
    r->end = end_deletions;
    for (size_t i = 0; i < count; i++) {
        struct deletion *row = &all->rows[all->count++];
        row->all = all;
        row->result = &out->results[out->results_count++];
        start_deletion(all, row, request->groups_names[i]);
    }
    return look(r);
}
