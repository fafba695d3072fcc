/* SPDX-License-Identifier: Apache-2.0
 * JoinGroup: ids, protocols, leaders, sizes; each rule of Kafka's classic protocol.
 */
#include "unit/group_world.h"

#include <stdio.h>
#include <string.h>

static struct gw w;

/** A JoinGroup beside those that gw_join() makes; its answer goes to client 11. */
static enum bus_err
try_join(const char *group, const char *id, const char *type, int32_t session_ms, int32_t count)
{
    struct group_protocol rows[GROUP_PROTOCOLS_MAX + 1];
    for (int i = 0; i <= GROUP_PROTOCOLS_MAX; i++)
        rows[i] = (struct group_protocol){"range", {NULL, 0}};
    struct group_join join = {
        .group_id = group,
        .member_id = id,
        .fresh_id = "fresh",
        .client_id = "",
        .client_host = "",
        .protocol_type = type,
        .protocols = rows,
        .protocol_count = count,
        .session_timeout_ms = session_ms,
        .rebalance_timeout_ms = -1,
        .needs_known_id = true,
    };
    group_join(&w.groups, w.now_ms, &join, &w.clients[11].join);
    return w.clients[11].error;
}

static void
test_terms(void)
{
    gw_init(&w);
    CU_ASSERT_EQUAL(try_join("", "", "consumer", 6000, 1), BUS_ERR_INVALID_GROUP_ID);
    CU_ASSERT_EQUAL(try_join("g", "", "consumer", 5999, 1), BUS_ERR_INVALID_SESSION_TIMEOUT);
    CU_ASSERT_EQUAL(try_join("g", "", "consumer", 1800001, 1), BUS_ERR_INVALID_SESSION_TIMEOUT);
    CU_ASSERT_EQUAL(try_join("g", "x", "consumer", 6000, 1), BUS_ERR_UNKNOWN_MEMBER_ID);
    CU_ASSERT_EQUAL(try_join("g", "", "", 6000, 1), BUS_ERR_INCONSISTENT_GROUP_PROTOCOL);
    CU_ASSERT_EQUAL(try_join("g", "", "consumer", 6000, 0), BUS_ERR_INCONSISTENT_GROUP_PROTOCOL);
    CU_ASSERT_EQUAL(try_join("g", "", "consumer", 6000, GROUP_PROTOCOLS_MAX + 1),
        BUS_ERR_INCONSISTENT_GROUP_PROTOCOL);
    CU_ASSERT_EQUAL(w.groups.count, 0);
    CU_ASSERT_EQUAL(
        try_join("g", "", "consumer", 6000, GROUP_PROTOCOLS_MAX), BUS_ERR_MEMBER_ID_REQUIRED);
    CU_ASSERT_EQUAL(try_join("h", "", "consumer", 1800000, 1), BUS_ERR_MEMBER_ID_REQUIRED);
    CU_ASSERT_EQUAL(w.clients[11].joins, 9);
    gw_fini(&w);
}

static void
test_handshake(void)
{
    gw_init(&w);
    gw_join(&w, 0, "range");
    CU_ASSERT_EQUAL(w.clients[0].error, BUS_ERR_MEMBER_ID_REQUIRED);
    CU_ASSERT_STRING_EQUAL(w.clients[0].id, "c0-1");
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 0);
    gw_join(&w, 0, "range");
    CU_ASSERT_EQUAL(w.clients[0].joins, 1);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_PREPARING);
    CU_ASSERT_PTR_NULL(gw_group(&w)->pending);
    gw_pass(&w, 2999);
    CU_ASSERT_EQUAL(w.clients[0].joins, 1);
    gw_pass(&w, 1);
    CU_ASSERT_EQUAL(w.clients[0].joins, 2);
    CU_ASSERT_EQUAL(w.clients[0].error, 0);
    CU_ASSERT_EQUAL(w.clients[0].generation, 1);
    CU_ASSERT_STRING_EQUAL(w.clients[0].leader, "c0-1");
    CU_ASSERT_STRING_EQUAL(w.clients[0].protocol, "range");
    CU_ASSERT_STRING_EQUAL(w.clients[0].members, "c0-1=m ");
    gw_fini(&w);
}

