/* SPDX-License-Identifier: Apache-2.0
 * What time does to groups: sessions, patience, pending ids, clients that are gone, a busd that had
 * stopped; and static members, whose point is that time passes.
 */
#include "unit/group_world.h"

#include <string.h>

static struct gw w;

/* ---- dynamic members ------------------------------------------------------------------------ */

static void
test_session(void)
{
    gw_init(&w);
    gw_stable(&w, 2);
    gw_pass(&w, 9000);
    CU_ASSERT_EQUAL(gw_beat(&w, 0), BUS_ERR_NONE);
    gw_pass(&w, 999);
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 2);
    gw_pass(&w, 1);
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 1);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_PREPARING);
    CU_ASSERT_EQUAL(gw_beat(&w, 1), BUS_ERR_UNKNOWN_MEMBER_ID);
    CU_ASSERT_EQUAL(gw_beat(&w, 0), BUS_ERR_REBALANCE_IN_PROGRESS);
    gw_pass(&w, 10000);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_EMPTY);
    CU_ASSERT_EQUAL(gw_group(&w)->generation, 2);
    gw_fini(&w);
}

static void
test_pending_expires(void)
{
    gw_init(&w);
    gw_join(&w, 0, "range");
    gw_pass(&w, 9999);
    CU_ASSERT_PTR_NOT_NULL(gw_group(&w));
    gw_pass(&w, 1);
    CU_ASSERT_PTR_NULL(gw_group(&w));
    CU_ASSERT_EQUAL(groups_deadline_ms(&w.groups), INT64_MAX);
    gw_join(&w, 0, "range");
    CU_ASSERT_EQUAL(w.clients[0].error, BUS_ERR_UNKNOWN_MEMBER_ID);
    gw_fini(&w);
}

static void
test_pending_is_waited_for(void)
{
    gw_init(&w);
    gw_stable(&w, 1);
    gw_join(&w, 1, "range");
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_STABLE);
    gw_join(&w, 0, "range");
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_PREPARING);
    CU_ASSERT_EQUAL(w.clients[0].joins, 2);
    gw_pass(&w, 10000);
    CU_ASSERT_EQUAL(w.clients[0].joins, 3);
    CU_ASSERT_EQUAL(w.clients[0].generation, 2);
    gw_fini(&w);
}

static void
test_patience(void)
{
    gw_init(&w);
    for (int i = 0; i < 3; i++)
        w.clients[i].session_timeout_ms = 100000;
    w.clients[1].rebalance_timeout_ms = 20000;
    w.clients[0].rebalance_timeout_ms = 10000;
    w.clients[2].rebalance_timeout_ms = 10000;
    gw_stable(&w, 3);
    gw_join(&w, 0, "range");
    gw_join(&w, 1, "range");
    gw_pass(&w, 19999);
    CU_ASSERT_EQUAL(w.clients[0].joins, 2);
    gw_pass(&w, 1);
    CU_ASSERT_EQUAL(w.clients[0].joins, 3);
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 2);
    CU_ASSERT_EQUAL(gw_beat(&w, 2), BUS_ERR_UNKNOWN_MEMBER_ID);
    gw_fini(&w);
}

static void
test_waiting_is_living(void)
{
    gw_init(&w);
    gw_stable(&w, 2);
    gw_join(&w, 0, "range");
    for (int i = 0; i < 6; i++) {
        gw_pass(&w, 9000);
        CU_ASSERT_EQUAL(gw_beat(&w, 1), BUS_ERR_REBALANCE_IN_PROGRESS);
    }
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 2);
    gw_join(&w, 1, "range");
    gw_sync(&w, 1, "");
    for (int i = 0; i < 6; i++) {
        gw_pass(&w, 9000);
        CU_ASSERT_EQUAL(gw_beat(&w, 0), BUS_ERR_NONE);
    }
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 2);
    gw_fini(&w);
}

static void
test_new_member_waits_not_for_ever(void)
{
    gw_init(&w);
    w.clients[0].session_timeout_ms = 1800000;
    w.clients[0].rebalance_timeout_ms = 3600000;
    gw_stable(&w, 1);
    gw_enter(&w, 1, "range");
    gw_pass(&w, GROUP_NEW_MEMBER_MS - 1);
    CU_ASSERT_EQUAL(w.clients[1].joins, 1);
    gw_pass(&w, 1);
    CU_ASSERT_EQUAL(w.clients[1].joins, 2);
    CU_ASSERT_EQUAL(w.clients[1].error, BUS_ERR_UNKNOWN_MEMBER_ID);
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 1);
    gw_fini(&w);
}

