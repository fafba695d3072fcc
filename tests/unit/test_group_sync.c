/* SPDX-License-Identifier: Apache-2.0
 * SyncGroup, Heartbeat, LeaveGroup, the check of commits, and groups that come back from storage.
 */
#include "unit/group_world.h"

#include <string.h>

static struct gw w;

static void
test_shares(void)
{
    gw_init(&w);
    gw_enter(&w, 0, "range");
    gw_enter(&w, 1, "range");
    gw_enter(&w, 2, "range");
    gw_pass(&w, 9000);
    w.save_outcome = 0;
    gw_sync(&w, 1, "");
    CU_ASSERT_EQUAL(w.clients[1].syncs, 0);
    gw_sync(&w, 0, "0=zero 1=one");
    CU_ASSERT_EQUAL(w.clients[0].syncs, 0);
    CU_ASSERT_EQUAL_FATAL(w.save_count, 1);
    CU_ASSERT_EQUAL(w.saves[0].members, 3);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_COMPLETING);
    gw_saved(&w, 0);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_STABLE);
    CU_ASSERT_STRING_EQUAL(w.clients[0].assignment, "zero");
    CU_ASSERT_STRING_EQUAL(w.clients[1].assignment, "one");
    gw_sync(&w, 2, "");
    CU_ASSERT_EQUAL(w.clients[2].syncs, 1);
    CU_ASSERT_STRING_EQUAL(w.clients[2].assignment, "");
    gw_sync(&w, 1, "");
    CU_ASSERT_EQUAL(w.clients[1].syncs, 2);
    CU_ASSERT_STRING_EQUAL(w.clients[1].assignment, "one");
    gw_fini(&w);
}

static void
test_save_fails(void)
{
    gw_init(&w);
    gw_enter(&w, 0, "range");
    gw_enter(&w, 1, "range");
    gw_pass(&w, 9000);
    w.save_outcome = 0;
    gw_sync(&w, 1, "");
    gw_sync(&w, 0, "0=zero 1=one");
    gw_saved(&w, -BUS_ERR_KAFKA_STORAGE_ERROR);
    CU_ASSERT_EQUAL(w.clients[0].error, BUS_ERR_COORDINATOR_NOT_AVAILABLE);
    CU_ASSERT_EQUAL(w.clients[1].error, BUS_ERR_COORDINATOR_NOT_AVAILABLE);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_PREPARING);
    gw_join(&w, 1, "range");
    gw_join(&w, 0, "range");
    CU_ASSERT_EQUAL(w.clients[0].generation, 2);
    w.save_outcome = -BUS_ERR_NO_MEMORY;
    gw_sync(&w, 0, "0=zero");
    CU_ASSERT_EQUAL(w.clients[0].error, BUS_ERR_COORDINATOR_NOT_AVAILABLE);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_PREPARING);
    gw_fini(&w);
}

static void
test_save_overtaken(void)
{
    gw_init(&w);
    gw_enter(&w, 0, "range");
    gw_enter(&w, 1, "range");
    gw_pass(&w, 9000);
    w.save_outcome = 0;
    gw_sync(&w, 0, "0=zero 1=one");
    w.clients[1].metadata = "new";
    gw_join(&w, 1, "range");
    CU_ASSERT_EQUAL(w.clients[0].error, BUS_ERR_REBALANCE_IN_PROGRESS);
    gw_saved(&w, 0);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_PREPARING);
    CU_ASSERT_EQUAL(gw_group(&w)->first->assignment.len, 0);
    gw_fini(&w);
}

static void
test_leader_syncs_twice(void)
{
    gw_init(&w);
    gw_enter(&w, 0, "range");
    gw_pass(&w, 9000);
    w.save_outcome = 0;
    gw_sync(&w, 0, "0=first");
    group_cancel(&w.groups, w.now_ms, &w.clients[0].sync);
    gw_sync(&w, 0, "0=second");
    CU_ASSERT_EQUAL(w.save_count, 1);
    gw_saved(&w, 0);
    CU_ASSERT_EQUAL(w.clients[0].syncs, 1);
    CU_ASSERT_STRING_EQUAL(w.clients[0].assignment, "first");
    gw_fini(&w);
}

