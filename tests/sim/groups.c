/* SPDX-License-Identifier: Apache-2.0
 * The world of consumer groups: events, network, coordinator, storage, mishaps.
 */
#include "sim/group_sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEAL_MS = 300000, /* longer than any session, then any rebalance, and one more */
    CALM_MS = 120000, /* after which nothing may have changed any more */
    INITIAL_DELAY_MS = 3000,
};

const char *
gs_group_name(int group)
{
    static const char *const names[GS_GROUPS] = {"red", "green"};
    return names[group];
}

static int
group_number(const char *name)
{
    return strcmp(name, gs_group_name(0)) == 0 ? 0 : 1;
}

/* ---- events --------------------------------------------------------------------------------- */

struct gs_event *
gs_after(struct gs *gs, int64_t delay_ms, enum gs_event_kind kind, int client)
{
    static struct gs_event nowhere;
    sim_must(gs->sim, gs->event_count < GS_EVENTS, "the simulator has too many events");
    if (gs->event_count == GS_EVENTS)
        return &nowhere;
    struct gs_event *event = &gs->events[gs->event_count++];
    *event = (struct gs_event){
        .at_ms = gs->sim->now_ms + delay_ms, .order = ++gs->order, .kind = kind, .client = client};
    return event;
}

static int
first_event(const struct gs *gs)
{
    int first = 0;
    for (int i = 1; i < gs->event_count; i++) {
        const struct gs_event *a = &gs->events[i], *b = &gs->events[first];
        if (a->at_ms < b->at_ms || (a->at_ms == b->at_ms && a->order < b->order))
            first = i;
    }
    return first;
}

static int64_t
delay_ms(struct gs *gs)
{
    if (gs->faulty && sim_chance(gs->sim, 10))
        return sim_between(gs->sim, 0, 3000);
    return sim_between(gs->sim, 0, 5);
}

/* ---- the network ---------------------------------------------------------------------------- */

static struct gs_connection *
connection_of(struct gs *gs, int number)
{
    struct gs_connection *connection = &gs->connections[number % GS_CONNECTIONS];
    return connection->open && connection->number == number ? connection : NULL;
}

/** How long a client waits for an answer; a rebalance takes its time. */
static int64_t
patience_ms(struct gs *gs, int client, enum gs_kind kind)
{
    const struct gs_client *c = &gs->clients[client];
    if (gs->faulty && sim_chance(gs->sim, 5))
        return sim_between(gs->sim, 1, 2000);
    return 10000 + (kind == GS_JOIN ? c->rebalance_ms + INITIAL_DELAY_MS : 0);
}

void
gs_send(struct gs *gs, int client, const struct gs_message *message)
{
    struct gs_client *c = &gs->clients[client];
    struct gs_event *timeout =
        gs_after(gs, patience_ms(gs, client, message->kind), GS_TIMEOUT, client);
    timeout->revision = ++c->revision;
    if (gs->faulty && sim_chance(gs->sim, 3))
        return;
    struct gs_event *arrives = gs_after(gs, delay_ms(gs), GS_ARRIVES, client);
    arrives->revision = c->revision;
    arrives->connection = c->connection;
    arrives->message = *message;
}

static void
answer(struct gs *gs, int client, int64_t revision, const struct gs_message *message)
{
    if (gs->faulty && sim_chance(gs->sim, 3))
        return;
    struct gs_event *event = gs_after(gs, delay_ms(gs), GS_ANSWER, client);
    event->revision = revision;
    event->message = *message;
}

static void arrive(struct gs *gs, const struct gs_event *event);

/** What is on its way on a connection that is being closed arrives now, or never. */
static void
settle_connection(struct gs *gs, int number)
{
    for (int i = 0; i < gs->event_count; i++) {
        struct gs_event event = gs->events[i];
        if (event.kind != GS_ARRIVES || event.connection != number)
            continue;
        gs->events[i--] = gs->events[--gs->event_count];
        if (gs->up && gs->stalled_ms <= gs->sim->now_ms && sim_chance(gs->sim, 50))
            arrive(gs, &event);
    }
}

void
gs_reconnect(struct gs *gs, int client)
{
    struct gs_client *c = &gs->clients[client];
    struct gs_connection *next;
    int old = c->connection;
    if (old > 0) {
        settle_connection(gs, old);
        gs_after(gs, delay_ms(gs), GS_HANGUP, client)->connection = old;
    }
    c->connection = ++gs->last_connection;
    next = &gs->connections[c->connection % GS_CONNECTIONS];
    sim_must(gs->sim, !next->open, "the simulator has too many connections");
    *next = (struct gs_connection){.number = c->connection, .client = client, .open = true};
}

