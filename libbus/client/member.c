/* SPDX-License-Identifier: Apache-2.0 */
#include "client/member.h"

#include "base/err.h"

#include <string.h>

void
member_init(struct member *member, const struct member_rules *rules)
{
    *member = (struct member){.rules = *rules, .state = MEMBER_OUT, .generation = -1};
}

static void
forget_id(struct member *member)
{
    member->id[0] = '\0';
}

static void
go_join(struct member *member, int64_t at_ms)
{
    member->state = MEMBER_JOIN;
    member->again = false;
    member->next_ms = at_ms;
}

/* Others have, or will have, what this one had. */
static void
lose(struct member *member)
{
    member->generation = -1;
    member->leads = false;
    member->duty = member->holds ? MEMBER_DUTY_LOSE : MEMBER_DUTY_NONE;
}

static void
fail(struct member *member, int16_t error)
{
    lose(member);
    member->state = MEMBER_FAILED;
    member->failure = err_of_wire(error);
}

/* Requests that the coordinator holds back keep the session by themselves. */
static bool
waits_inside(const struct member *member)
{
    return member->asked == MEMBER_ASK_JOIN || member->asked == MEMBER_ASK_SYNC;
}

int64_t
member_lease_ms(const struct member *member)
{
    if (!member->holds || member->generation < 0 || waits_inside(member))
        return INT64_MAX;
    return member->heard_ms + member->rules.session_ms;
}

/* The coordinator was not heard for so long that it may have given everything to others. */
static void
expire(struct member *member, int64_t now_ms)
{
    if (now_ms < member_lease_ms(member))
        return;
    lose(member);
    go_join(member, now_ms);
}

/* A rebalance: an eager member first gives up what it has. */
static void
rebalance(struct member *member, int64_t now_ms)
{
    if (member->duty == MEMBER_DUTY_TAKE || member->duty == MEMBER_DUTY_LOSE) {
        member->again = true; /* one thing after the other */
        return;
    }
    if (!member->rules.is_cooperative && member->holds) {
        member->state = MEMBER_REVOKE;
        member->duty = MEMBER_DUTY_REVOKE;
        return;
    }
    go_join(member, now_ms);
}

void
member_subscribe(struct member *member, int64_t now_ms)
{
    member->polled_ms = now_ms;
    if (member->state == MEMBER_STABLE) {
        rebalance(member, now_ms);
    } else if (member->state == MEMBER_OUT || member->state == MEMBER_FAILED) {
        forget_id(member);
        member->generation = -1;
        go_join(member, now_ms);
    } else {
        member->again = true;
    }
}

bool
member_leave(struct member *member)
{
    bool tell = member->id[0] != '\0' && !member->rules.is_static && member->state != MEMBER_OUT &&
                member->state != MEMBER_IDLE && member->state != MEMBER_FAILED;
    member->state = MEMBER_OUT;
    member->asked = MEMBER_ASK_NOTHING;
    member->duty = MEMBER_DUTY_NONE;
    member->holds = false;
    member->again = false;
    member->leads = false;
    member->generation = -1;
    return tell;
}

/* Heartbeats go on while the application works; in between requests speak for the member. */
static bool
beats(const struct member *member)
{
    return member->state == MEMBER_STABLE || member->state == MEMBER_REVOKE;
}

static bool
looks(const struct member *member)
{
    return member->state == MEMBER_STABLE && member->leads && member->duty == MEMBER_DUTY_NONE;
}

static enum member_ask
due(struct member *member, int64_t now_ms)
{
    switch (member->state) {
    case MEMBER_JOIN:
        /* What was lost must be out of the application's hands before there is more. */
        return member->duty == MEMBER_DUTY_NONE ? MEMBER_ASK_JOIN : MEMBER_ASK_NOTHING;
    case MEMBER_METADATA:
        return MEMBER_ASK_METADATA;
    case MEMBER_SYNC:
        return MEMBER_ASK_SYNC;
    default:
        if (beats(member) && now_ms >= member->beat_ms)
            return MEMBER_ASK_HEARTBEAT;
        return looks(member) && now_ms >= member->look_ms ? MEMBER_ASK_LOOK : MEMBER_ASK_NOTHING;
    }
}

/* The application did not poll for too long: somebody else shall have its partitions. */
static enum member_ask
give_up(struct member *member)
{
    bool tell = member->id[0] != '\0' && !member->rules.is_static;
    lose(member);
    member->state = MEMBER_IDLE;
    return tell ? MEMBER_ASK_LEAVE : MEMBER_ASK_NOTHING;
}

