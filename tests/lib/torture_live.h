/* SPDX-License-Identifier: Apache-2.0
 * What the process holds at a moment of a torture: blocks, bytes mapped, files, mappings of files
 * and shared-memory objects.
 */
#ifndef LIB_TORTURE_LIVE_H
#define LIB_TORTURE_LIVE_H

#include <stdbool.h>
#include <stddef.h>

enum { LIVE_FILES_MAX = 1024 }; /* descriptors looked at */

struct live {
    size_t blocks;              /* allocated through the wrappers and not yet freed */
    size_t mapped_bytes;        /* mapped through the wrappers and not yet unmapped */
    size_t file_mappings;       /* rows of /proc/self/maps that are shared or show a file */
    size_t shm_objects;         /* created through the wrappers and still in /dev/shm */
    bool files[LIVE_FILES_MAX]; /* by descriptor: open */
};

/** What is held now. Thread: main. Blocks: no. */
void live_take(struct live *live);

/**
 * Compares with what is held now; false with the first difference in `why` (`size` bytes).
 * `before` as live_take() left it.
 */
bool live_same(const struct live *before, char *why, size_t size);

/** A block was allocated by the caller at `site`. Thread: any. */
void live_block_add(const void *block, const void *site);

/** A block is about to be freed; one that was never added is ignored. Thread: any. */
void live_block_remove(const void *block);

/** The bytes mapped have grown or shrunk. Thread: any. */
void live_mapped(ptrdiff_t bytes);

/** A shared-memory object was created. Thread: any. */
void live_shm_add(const char *name);

#endif
