/* SPDX-License-Identifier: Apache-2.0
 * Unsigned varints of the flexible versions: seven bits a byte, the lowest first.
 */
#ifndef PROTOCOL_UVARINT_H
#define PROTOCOL_UVARINT_H

#include <stddef.h>
#include <stdint.h>

/** The longest varint of 32 bits. */
enum { UVARINT_BYTES_MAX = 5 };

/** Writes `value` to `p`, which has room for UVARINT_BYTES_MAX. Returns the bytes used. */
static inline size_t
uvarint_put(uint8_t *p, uint32_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        p[n++] = (uint8_t)(value | 0x80);
    p[n++] = (uint8_t)value;
    return n;
}

/** Reads a varint from the `n` bytes at `p`. Returns the bytes used; 0 when there is none. */
static inline size_t
uvarint_get(const uint8_t *p, size_t n, uint32_t *value)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n && i < UVARINT_BYTES_MAX; i++) {
        sum |= (uint64_t)(p[i] & 0x7f) << (7 * i);
        if (p[i] < 0x80) {
            *value = (uint32_t)sum;
            return sum <= UINT32_MAX ? i + 1 : 0;
        }
    }
    return 0;
}

#endif
