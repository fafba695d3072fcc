/* SPDX-License-Identifier: Apache-2.0 */
#include "api/peer.h"
#include "base/err.h"
#include "base/trace.h"

enum {
    TELL_EVERY_MS = 1000, /* clients try again and again */
    NAMED_FREELY = 1000,  /* partitions of a request, whether they exist or not */
};

/** Numbers of Kafka's AclOperation: bit positions in AuthorizedOperations. */
enum {
    OPERATION_READ = 3,
    OPERATION_WRITE = 4,
    OPERATION_CREATE = 5,
    OPERATION_DELETE = 6,
    OPERATION_ALTER = 7,
    OPERATION_DESCRIBE = 8,
    OPERATION_DESCRIBE_CONFIGS = 10,
    OPERATION_ALTER_CONFIGS = 11,
};

static struct access_peer
credentials(const struct api_request *r)
{
    const struct api_peer *peer = r->peer;
    bool known = peer->door == API_DOOR_UNIX;
    return (struct access_peer){
        .uid = peer->uid,
        .gids = peer->groups,
        .gid_count = (size_t)peer->group_count,
        .is_self = known && (peer->uid == r->api->wiring.own_uid || peer->uid == 0),
    };
}

struct access
peer_access(const struct api_request *r, const struct cluster_topic *topic)
{
    struct access_peer who = credentials(r);
    return access_of(&topic->settings, &who, r->api->wiring.names);
}

bool
peer_may_see(const struct api_request *r, const struct cluster_topic *topic)
{
    struct access access = peer_access(r, topic);
    return access.read || access.mediated || peer_is_admin(r);
}

int
peer_check_read(const struct api_request *r, const struct cluster_topic *topic)
{
    if (peer_access(r, topic).read)
        return 0;
    return err_set(BUS_ERR_TOPIC_AUTHORIZATION_FAILED,
        "%s may not read topic %s: its setting access.read says who may", r->peer->name,
        topic->name);
}

int
peer_check_write(const struct api_request *r, const struct cluster_topic *topic)
{
    if (peer_access(r, topic).mediated)
        return 0;
    return err_set(BUS_ERR_TOPIC_AUTHORIZATION_FAILED,
        "%s may not write to topic %s: its setting access.write says who may", r->peer->name,
        topic->name);
}

bool
peer_is_admin(const struct api_request *r)
{
    struct access_peer who = credentials(r);
    if (who.is_self)
        return true;
    uint32_t gid;
    const struct access_names *names = r->api->wiring.names;
    if (!names->gid_of(names->context, PEER_ADMIN_GROUP, &gid))
        return false;
    for (size_t i = 0; i < who.gid_count; i++)
        if (who.gids[i] == gid)
            return true;
    return false;
}

int
peer_check_admin(const struct api_request *r, const char *what)
{
    if (peer_is_admin(r))
        return 0;
    return err_set(BUS_ERR_CLUSTER_AUTHORIZATION_FAILED,
        "%s may not %s: that is for busd's own user, root and the group " PEER_ADMIN_GROUP,
        r->peer->name, what);
}

int32_t
peer_topic_operations(const struct api_request *r, const struct cluster_topic *topic)
{
    struct access access = peer_access(r, topic);
    int32_t bits = 1 << OPERATION_DESCRIBE;
    if (access.read)
        bits |= 1 << OPERATION_READ;
    if (access.mediated)
        bits |= 1 << OPERATION_WRITE;
    if (peer_is_admin(r))
        bits |= 1 << OPERATION_CREATE | 1 << OPERATION_DELETE | 1 << OPERATION_ALTER |
                1 << OPERATION_DESCRIBE_CONFIGS | 1 << OPERATION_ALTER_CONFIGS;
    return bits;
}

int32_t
peer_cluster_operations(const struct api_request *r)
{
    int32_t bits = 1 << OPERATION_DESCRIBE;
    if (peer_is_admin(r))
        bits |= 1 << OPERATION_CREATE | 1 << OPERATION_ALTER | 1 << OPERATION_DESCRIBE_CONFIGS |
                1 << OPERATION_ALTER_CONFIGS;
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
