/* SPDX-License-Identifier: Apache-2.0
 * Groups and committed offsets as the library tells them, of answers that keep to the rules and of
 * answers that do not.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "lib/fake_busd.h"
#include "protocol/wire.h"
#include "unit/unit.h"

#include <bus/bus.h>
#include <stdlib.h>
#include <string.h>

static struct fake_busd fake;
static struct bus *bus;

static void
set_up(fake_hook *hook)
{
    CU_ASSERT_EQUAL_FATAL(fake_busd_init(&fake, NULL), 0);
    fake.hook = hook;
    struct bus_config *config = bus_config_new();
    bus_config_set(config, "socket.path", fake.path);
    CU_ASSERT_EQUAL_FATAL(bus_open(config, &bus), 0);
    bus_config_free(&config);
}

static void
tear_down(void)
{
    bus_close(&bus);
    fake_busd_fini(&fake);
}

/* ---- members and what they have ------------------------------------------------------------- */

/* What the members of the next answer have. */
static struct bytes shares[8];
static int32_t share_count;
static const char *protocol_type = "consumer";
static int loading; /* answers that still say so */

static bool
answer_groups(struct fake_busd *busd, const struct fake_request *request)
{
    (void)busd;
    if (request->api->key == API_LIST_GROUPS) {
        struct list_groups_response_group rows[] = {{.group_id = "b"}, {.group_id = "a"}};
        struct list_groups_response answer = {.groups = rows, .groups_count = 2};
        if (loading > 0 && loading--)
            answer.error_code = BUS_ERR_COORDINATOR_LOAD_IN_PROGRESS;
        fake_answer(request, &answer, NULL, 0);
        return true;
    }
    if (request->api->key != API_DESCRIBE_GROUPS)
        return false;
    const struct describe_groups_request *asked = request->message;
    struct describe_groups_response_group_member members[8];
    struct describe_groups_response_group rows[4];
    for (int32_t i = 0; i < share_count; i++)
        members[i] = (struct describe_groups_response_group_member){.member_id = i ? "m1" : "m0",
            .client_id = "c",
            .client_host = "h",
            .member_metadata = {(const uint8_t *)"", 0},
            .member_assignment = shares[i]};
    for (int32_t i = 0; i < asked->groups_count; i++)
        rows[i] = (struct describe_groups_response_group){.group_id = asked->groups[i],
            .group_state = "Stable",
            .protocol_type = protocol_type,
            .protocol_data = "range",
            .members = members,
            .members_count = share_count};
    struct describe_groups_response answer = {.groups = rows, .groups_count = asked->groups_count};
    if (loading > 0 && loading--)
        rows[0].error_code = BUS_ERR_COORDINATOR_LOAD_IN_PROGRESS;
    fake_answer(request, &answer, NULL, 0);
    return true;
}

static void
give(int32_t index, const void *bytes, size_t size)
{
    shares[index] = (struct bytes){bytes, (int32_t)size};
    share_count = index + 1;
}

static int32_t
partitions_of(struct bus_groups *groups, size_t member)
{
    struct bus_member_state state = {.partitions = -99};
    CU_ASSERT_EQUAL(bus_groups_member(groups, 0, member, &state), 0);
    return state.partitions;
}

/* Topics "u" with 7 and 3, and "t" with 1: not in order. */
static const uint8_t good_share[] = {0, 1, 0, 0, 0, 2, 0, 1, 'u', 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0,
    3, 0, 1, 't', 0, 0, 0, 1, 0, 0, 0, 1, 255, 255, 255, 255};