static void
hang_up(struct gs *gs, int number)
{
    struct gs_connection *connection = connection_of(gs, number);
    if (!connection)
        return;
    const struct group_waiter *waiters[] = {&connection->join, &connection->sync};
    for (int i = 0; i < 2; i++)
        if (waiters[i]->member) {
            memcpy(gs->event_id, waiters[i]->member->id, GS_TEXT);
            gs_heard(gs, gs->event_id);
        }
    group_cancel(&gs->groups, gs->sim->now_ms, &connection->join);
    group_cancel(&gs->groups, gs->sim->now_ms, &connection->sync);
    connection->open = false;
}

/* ---- what the coordinator has done ---------------------------------------------------------- */

static void
copy(char to[GS_TEXT], const char *from)
{
    snprintf(to, GS_TEXT, "%s", from ? from : "");
}

static void
list_members(struct gs_message *message, const struct group *group)
{
    for (const struct group_member *m = group->first; m && message->member_count < GS_CLIENTS;
         m = m->next)
        copy(message->members[message->member_count++].id, m->id);
}

/** A parked request counts when it is answered; one that is answered at once if it was in order. */
static void
answered(struct gs *gs, char parked_id[GS_TEXT], enum bus_err error)
{
    gs_heard(gs, parked_id);
    parked_id[0] = '\0';
    if (error == BUS_ERR_NONE || error == BUS_ERR_COORDINATOR_NOT_AVAILABLE)
        gs_heard(gs, gs->event_id);
}

static void
joined(void *context, struct group_waiter *waiter, const struct group_joined *told)
{
    struct gs *gs = context;
    struct gs_connection *connection = (struct gs_connection *)(void *)waiter;
    struct gs_message message = {.kind = GS_JOIN, .error = told->error};
    copy(message.id, told->member_id);
    if (told->group) {
        message.generation = told->group->generation;
        message.leads = strcmp(told->leader, told->member_id) == 0;
        message.skips = told->skips_assignment;
        if (told->lists_members)
            list_members(&message, told->group);
    }
    answered(gs, connection->join_id, told->error);
    answer(gs, connection->client, connection->revision, &message);
}

static uint32_t
bits(struct bytes assignment)
{
    uint32_t partitions = 0;
    if (assignment.len == (int32_t)sizeof partitions)
        memcpy(&partitions, assignment.data, sizeof partitions);
    return partitions;
}

static void
synced(void *context, struct group_waiter *waiter, const struct group_synced *told)
{
    struct gs *gs = context;
    struct gs_connection *connection = (struct gs_connection *)(void *)(waiter - 1);
    const struct gs_client *c = &gs->clients[connection->client];
    struct gs_message message = {.kind = GS_SYNC, .error = told->error};
    answered(gs, connection->sync_id, told->error);
    if (told->group) {
        message.partitions = bits(told->assignment);
        message.generation = told->group->generation;
        gs_watch_synced(gs, c->group, c->instance[0] ? c->instance : c->id, message.partitions);
    }
    answer(gs, connection->client, connection->revision, &message);
}

static void
make_image(struct gs_image *image, const struct group *group)
{
    *image = (struct gs_image){.generation = group->generation, .known = true};
    copy(image->protocol, group->protocol);
    copy(image->leader, group->leader ? group->leader->id : NULL);
    for (const struct group_member *m = group->first; m; m = m->next) {
        struct gs_member *to = &image->members[image->member_count++];
        struct bytes metadata = group_member_metadata(m);
        copy(to->id, m->id);
        copy(to->instance, m->instance_id);
        to->session_ms = m->session_timeout_ms;
        to->rebalance_ms = m->rebalance_timeout_ms;
        to->subscription = metadata.len > 0 ? metadata.data[0] : 0;
        to->partitions = bits(m->assignment);
    }
}

/** Records become durable in their order. */
static struct gs_save *
queue_save(struct gs *gs, int group)
{
    struct sim *sim = gs->sim;
    int64_t at_ms = sim->now_ms + sim_between(sim, 0, gs->faulty && sim_chance(sim, 20) ? 800 : 3);
    sim_must(sim, gs->save_count < GS_SAVES, "the simulator has too many saves");
    if (gs->save_count == GS_SAVES)
        gs->save_count--;
    if (at_ms < gs->save_ms)
        at_ms = gs->save_ms;
    gs->save_ms = at_ms;
    gs_after(gs, at_ms - sim->now_ms, GS_SAVED, -1);
    struct gs_save *save = &gs->saves[gs->save_count++];
    *save = (struct gs_save){.group = group};
    return save;
}

