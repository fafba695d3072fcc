/* SPDX-License-Identifier: Apache-2.0
 * FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup.
 */
#include "api/coordinator.h"
#include "api/joining.h"
#include "api/peer.h"
#include "api/placement.h"
#include "api/table.h"
#include "base/err.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    KEY_GROUP = 0, /* types of FindCoordinator's keys */
    KEY_TRANSACTION = 1,
    ONE_KEY_UNTIL_VERSION = 3,
    KNOWN_ID_FROM_VERSION = 4,
    SKIP_FROM_VERSION = 9,
    ONE_LEAVER_UNTIL_VERSION = 2,
    ID_NAME_BYTES_MAX = 255, /* of a client's name in the id that its member gets */
    HOST_BYTES = 32,
};

static struct groups *
all_groups(const struct api_request *r)
{
    return coordinator_groups(r->api->coordinator);
}

/* ---- FindCoordinator ------------------------------------------------------------------------ */

static enum bus_err
check_key(const struct api_request *r, int8_t type, const char *key)
{
    if (type == KEY_GROUP)
        return coordinator_check_rules(r, key, ACL_DESCRIBE);
    return type == KEY_TRANSACTION ? BUS_ERR_COORDINATOR_NOT_AVAILABLE : BUS_ERR_INVALID_REQUEST;
}

static const char *
key_problem(int8_t type)
{
    if (type == KEY_GROUP)
        return NULL;
    return type == KEY_TRANSACTION ? "there are no transactions here"
                                   : "keys are of type 0 (group) or 1 (transaction)";
}

static int
find_each(struct api_request *r, const struct cluster_node *node)
{
    const struct find_coordinator_request *request = r->message;
    struct find_coordinator_response *out = r->response;
    struct placement_address at = placement_reach(r, node);
    out->coordinators = wire_array(&find_coordinator_response_coordinator_schema, &r->arena,
        (size_t)request->coordinator_keys_count);
    if (!out->coordinators)
        return -BUS_ERR_NO_MEMORY;
    for (; out->coordinators_count < request->coordinator_keys_count; out->coordinators_count++) {
        const char *key = request->coordinator_keys[out->coordinators_count];
        enum bus_err error = check_key(r, request->key_type, key);
        out->coordinators[out->coordinators_count] = (struct find_coordinator_response_coordinator){
            .key = key,
            .node_id = error ? -1 : node->id,
            .host = error ? "" : at.host,
            .port = error ? -1 : at.port,
            .error_code = coordinator_code(r, error),
            .error_message = key_problem(request->key_type),
        };
    }
    return HANDLED_DONE;
}

int
handle_find_coordinator(struct api_request *r)
{
    const struct find_coordinator_request *request = r->message;
    struct find_coordinator_response *out = r->response;
    const struct controller *controller = r->api->wiring.controller;
    const struct cluster_node *node =
        cluster_node(&controller->cluster, controller_node(controller));
    const struct cluster_node nobody = {.id = controller_node(controller)};
    if (!node)
        node = &nobody;
    if (r->header.api_version > ONE_KEY_UNTIL_VERSION)
        return find_each(r, node);
    enum bus_err error = check_key(r, request->key_type, request->key);
    out->error_code = coordinator_code(r, error);
    out->error_message = key_problem(request->key_type);
    out->node_id = error ? -1 : node->id;
    struct placement_address at = placement_reach(r, node);
    out->host = error ? "" : at.host;
    out->port = error ? -1 : at.port;
    return HANDLED_DONE;
}

/* ---- waiting for the others ----------------------------------------------------------------- */

/** A JoinGroup or SyncGroup until it is answered. */
struct waiting {
    struct group_waiter waiter; /* first: answers come with its address */
    struct api_request *request;
    bool answered;
    int outcome; /* enum handled or a failure, once answered */
};

static int
look(struct api_request *r)
{
    const struct waiting *waiting = r->state;
    return waiting->answered ? waiting->outcome : HANDLED_PARKED;
}

static void
end_waiting(struct api_request *r)
{
    struct waiting *waiting = r->state;
    group_cancel(all_groups(r), request_now_ms(r), &waiting->waiter);
}

static struct waiting *
start_waiting(struct api_request *r)
{
    struct waiting *waiting = arena_alloc(&r->arena, sizeof *waiting);
    if (!waiting)
        return NULL;
    waiting->request = r;
    r->state = waiting;
    r->wake = look;
    r->end = end_waiting;
    return waiting;
}

/**
 * What the response borrows from the group stays as it is until it is encoded: at once when the
 * request was parked, else when the handler returns.
 */
