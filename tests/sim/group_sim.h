/* SPDX-License-Identifier: Apache-2.0
 * The world of consumer groups: clients, a network that loses and delays, a coordinator that stops
 * and starts again, a log that makes things durable in their order.
 *
 * A connection carries one request at a time. What was sent on a connection arrives before it is
 * seen to be closed, or never: so the daemon, too, reads what a socket holds before its end.
 */
#ifndef SIM_GROUP_SIM_H
#define SIM_GROUP_SIM_H

#include "core/group.h"
#include "sim/sim.h"

enum {
    GS_GROUPS = 2,
    GS_CLIENTS = 12,
    GS_PARTITIONS = 6, /* of the topic that a group reads */
    GS_TEXT = 16,
    GS_EVENTS = 1024,
    GS_CONNECTIONS = 512,
    GS_SAVES = 256,
    GS_GENERATIONS = 2048, /* of a group that are watched */
    GS_IDS = 16384,        /* member ids that may be given out */
};

/** A request or an answer; what does not belong to the kind is zero. */
enum gs_kind {
    GS_JOIN,
    GS_SYNC,
    GS_BEAT,
    GS_COMMIT,
    GS_FETCH,
    GS_LEAVE,
};

struct gs_share {
    char id[GS_TEXT];
    uint32_t partitions; /* a bit for each */
};

struct gs_message {
    enum gs_kind kind;
    enum bus_err error;
    char id[GS_TEXT];
    int32_t generation;
    bool leads;
    bool skips;                          /* the leader leaves the assignment as it is */
    struct gs_share members[GS_CLIENTS]; /* for the leader; its shares */
    int member_count;
    uint32_t partitions; /* assigned */
    int64_t offsets[GS_PARTITIONS];
};

enum gs_phase { GS_JOINING, GS_SYNCING, GS_FETCHING, GS_RUNNING, GS_LEAVING };

struct gs_client {
    int group;
    bool alive;
    char instance[GS_TEXT]; /* "" dynamic */
    int version;            /* of JoinGroup */
    int32_t session_ms, rebalance_ms;
    uint8_t subscription;
    int64_t stopped_ms; /* the process stands still until then */

    enum gs_phase phase;
    char id[GS_TEXT];
    int32_t generation;
    bool leads, skips;
    struct gs_share members[GS_CLIENTS];
    int member_count;
    uint32_t assigned, partitions; /* the latter with a position */
    int64_t positions[GS_PARTITIONS];
    int64_t revision; /* of what it waits for: answers to anything earlier are too late */
    int connection;
};

enum gs_event_kind {
    GS_ARRIVES, /* a request, at the coordinator */
    GS_ANSWER,  /* at the client */
    GS_TIMEOUT, /* the client has waited long enough */
    GS_WAKE,    /* the client goes on */
    GS_HANGUP,  /* the coordinator sees that a connection is closed */
    GS_SAVED,   /* the oldest save is durable */
    GS_BOOT,    /* the coordinator is back */
    GS_MISHAP,  /* something happens to somebody */
};

struct gs_event {
    int64_t at_ms;
    uint64_t order; /* of those at the same time */
    enum gs_event_kind kind;
    int client;
    int connection;
    int64_t revision;
    bool held; /* it has arrived and waits, for the daemon stands still */
    struct gs_message message;
};

struct gs_connection {
    struct group_waiter join, sync; /* the coordinator gives their addresses back */
    int number, client;
    int64_t revision;                        /* of the parked request */
    char join_id[GS_TEXT], sync_id[GS_TEXT]; /* whose requests are parked; "" none is */
    bool open;
};

/** What the topic has of a group. */
struct gs_image {
    int32_t generation;
    char protocol[GS_TEXT], leader[GS_TEXT]; /* "" none */
    struct gs_member {
        char id[GS_TEXT], instance[GS_TEXT];
        int32_t session_ms, rebalance_ms;
        uint8_t subscription;
        uint32_t partitions;
    } members[GS_CLIENTS];
    int member_count;
    bool known;
};