static int
save_group(void *context, const struct group *group, uint64_t number)
{
    struct gs *gs = context;
    if (gs->faulty && sim_chance(gs->sim, 3))
        return -BUS_ERR_DISK_FULL;
    struct gs_save *save = queue_save(gs, group_number(group->id));
    save->number = number;
    make_image(&save->image, group);
    sim_tell(gs->sim, "  %s: generation %" PRId32 " with %d members is being saved", group->id,
        group->generation, save->image.member_count);
    return 0;
}

/* ---- the coordinator: storage --------------------------------------------------------------- */

static void
apply_save(struct gs *gs, const struct gs_save *save)
{
    if (save->number) {
        gs_watch_image(gs, save);
        gs->images[save->group] = save->image;
        return;
    }
    gs_watch_commit(gs, save);
    for (int i = 0; i < GS_PARTITIONS; i++)
        if (save->partitions >> i & 1)
            gs->committed[save->group][i] = save->offsets[i];
}

static void
end_save(struct gs *gs)
{
    if (gs->save_count == 0)
        return;
    struct gs_save save = gs->saves[0];
    bool fails = gs->faulty && sim_chance(gs->sim, 3);
    gs->save_count--;
    memmove(&gs->saves[0], &gs->saves[1], (size_t)gs->save_count * sizeof save);
    if (!fails)
        apply_save(gs, &save);
    if (save.number) {
        groups_saved(&gs->groups, gs->sim->now_ms, gs_group_name(save.group), save.number,
            fails ? -BUS_ERR_DISK_FULL : 0);
    } else if (connection_of(gs, save.connection)) {
        struct gs_message message = {
            .kind = GS_COMMIT, .error = fails ? BUS_ERR_COORDINATOR_NOT_AVAILABLE : BUS_ERR_NONE};
        answer(gs, save.client, save.revision, &message);
    }
}

static const struct group_rules rules = {
    .initial_delay_ms = INITIAL_DELAY_MS,
    .session_min_ms = 6000,
    .session_max_ms = 1800000,
    .size_max = GS_CLIENTS,
    .groups_max = 10,
    .bytes_max = 1 << 20,
};

static void
start_coordinator(struct gs *gs)
{
    struct group_ops ops = {joined, synced, save_group, gs};
    groups_init(&gs->groups, &ops, &rules);
    gs->up = true;
    gs->late_ms = 0;
}

static void
restore(struct gs *gs, int number)
{
    const struct gs_image *image = &gs->images[number];
    struct group_image_member members[GS_CLIENTS];
    struct group_image saved = {.id = gs_group_name(number),
        .protocol_type = "consumer",
        .protocol = image->protocol,
        .leader = image->leader,
        .generation = image->generation,
        .members = members,
        .member_count = image->member_count};
    for (int i = 0; i < image->member_count; i++) {
        const struct gs_member *m = &image->members[i];
        members[i] = (struct group_image_member){.id = m->id,
            .instance_id = m->instance[0] ? m->instance : NULL,
            .session_timeout_ms = m->session_ms,
            .rebalance_timeout_ms = m->rebalance_ms,
            .subscription = {&m->subscription, 1},
            .assignment = {(const uint8_t *)&m->partitions, (int32_t)sizeof m->partitions}};
        gs_heard(gs, m->id);
    }
    int rc = groups_restore(&gs->groups, gs->sim->now_ms, &saved);
    sim_must(gs->sim, rc == 0, "group %s cannot be restored", saved.id);
}

static void
drop_events(struct gs *gs, enum gs_event_kind kind)
{
    for (int i = 0; i < gs->event_count; i++)
        if (gs->events[i].kind == kind)
            gs->events[i--] = gs->events[--gs->event_count];
}

/** The process is gone: of what was on its way to the disk some may have arrived. */
static void
crash(struct gs *gs)
{
    struct group_ops deaf = gs->groups.ops;
    int durable = (int)sim_pick(gs->sim, (uint32_t)gs->save_count + 1);
    sim_tell(gs->sim, "the coordinator dies; %d of %d saves are durable", durable, gs->save_count);
    for (int i = 0; i < durable; i++)
        apply_save(gs, &gs->saves[i]);
    gs->save_count = 0;
    gs->save_ms = 0;
    drop_events(gs, GS_SAVED);
    for (int i = 0; i < GS_CONNECTIONS; i++) {
        struct gs_connection *connection = &gs->connections[i];
        if (connection->join.member)
            connection->join.member->join = NULL;
        if (connection->sync.member)
            connection->sync.member->sync = NULL;
        *connection = (struct gs_connection){0};
    }
    groups_fini(&gs->groups);
    gs->groups = (struct groups){.ops = deaf};
    gs->up = false;
    gs->stalled_ms = 0;
}

