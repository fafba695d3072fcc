/* SPDX-License-Identifier: Apache-2.0 */
#include "store/clean_map.h"

#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { SLOTS_MIN = 64 };

/* ---- the hash ------------------------------------------------------------------------------- */

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t
rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void
mix(struct sip *s, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        s->v0 += s->v1;
        s->v2 += s->v3;
        s->v1 = rotate(s->v1, 13) ^ s->v0;
        s->v3 = rotate(s->v3, 16) ^ s->v2;
        s->v0 = rotate(s->v0, 32);
        s->v2 += s->v1;
        s->v0 += s->v3;
        s->v1 = rotate(s->v1, 17) ^ s->v2;
        s->v3 = rotate(s->v3, 21) ^ s->v0;
        s->v2 = rotate(s->v2, 32);
    }
}

static void
take_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    mix(s, 2);
    s->v0 ^= word;
}

static uint64_t
load_word(const uint8_t *p, size_t bytes)
{
    uint64_t word = 0;
    for (size_t i = 0; i < bytes; i++)
        word |= (uint64_t)p[i] << (8 * i);
    return word;
}

/* The kind goes into the secret, so that a producer id is never taken for a key. */
void
clean_hash(
    const uint64_t secret[2], enum clean_key kind, const void *key, size_t bytes, uint64_t out[2])
{
    uint64_t k0 = secret[0] ^ (uint64_t)kind, k1 = secret[1];
    struct sip s = {
        .v0 = UINT64_C(0x736f6d6570736575) ^ k0,
        .v1 = UINT64_C(0x646f72616e646f6d) ^ k1 ^ 0xee,
        .v2 = UINT64_C(0x6c7967656e657261) ^ k0,
        .v3 = UINT64_C(0x7465646279746573) ^ k1,
    };
    const uint8_t *p = key;
    size_t left = bytes;
    for (; left >= 8; left -= 8, p += 8)
        take_word(&s, load_word(p, 8));
    take_word(&s, load_word(p, left) | (uint64_t)bytes << 56);
    s.v2 ^= 0xee;
    mix(&s, 4);
    out[0] = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
    s.v1 ^= 0xdd;
    mix(&s, 4);
    out[1] = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

/* ---- the table ------------------------------------------------------------------------------ */

int
clean_map_init(struct clean_map *map, size_t bytes, int64_t keys)
{
    *map = (struct clean_map){.capacity = bytes / sizeof *map->slots};
    size_t enough = (size_t)keys + (size_t)keys / 4 + SLOTS_MIN;
    if (map->capacity > enough)
        map->capacity = enough;
    if (map->capacity < SLOTS_MIN)
        map->capacity = SLOTS_MIN;
    map->limit = map->capacity / 10 * 9;
    if (getrandom(map->secret, sizeof map->secret, 0) != (ssize_t)sizeof map->secret)
        return err_sys(errno, "get random bytes");
    map->slots = calloc(map->capacity, sizeof *map->slots);
    return map->slots ? 0 : err_no_memory();
}

void
clean_map_fini(struct clean_map *map)
{
    free(map->slots);
    *map = (struct clean_map){0};
}

/* The slot of a key, or the free one where it belongs; there is always a free one. */
static struct clean_slot *
find(const struct clean_map *map, const uint64_t hash[2])
{
    size_t at = (size_t)(hash[0] % map->capacity);
    for (;;) {
        struct clean_slot *slot = &map->slots[at];
        if (slot->offset == 0 || (slot->hash[0] == hash[0] && slot->hash[1] == hash[1]))
            return slot;
        at = at + 1 < map->capacity ? at + 1 : 0;
    }
}

bool
clean_map_put(
    struct clean_map *map, enum clean_key kind, const void *key, size_t bytes, int64_t offset)
{
    uint64_t hash[2];
    clean_hash(map->secret, kind, key, bytes, hash);
    struct clean_slot *slot = find(map, hash);
    if (slot->offset == 0) {
        if (map->used >= map->limit)
            return false;
        map->used++;
        memcpy(slot->hash, hash, sizeof hash);
    }
    slot->offset = offset + 1;
    return true;
}

int64_t
clean_map_get(const struct clean_map *map, enum clean_key kind, const void *key, size_t bytes)
{
    uint64_t hash[2];
    clean_hash(map->secret, kind, key, bytes, hash);
    return find(map, hash)->offset - 1;
}