/** Its first connection got lost: on the second one it may wait as long as on the first. */
static void
test_new_member_joins_again(void)
{
    gw_init(&w);
    w.clients[0].session_timeout_ms = w.clients[1].session_timeout_ms = 60000;
    gw_stable(&w, 2);
    gw_enter(&w, 2, "range");
    group_cancel(&w.groups, w.now_ms, &w.clients[2].join);
    gw_join(&w, 2, "range");
    gw_pass(&w, 30000);
    CU_ASSERT_PTR_NOT_NULL(w.clients[2].join.member);
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 3);
    gw_fini(&w);
}

/** It is gone before its return is saved: its session counts from when it was there. */
static void
test_gone_while_saved(void)
{
    gw_init(&w);
    w.clients[1].instance_id = "i1";
    gw_stable(&w, 2);
    w.save_outcome = 0;
    w.clients[1].id[0] = '\0';
    gw_join(&w, 1, "range");
    group_cancel(&w.groups, w.now_ms, &w.clients[1].join);
    gw_pass(&w, 5000);
    gw_beat(&w, 0);
    gw_saved(&w, 0);
    gw_pass(&w, 4999);
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 2);
    gw_pass(&w, 1);
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 1);
    gw_fini(&w);
}

static void
test_no_sync(void)
{
    gw_init(&w);
    gw_enter(&w, 0, "range");
    gw_enter(&w, 1, "range");
    gw_pass(&w, 6000);
    gw_sync(&w, 0, "0=a 1=b");
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_STABLE);
    for (int i = 0; i < 7; i++) {
        CU_ASSERT_EQUAL(gw_beat(&w, 0), 0);
        CU_ASSERT_EQUAL(gw_beat(&w, 1), 0);
        gw_pass(&w, 8500);
    }
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_STABLE);
    CU_ASSERT_EQUAL(gw_beat(&w, 0), 0);
    CU_ASSERT_EQUAL(gw_beat(&w, 1), 0);
    gw_pass(&w, 500);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_PREPARING);
    CU_ASSERT_EQUAL(gw_beat(&w, 1), BUS_ERR_UNKNOWN_MEMBER_ID);
    gw_fini(&w);
}

static void
test_leader_does_not_sync(void)
{
    gw_init(&w);
    w.clients[0].session_timeout_ms = 1000000;
    gw_enter(&w, 0, "range");
    gw_enter(&w, 1, "range");
    gw_pass(&w, 6000);
    gw_sync(&w, 1, "");
    gw_pass(&w, 59999);
    CU_ASSERT_EQUAL(w.clients[1].syncs, 0);
    gw_pass(&w, 1);
    CU_ASSERT_EQUAL(w.clients[1].syncs, 1);
    CU_ASSERT_EQUAL(w.clients[1].error, BUS_ERR_REBALANCE_IN_PROGRESS);
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 1);
    gw_join(&w, 1, "range");
    CU_ASSERT_EQUAL(w.clients[1].generation, 2);
    CU_ASSERT_STRING_EQUAL(w.clients[1].leader, w.clients[1].id);
    gw_fini(&w);
}

/* ---- clients that are gone ------------------------------------------------------------------ */

static void
test_gone_while_joining(void)
{
    gw_init(&w);
    gw_stable(&w, 2);
    gw_join(&w, 0, "range");
    gw_join(&w, 2, "range");
    gw_join(&w, 2, "range");
    group_cancel(&w.groups, w.now_ms, &w.clients[2].join);
    gw_join(&w, 1, "range");
    gw_pass(&w, 9999);
    CU_ASSERT_EQUAL(w.clients[0].joins, 2);
    gw_pass(&w, 1);
    CU_ASSERT_EQUAL(w.clients[0].joins, 3);
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 2);
    gw_fini(&w);
}

static void
test_gone_without_id(void)
{
    gw_init(&w);
    gw_stable(&w, 1);
    w.clients[1].version = 3;
    gw_join(&w, 1, "range");
    gw_join(&w, 2, "range");
    gw_join(&w, 0, "range");
    group_cancel(&w.groups, w.now_ms, &w.clients[1].join);
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 1);
    gw_join(&w, 2, "range");
    CU_ASSERT_EQUAL(w.clients[0].generation, 2);
    gw_fini(&w);
}

