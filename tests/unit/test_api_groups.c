/* SPDX-License-Identifier: Apache-2.0
 * Consumer groups through the api: FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup,
 * ListGroups, DescribeGroups, DeleteGroups. The rules themselves are tested with core/group.h.
 */
#include "base/bytes.h"
#include "base/err.h"
#include "unit/api_world.h"

#include <stdio.h>
#include <string.h>

static struct world w;

/** A member at one of the world's peers. */
struct client {
    char id[128];
    const char *instance_id;
    int32_t generation;
    int16_t version; /* of JoinGroup; 0: 9 */
};

static struct client clients[WORLD_PEERS];

/** Time passes from deadline to deadline, as with a loop. */
static void
pass(int64_t ms)
{
    int64_t until_ms = w.mono_ms + ms;
    for (int i = 0; i < 1000 && w.armed_ms >= 0 && w.armed_ms <= until_ms; i++)
        world_pass(&w, w.armed_ms > w.mono_ms ? w.armed_ms - w.mono_ms : 0);
    world_pass(&w, until_ms - w.mono_ms);
}

static void
begin(void)
{
    memset(clients, 0, sizeof clients);
    world_init(&w);
    world_topic(&w, "t", 2, NULL);
}

/** A subscription of version 0 to one topic. */
static struct bytes
subscription(const char *topic)
{
    static uint8_t space[300];
    size_t n = strlen(topic);
    bytes_put_i16(space, 0);
    bytes_put_i32(space + 2, 1);
    bytes_put_i16(space + 6, (int16_t)n);
    memcpy(space + 8, topic, n);
    bytes_put_i32(space + 8 + n, -1);
    return (struct bytes){space, (int32_t)(12 + n)};
}

/* ---- requests ------------------------------------------------------------------------------- */

static int
send_join_to(int who, const char *group, const char *topic)
{
    struct client *c = &clients[who];
    struct join_group_request_protocol range = {"range", subscription(topic)};
    struct join_group_request request = {
        .group_id = group,
        .session_timeout_ms = 10000,
        .rebalance_timeout_ms = 60000,
        .member_id = c->id,
        .group_instance_id = c->instance_id,
        .protocol_type = "consumer",
        .protocols = &range,
        .protocols_count = 1,
    };
    return world_send(&w, who, API_JOIN_GROUP, c->version ? c->version : 9, &request);
}

static const struct join_group_response *
take_join(int who)
{
    const struct join_group_response *answer = world_answer(&w, who);
    CU_ASSERT_PTR_NOT_NULL_FATAL(answer);
    struct client *c = &clients[who];
    if (answer->error_code == 0 || answer->error_code == BUS_ERR_MEMBER_ID_REQUIRED)
        snprintf(c->id, sizeof c->id, "%s", answer->member_id);
    c->generation = answer->generation_id;
    return answer;
}

/** The client becomes a member of "g" as far as it can alone. */
static void
enter(int who)
{
    CU_ASSERT_EQUAL(send_join_to(who, "g", "t"), API_ANSWERED);
    CU_ASSERT_EQUAL(take_join(who)->error_code, BUS_ERR_MEMBER_ID_REQUIRED);
    CU_ASSERT_EQUAL(send_join_to(who, "g", "t"), API_PARKED);
}

static int
send_sync(int who, int shares)
{
    static const char *const texts[] = {"zero", "one", "two"};
    struct client *c = &clients[who];
    struct sync_group_request_assignment rows[WORLD_PEERS];
    struct sync_group_request request = {
        .group_id = "g",
        .generation_id = c->generation,
        .member_id = c->id,
        .group_instance_id = c->instance_id,
        .protocol_type = "consumer",
        .protocol_name = "range",
        .assignments = rows,
        .assignments_count = shares,
    };
    for (int i = 0; i < shares; i++)
        rows[i] = (struct sync_group_request_assignment){
            clients[i].id, {(const uint8_t *)texts[i], (int32_t)strlen(texts[i])}};
    return world_send(&w, who, API_SYNC_GROUP, 5, &request);
}

