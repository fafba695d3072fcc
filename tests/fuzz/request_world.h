/* SPDX-License-Identifier: Apache-2.0
 * A busd without doors and threads, in a folder of its own in memory, for the fuzzer of requests:
 * its clock stands until it is told to go on, its answers are kept to be looked at.
 */
#ifndef FUZZ_REQUEST_WORLD_H
#define FUZZ_REQUEST_WORLD_H

#include "api/api.h"
#include "cluster/controller.h"
#include "core/access.h"
#include "core/quota.h"

enum {
    FUZZ_PEERS = 3, /* busd's own user, a stranger, and somebody at the Kafka door */
    FUZZ_UID = 1000,
    FUZZ_STRANGER = 2000,
    FUZZ_NODE = 1,
    FUZZ_FOLDER_BYTES = 64,
};

struct fuzz_peer {
    struct api_peer peer; /* first: the ops find the rest by it */
    struct quota quota;
    struct api_answer answer; /* the last one */
    int answers;              /* since the request was sent */
    int kick_fd;
};

struct fuzz_world {
    char folder[FUZZ_FOLDER_BYTES];
    struct settings fixed;
    struct access_names names;
    struct meta *meta;
    struct controller controller;
    struct store *store;
    struct api *api;
    struct fuzz_peer peers[FUZZ_PEERS];
    int64_t mono_ms, wall_ms;
};

/** Makes a world; aborts when that does not work. */
void fuzz_world_init(struct fuzz_world *w);

/** Ends it and removes its folder. */
void fuzz_world_fini(struct fuzz_world *w);

/** Time passes, and the api looks at what is parked. */
void fuzz_world_pass(struct fuzz_world *w, int64_t ms);

/** The bytes of the answer of a peer as a door would send them, without the size prefix; NULL when
 * none came or it is empty. Good until the next request of the peer. */
const uint8_t *fuzz_world_answer(struct fuzz_peer *peer, size_t *n);

#endif
