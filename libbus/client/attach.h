/* SPDX-License-Identifier: Apache-2.0
 * One partition attached by this process: the view of its shared memory, the segments that busd
 * hands out, and what must happen when the generation ends or busd restarts.
 *
 * An attachment belongs to one user (a lane of a producer, an assigned partition of a consumer),
 * who calls it from one thread at a time. It does not move in memory while it is open.
 */
#ifndef CLIENT_ATTACH_H
#define CLIENT_ATTACH_H

#include "client/bus.h"
#include "shm/partition.h"

enum attach_access { ATTACH_READ = 1, ATTACH_WRITE = 2 };

/** Outcomes. */
enum attach_outcome {
    ATTACH_DONE = 0,     /* the view is there; after a renewal: the same generation as before */
    ATTACH_MEDIATED = 1, /* writing goes through Produce; there is no view */
    ATTACH_CHANGED = 2,  /* after a renewal: a new generation in the same view; cursors must seek */
};

struct attachment {
    struct bus *bus;   /* borrowed */
    const char *topic; /* borrowed: lives as long as the attachment */
    int32_t partition;
    enum attach_access access;
    struct uuid topic_id;
    uint32_t generation;
    uint32_t epoch;                    /* of the connection that knows about us */
    const _Atomic uint32_t *epoch_now; /* of the connection that there is */
    bool mapped;                       /* `view` is valid */
    struct uuid view_topic;            /* that `view` and `generation` are of */
    bool known;                        /* topic_id is valid, and counted in the bus */
    struct shm_partition view;
    int kick_fd;      /* eventfd that asks busd for room; -1 none */
    int lock_fd;      /* tells busd, by its flock, that a writer lives; -1 none */
    int64_t retry_ns; /* no renewal before this time, after one failed */
    bool asked;       /* a segment was asked for ahead; `call` is under way */
    uint64_t call;
    _Atomic(struct conn_reply *) arrived; /* its answer, put here by the connection's thread */
    _Atomic bool lost;                    /* or it failed */
};

/** Nothing attached yet. `topic` is borrowed. */
void attach_init(struct attachment *attachment, struct bus *bus, const char *topic,
    int32_t partition, enum attach_access access);

/**
 * Attaches, or attaches again: after the generation ended, after busd was restarted. `flags` are
 * those of conn_call(). Outcomes above; failures: UNKNOWN_TOPIC_OR_PARTITION (for a reader also
 * when the topic was deleted and created anew), TOPIC_AUTHORIZATION_FAILED, LAYOUT_VERSION,
 * LIMIT_REACHED, DAEMON_UNAVAILABLE; the old view is then kept. Blocks: until `deadline_ns`.
 */
int attach_renew(struct attachment *attachment, unsigned flags, int64_t deadline_ns);

/** Whether busd was restarted since, so that attach_renew() is due. Two loads. */
static inline bool
attach_stale(const struct attachment *attachment)
{
    return attachment->epoch != atomic_load_explicit(attachment->epoch_now, memory_order_relaxed);
}

/** Whether the generation is over: then a lock that does not move is the zombie's for ever. */
static inline bool
attach_fenced(const struct attachment *attachment)
{
    /* Acquire: pairs with shm_fence(). */
    return atomic_load_explicit(&attachment->view.control->state, memory_order_acquire) ==
           SHM_STATE_FENCED;
}

/**
 * If busd has a spare segment ready that the view lacks, asks for it without waiting, or takes in
 * the answer, so that the next roll works while busd is away. A few loads when there is nothing.
 */
void attach_prefetch(struct attachment *attachment);

/** Detaches. The view's memory is gone. Also after attach_init() alone. Blocks: no. */
void attach_fini(struct attachment *attachment);

#endif
