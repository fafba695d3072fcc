/* SPDX-License-Identifier: Apache-2.0 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "record/crc32c.h"

#ifdef HAVE_ISAL

#include <isa-l/crc.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <nmmintrin.h>
#include <string.h>
#define HAVE_CRC32_INSTRUCTION 1
#else
#define HAVE_CRC32_INSTRUCTION 0
#endif

enum {
    PIECE_BYTES_MAX = 1 << 30, /* ISA-L counts bytes in an int */
    SHORT_BYTES_MAX = 256,
};

#if HAVE_CRC32_INSTRUCTION
/* ISA-L's loads are so wide that they wait for the small stores which made a short batch just
 * before; eight bytes at a time get them forwarded. */
__attribute__((target("sse4.2"))) static uint32_t
extend_short(uint32_t crc, const unsigned char *p, size_t n)
{
    uint64_t sum = crc, word;
    uint32_t half;
    for (; n >= sizeof word; n -= sizeof word, p += sizeof word) {
        memcpy(&word, p, sizeof word);
        sum = _mm_crc32_u64(sum, word);
    }
    crc = (uint32_t)sum;
    if (n >= sizeof half) {
        memcpy(&half, p, sizeof half);
        crc = _mm_crc32_u32(crc, half);
        n -= sizeof half;
        p += sizeof half;
    }
    for (; n > 0; n--)
        crc = _mm_crc32_u8(crc, *p++);
    return crc;
}
#endif

uint32_t
crc32c_extend(uint32_t crc, const void *p, size_t n)
{
    /* ISA-L leaves the inversion before and after to its caller, and wants a pointer to bytes
     * that it does not write. */
    unsigned char *at = (unsigned char *)(uintptr_t)p;
    crc = ~crc;
#if HAVE_CRC32_INSTRUCTION
    if (n <= SHORT_BYTES_MAX && __builtin_cpu_supports("sse4.2"))
        return ~extend_short(crc, at, n);
#endif
    for (; n > PIECE_BYTES_MAX; n -= PIECE_BYTES_MAX, at += PIECE_BYTES_MAX)
        crc = crc32_iscsi(at, PIECE_BYTES_MAX, crc);
    return ~crc32_iscsi(at, (int)n, crc);
}

#else

uint32_t
crc32c_extend(uint32_t crc, const void *p, size_t n)
{
    return crc32c_extend_by_table(crc, p, n);
}

#endif

uint32_t
crc32c(const void *p, size_t n)
{
    return crc32c_extend(0, p, n);
}