static bool
is_working(const struct member *member)
{
    return beats(member) || (member->state == MEMBER_JOIN && member->duty != MEMBER_DUTY_NONE);
}

static bool
polls_too_rarely(const struct member *member, int64_t now_ms)
{
    return is_working(member) && member->polled_ms != INT64_MAX &&
           now_ms - member->polled_ms >= member->rules.poll_ms;
}

static int64_t
least(int64_t a_ms, int64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

/* When member_next() has something to do or to see, if nothing comes in between. */
static int64_t
wake_ms(const struct member *member, int64_t now_ms)
{
    int64_t send_ms = INT64_MAX;
    bool waits = member->state == MEMBER_JOIN && member->duty != MEMBER_DUTY_NONE;
    if (beats(member))
        send_ms = member->beat_ms;
    else if (!waits && (member->state == MEMBER_JOIN || member->state == MEMBER_METADATA ||
                           member->state == MEMBER_SYNC))
        send_ms = member->next_ms;
    if (looks(member))
        send_ms = least(send_ms, member->look_ms);
    if (send_ms < member->next_ms)
        send_ms = member->next_ms;
    int64_t idle_ms = INT64_MAX;
    if (is_working(member))
        idle_ms = least(member->polled_ms, now_ms) + member->rules.poll_ms;
    return least(send_ms, least(idle_ms, member_lease_ms(member)));
}

enum member_ask
member_next(struct member *member, int64_t now_ms, int64_t *until_ms)
{
    *until_ms = INT64_MAX;
    if (member->asked != MEMBER_ASK_NOTHING)
        return MEMBER_ASK_NOTHING;
    expire(member, now_ms);
    if (polls_too_rarely(member, now_ms))
        member->asked = give_up(member);
    else if (now_ms >= member->next_ms)
        member->asked = due(member, now_ms);
    member->sent_ms = now_ms;
    if (member->asked == MEMBER_ASK_NOTHING)
        *until_ms = wake_ms(member, now_ms);
    return member->asked;
}

void
member_polled(struct member *member, int64_t now_ms, int64_t polled_ms)
{
    member->polled_ms = polled_ms;
    expire(member, now_ms);
    if (member->state == MEMBER_IDLE && member->asked == MEMBER_ASK_NOTHING) {
        if (!member->rules.is_static)
            forget_id(member);
        go_join(member, now_ms);
    }
}

/* What all answers of the coordinator have in common; true: `error` was dealt with here. */
static bool
refused(struct member *member, int64_t now_ms, int16_t error)
{
    switch (error) {
    case BUS_ERR_NONE:
        return false;
    case BUS_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case BUS_ERR_COORDINATOR_NOT_AVAILABLE:
    case BUS_ERR_NOT_COORDINATOR:
        member->next_ms = now_ms + member->rules.retry_ms;
        return true;
    case BUS_ERR_UNKNOWN_MEMBER_ID:
        forget_id(member);
        lose(member);
        go_join(member, now_ms + member->rules.retry_ms);
        return true;
    case BUS_ERR_ILLEGAL_GENERATION:
        lose(member);
        go_join(member, now_ms + member->rules.retry_ms);
        return true;
    case BUS_ERR_REBALANCE_IN_PROGRESS:
        return false;
    default:
        fail(member, error);
        return true;
    }
}

void
member_joined(struct member *member, int64_t now_ms, int16_t error, const char *id,
    int32_t generation, bool leads)
{
    member->asked = MEMBER_ASK_NOTHING;
    if (member->state != MEMBER_JOIN)
        return;
    if (error == BUS_ERR_NONE || error == BUS_ERR_MEMBER_ID_REQUIRED) {
        size_t n = strlen(id);
        if (n >= sizeof member->id) {
            fail(member, BUS_ERR_INVALID_REQUEST);
            return;
        }
        memcpy(member->id, id, n + 1);
    }
    if (error == BUS_ERR_MEMBER_ID_REQUIRED || error == BUS_ERR_REBALANCE_IN_PROGRESS) {
        member->next_ms =
            error == BUS_ERR_MEMBER_ID_REQUIRED ? now_ms : now_ms + member->rules.retry_ms;
        return;
    }
    if (refused(member, now_ms, error))
        return;
    member->generation = generation;
    member->heard_ms = now_ms;
    member->leads = leads;
    member->state = leads ? MEMBER_METADATA : MEMBER_SYNC;
    member->next_ms = now_ms;
}

void
member_informed(struct member *member, int64_t now_ms, bool ok)
{
    member->asked = MEMBER_ASK_NOTHING;
    if (member->state != MEMBER_METADATA)
        return;
    member->next_ms = ok ? now_ms : now_ms + member->rules.retry_ms;
    if (ok)
        member->state = MEMBER_SYNC;
}

void
member_look_now(struct member *member, int64_t now_ms)
{
    member->look_ms = now_ms;
}

void
member_looked(struct member *member, int64_t now_ms, bool changed)
{
    member->asked = MEMBER_ASK_NOTHING;
    member->look_ms = now_ms + member->rules.look_ms;
    if (member->state == MEMBER_STABLE && member->leads && changed)
        rebalance(member, now_ms);
}

void
member_synced(struct member *member, int64_t now_ms, int16_t error)
{
    member->asked = MEMBER_ASK_NOTHING;
    if (member->state != MEMBER_SYNC)
        return;
    if (error == BUS_ERR_REBALANCE_IN_PROGRESS) {
        go_join(member, now_ms);
        return;
    }
    if (refused(member, now_ms, error))
        return;
    member->state = MEMBER_STABLE;
    member->duty = MEMBER_DUTY_TAKE;
    member->holds = true;
    member->heard_ms = now_ms;
    member->beat_ms = now_ms + member->rules.heartbeat_ms;
    member->look_ms = now_ms + member->rules.look_ms;
}

void
member_committed(struct member *member, int64_t now_ms, int32_t generation, int16_t error)
{
    if (!beats(member) || error == BUS_ERR_NONE || generation != member->generation)
        return;
    if (error == BUS_ERR_REBALANCE_IN_PROGRESS) {
        if (member->state == MEMBER_STABLE)
            rebalance(member, now_ms);
        return;
    }
    if (error == BUS_ERR_UNKNOWN_MEMBER_ID || error == BUS_ERR_ILLEGAL_GENERATION ||
        error == BUS_ERR_FENCED_INSTANCE_ID)
        refused(member, now_ms, error);
}

void
member_beaten(struct member *member, int64_t now_ms, int16_t error)
{
    member->asked = MEMBER_ASK_NOTHING;
    member->beat_ms = now_ms + member->rules.heartbeat_ms;
    if (!beats(member))
        return;
    if (error == BUS_ERR_NONE || error == BUS_ERR_REBALANCE_IN_PROGRESS)
        member->heard_ms = member->sent_ms;
    if (error == BUS_ERR_REBALANCE_IN_PROGRESS) {
        if (member->state == MEMBER_STABLE)
            rebalance(member, now_ms);
        return;
    }
    refused(member, now_ms, error);
}

void
member_left(struct member *member)
{
    member->asked = MEMBER_ASK_NOTHING;
}

void
member_broken(struct member *member, int64_t now_ms, bool was_sent)
{
    if (member->asked == MEMBER_ASK_HEARTBEAT)
        member->beat_ms = now_ms;
    if (waits_inside(member) && was_sent)
        member->heard_ms = now_ms;
    member->asked = MEMBER_ASK_NOTHING;
    member->next_ms = now_ms + member->rules.retry_ms;
    /* A join may have been carried out: with the same id it is simply done again. A sync of a
     * generation that has passed is told so. */
}

void
member_revoked(struct member *member, int64_t now_ms)
{
    if (member->duty != MEMBER_DUTY_REVOKE)
        return;
    member->duty = MEMBER_DUTY_NONE;
    member->holds = false;
    go_join(member, now_ms);
}

void
member_taken(struct member *member, int64_t now_ms, bool gave_up)
{
    if (member->duty != MEMBER_DUTY_TAKE)
        return;
    member->duty = MEMBER_DUTY_NONE;
    if (gave_up || member->again)
        rebalance(member, now_ms);
}

bool
member_take_again(struct member *member)
{
    if (member->state != MEMBER_STABLE || member->duty != MEMBER_DUTY_NONE)
        return false;
    member->duty = MEMBER_DUTY_TAKE;
    return true;
}

void
member_lost(struct member *member)
{
    if (member->duty != MEMBER_DUTY_LOSE)
        return;
    member->duty = MEMBER_DUTY_NONE;
    member->holds = false;
}
