/* SPDX-License-Identifier: Apache-2.0
 * Commands: checked, prepared beside the state, committed.
 */
#include "base/check.h"
#include "core/cluster_security.h"
#include "core/cluster_sets.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool
cluster_name_internal(const char *name)
{
    return strcmp(name, "__consumer_offsets") == 0 || strcmp(name, "__transaction_state") == 0 ||
           strcmp(name, "__share_group_state") == 0 || strcmp(name, "__cluster_metadata") == 0;
}

int
cluster_check_name(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t n = name ? strlen(name) : 0;
    if (n == 0)
        return err_set(BUS_ERR_INVALID_TOPIC_EXCEPTION,
            "a topic needs a name: give it 1 to %d letters, digits, '.', '_' or '-'",
            CLUSTER_TOPIC_NAME_MAX);
    if (n > CLUSTER_TOPIC_NAME_MAX)
        return err_set(BUS_ERR_INVALID_TOPIC_EXCEPTION,
            "the topic name \"%.40s…\" has %zu bytes; at most %d are allowed", name, n,
            CLUSTER_TOPIC_NAME_MAX);
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return err_set(BUS_ERR_INVALID_TOPIC_EXCEPTION,
            "a topic cannot be called \"%s\": choose another name", name);
    if (name[strspn(name, allowed)] != '\0')
        return err_set(BUS_ERR_INVALID_TOPIC_EXCEPTION,
            "the topic name \"%.100s\" has a character that is not allowed; allowed are letters, "
            "digits, '.', '_' and '-'",
            name);
    return 0;
}

int
cluster_check_partitions(int32_t count)
{
    if (count < 1 || count > CLUSTER_PARTITIONS_MAX)
        return err_set(BUS_ERR_INVALID_PARTITIONS, "%" PRId32 " partitions: a topic has 1 to %d",
            count, CLUSTER_PARTITIONS_MAX);
    return 0;
}

/** Whether two names become one where '.' and '_' are the same, as in names of metrics. */
static bool
names_collide(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        char x = *a == '.' ? '_' : *a;
        char y = *b == '.' ? '_' : *b;
        if (x != y)
            return false;
    }
    return *a == *b;
}

static int
check_new_name(const struct cluster *cluster, const char *name)
{
    int rc = cluster_check_name(name);
    if (rc < 0)
        return rc;
    if (cluster_topic(cluster, name))
        return err_set(BUS_ERR_TOPIC_ALREADY_EXISTS,
            "topic \"%s\" exists already: choose another name, or alter that one", name);
    for (size_t i = 0; i < cluster->topic_count && strpbrk(name, "._"); i++)
        if (names_collide(cluster->by_name[i]->name, name))
            return err_set(BUS_ERR_INVALID_TOPIC_EXCEPTION,
                "topic \"%.100s\" differs from \"%.100s\", which exists, only in '.' and '_': "
                "choose another name",
                name, cluster->by_name[i]->name);
    return 0;
}

static int
check_replicas(const struct cluster *cluster, const struct command_replicas *replicas)
{
    if (replicas->count < 1 || replicas->count > CLUSTER_REPLICAS_MAX)
        return err_set(BUS_ERR_INVALID_REPLICATION_FACTOR,
            "%" PRId32 " replicas: a partition has 1 to %d", replicas->count, CLUSTER_REPLICAS_MAX);
    for (int32_t i = 0; i < replicas->count; i++) {
        if (!cluster_node(cluster, replicas->nodes[i]))
            return err_set(BUS_ERR_INVALID_REPLICA_ASSIGNMENT,
                "node %" PRId32 " is not part of the cluster", replicas->nodes[i]);
        for (int32_t j = 0; j < i; j++)
            if (replicas->nodes[i] == replicas->nodes[j])
                return err_set(BUS_ERR_INVALID_REPLICA_ASSIGNMENT,
                    "node %" PRId32 " is named twice for one partition", replicas->nodes[i]);
    }
    return 0;
}

static int
check_room(const struct cluster *cluster, int32_t more)
{
    int64_t most = settings_int(&cluster->settings, BROKER_PARTITIONS_MAX);
    if (cluster->partition_total + more <= most)
        return 0;
    return err_set(BUS_ERR_POLICY_VIOLATION,
        "%" PRId32 " more partitions: there are %" PRId64 " and partitions.max is %" PRId64, more,
        cluster->partition_total, most);
}

