/* SPDX-License-Identifier: Apache-2.0
 * The application's part of a rebalance: partitions are given up and taken inside of bus_poll().
 */
#include "base/clock.h"
#include "base/err.h"
#include "client/bus.h"
#include "client/membership.h"

#include <stdlib.h>
#include <string.h>

enum { AUTO_COMMIT_WAIT_MS = 1000 }; /* an automatic commit does not hold a poll up for longer */

static void
tell(
    struct membership *membership, enum bus_rebalance what, struct part *const *parts, size_t count)
{
    struct bus_consumer *consumer = membership->consumer;
    struct bus_assignment *list =
        consumer->rebalanced && count > 0 ? calloc(count, sizeof *list) : NULL;
    for (size_t i = 0; list && i < count; i++)
        list[i] = (struct bus_assignment){.topic = parts[i]->topic,
            .partition = parts[i]->partition,
            .offset = parts[i]->position};
    if (list)
        consumer->rebalanced(consumer->rebalanced_context, consumer, what, list, count);
    free(list);
}

/* Replaces the parts; those given up are closed. */
static void
install(struct bus_consumer *consumer, struct part **parts, size_t count, struct part **old,
    size_t old_count)
{
    struct part **before = consumer->parts;
    watch_enter(consumer);
    consumer->parts = parts;
    consumer->count = count;
    consumer->turn = 0;
    watch_leave_changed(consumer);
    for (size_t i = 0; i < old_count; i++)
        part_free(&old[i]);
    free(before);
}

/* Commits before the partitions are somebody else's. A failure is no reason to keep them. */
static void
commit_before(struct membership *membership, struct part *const *parts, size_t count)
{
    if (membership->settings.enable_auto_commit)
        commit_parts(membership->consumer, parts, count, 0,
            bus_request_deadline_ns(membership->consumer->bus));
}

static void
give_up_all(struct membership *membership, enum bus_rebalance what)
{
    struct bus_consumer *consumer = membership->consumer;
    struct part **old = consumer->parts;
    size_t count = consumer->count;
    struct part **copy = calloc(count + 1, sizeof *copy);
    if (!copy)
        return; /* the next poll tries again */
    if (what == BUS_REVOKED)
        commit_before(membership, old, count);
    tell(membership, what, old, count);
    memcpy(copy, old, count * sizeof *copy);
    install(consumer, NULL, 0, copy, count);
    free(copy);
    pthread_mutex_lock(&membership->lock);
    if (what == BUS_REVOKED) {
        member_revoked(&membership->member, clock_mono_ms());
    } else {
        member_lost(&membership->member);
        membership->share.count = 0;
        membership->share_generation = -1;
    }
    pthread_cond_signal(&membership->changed);
    pthread_mutex_unlock(&membership->lock);
}

void
membership_give_up(struct membership *membership)
{
    give_up_all(membership, BUS_REVOKED);
}

/* Opens a partition where the group has stopped reading it. */
static int
open_part(struct membership *membership, const struct assign_partition *one, struct part **part)
{
    struct bus_consumer *consumer = membership->consumer;
    int64_t deadline_ns = bus_request_deadline_ns(consumer->bus);
    int64_t committed;
    int reset = consumer->settings.auto_offset_reset;
    int rc = commit_find(consumer, one->topic, one->partition, deadline_ns, &committed);
    if (rc < 0)
        return rc;
    if (committed < 0 && reset == SETTING_RESET_NONE)
        return err_set(BUS_ERR_OFFSET_OUT_OF_RANGE,
            "%s-%d: the group has no committed offset, and auto.offset.reset is none", one->topic,
            one->partition);
    int64_t offset = committed >= 0                    ? committed
                     : reset == SETTING_RESET_EARLIEST ? BUS_OFFSET_BEGINNING
                                                       : BUS_OFFSET_END;
    *part = part_new(consumer->bus, one->topic, one->partition);
    if (!*part)
        return -BUS_ERR_NO_MEMORY;
    rc = part_open(*part, consumer, offset, reset == SETTING_RESET_NONE, deadline_ns);
    (*part)->committed = committed;
    if (rc < 0)
        part_free(part);
    return rc;
}

struct change {
    struct part **kept, **gone, **fresh;
    size_t kept_count, gone_count, fresh_count;
};

