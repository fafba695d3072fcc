/* SPDX-License-Identifier: Apache-2.0
 * Asking what a group has committed.
 */
#include "base/err.h"
#include "client/bus.h"
#include "client/commit.h"

#include <string.h>

enum { FIND_BYTES_MAX = 64 << 20 };

/* Runs of one topic after each other make one entry; a topic may have several, that is no harm. */
static int
fill_group(struct offset_fetch_request_group *group, const struct bus_assignment *wanted,
    size_t count, struct arena *arena)
{
    struct offset_fetch_request_group_topic *topics = arena_array(arena, count, sizeof *topics);
    int32_t *numbers = arena_array(arena, count, sizeof *numbers);
    if (!topics || !numbers)
        return -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        numbers[i] = wanted[i].partition;
        if (i == 0 || strcmp(wanted[i].topic, wanted[i - 1].topic) != 0)
            topics[group->topics_count++] = (struct offset_fetch_request_group_topic){
                .name = wanted[i].topic, .partition_indexes = &numbers[i]};
        topics[group->topics_count - 1].partition_indexes_count++;
    }
    group->topics = topics;
    return 0;
}

static int
unexpected(void)
{
    return err_set(
        BUS_ERR_UNKNOWN_SERVER_ERROR, "busd's answer does not speak of what it was asked for");
}

/* The answer has the order of the request. */
static int
read_found(const struct offset_fetch_response *answer, struct bus_assignment *wanted, size_t count)
{
    if (answer->groups_count != 1)
        return unexpected();
    const struct offset_fetch_response_group *group = &answer->groups[0];
    int rc = conn_refused(group->error_code, NULL);
    size_t at = 0;
    for (int32_t i = 0; rc == 0 && i < group->topics_count; i++) {
        const struct offset_fetch_response_group_topic *topic = &group->topics[i];
        for (int32_t j = 0; rc == 0 && j < topic->partitions_count; j++, at++) {
            const struct offset_fetch_response_group_topic_partition *one = &topic->partitions[j];
            if (at >= count || one->partition_index != wanted[at].partition ||
                strcmp(topic->name, wanted[at].topic) != 0)
                return unexpected();
            rc = err_prefix(conn_refused(one->error_code, NULL), "%s-%d", wanted[at].topic,
                wanted[at].partition);
            wanted[at].offset = one->committed_offset;
        }
    }
    return rc < 0 || at == count ? rc : unexpected();
}

static int
ask(struct bus_consumer *consumer, const struct offset_fetch_request *request,
    struct bus_assignment *wanted, size_t count, int64_t deadline_ns)
{
    struct conn_reply *reply;
    int rc = conn_call(consumer->bus->conn, API_OFFSET_FETCH, request, CONN_RESTART | CONN_AGAIN,
        deadline_ns, &reply);
    if (rc < 0)
        return rc;
    rc = read_found(reply->message, wanted, count);
    conn_reply_free(&reply);
    return rc;
}

int
commit_find(
    struct bus_consumer *consumer, struct bus_assignment *wanted, size_t count, int64_t deadline_ns)
{
    struct offset_fetch_request_group group = {
        .group_id = consumer->settings.group_id, .member_epoch = -1};
    struct offset_fetch_request request = {.groups = &group, .groups_count = 1};
    struct arena arena;
    if (count == 0)
        return 0;
    arena_init(&arena, FIND_BYTES_MAX);
    int rc = fill_group(&group, wanted, count, &arena);
    if (rc == 0)
        rc = ask(consumer, &request, wanted, count, deadline_ns);
    arena_fini(&arena);
    return err_prefix(rc, "group %s", group.group_id);
}

int
bus_committed(struct bus_consumer *consumer, const char *topic, int32_t partition, int64_t *offset)
{
    struct bus_assignment wanted = {topic, partition, -1};
    if (!*consumer->settings.group_id)
        return err_set(BUS_ERR_INVALID_GROUP_ID, "the consumer has no group: set group.id");
    int rc = commit_find(consumer, &wanted, 1, bus_request_deadline_ns(consumer->bus));
    if (rc == 0)
        *offset = wanted.offset;
    return rc;
}
