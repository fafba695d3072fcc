/* SPDX-License-Identifier: Apache-2.0
 * A consumer of the world of groups: joins, gets its share, reads, commits.
 */
#include "sim/group_sim.h"

#include <stdio.h>
#include <string.h>

enum { RETRY_MS = 100 };

static void
later(struct gs *gs, int client, int64_t delay_ms)
{
    gs_after(gs, delay_ms, GS_WAKE, client)->revision = ++gs->clients[client].revision;
}

void
gs_client_start(struct gs *gs, int client)
{
    struct gs_client *c = &gs->clients[client];
    sim_tell(gs->sim, "client %d starts", client);
    c->alive = true;
    c->phase = GS_JOINING;
    c->id[0] = '\0';
    c->generation = -1;
    c->partitions = 0;
    c->stopped_ms = 0;
    gs_reconnect(gs, client);
    later(gs, client, 1);
}

void
gs_client_kill(struct gs *gs, int client)
{
    struct gs_client *c = &gs->clients[client];
    sim_tell(gs->sim, "client %d dies", client);
    c->alive = false;
    c->stopped_ms = 0;
    c->revision++;
    gs_reconnect(gs, client);
}

/* ---- asking --------------------------------------------------------------------------------- */

/** Every member its partitions, in turn. */
static void
share_out(const struct gs_client *c, struct gs_message *message)
{
    message->member_count = c->member_count;
    memcpy(message->members, c->members, sizeof message->members);
    for (int i = 0; i < GS_PARTITIONS && c->member_count > 0; i++)
        message->members[i % c->member_count].partitions |= UINT32_C(1) << i;
}

static void
ask(struct gs *gs, int client, enum gs_kind kind)
{
    struct gs_client *c = &gs->clients[client];
    struct gs_message message = {.kind = kind, .generation = c->generation};
    memcpy(message.id, c->id, GS_TEXT);
    if (kind == GS_SYNC && c->leads && !c->skips)
        share_out(c, &message);
    if (kind == GS_COMMIT) {
        message.partitions = c->partitions;
        memcpy(message.offsets, c->positions, sizeof message.offsets);
    }
    gs_send(gs, client, &message);
}

/** Reads on in what is its own. */
static void
read_on(struct gs *gs, struct gs_client *c)
{
    for (int i = 0; i < GS_PARTITIONS; i++)
        if (c->partitions >> i & 1)
            c->positions[i] += sim_pick(gs->sim, 10);
}

void
gs_client_act(struct gs *gs, int client)
{
    static const enum gs_kind kinds[] = {GS_JOIN, GS_SYNC, GS_FETCH, GS_BEAT, GS_LEAVE};
    struct gs_client *c = &gs->clients[client];
    if (c->phase == GS_RUNNING) {
        read_on(gs, c);
        ask(gs, client, c->partitions && sim_chance(gs->sim, 40) ? GS_COMMIT : GS_BEAT);
    } else {
        ask(gs, client, kinds[c->phase]);
    }
}

/* ---- answers -------------------------------------------------------------------------------- */

/** What is not a member any more owns nothing. */
static void
forget(struct gs_client *c)
{
    c->id[0] = '\0';
    c->generation = -1;
    c->partitions = 0;
}

/** What an error means for whoever gets it, whatever it asked. */
static void
suffer(struct gs *gs, int client, enum bus_err error)
{
    struct gs_client *c = &gs->clients[client];
    switch (error) {
    case BUS_ERR_MEMBER_ID_REQUIRED:
        later(gs, client, 0);
        return;
    case BUS_ERR_FENCED_INSTANCE_ID:
        gs_client_kill(gs, client);
        return;
    case BUS_ERR_UNKNOWN_MEMBER_ID:
    case BUS_ERR_GROUP_ID_NOT_FOUND:
        forget(c);
        break;
    case BUS_ERR_ILLEGAL_GENERATION:
    case BUS_ERR_REBALANCE_IN_PROGRESS:
        break;
    case BUS_ERR_COORDINATOR_NOT_AVAILABLE:
        later(gs, client, RETRY_MS);
        return;
    default:
        sim_must(gs->sim, false, "client %d: error %d is not to be expected", client, (int)error);
        return;
    }
    c->phase = GS_JOINING;
    later(gs, client, RETRY_MS);
}

static void
take_joined(struct gs *gs, int client, const struct gs_message *answer)
{
    struct gs_client *c = &gs->clients[client];
    if (c->generation != answer->generation)
        c->partitions = 0;
    c->generation = answer->generation;
    c->leads = answer->leads && answer->member_count > 0;
    c->skips = answer->skips;
    c->member_count = answer->member_count;
    memcpy(c->members, answer->members, sizeof c->members);
    c->phase = GS_SYNCING;
    later(gs, client, sim_between(gs->sim, 0, gs->faulty && sim_chance(gs->sim, 10) ? 5000 : 5));
}

static void
take_synced(struct gs *gs, int client, const struct gs_message *answer)
{
    struct gs_client *c = &gs->clients[client];
    sim_must(gs->sim, answer->generation == c->generation,
        "client %d asked for generation %d and was given %d", client, (int)c->generation,
        (int)answer->generation);
    /* What it had of this generation already it goes on with; a position does not go back. */
    bool has_all = (answer->partitions & ~c->partitions) == 0;
    c->partitions = has_all ? answer->partitions : 0;
    c->assigned = answer->partitions;
    c->phase = has_all ? GS_RUNNING : GS_FETCHING;
    later(gs, client, 0);
}

static void
take_fetched(struct gs *gs, int client, const struct gs_message *answer)
{
    struct gs_client *c = &gs->clients[client];
    c->partitions = c->assigned;
    memcpy(c->positions, answer->offsets, sizeof c->positions);
    c->phase = GS_RUNNING;
    later(gs, client, 0);
}

void
gs_client_take(struct gs *gs, int client, const struct gs_message *answer)
{
    struct gs_client *c = &gs->clients[client];
    sim_tell(gs->sim, "client %d gets answer %d: error %d %s", client, (int)answer->kind,
        (int)answer->error, answer->id);
    if (answer->kind == GS_JOIN &&
        (answer->error == BUS_ERR_NONE || answer->error == BUS_ERR_MEMBER_ID_REQUIRED))
        memcpy(c->id, answer->id, GS_TEXT);
    if (answer->kind == GS_LEAVE) {
        gs_client_kill(gs, client);
    } else if (answer->error) {
        suffer(gs, client, answer->error);
    } else if (answer->kind == GS_JOIN) {
        take_joined(gs, client, answer);
    } else if (answer->kind == GS_SYNC) {
        take_synced(gs, client, answer);
    } else if (answer->kind == GS_FETCH) {
        take_fetched(gs, client, answer);
    } else {
        later(gs, client, sim_between(gs->sim, c->session_ms / 10, c->session_ms / 3));
    }
}
