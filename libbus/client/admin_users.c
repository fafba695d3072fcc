/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "client/bus.h"

#include <bus/security.h>
#include <stdlib.h>

enum { MECHANISMS = 2 };

struct bus_users {
    struct conn_reply *reply; /* owned */
};

/* The first user that was refused decides. */
static int
change(struct bus *bus, const struct alter_user_scram_credentials_request *request)
{
    struct conn_reply *reply;
    /* Done twice it leads to the same; only a removal could be told to be in vain. */
    unsigned flags = CONN_RESTART | (request->deletions_count > 0 ? CONN_ACTS : CONN_AGAIN);
    int rc = conn_call(bus->conn, API_ALTER_USER_SCRAM_CREDENTIALS, request, flags,
        bus_request_deadline_ns(bus), &reply);
    if (rc < 0)
        return rc;
    const struct alter_user_scram_credentials_response *answer = reply->message;
    for (int32_t i = 0; rc == 0 && i < answer->results_count; i++)
        rc = conn_refused(answer->results[i].error_code, answer->results[i].error_message);
    conn_reply_free(&reply);
    return rc;
}

int
bus_user_set(struct bus *bus, const char *user, const struct bus_password *passwords, size_t count)
{
    struct alter_user_scram_credentials_request_upsertion rows[MECHANISMS];
    if (count == 0 || count > MECHANISMS)
        return err_set(BUS_ERR_INVALID_ARGUMENT,
            "%zu passwords for user %.100s: one or two mechanisms are possible", count, user);
    for (size_t i = 0; i < count; i++) {
        const struct bus_password *p = &passwords[i];
        if (p->salt_size > INT16_MAX || p->salted_size > INT16_MAX)
            return err_set(BUS_ERR_INVALID_ARGUMENT, "the salted password is too long");
        rows[i] = (struct alter_user_scram_credentials_request_upsertion){.name = user,
            .mechanism = (int8_t)p->mechanism,
            .iterations = p->iterations,
            .salt = {p->salt, (int32_t)p->salt_size},
            .salted_password = {p->salted, (int32_t)p->salted_size}};
    }
    struct alter_user_scram_credentials_request request = {
        .upsertions = rows, .upsertions_count = (int32_t)count};
    return err_prefix(change(bus, &request), "user %.100s", user);
}

int
bus_user_remove(struct bus *bus, const char *user, enum bus_mechanism mechanism)
{
    struct alter_user_scram_credentials_request_deletion row = {user, (int8_t)mechanism};
    struct alter_user_scram_credentials_request request = {.deletions = &row, .deletions_count = 1};
    return err_prefix(change(bus, &request), "user %.100s", user);
}

/* One user that does not exist is an empty list. */
static int
check(const struct describe_user_scram_credentials_response *answer)
{
    int rc = conn_refused(answer->error_code, answer->error_message);
    for (int32_t i = 0; rc == 0 && i < answer->results_count; i++)
        if (answer->results[i].error_code != BUS_ERR_RESOURCE_NOT_FOUND)
            rc = conn_refused(answer->results[i].error_code, answer->results[i].error_message);
    return rc;
}

int
bus_users_fetch(struct bus *bus, const char *user, struct bus_users **users)
{
    struct describe_user_scram_credentials_request_user row = {user};
    struct describe_user_scram_credentials_request request = {&row, user ? 1 : -1};
    *users = NULL;
    struct bus_users *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return err_no_memory();
    int rc = conn_call(bus->conn, API_DESCRIBE_USER_SCRAM_CREDENTIALS, &request,
        CONN_RESTART | CONN_AGAIN, bus_request_deadline_ns(bus), &fresh->reply);
    if (rc == 0)
        rc = check(fresh->reply->message);
    if (rc == 0)
        *users = fresh;
    else
        bus_users_free(&fresh);
    return rc;
}

void
bus_users_free(struct bus_users **users)
{
    struct bus_users *old = *users;
    *users = NULL;
    if (old && old->reply)
        conn_reply_free(&old->reply);
    free(old);
}

int
bus_users_get(const struct bus_users *users, size_t index, struct bus_user *user)
{
    const struct describe_user_scram_credentials_response *answer = users->reply->message;
    size_t at = 0;
    for (int32_t i = 0; i < answer->results_count; i++) {
        const struct describe_user_scram_credentials_response_result *row = &answer->results[i];
        for (int32_t j = 0; j < row->credential_infos_count; j++)
            if (at++ == index) {
                *user = (struct bus_user){row->user,
                    (enum bus_mechanism)row->credential_infos[j].mechanism,
                    row->credential_infos[j].iterations};
                return 0;
            }
    }
    return err_set(BUS_ERR_INVALID_ARGUMENT, "there are %zu passwords of users", at);
}
