/* SPDX-License-Identifier: Apache-2.0
 * OffsetCommit, OffsetFetch, OffsetDelete.
 */
#include "base/bytes.h"
#include "base/err.h"
#include "unit/api_world.h"

#include <stdio.h>
#include <string.h>

static struct world w;

static void
begin(void)
{
    world_init(&w);
    world_topic(&w, "t", 3, NULL);
    world_topic(&w, "u", 1, NULL);
}

/* ---- requests ------------------------------------------------------------------------------- */

/** Who commits: a member, or by default nobody in particular. */
struct committer {
    const char *group, *id;
    int32_t generation;
};

static const struct committer simple = {"g", "", -1};

static int16_t
commit(int who, int16_t version, const struct committer *as, const char *topic, int32_t partition,
    int64_t offset, const char *metadata)
{
    struct offset_commit_request_topic_partition row = {
        .partition_index = partition,
        .committed_offset = offset,
        .committed_leader_epoch = 5,
        .committed_metadata = metadata,
    };
    struct offset_commit_request_topic wanted = {topic, &row, 1};
    struct offset_commit_request request = {
        .group_id = as->group,
        .generation_id_or_member_epoch = as->generation,
        .member_id = as->id,
        .retention_time_ms = -1,
        .topics = &wanted,
        .topics_count = 1,
    };
    if (world_send(&w, who, API_OFFSET_COMMIT, version, &request) == API_PARKED)
        world_pass(&w, 0);
    const struct offset_commit_response *answer = world_answer(&w, who);
    CU_ASSERT_PTR_NOT_NULL_FATAL(answer);
    CU_ASSERT_EQUAL_FATAL(answer->topics_count, 1);
    CU_ASSERT_EQUAL_FATAL(answer->topics[0].partitions_count, 1);
    CU_ASSERT_EQUAL(answer->topics[0].partitions[0].partition_index, partition);
    return answer->topics[0].partitions[0].error_code;
}

static const struct offset_fetch_response *
fetch(int who, int16_t version, const char *group, const char *topic, int32_t partition)
{
    struct offset_fetch_request_topic wanted = {topic, &partition, 1};
    struct offset_fetch_request_group_topic wanted_by_group = {topic, &partition, 1};
    struct offset_fetch_request_group group_row = {
        .group_id = group, .member_epoch = -1, .topics = &wanted_by_group, .topics_count = 1};
    struct offset_fetch_request request = {.group_id = group,
        .topics = &wanted,
        .topics_count = 1,
        .groups = &group_row,
        .groups_count = 1};
    if (!topic)
        request.topics_count = group_row.topics_count = -1;
    return world_call(&w, who, API_OFFSET_FETCH, version, &request);
}

static int64_t
fetched(const char *topic, int32_t partition)
{
    const struct offset_fetch_response *answer = fetch(0, 5, "g", topic, partition);
    CU_ASSERT_EQUAL(answer->error_code, 0);
    CU_ASSERT_EQUAL(answer->topics[0].partitions[0].error_code, 0);
    return answer->topics[0].partitions[0].committed_offset;
}

static const uint8_t reads_t[] = {0, 0, 0, 0, 0, 1, 0, 1, 't', 255, 255, 255, 255};

