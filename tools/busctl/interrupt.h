/* SPDX-License-Identifier: Apache-2.0
 * SIGINT and SIGTERM as a wish to end, not as a death.
 */
#ifndef BUSCTL_INTERRUPT_H
#define BUSCTL_INTERRUPT_H

#include <bus/consumer.h>
#include <stdbool.h>

/**
 * Catches both signals. System calls that wait return with EINTR, and a bus_poll() of `consumer`
 * (may be NULL; borrowed until interrupt_release()) returns. A second signal ends the process.
 * Thread: main.
 */
void interrupt_catch(struct bus_consumer *consumer);

/** Lets go of the consumer, before it is closed. Later signals end the process. */
void interrupt_release(void);

/** Whether a signal came. Thread: any. */
bool interrupted(void);

#endif