static void
expect_share(int who, const char *share)
{
    const struct sync_group_response *answer = world_answer(&w, who);
    CU_ASSERT_PTR_NOT_NULL_FATAL(answer);
    CU_ASSERT_EQUAL(answer->error_code, 0);
    CU_ASSERT_EQUAL_FATAL(answer->assignment.len, (int32_t)strlen(share));
    CU_ASSERT_EQUAL(memcmp(answer->assignment.data, share, strlen(share)), 0);
}

static int16_t
beat(int who)
{
    struct heartbeat_request request = {
        "g", clients[who].generation, clients[who].id, clients[who].instance_id};
    const struct heartbeat_response *answer = world_call(&w, who, API_HEARTBEAT, 4, &request);
    return answer->error_code;
}

/** Clients 0 … count-1 are members, stable in one generation. */
static void
make_stable(int count)
{
    for (int i = 0; i < count; i++)
        enter(i);
    pass(9000);
    for (int i = 0; i < count; i++)
        CU_ASSERT_EQUAL(take_join(i)->error_code, 0);
    for (int i = count - 1; i >= 0; i--)
        CU_ASSERT_EQUAL(send_sync(i, i == 0 ? count : 0), API_PARKED);
    pass(0);
    expect_share(0, "zero");
}

static const struct describe_groups_response_group *
describe(int who, int16_t version, const char *group)
{
    struct describe_groups_request request = {
        .groups = &group, .groups_count = 1, .include_authorized_operations = true};
    const struct describe_groups_response *answer =
        world_call(&w, who, API_DESCRIBE_GROUPS, version, &request);
    CU_ASSERT_EQUAL_FATAL(answer->groups_count, 1);
    return &answer->groups[0];
}

/* ---- FindCoordinator ------------------------------------------------------------------------ */

static void
test_find(void)
{
    begin();
    const char *keys[] = {"g", "h"};
    for (int16_t version = 0; version <= 5; version++) {
        struct find_coordinator_request request = {
            .key = "g", .coordinator_keys = keys, .coordinator_keys_count = 2};
        const struct find_coordinator_response *answer =
            world_call(&w, 0, API_FIND_COORDINATOR, version, &request);
        CU_ASSERT_EQUAL(answer->error_code, 0);
        CU_ASSERT_EQUAL(answer->coordinators_count, version >= 4 ? 2 : 0);
        if (version >= 4) {
            CU_ASSERT_STRING_EQUAL(answer->coordinators[1].key, "h");
            CU_ASSERT_EQUAL(answer->coordinators[1].node_id, WORLD_NODE);
            CU_ASSERT_STRING_EQUAL(answer->coordinators[1].host, "here");
        } else {
            CU_ASSERT_EQUAL(answer->node_id, WORLD_NODE);
            CU_ASSERT_EQUAL(answer->port, 9092);
        }
    }
    struct find_coordinator_request request = {.key = "g", .key_type = 1};
    const struct find_coordinator_response *answer =
        world_call(&w, 0, API_FIND_COORDINATOR, 2, &request);
    CU_ASSERT_EQUAL(answer->error_code, BUS_ERR_COORDINATOR_NOT_AVAILABLE);
    request.key_type = 9;
    answer = world_call(&w, 0, API_FIND_COORDINATOR, 2, &request);
    CU_ASSERT_EQUAL(answer->error_code, BUS_ERR_INVALID_REQUEST);
    world_fini(&w);
}

/* ---- members -------------------------------------------------------------------------------- */

