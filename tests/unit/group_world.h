/* SPDX-License-Identifier: Apache-2.0
 * A group coordinator with a fake clock and a fake storage, and clients whose answers are kept.
 */
#ifndef UNIT_GROUP_WORLD_H
#define UNIT_GROUP_WORLD_H

#include "core/group.h"
#include "unit/unit.h"

enum {
    GW_CLIENTS = 12,
    GW_SAVES = 64,
    GW_TEXT = 64,
};

/** What a client asks, and the last answer that it got. */
struct gw_client {
    struct group_waiter join, sync; /* first: the coordinator gives their addresses back */
    char id[GW_TEXT];               /* its member id; "" none yet */
    const char *instance_id;
    const char *metadata;
    int32_t session_timeout_ms, rebalance_timeout_ms;
    int version;      /* of JoinGroup */
    int joins, syncs; /* answers that came */
    enum bus_err error;
    int32_t generation;
    char protocol[GW_TEXT], leader[GW_TEXT], assignment[GW_TEXT];
    char members[1024]; /* "id=metadata " for each listed */
    bool skips_assignment;
};

struct gw_save {
    char group[GW_TEXT];
    uint64_t number;
    int32_t generation, members;
};

struct gw {
    struct groups groups;
    int64_t now_ms;
    struct gw_client clients[GW_CLIENTS];
    int fresh; /* ids made */
    struct gw_save saves[GW_SAVES];
    int save_count;
    int save_outcome; /* what ops.save says; 0: gw_saved() is to be called */
};

/** A coordinator without groups: initial delay 3 s, sessions of 6 s to 30 min, 10 members. */
void gw_init(struct gw *w);

/** Ends it; fails the test when memory is still charged. */
void gw_fini(struct gw *w);

/** Lets time pass, timer by timer. */
void gw_pass(struct gw *w, int64_t ms);

/** Client `who` joins group "g" with the protocols, separated by commas. Its answers count. */
void gw_join(struct gw *w, int who, const char *protocols);

/** gw_join(), and again with the id that it was given. */
void gw_enter(struct gw *w, int who, const char *protocols);

/** Client `who` syncs for its generation; a leader's shares are "client=text" pieces. */
void gw_sync(struct gw *w, int who, const char *shares);

/** The heartbeat of a client. */
enum bus_err gw_beat(struct gw *w, int who);

/** Ends the oldest save with this result. */
void gw_saved(struct gw *w, int rc);

/** The group "g", or NULL. */
struct group *gw_group(struct gw *w);

/** Clients 0 … count-1 join, sync and are stable in one generation; client 0 leads. */
void gw_stable(struct gw *w, int count);

/** A claim of the client. */
struct group_claim gw_claim(struct gw *w, int who);

#endif
