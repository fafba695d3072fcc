/* SPDX-License-Identifier: Apache-2.0
 * Big-endian integers in byte strings, without any demand on alignment.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define BYTES_ACCESSORS(bits)                                                                      \
    static inline uint##bits##_t bytes_get_u##bits(const void *p)                                  \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        memcpy(&v, p, sizeof v);                                                                   \
        return be##bits##toh(v);                                                                   \
    }                                                                                              \
    static inline int##bits##_t bytes_get_i##bits(const void *p)                                   \
    {                                                                                              \
        return (int##bits##_t)bytes_get_u##bits(p);                                                \
    }                                                                                              \
    static inline void bytes_put_u##bits(void *p, uint##bits##_t v)                                \
    {                                                                                              \
        v = htobe##bits(v);                                                                        \
        memcpy(p, &v, sizeof v);                                                                   \
    }                                                                                              \
    static inline void bytes_put_i##bits(void *p, int##bits##_t v)                                 \
    {                                                                                              \
        bytes_put_u##bits(p, (uint##bits##_t)v);                                                   \
    }

BYTES_ACCESSORS(16)
BYTES_ACCESSORS(32)
BYTES_ACCESSORS(64)

#undef BYTES_ACCESSORS

#endif
