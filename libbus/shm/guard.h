/* SPDX-License-Identifier: Apache-2.0
 * Survives SIGBUS in shared mappings.
 *
 * Whoever may write a file may also truncate it, and then touching the lost pages raises SIGBUS in
 * every process that maps it; so does a read error of the disk. The guard's handler puts zero pages
 * in the place of the whole mapping and sets the owner's flag: the reader finds no valid batch and
 * reports damage. A SIGBUS elsewhere goes to the handler that was there before. While a thread
 * blocks SIGBUS the kernel asks no handler and kills: whoever blocks all signals leaves it out.
 */
#ifndef SHM_GUARD_H
#define SHM_GUARD_H

#include <stdbool.h>
#include <stddef.h>

enum { GUARD_REGIONS_MAX = 65536 };

/**
 * Watches a mapping; `damaged` is set when a page of it was missing and must live until
 * guard_remove(). The first call installs the handler. Returns 0 or -BUS_ERR_LIMIT_REACHED.
 * Thread: any.
 */
int guard_add(void *start, size_t bytes, _Atomic bool *damaged);

/** Ends the watch; before munmap(). Thread: any. */
void guard_remove(void *start);

#endif