static void
test_generation(void)
{
    begin();
    enter(0);
    enter(2);
    pass(5999);
    CU_ASSERT_PTR_NULL(world_answer(&w, 0));
    pass(1);
    const struct join_group_response *answer = take_join(0);
    CU_ASSERT_EQUAL(answer->error_code, 0);
    CU_ASSERT_EQUAL(answer->generation_id, 1);
    CU_ASSERT_STRING_EQUAL(answer->protocol_type, "consumer");
    CU_ASSERT_STRING_EQUAL(answer->protocol_name, "range");
    CU_ASSERT_STRING_EQUAL(answer->leader, clients[0].id);
    CU_ASSERT_EQUAL_FATAL(answer->members_count, 2);
    CU_ASSERT_STRING_EQUAL(answer->members[1].member_id, clients[2].id);
    CU_ASSERT_EQUAL(answer->members[1].metadata.len, 13);
    CU_ASSERT_EQUAL(strncmp(clients[0].id, "test-", 5), 0);
    CU_ASSERT_EQUAL(strlen(clients[0].id), 5 + 36);
    CU_ASSERT_EQUAL(take_join(2)->members_count, 0);
    CU_ASSERT_EQUAL(send_sync(0, 1), API_PARKED);
    CU_ASSERT_PTR_NULL(world_answer(&w, 0));
    pass(0);
    expect_share(0, "zero");
    CU_ASSERT_EQUAL(send_sync(2, 0), API_ANSWERED);
    expect_share(2, "");
    CU_ASSERT_EQUAL(beat(0), 0);
    CU_ASSERT_EQUAL(send_join_to(0, "g", "t"), API_PARKED);
    CU_ASSERT_EQUAL(beat(2), BUS_ERR_REBALANCE_IN_PROGRESS);
    world_fini(&w);
}

static void
test_versions(void)
{
    begin();
    for (int16_t version = 0; version <= 9; version++) {
        clients[0] = (struct client){.version = version};
        struct join_group_request_protocol range = {"range", subscription("t")};
        struct join_group_request request = {.group_id = "v",
            .session_timeout_ms = 6000,
            .rebalance_timeout_ms = -1,
            .member_id = "",
            .protocol_type = version == 9 ? "" : "consumer",
            .protocols = &range,
            .protocols_count = 1};
        int sent = world_send(&w, 0, API_JOIN_GROUP, version, &request);
        CU_ASSERT_EQUAL(sent, version < 4 ? API_PARKED : API_ANSWERED);
        if (version < 4)
            pass(6000);
        const struct join_group_response *answer = take_join(0);
        CU_ASSERT_EQUAL(answer->error_code, version < 4   ? 0
                                            : version < 9 ? BUS_ERR_MEMBER_ID_REQUIRED
                                                          : BUS_ERR_INCONSISTENT_GROUP_PROTOCOL);
        struct leave_group_request leave = {.group_id = "v", .member_id = clients[0].id};
        if (version < 9)
            world_call(&w, 0, API_LEAVE_GROUP, 2, &leave);
    }
    world_fini(&w);
}

static void
test_peer_gone(void)
{
    begin();
    make_stable(2);
    CU_ASSERT_EQUAL(send_join_to(0, "g", "t"), API_PARKED);
    api_peer_gone(w.api, &w.peers[0].peer);
    CU_ASSERT_EQUAL(send_join_to(1, "g", "t"), API_PARKED);
    pass(9999);
    CU_ASSERT_PTR_NULL(world_answer(&w, 1));
    pass(1);
    const struct join_group_response *answer = take_join(1);
    CU_ASSERT_EQUAL(answer->generation_id, 2);
    CU_ASSERT_EQUAL(answer->members_count, 1);
    CU_ASSERT_EQUAL(send_sync(1, 0), API_PARKED);
    api_peer_gone(w.api, &w.peers[1].peer);
    pass(0);
    CU_ASSERT_STRING_EQUAL(describe(2, 5, "g")->group_state, "Stable");
    world_fini(&w);
}

static void
test_clock_jumps(void)
{
    begin();
    make_stable(2);
    for (int i = 0; i < 6; i++) {
        w.wall_ms += i % 2 ? -86400000 : 86400000;
        pass(5000);
        CU_ASSERT_EQUAL(beat(0), 0);
        CU_ASSERT_EQUAL(beat(1), 0);
    }
    w.mono_ms += 3600000; /* busd itself had stopped for an hour */
    world_pass(&w, 0);
    CU_ASSERT_EQUAL(beat(0), 0);
    CU_ASSERT_EQUAL(beat(1), 0);
    world_fini(&w);
}