static void
answered(struct waiting *waiting, int outcome)
{
    waiting->answered = true;
    waiting->outcome = outcome;
    if (waiting->request->parked)
        request_wake(waiting->request);
}

/* ---- JoinGroup ------------------------------------------------------------------------------ */

static int
list_members(struct api_request *r, const struct group *group)
{
    struct join_group_response *out = r->response;
    out->members =
        wire_array(&join_group_response_member_schema, &r->arena, (size_t)group->member_count);
    if (!out->members)
        return -BUS_ERR_NO_MEMORY;
    for (const struct group_member *m = group->first; m; m = m->next)
        out->members[out->members_count++] = (struct join_group_response_member){
            .member_id = m->id,
            .group_instance_id = m->instance_id,
            .metadata = group_member_metadata(m),
        };
    return 0;
}

static void
refuse_join(struct api_request *r, enum bus_err error, const char *member_id)
{
    struct join_group_response *out = r->response;
    out->error_code = coordinator_code(r, error);
    out->member_id = member_id;
    out->leader = "";
}

void
joining_answered(void *context, struct group_waiter *waiter, const struct group_joined *answer)
{
    struct waiting *waiting = (struct waiting *)(void *)waiter;
    struct api_request *r = waiting->request;
    struct join_group_response *out = r->response;
    int rc = HANDLED_DONE;
    (void)context;
    refuse_join(r, answer->error, answer->member_id);
    if (!answer->error) {
        out->generation_id = answer->group->generation;
        out->protocol_type = answer->group->protocol_type;
        out->protocol_name = answer->group->protocol;
        out->leader = answer->leader;
        out->skip_assignment = answer->skips_assignment;
        if (answer->lists_members)
            rc = list_members(r, answer->group);
    }
    answered(waiting, rc);
}

/** A member's id is its client's name or its instance id, and a random part that nobody guesses. */
static char *
fresh_id(struct api_request *r, const char *instance_id)
{
    const char *name = instance_id ? instance_id : r->header.client_id;
    struct uuid id;
    if (controller_new_id(&id) < 0)
        return NULL;
    return arena_format(&r->arena,
        "%.*s-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
        ID_NAME_BYTES_MAX, name ? name : "", id.b[0], id.b[1], id.b[2], id.b[3], id.b[4], id.b[5],
        id.b[6], id.b[7], id.b[8], id.b[9], id.b[10], id.b[11], id.b[12], id.b[13], id.b[14],
        id.b[15]);
}

static struct group_protocol *
take_protocols(struct api_request *r)
{
    const struct join_group_request *request = r->message;
    struct group_protocol *protocols =
        arena_array(&r->arena, (size_t)request->protocols_count, sizeof *protocols);
    for (int32_t i = 0; protocols && i < request->protocols_count; i++)
        protocols[i] =
            (struct group_protocol){request->protocols[i].name, request->protocols[i].metadata};
    return protocols;
}

/** As Kafka shows it: an address behind a slash; for local members their process. */
static const char *
host_of(const struct api_request *r, char space[HOST_BYTES])
{
    snprintf(space, HOST_BYTES, "unix:%" PRId64, (int64_t)r->peer->pid);
    return r->peer->door == API_DOOR_UNIX ? space : r->peer->address;
}

static enum bus_err
check_join(const struct api_request *r)
{
    const struct join_group_request *request = r->message;
    if (request->group_id[0] == '\0')
        return BUS_ERR_INVALID_GROUP_ID;
    enum bus_err error = coordinator_ready(r->api->coordinator, request->group_id);
    return error ? error : coordinator_check_access(r, request->group_id, ACL_READ);
}

int
handle_join_group(struct api_request *r)
{
    const struct join_group_request *request = r->message;
    char host[HOST_BYTES];
    struct group_join join = {
        .group_id = request->group_id,
        .member_id = request->member_id,
        .instance_id = request->group_instance_id,
        .fresh_id = fresh_id(r, request->group_instance_id),
        .client_id = r->header.client_id ? r->header.client_id : "",
        .client_host = host_of(r, host),
        .protocol_type = request->protocol_type,
        .protocols = take_protocols(r),
        .protocol_count = request->protocols_count,
        .session_timeout_ms = request->session_timeout_ms,
        .rebalance_timeout_ms = request->rebalance_timeout_ms,
        .needs_known_id = r->header.api_version >= KNOWN_ID_FROM_VERSION,
        .skips_assignment = r->header.api_version >= SKIP_FROM_VERSION,
    };
    enum bus_err error = check_join(r);
    if (error) {
        refuse_join(r, error, request->member_id);
        return HANDLED_DONE;
    }
    struct waiting *waiting = start_waiting(r);
    if (!waiting || !join.fresh_id || !join.protocols)
        return -BUS_ERR_NO_MEMORY;
    group_join(all_groups(r), request_now_ms(r), &join, &waiting->waiter);
    return look(r);
}

