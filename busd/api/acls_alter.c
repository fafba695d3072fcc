/* SPDX-License-Identifier: Apache-2.0
 * CreateAcls and DeleteAcls. Each rule waits for the disk: many of them take several turns.
 */
#include "api/authorize.h"
#include "api/peer.h"
#include "api/table.h"
#include "base/err.h"
#include "base/trace.h"

#include <string.h>

enum { TEXT_BYTES = 300 };

static void
tell(const struct api_request *r, const char *what, const struct acl_rule *rule)
{
    char text[TEXT_BYTES];
    acl_text(rule, text, sizeof text);
    trace(TRACE_NOTICE, "%s (%s) %s the access rule \"%s\"", r->peer->name,
        authorize_principal(r->api, r->peer), what, text);
}

/* ---- CreateAcls ----------------------------------------------------------------------------- */

static int
create(struct api_request *r, const struct create_acls_request_creation *wanted)
{
    struct controller *controller = r->api->wiring.controller;
    const struct acl_rule rule = {
        .resource = (enum acl_resource)wanted->resource_type,
        .pattern = (enum acl_pattern)wanted->resource_pattern_type,
        .name = wanted->resource_name,
        .principal = wanted->principal,
        .host = wanted->host,
        .operation = (enum acl_operation)wanted->operation,
        .permission = (enum acl_permission)wanted->permission_type,
    };
    struct command command = {.type = COMMAND_ACL_ADD, .acl = &rule};
    int rc = peer_check_admin(r, "change the access rules");
    if (rc == 0)
        rc = acl_check(&rule);
    /* It is there already: that is what was asked for. */
    if (rc == 0 && acl_set_twin(&request_cluster(r)->acls, &rule))
        return 0;
    if (rc == 0)
        rc = controller_new_id(&command.id);
    if (rc == 0)
        rc = controller_propose(controller, &command);
    if (rc == 0)
        tell(r, "added", &rule);
    return rc;
}

static int
create_on(struct api_request *r)
{
    const struct create_acls_request *request = r->message;
    struct create_acls_response *out = r->response;
    int64_t since_ms = request_now_ms(r);
    r->wake = create_on;
    while (out->results_count < request->creations_count) {
        int32_t i = out->results_count++;
        int rc = create(r, &request->creations[i]);
        out->results[i].error_code = peer_error(r, rc);
        out->results[i].error_message = rc < 0 ? request_error_text(r) : NULL;
        if (request_yields(r, since_ms))
            return HANDLED_PARKED;
    }
    return HANDLED_DONE;
}

int
handle_create_acls(struct api_request *r)
{
    const struct create_acls_request *request = r->message;
    struct create_acls_response *out = r->response;
    out->results = wire_array(
        &create_acls_response_result_schema, &r->arena, (size_t)request->creations_count);
    return out->results ? create_on(r) : -BUS_ERR_NO_MEMORY;
}

/* ---- DeleteAcls ----------------------------------------------------------------------------- */

/** The rules that a filter found, as they were then. */
struct deletion {
    struct uuid *ids;
    size_t count, at;
    bool begun;
};

static struct acl_rule
filter_of(const struct delete_acls_request_filter *wanted)
{
    return (struct acl_rule){
        .resource = (enum acl_resource)wanted->resource_type_filter,
        .pattern = (enum acl_pattern)wanted->pattern_type_filter,
        .name = wanted->resource_name_filter,
        .principal = wanted->principal_filter,
        .host = wanted->host_filter,
        .operation = (enum acl_operation)wanted->operation,
        .permission = (enum acl_permission)wanted->permission_type,
    };
}

