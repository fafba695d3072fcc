/* SPDX-License-Identifier: Apache-2.0
 * Partitions come and go: inside of bus_poll(), with the callback of bus_on_rebalance().
 */
#include "base/clock.h"
#include "base/err.h"
#include "client/bus.h"
#include "client/commit.h"
#include "client/membership.h"

#include <stdlib.h>
#include <string.h>

enum { OPEN_WAIT_MS = 500 }; /* for busd, for one partition */

/* Partitions, and room for what the callback is told of them. */
struct parts {
    struct part **items;
    struct bus_assignment *told;
    size_t count;
};

struct change {
    struct parts kept, gone, fresh;
    int failure; /* the first that does not pass, and in words */
    char text[ERR_TEXT_BYTES_MAX];
    bool missing; /* something could not be opened */
};

static int
parts_init(struct parts *parts, size_t most)
{
    parts->count = 0;
    parts->items = calloc(most + 1, sizeof *parts->items);
    parts->told = calloc(most + 1, sizeof *parts->told);
    return parts->items && parts->told ? 0 : err_no_memory();
}

static void
parts_fini(struct parts *parts)
{
    free(parts->items);
    free(parts->told);
}

static void
parts_add(struct parts *parts, struct part *part)
{
    parts->items[parts->count++] = part;
}

static void
tell(struct bus_consumer *consumer, enum bus_rebalance what, const struct parts *parts)
{
    if (!consumer->rebalanced || parts->count == 0)
        return;
    for (size_t i = 0; i < parts->count; i++)
        parts->told[i] = (struct bus_assignment){.topic = parts->items[i]->topic,
            .partition = parts->items[i]->partition,
            .offset = parts->items[i]->position};
    consumer->rebalanced(consumer->rebalanced_context, consumer, what, parts->told, parts->count);
}

/* Replaces the parts, whose array is taken; those given up are closed. */
static void
install(struct bus_consumer *consumer, struct parts *parts, const struct parts *gone)
{
    struct part **before = consumer->parts;
    watch_enter(consumer);
    consumer->parts = parts->items;
    consumer->count = parts->count;
    consumer->turn = 0;
    watch_leave_changed(consumer);
    parts->items = NULL;
    for (size_t i = 0; i < gone->count; i++)
        part_free(&gone->items[i]);
    free(before);
}

/*
 * Commits before the partitions are somebody else's. What is under way beside it is older, and done
 * when this one is. A failure is no reason to keep them.
 */
static void
commit_before(struct membership *membership, const struct parts *parts)
{
    if (membership->settings.enable_auto_commit)
        commit_parts(membership->consumer, parts->items, parts->count, 0,
            bus_request_deadline_ns(membership->consumer->bus));
}

int
membership_give_up(struct membership *membership, enum bus_rebalance what)
{
    struct bus_consumer *consumer = membership->consumer;
    struct parts all, none;
    int rc = parts_init(&all, consumer->count);
    if (parts_init(&none, 0) < 0)
        rc = -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; rc == 0 && i < consumer->count; i++)
        parts_add(&all, consumer->parts[i]);
    if (rc == 0) {
        if (what == BUS_REVOKED)
            commit_before(membership, &all);
        tell(consumer, what, &all);
        install(consumer, &none, &all);
        membership->retry_ms = INT64_MAX;
        membership->taken_generation = -1;
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
    parts_fini(&all);
    parts_fini(&none);
    return rc;
}

/* A partition whose topic is gone may be there again under the same name. */
static bool
has_part(const struct bus_consumer *consumer, const struct assign_partition *one)
{
    struct part *part;
    return consumer_find_part(consumer, one->topic, one->partition, &part) == 0 && !part->gone;
}

/* What busd cannot do just now. */
static bool
passes(int rc)
{
    return rc == -BUS_ERR_DAEMON_UNAVAILABLE || rc == -BUS_ERR_NETWORK_EXCEPTION ||
           rc == -BUS_ERR_REQUEST_TIMED_OUT || rc == -BUS_ERR_LEADER_NOT_AVAILABLE ||
           rc == -BUS_ERR_NOT_LEADER_OR_FOLLOWER || rc == -BUS_ERR_COORDINATOR_LOAD_IN_PROGRESS ||
           rc == -BUS_ERR_COORDINATOR_NOT_AVAILABLE;
}

