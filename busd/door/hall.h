/* SPDX-License-Identifier: Apache-2.0
 * What all doors share: the clients that came in, what they may have together, their turns, and the
 * lines about them in the trace. Doors are opened behind the hall and closed before it.
 *
 * Thread: the loop.
 */
#ifndef DOOR_HALL_H
#define DOOR_HALL_H

#include "core/settings.h"
#include "run/loop.h"

struct api;
struct hall;

/** What the hall needs; all borrowed, and living longer than it. */
struct hall_options {
    struct loop *loop;
    struct api *api;
    const struct settings *settings; /* busd's in force */
};

/** A hall without clients. Gives `*hall`. 0 or a failure. */
int hall_open(const struct hall_options *options, struct hall **hall);

/** Takes in no new requests; answers still go out. */
void hall_quiesce(struct hall *hall);

/** Whether answers wait for being sent. */
bool hall_busy(const struct hall *hall);

/** Ends the connections and frees. NULL inside is fine. */
void hall_close(struct hall **hall);

/** How many are connected. */
int hall_connections(const struct hall *hall);

/** Takes changed settings into use. */
void hall_configure(struct hall *hall);

#endif