static void
boot(struct gs *gs)
{
    if (gs->up)
        return;
    sim_tell(gs->sim, "the coordinator is back");
    start_coordinator(gs);
    /* Nothing of what was sent to the dead process reaches this one. */
    drop_events(gs, GS_HANGUP);
    drop_events(gs, GS_ARRIVES);
    memset(gs->connections, 0, sizeof gs->connections);
    for (int i = 0; i < GS_GROUPS; i++)
        if (gs->images[i].known)
            restore(gs, i);
    gs_watch_restart(gs);
    for (int i = 0; i < GS_CLIENTS; i++) {
        gs->clients[i].connection = 0;
        gs_reconnect(gs, i);
    }
}

/* ---- the coordinator: requests -------------------------------------------------------------- */

static void
do_join(struct gs *gs, int client, struct gs_connection *connection, const struct gs_message *m)
{
    static const char *const names[] = {"range", "sticky"};
    const struct gs_client *c = &gs->clients[client];
    struct group_protocol protocols[2];
    char fresh[GS_TEXT];
    sim_must(gs->sim, gs->ids < GS_IDS - 1, "the simulator has too few member ids");
    snprintf(fresh, sizeof fresh, "m%d", ++gs->ids % GS_IDS);
    gs->added_ms[gs->ids % GS_IDS] = gs->heard_ms[gs->ids % GS_IDS] = gs->sim->now_ms;
    for (int i = 0; i < 2; i++)
        protocols[i] = (struct group_protocol){names[(client + i) % 2], {&c->subscription, 1}};
    struct group_join join = {
        .group_id = gs_group_name(c->group),
        .member_id = m->id,
        .instance_id = c->instance[0] ? c->instance : NULL,
        .fresh_id = fresh,
        .client_id = "client",
        .client_host = "host",
        .protocol_type = "consumer",
        .protocols = protocols,
        .protocol_count = 2,
        .session_timeout_ms = c->session_ms,
        .rebalance_timeout_ms = c->rebalance_ms,
        .needs_known_id = c->version >= 4,
        .skips_assignment = c->version >= 9,
    };
    copy(gs->event_id, m->id[0] ? m->id : fresh);
    group_join(&gs->groups, gs->sim->now_ms, &join, &connection->join);
    if (connection->join.member)
        copy(connection->join_id, connection->join.member->id);
}

static void
do_sync(struct gs *gs, struct gs_connection *connection, const struct group_claim *claim,
    const struct gs_message *m)
{
    struct group_share shares[GS_CLIENTS];
    for (int i = 0; i < m->member_count; i++)
        shares[i] = (struct group_share){m->members[i].id,
            {(const uint8_t *)&m->members[i].partitions, (int32_t)sizeof m->members[i].partitions}};
    struct group_sync sync = {.claim = *claim, .shares = shares, .share_count = m->member_count};
    group_sync(&gs->groups, gs->sim->now_ms, &sync, &connection->sync);
    if (connection->sync.member) {
        copy(connection->sync_id, m->id);
        gs_heard(gs, m->id);
    }
}

static void
do_commit(struct gs *gs, const struct gs_event *event, const struct group_claim *claim)
{
    const struct gs_client *c = &gs->clients[event->client];
    struct gs_message told = {
        .kind = GS_COMMIT, .error = group_commit(&gs->groups, gs->sim->now_ms, claim)};
    if (told.error) {
        answer(gs, event->client, event->revision, &told);
        return;
    }
    gs_heard(gs, event->message.id);
    struct gs_save *save = queue_save(gs, c->group);
    save->partitions = event->message.partitions;
    memcpy(save->offsets, event->message.offsets, sizeof save->offsets);
    save->client = event->client;
    save->connection = event->connection;
    save->revision = event->revision;
}

