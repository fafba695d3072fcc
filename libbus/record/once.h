/* SPDX-License-Identifier: Apache-2.0
 * Loads that happen exactly once. Batches are read where a hostile co-writer may change them at any
 * moment: a value that was checked must be the value that is used, so the compiler may neither
 * repeat nor split these loads.
 */
#ifndef RECORD_ONCE_H
#define RECORD_ONCE_H

#include <endian.h>
#include <stdint.h>

#define ONCE_UNALIGNED __attribute__((aligned(1), may_alias))

typedef uint16_t ONCE_UNALIGNED once_raw16;
typedef uint32_t ONCE_UNALIGNED once_raw32;
typedef uint64_t ONCE_UNALIGNED once_raw64;

/** One byte at `p`. */
static inline uint8_t
once_u8(const void *p)
{
    return *(const volatile uint8_t *)p;
}

/** A big-endian 16-bit integer at `p`, aligned or not. */
static inline int16_t
once_i16(const void *p)
{
    return (int16_t)be16toh(*(const volatile once_raw16 *)p);
}

/** A big-endian 32-bit integer at `p`, aligned or not. */
static inline int32_t
once_i32(const void *p)
{
    return (int32_t)be32toh(*(const volatile once_raw32 *)p);
}

/** A big-endian 64-bit integer at `p`, aligned or not. */
static inline int64_t
once_i64(const void *p)
{
    return (int64_t)be64toh(*(const volatile once_raw64 *)p);
}

#endif
