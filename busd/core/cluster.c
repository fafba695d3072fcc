/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cluster.h"

#include "base/check.h"
#include "core/cluster_sets.h"

#include <stdlib.h>
#include <string.h>

void
cluster_init(struct cluster *cluster, const struct settings *fixed)
{
    *cluster = (struct cluster){0};
    settings_init(&cluster->settings, &setting_table_broker, SETTING_FROM_DYNAMIC, fixed);
}

void
cluster_fini(struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->topic_count; i++)
        cluster_topic_free(&cluster->by_name[i]);
    free(cluster->by_name);
    free(cluster->by_id);
    free(cluster->nodes);
    settings_fini(&cluster->settings);
    acl_set_fini(&cluster->acls);
    user_set_fini(&cluster->users);
    *cluster = (struct cluster){0};
}

struct cluster_topic *
cluster_topic_new(const struct cluster *cluster, const char *name, int32_t partition_count)
{
    struct cluster_topic *topic = calloc(1, sizeof *topic);
    if (!topic)
        return NULL;
    topic->partitions = calloc((size_t)partition_count, sizeof topic->partitions[0]);
    if (!topic->partitions) {
        free(topic);
        return NULL;
    }
    size_t n = strlen(name);
    MUST(n < sizeof topic->name);
    memcpy(topic->name, name, n);
    topic->partition_count = partition_count;
    settings_init(&topic->settings, &setting_table_topic, SETTING_FROM_TOPIC, &cluster->settings);
    return topic;
}

void
cluster_topic_free(struct cluster_topic **topic)
{
    if (!*topic)
        return;
    settings_fini(&(*topic)->settings);
    free((*topic)->partitions);
    free(*topic);
    *topic = NULL;
}

/** The place of the first topic whose name is not below `name`. */
static size_t
place_by_name(const struct cluster *cluster, const char *name)
{
    size_t low = 0, high = cluster->topic_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(cluster->by_name[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t
place_by_id(const struct cluster *cluster, const struct uuid *id)
{
    size_t low = 0, high = cluster->topic_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(&cluster->by_id[middle]->id, id, sizeof *id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct cluster_topic *
cluster_topic(const struct cluster *cluster, const char *name)
{
    size_t at = place_by_name(cluster, name);
    if (at == cluster->topic_count || strcmp(cluster->by_name[at]->name, name) != 0)
        return NULL;
    return cluster->by_name[at];
}

struct cluster_topic *
cluster_topic_of_id(const struct cluster *cluster, const struct uuid *id)
{
    size_t at = place_by_id(cluster, id);
    if (at == cluster->topic_count || memcmp(&cluster->by_id[at]->id, id, sizeof *id) != 0)
        return NULL;
    return cluster->by_id[at];
}

struct cluster_topic *
cluster_topic_at(const struct cluster *cluster, size_t index)
{
    return index < cluster->topic_count ? cluster->by_name[index] : NULL;
}

const struct cluster_partition *
cluster_partition(const struct cluster_topic *topic, int32_t index)
{
    return index >= 0 && index < topic->partition_count ? &topic->partitions[index] : NULL;
}

int
cluster_reserve_topic(struct cluster *cluster)
{
    if (cluster->topic_count < cluster->topic_capacity)
        return 0;
    size_t capacity = cluster->topic_capacity ? cluster->topic_capacity * 2 : 16;
    struct cluster_topic **by_name = realloc(cluster->by_name, capacity * sizeof *by_name);
    if (!by_name)
        return err_no_memory();
    cluster->by_name = by_name;
    struct cluster_topic **by_id = realloc(cluster->by_id, capacity * sizeof *by_id);
    if (!by_id)
        return err_no_memory();
    cluster->by_id = by_id;
    cluster->topic_capacity = capacity;
    return 0;
}

static void
insert_at(struct cluster_topic **list, size_t count, size_t at, struct cluster_topic *topic)
{
    memmove(list + at + 1, list + at, (count - at) * sizeof list[0]);
    list[at] = topic;
}

static void
remove_at(struct cluster_topic **list, size_t count, size_t at)
{
    memmove(list + at, list + at + 1, (count - at - 1) * sizeof list[0]);
}

void
cluster_add_topic(struct cluster *cluster, struct cluster_topic *topic)
{
    MUST(cluster->topic_count < cluster->topic_capacity);
    size_t count = cluster->topic_count;
    insert_at(cluster->by_name, count, place_by_name(cluster, topic->name), topic);
    insert_at(cluster->by_id, count, place_by_id(cluster, &topic->id), topic);
    cluster->topic_count++;
    cluster->partition_total += topic->partition_count;
}

void
cluster_remove_topic(struct cluster *cluster, struct cluster_topic *topic)
{
    size_t at_name = place_by_name(cluster, topic->name);
    size_t at_id = place_by_id(cluster, &topic->id);
    MUST(cluster->by_name[at_name] == topic && cluster->by_id[at_id] == topic);
    remove_at(cluster->by_name, cluster->topic_count, at_name);
    remove_at(cluster->by_id, cluster->topic_count, at_id);
    cluster->topic_count--;
    cluster->partition_total -= topic->partition_count;
}

static size_t
place_of_node(const struct cluster *cluster, int32_t id)
{
    size_t at = 0;
    while (at < cluster->node_count && cluster->nodes[at].id < id)
        at++;
    return at;
}

const struct cluster_node *
cluster_node(const struct cluster *cluster, int32_t id)
{
    size_t at = place_of_node(cluster, id);
    return at < cluster->node_count && cluster->nodes[at].id == id ? &cluster->nodes[at] : NULL;
}

int
cluster_reserve_node(struct cluster *cluster)
{
    struct cluster_node *nodes = realloc(cluster->nodes, (cluster->node_count + 1) * sizeof *nodes);
    if (!nodes)
        return err_no_memory();
    cluster->nodes = nodes;
    return 0;
}

void
cluster_set_node(struct cluster *cluster, const struct cluster_node *node)
{
    size_t at = place_of_node(cluster, node->id);
    if (at == cluster->node_count || cluster->nodes[at].id != node->id) {
        memmove(cluster->nodes + at + 1, cluster->nodes + at,
            (cluster->node_count - at) * sizeof cluster->nodes[0]);
        cluster->node_count++;
    }
    cluster->nodes[at] = *node;
}