static enum bus_err
sync_as(const char *id, int32_t generation, const char *type, const char *protocol)
{
    struct group_sync sync = {
        .claim = {"g", id, NULL, generation}, .protocol_type = type, .protocol = protocol};
    w.clients[11].error = BUS_ERR_NONE;
    group_sync(&w.groups, w.now_ms, &sync, &w.clients[11].sync);
    return w.clients[11].error;
}

static void
test_sync_refused(void)
{
    gw_init(&w);
    CU_ASSERT_EQUAL(sync_as("x", 1, NULL, NULL), BUS_ERR_UNKNOWN_MEMBER_ID);
    gw_stable(&w, 1);
    const char *id = w.clients[0].id;
    CU_ASSERT_EQUAL(sync_as("x", 1, NULL, NULL), BUS_ERR_UNKNOWN_MEMBER_ID);
    CU_ASSERT_EQUAL(sync_as(id, 0, NULL, NULL), BUS_ERR_ILLEGAL_GENERATION);
    CU_ASSERT_EQUAL(sync_as(id, 2, NULL, NULL), BUS_ERR_ILLEGAL_GENERATION);
    CU_ASSERT_EQUAL(sync_as(id, 1, "connect", NULL), BUS_ERR_INCONSISTENT_GROUP_PROTOCOL);
    CU_ASSERT_EQUAL(sync_as(id, 1, "consumer", "sticky"), BUS_ERR_INCONSISTENT_GROUP_PROTOCOL);
    CU_ASSERT_EQUAL(sync_as(id, 1, "consumer", "range"), BUS_ERR_NONE);
    CU_ASSERT_STRING_EQUAL(w.clients[11].assignment, "a0");
    gw_enter(&w, 1, "range");
    CU_ASSERT_EQUAL(sync_as(id, 1, NULL, NULL), BUS_ERR_REBALANCE_IN_PROGRESS);
    gw_fini(&w);
}

static void
test_assignment_too_large(void)
{
    gw_init(&w);
    gw_enter(&w, 0, "range");
    gw_pass(&w, 9000);
    w.groups.rules.bytes_max = w.groups.bytes + 3;
    gw_sync(&w, 0, "0=four");
    CU_ASSERT_EQUAL(w.clients[0].error, BUS_ERR_COORDINATOR_NOT_AVAILABLE);
    gw_fini(&w);
}

static void
test_heartbeat(void)
{
    gw_init(&w);
    struct group_claim claim = {"g", "x", NULL, 1};
    CU_ASSERT_EQUAL(group_heartbeat(&w.groups, w.now_ms, &claim), BUS_ERR_UNKNOWN_MEMBER_ID);
    gw_enter(&w, 0, "range");
    gw_pass(&w, 9000);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_COMPLETING);
    CU_ASSERT_EQUAL(gw_beat(&w, 0), BUS_ERR_NONE);
    gw_sync(&w, 0, "0=a");
    CU_ASSERT_EQUAL(gw_beat(&w, 0), BUS_ERR_NONE);
    CU_ASSERT_EQUAL(group_heartbeat(&w.groups, w.now_ms, &claim), BUS_ERR_UNKNOWN_MEMBER_ID);
    w.clients[0].generation = 0;
    CU_ASSERT_EQUAL(gw_beat(&w, 0), BUS_ERR_ILLEGAL_GENERATION);
    w.clients[0].generation = 1;
    gw_enter(&w, 1, "range");
    CU_ASSERT_EQUAL(gw_beat(&w, 0), BUS_ERR_REBALANCE_IN_PROGRESS);
    gw_fini(&w);
}

static enum bus_err
leave(const char *id, const char *instance_id)
{
    struct group_claim claim = {"g", id, instance_id, 0};
    return group_leave(&w.groups, w.now_ms, &claim);
}

