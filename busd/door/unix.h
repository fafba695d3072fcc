/* SPDX-License-Identifier: Apache-2.0
 * The Unix door: a socket for local processes, whom the kernel vouches for, and who may get file
 * descriptors with their answers.
 *
 * Thread: the loop.
 */
#ifndef DOOR_UNIX_H
#define DOOR_UNIX_H

#include "core/settings.h"
#include "run/loop.h"

struct api;
struct unix_door;

/** What a door needs; all borrowed, and living longer than the door. */
struct unix_door_options {
    struct loop *loop;
    struct api *api;
    const struct settings *settings; /* busd's in force */
    const char *path;                /* of the socket */
};

/**
 * Listens. A socket file that nobody answers at is replaced. Failures: SYSTEM with EADDRINUSE
 * (somebody listens there), PERMISSION, INVALID_ARGUMENT. Gives `*door`.
 */
int unix_door_open(const struct unix_door_options *options, struct unix_door **door);

/** Takes in no new connections and no new requests; answers still go out. */
void unix_door_quiesce(struct unix_door *door);

/** Whether answers wait for being sent. */
bool unix_door_busy(const struct unix_door *door);

/** Ends the connections, removes the socket file, frees. NULL inside is fine. */
void unix_door_close(struct unix_door **door);

/** How many are connected. */
int unix_door_connections(const struct unix_door *door);

/** Takes changed settings into use. */
void unix_door_configure(struct unix_door *door);

#endif
