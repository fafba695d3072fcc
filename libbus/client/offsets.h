/* SPDX-License-Identifier: Apache-2.0
 * Offsets that busd looks up.
 */
#ifndef CLIENT_OFFSETS_H
#define CLIENT_OFFSETS_H

#include "client/bus.h"

#include <bus/groups.h>

struct offset_query {
    const char *topic;
    int32_t partition;
    int64_t timestamp_ms; /* or -2 the beginning, -1 the end */
};

struct offset_found {
    int64_t offset;       /* -1: no record is that young */
    int64_t timestamp_ms; /* -1 where there is none */
    int32_t leader_epoch; /* -1 unknown */
};

/** Asks ListOffsets. Fails with those of conn_call() and what busd refuses. Blocks: as there. */
int offsets_ask(struct bus *bus, const struct offset_query *query, int64_t deadline_ns,
    struct offset_found *found);

/** As bus_offsets_find(), until a deadline. */
int offsets_ask_all(
    struct bus *bus, struct bus_offset_query *queries, size_t count, int64_t deadline_ns);

#endif
