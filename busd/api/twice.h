/* SPDX-License-Identifier: Apache-2.0
 * Whether a request names something twice, which Kafka refuses. Requests may be long: no comparison
 * of each with each.
 */
#ifndef API_TWICE_H
#define API_TWICE_H

#include "base/err.h"
#include "protocol/arena.h"

#include <stdbool.h>
#include <stddef.h>

/** The names of a request, sorted. */
struct twice {
    const char **sorted; /* the arena's */
    size_t count;
};

/** Room for `most` names. 0 or NO_MEMORY. */
int twice_init(struct twice *twice, struct arena *arena, size_t most);

/** Adds a name, which is borrowed; NULL is left out. */
void twice_add(struct twice *twice, const char *name);

/** All names were added. */
void twice_sort(struct twice *twice);

/** Whether it was added more than once. */
bool twice_has(const struct twice *twice, const char *name);

#endif
