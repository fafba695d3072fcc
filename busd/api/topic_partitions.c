/* SPDX-License-Identifier: Apache-2.0
 * DescribeTopicPartitions: topics and their partitions by name, page by page.
 */
#include "api/authorize.h"
#include "api/peer.h"
#include "api/table.h"
#include "base/err.h"

#include <stdlib.h>
#include <string.h>

enum { PARTITIONS_MAX = 2000 }; /* of an answer, as Kafka's max.request.partition.size.limit */

struct page {
    const char **names; /* sorted, each once */
    size_t count;
    int32_t left; /* partitions that the answer still takes */
};

static int
compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* ---- which topics --------------------------------------------------------------------------- */

static int
list_all(struct api_request *r, struct page *page)
{
    const struct cluster *cluster = request_cluster(r);
    page->names = arena_array(&r->arena, cluster->topic_count, sizeof(char *));
    if (!page->names)
        return -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; i < cluster->topic_count; i++)
        if (peer_may_see(r, cluster_topic_at(cluster, i)))
            page->names[page->count++] = cluster_topic_at(cluster, i)->name;
    return 0;
}

static int
list_named(struct api_request *r, struct page *page)
{
    const struct describe_topic_partitions_request *request = r->message;
    page->names = arena_array(&r->arena, (size_t)request->topics_count, sizeof(char *));
    if (!page->names)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < request->topics_count; i++)
        page->names[i] = request->topics[i].name;
    qsort(page->names, (size_t)request->topics_count, sizeof(char *), compare);
    for (int32_t i = 0; i < request->topics_count; i++)
        if (page->count == 0 || strcmp(page->names[page->count - 1], page->names[i]) != 0)
            page->names[page->count++] = page->names[i];
    return 0;
}

/* ---- one topic ------------------------------------------------------------------------------ */

static void
fill_partition(struct describe_topic_partitions_response_topic_partition *out, int32_t index,
    const struct cluster_partition *p)
{
    out->error_code = p->leader < 0 ? BUS_ERR_LEADER_NOT_AVAILABLE : BUS_ERR_NONE;
    out->partition_index = index;
    out->leader_id = p->leader;
    out->leader_epoch = p->leader_epoch;
    out->replica_nodes = (int32_t *)p->replicas;
    out->replica_nodes_count = p->replica_count;
    out->isr_nodes = (int32_t *)p->isr;
    out->isr_nodes_count = p->isr_count;
}

static int
end_page(struct api_request *r, const char *name, int32_t partition)
{
    struct describe_topic_partitions_response *out = r->response;
    out->next_cursor =
        wire_array(&describe_topic_partitions_response_next_cursor_schema, &r->arena, 1);
    if (!out->next_cursor)
        return -BUS_ERR_NO_MEMORY;
    out->next_cursor->topic_name = name;
    out->next_cursor->partition_index = partition;
    return 0;
}

static int
fill_topic(struct api_request *r, struct page *page, const struct cluster_topic *topic,
    int32_t first, struct describe_topic_partitions_response_topic *out)
{
    int32_t more = topic->partition_count > first ? topic->partition_count - first : 0;
    int32_t count = more < page->left ? more : page->left;
    out->topic_id = topic->id;
    out->is_internal = cluster_name_internal(topic->name);
    out->topic_authorized_operations = peer_topic_operations(r, topic);
    out->partitions = wire_array(
        &describe_topic_partitions_response_topic_partition_schema, &r->arena, (size_t)count);
    if (!out->partitions)
        return -BUS_ERR_NO_MEMORY;
    for (; out->partitions_count < count; out->partitions_count++)
        fill_partition(&out->partitions[out->partitions_count], first + out->partitions_count,
            &topic->partitions[first + out->partitions_count]);
    page->left -= count;
    return count < more ? end_page(r, out->name, first + count) : 0;
}

static int
add_topic(struct api_request *r, struct page *page, const char *name, int32_t first,
    struct describe_topic_partitions_response_topic *out)
{
    const struct cluster_topic *topic = cluster_topic(request_cluster(r), name);
    out->name = name;
    /* Who may not see a name is not told either whether there is such a topic. */
    if (!authorize(r, ACL_DESCRIBE, ACL_TOPIC, name, true)) {
        out->error_code = BUS_ERR_TOPIC_AUTHORIZATION_FAILED;
        return 0;
    }
    if (topic && peer_may_see(r, topic))
        return fill_topic(r, page, topic, first, out);
    int rc = cluster_check_name(name);
    if (rc == 0)
        rc = topic ? -BUS_ERR_TOPIC_AUTHORIZATION_FAILED : -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
    out->error_code = peer_error(r, rc);
    return 0;
}

/* ---- the request ---------------------------------------------------------------------------- */

static int
fill_page(struct api_request *r, struct page *page)
{
    const struct describe_topic_partitions_request *request = r->message;
    struct describe_topic_partitions_response *out = r->response;
    const struct describe_topic_partitions_request_cursor *from = request->cursor;
    int rc = 0;
    for (size_t i = 0; i < page->count && rc == 0 && !out->next_cursor; i++) {
        const char *name = page->names[i];
        int order = from ? strcmp(name, from->topic_name) : 1;
        if (order < 0)
            continue;
        if (page->left == 0)
            return end_page(r, name, order == 0 ? from->partition_index : 0);
        rc = add_topic(r, page, name, order == 0 ? from->partition_index : 0,
            &out->topics[out->topics_count++]);
    }
    return rc;
}

int
handle_describe_topic_partitions(struct api_request *r)
{
    const struct describe_topic_partitions_request *request = r->message;
    struct describe_topic_partitions_response *out = r->response;
    int32_t limit = request->response_partition_limit;
    struct page page = {.left = limit > 0 && limit < PARTITIONS_MAX ? limit : PARTITIONS_MAX};
    if (request->cursor && request->cursor->partition_index < 0)
        return err_set(BUS_ERR_INVALID_REQUEST, "the cursor is at partition %d",
            request->cursor->partition_index);
    int rc = request->topics_count == 0 ? list_all(r, &page) : list_named(r, &page);
    if (rc < 0)
        return rc;
    out->topics =
        wire_array(&describe_topic_partitions_response_topic_schema, &r->arena, page.count);
    if (!out->topics)
        return -BUS_ERR_NO_MEMORY;
    rc = fill_page(r, &page);
    return rc < 0 ? rc : HANDLED_DONE;
}
