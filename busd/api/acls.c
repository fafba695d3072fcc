/* SPDX-License-Identifier: Apache-2.0
 * DescribeAcls: the access rules that match a filter, those about one resource together.
 */
#include "api/peer.h"
#include "api/table.h"
#include "base/err.h"

#include <string.h>

/** An arena copy: rules may go while the answer waits. */
static const char *
copy(struct api_request *r, const char *text)
{
    return arena_string(&r->arena, text, strlen(text));
}

static bool
is_same_resource(const struct acl_rule *a, const struct acl_rule *b)
{
    return a->resource == b->resource && a->pattern == b->pattern && strcmp(a->name, b->name) == 0;
}

/** How many rules match, at most all. */
static size_t
count_matches(const struct acl_set *set, const struct acl_rule *filter)
{
    size_t count = 0;
    for (size_t i = 0; i < set->count; i++)
        count += acl_matches(filter, &set->rules[i]->rule);
    return count;
}

static int
add_resource(struct api_request *r, const struct acl_rule *rule, size_t room)
{
    struct describe_acls_response *out = r->response;
    struct describe_acls_response_resource *row = &out->resources[out->resources_count];
    row->resource_type = (int8_t)rule->resource;
    row->pattern_type = (int8_t)rule->pattern;
    row->resource_name = copy(r, rule->name);
    row->acls = wire_array(&describe_acls_response_resource_acl_schema, &r->arena, room);
    if (!row->resource_name || !row->acls)
        return -BUS_ERR_NO_MEMORY;
    out->resources_count++;
    return 0;
}

static int
add_rule(struct api_request *r, const struct acl_rule *rule)
{
    struct describe_acls_response *out = r->response;
    struct describe_acls_response_resource *row = &out->resources[out->resources_count - 1];
    struct describe_acls_response_resource_acl *acl = &row->acls[row->acls_count++];
    acl->principal = copy(r, rule->principal);
    acl->host = copy(r, rule->host);
    acl->operation = (int8_t)rule->operation;
    acl->permission_type = (int8_t)rule->permission;
    return acl->principal && acl->host ? 0 : -BUS_ERR_NO_MEMORY;
}

/** How many rules from `first` on are about the same resource: the set is sorted by that. */
static size_t
count_alike(const struct acl_set *set, size_t first)
{
    size_t end = first + 1;
    while (end < set->count && is_same_resource(&set->rules[first]->rule, &set->rules[end]->rule))
        end++;
    return end - first;
}

static int
list(struct api_request *r, const struct acl_rule *filter)
{
    const struct acl_set *set = &request_cluster(r)->acls;
    struct describe_acls_response *out = r->response;
    size_t matches = count_matches(set, filter);
    out->resources = wire_array(&describe_acls_response_resource_schema, &r->arena, matches);
    int rc = out->resources ? 0 : -BUS_ERR_NO_MEMORY;
    for (size_t i = 0, alike; rc == 0 && i < set->count; i += alike) {
        bool begun = false;
        alike = count_alike(set, i);
        for (size_t j = i; rc == 0 && j < i + alike; j++) {
            const struct acl_rule *rule = &set->rules[j]->rule;
            if (!acl_matches(filter, rule))
                continue;
            if (!begun)
                rc = add_resource(r, rule, alike);
            begun = true;
            if (rc == 0)
                rc = add_rule(r, rule);
        }
    }
    return rc;
}

int
handle_describe_acls(struct api_request *r)
{
    const struct describe_acls_request *request = r->message;
    struct describe_acls_response *out = r->response;
    const struct acl_rule filter = {
        .resource = (enum acl_resource)request->resource_type_filter,
        .pattern = (enum acl_pattern)request->pattern_type_filter,
        .name = request->resource_name_filter,
        .principal = request->principal_filter,
        .host = request->host_filter,
        .operation = (enum acl_operation)request->operation,
        .permission = (enum acl_permission)request->permission_type,
    };
    int rc = peer_check_cluster(r, ACL_DESCRIBE, "see the access rules", false);
    if (rc == 0)
        rc = acl_check_filter(&filter);
    if (rc < 0) {
        out->error_code = peer_error(r, rc);
        out->error_message = request_error_text(r);
        return HANDLED_DONE;
    }
    rc = list(r, &filter);
    return rc < 0 ? rc : HANDLED_DONE;
}
