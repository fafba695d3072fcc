/* SPDX-License-Identifier: Apache-2.0
 * Memory for one message: taken piece by piece, given back all at once, never more than a limit.
 * The decoder puts a request into it and the handler builds its response there.
 */
#ifndef PROTOCOL_ARENA_H
#define PROTOCOL_ARENA_H

#include <stddef.h>

struct arena_chunk;

/* Thread: one at a time. Blocks: no. */
struct arena {
    struct arena_chunk *chunks; /* owned; the newest first */
    size_t used;                /* bytes handed out since init or reset, with padding */
    size_t limit;               /* bytes; `used` never passes it */
};

/** An empty arena that hands out at most `limit` bytes; allocates nothing. */
void arena_init(struct arena *arena, size_t limit);

/** Releases everything that the arena gave; the arena is as after init. */
void arena_fini(struct arena *arena);

/** As fini, but keeps one small chunk so that the next small message allocates nothing. */
void arena_reset(struct arena *arena);

/**
 * `n` zeroed bytes, aligned for any type, owned by the arena; never NULL for n = 0. When the limit
 * or the memory is used up: NULL, with the error text set, for which the code to return is
 * -BUS_ERR_NO_MEMORY.
 */
void *arena_alloc(struct arena *arena, size_t n);

/** As arena_alloc() for `count` elements of `size` bytes; a product that overflows is refused. */
void *arena_array(struct arena *arena, size_t count, size_t size);

/** A NUL-terminated copy of `n` bytes, owned by the arena; NULL as arena_alloc(). */
char *arena_string(struct arena *arena, const void *bytes, size_t n);

/** A formatted string, owned by the arena; NULL as arena_alloc(). */
char *arena_format(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
