/* SPDX-License-Identifier: Apache-2.0
 * The group coordinator in the api: it joins the rules of core/group.h to requests, clock and
 * storage.
 */
#ifndef API_COORDINATOR_H
#define API_COORDINATOR_H

#include "api/request.h"
#include "cluster/offsets.h"
#include "core/acl.h"
#include "core/group.h"

struct coordinator;

/** A coordinator with the groups that api->offsets knows. Gives *coordinator. 0 or a failure. */
int coordinator_new(struct api *api, struct coordinator **coordinator);

/** Forgets all groups; after offsets_close(), without parked requests. May be NULL. */
void coordinator_free(struct coordinator **coordinator);

/** The groups; what changes them goes through core/group.h. Borrowed. */
struct groups *coordinator_groups(struct coordinator *coordinator);

/** Takes changed settings into use. */
void coordinator_configure(struct coordinator *coordinator);

/** When coordinator_tick() has something to do, by the monotonic clock; -1: never. */
int64_t coordinator_deadline_ms(const struct coordinator *coordinator);

/** Time has passed. */
void coordinator_tick(struct coordinator *coordinator);

/** For offsets_ops: how a group uses a topic. */
enum offsets_usage coordinator_usage(
    struct coordinator *coordinator, const char *group, const char *topic);

/** For offsets_ops: nothing is left of a group. */
void coordinator_forgotten(struct coordinator *coordinator, const char *group);

/** Whether some groups cannot be told of yet. */
bool coordinator_is_loading(struct coordinator *coordinator);

/** Whether requests for a group can be served: NONE, or the error code of the answer. */
enum bus_err coordinator_ready(struct coordinator *coordinator, const char *group);

/** The group as far as it has, or had, members; NULL otherwise. Borrowed. */
struct group *coordinator_find(const struct api_request *r, const char *group);

/**
 * Whether the peer may take part in what the group does: an access rule says so, or none is about
 * the group and it may read every topic that the members read, so that it could do the work of each
 * of them. NONE or GROUP_AUTHORIZATION_FAILED.
 */
enum bus_err coordinator_check_access(
    const struct api_request *r, const char *group, enum acl_operation operation);

/** The same for what the group has committed, too: before that is shown or deleted. */
enum bus_err coordinator_check_offsets(
    const struct api_request *r, const char *group, enum acl_operation operation);

/** Whether the access rules alone let the peer do it; for who knows the id of a member already.
 * NONE or GROUP_AUTHORIZATION_FAILED. */
enum bus_err coordinator_check_rules(
    const struct api_request *r, const char *group, enum acl_operation operation);

/** Whether the peer may read the topic of this name; true when there is no such topic. */
bool coordinator_may_read(const struct api_request *r, const char *topic);

/** The error code as the answer has it; see peer_error(). */
int16_t coordinator_code(const struct api_request *r, enum bus_err error);

/** What the storage said, as an error code of an answer about offsets. */
enum bus_err coordinator_error(int rc);

#endif
