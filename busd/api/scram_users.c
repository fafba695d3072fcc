/* SPDX-License-Identifier: Apache-2.0
 * DescribeUserScramCredentials and AlterUserScramCredentials. A password comes salted, and what is
 * kept of it is less than that: the stored key and the server key.
 */
#include "api/authorize.h"
#include "api/peer.h"
#include "api/table.h"
#include "base/err.h"
#include "base/trace.h"

#include <string.h>

/* ---- DescribeUserScramCredentials ----------------------------------------------------------- */

enum {
    MECHANISMS = 2,
    NAMED_MAX = 1000, /* in one request; each is compared with each */
};

static int
add_user(struct api_request *r, const char *name)
{
    struct describe_user_scram_credentials_response *out = r->response;
    struct describe_user_scram_credentials_response_result *row =
        &out->results[out->results_count++];
    static const enum scram_mechanism all[MECHANISMS] = {SCRAM_SHA_256, SCRAM_SHA_512};
    row->user = arena_string(&r->arena, name, strlen(name));
    row->credential_infos = wire_array(
        &describe_user_scram_credentials_response_result_info_schema, &r->arena, MECHANISMS);
    if (!row->user || !row->credential_infos)
        return -BUS_ERR_NO_MEMORY;
    for (int i = 0; i < MECHANISMS; i++) {
        const struct user_row *user = user_set_find(&request_cluster(r)->users, name, all[i]);
        if (user)
            row->credential_infos[row->credential_infos_count++] =
                (struct describe_user_scram_credentials_response_result_info){
                    (int8_t)all[i], user->credential.iterations};
    }
    if (row->credential_infos_count > 0)
        return 0;
    int rc = err_set(BUS_ERR_RESOURCE_NOT_FOUND, "there is no User:%.100s with a password", name);
    row->error_code = peer_error(r, rc);
    row->error_message = request_error_text(r);
    return 0;
}

static int
list_all(struct api_request *r)
{
    const struct user_set *users = &request_cluster(r)->users;
    struct describe_user_scram_credentials_response *out = r->response;
    out->results = wire_array(
        &describe_user_scram_credentials_response_result_schema, &r->arena, users->count);
    int rc = out->results ? 0 : -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; rc == 0 && i < users->count; i++)
        if (i == 0 || strcmp(users->rows[i - 1]->name, users->rows[i]->name) != 0)
            rc = add_user(r, users->rows[i]->name);
    return rc;
}

/** Whether an earlier one of the names is the same. */
static bool
is_repeated(const struct describe_user_scram_credentials_request *request, int32_t index)
{
    for (int32_t i = 0; i < index; i++)
        if (strcmp(request->users[i].name, request->users[index].name) == 0)
            return true;
    return false;
}

static int
list_named(struct api_request *r)
{
    const struct describe_user_scram_credentials_request *request = r->message;
    struct describe_user_scram_credentials_response *out = r->response;
    if (request->users_count > NAMED_MAX)
        return err_set(BUS_ERR_INVALID_REQUEST,
            "the request names %d users: at most %d, or none for all", request->users_count,
            NAMED_MAX);
    out->results = wire_array(&describe_user_scram_credentials_response_result_schema, &r->arena,
        (size_t)request->users_count);
    int rc = out->results ? 0 : -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; rc == 0 && i < request->users_count; i++) {
        rc = add_user(r, request->users[i].name);
        if (rc == 0 && is_repeated(request, i)) {
            out->results[i].error_code = BUS_ERR_DUPLICATE_RESOURCE;
            out->results[i].error_message = "the request names this user twice";
            out->results[i].credential_infos_count = 0;
        }
    }
    return rc;
}

int
handle_describe_user_scram_credentials(struct api_request *r)
{
    const struct describe_user_scram_credentials_request *request = r->message;
    struct describe_user_scram_credentials_response *out = r->response;
    int rc = peer_check_cluster(r, ACL_DESCRIBE, "see the users", false);
    if (rc == 0)
        rc = request->users_count <= 0 ? list_all(r) : list_named(r);
    if (rc == -BUS_ERR_NO_MEMORY)
        return rc;
    out->error_code = peer_error(r, rc);
    out->error_message = rc < 0 ? request_error_text(r) : NULL;
    return HANDLED_DONE;
}

/* ---- AlterUserScramCredentials -------------------------------------------------------------- */

enum { CHANGES_MAX = 1000 }; /* in one request; each is compared with each */

/** One change: a deletion, or an upsertion. */
struct change {
    const char *name;
    enum scram_mechanism mechanism;
    const struct alter_user_scram_credentials_request_upsertion *upsertion; /* NULL: a deletion */
};

static int32_t
count_changes(const struct alter_user_scram_credentials_request *request)
{
    return request->deletions_count + request->upsertions_count;
}

/** Change number `i`: deletions first. */
static struct change
change_at(const struct alter_user_scram_credentials_request *request, int32_t i)
{
    if (i < request->deletions_count)
        return (struct change){request->deletions[i].name,
            (enum scram_mechanism)request->deletions[i].mechanism, NULL};
    const struct alter_user_scram_credentials_request_upsertion *u =
        &request->upsertions[i - request->deletions_count];
    return (struct change){u->name, (enum scram_mechanism)u->mechanism, u};
}

/** Whether the request has another change for the same user and mechanism. */
static bool
is_named_twice(const struct alter_user_scram_credentials_request *request, int32_t index)
{
    struct change one = change_at(request, index);
    for (int32_t i = 0; i < count_changes(request); i++) {
        struct change other = change_at(request, i);
        if (i != index && other.mechanism == one.mechanism && strcmp(other.name, one.name) == 0)
            return true;
    }
    return false;
}

