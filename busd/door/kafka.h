/* SPDX-License-Identifier: Apache-2.0
 * The Kafka door: TCP listeners for clients that speak Kafka's protocol, from this machine and,
 * when it is so configured, from others.
 *
 * Thread: the loop.
 */
#ifndef DOOR_KAFKA_H
#define DOOR_KAFKA_H

#include "door/hall.h"

struct kafka_door;

/**
 * Listens where the settings `listeners` say, for connections in `hall`, which lives longer. An
 * address that cannot be had is told in the trace and left out. INVALID_CONFIG: a listener that
 * must not be opened as it is configured. Gives `*door`. Blocks: for the resolver, when a listener
 * has a name.
 */
int kafka_door_open(struct hall *hall, struct kafka_door **door);

/** Reads the certificates again, for connections to come; what went wrong is told in the trace. */
void kafka_door_reload(struct kafka_door *door);

/** Takes in no new connections. */
void kafka_door_quiesce(struct kafka_door *door);

/** Closes the listeners, frees; the connections are gone already. NULL inside is fine. */
void kafka_door_close(struct kafka_door **door);

/** Where it listens: "127.0.0.1:9092,[::1]:9092"; "" is nowhere. Borrowed. */
const char *kafka_door_text(const struct kafka_door *door);

#endif