static void
test_restart(void)
{
    begin();
    make_stable(2);
    world_restart(&w);
    CU_ASSERT_EQUAL(beat(0), 0);
    CU_ASSERT_EQUAL(beat(1), 0);
    CU_ASSERT_EQUAL(send_sync(1, 0), API_ANSWERED);
    expect_share(1, "one");
    const struct describe_groups_response_group *group = describe(0, 5, "g");
    CU_ASSERT_STRING_EQUAL(group->group_state, "Stable");
    CU_ASSERT_STRING_EQUAL(group->protocol_data, "range");
    pass(5000);
    CU_ASSERT_EQUAL(beat(0), 0);
    pass(5000);
    CU_ASSERT_EQUAL(beat(0), BUS_ERR_REBALANCE_IN_PROGRESS);
    CU_ASSERT_EQUAL(beat(1), BUS_ERR_UNKNOWN_MEMBER_ID);
    world_fini(&w);
}

static void
test_static(void)
{
    begin();
    clients[0].instance_id = "i0";
    CU_ASSERT_EQUAL(send_join_to(0, "g", "t"), API_PARKED);
    pass(3000);
    CU_ASSERT_EQUAL(take_join(0)->error_code, 0);
    CU_ASSERT_EQUAL(strncmp(clients[0].id, "i0-", 3), 0);
    CU_ASSERT_EQUAL(send_sync(0, 1), API_PARKED);
    pass(0);
    struct client old = clients[0];
    clients[0].id[0] = '\0';
    CU_ASSERT_EQUAL(send_join_to(0, "g", "t"), API_PARKED);
    pass(0);
    const struct join_group_response *answer = take_join(0);
    CU_ASSERT_EQUAL(answer->generation_id, 1);
    CU_ASSERT_TRUE(answer->skip_assignment);
    CU_ASSERT_STRING_NOT_EQUAL(clients[0].id, old.id);
    clients[1] = old;
    CU_ASSERT_EQUAL(beat(1), BUS_ERR_FENCED_INSTANCE_ID);
    world_restart(&w);
    CU_ASSERT_EQUAL(beat(0), 0);
    CU_ASSERT_EQUAL(beat(1), BUS_ERR_FENCED_INSTANCE_ID);
    world_fini(&w);
}

static void
test_leave(void)
{
    begin();
    make_stable(2);
    struct leave_group_request_member leavers[] = {
        {clients[1].id, NULL, "bye"}, {"nobody", NULL, NULL}};
    struct leave_group_request request = {.group_id = "g", .members = leavers, .members_count = 2};
    const struct leave_group_response *answer = world_call(&w, 1, API_LEAVE_GROUP, 5, &request);
    CU_ASSERT_EQUAL(answer->error_code, 0);
    CU_ASSERT_EQUAL_FATAL(answer->members_count, 2);
    CU_ASSERT_EQUAL(answer->members[0].error_code, 0);
    CU_ASSERT_EQUAL(answer->members[1].error_code, BUS_ERR_UNKNOWN_MEMBER_ID);
    CU_ASSERT_EQUAL(beat(0), BUS_ERR_REBALANCE_IN_PROGRESS);
    struct leave_group_request old = {.group_id = "g", .member_id = clients[1].id};
    answer = world_call(&w, 1, API_LEAVE_GROUP, 1, &old);
    CU_ASSERT_EQUAL(answer->error_code, BUS_ERR_UNKNOWN_MEMBER_ID);
    old.group_id = "";
    answer = world_call(&w, 1, API_LEAVE_GROUP, 1, &old);
    CU_ASSERT_EQUAL(answer->error_code, BUS_ERR_INVALID_GROUP_ID);
    world_fini(&w);
}