static int
alter(struct settings *settings, const struct command *command, bool fixed_too)
{
    for (size_t i = 0; i < command->setting_count; i++) {
        const struct command_setting *change = &command->settings[i];
        int row = settings_find(settings->table, change->name);
        if (row < 0)
            return row;
        if (!fixed_too && settings->table == &setting_table_topic && row == TOPIC_STORAGE_TYPE)
            return err_set(BUS_ERR_INVALID_CONFIG,
                "storage.type is fixed when the topic is created: make another topic");
        if (settings->table->rows[row].when == SETTING_RESTART)
            return err_set(BUS_ERR_INVALID_CONFIG,
                "%s takes effect at the start of busd only: set it in busd.conf and restart",
                change->name);
        int rc = settings_alter(settings, (unsigned)row, change->op, change->value);
        if (rc < 0)
            return rc;
    }
    return settings->table == &setting_table_topic ? settings_check_topic(settings) : 0;
}

static void
place_replicas(struct cluster_topic *topic, int32_t first, const struct command_replicas *replicas)
{
    for (int32_t i = first; i < topic->partition_count; i++) {
        struct cluster_partition *partition = &topic->partitions[i];
        partition->leader = replicas->nodes[0];
        partition->replica_count = partition->isr_count = replicas->count;
        for (int32_t j = 0; j < replicas->count; j++)
            partition->replicas[j] = partition->isr[j] = replicas->nodes[j];
    }
}

static int
prepare_create(struct cluster *cluster, const struct command *command, struct changes *changes)
{
    static const struct uuid none;
    int rc = check_new_name(cluster, command->name);
    if (rc == 0)
        rc = cluster_check_partitions(command->count);
    if (rc == 0)
        rc = check_replicas(cluster, &command->replicas);
    if (rc == 0)
        rc = check_room(cluster, command->count);
    if (rc == 0)
        rc = cluster_reserve_topic(cluster);
    if (rc < 0)
        return rc;
    if (memcmp(&command->id, &none, sizeof none) == 0 || cluster_topic_of_id(cluster, &command->id))
        return err_set(BUS_ERR_INVALID_REQUEST, "the new topic's id is zero or taken");
    changes->next = cluster_topic_new(cluster, command->name, command->count);
    if (!changes->next)
        return err_no_memory();
    changes->next->id = command->id;
    place_replicas(changes->next, 0, &command->replicas);
    return alter(&changes->next->settings, command, true);
}

static int
find_topic(struct cluster *cluster, const struct command *command, struct changes *changes)
{
    changes->topic = cluster_topic_of_id(cluster, &command->id);
    return changes->topic ? 0 : err_set(BUS_ERR_UNKNOWN_TOPIC_ID, "no topic has this id");
}

/** What the topic will be, with room for `partition_count` partitions: as it is, to start with. */
static int
copy_topic(struct cluster *cluster, struct changes *changes, int32_t partition_count)
{
    const struct cluster_topic *old = changes->topic;
    struct cluster_topic *next = cluster_topic_new(cluster, old->name, partition_count);
    if (!next)
        return err_no_memory();
    changes->next = next;
    next->id = old->id;
    memcpy(next->partitions, old->partitions,
        (size_t)old->partition_count * sizeof old->partitions[0]);
    return settings_copy(&next->settings, &old->settings);
}

static int
prepare_grow(struct cluster *cluster, const struct command *command, struct changes *changes)
{
    int rc = find_topic(cluster, command, changes);
    if (rc == 0)
        rc = cluster_check_partitions(command->count);
    if (rc < 0)
        return rc;
    int32_t old = changes->topic->partition_count;
    if (command->count <= old)
        return err_set(BUS_ERR_INVALID_PARTITIONS,
            "topic \"%s\" has %" PRId32 " partitions; their number can only grow, not become "
            "%" PRId32,
            changes->topic->name, old, command->count);
    rc = check_replicas(cluster, &command->replicas);
    if (rc == 0)
        rc = check_room(cluster, command->count - old);
    if (rc == 0)
        rc = copy_topic(cluster, changes, command->count);
    if (rc < 0)
        return rc;
    changes->first_partition = old;
    place_replicas(changes->next, old, &command->replicas);
    return 0;
}

static int
prepare_alter(struct cluster *cluster, const struct command *command, struct changes *changes)
{
    int rc = find_topic(cluster, command, changes);
    if (rc == 0)
        rc = copy_topic(cluster, changes, changes->topic->partition_count);
    return rc < 0 ? rc : alter(&changes->next->settings, command, false);
}

static int
prepare_broker(struct cluster *cluster, const struct command *command, struct changes *changes)
{
    if (command->node != -1 && !cluster_node(cluster, command->node))
        return err_set(
            BUS_ERR_INVALID_REQUEST, "node %" PRId32 " is not part of the cluster", command->node);
    int rc = settings_copy(&changes->settings, &cluster->settings);
    return rc < 0 ? rc : alter(&changes->settings, command, false);
}