static void
test_gone_while_syncing(void)
{
    gw_init(&w);
    gw_enter(&w, 0, "range");
    gw_enter(&w, 1, "range");
    gw_pass(&w, 6000);
    gw_sync(&w, 1, "");
    group_cancel(&w.groups, w.now_ms, &w.clients[1].sync);
    group_cancel(&w.groups, w.now_ms, &w.clients[1].sync);
    gw_sync(&w, 0, "0=a 1=b");
    CU_ASSERT_EQUAL(w.clients[0].syncs, 1);
    CU_ASSERT_EQUAL(w.clients[1].syncs, 0);
    gw_pass(&w, 9999);
    gw_beat(&w, 0);
    gw_pass(&w, 1);
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 1);
    gw_fini(&w);
}

/* ---- busd itself had stopped ---------------------------------------------------------------- */

static void
test_stall(void)
{
    gw_init(&w);
    gw_stable(&w, 2);
    w.now_ms += 3600000;
    groups_tick(&w.groups, w.now_ms);
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 2);
    CU_ASSERT_EQUAL(gw_beat(&w, 0), 0);
    gw_pass(&w, GROUP_STALL_MS);
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 1);
    CU_ASSERT_EQUAL(gw_beat(&w, 0), BUS_ERR_REBALANCE_IN_PROGRESS);
    gw_fini(&w);
}

/* ---- static members ------------------------------------------------------------------------- */

static void
make_static(int who, const char *instance_id)
{
    w.clients[who].instance_id = instance_id;
    w.clients[who].session_timeout_ms = 60000;
}

/** The process of a static member ends and comes back without its id. */
static void
come_back(int who, int version)
{
    w.clients[who].id[0] = '\0';
    w.clients[who].version = version;
    gw_join(&w, who, "range");
}

static void
test_static_returns(void)
{
    gw_init(&w);
    make_static(0, "i0");
    make_static(1, "i1");
    gw_stable(&w, 2);
    char old[GW_TEXT];
    memcpy(old, w.clients[1].id, sizeof old);
    w.save_outcome = 0;
    come_back(1, 9);
    CU_ASSERT_EQUAL(w.clients[1].joins, 1);
    CU_ASSERT_EQUAL(w.save_count, 1);
    gw_saved(&w, 0);
    CU_ASSERT_EQUAL(w.clients[1].joins, 2);
    CU_ASSERT_EQUAL(w.clients[1].generation, 1);
    CU_ASSERT_STRING_NOT_EQUAL(w.clients[1].id, old);
    CU_ASSERT_FALSE(w.clients[1].skips_assignment);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_STABLE);
    gw_sync(&w, 1, "");
    CU_ASSERT_STRING_EQUAL(w.clients[1].assignment, "a1");
    struct group_claim fenced = {"g", old, "i1", 1};
    CU_ASSERT_EQUAL(group_heartbeat(&w.groups, w.now_ms, &fenced), BUS_ERR_FENCED_INSTANCE_ID);
    CU_ASSERT_EQUAL(group_commit(&w.groups, w.now_ms, &fenced), BUS_ERR_FENCED_INSTANCE_ID);
    CU_ASSERT_EQUAL(group_leave(&w.groups, w.now_ms, &fenced), BUS_ERR_FENCED_INSTANCE_ID);
    fenced.instance_id = "i7";
    CU_ASSERT_EQUAL(group_heartbeat(&w.groups, w.now_ms, &fenced), BUS_ERR_UNKNOWN_MEMBER_ID);
    gw_fini(&w);
}

static void
test_static_leader_returns(void)
{
    gw_init(&w);
    make_static(0, "i0");
    make_static(1, "i1");
    gw_stable(&w, 2);
    come_back(0, 9);
    CU_ASSERT_TRUE(w.clients[0].skips_assignment);
    CU_ASSERT_STRING_EQUAL(w.clients[0].leader, w.clients[0].id);
    CU_ASSERT_STRING_NOT_EQUAL(w.clients[0].members, "");
    char before[GW_TEXT];
    memcpy(before, w.clients[0].id, sizeof before);
    come_back(0, 8);
    CU_ASSERT_FALSE(w.clients[0].skips_assignment);
    CU_ASSERT_STRING_EQUAL(w.clients[0].leader, before);
    CU_ASSERT_STRING_EQUAL(w.clients[0].members, "");
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_STABLE);
    gw_fini(&w);
}

static void
test_static_save_fails(void)
{
    gw_init(&w);
    make_static(0, "i0");
    gw_stable(&w, 1);
    w.save_outcome = 0;
    come_back(0, 9);
    gw_saved(&w, -BUS_ERR_DISK_FULL);
    CU_ASSERT_EQUAL(w.clients[0].error, BUS_ERR_COORDINATOR_NOT_AVAILABLE);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_STABLE);
    w.save_outcome = GROUP_SAVED;
    come_back(0, 9);
    CU_ASSERT_EQUAL(w.clients[0].error, 0);
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 1);
    gw_fini(&w);
}

