/* SPDX-License-Identifier: Apache-2.0
 * One look at busd through the library: everything that `top` shows.
 */
#ifndef BUSCTL_TOP_SAMPLE_H
#define BUSCTL_TOP_SAMPLE_H

#include "busctl/top_rates.h"

#include <bus/bus.h>

struct top_sample {
    struct top_look look;
    int64_t time_ms; /* since 1970, of `look` */
    struct bus_status status;
    int64_t disk_bytes; /* that are left */
    /* Owned: what the names of `look` are borrowed from. */
    struct bus_topics *topics;
    struct bus_groups *groups;
};

/**
 * Asks busd. Returns NULL after a failure, and bus_error() tells which. The caller frees the
 * sample. Blocks: up to the time of a request.
 */
struct top_sample *top_sample_take(struct bus *bus);

/** Frees it; NULL is accepted. Nulls the pointer. */
void top_sample_free(struct top_sample **sample);

#endif
