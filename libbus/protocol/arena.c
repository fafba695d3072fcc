/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/arena.h"

#include "base/check.h"
#include "base/err.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ALIGNMENT = _Alignof(max_align_t),
    CHUNK_BYTES_MIN = 4096,
    CHUNK_BYTES_MAX = 256 * 1024, /* a larger piece gets a chunk of its own size */
};

struct arena_chunk {
    struct arena_chunk *next; /* the older one */
    size_t used;              /* bytes of `data` handed out */
    size_t capacity;          /* bytes in `data` */
    _Alignas(max_align_t) uint8_t data[];
};

void
arena_init(struct arena *arena, size_t limit)
{
    MUST(limit <= SIZE_MAX / 2);
    *arena = (struct arena){.limit = limit};
}

static void
free_chunks(struct arena_chunk *chunk)
{
    while (chunk) {
        struct arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}

void
arena_fini(struct arena *arena)
{
    free_chunks(arena->chunks);
    arena_init(arena, arena->limit);
}

void
arena_reset(struct arena *arena)
{
    struct arena_chunk *kept = NULL;
    while (arena->chunks) {
        struct arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        if (!kept && chunk->capacity == CHUNK_BYTES_MIN)
            kept = chunk;
        else
            free(chunk);
    }
    arena->used = 0;
    if (!kept)
        return;
    kept->next = NULL;
    kept->used = 0;
    arena->chunks = kept;
}

/* Chunks double, so that a large message needs few of them. */
static struct arena_chunk *
add_chunk(struct arena *arena, size_t n)
{
    size_t capacity = CHUNK_BYTES_MIN;
    if (arena->chunks && arena->chunks->capacity < CHUNK_BYTES_MAX)
        capacity = arena->chunks->capacity * 2;
    else if (arena->chunks)
        capacity = CHUNK_BYTES_MAX;
    if (capacity < n)
        capacity = n;
    struct arena_chunk *chunk = malloc(sizeof *chunk + capacity);
    if (!chunk) {
        err_no_memory();
        return NULL;
    }
    chunk->next = arena->chunks;
    chunk->used = 0;
    chunk->capacity = capacity;
    arena->chunks = chunk;
    return chunk;
}

void *
arena_alloc(struct arena *arena, size_t n)
{
    size_t padded = n <= arena->limit ? (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : SIZE_MAX;
    if (padded > arena->limit - arena->used) {
        err_set(
            BUS_ERR_NO_MEMORY, "a message needs more than its %zu bytes of memory", arena->limit);
        return NULL;
    }
    struct arena_chunk *chunk = arena->chunks;
    if (!chunk || chunk->capacity - chunk->used < padded)
        chunk = add_chunk(arena, padded);
    if (!chunk)
        return NULL;
    uint8_t *p = chunk->data + chunk->used;
    chunk->used += padded;
    arena->used += padded;
    return memset(p, 0, n);
}

void *
arena_array(struct arena *arena, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size)
        return arena_alloc(arena, SIZE_MAX);
    return arena_alloc(arena, count * size);
}

char *
arena_string(struct arena *arena, const void *bytes, size_t n)
{
    MUST(n < SIZE_MAX);
    char *copy = arena_alloc(arena, n + 1);
    if (copy && n > 0)
        memcpy(copy, bytes, n);
    return copy;
}

char *
arena_format(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    MUST(n >= 0);
    char *text = arena_alloc(arena, (size_t)n + 1);
    if (!text)
        return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return text;
}