static void
do_simple(struct gs *gs, const struct gs_event *event, const struct group_claim *claim)
{
    const struct gs_client *c = &gs->clients[event->client];
    struct gs_message told = {.kind = event->message.kind};
    if (told.kind == GS_BEAT)
        told.error = group_heartbeat(&gs->groups, gs->sim->now_ms, claim);
    else if (told.kind == GS_LEAVE)
        told.error = group_leave(&gs->groups, gs->sim->now_ms, claim);
    else
        memcpy(told.offsets, gs->committed[c->group], sizeof told.offsets);
    if (told.kind == GS_BEAT &&
        (told.error == BUS_ERR_NONE || told.error == BUS_ERR_REBALANCE_IN_PROGRESS))
        gs_heard(gs, event->message.id);
    answer(gs, event->client, event->revision, &told);
}

static void
arrive(struct gs *gs, const struct gs_event *event)
{
    static const char *const names[] = {"join", "sync", "beat", "commit", "fetch", "leave"};
    struct gs_connection *connection = connection_of(gs, event->connection);
    const struct gs_client *c = &gs->clients[event->client];
    const struct gs_message *m = &event->message;
    if (!connection || !gs->up)
        return;
    sim_tell(gs->sim, "client %d of %s, %s %s: %s, generation %" PRId32, event->client,
        gs_group_name(c->group), c->instance[0] ? c->instance : "dynamic", m->id, names[m->kind],
        m->generation);
    struct group_claim claim = {
        gs_group_name(c->group), m->id, c->instance[0] ? c->instance : NULL, m->generation};
    connection->revision = event->revision;
    copy(gs->event_id, m->id);
    if (m->kind == GS_JOIN)
        do_join(gs, event->client, connection, m);
    else if (m->kind == GS_SYNC)
        do_sync(gs, connection, &claim, m);
    else if (m->kind == GS_COMMIT)
        do_commit(gs, event, &claim);
    else
        do_simple(gs, event, &claim);
    gs_watch_all(gs);
}

/* ---- mishaps -------------------------------------------------------------------------------- */

static void
befall_client(struct gs *gs, int client)
{
    struct gs_client *c = &gs->clients[client];
    if (!c->alive) {
        gs_client_start(gs, client);
        return;
    }
    switch (sim_pick(gs->sim, 5)) {
    case 0:
        gs_client_kill(gs, client);
        return;
    case 1:
        c->stopped_ms = gs->sim->now_ms + sim_between(gs->sim, 0, 2 * c->session_ms);
        sim_tell(gs->sim, "client %d stands still until %" PRId64, client, c->stopped_ms);
        return;
    case 2: /* it is told to end; its next act is the last but one */
        c->phase = c->phase == GS_RUNNING ? GS_LEAVING : c->phase;
        return;
    case 3:
        c->subscription++;
        if (c->phase == GS_RUNNING)
            c->phase = GS_JOINING;
        return;
    default:
        gs_reconnect(gs, client);
        gs_after(gs, 100, GS_WAKE, client)->revision = ++c->revision;
        return;
    }
}

static void
befall(struct gs *gs)
{
    struct sim *sim = gs->sim;
    if (!gs->faulty)
        return;
    gs_after(gs, sim_between(sim, 1, 6000), GS_MISHAP, -1);
    if (gs->up && sim_chance(sim, 5)) {
        crash(gs);
        gs_after(gs, sim_between(sim, 1, 5000), GS_BOOT, -1);
    } else if (gs->up && gs->stalled_ms <= sim->now_ms && sim_chance(sim, 5)) {
        gs->stalled_ms = sim->now_ms + sim_between(sim, 1, 40000);
        gs->late_ms += gs->stalled_ms - sim->now_ms + 2 * GROUP_STALL_MS;
        sim_tell(sim, "the coordinator stands still until %" PRId64, gs->stalled_ms);
    } else {
        befall_client(gs, (int)sim_pick(sim, GS_CLIENTS));
    }
}

/* ---- time goes on --------------------------------------------------------------------------- */

static void
happen(struct gs *gs, const struct gs_event *event)
{
    struct gs_client *c = event->client >= 0 ? &gs->clients[event->client] : NULL;
    gs->event_id[0] = '\0';
    switch (event->kind) {
    case GS_ARRIVES:
        arrive(gs, event);
        return;
    case GS_ANSWER:
        if (c->alive && event->revision == c->revision)
            gs_client_take(gs, event->client, &event->message);
        return;
    case GS_TIMEOUT:
        if (!c->alive || event->revision != c->revision)
            return;
        gs_reconnect(gs, event->client);
        gs_client_act(gs, event->client);
        return;
    case GS_WAKE:
        if (c->alive && event->revision == c->revision)
            gs_client_act(gs, event->client);
        return;
    case GS_HANGUP:
        hang_up(gs, event->connection);
        break;
    case GS_SAVED:
        end_save(gs);
        break;
    case GS_BOOT:
        boot(gs);
        break;
    case GS_MISHAP:
        befall(gs);
        return;
    }
    gs_watch_all(gs);
}

