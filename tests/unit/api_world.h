/* SPDX-License-Identifier: Apache-2.0
 * A busd without doors, threads and real time: controller, store and api in a folder of their own,
 * and peers whose frames are made and whose answers are read by the test.
 */
#ifndef UNIT_API_WORLD_H
#define UNIT_API_WORLD_H

#include "api/api.h"
#include "cluster/controller.h"
#include "core/access.h"
#include "core/quota.h"
#include "protocol/frame.h"
#include "protocol/wire.h"
#include "record/builder.h"
#include "run/loop.h"
#include "run/worker.h"
#include "store/log.h"
#include "unit/unit.h"

#include <pthread.h>

enum {
    WORLD_PEERS = 3,
    WORLD_CHECKPOINTS = 64,
    WORLD_UID = 1000,      /* of busd, and of peer 0 */
    WORLD_STRANGER = 2000, /* of peer 1; peer 2 is root */
    WORLD_GID_DIRECT = 3001,
    WORLD_GID_ADMIN = 3002,
    WORLD_NODE = 7,
};

struct world_peer {
    struct api_peer peer; /* first, so that the ops find the rest */
    struct api_answer answer;
    struct quota quota;
    int answers; /* how many came */
    int kick_fd;
    int16_t key, version; /* of the request sent last */
};

struct world {
    char folder[64];
    struct settings fixed;
    struct meta *meta;
    struct controller controller;
    struct store *store;
    struct loop *loop;      /* NULL without threads */
    struct worker *flusher; /* NULL without threads */
    struct api *api;
    struct access_names names;
    struct arena arena; /* what world_call() gives */
    struct world_peer peers[WORLD_PEERS];
    int64_t mono_ms, wall_ms;
    int64_t mono_step_ms; /* how much time each look at the clock takes */
    int64_t armed_ms;     /* what the api asked for */
    struct store_checkpoint checkpoints[WORLD_CHECKPOINTS];
    int checkpoint_count;
};

/** append.lock.timeout.ms of the worlds to come; 100 unless a test sets it. */
extern int64_t world_lock_timeout_ms;

/** Makes a world. Fails the test when that does not work. */
void world_init(struct world *w);

/** The same with a loop, a watcher and a flusher, whose news come by world_await(). */
void world_init_threads(struct world *w);

/** Runs the loop until peer `who` has its answer; fails the test when that takes very long. */
void world_await(struct world *w, int who);

/** Ends it: topics, peers, api, folder. */
void world_fini(struct world *w);

/** Ends the api and starts it anew on what is stored. */
void world_restart(struct world *w);

/** Sends a request of peer `who`. Returns what api_dispatch() did. */
int world_send(struct world *w, int who, int16_t key, int16_t version, const void *request);

/** The answer that came for the request sent last, decoded; NULL when none came. */
void *world_answer(struct world *w, int who);

/** world_send() and world_answer(); fails the test when it was not answered at once. */
void *world_call(struct world *w, int who, int16_t key, int16_t version, const void *request);

/** Time passes, and the api looks at what is parked. */
void world_pass(struct world *w, int64_t ms);

/** Creates a topic with settings "name=value" (NULL ends the list); fails the test otherwise. */
void world_topic(
    struct world *w, const char *name, int32_t partitions, const char *const *settings);

/** The topic's id. */
struct uuid world_id(struct world *w, const char *name);

/** The control page of partition 0, mapped as the direct writer peer 2. */
struct shm_control *world_control(struct world *w, const char *topic);

/** A writer that stopped while it held the append lock. */
struct world_holder {
    struct shm_control *control;
    pthread_t thread;
    pthread_barrier_t held, over;
};

/** Has a thread take the lock and stop. Borrows the page. */
void world_hold(struct world_holder *holder, struct shm_control *control);

/** Has it release the lock, if it still has it, and end. */
void world_release(struct world_holder *holder);

/** A batch of `count` records "k<i>" -> "v<i>" with timestamps from `ts` on, in the builder. */
struct bytes world_batch(struct batch_builder *builder, int count, int64_t ts, int codec);

/** Produces to partition 0 with acks=1 and returns the error code; the base offset if wanted. */
int16_t world_produce(
    struct world *w, int who, const char *topic, struct bytes records, int64_t *base_offset);

#endif
