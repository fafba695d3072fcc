/* SPDX-License-Identifier: Apache-2.0
 * Who is at the other end of a TCP connection that does not leave this machine: the kernel knows
 * the user of each socket (sock_diag(7)). Inside door/ only.
 */
#ifndef DOOR_LOCAL_UID_H
#define DOOR_LOCAL_UID_H

#include <stdbool.h>
#include <sys/types.h>

/**
 * Finds the user who opened the other end of the connected TCP socket `fd`. False: the other end is
 * on another machine or in another network namespace, it is closed already, or the kernel does not
 * tell. Thread: any. Blocks: no.
 */
bool local_uid_read(int fd, uid_t *uid);

#endif
