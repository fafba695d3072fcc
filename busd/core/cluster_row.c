/* SPDX-License-Identifier: Apache-2.0
 * The state as rows of bytes: one per topic, one per node, one each for settings and producer ids.
 */
#include "base/bytes.h"
#include "base/check.h"
#include "core/cluster_sets.h"
#include "core/pack.h"
#include "core/pack_security.h"

#include <string.h>

/** The first byte of a key; the numbers are on disk. */
enum row_kind {
    ROW_TOPIC = 't',     /* then the id */
    ROW_SETTINGS = 's',  /* busd's settings, set at run time */
    ROW_NODE = 'n',      /* then the node id */
    ROW_PRODUCERS = 'p', /* the next producer id */
    ROW_ACL = 'a',       /* then the id */
    ROW_USER = 'u',      /* then the mechanism in a byte, and the name */
};

enum { ROW_ARENA_BYTES_MAX = 1 << 20 };

/* ---- writing -------------------------------------------------------------------------------- */

static void
put_settings(struct buf *out, const struct settings *settings)
{
    int32_t count = 0;
    for (unsigned i = 0; i < settings->table->count; i++)
        count += settings_is_set(settings, i);
    pack_i32(out, count);
    for (unsigned i = 0; i < settings->table->count; i++) {
        char space[SETTING_FORMAT_BYTES];
        if (!settings_is_set(settings, i))
            continue;
        pack_string(out, settings->table->rows[i].name);
        pack_string(out, settings_format(settings, i, space));
    }
}

static void
put_nodes(struct buf *out, const int32_t *nodes, int32_t count)
{
    pack_u8(out, (unsigned)count);
    for (int32_t i = 0; i < count; i++)
        pack_i32(out, nodes[i]);
}

static void
put_topic(struct buf *out, const struct cluster_topic *topic)
{
    pack_string(out, topic->name);
    pack_i32(out, topic->partition_count);
    for (int32_t i = 0; i < topic->partition_count; i++) {
        const struct cluster_partition *partition = &topic->partitions[i];
        pack_i32(out, partition->leader);
        pack_i32(out, partition->leader_epoch);
        pack_i32(out, partition->partition_epoch);
        put_nodes(out, partition->replicas, partition->replica_count);
        put_nodes(out, partition->isr, partition->isr_count);
    }
    put_settings(out, &topic->settings);
}

static void
set_key(struct cluster_row *row, enum row_kind kind, const void *rest, size_t n)
{
    row->key[0] = (uint8_t)kind;
    if (n > 0)
        memcpy(row->key + 1, rest, n);
    row->key_bytes = 1 + n;
}

static void
put_security(const struct changes *changes, struct buf *space, struct cluster_row *row)
{
    const struct user_row *user = changes->user;
    if (changes->acl)
        set_key(row, ROW_ACL, &changes->acl->id, sizeof changes->acl->id);
    if (user) {
        uint8_t key[1 + USER_NAME_BYTES_MAX] = {(uint8_t)user->credential.mechanism};
        size_t n = strlen(user->name);
        memcpy(key + 1, user->name, n);
        set_key(row, ROW_USER, key, 1 + n);
    }
    if (changes->type == COMMAND_ACL_ADD)
        pack_acl(space, &changes->acl->rule);
    if (changes->type == COMMAND_USER_SET)
        pack_credential(space, &user->credential);
}

static void
put_value(const struct changes *changes, struct buf *space, struct cluster_row *row)
{
    uint8_t id[4];
    pack_u8(space, PACK_FORM);
    switch (changes->type) {
    case COMMAND_TOPIC_CREATE:
    case COMMAND_TOPIC_GROW:
    case COMMAND_TOPIC_ALTER:
        set_key(row, ROW_TOPIC, &changes->next->id, sizeof changes->next->id);
        put_topic(space, changes->next);
        break;
    case COMMAND_TOPIC_DELETE:
        set_key(row, ROW_TOPIC, &changes->topic->id, sizeof changes->topic->id);
        break;
    case COMMAND_BROKER_ALTER:
        set_key(row, ROW_SETTINGS, NULL, 0);
        put_settings(space, &changes->settings);
        break;
    case COMMAND_NODE_REGISTER:
        bytes_put_i32(id, changes->node.id);
        set_key(row, ROW_NODE, id, sizeof id);
        pack_string(space, changes->node.host);
        pack_i32(space, changes->node.port);
        break;
    case COMMAND_PRODUCER_IDS:
        set_key(row, ROW_PRODUCERS, NULL, 0);
        pack_i64(space, changes->first_producer_id + changes->producer_id_count);
        break;
    default:
        put_security(changes, space, row);
        break;
    }
}

