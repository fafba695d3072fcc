/* SPDX-License-Identifier: Apache-2.0
 * File descriptors that go with answers on a Unix socket, and how many are on their way. Inside
 * door/ only.
 */
#ifndef DOOR_PASSING_H
#define DOOR_PASSING_H

#include "api/api.h"

#include <sys/socket.h>

struct connection;
struct settings;

/** Room for the control part of a message. */
union passing_space {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(API_FDS_MAX * sizeof(int))];
};

/** Puts the fds of an answer into the control part of a message; `space` lives as long as it. */
void passing_put(
    struct msghdr *message, union passing_space *space, const struct api_answer *answer);

/** Fds of an answer have gone into the socket, where they count until the client takes them. */
void passing_note_sent(struct connection *connection, int count);

/** connection_kind.has_room: whether the next answer may have fds. Else the client has to take some
 * first. */
bool passing_has_room(struct connection *connection);

/** The most file descriptors that one connection may have under way. */
int64_t passing_most(const struct settings *settings);

#endif