/** Looks for the rules of a filter. 0, NO_MEMORY, or what is told in the filter's result. */
static int
begin(struct api_request *r, const struct delete_acls_request_filter *wanted,
    struct delete_acls_response_result *out)
{
    const struct acl_set *set = &request_cluster(r)->acls;
    struct deletion *deletion = r->state;
    struct acl_rule filter = filter_of(wanted);
    *deletion = (struct deletion){.begun = true};
    int rc = peer_check_admin(r, "change the access rules");
    if (rc == 0)
        rc = acl_check_filter(&filter);
    if (rc < 0)
        return rc;
    deletion->ids = arena_array(&r->arena, set->count, sizeof *deletion->ids);
    if (!deletion->ids)
        return -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; i < set->count; i++)
        if (acl_matches(&filter, &set->rules[i]->rule))
            deletion->ids[deletion->count++] = set->rules[i]->id;
    out->matching_acls =
        wire_array(&delete_acls_response_result_acl_schema, &r->arena, deletion->count);
    return out->matching_acls ? 0 : -BUS_ERR_NO_MEMORY;
}

static int
tell_rule(
    struct api_request *r, const struct acl_rule *rule, struct delete_acls_response_result_acl *out)
{
    out->resource_type = (int8_t)rule->resource;
    out->pattern_type = (int8_t)rule->pattern;
    out->resource_name = arena_string(&r->arena, rule->name, strlen(rule->name));
    out->principal = arena_string(&r->arena, rule->principal, strlen(rule->principal));
    out->host = arena_string(&r->arena, rule->host, strlen(rule->host));
    out->operation = (int8_t)rule->operation;
    out->permission_type = (int8_t)rule->permission;
    return out->resource_name && out->principal && out->host ? 0 : -BUS_ERR_NO_MEMORY;
}

/** One rule; somebody else may have removed it meanwhile. */
static int
delete_one(struct api_request *r, const struct uuid *id, struct delete_acls_response_result *out)
{
    struct command command = {.type = COMMAND_ACL_REMOVE, .id = *id};
    const struct acl *acl = acl_set_of_id(&request_cluster(r)->acls, id);
    if (!acl)
        return 0;
    struct delete_acls_response_result_acl *row = &out->matching_acls[out->matching_acls_count];
    int rc = tell_rule(r, &acl->rule, row);
    if (rc < 0)
        return rc;
    tell(r, "removes", &acl->rule);
    out->matching_acls_count++;
    rc = controller_propose(r->api->wiring.controller, &command);
    row->error_code = peer_error(r, rc);
    row->error_message = rc < 0 ? request_error_text(r) : NULL;
    return 0;
}

/** The filter at hand. 0, or what is told in its result; NO_MEMORY ends the request. */
static int
delete_some(struct api_request *r, const struct delete_acls_request_filter *wanted,
    struct delete_acls_response_result *out, bool *ended)
{
    struct deletion *deletion = r->state;
    int64_t since_ms = request_now_ms(r);
    int rc = deletion->begun ? 0 : begin(r, wanted, out);
    *ended = false;
    while (rc == 0 && deletion->at < deletion->count) {
        rc = delete_one(r, &deletion->ids[deletion->at++], out);
        if (rc == 0 && request_yields(r, since_ms))
            return 0;
    }
    *ended = true;
    return rc;
}

static int
delete_on(struct api_request *r)
{
    const struct delete_acls_request *request = r->message;
    struct delete_acls_response *out = r->response;
    struct deletion *deletion = r->state;
    r->wake = delete_on;
    while (out->filter_results_count < request->filters_count) {
        int32_t i = out->filter_results_count;
        bool ended;
        int rc = delete_some(r, &request->filters[i], &out->filter_results[i], &ended);
        if (rc == -BUS_ERR_NO_MEMORY)
            return rc;
        out->filter_results[i].error_code = peer_error(r, rc);
        out->filter_results[i].error_message = rc < 0 ? request_error_text(r) : NULL;
        if (!ended)
            return HANDLED_PARKED;
        out->filter_results_count++;
        deletion->begun = false;
    }
    return HANDLED_DONE;
}

int
handle_delete_acls(struct api_request *r)
{
    const struct delete_acls_request *request = r->message;
    struct delete_acls_response *out = r->response;
    r->state = arena_alloc(&r->arena, sizeof(struct deletion));
    out->filter_results =
        wire_array(&delete_acls_response_result_schema, &r->arena, (size_t)request->filters_count);
    return r->state && out->filter_results ? delete_on(r) : -BUS_ERR_NO_MEMORY;
}
