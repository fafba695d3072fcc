/* SPDX-License-Identifier: Apache-2.0
 * Variable-length integers: seven bits a byte, the lowest first, the top bit says that more follow.
 * Signed ones are zigzag encoded (0, -1, 1, -2 … become 0, 1, 2, 3 …).
 */
#ifndef RECORD_VARINT_H
#define RECORD_VARINT_H

#include "record/once.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VARINT_32_BYTES_MAX = 5,
    VARINT_64_BYTES_MAX = 10,
};

/** The zigzag code of `v`. */
static inline uint32_t
varint_zigzag_32(int32_t v)
{
    return ((uint32_t)v << 1) ^ (0 - ((uint32_t)v >> 31));
}

/** The zigzag code of `v`. */
static inline uint64_t
varint_zigzag_64(int64_t v)
{
    return ((uint64_t)v << 1) ^ (0 - ((uint64_t)v >> 63));
}

/** Bytes that `v` takes, 1 to 10: a division of the bit length by seven, without a branch. */
static inline size_t
varint_size_u64(uint64_t v)
{
    unsigned top = 63u - (unsigned)__builtin_clzll(v | 1);
    return (top * 9 + 73) >> 6;
}

/** Bytes that `v` takes, 1 to 5. */
static inline size_t
varint_size_u32(uint32_t v)
{
    return varint_size_u64(v);
}

/** Bytes that varint_put_i32() writes, 1 to 5. */
static inline size_t
varint_size_i32(int32_t v)
{
    return varint_size_u64(varint_zigzag_32(v));
}

/** Bytes that varint_put_i64() writes, 1 to 10. */
static inline size_t
varint_size_i64(int64_t v)
{
    return varint_size_u64(varint_zigzag_64(v));
}

/** Writes `v` at `p`, which has room for 10 bytes or varint_size_u64(); returns the end. */
static inline uint8_t *
varint_put_u64(uint8_t *p, uint64_t v)
{
    while (__builtin_expect(v >= 0x80, 0)) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

/** Writes `v` at `p`, which has room for varint_size_u32(); returns the end. */
static inline uint8_t *
varint_put_u32(uint8_t *p, uint32_t v)
{
    if (__builtin_expect(v < 0x80, 1)) {
        *p = (uint8_t)v;
        return p + 1;
    }
    if (v < 0x4000) {
        p[0] = (uint8_t)(v | 0x80);
        p[1] = (uint8_t)(v >> 7);
        return p + 2;
    }
    return varint_put_u64(p, v);
}

/** Writes `v` zigzag encoded at `p`, which has room for varint_size_i32(); returns the end. */
static inline uint8_t *
varint_put_i32(uint8_t *p, int32_t v)
{
    return varint_put_u32(p, varint_zigzag_32(v));
}

/** Writes `v` zigzag encoded at `p`, which has room for varint_size_i64(); returns the end. */
static inline uint8_t *
varint_put_i64(uint8_t *p, int64_t v)
{
    return varint_put_u64(p, varint_zigzag_64(v));
}

/** A number of any length that was read; travels in two registers. */
struct varint_read {
    const uint8_t *next; /* the byte behind it; NULL: `end` came first, or more than 64 bits */
    uint64_t value;
};

/** Reads a number of any length at `p`. For the numbers that are not short. */
struct varint_read varint_read_long(const uint8_t *p, const uint8_t *end);

/**
 * Reads an unsigned number at *p, moves *p behind it. False: `end` came first, or the number has
 * more than 64 bits; *p and *out are then undefined. A number that changes while it is read
 * comes out as some number.
 */
static inline bool
varint_get_u64(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
    const uint8_t *at = *p;
    if (__builtin_expect(at >= end, 0))
        return false;
    uint64_t first = once_u8(at);
    if (__builtin_expect(first < 0x80, 1)) {
        *out = first;
        *p = at + 1;
        return true;
    }
    /* The addresses of the caller's variables are not passed on, or they would live in memory
     * instead of registers on the fast path too. */
    struct varint_read read = varint_read_long(at, end);
    *out = read.value;
    *p = read.next;
    return read.next != NULL;
}

/** As varint_get_u64() for up to 32 bits. */
static inline bool
varint_get_u32(const uint8_t **p, const uint8_t *end, uint32_t *out)
{
    const uint8_t *at = *p;
    if (__builtin_expect(at >= end, 0))
        return false;
    uint32_t first = once_u8(at);
    if (__builtin_expect(first < 0x80, 1)) {
        *out = first;
        *p = at + 1;
        return true;
    }
    if (__builtin_expect(end - at >= 2, 1)) {
        uint32_t second = once_u8(at + 1);
        if (__builtin_expect(second < 0x80, 1)) {
            *out = (first & 0x7f) | second << 7;
            *p = at + 2;
            return true;
        }
    }
    struct varint_read read = varint_read_long(at, end);
    *out = (uint32_t)read.value;
    *p = read.next;
    return read.next != NULL && read.value <= UINT32_MAX;
}

/** As varint_get_u32(), zigzag decoded. */
static inline bool
varint_get_i32(const uint8_t **p, const uint8_t *end, int32_t *out)
{
    uint32_t v;
    if (!varint_get_u32(p, end, &v))
        return false;
    *out = (int32_t)((v >> 1) ^ (0 - (v & 1)));
    return true;
}

/** As varint_get_u64(), zigzag decoded. */
static inline bool
varint_get_i64(const uint8_t **p, const uint8_t *end, int64_t *out)
{
    uint64_t v;
    if (!varint_get_u64(p, end, &v))
        return false;
    *out = (int64_t)((v >> 1) ^ (0 - (v & 1)));
    return true;
}

#endif
