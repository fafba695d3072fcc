/* SPDX-License-Identifier: Apache-2.0
 * The member of a group against a coordinator of three lines and a clock that the test moves.
 */
#include "base/err.h"
#include "client/member.h"
#include "unit/unit.h"

static const struct member_rules eager = {
    .session_ms = 10000, .heartbeat_ms = 1000, .poll_ms = 30000, .retry_ms = 100, .look_ms = 5000};

static enum member_ask
next(struct member *member, int64_t now_ms)
{
    int64_t until_ms;
    return member_next(member, now_ms, &until_ms);
}

/* Joined, as generation 1, and the assignment taken, at time 0. */
static void
settle(struct member *member, const struct member_rules *rules)
{
    member_init(member, rules);
    CU_ASSERT_EQUAL(next(member, 0), MEMBER_ASK_NOTHING);
    member_subscribe(member, 0);
    CU_ASSERT_EQUAL(next(member, 0), MEMBER_ASK_JOIN);
    CU_ASSERT_EQUAL(next(member, 0), MEMBER_ASK_NOTHING);
    member_joined(member, 0, BUS_ERR_MEMBER_ID_REQUIRED, "m-1", -1, false);
    CU_ASSERT_EQUAL(next(member, 0), MEMBER_ASK_JOIN);
    CU_ASSERT_STRING_EQUAL(member->id, "m-1");
    member_joined(member, 0, 0, "m-1", 1, false);
    CU_ASSERT_EQUAL(next(member, 0), MEMBER_ASK_SYNC);
    member_synced(member, 0, 0);
    CU_ASSERT_EQUAL(member->duty, MEMBER_DUTY_TAKE);
    member_taken(member, 0, false);
    CU_ASSERT_EQUAL(next(member, 0), MEMBER_ASK_NOTHING);
}

static void
beat(struct member *member, int64_t now_ms, int16_t error)
{
    CU_ASSERT_EQUAL(next(member, now_ms), MEMBER_ASK_HEARTBEAT);
    member_beaten(member, now_ms, error);
}

static void
test_heartbeats(void)
{
    struct member member;
    int64_t until_ms;
    settle(&member, &eager);
    CU_ASSERT_EQUAL(member_next(&member, 999, &until_ms), MEMBER_ASK_NOTHING);
    CU_ASSERT_EQUAL(until_ms, 1000);
    beat(&member, 1000, 0);
    CU_ASSERT_EQUAL(next(&member, 1999), MEMBER_ASK_NOTHING);
    beat(&member, 2000, 0);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_NONE);
}

static void
test_leader(void)
{
    struct member member;
    member_init(&member, &eager);
    member_subscribe(&member, 0);
    CU_ASSERT_EQUAL(next(&member, 0), MEMBER_ASK_JOIN);
    member_joined(&member, 0, 0, "m", 1, true);
    CU_ASSERT_EQUAL(next(&member, 0), MEMBER_ASK_METADATA);
    member_informed(&member, 0, false);
    CU_ASSERT_EQUAL(next(&member, 99), MEMBER_ASK_NOTHING);
    CU_ASSERT_EQUAL(next(&member, 100), MEMBER_ASK_METADATA);
    member_informed(&member, 100, true);
    CU_ASSERT_EQUAL(next(&member, 100), MEMBER_ASK_SYNC);
    member_synced(&member, 100, BUS_ERR_REBALANCE_IN_PROGRESS);
    CU_ASSERT_EQUAL(next(&member, 100), MEMBER_ASK_JOIN);
}

static void
test_eager(void)
{
    struct member member;
    settle(&member, &eager);
    beat(&member, 1000, BUS_ERR_REBALANCE_IN_PROGRESS);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_REVOKE);
    beat(&member, 2000, BUS_ERR_REBALANCE_IN_PROGRESS); /* the application is slow */
    CU_ASSERT_EQUAL(next(&member, 2500), MEMBER_ASK_NOTHING);
    member_revoked(&member, 2500);
    CU_ASSERT_EQUAL(next(&member, 2500), MEMBER_ASK_JOIN);
    CU_ASSERT_STRING_EQUAL(member.id, "m-1");
}

