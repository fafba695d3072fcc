/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/group_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROTOCOLS_MAX = 8 };

/* ---- effects -------------------------------------------------------------------------------- */

static void
copy_text(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from ? from : "");
}

static void
list_members(struct gw_client *c, const struct group *group)
{
    c->members[0] = '\0';
    for (const struct group_member *m = group->first; m; m = m->next) {
        size_t n = strlen(c->members);
        struct bytes data = group_member_metadata(m);
        snprintf(c->members + n, sizeof c->members - n, "%s=%.*s ", m->id, data.len,
            (const char *)data.data);
    }
}

static void
joined(void *context, struct group_waiter *waiter, const struct group_joined *answer)
{
    struct gw_client *c = (struct gw_client *)(void *)waiter;
    (void)context;
    c->joins++;
    c->error = answer->error;
    copy_text(c->leader, sizeof c->leader, answer->leader);
    c->skips_assignment = answer->skips_assignment;
    c->members[0] = '\0';
    if (answer->error == BUS_ERR_NONE || answer->error == BUS_ERR_MEMBER_ID_REQUIRED)
        copy_text(c->id, sizeof c->id, answer->member_id);
    if (answer->error)
        return;
    c->generation = answer->group->generation;
    copy_text(c->protocol, sizeof c->protocol, answer->group->protocol);
    if (answer->lists_members)
        list_members(c, answer->group);
}

static void
synced(void *context, struct group_waiter *waiter, const struct group_synced *answer)
{
    struct gw_client *c = (struct gw_client *)(void *)(waiter - 1);
    (void)context;
    c->syncs++;
    c->error = answer->error;
    if (!answer->error)
        snprintf(c->assignment, sizeof c->assignment, "%.*s", answer->assignment.len,
            answer->assignment.len > 0 ? (const char *)answer->assignment.data : "");
}

static int
save(void *context, const struct group *group, uint64_t number)
{
    struct gw *w = context;
    CU_ASSERT_FATAL(w->save_count < GW_SAVES);
    struct gw_save *s = &w->saves[w->save_count];
    if (w->save_outcome == 0)
        w->save_count++;
    copy_text(s->group, sizeof s->group, group->id);
    s->number = number;
    s->generation = group->generation;
    s->members = group->member_count;
    return w->save_outcome;
}

/* ---- the world ------------------------------------------------------------------------------ */

void
gw_init(struct gw *w)
{
    static const struct group_rules rules = {
        .initial_delay_ms = 3000,
        .session_min_ms = 6000,
        .session_max_ms = 1800000,
        .size_max = 10,
        .groups_max = 100,
        .bytes_max = 1 << 20,
    };
    struct group_ops ops = {joined, synced, save, w};
    *w = (struct gw){.now_ms = 5000, .save_outcome = GROUP_SAVED};
    groups_init(&w->groups, &ops, &rules);
    for (int i = 0; i < GW_CLIENTS; i++)
        w->clients[i] = (struct gw_client){.metadata = "m",
            .session_timeout_ms = 10000,
            .rebalance_timeout_ms = 60000,
            .version = 5};
}

void
gw_fini(struct gw *w)
{
    for (int i = 0; i < GW_CLIENTS; i++) {
        group_cancel(&w->groups, w->now_ms, &w->clients[i].join);
        group_cancel(&w->groups, w->now_ms, &w->clients[i].sync);
    }
    groups_fini(&w->groups);
    CU_ASSERT_EQUAL(w->groups.bytes, 0);
}

void
gw_pass(struct gw *w, int64_t ms)
{
    int64_t until_ms = w->now_ms + ms, next_ms;
    while ((next_ms = groups_deadline_ms(&w->groups)) <= until_ms) {
        if (next_ms > w->now_ms)
            w->now_ms = next_ms;
        groups_tick(&w->groups, w->now_ms);
    }
    w->now_ms = until_ms;
}