/** Until when the event has to wait, because who it is for stands still or is away. */
static int64_t
held_until_ms(const struct gs *gs, const struct gs_event *event)
{
    bool daemon = event->kind == GS_ARRIVES || event->kind == GS_HANGUP || event->kind == GS_SAVED;
    if (event->kind == GS_MISHAP || event->kind == GS_BOOT)
        return 0;
    return daemon ? gs->stalled_ms : gs->clients[event->client].stopped_ms;
}

/** The next event, or the next timer of the coordinator, whichever is first; none after `end_ms`.
 */
static bool
advance(struct gs *gs, int64_t end_ms)
{
    struct sim *sim = gs->sim;
    int first = first_event(gs);
    struct gs_event event = gs->events[first];
    int64_t tick_ms = gs->up ? groups_deadline_ms(&gs->groups) : INT64_MAX;
    if (tick_ms < gs->stalled_ms)
        tick_ms = gs->stalled_ms;
    if ((tick_ms < event.at_ms ? tick_ms : event.at_ms) > end_ms)
        return false;
    sim->step++;
    if (tick_ms <= event.at_ms) {
        sim->now_ms = tick_ms > sim->now_ms ? tick_ms : sim->now_ms;
        gs->event_id[0] = '\0';
        gs->in_tick = true;
        groups_tick(&gs->groups, sim->now_ms);
        gs_watch_all(gs);
        gs->in_tick = false;
        return true;
    }
    sim->now_ms = event.at_ms;
    if (held_until_ms(gs, &event) > sim->now_ms) {
        gs->events[first].at_ms = held_until_ms(gs, &event);
        gs->events[first].held = true;
        return true;
    }
    gs->events[first] = gs->events[--gs->event_count];
    happen(gs, &event);
    return true;
}

static void
heal(struct gs *gs)
{
    sim_tell(gs->sim, "all faults end");
    gs->faulty = false;
    gs->stalled_ms = gs->sim->now_ms;
    if (!gs->up)
        gs_after(gs, 0, GS_BOOT, -1);
    for (int i = 0; i < GS_CLIENTS; i++)
        gs->clients[i].stopped_ms = gs->sim->now_ms;
    for (int i = 0; i < gs->event_count; i++)
        if (gs->events[i].held)
            gs->events[i].at_ms = gs->sim->now_ms;
}

/** The fates of clients, and which of them are the same static member started twice. */
static void
populate(struct gs *gs)
{
    struct sim *sim = gs->sim;
    for (int i = 0; i < GS_CLIENTS; i++) {
        struct gs_client *c = &gs->clients[i];
        c->group = i % GS_GROUPS;
        c->version = (int)sim_pick(sim, 10);
        c->session_ms = (int32_t)sim_between(sim, 6000, 30000);
        c->rebalance_ms = (int32_t)sim_between(sim, 1000, 60000);
        if (sim_chance(sim, 40))
            snprintf(c->instance, sizeof c->instance, "i%d-%d", c->group,
                (int)sim_pick(sim, GS_CLIENTS / 2));
        if (sim_chance(sim, 50))
            gs_client_start(gs, i);
    }
}

static void
run(struct sim *sim)
{
    struct gs *gs = calloc(1, sizeof *gs);
    struct gs_event *events = calloc(GS_EVENTS, sizeof *events);
    if (!gs || !events) {
        sim_must(sim, false, "no memory");
    } else {
        gs->sim = sim;
        gs->events = events;
        gs->faulty = true;
        start_coordinator(gs);
        populate(gs);
        gs_after(gs, 1000, GS_MISHAP, -1);
        while (!sim->failed && sim->step < sim->steps && advance(gs, INT64_MAX))
            ;
        heal(gs);
        int64_t end_ms = sim->now_ms + HEAL_MS;
        while (!sim->failed && advance(gs, end_ms))
            ;
        gs_watch_healed(gs);
        while (!sim->failed && advance(gs, end_ms + CALM_MS))
            gs_watch_healed(gs);
        crash(gs);
    }
    free(events);
    free(gs);
}

const struct sim_world sim_groups = {"groups",
    "one owner of a partition, nothing goes back, sessions end in time, all end up stable", 4000,
    200, run};