static int64_t
open_deadline_ns(void)
{
    return clock_mono_ns() + OPEN_WAIT_MS * INT64_C(1000000);
}

/* Opens a partition where the group has stopped reading it. */
static int
open_part(struct bus_consumer *consumer, const struct bus_assignment *one, struct part **part)
{
    int reset = consumer->settings.auto_offset_reset;
    int64_t offset = one->offset >= 0                  ? one->offset
                     : reset == SETTING_RESET_EARLIEST ? BUS_OFFSET_BEGINNING
                                                       : BUS_OFFSET_END;
    *part = part_new(consumer->bus, one->topic, one->partition);
    if (!*part)
        return -BUS_ERR_NO_MEMORY;
    int rc = part_open(*part, consumer, offset, false, open_deadline_ns());
    if (rc < 0) {
        part_free(part);
        return err_prefix(rc, "%s-%d", one->topic, one->partition);
    }
    (*part)->committed = one->offset;
    (*part)->lacks_position = one->offset < 0 && reset == SETTING_RESET_NONE;
    return 0;
}

static void
note_failure(struct change *change, int rc)
{
    change->missing = true;
    if (change->failure < 0 || passes(rc))
        return;
    change->failure = rc;
    memcpy(change->text, err_text(), sizeof change->text);
}

/* Opens what is new; what does not open is left out. */
static void
open_fresh(struct membership *membership, struct change *change)
{
    struct bus_consumer *consumer = membership->consumer;
    const struct assign_list *share = &membership->share;
    struct bus_assignment *wanted = change->fresh.told;
    size_t count = 0;
    for (size_t i = 0; i < share->count; i++)
        if (!has_part(consumer, &share->items[i]))
            wanted[count++] = (struct bus_assignment){
                share->items[i].topic, share->items[i].partition, BUS_OFFSET_END};
    int rc = commit_find(consumer, wanted, count, open_deadline_ns());
    if (rc < 0) {
        note_failure(change, rc);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct part *part;
        rc = open_part(consumer, &wanted[i], &part);
        if (rc == 0)
            parts_add(&change->fresh, part);
        else
            note_failure(change, rc);
    }
}

static int
change_init(struct change *change, const struct membership *membership)
{
    size_t have = membership->consumer->count, get = membership->share.count;
    *change = (struct change){0};
    int rc = parts_init(&change->kept, have + get);
    if (rc == 0)
        rc = parts_init(&change->gone, have);
    return rc < 0 ? rc : parts_init(&change->fresh, get);
}

static bool
was_reopened(const struct change *change, const struct part *part)
{
    for (size_t i = 0; i < change->fresh.count; i++)
        if (change->fresh.items[i]->partition == part->partition &&
            strcmp(change->fresh.items[i]->topic, part->topic) == 0)
            return true;
    return false;
}

static void
carry_out(struct membership *membership, struct change *change)
{
    struct bus_consumer *consumer = membership->consumer;
    for (size_t i = 0; i < consumer->count; i++) {
        struct part *part = consumer->parts[i];
        bool stays = assign_has(&membership->share, part->topic, part->partition) &&
                     !was_reopened(change, part);
        parts_add(stays ? &change->kept : &change->gone, part);
    }
    if (change->gone.count == 0 && change->fresh.count == 0)
        return;
    commit_before(membership, &change->gone);
    tell(consumer, BUS_REVOKED, &change->gone);
    for (size_t i = 0; i < change->fresh.count; i++)
        parts_add(&change->kept, change->fresh.items[i]);
    install(consumer, &change->kept, &change->gone);
    tell(consumer, BUS_ASSIGNED, &change->fresh);
}

/* While there is a share to be taken the member's thread does not touch it. */
int
membership_take(struct membership *membership, bool *gave_up, bool *missing)
{
    struct change change;
    *gave_up = false;
    *missing = true;
    int rc = change_init(&change, membership);
    if (rc == 0) {
        open_fresh(membership, &change);
        membership->taken_generation = membership->share_generation;
        carry_out(membership, &change);
        *gave_up = change.gone.count > 0;
        *missing = change.missing;
        if (change.failure < 0)
            rc = err_set((enum bus_err) - change.failure, "%s", change.text);
    }
    parts_fini(&change.kept);
    parts_fini(&change.gone);
    parts_fini(&change.fresh);
    return rc;
}