static void
test_members(void)
{
    set_up(answer_groups);
    give(0, good_share, sizeof good_share);
    give(1, "", 0);
    struct bus_groups *groups;
    CU_ASSERT_EQUAL_FATAL(bus_groups_fetch(bus, NULL, &groups), 0);
    CU_ASSERT_EQUAL(bus_groups_count(groups), 2);
    struct bus_group_state state;
    CU_ASSERT_EQUAL_FATAL(bus_groups_get(groups, 0, &state), 0);
    CU_ASSERT_STRING_EQUAL(state.group, "a");
    CU_ASSERT_STRING_EQUAL(state.protocol, "range");
    CU_ASSERT_EQUAL(state.members, 2);
    CU_ASSERT_EQUAL(partitions_of(groups, 0), 3);
    CU_ASSERT_EQUAL(partitions_of(groups, 1), 0);
    struct bus_place place;
    CU_ASSERT_EQUAL(bus_groups_assigned(groups, 0, 0, 1, &place), 0);
    CU_ASSERT_STRING_EQUAL(place.topic, "u");
    CU_ASSERT_EQUAL(place.partition, 3);
    CU_ASSERT_EQUAL(bus_groups_owner(groups, 0, "u", 7), 0);
    CU_ASSERT_EQUAL(bus_groups_owner(groups, 0, "u", 5), -1);
    CU_ASSERT_EQUAL(bus_groups_owner(groups, 9, "u", 7), -1);
    CU_ASSERT_EQUAL(bus_groups_get(groups, 2, &state), -BUS_ERR_INVALID_ARGUMENT);
    struct bus_member_state member;
    CU_ASSERT_EQUAL(bus_groups_member(groups, 0, 2, &member), -BUS_ERR_INVALID_ARGUMENT);
    CU_ASSERT_EQUAL(bus_groups_member(groups, 2, 0, &member), -BUS_ERR_INVALID_ARGUMENT);
    CU_ASSERT_EQUAL(bus_groups_assigned(groups, 0, 0, 3, &place), -BUS_ERR_INVALID_ARGUMENT);
    CU_ASSERT_EQUAL(bus_groups_assigned(groups, 0, 7, 0, &place), -BUS_ERR_INVALID_ARGUMENT);
    bus_groups_free(&groups);
    tear_down();
}

/* Whatever a leader wrote down for its members: it is read, or it is not, and nothing else. */
static void
test_bad_shares(void)
{
    static const uint8_t huge_count[] = {0, 0, 0x7f, 0xff, 0xff, 0xff};
    static const uint8_t negative_count[] = {0, 0, 0x80, 0, 0, 0, 255, 255, 255, 255};
    static const uint8_t many_partitions[] = {
        0, 0, 0, 0, 0, 1, 0, 1, 't', 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1};
    static const uint8_t other_version[] = {0x7f, 0xff, 0, 0, 0, 0, 255, 255, 255, 255};
    static const uint8_t nul_in_name[] = {
        0, 0, 0, 0, 0, 1, 0, 2, 't', 0, 0, 0, 0, 0, 255, 255, 255, 255};
    uint8_t longer[sizeof good_share + 1] = {0};
    memcpy(longer, good_share, sizeof good_share);
    set_up(answer_groups);
    give(0, huge_count, sizeof huge_count);
    give(1, negative_count, sizeof negative_count);
    give(2, many_partitions, sizeof many_partitions);
    give(3, other_version, sizeof other_version);
    give(4, nul_in_name, sizeof nul_in_name);
    give(5, longer, sizeof longer);
    give(6, "\0", 1);
    struct bus_groups *groups;
    CU_ASSERT_EQUAL_FATAL(bus_groups_fetch(bus, "a", &groups), 0);
    for (size_t i = 0; i < 7; i++)
        CU_ASSERT_EQUAL(partitions_of(groups, i), -1);
    struct bus_place place;
    CU_ASSERT_EQUAL(bus_groups_assigned(groups, 0, 0, 0, &place), -BUS_ERR_INVALID_ARGUMENT);
    CU_ASSERT_EQUAL(bus_groups_owner(groups, 0, "t", 1), -1);
    bus_groups_free(&groups);
    for (size_t cut = 1; cut < sizeof good_share; cut++) {
        give(0, good_share, cut);
        CU_ASSERT_EQUAL_FATAL(bus_groups_fetch(bus, "a", &groups), 0);
        CU_ASSERT_EQUAL(partitions_of(groups, 0), -1);
        bus_groups_free(&groups);
    }
    protocol_type = "connect";
    give(0, good_share, sizeof good_share);
    CU_ASSERT_EQUAL_FATAL(bus_groups_fetch(bus, "a", &groups), 0);
    CU_ASSERT_EQUAL(partitions_of(groups, 0), -1);
    bus_groups_free(&groups);
    protocol_type = "consumer";
    tear_down();
}