static void
test_old_version(void)
{
    gw_init(&w);
    w.clients[0].version = 3;
    gw_join(&w, 0, "range");
    CU_ASSERT_EQUAL(w.clients[0].joins, 0);
    gw_pass(&w, 3000);
    CU_ASSERT_EQUAL(w.clients[0].joins, 1);
    CU_ASSERT_EQUAL(w.clients[0].error, 0);
    CU_ASSERT_STRING_EQUAL(w.clients[0].id, "c0-1");
    gw_fini(&w);
}

static void
test_initial_wait_grows(void)
{
    gw_init(&w);
    for (int i = 0; i < 4; i++)
        w.clients[i].rebalance_timeout_ms = 8000;
    gw_enter(&w, 0, "range");
    gw_pass(&w, 2000);
    gw_enter(&w, 1, "range");
    gw_pass(&w, 2000);
    gw_enter(&w, 2, "range");
    gw_pass(&w, 1999);
    CU_ASSERT_EQUAL(w.clients[0].joins, 1);
    gw_pass(&w, 1);
    CU_ASSERT_EQUAL(w.clients[0].joins, 1);
    gw_enter(&w, 3, "range");
    gw_pass(&w, 1999);
    CU_ASSERT_EQUAL(w.clients[0].joins, 1);
    gw_pass(&w, 1);
    for (int i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(w.clients[i].generation, 1);
    CU_ASSERT_STRING_EQUAL(w.clients[0].members, "c0-1=m c1-3=m c2-5=m c3-7=m ");
    CU_ASSERT_STRING_EQUAL(w.clients[1].members, "");
    CU_ASSERT_STRING_EQUAL(w.clients[3].leader, w.clients[0].id);
    gw_fini(&w);
}

static void
test_no_initial_wait(void)
{
    gw_init(&w);
    w.groups.rules.initial_delay_ms = 0;
    gw_enter(&w, 0, "range");
    CU_ASSERT_EQUAL(w.clients[0].joins, 2);
    CU_ASSERT_EQUAL(w.clients[0].generation, 1);
    gw_fini(&w);
}

static void
test_vote(void)
{
    gw_init(&w);
    gw_enter(&w, 0, "range,roundrobin,sticky");
    gw_enter(&w, 1, "sticky,roundrobin");
    gw_enter(&w, 2, "roundrobin,x,sticky");
    gw_pass(&w, 9000);
    CU_ASSERT_STRING_EQUAL(w.clients[0].protocol, "roundrobin");
    gw_fini(&w);
}

static void
test_protocols_disagree(void)
{
    gw_init(&w);
    gw_enter(&w, 0, "range,roundrobin");
    gw_enter(&w, 1, "roundrobin");
    gw_join(&w, 2, "range");
    CU_ASSERT_EQUAL(w.clients[2].error, BUS_ERR_INCONSISTENT_GROUP_PROTOCOL);
    CU_ASSERT_EQUAL(try_join("g", "", "connect", 6000, 1), BUS_ERR_INCONSISTENT_GROUP_PROTOCOL);
    gw_pass(&w, 9000);
    gw_join(&w, 1, "sticky");
    CU_ASSERT_EQUAL(w.clients[1].error, BUS_ERR_INCONSISTENT_GROUP_PROTOCOL);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_COMPLETING);
    gw_fini(&w);
}