static void
test_static_changes_protocol(void)
{
    gw_init(&w);
    make_static(0, "i0");
    gw_join(&w, 0, "range,sticky");
    gw_pass(&w, 3000);
    gw_sync(&w, 0, "0=a");
    w.clients[0].id[0] = '\0';
    gw_join(&w, 0, "sticky,range");
    CU_ASSERT_EQUAL(w.clients[0].generation, 2);
    CU_ASSERT_STRING_EQUAL(w.clients[0].protocol, "sticky");
    gw_fini(&w);
}

static void
test_static_returns_while_completing(void)
{
    gw_init(&w);
    make_static(0, "i0");
    make_static(1, "i1");
    gw_join(&w, 0, "range");
    gw_join(&w, 1, "range");
    gw_pass(&w, 6000);
    gw_sync(&w, 0, "");
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_STABLE);
    gw_join(&w, 0, "range");
    gw_join(&w, 1, "range");
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_COMPLETING);
    gw_sync(&w, 1, "");
    struct gw_client old = w.clients[1];
    come_back(1, 5);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_PREPARING);
    CU_ASSERT_EQUAL(w.clients[1].syncs, old.syncs + 1);
    CU_ASSERT_EQUAL(w.clients[1].error, BUS_ERR_FENCED_INSTANCE_ID);
    gw_join(&w, 0, "range");
    CU_ASSERT_EQUAL(w.clients[1].error, 0);
    CU_ASSERT_EQUAL(w.clients[1].generation, 3);
    gw_fini(&w);
}

static void
test_static_stays_in_a_rebalance(void)
{
    gw_init(&w);
    make_static(0, "i0");
    make_static(1, "i1");
    w.clients[0].rebalance_timeout_ms = w.clients[1].rebalance_timeout_ms = 10000;
    gw_stable(&w, 2);
    gw_join(&w, 0, "range");
    gw_pass(&w, 10000);
    CU_ASSERT_EQUAL(w.clients[0].generation, 2);
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.clients[0].members, w.clients[1].id));
    gw_sync(&w, 0, "");
    gw_pass(&w, 10000);
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 1);
    gw_fini(&w);
}

static void
test_nobody_rejoins(void)
{
    gw_init(&w);
    make_static(0, "i0");
    make_static(1, "i1");
    w.clients[0].rebalance_timeout_ms = w.clients[1].rebalance_timeout_ms = 7000;
    gw_stable(&w, 2);
    struct group_claim claim = {"g", "", "i0", 0};
    CU_ASSERT_EQUAL(group_leave(&w.groups, w.now_ms, &claim), 0);
    gw_pass(&w, 50000);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_PREPARING);
    CU_ASSERT_EQUAL(gw_group(&w)->generation, 1);
    gw_pass(&w, 10000);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_EMPTY);
    gw_fini(&w);
}

static const struct unit_case cases[] = {
    {"a member that is silent too long is gone", test_session},
    {"an id that nobody came back for expires", test_pending_expires},
    {"a rebalance waits for who was given an id", test_pending_is_waited_for},
    {"a rebalance waits as long as the most patient member", test_patience},
    {"who waits for an answer is alive", test_waiting_is_living},
    {"a new member is told after five minutes", test_new_member_waits_not_for_ever},
    {"a new member that joins again waits as long", test_new_member_joins_again},
    {"a client that died before its return was saved has its session", test_gone_while_saved},
    {"who does not fetch its share is dropped", test_no_sync},
    {"a leader that does not assign is dropped", test_leader_does_not_sync},
    {"a client that died while joining has its session to return", test_gone_while_joining},
    {"a client that died before it knew its id is gone", test_gone_without_id},
    {"a client that died while syncing has its session to return", test_gone_while_syncing},
    {"nobody expires because busd had stopped", test_stall},
    {"a static member returns without a rebalance", test_static_returns},
    {"a static leader returns and assigns nothing", test_static_leader_returns},
    {"a static member whose return is not saved tries again", test_static_save_fails},
    {"a static member with another protocol makes a rebalance", test_static_changes_protocol},
    {"a static member that returns between join and sync makes a rebalance",
        test_static_returns_while_completing},
    {"an absent static member stays for one generation", test_static_stays_in_a_rebalance},
    {"a rebalance that nobody joins ends with the sessions", test_nobody_rejoins},
    {NULL, NULL},
};

void
register_group_time(void)
{
    unit_register("group_time", cases);
}