/* A busd that has just started is asked until it knows. */
static void
test_loading(void)
{
    set_up(answer_groups);
    give(0, good_share, sizeof good_share);
    struct bus_groups *groups;
    loading = 3;
    CU_ASSERT_EQUAL_FATAL(bus_groups_fetch(bus, NULL, &groups), 0);
    CU_ASSERT_EQUAL(loading, 0);
    bus_groups_free(&groups);
    loading = 2;
    CU_ASSERT_EQUAL_FATAL(bus_groups_fetch(bus, "a", &groups), 0);
    CU_ASSERT_EQUAL(loading, 0);
    bus_groups_free(&groups);
    tear_down();
}

/* ---- answers about something else ----------------------------------------------------------- */

enum lie { LIE_NOTHING, LIE_OTHER, LIE_ERROR, LIE_MANY, LIES };

static enum lie lie;
static int16_t lie_code;

static bool
lie_of_groups(const struct fake_request *request)
{
    struct describe_groups_response_group rows[3];
    for (int i = 0; i < 3; i++)
        rows[i] = (struct describe_groups_response_group){.group_id = lie == LIE_OTHER ? "x" : "a",
            .group_state = "Stable",
            .protocol_type = "",
            .protocol_data = "",
            .error_code = lie == LIE_ERROR ? lie_code : 0};
    struct describe_groups_response answer = {.groups = rows,
        .groups_count = lie == LIE_NOTHING ? 0
                        : lie == LIE_MANY  ? 3
                                           : 1};
    fake_answer(request, &answer, NULL, 0);
    return true;
}

static bool
lie_of_fetch(const struct fake_request *request)
{
    struct offset_fetch_response_group_topic_partition row = {
        .partition_index = -5, .committed_offset = INT64_MAX, .metadata = NULL};
    struct offset_fetch_response_group_topic topic = {
        .name = "t", .partitions = &row, .partitions_count = 1};
    struct offset_fetch_response_group group = {.group_id = lie == LIE_OTHER ? "x" : "a",
        .topics = &topic,
        .topics_count = 1,
        .error_code = lie == LIE_ERROR ? lie_code : 0};
    struct offset_fetch_response answer = {
        .groups = &group, .groups_count = lie == LIE_NOTHING ? 0 : 1};
    fake_answer(request, &answer, NULL, 0);
    return true;
}

static bool
lie_of_offsets(const struct fake_request *request)
{
    const struct list_offsets_request *asked = request->message;
    struct list_offsets_response_topic_partition rows[3];
    for (int i = 0; i < 3; i++)
        rows[i] = (struct list_offsets_response_topic_partition){
            .partition_index =
                lie == LIE_OTHER ? 1 : asked->topics[0].partitions[0].partition_index,
            .offset = INT64_MAX,
            .timestamp = -1,
            .leader_epoch = -1,
            .error_code = lie == LIE_ERROR ? lie_code : 0};
    struct list_offsets_response_topic topic = {
        .name = "t", .partitions = rows, .partitions_count = lie == LIE_MANY ? 3 : 1};
    struct list_offsets_response answer = {
        .topics = &topic, .topics_count = lie == LIE_NOTHING ? 0 : 1};
    fake_answer(request, &answer, NULL, 0);
    return true;
}

static bool
lie_of_commit(const struct fake_request *request)
{
    struct offset_commit_response_topic_partition row = {
        .partition_index = lie == LIE_OTHER ? 8 : 0, .error_code = lie == LIE_ERROR ? lie_code : 0};
    struct offset_commit_response_topic topics[3];
    for (int i = 0; i < 3; i++)
        topics[i] = (struct offset_commit_response_topic){
            .name = "t", .partitions = &row, .partitions_count = 1};
    struct offset_commit_response answer = {.topics = topics,
        .topics_count = lie == LIE_NOTHING ? 0
                        : lie == LIE_MANY  ? 3
                                           : 1};
    fake_answer(request, &answer, NULL, 0);
    return true;
}

