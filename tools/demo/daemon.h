/* SPDX-License-Identifier: Apache-2.0
 * A private busd for the demonstration, in a folder of its own.
 */
#ifndef DEMO_DAEMON_H
#define DEMO_DAEMON_H

#include <sys/types.h>

struct demo_daemon {
    const char *program; /* path of busd */
    char folder[64];     /* made here; holds data, socket and busd's trace */
    char socket[96];
    pid_t pid; /* 0 when it is not running */
};

/** Makes the folder. Returns 0, or -1 with a message on stderr, as the others here. */
int demo_daemon_prepare(struct demo_daemon *daemon, const char *program);

/** Starts busd and waits for its READY=1. `ready_ms` tells how long that took. */
int demo_daemon_start(struct demo_daemon *daemon, double *ready_ms);

/** Sends `signal` and waits for the end. */
void demo_daemon_end(struct demo_daemon *daemon, int signal);

/** Removes the folder. */
void demo_daemon_clean(struct demo_daemon *daemon);

#endif
