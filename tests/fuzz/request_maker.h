/* SPDX-License-Identifier: Apache-2.0
 * Makes requests out of fuzzed bytes: the schema says what a request has, the bytes say what is in
 * it. So nearly all of them get past the decoder, to where names and numbers have a meaning.
 */
#ifndef FUZZ_REQUEST_MAKER_H
#define FUZZ_REQUEST_MAKER_H

#include "protocol/apis.h"
#include "protocol/arena.h"

#include <stddef.h>
#include <stdint.h>

enum { MAKER_NAME_BYTES = 300 };

/** The bytes that decide, and what earlier answers have taught. */
struct request_maker {
    const uint8_t *at, *end; /* borrowed; behind the end all bytes are 0 */
    struct arena *arena;     /* of the request that is being made */
    int16_t version;
    int depth;
    struct uuid topic_id;             /* of a topic that exists */
    char member_id[MAKER_NAME_BYTES]; /* that a group has given */
    int32_t generation;               /* of that group */
    int64_t producer_id;              /* that was given */
};

/** The next of the bytes. */
uint8_t maker_byte(struct request_maker *maker);

/** A number below `limit`, which is 1 to 256. */
unsigned maker_below(struct request_maker *maker, unsigned limit);

/**
 * Fills the message at `out`, of this schema and maker->version. What it points to is the arena's
 * or static. Without memory the rest stays at its defaults.
 */
void maker_fill(struct request_maker *maker, const struct schema *schema, void *out);

#endif