static void
test_settings(void)
{
    begin();
    struct incremental_alter_configs_request_resource_config config = {
        .name = "group.initial.rebalance.delay.ms", .value = "0"};
    struct incremental_alter_configs_request_resource resource = {
        .resource_type = 4, .resource_name = "", .configs = &config, .configs_count = 1};
    struct incremental_alter_configs_request request = {
        .resources = &resource, .resources_count = 1};
    const struct incremental_alter_configs_response *answer =
        world_call(&w, 0, API_INCREMENTAL_ALTER_CONFIGS, 1, &request);
    CU_ASSERT_EQUAL_FATAL(answer->responses_count, 1);
    CU_ASSERT_EQUAL_FATAL(answer->responses[0].error_code, 0);
    CU_ASSERT_EQUAL(send_join_to(0, "g", "t"), API_ANSWERED);
    take_join(0);
    CU_ASSERT_EQUAL(send_join_to(0, "g", "t"), API_ANSWERED);
    CU_ASSERT_EQUAL(take_join(0)->generation_id, 1);
    world_fini(&w);
}

static void
test_access(void)
{
    static const char *const closed[] = {"access.read=self", NULL};
    begin();
    world_topic(&w, "secret", 1, closed);
    CU_ASSERT_EQUAL(send_join_to(0, "g", "secret"), API_ANSWERED);
    take_join(0);
    CU_ASSERT_EQUAL(send_join_to(0, "g", "secret"), API_PARKED);
    CU_ASSERT_EQUAL(send_join_to(1, "g", "t"), API_ANSWERED);
    CU_ASSERT_EQUAL(take_join(1)->error_code, BUS_ERR_GROUP_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(describe(1, 5, "g")->error_code, BUS_ERR_GROUP_AUTHORIZATION_FAILED);
    CU_ASSERT_EQUAL(describe(1, 5, "g")->members_count, 0);
    CU_ASSERT_EQUAL(describe(2, 5, "g")->error_code, 0);
    world_fini(&w);
}

/* ---- administration ------------------------------------------------------------------------- */

static void
test_describe(void)
{
    begin();
    make_stable(2);
    for (int16_t version = 0; version <= 5; version++) {
        const struct describe_groups_response_group *group = describe(0, version, "g");
        CU_ASSERT_EQUAL(group->error_code, 0);
        CU_ASSERT_STRING_EQUAL(group->group_state, "Stable");
        CU_ASSERT_STRING_EQUAL(group->protocol_type, "consumer");
        CU_ASSERT_STRING_EQUAL(group->protocol_data, "range");
        CU_ASSERT_EQUAL_FATAL(group->members_count, 2);
        CU_ASSERT_STRING_EQUAL(group->members[0].member_id, clients[0].id);
        CU_ASSERT_STRING_EQUAL(group->members[0].client_id, "test");
        CU_ASSERT_EQUAL(group->members[1].member_assignment.len, 3);
        CU_ASSERT_EQUAL(group->members[1].member_metadata.len, 13);
        CU_ASSERT_EQUAL(group->authorized_operations, version >= 3 ? 0x148 : INT32_MIN);
    }
    CU_ASSERT_EQUAL(send_join_to(0, "g", "t"), API_PARKED);
    const struct describe_groups_response_group *group = describe(1, 5, "g");
    CU_ASSERT_STRING_EQUAL(group->group_state, "PreparingRebalance");
    CU_ASSERT_STRING_EQUAL(group->protocol_data, "");
    CU_ASSERT_EQUAL(group->members[1].member_metadata.len, 0);
    group = describe(1, 5, "nope");
    CU_ASSERT_EQUAL(group->error_code, 0);
    CU_ASSERT_STRING_EQUAL(group->group_state, "Dead");
    CU_ASSERT_EQUAL(describe(1, 5, "")->error_code, BUS_ERR_INVALID_GROUP_ID);
    world_fini(&w);
}

static const struct list_groups_response *
list(int16_t version, const char *state, const char *type)
{
    struct list_groups_request request = {
        .states_filter = &state,
        .states_filter_count = state != NULL,
        .types_filter = &type,
        .types_filter_count = type != NULL,
    };
    return world_call(&w, 0, API_LIST_GROUPS, version, &request);
}

static void
test_list(void)
{
    begin();
    CU_ASSERT_EQUAL(list(5, NULL, NULL)->groups_count, 0);
    make_stable(1);
    for (int16_t version = 0; version <= 5; version++) {
        const struct list_groups_response *answer = list(version, NULL, NULL);
        CU_ASSERT_EQUAL(answer->error_code, 0);
        CU_ASSERT_EQUAL_FATAL(answer->groups_count, 1);
        CU_ASSERT_STRING_EQUAL(answer->groups[0].group_id, "g");
        CU_ASSERT_STRING_EQUAL(answer->groups[0].protocol_type, "consumer");
        CU_ASSERT_STRING_EQUAL(answer->groups[0].group_state, version >= 4 ? "Stable" : "");
        CU_ASSERT_STRING_EQUAL(answer->groups[0].group_type, version >= 5 ? "classic" : "");
    }
    CU_ASSERT_EQUAL(list(4, "stable", NULL)->groups_count, 1);
    CU_ASSERT_EQUAL(list(4, "Empty", NULL)->groups_count, 0);
    CU_ASSERT_EQUAL(list(5, NULL, "Classic")->groups_count, 1);
    CU_ASSERT_EQUAL(list(5, NULL, "consumer")->groups_count, 0);
    world_fini(&w);
}

static int16_t
drop(int who, const char *group)
{
    struct delete_groups_request request = {.groups_names = &group, .groups_names_count = 1};
    int sent = world_send(&w, who, API_DELETE_GROUPS, 2, &request);
    if (sent == API_PARKED)
        pass(0);
    const struct delete_groups_response *answer = world_answer(&w, who);
    CU_ASSERT_PTR_NOT_NULL_FATAL(answer);
    CU_ASSERT_EQUAL_FATAL(answer->results_count, 1);
    CU_ASSERT_STRING_EQUAL(answer->results[0].group_id, group);
    return answer->results[0].error_code;
}

static void
test_delete(void)
{
    begin();
    CU_ASSERT_EQUAL(drop(0, "g"), BUS_ERR_GROUP_ID_NOT_FOUND);
    CU_ASSERT_EQUAL(drop(0, ""), BUS_ERR_INVALID_GROUP_ID);
    make_stable(1);
    CU_ASSERT_EQUAL(drop(0, "g"), BUS_ERR_NON_EMPTY_GROUP);
    struct leave_group_request leave = {.group_id = "g", .member_id = clients[0].id};
    const struct leave_group_response *left = world_call(&w, 0, API_LEAVE_GROUP, 0, &leave);
    CU_ASSERT_EQUAL(left->error_code, 0);
    pass(0);
    CU_ASSERT_STRING_EQUAL(describe(0, 5, "g")->group_state, "Empty");
    world_restart(&w);
    CU_ASSERT_STRING_EQUAL(describe(0, 5, "g")->group_state, "Empty");
    CU_ASSERT_EQUAL(drop(0, "g"), 0);
    CU_ASSERT_STRING_EQUAL(describe(0, 5, "g")->group_state, "Dead");
    world_restart(&w);
    CU_ASSERT_EQUAL(drop(0, "g"), BUS_ERR_GROUP_ID_NOT_FOUND);
    CU_ASSERT_EQUAL(list(5, NULL, NULL)->groups_count, 0);
    world_fini(&w);
}

static const struct unit_case cases[] = {
    {"every version finds this node", test_find},
    {"two members get a generation and their shares", test_generation},
    {"every version of a join is understood", test_versions},
    {"a peer that goes while it waits leaves a member for its session", test_peer_gone},
    {"no clock that jumps and no pause of busd ends a session", test_clock_jumps},
    {"members go on in their generation after a restart", test_restart},
    {"a static member returns under a new id, also after a restart", test_static},
    {"several members leave at once", test_leave},
    {"changed settings count at once", test_settings},
    {"who may not read what a group reads stays outside", test_access},
    {"a group is described", test_describe},
    {"groups are listed by state and type", test_list},
    {"an empty group is deleted", test_delete},
    {NULL, NULL},
};

void
register_api_groups(void)
{
    unit_register("api_groups", cases);
}
