/* SPDX-License-Identifier: Apache-2.0
 * What must hold in the world of groups, worked out from what the coordinator was told and answered
 * and not from how it works.
 */
#include "sim/group_sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
id_number(const char *id)
{
    return id[0] == 'm' ? (int)(strtol(id + 1, NULL, 10) % GS_IDS) : 0;
}

void
gs_heard(struct gs *gs, const char *id)
{
    gs->heard_ms[id_number(id)] = gs->sim->now_ms;
}

/* ---- sessions end in time ------------------------------------------------------------------- */

static const struct group_member *
find(const struct group *group, const char *id)
{
    const struct group_member *m = group ? group->first : NULL;
    while (m && strcmp(m->id, id) != 0)
        m = m->next;
    return m;
}

static bool
was_replaced(const struct group *group, const struct gs_seen *seen)
{
    const struct group_member *m = group && seen->instance[0] ? group->first : NULL;
    while (m && (!m->instance_id || strcmp(m->instance_id, seen->instance) != 0))
        m = m->next;
    return m != NULL;
}

/** Whether a sign of life of the member lies in the socket of a daemon that stood still. */
static bool
is_heard_soon(const struct gs *gs, const struct gs_watch *watch, const char *id)
{
    for (int i = 0; i < gs->event_count; i++) {
        const struct gs_event *event = &gs->events[i];
        const struct gs_message *m = &event->message;
        bool counts = m->kind == GS_BEAT || m->kind == GS_COMMIT;
        if (event->kind == GS_ARRIVES && event->held && counts && strcmp(m->id, id) == 0 &&
            m->generation == watch->generation &&
            gs->connections[event->connection % GS_CONNECTIONS].number == event->connection)
            return true;
    }
    return false;
}

/** Whether a member that is gone had to go. */
static bool
had_to_go(const struct gs *gs, const struct gs_watch *watch, const struct group *group,
    const struct gs_seen *seen)
{
    int64_t now_ms = gs->sim->now_ms;
    int number = id_number(seen->id);
    if (!gs->in_tick && strcmp(gs->event_id, seen->id) == 0)
        return true;
    if (was_replaced(group, seen))
        return true;
    if (!seen->parked && now_ms - gs->heard_ms[number] >= seen->session_ms)
        return now_ms - gs->heard_ms[number] < seen->session_ms + GROUP_STALL_MS ||
               !is_heard_soon(gs, watch, seen->id);
    if (now_ms - gs->added_ms[number] >= GROUP_NEW_MEMBER_MS)
        return true;
    bool over = now_ms - watch->since_ms >= watch->patience_ms;
    if (watch->state == GROUP_PREPARING && !seen->parked && !seen->instance[0])
        return over;
    return watch->state != GROUP_PREPARING && !seen->synced && now_ms >= watch->sync_ms;
}

static void
watch_gone(struct gs *gs, int number, const struct group *group)
{
    const struct gs_watch *watch = &gs->watches[number];
    for (int i = 0; i < watch->member_count; i++) {
        const struct gs_seen *seen = &watch->members[i];
        sim_must(gs->sim, find(group, seen->id) || had_to_go(gs, watch, group, seen),
            "member %s of group %s is gone %" PRId64 " ms after it was heard of, of %" PRId32
            "; the group was %s for %" PRId64 " ms of %" PRId64 ", the member %s",
            seen->id, gs_group_name(number), gs->sim->now_ms - gs->heard_ms[id_number(seen->id)],
            seen->session_ms, group_state_name(watch->state), gs->sim->now_ms - watch->since_ms,
            watch->patience_ms, seen->parked ? "waiting" : "not waiting");
    }
}

/** Nobody is kept whose session is over. */
static void
watch_kept(struct gs *gs, const struct group *group)
{
    for (const struct group_member *m = group->first; m; m = m->next) {
        int64_t silent_ms = gs->sim->now_ms - gs->heard_ms[id_number(m->id)];
        sim_must(gs->sim, m->join || m->sync || silent_ms <= m->session_timeout_ms + gs->late_ms,
            "member %s was silent for %" PRId64 " ms and is still there, its session being %" PRId32
            " ms",
            m->id, silent_ms, m->session_timeout_ms);
    }
}

/* ---- what is seen of a group ---------------------------------------------------------------- */

static void
note_state(struct gs *gs, struct gs_watch *watch, const struct group *group)
{
    int64_t patience_ms = 0;
    if (watch->state == group->state && watch->generation == group->generation)
        return;
    for (const struct group_member *m = group->first; m; m = m->next)
        if (m->rebalance_timeout_ms > patience_ms)
            patience_ms = m->rebalance_timeout_ms;
    if (watch->state == GROUP_EMPTY)
        patience_ms = gs->groups.rules.initial_delay_ms;
    /* A static member belongs to a new generation without having joined: as if it had. */
    for (const struct group_member *m = group->first; m; m = m->next)
        if (group->state == GROUP_COMPLETING)
            gs_heard(gs, m->id);
    watch->state = group->state;
    watch->since_ms = gs->sim->now_ms;
    watch->patience_ms = patience_ms;
    if (group->state == GROUP_COMPLETING)
        watch->sync_ms = gs->sim->now_ms + patience_ms;
}