int
cluster_row(const struct changes *changes, struct buf *space, struct cluster_row *row)
{
    MUST(!changes->committed);
    *row = (struct cluster_row){0};
    size_t before = space->length;
    put_value(changes, space, row);
    if (buf_failed(space))
        return err_no_memory();
    if (changes->type == COMMAND_TOPIC_DELETE || changes->type == COMMAND_ACL_REMOVE ||
        changes->type == COMMAND_USER_REMOVE)
        space->length = before;
    row->value = space->data + before;
    row->value_bytes = space->length - before;
    return 0;
}

/* ---- reading -------------------------------------------------------------------------------- */

static int
get_settings(struct unpack *in, struct settings *settings, struct arena *arena)
{
    int32_t count = unpack_i32(in);
    if (count < 0 || count > (int32_t)settings->table->count)
        in->bad = true;
    for (int32_t i = 0; !in->bad && i < count; i++) {
        const char *name = unpack_string(in, arena);
        const char *value = unpack_string(in, arena);
        if (!name || !value)
            in->bad = true;
        else if (settings_set_named(settings, name, value) < 0)
            return err_set(BUS_ERR_DATA_VERSION,
                "the stored setting %.64s=%.64s means nothing to this busd; start the one that "
                "wrote it",
                name, value);
    }
    return 0;
}

static int32_t
get_nodes(struct unpack *in, int32_t nodes[CLUSTER_REPLICAS_MAX])
{
    int32_t count = (int32_t)unpack_u8(in);
    if (count > CLUSTER_REPLICAS_MAX) {
        in->bad = true;
        return 0;
    }
    for (int32_t i = 0; i < count; i++)
        nodes[i] = unpack_i32(in);
    return count;
}

static void
get_partition(struct unpack *in, struct cluster_partition *partition)
{
    partition->leader = unpack_i32(in);
    partition->leader_epoch = unpack_i32(in);
    partition->partition_epoch = unpack_i32(in);
    partition->replica_count = get_nodes(in, partition->replicas);
    partition->isr_count = get_nodes(in, partition->isr);
    if (partition->leader < -1 || partition->leader_epoch < 0 || partition->replica_count < 1)
        in->bad = true;
}

static int
load_topic(
    struct cluster *cluster, const struct cluster_row *row, struct unpack *in, struct arena *arena)
{
    struct uuid id;
    if (row->key_bytes != 1 + sizeof id)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "a topic's key has the wrong length");
    memcpy(&id, row->key + 1, sizeof id);
    const char *name = unpack_string(in, arena);
    int32_t count = unpack_i32(in);
    if (in->bad || cluster_check_name(name) < 0 || cluster_check_partitions(count) < 0 ||
        cluster_topic(cluster, name) || cluster_topic_of_id(cluster, &id))
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "a topic's row is damaged");
    struct cluster_topic *topic = cluster_topic_new(cluster, name, count);
    if (!topic || cluster_reserve_topic(cluster) < 0) {
        cluster_topic_free(&topic);
        return err_no_memory();
    }
    topic->id = id;
    for (int32_t i = 0; i < count; i++)
        get_partition(in, &topic->partitions[i]);
    int rc = get_settings(in, &topic->settings, arena);
    if (rc == 0 && (in->bad || in->at != in->end))
        rc = err_set(BUS_ERR_CORRUPT_MESSAGE, "the row of topic \"%s\" is damaged", name);
    if (rc < 0)
        cluster_topic_free(&topic);
    else
        cluster_add_topic(cluster, topic);
    return rc;
}

