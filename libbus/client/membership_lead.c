/* SPDX-License-Identifier: Apache-2.0
 * The leader of a group: asks which partitions there are and works out who gets which.
 */
#include "base/clock.h"
#include "base/err.h"
#include "client/membership.h"
#include "client/metadata.h"

#include <stdlib.h>
#include <string.h>

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Every topic that any member wants, once each. */
static int
all_topics(const struct assign_member *members, size_t count, struct arena *arena,
    const char ***topics, size_t *topic_count)
{
    size_t total = 0, distinct = 0;
    for (size_t i = 0; i < count; i++)
        total += members[i].topic_count;
    const char **names = arena_array(arena, total, sizeof *names);
    if (!names)
        return -BUS_ERR_NO_MEMORY;
    total = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < members[i].topic_count; j++)
            names[total++] = members[i].topics[j];
    qsort(names, total, sizeof *names, by_name);
    for (size_t i = 0; i < total; i++)
        if (distinct == 0 || strcmp(names[distinct - 1], names[i]) != 0)
            names[distinct++] = names[i];
    *topics = names;
    *topic_count = distinct;
    return 0;
}

/* A topic that is not there, or not to be seen, has no partitions. */
static int
count_partitions(struct membership *membership, const char **names, size_t count,
    struct arena *arena, struct assign_topic **topics)
{
    struct metadata_request_topic *wanted = arena_array(arena, count, sizeof *wanted);
    *topics = arena_array(arena, count, sizeof **topics);
    if (!wanted || !*topics)
        return -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        wanted[i].name = names[i];
        (*topics)[i].name = names[i];
    }
    struct metadata_request request = {.topics = wanted, .topics_count = (int32_t)count};
    struct conn_reply *reply;
    if (!membership->conn)
        return -BUS_ERR_DAEMON_UNAVAILABLE;
    int rc = conn_call(membership->conn, API_METADATA, &request, 0,
        clock_mono_ns() + membership->settings.request_timeout_ms * 1000000, &reply);
    if (rc < 0)
        return rc;
    const struct metadata_response *answer = reply->message;
    for (int32_t i = 0; i < answer->topics_count; i++) {
        const struct metadata_response_topic *one = &answer->topics[i];
        const char **at =
            one->name ? bsearch(&one->name, names, count, sizeof *names, by_name) : NULL;
        if (at && one->error_code == 0)
            (*topics)[at - names].partitions = metadata_count(one);
    }
    conn_reply_free(&reply);
    return 0;
}

static int
put_plan(struct membership *membership, const struct assign_member *members, size_t count)
{
    struct arena *arena = &membership->plan_arena;
    membership->plan = arena_array(arena, count, sizeof *membership->plan);
    int rc = membership->plan ? 0 : -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct buf share;
        buf_init(&share);
        rc = assign_put_share(&members[i].share, &share);
        uint8_t *copy = rc == 0 ? arena_alloc(arena, share.length) : NULL;
        if (copy) {
            memcpy(copy, share.data, share.length);
            membership->plan[i] = (struct sync_group_request_assignment){
                .member_id = members[i].id, .assignment = {copy, (int32_t)share.length}};
        } else if (rc == 0) {
            rc = -BUS_ERR_NO_MEMORY;
        }
        buf_fini(&share);
    }
    membership->plan_count = rc == 0 ? (int32_t)count : 0;
    return rc;
}

int
membership_lead(struct membership *membership)
{
    const struct join_group_response *joined = membership->joined->message;
    struct arena *arena = &membership->plan_arena;
    size_t count = (size_t)joined->members_count, topic_count;
    const char **names;
    struct assign_topic *topics;
    arena_reset(arena);
    struct assign_member *members = arena_array(arena, count, sizeof *members);
    if (!members)
        return -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        members[i].id = joined->members[i].member_id;
        members[i].instance_id = joined->members[i].group_instance_id;
        int rc = assign_get_subscription(
            membership->in_use, joined->members[i].metadata, arena, &members[i]);
        /* Whoever cannot be understood gets nothing; the others go on. */
        if (rc == -BUS_ERR_NO_MEMORY)
            return rc;
        if (rc < 0)
            members[i].topic_count = 0;
    }
    int rc = all_topics(members, count, arena, &names, &topic_count);
    if (rc == 0)
        rc = count_partitions(membership, names, topic_count, arena, &topics);
    if (rc == 0)
        rc = assign_solve(membership->in_use, members, count, topics, topic_count, arena);
    return rc < 0 ? rc : put_plan(membership, members, count);
}
