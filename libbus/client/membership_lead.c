/* SPDX-License-Identifier: Apache-2.0
 * The leader of a group: asks which partitions there are and works out who gets which.
 */
#include "base/err.h"
#include "client/membership.h"
#include "client/metadata.h"

#include <stdlib.h>
#include <string.h>

#define DIGEST_SEED UINT64_C(0xcbf29ce484222325) /* FNV-1a */
#define DIGEST_PRIME UINT64_C(0x100000001b3)

enum { LOOK_BYTES_MAX = 64 << 20 };

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

static void
digest(uint64_t *hash, const void *bytes, size_t n)
{
    const uint8_t *at = bytes;
    while (n-- > 0)
        *hash = (*hash ^ *at++) * DIGEST_PRIME;
}

/* Asks for the topics. A topic that is not there, or not to be seen, has no partitions. */
static int
count_partitions(struct membership *membership, struct arena *arena, struct assign_topic **topics,
    uint64_t *hash)
{
    const char **names = membership->wanted;
    size_t count = membership->wanted_count;
    struct metadata_request_topic *wanted = arena_array(arena, count, sizeof *wanted);
    *topics = arena_array(arena, count, sizeof **topics);
    *hash = DIGEST_SEED;
    if (!wanted || !*topics)
        return -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        wanted[i].name = names[i];
        (*topics)[i].name = names[i];
    }
    struct metadata_request request = {.topics = wanted, .topics_count = (int32_t)count};
    bool was_sent;
    struct conn_reply *reply = membership_ask(
        membership, API_METADATA, &request, membership->settings.request_timeout_ms, &was_sent);
    if (!reply)
        return -BUS_ERR_DAEMON_UNAVAILABLE;
    const struct metadata_response *answer = reply->message;
    for (int32_t i = 0; i < answer->topics_count; i++) {
        const struct metadata_response_topic *one = &answer->topics[i];
        const char **at =
            one->name ? bsearch(&one->name, names, count, sizeof *names, by_name) : NULL;
        if (!at || one->error_code != 0)
            continue;
        int32_t partitions = metadata_count(one);
        (*topics)[at - names].partitions = partitions;
        digest(hash, one->name, strlen(one->name) + 1);
        digest(hash, &one->topic_id, sizeof one->topic_id);
        digest(hash, &partitions, sizeof partitions);
    }
    conn_reply_free(&reply);
    return 0;
}

bool
membership_look(struct membership *membership)
{
    struct arena arena;
    struct assign_topic *topics;
    uint64_t hash;
    arena_init(&arena, LOOK_BYTES_MAX);
    int rc = count_partitions(membership, &arena, &topics, &hash);
    arena_fini(&arena);
    return rc == 0 && hash != membership->topics_digest;
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

static int
get_members(struct membership *membership, struct assign_member **members)
{
    const struct join_group_response *joined = membership->joined->message;
    struct arena *arena = &membership->plan_arena;
    size_t count = (size_t)joined->members_count;
    *members = arena_array(arena, count, sizeof **members);
    if (!*members)
        return -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        struct assign_member *one = &(*members)[i];
        one->id = joined->members[i].member_id;
        one->instance_id = joined->members[i].group_instance_id;
        int rc =
            assign_get_subscription(membership->in_use, joined->members[i].metadata, arena, one);
        if (rc == -BUS_ERR_NO_MEMORY)
            return rc;
        /* Whoever cannot be understood gets nothing; the others go on. */
        if (rc < 0)
            *one = (struct assign_member){.id = one->id, .instance_id = one->instance_id};
    }
    return 0;
}

int
membership_lead(struct membership *membership)
{
    const struct join_group_response *joined = membership->joined->message;
    struct arena *arena = &membership->plan_arena;
    size_t count = (size_t)joined->members_count;
    struct assign_member *members;
    struct assign_topic *topics;
    arena_reset(arena);
    int rc = get_members(membership, &members);
    if (rc == 0)
        rc = all_topics(members, count, arena, &membership->wanted, &membership->wanted_count);
    if (rc == 0)
        rc = count_partitions(membership, arena, &topics, &membership->topics_digest);
    /* A static member that came back leads again, but all have their partitions already. */
    if (rc < 0 || membership->skips_assignment)
        return rc;
    rc = assign_solve(membership->in_use, members, count, topics, membership->wanted_count, arena);
    return rc < 0 ? rc : put_plan(membership, members, count);
}