static void
test_cooperative(void)
{
    struct member_rules rules = eager;
    struct member member;
    rules.is_cooperative = true;
    settle(&member, &rules);
    beat(&member, 1000, BUS_ERR_REBALANCE_IN_PROGRESS);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_NONE);
    CU_ASSERT_EQUAL(next(&member, 1000), MEMBER_ASK_JOIN);
    member_joined(&member, 1000, 0, "m-1", 2, false);
    CU_ASSERT_EQUAL(next(&member, 1000), MEMBER_ASK_SYNC);
    member_synced(&member, 1000, 0);
    member_taken(&member, 1000, true);
    CU_ASSERT_EQUAL(next(&member, 1000), MEMBER_ASK_JOIN);
}

static void
test_unknown(void)
{
    struct member member;
    settle(&member, &eager);
    beat(&member, 1000, BUS_ERR_UNKNOWN_MEMBER_ID);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_LOSE);
    CU_ASSERT_EQUAL(next(&member, 1200), MEMBER_ASK_NOTHING);
    member_lost(&member);
    CU_ASSERT_EQUAL(next(&member, 1200), MEMBER_ASK_JOIN);
    CU_ASSERT_STRING_EQUAL(member.id, "");
    settle(&member, &eager);
    beat(&member, 1000, BUS_ERR_ILLEGAL_GENERATION);
    member_lost(&member);
    CU_ASSERT_EQUAL(next(&member, 1200), MEMBER_ASK_JOIN);
    CU_ASSERT_STRING_EQUAL(member.id, "m-1");
}

static void
test_fatal(void)
{
    static const int16_t errors[] = {BUS_ERR_FENCED_INSTANCE_ID, BUS_ERR_GROUP_MAX_SIZE_REACHED,
        BUS_ERR_INCONSISTENT_GROUP_PROTOCOL, BUS_ERR_INVALID_SESSION_TIMEOUT,
        BUS_ERR_GROUP_AUTHORIZATION_FAILED, BUS_ERR_INVALID_GROUP_ID};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        struct member member;
        settle(&member, &eager);
        beat(&member, 1000, errors[i]);
        CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_LOSE);
        CU_ASSERT_EQUAL(member.failure, -errors[i]);
        CU_ASSERT_EQUAL(next(&member, 100000), MEMBER_ASK_NOTHING);
        CU_ASSERT_FALSE(member_leave(&member));
    }
}

static void
test_later(void)
{
    struct member member;
    member_init(&member, &eager);
    member_subscribe(&member, 0);
    CU_ASSERT_EQUAL(next(&member, 0), MEMBER_ASK_JOIN);
    member_joined(&member, 0, BUS_ERR_COORDINATOR_LOAD_IN_PROGRESS, "", -1, false);
    CU_ASSERT_EQUAL(next(&member, 99), MEMBER_ASK_NOTHING);
    CU_ASSERT_EQUAL(next(&member, 100), MEMBER_ASK_JOIN);
}

static void
test_restart(void)
{
    struct member member;
    settle(&member, &eager);
    CU_ASSERT_EQUAL(next(&member, 1000), MEMBER_ASK_HEARTBEAT);
    member_broken(&member, 1000, true);
    CU_ASSERT_EQUAL(next(&member, 1050), MEMBER_ASK_NOTHING);
    beat(&member, 1100, 0);
    CU_ASSERT_EQUAL(member.generation, 1);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_NONE);
}

static void
test_no_poll(void)
{
    struct member member;
    settle(&member, &eager);
    for (int64_t now_ms = 1000; now_ms < 30000; now_ms += 1000)
        beat(&member, now_ms, 0);
    CU_ASSERT_EQUAL(next(&member, 30000), MEMBER_ASK_LEAVE);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_LOSE);
    member_left(&member);
    CU_ASSERT_EQUAL(next(&member, 50000), MEMBER_ASK_NOTHING);
    member_polled(&member, 50000, 50000);
    member_lost(&member);
    CU_ASSERT_EQUAL(next(&member, 50000), MEMBER_ASK_JOIN);
    CU_ASSERT_STRING_EQUAL(member.id, "");
}