static void
note_members(struct gs_watch *watch, const struct group *group)
{
    watch->member_count = 0;
    for (const struct group_member *m = group ? group->first : NULL; m; m = m->next) {
        struct gs_seen *seen = &watch->members[watch->member_count++];
        snprintf(seen->id, GS_TEXT, "%s", m->id);
        snprintf(seen->instance, GS_TEXT, "%s", m->instance_id ? m->instance_id : "");
        seen->session_ms = m->session_timeout_ms;
        seen->parked = m->join || m->sync;
        seen->synced = !m->is_unsynced;
    }
}

static void
watch_group(struct gs *gs, int number)
{
    struct gs_watch *watch = &gs->watches[number];
    const struct group *group = groups_find(&gs->groups, gs_group_name(number));
    watch_gone(gs, number, group);
    if (!group) {
        sim_must(gs->sim, watch->generation == 0, "group %s of generation %" PRId32 " is gone",
            gs_group_name(number), watch->generation);
        watch->state = GROUP_EMPTY;
        watch->member_count = 0;
        return;
    }
    sim_must(gs->sim, group->generation >= watch->generation,
        "group %s goes back from generation %" PRId32 " to %" PRId32, group->id, watch->generation,
        group->generation);
    note_state(gs, watch, group);
    watch_kept(gs, group);
    note_members(watch, group);
    watch->generation = group->generation;
}

void
gs_watch_all(struct gs *gs)
{
    for (int i = 0; i < GS_GROUPS && gs->up; i++)
        watch_group(gs, i);
    sim_must(gs->sim, !gs->up || groups_deadline_ms(&gs->groups) > gs->sim->now_ms || !gs->in_tick,
        "a timer of the past is left behind a tick");
}

void
gs_watch_restart(struct gs *gs)
{
    for (int i = 0; i < GS_GROUPS; i++) {
        struct gs_watch *watch = &gs->watches[i];
        const struct group *group = groups_find(&gs->groups, gs_group_name(i));
        sim_must(gs->sim, (group ? group->generation : 0) >= watch->synced,
            "group %s is back in generation %" PRId32 ", and %" PRId32 " had been given out",
            gs_group_name(i), group ? group->generation : 0, watch->synced);
        watch->generation = group ? group->generation : 0;
        watch->state = group ? group->state : GROUP_EMPTY;
        watch->since_ms = gs->sim->now_ms;
        note_members(watch, group);
    }
}

/* ---- assignments, commits ------------------------------------------------------------------- */

void
gs_watch_synced(struct gs *gs, int number, const char *owner, uint32_t partitions)
{
    struct gs_watch *watch = &gs->watches[number];
    const struct group *group = groups_find(&gs->groups, gs_group_name(number));
    int32_t generation = group->generation;
    sim_must(gs->sim, group->state == GROUP_STABLE, "a share of a group that is not stable");
    sim_must(gs->sim, generation >= watch->synced,
        "group %s gives shares of generation %" PRId32 " behind those of %" PRId32, group->id,
        generation, watch->synced);
    watch->synced = generation > watch->synced ? generation : watch->synced;
    for (int i = 0; i < GS_PARTITIONS && generation < GS_GENERATIONS; i++) {
        char *is = watch->owners[generation][i];
        if (!(partitions >> i & 1))
            continue;
        sim_must(gs->sim, is[0] == '\0' || strcmp(is, owner) == 0,
            "partition %d of generation %" PRId32 " of group %s belongs to %s and to %s", i,
            generation, group->id, is, owner);
        snprintf(is, GS_TEXT, "%s", owner);
    }
}

void
gs_watch_commit(struct gs *gs, const struct gs_save *save)
{
    for (int i = 0; i < GS_PARTITIONS; i++)
        sim_must(gs->sim,
            !(save->partitions >> i & 1) || save->offsets[i] >= gs->committed[save->group][i],
            "client %d takes the offset of partition %d of group %s back from %" PRId64
            " to %" PRId64,
            save->client, i, gs_group_name(save->group), gs->committed[save->group][i],
            save->offsets[i]);
}

void
gs_watch_image(struct gs *gs, const struct gs_save *save)
{
    sim_must(gs->sim, save->image.generation >= gs->images[save->group].generation,
        "what is saved of group %s goes back to generation %" PRId32, gs_group_name(save->group),
        save->image.generation);
}

/* ---- all is well in the end ----------------------------------------------------------------- */

void
gs_watch_healed(struct gs *gs)
{
    int living[GS_GROUPS] = {0};
    for (int i = 0; i < GS_CLIENTS; i++) {
        const struct gs_client *c = &gs->clients[i];
        const struct group *group = groups_find(&gs->groups, gs_group_name(c->group));
        if (!c->alive)
            continue;
        living[c->group]++;
        sim_must(gs->sim,
            c->phase == GS_RUNNING && group && group->state == GROUP_STABLE &&
                group->generation == c->generation && find(group, c->id),
            "client %d, member %s, in phase %d of generation %" PRId32 " is not in its group", i,
            c->id, (int)c->phase, c->generation);
    }
    for (int i = 0; i < GS_GROUPS; i++) {
        const struct group *group = groups_find(&gs->groups, gs_group_name(i));
        sim_must(gs->sim, (group ? group->member_count : 0) == living[i],
            "group %s has %d members, and %d clients live", gs_group_name(i),
            group ? group->member_count : 0, living[i]);
    }
}
