/* SPDX-License-Identifier: Apache-2.0
 * Where changes of the cluster's state are made: a command is checked, written to the metadata log
 * together with the state that it leads to, and then its effects are told. On a single node this
 * happens at once; with more nodes the same call goes through the metadata log of all.
 *
 * Thread: the loop.
 */
#ifndef CLUSTER_CONTROLLER_H
#define CLUSTER_CONTROLLER_H

#include "core/cluster.h"
#include "core/removal.h"
#include "meta/meta.h"

/** Who is told of committed changes, on the loop, before controller_propose() returns. */
struct controller_listener {
    void (*changed)(void *context, const struct changes *changes);
    void *context;
    struct controller_listener *next; /* set by controller_listen() */
};

struct controller {
    struct meta *meta;      /* borrowed */
    struct cluster cluster; /* read freely; changed by controller_propose() only */
    struct controller_listener *listeners;
};

/** Loads the state from `meta`. `fixed` as in cluster_init(). Borrows both. 0 or a failure. */
int controller_open(struct controller *controller, struct meta *meta, const struct settings *fixed);

/** Releases the state. */
void controller_close(struct controller *controller);

/** Adds a listener (borrowed until the close), called in the order of adding. */
void controller_listen(struct controller *controller, struct controller_listener *listener);

/**
 * Checks a command, without effect: what CreateTopics and the like need for validate_only.
 * Outcomes as cluster_prepare().
 */
int controller_check(struct controller *controller, const struct command *command);

/**
 * Makes a change. 0: it is on stable storage, in the state, and the listeners have been told.
 * Otherwise nothing has changed; failures as cluster_prepare() and meta_commit(). Blocks: for the
 * disk.
 */
int controller_propose(struct controller *controller, const struct command *command);

/**
 * Calls `each` for every deleted topic whose files are not gone yet as far as is known; a failure
 * ends the walk and is returned. For the start: a deletion adds one, and controller_removed() ends
 * it.
 */
int controller_removals(struct controller *controller,
    int (*each)(void *context, const struct removal_note *note), void *context);

/** The files of a deleted topic are gone, for good. 0 or a failure as meta_commit(). Thread: any.
 * Blocks: for the disk. */
int controller_removed(struct controller *controller, const struct uuid *id);

/** This node's id. */
int32_t controller_node(const struct controller *controller);

/** A fresh random topic id, never zero. 0 or a failure of the system. */
int controller_new_id(struct uuid *id);

#endif
