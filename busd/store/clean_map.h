/* SPDX-License-Identifier: Apache-2.0
 * The offset map of a compaction: for each key the offset of its last record, in memory that was
 * fixed before.
 *
 * Of a key its hash is kept, 128 bits of SipHash with a secret that is drawn for each map. To
 * compare the keys themselves would take a random read of the log for each record, or all keys in
 * memory. Two of the 5 million keys of a default map have the same hash once in 2^84 maps, and
 * nobody who does not know the secret can make it happen.
 */
#ifndef STORE_CLEAN_MAP_H
#define STORE_CLEAN_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct clean_slot {
    uint64_t hash[2];
    int64_t offset; /* + 1; 0: the slot is free */
};

struct clean_map {
    struct clean_slot *slots; /* owned */
    size_t capacity;
    size_t used;
    size_t limit; /* no more than so many are used, so that searches stay short */
    uint64_t secret[2];
};

/** What a key stands for. */
enum clean_key {
    CLEAN_KEY_RECORD = 0,
    CLEAN_KEY_PRODUCER = 1, /* the bytes are a producer id */
};

/** A map of at most `bytes`, not larger than `keys` need. 0, NO_MEMORY or SYSTEM. */
int clean_map_init(struct clean_map *map, size_t bytes, int64_t keys);

/** Releases the memory. Also for a zeroed map. */
void clean_map_fini(struct clean_map *map);

/** Notes that the key's last record is at `offset`. False: the map is full, nothing was noted. */
bool clean_map_put(
    struct clean_map *map, enum clean_key kind, const void *key, size_t bytes, int64_t offset);

/** The offset of the key's last record, -1 when the map does not have it. */
int64_t clean_map_get(
    const struct clean_map *map, enum clean_key kind, const void *key, size_t bytes);

/** SipHash-2-4 with a result of 128 bits. */
void clean_hash(
    const uint64_t secret[2], enum clean_key kind, const void *key, size_t bytes, uint64_t out[2]);

#endif