/* ---- SyncGroup ------------------------------------------------------------------------------ */

void
syncing_answered(void *context, struct group_waiter *waiter, const struct group_synced *answer)
{
    struct waiting *waiting = (struct waiting *)(void *)waiter;
    struct api_request *r = waiting->request;
    struct sync_group_response *out = r->response;
    (void)context;
    out->error_code = coordinator_code(r, answer->error);
    out->assignment = answer->assignment;
    if (!answer->error) {
        out->protocol_type = answer->group->protocol_type;
        out->protocol_name = answer->group->protocol;
    }
    answered(waiting, HANDLED_DONE);
}

int
handle_sync_group(struct api_request *r)
{
    const struct sync_group_request *request = r->message;
    struct sync_group_response *out = r->response;
    struct group_share *shares =
        arena_array(&r->arena, (size_t)request->assignments_count, sizeof *shares);
    struct group_sync sync = {
        .claim = {request->group_id, request->member_id, request->group_instance_id,
            request->generation_id},
        .protocol_type = request->protocol_type,
        .protocol = request->protocol_name,
        .shares = shares,
        .share_count = request->assignments_count,
    };
    enum bus_err error = coordinator_ready(r->api->coordinator, request->group_id);
    if (!error)
        error = coordinator_check_rules(r, request->group_id, ACL_READ);
    if (error) {
        out->error_code = coordinator_code(r, error);
        return HANDLED_DONE;
    }
    struct waiting *waiting = start_waiting(r);
    if (!waiting || !shares)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < request->assignments_count; i++)
        shares[i] = (struct group_share){
            request->assignments[i].member_id, request->assignments[i].assignment};
    group_sync(all_groups(r), request_now_ms(r), &sync, &waiting->waiter);
    return look(r);
}

/* ---- Heartbeat ------------------------------------------------------------------------------ */

int
handle_heartbeat(struct api_request *r)
{
    const struct heartbeat_request *request = r->message;
    struct heartbeat_response *out = r->response;
    const struct group_claim claim = {
        request->group_id, request->member_id, request->group_instance_id, request->generation_id};
    enum bus_err error = coordinator_ready(r->api->coordinator, request->group_id);
    if (!error)
        error = coordinator_check_rules(r, request->group_id, ACL_READ);
    if (!error)
        error = group_heartbeat(all_groups(r), request_now_ms(r), &claim);
    else if (error == BUS_ERR_COORDINATOR_LOAD_IN_PROGRESS)
        error = BUS_ERR_NONE; /* whether it is a member will turn out */
    out->error_code = coordinator_code(r, error);
    return HANDLED_DONE;
}

/* ---- LeaveGroup ----------------------------------------------------------------------------- */

/** Who knows a member's id is the member; an instance id alone may be known to others. */
static enum bus_err
leave(struct api_request *r, const char *member_id, const char *instance_id)
{
    const struct leave_group_request *request = r->message;
    const struct group_claim claim = {request->group_id, member_id, instance_id, -1};
    enum bus_err error = member_id[0] == '\0'
                             ? coordinator_check_access(r, request->group_id, ACL_READ)
                             : coordinator_check_rules(r, request->group_id, ACL_READ);
    return error ? error : group_leave(all_groups(r), request_now_ms(r), &claim);
}

static int
leave_all(struct api_request *r)
{
    const struct leave_group_request *request = r->message;
    struct leave_group_response *out = r->response;
    out->members =
        wire_array(&leave_group_response_member_schema, &r->arena, (size_t)request->members_count);
    if (!out->members)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < request->members_count; i++) {
        const struct leave_group_request_member *m = &request->members[i];
        out->members[out->members_count++] = (struct leave_group_response_member){
            .member_id = m->member_id,
            .group_instance_id = m->group_instance_id,
            .error_code = coordinator_code(r, leave(r, m->member_id, m->group_instance_id)),
        };
    }
    return HANDLED_DONE;
}

int
handle_leave_group(struct api_request *r)
{
    const struct leave_group_request *request = r->message;
    struct leave_group_response *out = r->response;
    enum bus_err error = request->group_id[0] == '\0'
                             ? BUS_ERR_INVALID_GROUP_ID
                             : coordinator_ready(r->api->coordinator, request->group_id);
    if (!error && r->header.api_version > ONE_LEAVER_UNTIL_VERSION)
        return leave_all(r);
    if (!error)
        error = leave(r, request->member_id, NULL);
    out->error_code = coordinator_code(r, error);
    return HANDLED_DONE;
}