static bool
lie_of_delete(const struct fake_request *request)
{
    struct offset_delete_response_topic_partition row = {
        .partition_index = lie == LIE_OTHER ? 8 : 0};
    struct offset_delete_response_topic topics[3];
    for (int i = 0; i < 3; i++)
        topics[i] = (struct offset_delete_response_topic){
            .name = "t", .partitions = &row, .partitions_count = 1};
    struct offset_delete_response answer = {.error_code = lie == LIE_ERROR ? lie_code : 0,
        .topics = topics,
        .topics_count = lie == LIE_NOTHING ? 0
                        : lie == LIE_MANY  ? 3
                                           : 1};
    fake_answer(request, &answer, NULL, 0);
    return true;
}

static bool
lie_of_removal(const struct fake_request *request)
{
    struct delete_groups_response_result rows[3];
    for (int i = 0; i < 3; i++)
        rows[i] = (struct delete_groups_response_result){
            .group_id = "a", .error_code = lie == LIE_ERROR ? lie_code : 0};
    struct delete_groups_response answer = {.results = rows,
        .results_count = lie == LIE_NOTHING ? 0
                         : lie == LIE_ERROR ? 1
                                            : 3};
    fake_answer(request, &answer, NULL, 0);
    return true;
}

static bool
liar(struct fake_busd *busd, const struct fake_request *request)
{
    (void)busd;
    switch (request->api->key) {
    case API_DESCRIBE_GROUPS:
        return lie_of_groups(request);
    case API_OFFSET_FETCH:
        return lie_of_fetch(request);
    case API_LIST_OFFSETS:
        return lie_of_offsets(request);
    case API_OFFSET_COMMIT:
        return lie_of_commit(request);
    case API_OFFSET_DELETE:
        return lie_of_delete(request);
    case API_DELETE_GROUPS:
        return lie_of_removal(request);
    default:
        return false;
    }
}

static void
test_lies(void)
{
    set_up(liar);
    const char *name = "a";
    for (lie = LIE_NOTHING; lie <= LIE_OTHER; lie++) {
        struct bus_groups *groups;
        struct bus_commits *commits;
        struct bus_commit_change change = {.topic = "t"};
        struct bus_offset_query query = {.topic = "t"};
        CU_ASSERT_EQUAL(bus_groups_fetch(bus, "a", &groups), -BUS_ERR_UNKNOWN_SERVER_ERROR);
        CU_ASSERT_PTR_NULL(groups);
        CU_ASSERT_EQUAL(bus_commits_fetch(bus, &name, 1, &commits), -BUS_ERR_UNKNOWN_SERVER_ERROR);
        CU_ASSERT_PTR_NULL(commits);
        CU_ASSERT_EQUAL(bus_commits_set(bus, "a", &change, 1), -BUS_ERR_UNKNOWN_SERVER_ERROR);
        CU_ASSERT_EQUAL(bus_commits_delete(bus, "a", &change, 1), -BUS_ERR_UNKNOWN_SERVER_ERROR);
        CU_ASSERT_EQUAL(bus_offsets_find(bus, &query, 1), -BUS_ERR_UNKNOWN_SERVER_ERROR);
        CU_ASSERT_EQUAL(bus_group_delete(bus, "a"), -BUS_ERR_UNKNOWN_SERVER_ERROR);
        CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "does not speak of it"));
    }
    tear_down();
}

