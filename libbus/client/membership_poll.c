/* SPDX-License-Identifier: Apache-2.0
 * What bus_poll() does for the group: the application's part of a rebalance, automatic commits.
 */
#include "base/clock.h"
#include "base/err.h"
#include "client/bus.h"
#include "client/commit.h"
#include "client/membership.h"

enum { RETRY_MS = 1000 }; /* between two tries at a partition that cannot be opened */

void
membership_enter(struct membership *membership)
{
    atomic_store_explicit(&membership->polled_ms, INT64_MAX, memory_order_relaxed);
}

void
membership_leave(struct membership *membership)
{
    atomic_store_explicit(&membership->polled_ms, clock_mono_ms(), memory_order_relaxed);
}

static int
refused(const struct membership *membership, int rc)
{
    const struct settings *settings = &membership->settings;
    const char *group = settings->group_id;
    switch (-rc) {
    case BUS_ERR_INCONSISTENT_GROUP_PROTOCOL:
        return err_set(BUS_ERR_INCONSISTENT_GROUP_PROTOCOL,
            "group %s: its members share no strategy with partition.assignment.strategy=%s: give "
            "all of them one in common",
            group, settings->partition_assignment_strategy);
    case BUS_ERR_INVALID_SESSION_TIMEOUT:
        return err_set(BUS_ERR_INVALID_SESSION_TIMEOUT,
            "group %s: session.timeout.ms=%lld is not within busd's group.min.session.timeout.ms "
            "and group.max.session.timeout.ms",
            group, (long long)settings->session_timeout_ms);
    case BUS_ERR_FENCED_INSTANCE_ID:
        return err_set(BUS_ERR_FENCED_INSTANCE_ID,
            "group %s: another member with group.instance.id=%s has taken the place of this one: "
            "give each a name of its own",
            group, settings->group_instance_id);
    case BUS_ERR_GROUP_MAX_SIZE_REACHED:
        return err_set(BUS_ERR_GROUP_MAX_SIZE_REACHED,
            "group %s is full: end a member, or raise busd's group.max.size", group);
    default:
        return err_set(
            (enum bus_err) - rc, "group %s refused this member: %s", group, bus_err_text(rc));
    }
}

/* `joins_again`: what went may be waited for by another member. */
static int
take(struct membership *membership, bool joins_again)
{
    bool gave_up, missing;
    int rc = membership_take(membership, &gave_up, &missing);
    membership->retry_ms = missing ? clock_mono_ms() + RETRY_MS : INT64_MAX;
    pthread_mutex_lock(&membership->lock);
    member_taken(&membership->member, clock_mono_ms(), gave_up && joins_again);
    pthread_cond_signal(&membership->changed);
    pthread_mutex_unlock(&membership->lock);
    return rc;
}

/* Tries again what could not be opened, without telling again why. */
static void
retry_missing(struct membership *membership, int64_t now_ms)
{
    if (now_ms < membership->retry_ms)
        return;
    membership->retry_ms = now_ms + RETRY_MS;
    pthread_mutex_lock(&membership->lock);
    bool again = member_take_again(&membership->member);
    pthread_mutex_unlock(&membership->lock);
    if (again)
        take(membership, false);
}

static void
commit_now_and_then(struct membership *membership, int64_t now_ms)
{
    struct bus_consumer *consumer = membership->consumer;
    if (!membership->settings.enable_auto_commit || now_ms < membership->commit_ms)
        return;
    membership->commit_ms = now_ms + membership->settings.auto_commit_interval_ms;
    /* One that fails is made good by the next. */
    commit_begin(consumer, consumer->parts, consumer->count, NULL, NULL);
}

/* What the member wants of the application now. */
static enum member_duty
look(struct membership *membership, int64_t now_ms)
{
    struct member *member = &membership->member;
    pthread_mutex_lock(&membership->lock);
    enum member_state before = member->state;
    member_polled(member, now_ms, INT64_MAX);
    if (member->state != before)
        pthread_cond_signal(&membership->changed);
    membership->called = false;
    membership->failure = member->state == MEMBER_FAILED ? member->failure : 0;
    enum member_duty duty = member->duty;
    pthread_mutex_unlock(&membership->lock);
    return duty;
}

static int
do_duty(struct membership *membership, int64_t now_ms)
{
    switch (look(membership, now_ms)) {
    case MEMBER_DUTY_REVOKE:
        return membership_give_up(membership, BUS_REVOKED);
    case MEMBER_DUTY_LOSE:
        return membership_give_up(membership, BUS_LOST);
    case MEMBER_DUTY_TAKE:
        return take(membership, true);
    default:
        return 0;
    }
}

static void
lower_ms(int64_t *until_ns, int64_t to_ms)
{
    if (to_ms < *until_ns / 1000000)
        *until_ns = to_ms * 1000000;
}

int
membership_poll(struct membership *membership, int64_t *until_ns)
{
    struct bus_consumer *consumer = membership->consumer;
    int64_t now_ms = clock_mono_ms();
    bool expired = now_ms >= atomic_load_explicit(&membership->lease_ms, memory_order_relaxed);
    int rc = 0;
    if (expired || consumer_is_called(consumer)) {
        consumer_heard_call(consumer);
        rc = do_duty(membership, now_ms);
    }
    if (rc == 0 && membership->failure < 0)
        rc = refused(membership, membership->failure);
    if (rc < 0)
        return rc;
    retry_missing(membership, now_ms);
    commit_now_and_then(membership, now_ms);
    lower_ms(until_ns, atomic_load_explicit(&membership->lease_ms, memory_order_relaxed));
    lower_ms(until_ns, membership->retry_ms);
    if (membership->settings.enable_auto_commit)
        lower_ms(until_ns, membership->commit_ms);
    return 0;
}

void
membership_miss(struct membership *membership)
{
    int64_t now_ms = clock_mono_ms();
    membership->retry_ms = now_ms + RETRY_MS;
    pthread_mutex_lock(&membership->lock);
    member_look_now(&membership->member, now_ms);
    pthread_cond_signal(&membership->changed);
    pthread_mutex_unlock(&membership->lock);
}
