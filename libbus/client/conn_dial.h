/* SPDX-License-Identifier: Apache-2.0
 * Making a connection: the socket, and the first exchange that tells which APIs busd has.
 */
#ifndef CLIENT_CONN_DIAL_H
#define CLIENT_CONN_DIAL_H

#include "client/settings.h"
#include "protocol/apis.h"

enum { DIAL_APIS_MAX = 64 };

/** The version to use for each row of api_table; -1: busd does not have the API. */
struct dial_versions {
    int16_t use[DIAL_APIS_MAX];
};

/**
 * Connects to the socket. Returns the fd, nonblocking, owned by the caller, or DAEMON_UNAVAILABLE,
 * PERMISSION (each naming the remedy), TIMED_OUT or SYSTEM. Blocks: until `deadline_ns`.
 */
int dial_socket(const char *path, int64_t deadline_ns);

/**
 * Asks for the versions on a fresh connection. Returns 0 or a failure. `abort_fd` (-1: none)
 * becoming readable ends it early. Blocks: until `deadline_ns`.
 */
int dial_greet(int fd, const char *client_id, int abort_fd, int64_t deadline_ns,
    struct dial_versions *versions);

#endif