/** A member of the group "g" with this subscription, in its generation. */
static struct committer
become_member(const void *subscription, size_t n)
{
    static char id[128];
    struct join_group_request_protocol range = {"range", {subscription, (int32_t)n}};
    struct join_group_request join = {.group_id = "g",
        .session_timeout_ms = 10000,
        .rebalance_timeout_ms = 60000,
        .member_id = "",
        .protocol_type = "consumer",
        .protocols = &range,
        .protocols_count = 1};
    CU_ASSERT_EQUAL(world_send(&w, 0, API_JOIN_GROUP, 3, &join), API_PARKED);
    world_pass(&w, 3000);
    const struct join_group_response *joined = world_answer(&w, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(joined);
    snprintf(id, sizeof id, "%s", joined->member_id);
    struct sync_group_request sync = {
        .group_id = "g", .generation_id = joined->generation_id, .member_id = id};
    CU_ASSERT_EQUAL(world_send(&w, 0, API_SYNC_GROUP, 3, &sync), API_PARKED);
    world_pass(&w, 0);
    CU_ASSERT_PTR_NOT_NULL(world_answer(&w, 0));
    return (struct committer){"g", id, joined->generation_id};
}

/* ---- OffsetCommit, OffsetFetch -------------------------------------------------------------- */

static void
test_versions(void)
{
    begin();
    for (int16_t version = 2; version <= 9; version++)
        CU_ASSERT_EQUAL(commit(0, version, &simple, "t", 1, version * 100, "note"), 0);
    for (int16_t version = 1; version <= 9; version++) {
        const struct offset_fetch_response *answer = fetch(0, version, "g", "t", 1);
        if (version < 8) {
            CU_ASSERT_EQUAL_FATAL(answer->topics_count, 1);
            const struct offset_fetch_response_topic_partition *row =
                &answer->topics[0].partitions[0];
            CU_ASSERT_EQUAL(row->committed_offset, 900);
            CU_ASSERT_EQUAL(row->committed_leader_epoch, version >= 5 ? 5 : -1);
            CU_ASSERT_STRING_EQUAL(row->metadata, "note");
        } else {
            CU_ASSERT_EQUAL_FATAL(answer->groups_count, 1);
            CU_ASSERT_STRING_EQUAL(answer->groups[0].group_id, "g");
            CU_ASSERT_EQUAL(answer->groups[0].error_code, 0);
            const struct offset_fetch_response_group_topic_partition *row =
                &answer->groups[0].topics[0].partitions[0];
            CU_ASSERT_EQUAL(row->committed_offset, 900);
            CU_ASSERT_EQUAL(row->committed_leader_epoch, 5);
            CU_ASSERT_STRING_EQUAL(row->metadata, "note");
        }
    }
    world_fini(&w);
}

static void
test_nothing_committed(void)
{
    begin();
    for (int16_t version = 1; version <= 7; version++) {
        const struct offset_fetch_response *answer = fetch(0, version, "g", "t", 1);
        const struct offset_fetch_response_topic_partition *row = &answer->topics[0].partitions[0];
        CU_ASSERT_EQUAL(row->committed_offset, -1);
        CU_ASSERT_EQUAL(row->committed_leader_epoch, -1);
        CU_ASSERT_EQUAL(row->error_code, 0);
        CU_ASSERT_STRING_EQUAL(row->metadata, "");
    }
    CU_ASSERT_EQUAL(fetched("nope", 7), -1);
    CU_ASSERT_EQUAL(fetch(0, 8, "g", NULL, 0)->groups[0].topics_count, 0);
    world_fini(&w);
}

static void
test_fetch_all(void)
{
    begin();
    CU_ASSERT_EQUAL(commit(0, 8, &simple, "t", 0, 10, NULL), 0);
    CU_ASSERT_EQUAL(commit(0, 8, &simple, "u", 0, 30, NULL), 0);
    CU_ASSERT_EQUAL(commit(0, 8, &simple, "t", 2, 12, NULL), 0);
    const struct offset_fetch_response *answer = fetch(0, 2, "g", NULL, 0);
    CU_ASSERT_EQUAL_FATAL(answer->topics_count, 2);
    CU_ASSERT_STRING_EQUAL(answer->topics[0].name, "t");
    CU_ASSERT_EQUAL_FATAL(answer->topics[0].partitions_count, 2);
    CU_ASSERT_EQUAL(answer->topics[0].partitions[1].partition_index, 2);
    CU_ASSERT_EQUAL(answer->topics[0].partitions[1].committed_offset, 12);
    CU_ASSERT_EQUAL_FATAL(answer->topics[1].partitions_count, 1);
    CU_ASSERT_EQUAL(answer->topics[1].partitions[0].committed_offset, 30);
    world_restart(&w);
    answer = fetch(0, 9, "g", NULL, 0);
    CU_ASSERT_EQUAL_FATAL(answer->groups[0].topics_count, 2);
    CU_ASSERT_EQUAL(answer->groups[0].topics[0].partitions[0].committed_offset, 10);
    world_fini(&w);
}

static void
test_commit_refused(void)
{
    static char long_note[4098];
    memset(long_note, 'x', 4097);
    begin();
    CU_ASSERT_EQUAL(commit(0, 8, &simple, "nope", 0, 1, NULL), BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_EQUAL(commit(0, 8, &simple, "t", 3, 1, NULL), BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_EQUAL(commit(0, 8, &simple, "t", -1, 1, NULL), BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_EQUAL(commit(0, 8, &simple, "t", 0, -1, NULL), BUS_ERR_INVALID_REQUEST);
    CU_ASSERT_EQUAL(commit(0, 8, &simple, "t", 0, 1, long_note), BUS_ERR_OFFSET_METADATA_TOO_LARGE);
    long_note[4096] = '\0';
    CU_ASSERT_EQUAL(commit(0, 8, &simple, "t", 0, 1, long_note), 0);
    struct committer ghost = {"h", "ghost", 3};
    CU_ASSERT_EQUAL(commit(0, 8, &ghost, "t", 0, 1, NULL), BUS_ERR_ILLEGAL_GENERATION);
    CU_ASSERT_EQUAL(commit(0, 9, &ghost, "t", 0, 1, NULL), BUS_ERR_GROUP_ID_NOT_FOUND);
    ghost.group = "g";
    CU_ASSERT_EQUAL(commit(0, 9, &ghost, "t", 0, 1, NULL), BUS_ERR_UNKNOWN_MEMBER_ID);
    world_fini(&w);
}

static void
test_commit_of_members(void)
{
    begin();
    struct committer member = become_member(reads_t, sizeof reads_t);
    CU_ASSERT_EQUAL(commit(0, 7, &member, "t", 0, 42, NULL), 0);
    CU_ASSERT_EQUAL(fetched("t", 0), 42);
    CU_ASSERT_EQUAL(commit(0, 7, &simple, "t", 0, 1, NULL), BUS_ERR_UNKNOWN_MEMBER_ID);
    member.generation++;
    CU_ASSERT_EQUAL(commit(0, 7, &member, "t", 0, 1, NULL), BUS_ERR_ILLEGAL_GENERATION);
    CU_ASSERT_EQUAL(fetched("t", 0), 42);
    world_fini(&w);
}

static void
test_gone_while_committing(void)
{
    begin();
    struct offset_commit_request_topic_partition row = {.committed_offset = 7};
    struct offset_commit_request_topic wanted = {"t", &row, 1};
    struct offset_commit_request request = {.group_id = "g",
        .generation_id_or_member_epoch = -1,
        .member_id = "",
        .topics = &wanted,
        .topics_count = 1};
    CU_ASSERT_EQUAL(world_send(&w, 0, API_OFFSET_COMMIT, 8, &request), API_PARKED);
    api_peer_gone(w.api, &w.peers[0].peer);
    world_pass(&w, 0);
    CU_ASSERT_PTR_NULL(world_answer(&w, 0));
    CU_ASSERT_EQUAL(fetched("t", 0), 7);
    world_fini(&w);
}

static void
test_access(void)
{
    static const char *const closed[] = {"access.read=self", NULL};
    begin();
    world_topic(&w, "secret", 1, closed);
    CU_ASSERT_EQUAL(commit(0, 8, &simple, "secret", 0, 1, NULL), 0);
    CU_ASSERT_EQUAL(commit(0, 8, &simple, "t", 0, 1, NULL), 0);
    CU_ASSERT_EQUAL(
        commit(1, 8, &simple, "secret", 0, 2, NULL), BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(fetch(1, 5, "g", "secret", 0)->topics[0].partitions[0].error_code,
        BUS_ERR_TOPIC_AUTHORIZATION_FAILED);
    const struct offset_fetch_response *answer = fetch(1, 5, "g", NULL, 0);
    CU_ASSERT_EQUAL_FATAL(answer->topics_count, 1);
    CU_ASSERT_STRING_EQUAL(answer->topics[0].name, "t");
    const char *name = "g";
    struct delete_groups_request request = {.groups_names = &name, .groups_names_count = 1};
    const struct delete_groups_response *deleted =
        world_call(&w, 1, API_DELETE_GROUPS, 1, &request);
    CU_ASSERT_EQUAL(deleted->results[0].error_code, BUS_ERR_GROUP_AUTHORIZATION_FAILED);
    world_fini(&w);
}

static void
test_topic_deleted(void)
{
    begin();
    CU_ASSERT_EQUAL(commit(0, 8, &simple, "t", 0, 1, NULL), 0);
    CU_ASSERT_EQUAL(commit(0, 8, &simple, "u", 0, 2, NULL), 0);
    const char *name = "t";
    struct delete_topics_request request = {.topic_names = &name, .topic_names_count = 1};
    world_call(&w, 0, API_DELETE_TOPICS, 4, &request);
    world_pass(&w, 0);
    world_pass(&w, 0);
    CU_ASSERT_EQUAL(fetched("t", 0), -1);
    CU_ASSERT_EQUAL(fetched("u", 0), 2);
    world_fini(&w);
}

/* ---- OffsetDelete --------------------------------------------------------------------------- */

static const struct offset_delete_response *
drop(const char *group, const char *topic, int32_t partition)
{
    struct offset_delete_request_topic_partition row = {partition};
    struct offset_delete_request_topic wanted = {topic, &row, 1};
    struct offset_delete_request request = {group, &wanted, 1};
    if (world_send(&w, 0, API_OFFSET_DELETE, 0, &request) == API_PARKED)
        world_pass(&w, 0);
    const struct offset_delete_response *answer = world_answer(&w, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(answer);
    return answer;
}

static void
test_delete(void)
{
    begin();
    CU_ASSERT_EQUAL(drop("g", "t", 0)->error_code, BUS_ERR_GROUP_ID_NOT_FOUND);
    CU_ASSERT_EQUAL(commit(0, 8, &simple, "t", 0, 1, NULL), 0);
    CU_ASSERT_EQUAL(commit(0, 8, &simple, "t", 1, 1, NULL), 0);
    const struct offset_delete_response *answer = drop("g", "t", 0);
    CU_ASSERT_EQUAL(answer->error_code, 0);
    CU_ASSERT_EQUAL(answer->topics[0].partitions[0].error_code, 0);
    CU_ASSERT_EQUAL(fetched("t", 0), -1);
    CU_ASSERT_EQUAL(fetched("t", 1), 1);
    answer = drop("g", "nope", 0);
    CU_ASSERT_EQUAL(answer->topics[0].partitions[0].error_code, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    world_fini(&w);
}

static void
test_delete_of_members(void)
{
    begin();
    CU_ASSERT_EQUAL(commit(0, 8, &simple, "t", 0, 1, NULL), 0);
    CU_ASSERT_EQUAL(commit(0, 8, &simple, "u", 0, 1, NULL), 0);
    become_member(reads_t, sizeof reads_t);
    CU_ASSERT_EQUAL(
        drop("g", "t", 0)->topics[0].partitions[0].error_code, BUS_ERR_GROUP_SUBSCRIBED_TO_TOPIC);
    CU_ASSERT_EQUAL(drop("g", "u", 0)->topics[0].partitions[0].error_code, 0);
    CU_ASSERT_EQUAL(fetched("t", 0), 1);
    CU_ASSERT_EQUAL(fetched("u", 0), -1);
    world_fini(&w);
}

/** Of a subscription that cannot be read nobody knows what it does not name. */
static void
test_delete_unreadable(void)
{
    static const char *const pieces[] = {"", "\0\0\0\0\0", "\0\0\0\0\0\1", "\0\0\0\0\0\1\0",
        "\0\0\0\0\0\1\0\2t", "\0\0\0\0\0\1\377\377", "\0\0\177\377\377\377\0\1t"};
    static const size_t bytes[] = {0, 5, 6, 7, 9, 8, 9};
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        begin();
        become_member(pieces[i], bytes[i]);
        CU_ASSERT_EQUAL(drop("g", "u", 0)->topics[0].partitions[0].error_code,
            BUS_ERR_GROUP_SUBSCRIBED_TO_TOPIC);
        world_fini(&w);
    }
}

static const struct unit_case cases[] = {
    {"what one version commits every version fetches", test_versions},
    {"nothing committed is -1, not an error", test_nothing_committed},
    {"all offsets of a group are fetched, also after a restart", test_fetch_all},
    {"commits that make no sense are refused one by one", test_commit_refused},
    {"while there are members only they commit", test_commit_of_members},
    {"a commit counts though its client is gone", test_gone_while_committing},
    {"who may not read a topic has no business with its offsets", test_access},
    {"with a topic its offsets go", test_topic_deleted},
    {"offsets are deleted", test_delete},
    {"offsets that members use are not deleted", test_delete_of_members},
    {"offsets of members that cannot be understood are not deleted", test_delete_unreadable},
    {NULL, NULL},
};

void
register_api_committed(void)
{
    unit_register("api_committed", cases);
}
