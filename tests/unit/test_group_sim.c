/* SPDX-License-Identifier: Apache-2.0
 * A group under seeded random histories: clients that join, sync, die, come back, lie about their
 * generation; saves that are late or fail; time that passes. After every step what must always hold
 * is checked.
 */
#include "unit/group_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SEEDS = 60,
    STEPS = 1500,
    SLOTS = 4096, /* generations that are watched */
};

struct sim {
    struct gw w;
    uint64_t random;
    int sent_joins[GW_CLIENTS], sent_syncs[GW_CLIENTS];
    int lost_joins[GW_CLIENTS], lost_syncs[GW_CLIENTS]; /* cancelled */
    char leaders[SLOTS][GW_TEXT];                       /* generation -> who was told to lead */
    bool replaced[SLOTS];                               /* … or a static member led on */
    char owners[SLOTS][GW_CLIENTS][GW_TEXT];            /* generation, slot -> member */
    int32_t top;                                        /* the highest generation seen */
};

static uint32_t
pick(struct sim *s, uint32_t below)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (uint32_t)(s->random >> 20) % below;
}

/* ---- what must hold ------------------------------------------------------------------------- */

static void
check_member(const struct group *group, const struct group_member *m)
{
    CU_ASSERT(m->group == group);
    CU_ASSERT(!m->join || (m->join->member == m && !m->join->syncs));
    CU_ASSERT(!m->sync || (m->sync->member == m && m->sync->syncs));
    if (group->state != GROUP_PREPARING)
        CU_ASSERT(!m->join || (m->save != 0 && group->state == GROUP_STABLE));
    if (group->state != GROUP_COMPLETING)
        CU_ASSERT(!m->sync);
    for (const struct group_member *other = m->next; other; other = other->next) {
        CU_ASSERT_STRING_NOT_EQUAL(other->id, m->id);
        if (m->instance_id && other->instance_id)
            CU_ASSERT_STRING_NOT_EQUAL(other->instance_id, m->instance_id);
    }
}

static void
check_group(const struct sim *s, const struct group *group)
{
    int32_t members = 0, joined = 0;
    int64_t bytes = (int64_t)(sizeof *group + strlen(group->id) + 1);
    bool leads = false;
    for (const struct group_member *m = group->first; m; m = m->next) {
        check_member(group, m);
        members++;
        joined += m->join != NULL;
        leads = leads || m == group->leader;
        bytes += (int64_t)m->bytes;
    }
    for (const struct group_pending *p = group->pending; p; p = p->next)
        bytes += (int64_t)(sizeof *p + strlen(p->id) + 1);
    CU_ASSERT_EQUAL(members, group->member_count);
    CU_ASSERT_EQUAL(joined, group->joined_count);
    CU_ASSERT_EQUAL(bytes, s->w.groups.bytes);
    CU_ASSERT_EQUAL(leads, members > 0);
    CU_ASSERT(group->state != GROUP_EMPTY || members == 0);
    CU_ASSERT(group->state == GROUP_EMPTY || group->state == GROUP_PREPARING || members > 0);
    CU_ASSERT(group->state == GROUP_EMPTY || group->protocol_type != NULL);
    CU_ASSERT(group->generation >= s->top);
}

/** Every request is answered once, is lost with its connection, or still waits. */
static void
check_answers(const struct sim *s, int who)
{
    const struct gw_client *c = &s->w.clients[who];
    CU_ASSERT_EQUAL(s->sent_joins[who], c->joins + s->lost_joins[who] + (c->join.member != NULL));
    CU_ASSERT_EQUAL(s->sent_syncs[who], c->syncs + s->lost_syncs[who] + (c->sync.member != NULL));
}

static void
check_owner(struct sim *s, const struct gw_client *c)
{
    int slot = c->assignment[0] == 's' ? (int)strtol(c->assignment + 1, NULL, 10) : -1;
    if (slot < 0 || c->generation >= SLOTS)
        return;
    char *owner = s->owners[c->generation][slot];
    if (owner[0] == '\0' || c->instance_id) /* a static member keeps its share under a new id */
        memcpy(owner, c->id, GW_TEXT);
    CU_ASSERT_STRING_EQUAL(owner, c->id);
}

