/* SPDX-License-Identifier: Apache-2.0
 * Who is at the other end of a Unix socket, as the kernel says. Inside door/ only.
 */
#ifndef DOOR_PEER_CRED_H
#define DOOR_PEER_CRED_H

#include "api/api.h"

/** Fills uid, pid, same_pids and groups of a peer, its own group first. 0 or a failure of the
 * system. Blocks: no. */
int peer_cred_read(int fd, struct api_peer *peer);

#endif
