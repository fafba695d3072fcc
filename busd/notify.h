/* SPDX-License-Identifier: Apache-2.0
 * Tells the service manager how busd is: the datagrams of sd_notify(3).
 */
#ifndef BUSD_NOTIFY_H
#define BUSD_NOTIFY_H

/** Sends `state` ("READY=1") to $NOTIFY_SOCKET; without it nothing happens. Blocks: no. */
void notify_send(const char *state);

/** RELOADING=1 with the time, as Type=notify-reload wants it. Blocks: no. */
void notify_reloading(void);

#endif