static int
load_node(
    struct cluster *cluster, const struct cluster_row *row, struct unpack *in, struct arena *arena)
{
    struct cluster_node node = {0};
    const char *host = unpack_string(in, arena);
    node.port = unpack_i32(in);
    if (in->bad || !host || strlen(host) > CLUSTER_HOST_BYTES_MAX || row->key_bytes != 5 ||
        node.port < 0 || node.port > UINT16_MAX)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "a node's row is damaged");
    memcpy(node.host, host, strlen(host));
    node.id = bytes_get_i32(row->key + 1);
    int rc = cluster_reserve_node(cluster);
    if (rc == 0)
        cluster_set_node(cluster, &node);
    return rc;
}

static int
load_producer_ids(struct cluster *cluster, struct unpack *in)
{
    int64_t next = unpack_i64(in);
    if (in->bad || next < 0)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "the row of producer ids is damaged");
    cluster->next_producer_id = next;
    return 0;
}

static int
load_acl(
    struct cluster *cluster, const struct cluster_row *row, struct unpack *in, struct arena *arena)
{
    struct acl_rule rule;
    struct uuid id;
    unpack_acl(in, &rule, arena);
    if (in->bad || row->key_bytes != 1 + sizeof id || acl_set_twin(&cluster->acls, &rule))
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "an access rule's row is damaged");
    memcpy(&id, row->key + 1, sizeof id);
    struct acl *acl = acl_set_reserve(&cluster->acls) == 0 ? acl_new(&id, &rule) : NULL;
    if (!acl)
        return err_no_memory();
    acl_set_add(&cluster->acls, acl);
    return 0;
}

static int
load_user(struct cluster *cluster, const struct cluster_row *row, struct unpack *in)
{
    struct scram_credential credential;
    char name[USER_NAME_BYTES_MAX + 1] = "";
    unpack_credential(in, &credential);
    if (in->bad || row->key_bytes < 3 || row->key[1] != credential.mechanism ||
        memchr(row->key + 2, 0, row->key_bytes - 2))
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "a user's row is damaged");
    memcpy(name, row->key + 2, row->key_bytes - 2);
    struct user_row *user =
        user_set_reserve(&cluster->users) == 0 ? user_row_new(name, &credential) : NULL;
    if (!user)
        return err_no_memory();
    user = user_set_put(&cluster->users, user);
    user_row_free(&user);
    return 0;
}

static int
load(struct cluster *cluster, const struct cluster_row *row, struct unpack *in, struct arena *arena)
{
    switch (row->key[0]) {
    case ROW_TOPIC:
        return load_topic(cluster, row, in, arena);
    case ROW_SETTINGS:
        return get_settings(in, &cluster->settings, arena);
    case ROW_NODE:
        return load_node(cluster, row, in, arena);
    case ROW_PRODUCERS:
        return load_producer_ids(cluster, in);
    case ROW_ACL:
        return load_acl(cluster, row, in, arena);
    case ROW_USER:
        return load_user(cluster, row, in);
    default:
        return err_set(BUS_ERR_DATA_VERSION,
            "metadata of kind '%c' was written by a newer busd; start that one", row->key[0]);
    }
}

int
cluster_load(struct cluster *cluster, const struct cluster_row *row)
{
    struct unpack in = {.at = row->value, .end = row->value + row->value_bytes};
    if (row->key_bytes == 0 || unpack_u8(&in) == 0 || in.bad)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "a metadata row without content");
    if (row->value[0] > PACK_FORM)
        return err_set(BUS_ERR_DATA_VERSION,
            "metadata of form %u was written by a newer busd; start that one", row->value[0]);
    struct arena arena;
    arena_init(&arena, ROW_ARENA_BYTES_MAX);
    int rc = load(cluster, row, &in, &arena);
    arena_fini(&arena);
    if (rc == 0 && (in.bad || in.at != in.end))
        rc = err_set(BUS_ERR_CORRUPT_MESSAGE, "a metadata row is damaged");
    return rc;
}