/** A record on its way to the disk. */
struct gs_save {
    int group;
    uint64_t number; /* 0: a commit */
    struct gs_image image;
    uint32_t partitions;
    int64_t offsets[GS_PARTITIONS];
    int client, connection; /* who waits for a commit */
    int64_t revision;
};

/** What is watched of a group. */
struct gs_watch {
    enum group_state state; /* and since when */
    int64_t since_ms, patience_ms;
    int64_t sync_ms;    /* until then members may ask for their assignment */
    int32_t generation; /* in this life of the coordinator */
    int32_t synced;     /* the highest that an assignment was given for, ever */
    char owners[GS_GENERATIONS][GS_PARTITIONS][GS_TEXT];
    struct gs_seen {
        char id[GS_TEXT], instance[GS_TEXT];
        int32_t session_ms;
        bool parked;
        bool synced; /* has asked for its assignment, or need not */
    } members[GS_CLIENTS];
    int member_count;
};

struct gs {
    struct sim *sim;
    struct groups groups;
    bool up;
    bool faulty;        /* mishaps, losses, long delays */
    int64_t stalled_ms; /* the coordinator stands still until then */
    int64_t late_ms;    /* how much later a session may end because it stood still */
    struct gs_client clients[GS_CLIENTS];
    struct gs_event *events; /* GS_EVENTS */
    int event_count;
    uint64_t order;
    struct gs_connection connections[GS_CONNECTIONS];
    int last_connection;
    struct gs_save saves[GS_SAVES];
    int save_count;
    int64_t save_ms; /* when the newest of them is durable */
    struct gs_image images[GS_GROUPS];
    int64_t committed[GS_GROUPS][GS_PARTITIONS];
    int ids;                  /* given out */
    int64_t heard_ms[GS_IDS]; /* when the coordinator last had to do with a member */
    int64_t added_ms[GS_IDS];
    struct gs_watch watches[GS_GROUPS];
    char event_id[GS_TEXT]; /* whom the event at the coordinator is about; "" nobody */
    bool in_tick;
};

/* ---- groups.c: time, network, coordinator --------------------------------------------------- */

/** The name of a group; static. */
const char *gs_group_name(int group);

/** Adds an event `delay_ms` from now; the caller fills the rest in. */
struct gs_event *gs_after(struct gs *gs, int64_t delay_ms, enum gs_event_kind kind, int client);

/** Sends the client's request on its connection. */
void gs_send(struct gs *gs, int client, const struct gs_message *message);

/** The client closes its connection and has a new one. */
void gs_reconnect(struct gs *gs, int client);

/* ---- group_client.c ------------------------------------------------------------------------- */

/** A process starts. */
void gs_client_start(struct gs *gs, int client);

/** It ends without a word. */
void gs_client_kill(struct gs *gs, int client);

/** It does what comes next. */
void gs_client_act(struct gs *gs, int client);

/** It has an answer. */
void gs_client_take(struct gs *gs, int client, const struct gs_message *answer);

/* ---- group_watch.c -------------------------------------------------------------------------- */

/** The coordinator had to do with the member. */
void gs_heard(struct gs *gs, const char *id);

/** What must hold after each event at the coordinator. */
void gs_watch_all(struct gs *gs);

/** The coordinator has come back: what it had not saved is gone. */
void gs_watch_restart(struct gs *gs);

/** What an assignment that is given out must be. */
void gs_watch_synced(struct gs *gs, int group, const char *owner, uint32_t partitions);

/** A commit comes into force. */
void gs_watch_commit(struct gs *gs, const struct gs_save *save);

/** A group's metadata come into force. */
void gs_watch_image(struct gs *gs, const struct gs_save *save);

/** All is well since a while: every client that lives is in a stable group. */
void gs_watch_healed(struct gs *gs);

#endif