static void
test_empty_group_takes_another_type(void)
{
    gw_init(&w);
    gw_stable(&w, 1);
    struct group_claim claim = gw_claim(&w, 0);
    CU_ASSERT_EQUAL(group_leave(&w.groups, w.now_ms, &claim), 0);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_EMPTY);
    CU_ASSERT_STRING_EQUAL(gw_group(&w)->protocol_type, "consumer");
    CU_ASSERT_EQUAL(try_join("g", "", "connect", 6000, 1), BUS_ERR_MEMBER_ID_REQUIRED);
    CU_ASSERT_EQUAL(try_join("g", "fresh", "connect", 6000, 1), BUS_ERR_MEMBER_ID_REQUIRED);
    CU_ASSERT_STRING_EQUAL(gw_group(&w)->protocol_type, "connect");
    gw_fini(&w);
}

static void
test_size(void)
{
    gw_init(&w);
    w.groups.rules.size_max = 2;
    gw_enter(&w, 0, "range");
    gw_enter(&w, 1, "range");
    gw_join(&w, 2, "range");
    CU_ASSERT_EQUAL(w.clients[2].error, BUS_ERR_GROUP_MAX_SIZE_REACHED);
    gw_pass(&w, 9000);
    gw_join(&w, 3, "range");
    CU_ASSERT_EQUAL(w.clients[3].error, BUS_ERR_GROUP_MAX_SIZE_REACHED);
    gw_join(&w, 0, "range");
    CU_ASSERT_EQUAL(w.clients[0].error, 0);
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 2);
    gw_fini(&w);
    gw_init(&w);
    w.groups.rules.size_max = 1;
    w.clients[0].instance_id = "i";
    gw_stable(&w, 1);
    w.clients[0].id[0] = '\0'; /* a static member takes its own place */
    gw_join(&w, 0, "range");
    CU_ASSERT_EQUAL(w.clients[0].error, 0);
    gw_fini(&w);
}

static void
test_size_shrinks(void)
{
    gw_init(&w);
    gw_stable(&w, 3);
    w.groups.rules.size_max = 2;
    for (int i = 0; i < 3; i++) {
        w.clients[i].metadata = "new";
        gw_join(&w, i, "range");
    }
    CU_ASSERT_EQUAL(w.clients[2].error, BUS_ERR_GROUP_MAX_SIZE_REACHED);
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 2);
    CU_ASSERT_EQUAL(w.clients[0].generation, 2);
    gw_fini(&w);
}

static void
test_other_limits(void)
{
    gw_init(&w);
    w.groups.rules.groups_max = 1;
    CU_ASSERT_EQUAL(try_join("a", "", "consumer", 6000, 1), BUS_ERR_MEMBER_ID_REQUIRED);
    CU_ASSERT_EQUAL(try_join("b", "", "consumer", 6000, 1), BUS_ERR_GROUP_MAX_SIZE_REACHED);
    w.groups.rules.groups_max = 100;
    w.groups.rules.bytes_max = w.groups.bytes;
    CU_ASSERT_EQUAL(try_join("b", "", "consumer", 6000, 1), BUS_ERR_GROUP_MAX_SIZE_REACHED);
    gw_fini(&w);
}

static void
test_full_memory_keeps_members(void)
{
    gw_init(&w);
    w.clients[2].instance_id = "i2";
    gw_stable(&w, 3);
    w.groups.rules.bytes_max = w.groups.bytes;
    gw_join(&w, 3, "range");
    CU_ASSERT_EQUAL(w.clients[3].error, BUS_ERR_GROUP_MAX_SIZE_REACHED);
    w.clients[2].id[0] = '\0';
    gw_join(&w, 2, "range");
    CU_ASSERT_EQUAL(w.clients[2].error, 0);
    gw_join(&w, 0, "range");
    gw_join(&w, 1, "range");
    gw_join(&w, 2, "range");
    CU_ASSERT_EQUAL(w.clients[1].generation, 2);
    gw_sync(&w, 0, "0=a0 1=a1 2=a2");
    CU_ASSERT_EQUAL(w.clients[0].error, 0);
    gw_fini(&w);
}

