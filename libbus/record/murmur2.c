/* SPDX-License-Identifier: Apache-2.0 */
#include "record/murmur2.h"

#include <endian.h>
#include <string.h>

enum { MULTIPLIER = 0x5bd1e995, SHIFT = 24 };

static const uint32_t seed = 0x9747b28c;

/* The last one to three bytes, as the low end of a little-endian word. */
static uint32_t
tail_word(const uint8_t *p, size_t n)
{
    uint32_t word = 0;
    memcpy(&word, p, n);
    return le32toh(word);
}

uint32_t
murmur2(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    uint32_t h = seed ^ (uint32_t)n;
    for (; n >= 4; n -= 4, p += 4) {
        uint32_t k = tail_word(p, 4) * MULTIPLIER;
        k = (k ^ (k >> SHIFT)) * MULTIPLIER;
        h = (h * MULTIPLIER) ^ k;
    }
    if (n > 0)
        h = (h ^ tail_word(p, n)) * MULTIPLIER;
    h = (h ^ (h >> 13)) * MULTIPLIER;
    return h ^ (h >> 15);
}