static void
check_leader(struct sim *s, const struct gw_client *c)
{
    if (c->generation >= SLOTS || c->members[0] == '\0')
        return;
    char *leader = s->leaders[c->generation];
    if (leader[0] == '\0' || c->skips_assignment)
        memcpy(leader, c->id, GW_TEXT);
    CU_ASSERT_STRING_EQUAL(leader, c->id);
    CU_ASSERT_STRING_EQUAL(c->leader, c->id);
}

static void
check_all(struct sim *s)
{
    const struct group *group = gw_group(&s->w);
    for (int i = 0; i < GW_CLIENTS; i++)
        check_answers(s, i);
    if (group) {
        check_group(s, group);
        s->top = group->generation;
    } else {
        s->top = 0;
        CU_ASSERT_EQUAL(s->w.groups.bytes, 0);
        memset(s->leaders, 0, sizeof s->leaders);
        memset(s->owners, 0, sizeof s->owners);
    }
    CU_ASSERT(groups_deadline_ms(&s->w.groups) > s->w.now_ms);
}

/* ---- what happens --------------------------------------------------------------------------- */

static void
hang_up(struct sim *s, int who)
{
    struct gw_client *c = &s->w.clients[who];
    s->lost_joins[who] += c->join.member != NULL;
    s->lost_syncs[who] += c->sync.member != NULL;
    group_cancel(&s->w.groups, s->w.now_ms, &c->join);
    group_cancel(&s->w.groups, s->w.now_ms, &c->sync);
}

static void
do_join(struct sim *s, int who)
{
    static const char *const protocols[] = {"range", "range,sticky", "sticky,range", "sticky"};
    static const char *const metadata[] = {"m", "m", "n"};
    struct gw_client *c = &s->w.clients[who];
    if (c->join.member || c->sync.member)
        return;
    c->metadata = metadata[pick(s, 3)];
    s->sent_joins[who]++;
    gw_join(&s->w, who, protocols[pick(s, 4)]);
    if (c->error == BUS_ERR_UNKNOWN_MEMBER_ID || c->error == BUS_ERR_FENCED_INSTANCE_ID)
        c->id[0] = '\0';
}

static void
do_sync(struct sim *s, int who)
{
    struct gw_client *c = &s->w.clients[who];
    char shares[256] = "";
    if (c->join.member || c->sync.member)
        return;
    for (int i = 0; i < GW_CLIENTS; i++) {
        char own[GW_TEXT + 2];
        snprintf(own, sizeof own, "%s=", s->w.clients[i].id);
        size_t n = strlen(shares);
        if (s->w.clients[i].id[0] && strstr(c->members, own))
            snprintf(shares + n, sizeof shares - n, "%s%d=s%d", n ? " " : "", i, i);
    }
    s->sent_syncs[who]++;
    c->assignment[0] = '\0';
    gw_sync(&s->w, who, shares);
}

static void
do_leave(struct sim *s, int who)
{
    struct group_claim claim = gw_claim(&s->w, who);
    if (pick(s, 4) == 0 && claim.instance_id)
        claim.member_id = "";
    group_leave(&s->w.groups, s->w.now_ms, &claim);
}

static void
do_storage(struct sim *s)
{
    static const int outcomes[] = {0, 0, 0, GROUP_SAVED, -BUS_ERR_DISK_FULL};
    if (s->w.save_count > GW_SAVES / 2 || (s->w.save_count > 0 && pick(s, 2)))
        gw_saved(&s->w, pick(s, 5) ? 0 : -BUS_ERR_DISK_FULL);
    else
        s->w.save_outcome = outcomes[pick(s, 5)];
}

