/* SPDX-License-Identifier: Apache-2.0
 * Inside of a `struct bus`: what its producers and consumers share.
 */
#ifndef CLIENT_BUS_H
#define CLIENT_BUS_H

#include "client/conn.h"
#include "client/settings.h"

#include <bus/client.h>
#include <pthread.h>

/* How many attachments this bus has of a partition: busd keeps one for all of them. */
struct bus_use {
    struct bus_use *next;
    struct uuid topic_id;
    int32_t partition;
    int32_t count;
};

struct bus {
    struct settings settings;
    struct conn *conn;
    pthread_mutex_t uses_lock;
    struct bus_use *uses;
};

/** CLOCK_MONOTONIC of now plus the request timeout of the bus. */
int64_t bus_request_deadline_ns(const struct bus *bus);

/** Counts an attachment. Returns 0 or NO_MEMORY. Thread: any. */
int bus_use_begin(struct bus *bus, const struct uuid *topic_id, int32_t partition);

/** Ends one; true when it was the last and busd should be told. Thread: any. */
bool bus_use_end(struct bus *bus, const struct uuid *topic_id, int32_t partition);

#endif
