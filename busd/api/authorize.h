/* SPDX-License-Identifier: Apache-2.0
 * Who may do what. Three things have a say, on every door:
 *
 * - some may do everything: on the Unix door busd's own user, root and the group shmbus-admin;
 *   those of super.users;
 * - the access rules (core/acl.h);
 * - where no rule is about a resource: allow.everyone.if.no.acl.found, and the rule of the handler.
 *
 * A topic's settings access.* bound what comes out for records (peer_access()).
 */
#ifndef API_AUTHORIZE_H
#define API_AUTHORIZE_H

#include "api/request.h"
#include "core/access.h"

/** The group whose members may administer. */
#define ADMIN_GROUP "shmbus-admin"

/** "User:anna"; on the Unix door the login name, looked for at the first call. Borrowed. */
const char *authorize_principal(const struct api *api, struct api_peer *peer);

/** The peer as the access.* settings see it. Borrows. */
struct access_peer authorize_credentials(const struct api *api, struct api_peer *peer);

/** Whether the peer may do everything. */
bool authorize_is_super(const struct api *api, struct api_peer *peer);

/**
 * What the rules say to the peer who wants to do this. ACL_SILENT: whatever the handler says.
 * (Where allow.everyone.if.no.acl.found is false, silence is ACL_DENIED.)
 */
enum acl_answer authorize_ask(const struct api *api, struct api_peer *peer,
    enum acl_operation operation, enum acl_resource resource, const char *name);

/** Whether the peer may do it; `otherwise` counts where no rule is about the resource. */
bool authorize(const struct api_request *r, enum acl_operation operation,
    enum acl_resource resource, const char *name, bool otherwise);

/** Whether the peer may do this to some topic; `otherwise` counts where there are no rules. */
bool authorize_any_topic(const struct api_request *r, enum acl_operation operation, bool otherwise);

/** What a peer may do with the topic. */
struct access authorize_topic(
    const struct api *api, struct api_peer *peer, const struct cluster_topic *topic);

#endif