static void
step(struct sim *s)
{
    int who = (int)pick(s, GW_CLIENTS);
    struct gw_client *c = &s->w.clients[who];
    switch (pick(s, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        do_join(s, who);
        return;
    case 5:
    case 6:
    case 7:
    case 8:
        do_sync(s, who);
        return;
    case 9:
        hang_up(s, who);
        return;
    case 10: /* the process ends and another one starts */
        hang_up(s, who);
        c->id[0] = '\0';
        return;
    case 11:
        do_leave(s, who);
        return;
    case 12:
        c->generation += (int32_t)pick(s, 3) - 1;
        return;
    case 13:
        do_storage(s);
        return;
    case 14:
        gw_beat(&s->w, who);
        return;
    default:
        gw_pass(&s->w, pick(s, 4) ? pick(s, 3000) : pick(s, 70000));
        return;
    }
}

/** What the last step told the clients. */
static void
check_news(struct sim *s, const int *joins, const int *syncs)
{
    for (int i = 0; i < GW_CLIENTS; i++) {
        struct gw_client *c = &s->w.clients[i];
        if (c->joins > joins[i] && c->error == BUS_ERR_NONE)
            check_leader(s, c);
        if (c->syncs > syncs[i] && c->error == BUS_ERR_NONE && c->joins == joins[i])
            check_owner(s, c);
    }
}

static void
run_seed(uint64_t seed)
{
    static struct sim sim;
    struct sim *s = &sim;
    memset(s, 0, sizeof *s);
    s->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    gw_init(&s->w);
    static const char *const instances[] = {"i0", "i1", "i1", "i2"};
    for (int i = 0; i < GW_CLIENTS; i++) {
        struct gw_client *c = &s->w.clients[i];
        c->version = (int)pick(s, 10);
        c->instance_id = i < 4 ? instances[i] : NULL;
        c->session_timeout_ms = 6000 + (int32_t)pick(s, 30000);
        c->rebalance_timeout_ms = (int32_t)pick(s, 60000);
    }
    s->w.groups.rules.size_max = 3 + pick(s, 10);
    s->w.groups.rules.initial_delay_ms = pick(s, 2) ? 0 : 3000;
    for (int i = 0; i < STEPS; i++) {
        int joins[GW_CLIENTS], syncs[GW_CLIENTS];
        for (int j = 0; j < GW_CLIENTS; j++) {
            joins[j] = s->w.clients[j].joins;
            syncs[j] = s->w.clients[j].syncs;
        }
        unsigned failures = CU_get_number_of_failures();
        step(s);
        check_news(s, joins, syncs);
        check_all(s);
        if (CU_get_number_of_failures() != failures) {
            fprintf(stderr, "seed %" PRIu64 ", step %d\n", seed, i);
            break;
        }
    }
    gw_fini(&s->w);
}

static void
test_histories(void)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_seed(seed);
}

/* ---- many groups ---------------------------------------------------------------------------- */

static struct gw many;

static void
test_many_groups(void)
{
    gw_init(&many);
    many.groups.rules.groups_max = 1000;
    struct group_protocol range = {"range", {NULL, 0}};
    struct sim dice = {.random = 7};
    for (int i = 0; i < 1000; i++) {
        char name[GW_TEXT];
        snprintf(name, sizeof name, "group-%d", i);
        struct group_join join = {.group_id = name,
            .member_id = "",
            .fresh_id = "fresh",
            .client_id = "",
            .client_host = "",
            .protocol_type = "consumer",
            .protocols = &range,
            .protocol_count = 1,
            .session_timeout_ms = 6000 + (int32_t)pick(&dice, 50000),
            .needs_known_id = true};
        group_join(&many.groups, many.now_ms, &join, &many.clients[0].join);
    }
    CU_ASSERT_EQUAL(many.groups.count, 1000);
    size_t seen = 0;
    for (struct group *g = groups_next(&many.groups, NULL); g; g = groups_next(&many.groups, g))
        seen++;
    CU_ASSERT_EQUAL(seen, 1000);
    int64_t last_ms = 0;
    while (many.groups.count > 0) {
        int64_t next_ms = groups_deadline_ms(&many.groups);
        CU_ASSERT_FATAL(next_ms > last_ms && next_ms < many.now_ms + 60000);
        groups_tick(&many.groups, next_ms);
        last_ms = next_ms;
    }
    CU_ASSERT_EQUAL(groups_deadline_ms(&many.groups), INT64_MAX);
    gw_fini(&many);
}

static const struct unit_case cases[] = {
    {"what must hold does, in any history", test_histories},
    {"timers of many groups come in order", test_many_groups},
    {NULL, NULL},
};

void
register_group_sim(void)
{
    unit_register("group_sim", cases);
}
