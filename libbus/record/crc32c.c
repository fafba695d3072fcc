/* SPDX-License-Identifier: Apache-2.0 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "record/crc32c.h"

#ifdef HAVE_ISAL

#include <isa-l/crc.h>

/* ISA-L counts bytes in an int. */
enum { PIECE_BYTES_MAX = 1 << 30 };

uint32_t
crc32c_extend(uint32_t crc, const void *p, size_t n)
{
    /* ISA-L leaves the inversion before and after to its caller, and wants a pointer to bytes
     * that it does not write. */
    unsigned char *at = (unsigned char *)(uintptr_t)p;
    crc = ~crc;
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
