/* SPDX-License-Identifier: Apache-2.0 */
#include "record/varint.h"

struct varint_read
varint_read_long(const uint8_t *p, const uint8_t *end)
{
    const struct varint_read refused = {NULL, 0};
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (p >= end)
            return refused;
        uint64_t byte = once_u8(p++);
        if (shift == 63 && byte > 1)
            return refused;
        v |= (byte & 0x7f) << shift;
        if (byte < 0x80)
            return (struct varint_read){p, v};
    }
    return refused;
}