static void
test_static(void)
{
    struct member_rules rules = eager;
    struct member member;
    rules.is_static = true;
    settle(&member, &rules);
    member_polled(&member, 0, 0);
    for (int64_t now_ms = 1000; now_ms < 30000; now_ms += 1000)
        beat(&member, now_ms, 0);
    CU_ASSERT_EQUAL(next(&member, 30000), MEMBER_ASK_NOTHING);
    CU_ASSERT_EQUAL(member.state, MEMBER_IDLE);
    settle(&member, &rules);
    CU_ASSERT_FALSE(member_leave(&member));
    settle(&member, &eager);
    CU_ASSERT_TRUE(member_leave(&member));
}

static void
test_session(void)
{
    struct member member;
    int64_t until_ms;
    settle(&member, &eager);
    CU_ASSERT_EQUAL(member_lease_ms(&member), 10000);
    beat(&member, 1000, BUS_ERR_NONE);
    CU_ASSERT_EQUAL(member_lease_ms(&member), 11000);
    for (int64_t now_ms = 2000; now_ms < 11000; now_ms += 100) {
        if (next(&member, now_ms) == MEMBER_ASK_HEARTBEAT)
            member_broken(&member, now_ms, true);
        CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_NONE);
    }
    CU_ASSERT_EQUAL(member_next(&member, 10999, &until_ms), MEMBER_ASK_NOTHING);
    CU_ASSERT_EQUAL(until_ms, 11000);
    CU_ASSERT_EQUAL(next(&member, 11000), MEMBER_ASK_NOTHING);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_LOSE);
    CU_ASSERT_EQUAL(member_lease_ms(&member), INT64_MAX);
    member_lost(&member);
    CU_ASSERT_EQUAL(next(&member, 11100), MEMBER_ASK_JOIN);
    CU_ASSERT_STRING_EQUAL(member.id, "m-1");
}

/* A process that was stopped: the application is back before the thread, or while it waits. */
static void
test_session_in_poll(void)
{
    struct member member;
    settle(&member, &eager);
    member_polled(&member, 9999, INT64_MAX);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_NONE);
    CU_ASSERT_EQUAL(next(&member, 9999), MEMBER_ASK_HEARTBEAT);
    member_polled(&member, 10000, INT64_MAX);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_LOSE);
    member_beaten(&member, 10000, BUS_ERR_NONE);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_LOSE);
    CU_ASSERT_EQUAL(member.state, MEMBER_JOIN);
}

/* While busd holds the join back it knows the member; when it is away it does not. */
static void
test_session_in_join(void)
{
    struct member_rules rules = eager;
    struct member member;
    rules.is_cooperative = true;
    settle(&member, &rules);
    beat(&member, 1000, BUS_ERR_REBALANCE_IN_PROGRESS);
    CU_ASSERT_EQUAL(next(&member, 1000), MEMBER_ASK_JOIN);
    CU_ASSERT_EQUAL(member_lease_ms(&member), INT64_MAX);
    member_polled(&member, 20000, 20000);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_NONE);
    member_broken(&member, 20000, true);
    CU_ASSERT_EQUAL(member_lease_ms(&member), 30000);
    CU_ASSERT_EQUAL(next(&member, 20100), MEMBER_ASK_JOIN);
    member_broken(&member, 29000, false);
    CU_ASSERT_EQUAL(member_lease_ms(&member), 30000);
    CU_ASSERT_EQUAL(next(&member, 30000), MEMBER_ASK_NOTHING);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_LOSE);
}

static void
test_long_poll(void)
{
    struct member member;
    int64_t until_ms, now_ms;
    settle(&member, &eager);
    member_polled(&member, 0, INT64_MAX);
    for (now_ms = 1000; now_ms < 100000; now_ms += 1000)
        beat(&member, now_ms, 0);
    CU_ASSERT_EQUAL(member_next(&member, 99000, &until_ms), MEMBER_ASK_NOTHING);
    member.polled_ms = 99000; /* it ended */
    for (; now_ms < 129000; now_ms += 1000)
        beat(&member, now_ms, 0);
    CU_ASSERT_EQUAL(next(&member, 129000), MEMBER_ASK_LEAVE);
}

