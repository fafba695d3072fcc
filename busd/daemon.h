/* SPDX-License-Identifier: Apache-2.0
 * busd put together: every part started in order, and stopped in the reverse order.
 */
#ifndef BUSD_DAEMON_H
#define BUSD_DAEMON_H

#include "configuration.h"

/**
 * Runs until SIGTERM or SIGINT. Borrows `config`, which SIGHUP may change. `start_ns` is when the
 * process began (clock_mono_ns). 0 after a clean end, or the failure that kept it from starting.
 * Thread: main. Blocks.
 */
int daemon_run(struct config *config, int64_t start_ns);

#endif
