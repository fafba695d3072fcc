/* SPDX-License-Identifier: Apache-2.0
 * Messages for tests: filled and compared by walking their schema, so that every field of every
 * API takes part without a line of its own.
 */
#ifndef UNIT_FILLED_H
#define UNIT_FILLED_H

#include "protocol/arena.h"
#include "protocol/schema.h"

/** How a message is filled. */
enum filled {
    FILLED_FULL,  /* a value of its own in each field, two elements in each array */
    FILLED_EMPTY, /* empty strings, bytes and arrays; structs are there */
    FILLED_NULL,  /* null wherever some version allows it */
};

/** A struct of the schema, filled; the arena owns it. NULL without memory. */
void *filled_new(const struct schema *schema, enum filled how, struct arena *arena);

/**
 * Whether `got` is what decoding gives for `put` encoded in `version`: the same where the version
 * has the field, the default where it has not. Else the name of the field is in `*wrong`.
 */
bool filled_same(const struct schema *schema, int16_t version, const void *put, const void *got,
    const char **wrong);

#endif