/* More rows than asked for, and numbers that are none. */
static void
test_too_much(void)
{
    set_up(liar);
    lie = LIE_MANY;
    const char *name = "a";
    struct bus_commits *commits;
    struct bus_groups *groups;
    struct bus_commit_change change = {.topic = "t"};
    struct bus_offset_query query = {.topic = "t"};
    CU_ASSERT_EQUAL(bus_commits_set(bus, "a", &change, 1), -BUS_ERR_UNKNOWN_SERVER_ERROR);
    CU_ASSERT_EQUAL(bus_commits_delete(bus, "a", &change, 1), -BUS_ERR_UNKNOWN_SERVER_ERROR);
    CU_ASSERT_EQUAL(bus_offsets_find(bus, &query, 1), -BUS_ERR_UNKNOWN_SERVER_ERROR);
    CU_ASSERT_EQUAL(bus_group_delete(bus, "a"), -BUS_ERR_UNKNOWN_SERVER_ERROR);
    CU_ASSERT_EQUAL_FATAL(bus_groups_fetch(bus, "a", &groups), 0);
    CU_ASSERT_EQUAL(bus_groups_count(groups), 1);
    bus_groups_free(&groups);
    /* ListOffsets speaks of the partition asked for then: of -5, as OffsetFetch told. */
    lie = LIES;
    CU_ASSERT_EQUAL_FATAL(bus_commits_fetch(bus, &name, 1, &commits), 0);
    struct bus_commit_state state;
    CU_ASSERT_EQUAL_FATAL(bus_commits_get(commits, 0, &state), 0);
    CU_ASSERT_EQUAL(state.partition, -5);
    CU_ASSERT_EQUAL(state.lag, 0);
    CU_ASSERT_STRING_EQUAL(state.metadata, "");
    CU_ASSERT_EQUAL(bus_commits_get(commits, 1, &state), -BUS_ERR_INVALID_ARGUMENT);
    bus_commits_free(&commits);
    tear_down();
}

static void
refused(int16_t code, int expected, const char *told)
{
    const char *name = "a";
    struct bus_groups *groups;
    struct bus_commits *commits;
    struct bus_commit_change change = {.topic = "t"};
    lie = LIE_ERROR;
    lie_code = code;
    CU_ASSERT_EQUAL(bus_groups_fetch(bus, "a", &groups), -expected);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), told));
    CU_ASSERT_EQUAL(bus_commits_fetch(bus, &name, 1, &commits), -expected);
    CU_ASSERT_EQUAL(bus_commits_set(bus, "a", &change, 1), -expected);
    CU_ASSERT_EQUAL(change.error, expected);
    CU_ASSERT_EQUAL(bus_commits_delete(bus, "a", &change, 1), -expected);
    CU_ASSERT_EQUAL(change.error, expected);
    CU_ASSERT_EQUAL(bus_group_delete(bus, "a"), -expected);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), told));
}

