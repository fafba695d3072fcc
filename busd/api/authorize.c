/* SPDX-License-Identifier: Apache-2.0 */
#include "api/authorize.h"

#include <stdio.h>
#include <string.h>

static const char user_kind[] = "User:";

/* ---- who it is ------------------------------------------------------------------------------ */

/** Kafka writes an address behind a slash; who comes by the Unix door is on this machine. */
static const char *
host_of(const struct api_peer *peer)
{
    const char *address = peer->address ? peer->address : "";
    if (address[0] == '/')
        address++;
    return address[0] ? address : "127.0.0.1";
}

const char *
authorize_principal(const struct api *api, struct api_peer *peer)
{
    const struct access_names *names = api->wiring.names;
    char name[API_PRINCIPAL_BYTES - sizeof user_kind + 1];
    if (peer->principal[0])
        return peer->principal;
    if (peer->uid == (uid_t)-1)
        snprintf(name, sizeof name, "ANONYMOUS");
    else if (!names->name_of || !names->name_of(names->context, peer->uid, name, sizeof name))
        snprintf(name, sizeof name, "%u", (unsigned)peer->uid);
    snprintf(peer->principal, sizeof peer->principal, "%s%s", user_kind, name);
    return peer->principal;
}

/** Whether the principal is one of a list with semicolons (Kafka's) or commas. */
static bool
is_listed(const char *list, const char *principal)
{
    size_t n = strlen(principal);
    while (*list) {
        list += strspn(list, "; ,\t");
        size_t length = strcspn(list, ";,");
        size_t text = length;
        while (text > 0 && (list[text - 1] == ' ' || list[text - 1] == '\t'))
            text--;
        if (text == n && memcmp(list, principal, n) == 0)
            return true;
        list += length;
    }
    return false;
}

static bool
is_super_user(const struct api *api, struct api_peer *peer)
{
    const struct settings *settings = &api->wiring.controller->cluster.settings;
    const char *list = settings_text(settings, BROKER_SUPER_USERS);
    return list[0] && is_listed(list, authorize_principal(api, peer));
}

/** busd's own user and root, whom the kernel vouches for. */
static bool
is_own(const struct api *api, const struct api_peer *peer)
{
    return peer->uid == api->wiring.own_uid || peer->uid == 0;
}

struct access_peer
authorize_credentials(const struct api *api, struct api_peer *peer)
{
    /* Names of the Unix door are those of ids; others come from somebody who proved to have them.
     */
    bool named = peer->door != API_DOOR_UNIX && peer->listener && peer->listener->sasl;
    return (struct access_peer){
        .uid = peer->uid,
        .gids = peer->groups,
        .gid_count = (size_t)peer->group_count,
        .name = named ? peer->principal + sizeof user_kind - 1 : NULL,
        .is_self = is_own(api, peer) || is_super_user(api, peer),
    };
}

static bool
is_in_admin_group(const struct api *api, const struct api_peer *peer)
{
    const struct access_names *names = api->wiring.names;
    uint32_t gid;
    if (!names->gid_of(names->context, ADMIN_GROUP, &gid))
        return false;
    for (int i = 0; i < peer->group_count; i++)
        if (peer->groups[i] == gid)
            return true;
    return false;
}

bool
authorize_is_super(const struct api *api, struct api_peer *peer)
{
    return is_own(api, peer) || is_in_admin_group(api, peer) || is_super_user(api, peer);
}

/* ---- what it may ---------------------------------------------------------------------------- */

/** Whether everything is as it was before the first rule. */
static bool
are_no_rules(const struct api *api)
{
    const struct cluster *cluster = &api->wiring.controller->cluster;
    return cluster->acls.count == 0 &&
           settings_bool(&cluster->settings, BROKER_ALLOW_EVERYONE_IF_NO_ACL_FOUND);
}

enum acl_answer
authorize_ask(const struct api *api, struct api_peer *peer, enum acl_operation operation,
    enum acl_resource resource, const char *name)
{
    const struct cluster *cluster = &api->wiring.controller->cluster;
    if (are_no_rules(api))
        return authorize_is_super(api, peer) ? ACL_ALLOWED : ACL_SILENT;
    if (authorize_is_super(api, peer))
        return ACL_ALLOWED;
    struct acl_question question = {
        authorize_principal(api, peer), host_of(peer), operation, resource, name};
    enum acl_answer answer = acl_ask(&cluster->acls, &question);
    bool lenient = settings_bool(&cluster->settings, BROKER_ALLOW_EVERYONE_IF_NO_ACL_FOUND);
    return answer == ACL_SILENT && !lenient ? ACL_DENIED : answer;
}

bool
authorize(const struct api_request *r, enum acl_operation operation, enum acl_resource resource,
    const char *name, bool otherwise)
{
    enum acl_answer answer = authorize_ask(r->api, r->peer, operation, resource, name);
    return answer == ACL_ALLOWED || (answer == ACL_SILENT && otherwise);
}

bool
authorize_any_topic(const struct api_request *r, enum acl_operation operation, bool otherwise)
{
    const struct acl_set *acls = &r->api->wiring.controller->cluster.acls;
    struct acl_question question = {
        authorize_principal(r->api, r->peer), host_of(r->peer), operation, ACL_TOPIC, ""};
    /* The name that no topic has: whether the rules are silent on it tells of no other. */
    enum acl_answer answer = authorize_ask(r->api, r->peer, operation, ACL_TOPIC, "");
    return answer == ACL_ALLOWED || (answer == ACL_SILENT && otherwise) ||
           acl_ask_any(acls, &question);
}

struct access
authorize_topic(const struct api *api, struct api_peer *peer, const struct cluster_topic *topic)
{
    struct access_peer who = authorize_credentials(api, peer);
    struct access access = access_of(&topic->settings, &who, api->wiring.names);
    if (are_no_rules(api))
        return access;
    if (access.read)
        access.read = authorize_ask(api, peer, ACL_READ, ACL_TOPIC, topic->name) != ACL_DENIED;
    if (access.mediated &&
        authorize_ask(api, peer, ACL_WRITE, ACL_TOPIC, topic->name) == ACL_DENIED)
        access.mediated = access.direct = false;
    return access;
}