static int
prepare_node(struct cluster *cluster, const struct command *command, struct changes *changes)
{
    size_t n = command->name ? strlen(command->name) : 0;
    if (command->node < 0 || command->node > CLUSTER_NODE_ID_MAX || n > CLUSTER_HOST_BYTES_MAX ||
        command->count < 0 || command->count > UINT16_MAX)
        return err_set(BUS_ERR_INVALID_REQUEST,
            "node %" PRId32 " cannot be registered: id, host "
            "or port are out of range",
            command->node);
    changes->node.id = command->node;
    changes->node.port = command->count;
    if (n > 0)
        memcpy(changes->node.host, command->name, n);
    return cluster_reserve_node(cluster);
}

static int
prepare_producer_ids(
    struct cluster *cluster, const struct command *command, struct changes *changes)
{
    if (command->count < 1 || command->count > CLUSTER_PRODUCER_BLOCK ||
        cluster->next_producer_id > INT64_MAX - command->count)
        return err_set(BUS_ERR_INVALID_REQUEST, "a block of %" PRId32 " producer ids: 1 to %d",
            command->count, CLUSTER_PRODUCER_BLOCK);
    changes->first_producer_id = cluster->next_producer_id;
    changes->producer_id_count = command->count;
    return 0;
}

static int
prepare(struct cluster *cluster, const struct command *command, struct changes *changes)
{
    switch (command->type) {
    case COMMAND_TOPIC_CREATE:
        return prepare_create(cluster, command, changes);
    case COMMAND_TOPIC_DELETE:
        return find_topic(cluster, command, changes);
    case COMMAND_TOPIC_GROW:
        return prepare_grow(cluster, command, changes);
    case COMMAND_TOPIC_ALTER:
        return prepare_alter(cluster, command, changes);
    case COMMAND_BROKER_ALTER:
        return prepare_broker(cluster, command, changes);
    case COMMAND_NODE_REGISTER:
        return prepare_node(cluster, command, changes);
    case COMMAND_PRODUCER_IDS:
        return prepare_producer_ids(cluster, command, changes);
    case COMMAND_ACL_ADD:
        return security_prepare_acl(cluster, command, changes);
    case COMMAND_ACL_REMOVE:
        return security_find_acl(cluster, command, changes);
    case COMMAND_USER_SET:
        return security_prepare_user(cluster, command, changes);
    case COMMAND_USER_REMOVE:
        return security_find_user(cluster, command, changes);
    }
    return err_set(BUS_ERR_INVALID_REQUEST, "unknown metadata command %d", (int)command->type);
}

int
cluster_prepare(struct cluster *cluster, const struct command *command, struct changes *changes)
{
    *changes = (struct changes){.type = command->type, .cluster = cluster};
    settings_init(
        &changes->settings, &setting_table_broker, SETTING_FROM_DYNAMIC, cluster->settings.parent);
    int rc = prepare(cluster, command, changes);
    if (rc < 0)
        changes_fini(changes);
    return rc;
}

static void
commit_grow(struct cluster *cluster, struct changes *changes)
{
    struct cluster_topic *topic = changes->topic, *next = changes->next;
    struct cluster_partition *partitions = topic->partitions;
    cluster->partition_total += next->partition_count - topic->partition_count;
    topic->partitions = next->partitions;
    topic->partition_count = next->partition_count;
    next->partitions = partitions;
}

void
cluster_commit(struct cluster *cluster, struct changes *changes)
{
    MUST(!changes->committed && changes->cluster == cluster);
    switch (changes->type) {
    case COMMAND_TOPIC_CREATE:
        cluster_add_topic(cluster, changes->next);
        changes->topic = changes->next;
        changes->next = NULL;
        break;
    case COMMAND_TOPIC_DELETE:
        cluster_remove_topic(cluster, changes->topic);
        break;
    case COMMAND_TOPIC_GROW:
        commit_grow(cluster, changes);
        break;
    case COMMAND_TOPIC_ALTER:
        settings_swap(&changes->topic->settings, &changes->next->settings);
        break;
    case COMMAND_BROKER_ALTER:
        settings_swap(&cluster->settings, &changes->settings);
        break;
    case COMMAND_NODE_REGISTER:
        cluster_set_node(cluster, &changes->node);
        break;
    case COMMAND_PRODUCER_IDS:
        cluster->next_producer_id += changes->producer_id_count;
        break;
    case COMMAND_ACL_ADD:
    case COMMAND_ACL_REMOVE:
    case COMMAND_USER_SET:
    case COMMAND_USER_REMOVE:
        security_commit(cluster, changes);
        break;
    }
    changes->committed = true;
}

void
changes_fini(struct changes *changes)
{
    cluster_topic_free(&changes->next);
    if (changes->committed && changes->type == COMMAND_TOPIC_DELETE)
        cluster_topic_free(&changes->topic);
    settings_fini(&changes->settings);
    security_changes_fini(changes);
    changes->topic = NULL;
}

int
cluster_apply(struct cluster *cluster, const struct command *command, struct changes *changes)
{
    int rc = cluster_prepare(cluster, command, changes);
    if (rc == 0)
        cluster_commit(cluster, changes);
    return rc;
}