static void
test_refused(void)
{
    set_up(liar);
    refused(
        BUS_ERR_GROUP_ID_NOT_FOUND, BUS_ERR_GROUP_ID_NOT_FOUND, "no group a: busctl group list");
    refused(BUS_ERR_NON_EMPTY_GROUP, BUS_ERR_NON_EMPTY_GROUP, "group a has members: stop them");
    refused(BUS_ERR_INVALID_GROUP_ID, BUS_ERR_INVALID_GROUP_ID, "'a' cannot be the name");
    refused(BUS_ERR_GROUP_AUTHORIZATION_FAILED, BUS_ERR_GROUP_AUTHORIZATION_FAILED, "access.read");
    refused(-1, BUS_ERR_UNKNOWN_SERVER_ERROR, "group a");
    /* No number of any table. */
    refused(-77, BUS_ERR_UNKNOWN_SERVER_ERROR, "group a");
    refused(999, 999, "group a");
    /* Nobody in particular commits: it is somebody else whom busd knows as a member. */
    struct bus_commit_change change = {.topic = "t"};
    lie_code = BUS_ERR_UNKNOWN_MEMBER_ID;
    CU_ASSERT_EQUAL(bus_commits_set(bus, "a", &change, 1), -BUS_ERR_NON_EMPTY_GROUP);
    CU_ASSERT_EQUAL(change.error, BUS_ERR_NON_EMPTY_GROUP);
    struct bus_offset_query query = {.topic = "t"};
    lie_code = BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
    CU_ASSERT_EQUAL(bus_offsets_find(bus, &query, 1), 0);
    CU_ASSERT_EQUAL(query.error, BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_EQUAL(query.offset, -1);
    CU_ASSERT_EQUAL(bus_commits_set(bus, "a", &change, 1), -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_PTR_NOT_NULL(strstr(bus_error(), "topic t has no partition 0"));
    tear_down();
}

/* ---- many partitions ------------------------------------------------------------------------ */

static int rounds, named;

/* Offset 1000 * partition + what the time was; a partition that is named twice is told off. */
static bool
count_rows(struct fake_busd *busd, const struct fake_request *request)
{
    (void)busd;
    if (request->api->key != API_LIST_OFFSETS)
        return false;
    const struct list_offsets_request *asked = request->message;
    struct list_offsets_response_topic topics[3] = {0};
    static struct list_offsets_response_topic_partition rows[2000];
    int32_t used = 0;
    rounds++;
    CU_ASSERT_FATAL(asked->topics_count <= 3);
    for (int32_t i = 0; i < asked->topics_count; i++) {
        topics[i] = (struct list_offsets_response_topic){.name = asked->topics[i].name,
            .partitions = &rows[used],
            .partitions_count = asked->topics[i].partitions_count};
        for (int32_t j = 0, last = -1; j < asked->topics[i].partitions_count; j++) {
            const struct list_offsets_request_topic_partition *one =
                &asked->topics[i].partitions[j];
            CU_ASSERT(one->partition_index > last);
            last = one->partition_index;
            rows[used++] = (struct list_offsets_response_topic_partition){
                .partition_index = one->partition_index,
                .offset = 1000 * one->partition_index + one->timestamp};
        }
    }
    named += used;
    struct list_offsets_response answer = {.topics = topics, .topics_count = asked->topics_count};
    fake_answer(request, &answer, NULL, 0);
    return true;
}

static void
test_many_partitions(void)
{
    enum { EACH = 700, COUNT = 3 * EACH };
    static struct bus_offset_query queries[COUNT];
    set_up(count_rows);
    rounds = named = 0;
    /* Topic by topic downwards, and of each partition two times. */
    for (int32_t i = 0; i < COUNT; i++)
        queries[i] = (struct bus_offset_query){.topic = i % 2 ? "t" : "u",
            .partition = (COUNT - i) / 4,
            .timestamp_ms = i % 4 < 2 ? 100 : 200};
    CU_ASSERT_EQUAL_FATAL(bus_offsets_find(bus, queries, COUNT), 0);
    CU_ASSERT_EQUAL(named, COUNT);
    CU_ASSERT(rounds < 12);
    for (int32_t i = 0; i < COUNT; i++) {
        int64_t expected = 1000 * queries[i].partition + queries[i].timestamp_ms;
        CU_ASSERT_EQUAL(queries[i].offset, expected);
    }
    CU_ASSERT_EQUAL(bus_offsets_find(bus, NULL, 0), 0);
    queries[0].timestamp_ms = -4;
    CU_ASSERT_EQUAL(bus_offsets_find(bus, queries, 1), -BUS_ERR_INVALID_ARGUMENT);
    int64_t offset;
    CU_ASSERT_EQUAL(bus_offset_find(bus, "t", 1, BUS_OFFSET_MAX_TIME, &offset, NULL), 0);
    CU_ASSERT_EQUAL(offset, 1000 + BUS_OFFSET_MAX_TIME);
    CU_ASSERT_EQUAL(bus_offset_find(bus, "t", 1, -4, &offset, NULL), -BUS_ERR_INVALID_ARGUMENT);
    tear_down();
}

static const struct unit_case cases[] = {
    {"groups, members and what they have", test_members},
    {"shares that cannot be read", test_bad_shares},
    {"a busd that is still loading is asked again", test_loading},
    {"answers that do not speak of what was asked", test_lies},
    {"answers with more than was asked", test_too_much},
    {"refusals name the group and the remedy", test_refused},
    {"offsets of many partitions, each once in a request", test_many_partitions},
    {NULL, NULL},
};

void
register_client_groups(void)
{
    unit_register("client_groups", cases);
}
