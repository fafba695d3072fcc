/* SPDX-License-Identifier: Apache-2.0 */
#include "api/peer.h"
#include "api/authorize.h"
#include "base/err.h"
#include "base/trace.h"

enum {
    TELL_EVERY_MS = 1000, /* clients try again and again */
    NAMED_FREELY = 1000,  /* partitions of a request, whether they exist or not */
};

struct access
peer_access(const struct api_request *r, const struct cluster_topic *topic)
{
    return authorize_topic(r->api, r->peer, topic);
}

/** What the topic's settings alone say. */
static struct access
listed_access(const struct api_request *r, const struct cluster_topic *topic)
{
    struct access_peer who = authorize_credentials(r->api, r->peer);
    return access_of(&topic->settings, &who, r->api->wiring.names);
}

bool
peer_may_see(const struct api_request *r, const struct cluster_topic *topic)
{
    if (peer_is_admin(r))
        return true;
    struct access access = listed_access(r, topic);
    return authorize(r, ACL_DESCRIBE, ACL_TOPIC, topic->name, true) &&
           (access.read || access.mediated);
}

/** Refuses something with a topic; `setting` is NULL when only the rules are to blame. */
static int
refuse_topic(const struct api_request *r, const char *what, const char *topic, const char *setting)
{
    if (setting)
        return err_set(BUS_ERR_TOPIC_AUTHORIZATION_FAILED,
            "%s may not %s topic %s: its setting %s says who may", r->peer->name, what, topic,
            setting);
    return err_set(BUS_ERR_TOPIC_AUTHORIZATION_FAILED,
        "%s (%s) may not %s topic %s: the access rules say who may", r->peer->name,
        authorize_principal(r->api, r->peer), what, topic);
}

int
peer_check_read(const struct api_request *r, const struct cluster_topic *topic)
{
    if (peer_access(r, topic).read)
        return 0;
    return refuse_topic(
        r, "read", topic->name, listed_access(r, topic).read ? NULL : "access.read");
}

int
peer_check_write(const struct api_request *r, const struct cluster_topic *topic)
{
    if (peer_access(r, topic).mediated)
        return 0;
    return refuse_topic(
        r, "write to", topic->name, listed_access(r, topic).mediated ? NULL : "access.write");
}

int
peer_check_describe(const struct api_request *r, const struct cluster_topic *topic)
{
    if (!listed_access(r, topic).read)
        return refuse_topic(r, "read", topic->name, "access.read");
    return peer_check_topic(r, ACL_DESCRIBE, topic->name, "see", true);
}

int
peer_check_topic(const struct api_request *r, enum acl_operation operation, const char *topic,
    const char *what, bool otherwise)
{
    if (authorize(r, operation, ACL_TOPIC, topic, otherwise))
        return 0;
    return refuse_topic(r, what, topic, NULL);
}

int
peer_check_create(const struct api_request *r, const char *topic)
{
    if (authorize(r, ACL_CREATE, ACL_CLUSTER, ACL_CLUSTER_NAME, false))
        return 0;
    return peer_check_topic(r, ACL_CREATE, topic, "create", false);
}

bool
peer_is_admin(const struct api_request *r)
{
    return authorize_is_super(r->api, r->peer);
}

int
peer_check_cluster(
    const struct api_request *r, enum acl_operation operation, const char *what, bool otherwise)
{
    if (authorize(r, operation, ACL_CLUSTER, ACL_CLUSTER_NAME, otherwise))
        return 0;
    return err_set(BUS_ERR_CLUSTER_AUTHORIZATION_FAILED,
        "%s (%s) may not %s: that is for busd's own user, root, the group " ADMIN_GROUP
        ", super.users, and who has an access rule for %s on the cluster",
        r->peer->name, authorize_principal(r->api, r->peer), what, acl_operation_name(operation));
}

int
peer_check_admin(const struct api_request *r, const char *what)
{
    return peer_check_cluster(r, ACL_ALTER, what, false);
}

/** Adds the bit of an operation if it is allowed. */
static void
add_bit(const struct api_request *r, int32_t *bits, enum acl_operation operation,
    enum acl_resource resource, const char *name, bool otherwise)
{
    if (authorize(r, operation, resource, name, otherwise))
        *bits |= 1 << operation;
}

int32_t
peer_topic_operations(const struct api_request *r, const struct cluster_topic *topic)
{
    static const enum acl_operation for_admins[] = {
        ACL_CREATE, ACL_DELETE, ACL_ALTER, ACL_ALTER_CONFIGS};
    struct access access = peer_access(r, topic);
    int32_t bits = 0;
    if (access.read)
        bits |= 1 << ACL_READ;
    if (access.mediated)
        bits |= 1 << ACL_WRITE;
    for (size_t i = 0; i < sizeof for_admins / sizeof for_admins[0]; i++)
        add_bit(r, &bits, for_admins[i], ACL_TOPIC, topic->name, false);
    add_bit(r, &bits, ACL_DESCRIBE, ACL_TOPIC, topic->name, true);
    add_bit(r, &bits, ACL_DESCRIBE_CONFIGS, ACL_TOPIC, topic->name, true);
    return bits;
}

