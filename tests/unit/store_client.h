/* SPDX-License-Identifier: Apache-2.0
 * A direct writer of the log of a store fixture, in this process.
 */
#ifndef UNIT_STORE_CLIENT_H
#define UNIT_STORE_CLIENT_H

#include "shm/append.h"
#include "unit/store_fixture.h"

/** Attaches for writing, with every segment that comes with the answer and no way to ask for more.
 * *writers is the client's lock, to be closed; NULL: it is given back at once. */
void store_client_open(struct store_fixture *fixture, struct shm_partition *view, int *writers);

/** A fresh fixture, its log open with the spare ready, and a client of it. */
void store_client_start(struct store_fixture *fixture, struct shm_partition *view, int *writers);

/** Appends one record; what shm_append() returns. Waits for the lock until `deadline_ns`. */
int store_client_append_until(struct shm_partition *view, size_t value_bytes, int64_t deadline_ns);

/** The same with a generous deadline. */
int store_client_append(struct shm_partition *view, size_t value_bytes);

#endif