static void
test_leave(void)
{
    gw_init(&w);
    CU_ASSERT_EQUAL(leave("x", NULL), BUS_ERR_UNKNOWN_MEMBER_ID);
    gw_stable(&w, 3);
    CU_ASSERT_EQUAL(leave("x", NULL), BUS_ERR_UNKNOWN_MEMBER_ID);
    CU_ASSERT_EQUAL(leave("", NULL), BUS_ERR_UNKNOWN_MEMBER_ID);
    CU_ASSERT_EQUAL(leave(w.clients[2].id, NULL), BUS_ERR_NONE);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_PREPARING);
    gw_join(&w, 0, "range");
    CU_ASSERT_EQUAL(w.clients[0].joins, 2);
    CU_ASSERT_EQUAL(leave(w.clients[1].id, NULL), BUS_ERR_NONE);
    CU_ASSERT_EQUAL(w.clients[0].joins, 3);
    CU_ASSERT_EQUAL(w.clients[0].generation, 2);
    gw_join(&w, 4, "range");
    CU_ASSERT_EQUAL(leave(w.clients[4].id, NULL), BUS_ERR_NONE);
    CU_ASSERT_PTR_NULL(gw_group(&w)->pending);
    gw_fini(&w);
}

static void
test_leave_while_parked(void)
{
    gw_init(&w);
    gw_enter(&w, 0, "range");
    gw_enter(&w, 1, "range");
    CU_ASSERT_EQUAL(leave(w.clients[1].id, NULL), BUS_ERR_NONE);
    CU_ASSERT_EQUAL(w.clients[1].error, BUS_ERR_UNKNOWN_MEMBER_ID);
    gw_pass(&w, 9000);
    w.clients[1].id[0] = '\0';
    gw_enter(&w, 1, "range");
    gw_join(&w, 0, "range");
    gw_sync(&w, 1, "");
    CU_ASSERT_EQUAL(leave(w.clients[1].id, NULL), BUS_ERR_NONE);
    CU_ASSERT_EQUAL(w.clients[1].syncs, 1);
    CU_ASSERT_EQUAL(w.clients[1].error, BUS_ERR_UNKNOWN_MEMBER_ID);
    gw_fini(&w);
}

static enum bus_err
commit(const char *id, int32_t generation)
{
    struct group_claim claim = {"g", id, NULL, generation};
    return group_commit(&w.groups, w.now_ms, &claim);
}

static void
test_commit(void)
{
    gw_init(&w);
    CU_ASSERT_EQUAL(commit("", -1), BUS_ERR_NONE);
    CU_ASSERT_EQUAL(commit("x", 1), BUS_ERR_GROUP_ID_NOT_FOUND);
    gw_enter(&w, 0, "range");
    const char *id = w.clients[0].id;
    gw_pass(&w, 9000);
    CU_ASSERT_EQUAL(commit(id, 1), BUS_ERR_REBALANCE_IN_PROGRESS);
    gw_sync(&w, 0, "0=a");
    CU_ASSERT_EQUAL(commit(id, 1), BUS_ERR_NONE);
    CU_ASSERT_EQUAL(commit(id, 0), BUS_ERR_ILLEGAL_GENERATION);
    CU_ASSERT_EQUAL(commit("x", 1), BUS_ERR_UNKNOWN_MEMBER_ID);
    CU_ASSERT_EQUAL(commit("", -1), BUS_ERR_UNKNOWN_MEMBER_ID);
    CU_ASSERT_EQUAL(commit(id, -1), BUS_ERR_ILLEGAL_GENERATION);
    gw_enter(&w, 1, "range");
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_PREPARING);
    CU_ASSERT_EQUAL(commit(id, 1), BUS_ERR_NONE);
    CU_ASSERT_EQUAL(leave(w.clients[1].id, NULL), BUS_ERR_NONE);
    CU_ASSERT_EQUAL(leave(id, NULL), BUS_ERR_NONE);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_EMPTY);
    CU_ASSERT_EQUAL(commit("", -1), BUS_ERR_NONE);
    CU_ASSERT_EQUAL(commit(id, 1), BUS_ERR_UNKNOWN_MEMBER_ID);
    gw_fini(&w);
}

static void
test_commit_keeps_alive(void)
{
    gw_init(&w);
    gw_stable(&w, 1);
    for (int i = 0; i < 5; i++) {
        gw_pass(&w, 9000);
        CU_ASSERT_EQUAL(commit(w.clients[0].id, 1), BUS_ERR_NONE);
    }
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_STABLE);
    gw_fini(&w);
}

/* ---- from storage --------------------------------------------------------------------------- */