int32_t
peer_cluster_operations(const struct api_request *r)
{
    static const enum acl_operation for_admins[] = {
        ACL_CREATE, ACL_ALTER, ACL_CLUSTER_ACTION, ACL_ALTER_CONFIGS};
    static const enum acl_operation for_all[] = {
        ACL_DESCRIBE, ACL_DESCRIBE_CONFIGS, ACL_IDEMPOTENT_WRITE};
    int32_t bits = 0;
    for (size_t i = 0; i < sizeof for_admins / sizeof for_admins[0]; i++)
        add_bit(r, &bits, for_admins[i], ACL_CLUSTER, ACL_CLUSTER_NAME, false);
    for (size_t i = 0; i < sizeof for_all / sizeof for_all[0]; i++)
        add_bit(r, &bits, for_all[i], ACL_CLUSTER, ACL_CLUSTER_NAME, true);
    return bits;
}

int32_t
peer_group_operations(const struct api_request *r, const char *group)
{
    static const enum acl_operation operations[] = {ACL_READ, ACL_DELETE, ACL_DESCRIBE};
    int32_t bits = 0;
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        add_bit(r, &bits, operations[i], ACL_GROUP, group, true);
    return bits;
}

/* Some answers have no room for a text, and the one who asks need not be the one who can help. */
static void
tell_storage(const struct api_request *r)
{
    int64_t now_ms = request_now_ms(r);
    if (now_ms - r->api->told_storage_ms < TELL_EVERY_MS)
        return;
    r->api->told_storage_ms = now_ms;
    trace(TRACE_ERROR, "%s of %s: %s", r->info->name, r->peer->name, err_text());
}

void
peer_tell_bad_data(const struct api_request *r)
{
    struct api *api = r->api;
    int64_t now_ms = request_now_ms(r);
    if (now_ms - api->told_bad_data_ms < TELL_EVERY_MS) {
        api->bad_data_untold++;
        return;
    }
    if (api->bad_data_untold > 0)
        trace(TRACE_NOTICE, "%lld more refusals of bad data were not told",
            (long long)api->bad_data_untold);
    api->bad_data_untold = 0;
    api->told_bad_data_ms = now_ms;
    trace(TRACE_NOTICE, "%s of %s refused: %s", r->info->name, r->peer->name, err_text());
}

int16_t
peer_error(const struct api_request *r, int rc)
{
    int code = rc < 0 ? -rc : rc;
    if (code == BUS_ERR_KAFKA_STORAGE_ERROR || code == BUS_ERR_SYSTEM)
        tell_storage(r);
    if (r->peer->door == API_DOOR_UNIX)
        return err_to_wire(code);
    switch (code) {
    case BUS_ERR_DISK_FULL:
    case BUS_ERR_SYSTEM:
    case BUS_ERR_PARTITION_OFFLINE:
        return BUS_ERR_KAFKA_STORAGE_ERROR;
    case BUS_ERR_UNSUPPORTED_CODEC:
        return BUS_ERR_UNSUPPORTED_COMPRESSION_TYPE;
    case BUS_ERR_LIMIT_REACHED:
    case BUS_ERR_NO_MEMORY:
        return BUS_ERR_LEADER_NOT_AVAILABLE; /* the one that makes clients come again */
    default:
        return code >= 1000 ? err_to_wire(BUS_ERR_UNKNOWN_SERVER_ERROR) : err_to_wire(code);
    }
}

struct cluster_topic *
peer_topic(const struct api_request *r, const char *name)
{
    struct cluster_topic *topic = name ? cluster_topic(request_cluster(r), name) : NULL;
    if (!topic)
        err_set(BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION,
            "topic %s does not exist: create it, or look for its name in the list of topics",
            name ? name : "(null)");
    return topic;
}

struct cluster_topic *
peer_topic_of_id(const struct api_request *r, const struct uuid *id)
{
    struct cluster_topic *topic = cluster_topic_of_id(request_cluster(r), id);
    if (!topic)
        err_set(BUS_ERR_UNKNOWN_TOPIC_ID,
            "no topic has this id: it was deleted, perhaps created again; ask for its new id");
    return topic;
}

int
peer_log(struct api_request *r, const struct cluster_topic *topic, int32_t partition,
    struct open_log **log)
{
    const struct cluster_partition *p = cluster_partition(topic, partition);
    if (!p)
        return err_set(BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION,
            "topic %s has no partition %d: it has %d, counted from 0", topic->name, partition,
            topic->partition_count);
    if (p->leader != controller_node(r->api->wiring.controller))
        return err_set(BUS_ERR_NOT_LEADER_OR_FOLLOWER, "topic %s partition %d is led by node %d",
            topic->name, partition, p->leader);
    return logs_get(&r->api->logs, topic, partition, log);
}

int
peer_check_count(const struct api_request *r, size_t partitions)
{
    size_t most = NAMED_FREELY + 2 * (size_t)request_cluster(r)->partition_total;
    if (partitions <= most)
        return 0;
    return err_set(BUS_ERR_INVALID_REQUEST,
        "the request names %zu partitions, and there are %lld: name each of them once", partitions,
        (long long)request_cluster(r)->partition_total);
}

int
peer_check_epoch(const struct cluster_topic *topic, int32_t partition, int32_t epoch)
{
    const struct cluster_partition *p = cluster_partition(topic, partition);
    if (epoch < 0 || !p || epoch == p->leader_epoch)
        return 0;
    return err_set(
        epoch < p->leader_epoch ? BUS_ERR_FENCED_LEADER_EPOCH : BUS_ERR_UNKNOWN_LEADER_EPOCH,
        "topic %s partition %d has leader epoch %d, the request %d", topic->name, partition,
        p->leader_epoch, epoch);
}