struct group *
gw_group(struct gw *w)
{
    return groups_find(&w->groups, "g");
}

/* ---- requests ------------------------------------------------------------------------------- */

void
gw_join(struct gw *w, int who, const char *protocols)
{
    struct gw_client *c = &w->clients[who];
    struct group_protocol rows[PROTOCOLS_MAX];
    char names[128], fresh[GW_TEXT], own[GW_TEXT], *rest = names, *name;
    int32_t count = 0;
    copy_text(names, sizeof names, protocols);
    copy_text(own, sizeof own, c->id);
    snprintf(fresh, sizeof fresh, "c%d-%d", who, ++w->fresh);
    while ((name = strsep(&rest, ",")) && name[0])
        rows[count++] = (struct group_protocol){
            name, {(const uint8_t *)c->metadata, (int32_t)strlen(c->metadata)}};
    struct group_join join = {
        .group_id = "g",
        .member_id = own,
        .instance_id = c->instance_id,
        .fresh_id = fresh,
        .client_id = "client",
        .client_host = "host",
        .protocol_type = "consumer",
        .protocols = rows,
        .protocol_count = count,
        .session_timeout_ms = c->session_timeout_ms,
        .rebalance_timeout_ms = c->rebalance_timeout_ms,
        .needs_known_id = c->version >= 4,
        .skips_assignment = c->version >= 9,
    };
    group_join(&w->groups, w->now_ms, &join, &c->join);
}

void
gw_enter(struct gw *w, int who, const char *protocols)
{
    gw_join(w, who, protocols);
    CU_ASSERT_EQUAL(w->clients[who].error, BUS_ERR_MEMBER_ID_REQUIRED);
    gw_join(w, who, protocols);
}

struct group_claim
gw_claim(struct gw *w, int who)
{
    const struct gw_client *c = &w->clients[who];
    return (struct group_claim){"g", c->id, c->instance_id, c->generation};
}

void
gw_sync(struct gw *w, int who, const char *shares)
{
    struct group_share rows[GW_CLIENTS];
    char text[256], *rest = text, *piece;
    struct group_sync sync = {.claim = gw_claim(w, who), .shares = rows};
    copy_text(text, sizeof text, shares);
    while ((piece = strsep(&rest, " ")) && piece[0]) {
        const char *share = strchr(piece, '=') + 1;
        rows[sync.share_count++] = (struct group_share){w->clients[strtol(piece, NULL, 10)].id,
            {(const uint8_t *)share, (int32_t)strlen(share)}};
    }
    group_sync(&w->groups, w->now_ms, &sync, &w->clients[who].sync);
}

enum bus_err
gw_beat(struct gw *w, int who)
{
    struct group_claim claim = gw_claim(w, who);
    return group_heartbeat(&w->groups, w->now_ms, &claim);
}

void
gw_saved(struct gw *w, int rc)
{
    CU_ASSERT_FATAL(w->save_count > 0);
    struct gw_save first = w->saves[0];
    w->save_count--;
    memmove(&w->saves[0], &w->saves[1], (size_t)w->save_count * sizeof first);
    groups_saved(&w->groups, w->now_ms, first.group, first.number, rc);
}

void
gw_stable(struct gw *w, int count)
{
    char shares[256] = "";
    for (int i = 0; i < count; i++) {
        if (w->clients[i].instance_id)
            gw_join(w, i, "range");
        else
            gw_enter(w, i, "range");
        size_t n = strlen(shares);
        snprintf(shares + n, sizeof shares - n, "%s%d=a%d", i ? " " : "", i, i);
    }
    gw_pass(w, 9000);
    for (int i = count - 1; i >= 0; i--) {
        CU_ASSERT_EQUAL_FATAL(w->clients[i].error, 0);
        gw_sync(w, i, i == 0 ? shares : "");
    }
    CU_ASSERT_EQUAL_FATAL(gw_group(w)->state, GROUP_STABLE);
}