static const struct group_image_member saved_members[] = {
    {"one", NULL, "client", "host", 10000, 60000, {(const uint8_t *)"s1", 2},
        {(const uint8_t *)"a1", 2}},
    {"two", "i2", "client", "host", 10000, 60000, {(const uint8_t *)"s2", 2},
        {(const uint8_t *)"a2", 2}},
};

static const struct group_image saved = {.id = "g",
    .protocol_type = "consumer",
    .protocol = "range",
    .leader = "two",
    .generation = 7,
    .members = saved_members,
    .member_count = 2};

static void
test_restore(void)
{
    gw_init(&w);
    CU_ASSERT_EQUAL(groups_restore(&w.groups, w.now_ms, &saved), 0);
    CU_ASSERT_EQUAL(groups_restore(&w.groups, w.now_ms, &saved), -BUS_ERR_CORRUPT_MESSAGE);
    struct group *group = gw_group(&w);
    CU_ASSERT_EQUAL(group->state, GROUP_STABLE);
    CU_ASSERT_EQUAL(sync_as("one", 7, "consumer", "range"), BUS_ERR_NONE);
    CU_ASSERT_STRING_EQUAL(w.clients[11].assignment, "a1");
    CU_ASSERT_STRING_EQUAL(group->leader->id, "two");
    struct group_claim claim = {"g", "two", "i2", 7};
    gw_pass(&w, 9999);
    CU_ASSERT_EQUAL(group_heartbeat(&w.groups, w.now_ms, &claim), BUS_ERR_NONE);
    gw_pass(&w, 1);
    CU_ASSERT_EQUAL(group_heartbeat(&w.groups, w.now_ms, &claim), BUS_ERR_REBALANCE_IN_PROGRESS);
    CU_ASSERT_EQUAL(group->member_count, 1);
    gw_fini(&w);
}

static void
test_restore_empty(void)
{
    gw_init(&w);
    struct group_image empty = {.id = "g", .protocol_type = "consumer", .generation = 3};
    CU_ASSERT_EQUAL(groups_restore(&w.groups, w.now_ms, &empty), 0);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_EMPTY);
    gw_enter(&w, 0, "range");
    gw_pass(&w, 3000);
    CU_ASSERT_EQUAL(w.clients[0].generation, 4);
    gw_fini(&w);
}

static void
test_restore_nonsense(void)
{
    gw_init(&w);
    struct group_image image = saved;
    struct group_image_member member = saved_members[0];
    image.protocol = NULL;
    CU_ASSERT_EQUAL(groups_restore(&w.groups, w.now_ms, &image), -BUS_ERR_CORRUPT_MESSAGE);
    image = saved;
    image.generation = -1;
    CU_ASSERT_EQUAL(groups_restore(&w.groups, w.now_ms, &image), -BUS_ERR_CORRUPT_MESSAGE);
    image = saved;
    image.members = &member;
    image.member_count = 1;
    member.session_timeout_ms = -1;
    CU_ASSERT_EQUAL(groups_restore(&w.groups, w.now_ms, &image), -BUS_ERR_CORRUPT_MESSAGE);
    image.id = "";
    CU_ASSERT_EQUAL(groups_restore(&w.groups, w.now_ms, &image), -BUS_ERR_CORRUPT_MESSAGE);
    CU_ASSERT_EQUAL(w.groups.count, 0);
    gw_fini(&w);
}

static const struct unit_case cases[] = {
    {"members get their shares once these are saved", test_shares},
    {"a failed save sends everybody back", test_save_fails},
    {"a save that a rebalance overtook counts for nothing", test_save_overtaken},
    {"a leader that syncs again does not change its word", test_leader_syncs_twice},
    {"strangers and old generations get no share", test_sync_refused},
    {"assignments are limited too", test_assignment_too_large},
    {"a heartbeat tells of a rebalance", test_heartbeat},
    {"leaving makes a rebalance", test_leave},
    {"who leaves while waiting is answered", test_leave_while_parked},
    {"a commit needs the right generation", test_commit},
    {"a commit is a sign of life", test_commit_keeps_alive},
    {"a stored group goes on in its generation", test_restore},
    {"a stored empty group counts on", test_restore_empty},
    {"a stored group that makes no sense is refused", test_restore_nonsense},
    {NULL, NULL},
};

void
register_group_sync(void)
{
    unit_register("group_sync", cases);
}