static void
test_look(void)
{
    struct member member;
    int64_t until_ms;
    settle(&member, &eager);
    CU_ASSERT_EQUAL(next(&member, 5000), MEMBER_ASK_HEARTBEAT); /* who does not lead never looks */
    member_beaten(&member, 5000, 0);
    CU_ASSERT_EQUAL(next(&member, 5000), MEMBER_ASK_NOTHING);
    member_init(&member, &eager);
    member_subscribe(&member, 0);
    next(&member, 0);
    member_joined(&member, 0, 0, "m", 1, true);
    next(&member, 0);
    member_informed(&member, 0, true);
    next(&member, 0);
    member_synced(&member, 0, 0);
    member_taken(&member, 0, false);
    for (int64_t now_ms = 1000; now_ms <= 5000; now_ms += 1000)
        beat(&member, now_ms, 0);
    CU_ASSERT_EQUAL(next(&member, 5000), MEMBER_ASK_LOOK);
    member_looked(&member, 5000, false);
    CU_ASSERT_EQUAL(member_next(&member, 5000, &until_ms), MEMBER_ASK_NOTHING);
    CU_ASSERT_EQUAL(until_ms, 6000);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_NONE);
    member_look_now(&member, 5500);
    CU_ASSERT_EQUAL(next(&member, 5500), MEMBER_ASK_LOOK);
    member_looked(&member, 5500, true);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_REVOKE);
}

static void
test_take_again(void)
{
    struct member member;
    settle(&member, &eager);
    CU_ASSERT_TRUE(member_take_again(&member));
    CU_ASSERT_FALSE(member_take_again(&member));
    beat(&member, 1000, BUS_ERR_REBALANCE_IN_PROGRESS);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_TAKE);
    member_taken(&member, 1000, false);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_REVOKE);
    CU_ASSERT_FALSE(member_take_again(&member));
}

static void
test_commits(void)
{
    struct member member;
    settle(&member, &eager);
    member_committed(&member, 10, 1, 0);
    CU_ASSERT_EQUAL(member.state, MEMBER_STABLE);
    member_committed(&member, 10, 0, BUS_ERR_ILLEGAL_GENERATION); /* of one that has passed */
    CU_ASSERT_EQUAL(member.state, MEMBER_STABLE);
    member_committed(&member, 10, 1, BUS_ERR_REBALANCE_IN_PROGRESS);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_REVOKE);
    member_committed(&member, 10, 1, BUS_ERR_UNKNOWN_MEMBER_ID);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_LOSE);
}

static void
test_resubscribe(void)
{
    struct member member;
    settle(&member, &eager);
    member_subscribe(&member, 10);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_REVOKE);
    member_revoked(&member, 10);
    CU_ASSERT_EQUAL(next(&member, 10), MEMBER_ASK_JOIN);
    member_subscribe(&member, 11); /* the join under way tells the old topics */
    member_joined(&member, 12, 0, "m-1", 2, false);
    CU_ASSERT_EQUAL(next(&member, 12), MEMBER_ASK_SYNC);
    member_synced(&member, 12, 0);
    member_taken(&member, 12, false);
    CU_ASSERT_EQUAL(member.duty, MEMBER_DUTY_REVOKE);
}

static const struct unit_case cases[] = {
    {"joins with the id that it gets, and heartbeats", test_heartbeats},
    {"the leader asks for the topics first", test_leader},
    {"an eager member gives up before it joins again", test_eager},
    {"a cooperative member keeps, and joins again if it had to give up", test_cooperative},
    {"unknown member or generation: lost, and joins again", test_unknown},
    {"what is for good", test_fatal},
    {"a coordinator that is not ready is asked later", test_later},
    {"a restart of busd keeps the generation", test_restart},
    {"an application that does not poll is out until it does", test_no_poll},
    {"a static member does not leave", test_static},
    {"all is lost when busd is not heard for the session's time", test_session},
    {"the application notices that too", test_session_in_poll},
    {"a join that busd holds back keeps the session", test_session_in_join},
    {"a poll that lasts long is a poll", test_long_poll},
    {"the leader looks for changes of the topics", test_look},
    {"a share is taken again, and a rebalance waits for that", test_take_again},
    {"a commit tells of a rebalance too", test_commits},
    {"a new subscription joins again", test_resubscribe},
    {NULL, NULL},
};

void
register_member(void)
{
    unit_register("member", cases);
}