static void
test_many_members(void)
{
    gw_init(&w);
    w.groups.rules.size_max = 2000;
    char ids[1000][16];
    struct group_waiter waiters[1000] = {0};
    struct group_protocol range = {"range", {NULL, 0}};
    for (int i = 0; i < 1000; i++) {
        char instance[16];
        snprintf(ids[i], sizeof ids[i], "m%d", i);
        snprintf(instance, sizeof instance, "i%d", i);
        struct group_join join = {.group_id = "g",
            .member_id = "",
            .instance_id = i % 2 ? instance : NULL,
            .fresh_id = ids[i],
            .client_id = "",
            .client_host = "",
            .protocol_type = "consumer",
            .protocols = &range,
            .protocol_count = 1,
            .session_timeout_ms = 6000};
        group_join(&w.groups, w.now_ms, &join, &waiters[i]);
    }
    for (int i = 0; i < 1000; i++) {
        const struct group_member *m = group_member_find(gw_group(&w), ids[i]);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        CU_ASSERT_STRING_EQUAL(m->id, ids[i]);
        CU_ASSERT(m->join == &waiters[i]);
        group_cancel(&w.groups, w.now_ms, &waiters[i]);
        struct group_claim claim = {"g", ids[i], i % 2 ? m->instance_id : NULL, 0};
        CU_ASSERT_EQUAL(group_leave(&w.groups, w.now_ms, &claim),
            i % 2 ? BUS_ERR_NONE : BUS_ERR_UNKNOWN_MEMBER_ID); /* who never knew its id is gone */
    }
    CU_ASSERT_EQUAL(gw_group(&w)->member_count, 0);
    gw_fini(&w);
}

static void
test_rejoin_stable(void)
{
    gw_init(&w);
    gw_stable(&w, 2);
    gw_join(&w, 1, "range");
    CU_ASSERT_EQUAL(w.clients[1].joins, 3);
    CU_ASSERT_EQUAL(w.clients[1].generation, 1);
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_STABLE);
    w.clients[1].metadata = "other";
    gw_join(&w, 1, "range");
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_PREPARING);
    CU_ASSERT_EQUAL(w.clients[1].joins, 3);
    gw_join(&w, 0, "range");
    CU_ASSERT_EQUAL(w.clients[1].joins, 4);
    CU_ASSERT_EQUAL(w.clients[0].generation, 2);
    CU_ASSERT_STRING_EQUAL(w.clients[0].members, "c0-1=m c1-3=other ");
    gw_fini(&w);
}

static void
test_leader_rejoins(void)
{
    gw_init(&w);
    gw_stable(&w, 2);
    gw_join(&w, 0, "range");
    CU_ASSERT_EQUAL(gw_group(&w)->state, GROUP_PREPARING);
    CU_ASSERT_EQUAL(gw_beat(&w, 1), BUS_ERR_REBALANCE_IN_PROGRESS);
    gw_join(&w, 1, "range");
    CU_ASSERT_EQUAL(w.clients[0].generation, 2);
    gw_fini(&w);
}

static void
test_rejoin_completing(void)
{
    gw_init(&w);
    gw_enter(&w, 0, "range");
    gw_enter(&w, 1, "range");
    gw_pass(&w, 9000);
    gw_sync(&w, 1, "");
    gw_join(&w, 0, "range");
    CU_ASSERT_EQUAL(w.clients[0].generation, 1);
    CU_ASSERT_STRING_EQUAL(w.clients[0].members, "c0-1=m c1-3=m ");
    CU_ASSERT_EQUAL(w.clients[1].syncs, 0);
    w.clients[0].metadata = "new";
    gw_join(&w, 0, "range");
    CU_ASSERT_EQUAL(w.clients[1].syncs, 1);
    CU_ASSERT_EQUAL(w.clients[1].error, BUS_ERR_REBALANCE_IN_PROGRESS);
    gw_join(&w, 1, "range");
    CU_ASSERT_EQUAL(w.clients[1].generation, 2);
    gw_fini(&w);
}

