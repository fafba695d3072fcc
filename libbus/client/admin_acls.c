/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "client/bus.h"

#include <bus/security.h>
#include <stdlib.h>

struct bus_acls {
    struct conn_reply *reply; /* owned; of one of two requests */
    bool removed;             /* of DeleteAcls */
};

int
bus_acl_add(struct bus *bus, const struct bus_acl *acls, size_t count)
{
    struct create_acls_request_creation *rows = calloc(count + 1, sizeof *rows);
    if (!rows)
        return err_no_memory();
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct create_acls_request_creation){.resource_type = (int8_t)acls[i].resource,
            .resource_name = acls[i].name,
            .resource_pattern_type = (int8_t)acls[i].pattern,
            .principal = acls[i].principal,
            .host = acls[i].host,
            .operation = (int8_t)acls[i].operation,
            .permission_type = (int8_t)acls[i].permission};
    struct create_acls_request request = {rows, (int32_t)count};
    struct conn_reply *reply;
    /* What is there already is no failure, so it may be asked twice. */
    int rc = conn_call(bus->conn, API_CREATE_ACLS, &request, CONN_RESTART | CONN_AGAIN,
        bus_request_deadline_ns(bus), &reply);
    free(rows);
    if (rc < 0)
        return rc;
    const struct create_acls_response *answer = reply->message;
    for (int32_t i = 0; rc == 0 && i < answer->results_count; i++)
        rc = conn_refused(answer->results[i].error_code, answer->results[i].error_message);
    conn_reply_free(&reply);
    return rc;
}

/* The first rule that was not removed decides. */
static int
check_removed(const struct delete_acls_response *answer)
{
    int rc = 0;
    for (int32_t i = 0; rc == 0 && i < answer->filter_results_count; i++) {
        const struct delete_acls_response_result *row = &answer->filter_results[i];
        rc = conn_refused(row->error_code, row->error_message);
        for (int32_t j = 0; rc == 0 && j < row->matching_acls_count; j++)
            rc =
                conn_refused(row->matching_acls[j].error_code, row->matching_acls[j].error_message);
    }
    return rc;
}

int
bus_acl_remove(struct bus *bus, const struct bus_acl *filter, struct bus_acls **removed)
{
    struct delete_acls_request_filter row = {.resource_type_filter = (int8_t)filter->resource,
        .resource_name_filter = filter->name,
        .pattern_type_filter = (int8_t)filter->pattern,
        .principal_filter = filter->principal,
        .host_filter = filter->host,
        .operation = (int8_t)filter->operation,
        .permission_type = (int8_t)filter->permission};
    struct delete_acls_request request = {&row, 1};
    *removed = NULL;
    struct bus_acls *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return err_no_memory();
    fresh->removed = true;
    int rc = conn_call(bus->conn, API_DELETE_ACLS, &request, CONN_RESTART | CONN_ACTS,
        bus_request_deadline_ns(bus), &fresh->reply);
    if (rc == 0)
        rc = check_removed(fresh->reply->message);
    if (rc == 0)
        *removed = fresh;
    else
        bus_acls_free(&fresh);
    return rc;
}

int
bus_acls_fetch(struct bus *bus, const struct bus_acl *filter, struct bus_acls **acls)
{
    struct describe_acls_request request = {.resource_type_filter = (int8_t)filter->resource,
        .resource_name_filter = filter->name,
        .pattern_type_filter = (int8_t)filter->pattern,
        .principal_filter = filter->principal,
        .host_filter = filter->host,
        .operation = (int8_t)filter->operation,
        .permission_type = (int8_t)filter->permission};
    *acls = NULL;
    struct bus_acls *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return err_no_memory();
    int rc = conn_call(bus->conn, API_DESCRIBE_ACLS, &request, CONN_RESTART | CONN_AGAIN,
        bus_request_deadline_ns(bus), &fresh->reply);
    if (rc == 0) {
        const struct describe_acls_response *answer = fresh->reply->message;
        rc = conn_refused(answer->error_code, answer->error_message);
    }
    if (rc == 0)
        *acls = fresh;
    else
        bus_acls_free(&fresh);
    return rc;
}

void
bus_acls_free(struct bus_acls **acls)
{
    struct bus_acls *old = *acls;
    *acls = NULL;
    if (old && old->reply)
        conn_reply_free(&old->reply);
    free(old);
}

static bool
get_removed(const struct delete_acls_response *answer, size_t index, struct bus_acl *acl)
{
    for (int32_t i = 0; i < answer->filter_results_count; i++) {
        const struct delete_acls_response_result *row = &answer->filter_results[i];
        if (index >= (size_t)row->matching_acls_count) {
            index -= (size_t)row->matching_acls_count;
            continue;
        }
        const struct delete_acls_response_result_acl *found = &row->matching_acls[index];
        *acl = (struct bus_acl){(enum bus_acl_resource)found->resource_type,
            (enum bus_acl_pattern)found->pattern_type, found->resource_name, found->principal,
            found->host, (enum bus_acl_operation)found->operation,
            (enum bus_acl_permission)found->permission_type};
        return true;
    }
    return false;
}

static bool
get_described(const struct describe_acls_response *answer, size_t index, struct bus_acl *acl)
{
    for (int32_t i = 0; i < answer->resources_count; i++) {
        const struct describe_acls_response_resource *row = &answer->resources[i];
        if (index >= (size_t)row->acls_count) {
            index -= (size_t)row->acls_count;
            continue;
        }
        const struct describe_acls_response_resource_acl *found = &row->acls[index];
        *acl = (struct bus_acl){(enum bus_acl_resource)row->resource_type,
            (enum bus_acl_pattern)row->pattern_type, row->resource_name, found->principal,
            found->host, (enum bus_acl_operation)found->operation,
            (enum bus_acl_permission)found->permission_type};
        return true;
    }
    return false;
}

int
bus_acls_get(const struct bus_acls *acls, size_t index, struct bus_acl *acl)
{
    bool found = acls->removed ? get_removed(acls->reply->message, index, acl)
                               : get_described(acls->reply->message, index, acl);
    return found ? 0 : err_set(BUS_ERR_INVALID_ARGUMENT, "there is no rule %zu", index);
}
