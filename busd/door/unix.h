/* SPDX-License-Identifier: Apache-2.0
 * The Unix door: a socket for local processes, whom the kernel vouches for, and who may get file
 * descriptors with their answers.
 *
 * Thread: the loop.
 */
#ifndef DOOR_UNIX_H
#define DOOR_UNIX_H

#include "door/hall.h"

struct unix_door;

/**
 * Listens at `path`, for connections in `hall`; both live longer. A socket file that nobody answers
 * at is replaced. Failures: SYSTEM with EADDRINUSE (somebody listens there), PERMISSION,
 * INVALID_ARGUMENT. Gives `*door`.
 */
int unix_door_open(struct hall *hall, const char *path, struct unix_door **door);

/** Takes in no new connections. */
void unix_door_quiesce(struct unix_door *door);

/** Removes the socket file, frees. NULL inside is fine. */
void unix_door_close(struct unix_door **door);

#endif