static void
test_join_twice(void)
{
    gw_init(&w);
    struct group_waiter first = {0};
    gw_enter(&w, 0, "range");
    struct group_member *member = w.clients[0].join.member;
    /* The client comes again on another connection, its first request still waits. */
    first.member = member;
    w.clients[0].join.member = NULL;
    member->join = &w.clients[1].join;
    w.clients[1].join = first;
    gw_join(&w, 0, "range");
    CU_ASSERT_EQUAL(w.clients[1].joins, 1);
    CU_ASSERT_EQUAL(w.clients[1].error, BUS_ERR_REBALANCE_IN_PROGRESS);
    gw_pass(&w, 3000);
    CU_ASSERT_EQUAL(w.clients[0].joins, 2);
    CU_ASSERT_EQUAL(w.clients[0].error, 0);
    gw_fini(&w);
}

static void
test_new_leader(void)
{
    gw_init(&w);
    gw_stable(&w, 3);
    struct group_claim claim = gw_claim(&w, 0);
    CU_ASSERT_EQUAL(group_leave(&w.groups, w.now_ms, &claim), 0);
    gw_join(&w, 2, "range");
    gw_pass(&w, 5000);
    CU_ASSERT_EQUAL(gw_beat(&w, 1), BUS_ERR_REBALANCE_IN_PROGRESS);
    gw_join(&w, 1, "range");
    CU_ASSERT_EQUAL(w.clients[2].generation, 2);
    CU_ASSERT_STRING_EQUAL(w.clients[2].leader, w.clients[1].id);
    CU_ASSERT_STRING_NOT_EQUAL(w.clients[1].members, "");
    gw_fini(&w);
}

static void
test_saved_when_empty(void)
{
    gw_init(&w);
    gw_stable(&w, 1);
    w.save_outcome = 0;
    struct group_claim claim = gw_claim(&w, 0);
    CU_ASSERT_EQUAL(group_leave(&w.groups, w.now_ms, &claim), 0);
    CU_ASSERT_EQUAL(w.save_count, 1);
    CU_ASSERT_EQUAL(w.saves[0].members, 0);
    CU_ASSERT_EQUAL(w.saves[0].generation, 2);
    CU_ASSERT_PTR_NULL(gw_group(&w)->protocol);
    CU_ASSERT_EQUAL(groups_forget(&w.groups, "g"), 0);
    gw_saved(&w, 0);
    CU_ASSERT_EQUAL(groups_forget(&w.groups, "g"), BUS_ERR_GROUP_ID_NOT_FOUND);
    gw_fini(&w);
}

static const struct unit_case cases[] = {
    {"terms of a join are checked", test_terms},
    {"a new member is told its id first", test_handshake},
    {"an old client is a member at once", test_old_version},
    {"newcomers make the initial wait longer, within their patience", test_initial_wait_grows},
    {"without delay the first member goes on alone", test_no_initial_wait},
    {"the members vote for a protocol that all know", test_vote},
    {"who has no protocol in common stays outside", test_protocols_disagree},
    {"an empty group takes another type", test_empty_group_takes_another_type},
    {"a full group takes nobody", test_size},
    {"a group that is too large now loses who comes last", test_size_shrinks},
    {"groups and bytes are limited", test_other_limits},
    {"who is in stays in though the memory is full", test_full_memory_keeps_members},
    {"a member is found among many", test_many_members},
    {"only changed metadata rebalances a stable group", test_rejoin_stable},
    {"a leader that joins again rebalances", test_leader_rejoins},
    {"a join repeated before the sync gets the same answer", test_rejoin_completing},
    {"of two joins of a member the first is told to come again", test_join_twice},
    {"another member leads when the leader has left", test_new_leader},
    {"an emptied group is saved and can be forgotten", test_saved_when_empty},
    {NULL, NULL},
};

void
register_group_join(void)
{
    unit_register("group_join", cases);
}