static bool
has_part(const struct bus_consumer *consumer, const struct assign_partition *one)
{
    for (size_t i = 0; i < consumer->count; i++)
        if (consumer->parts[i]->partition == one->partition &&
            strcmp(consumer->parts[i]->topic, one->topic) == 0)
            return true;
    return false;
}

static int
work_out(struct membership *membership, struct change *change)
{
    struct bus_consumer *consumer = membership->consumer;
    const struct assign_list *share = &membership->share;
    change->kept = calloc(consumer->count + share->count + 1, sizeof *change->kept);
    change->gone = calloc(consumer->count + 1, sizeof *change->gone);
    change->fresh = calloc(share->count + 1, sizeof *change->fresh);
    if (!change->kept || !change->gone || !change->fresh)
        return err_no_memory();
    for (size_t i = 0; i < share->count; i++) {
        if (has_part(consumer, &share->items[i]))
            continue;
        int rc = open_part(membership, &share->items[i], &change->fresh[change->fresh_count]);
        if (rc < 0)
            return rc;
        change->fresh_count++;
    }
    for (size_t i = 0; i < consumer->count; i++) {
        struct part *part = consumer->parts[i];
        if (assign_has(share, part->topic, part->partition))
            change->kept[change->kept_count++] = part;
        else
            change->gone[change->gone_count++] = part;
    }
    return 0;
}

static void
carry_out(struct membership *membership, struct change *change)
{
    struct bus_consumer *consumer = membership->consumer;
    commit_before(membership, change->gone, change->gone_count);
    tell(membership, BUS_REVOKED, change->gone, change->gone_count);
    for (size_t i = 0; i < change->fresh_count; i++)
        change->kept[change->kept_count++] = change->fresh[i];
    install(consumer, change->kept, change->kept_count, change->gone, change->gone_count);
    change->kept = NULL;
    tell(membership, BUS_ASSIGNED, change->fresh, change->fresh_count);
    change->fresh_count = 0; /* they are the consumer's now */
}

/* While this duty is open the thread does not touch the share. */
static int
take_share(struct membership *membership)
{
    struct change change = {0};
    int rc = work_out(membership, &change);
    bool gave_up = change.gone_count > 0;
    if (rc == 0)
        carry_out(membership, &change);
    for (size_t i = 0; i < change.fresh_count; i++)
        part_free(&change.fresh[i]);
    free(change.kept);
    free(change.gone);
    free(change.fresh);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&membership->lock);
    member_taken(&membership->member, clock_mono_ms(), gave_up);
    pthread_cond_signal(&membership->changed);
    pthread_mutex_unlock(&membership->lock);
    return 0;
}

static void
commit_now_and_then(struct membership *membership, int64_t now_ms)
{
    struct bus_consumer *consumer = membership->consumer;
    if (!membership->settings.enable_auto_commit || now_ms < membership->commit_ms)
        return;
    membership->commit_ms = now_ms + membership->settings.auto_commit_interval_ms;
    commit_parts(consumer, consumer->parts, consumer->count, 0,
        clock_mono_ns() + AUTO_COMMIT_WAIT_MS * INT64_C(1000000));
}

static int
failed(const struct membership *membership, int rc)
{
    return err_set((enum bus_err) - rc, "group %s refused this member: %s",
        membership->settings.group_id, bus_err_text(rc));
}

int
membership_poll(struct membership *membership)
{
    struct bus_consumer *consumer = membership->consumer;
    int64_t now_ms = clock_mono_ms();
    consumer->group_seen = atomic_load_explicit(&consumer->group_word, memory_order_acquire);
    pthread_mutex_lock(&membership->lock);
    bool idle = membership->member.state == MEMBER_IDLE;
    member_polled(&membership->member, now_ms);
    if (idle)
        pthread_cond_signal(&membership->changed);
    enum member_duty duty = membership->member.duty;
    int failure = membership->member.state == MEMBER_FAILED ? membership->member.failure : 0;
    pthread_mutex_unlock(&membership->lock);
    switch (duty) {
    case MEMBER_DUTY_REVOKE:
        give_up_all(membership, BUS_REVOKED);
        return 0;
    case MEMBER_DUTY_LOSE:
        give_up_all(membership, BUS_LOST);
        return 0;
    case MEMBER_DUTY_TAKE:
        return take_share(membership);
    default:
        if (failure < 0)
            return failed(membership, failure);
        commit_now_and_then(membership, now_ms);
        return 0;
    }
}