/** What is kept of a salted password. */
static int
make_credential(const struct alter_user_scram_credentials_request_upsertion *wanted,
    struct scram_credential *credential)
{
    *credential = (struct scram_credential){
        .mechanism = (enum scram_mechanism)wanted->mechanism,
        .iterations = wanted->iterations,
        .salt_bytes = (size_t)wanted->salt.len,
    };
    int rc = scram_check(credential);
    if (rc < 0)
        return rc;
    size_t n = crypto_bytes(scram_hash(credential->mechanism));
    if ((size_t)wanted->salted_password.len != n)
        return err_set(BUS_ERR_UNACCEPTABLE_CREDENTIAL,
            "a password that is salted for %s has %zu bytes, this one %d",
            scram_name(credential->mechanism), n, wanted->salted_password.len);
    memcpy(credential->salt, wanted->salt.data, credential->salt_bytes);
    return scram_keys(credential, wanted->salted_password.data);
}

/** A change as a command, checked and, if `really`, done. */
static int
apply(const struct api_request *r, int32_t index, bool really)
{
    const struct alter_user_scram_credentials_request *request = r->message;
    struct controller *controller = r->api->wiring.controller;
    struct change change = change_at(request, index);
    struct scram_credential credential;
    struct command command = {
        .type = COMMAND_USER_REMOVE, .name = change.name, .count = (int32_t)change.mechanism};
    int rc = 0;
    if (change.upsertion) {
        command = (struct command){
            .type = COMMAND_USER_SET, .name = change.name, .credential = &credential};
        rc = make_credential(change.upsertion, &credential);
    }
    if (rc == 0 && is_named_twice(request, index))
        rc = err_set(BUS_ERR_DUPLICATE_RESOURCE,
            "the request names User:%.80s twice with the same mechanism", change.name);
    if (rc == 0)
        rc = really ? controller_propose(controller, &command)
                    : controller_check(controller, &command);
    if (rc == 0 && really)
        trace(TRACE_NOTICE, "%s (%s) %s the %s password of User:%.100s", r->peer->name,
            authorize_principal(r->api, r->peer), change.upsertion ? "set" : "removed",
            scram_name(change.mechanism), change.name);
    crypto_wipe(&credential, sizeof credential);
    return rc;
}

/** All changes for one user, or none. */
static int
apply_all(const struct api_request *r, const char *name)
{
    const struct alter_user_scram_credentials_request *request = r->message;
    int rc = peer_check_admin(r, "change users");
    for (int really = 0; really <= 1; really++)
        for (int32_t i = 0; rc == 0 && i < count_changes(request); i++)
            if (strcmp(change_at(request, i).name, name) == 0)
                rc = apply(r, i, really);
    return rc;
}

static bool
has_result(const struct alter_user_scram_credentials_response *out, const char *name)
{
    for (int32_t i = 0; i < out->results_count; i++)
        if (strcmp(out->results[i].user, name) == 0)
            return true;
    return false;
}

/** Where a request that takes several turns is. */
struct place {
    int32_t at;
};

static int
alter_on(struct api_request *r)
{
    const struct alter_user_scram_credentials_request *request = r->message;
    struct alter_user_scram_credentials_response *out = r->response;
    struct place *place = r->state;
    int64_t since_ms = request_now_ms(r);
    r->wake = alter_on;
    while (place->at < count_changes(request)) {
        const char *name = change_at(request, place->at++).name;
        if (has_result(out, name))
            continue;
        int rc = apply_all(r, name);
        out->results[out->results_count++] = (struct alter_user_scram_credentials_response_result){
            name, peer_error(r, rc), rc < 0 ? request_error_text(r) : NULL};
        if (request_yields(r, since_ms))
            return HANDLED_PARKED;
    }
    return HANDLED_DONE;
}

/** The frame goes with the dispatch, and a request that takes several turns outlives it. */
static int
keep_bytes(struct api_request *r)
{
    const struct alter_user_scram_credentials_request *request = r->message;
    for (int32_t i = 0; i < request->upsertions_count; i++) {
        struct bytes *both[] = {
            &request->upsertions[i].salt, &request->upsertions[i].salted_password};
        for (int j = 0; j < 2; j++) {
            uint8_t *copy = arena_alloc(&r->arena, (size_t)both[j]->len);
            if (!copy)
                return -BUS_ERR_NO_MEMORY;
            if (both[j]->len > 0)
                memcpy(copy, both[j]->data, (size_t)both[j]->len);
            both[j]->data = copy;
        }
    }
    return 0;
}

int
handle_alter_user_scram_credentials(struct api_request *r)
{
    const struct alter_user_scram_credentials_request *request = r->message;
    struct alter_user_scram_credentials_response *out = r->response;
    if (count_changes(request) > CHANGES_MAX)
        return err_set(BUS_ERR_INVALID_REQUEST,
            "%d changes of users in one request: at most %d are done at a time",
            count_changes(request), CHANGES_MAX);
    r->state = arena_alloc(&r->arena, sizeof(struct place));
    out->results = wire_array(&alter_user_scram_credentials_response_result_schema, &r->arena,
        (size_t)count_changes(request));
    if (!r->state || !out->results || keep_bytes(r) < 0)
        return -BUS_ERR_NO_MEMORY;
    return alter_on(r);
}
