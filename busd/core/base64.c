/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base64.h"

#include "base/err.h"

#include <string.h>

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
base64_put(struct buf *out, const void *bytes, size_t n)
{
    const uint8_t *from = bytes;
    for (size_t i = 0; i < n; i += 3) {
        unsigned group = (unsigned)from[i] << 16;
        if (i + 1 < n)
            group |= (unsigned)from[i + 1] << 8;
        if (i + 2 < n)
            group |= from[i + 2];
        char four[4] = {letters[group >> 18], letters[group >> 12 & 63],
            i + 1 < n ? letters[group >> 6 & 63] : '=', i + 2 < n ? letters[group & 63] : '='};
        buf_put(out, four, sizeof four);
    }
}

/** The value of a letter; 64 for none. */
static unsigned
value_of(char c)
{
    const char *at = c ? strchr(letters, c) : NULL;
    return at ? (unsigned)(at - letters) : 64;
}

/** Four letters, the last `padding` of which are padding. */
static bool
take_group(struct buf *out, const char *four, unsigned padding)
{
    unsigned group = 0;
    for (unsigned i = 0; i < 4; i++) {
        unsigned value = i < 4 - padding ? value_of(four[i]) : 0;
        if (value == 64)
            return false;
        group = group << 6 | value;
    }
    uint8_t bytes[3] = {(uint8_t)(group >> 16), (uint8_t)(group >> 8), (uint8_t)group};
    /* Bits that belong to no byte are zero, or there would be two forms. */
    if ((padding == 1 && bytes[2] != 0) || (padding == 2 && (bytes[1] | bytes[2]) != 0))
        return false;
    buf_put(out, bytes, 3 - padding);
    return true;
}

int
base64_take(struct buf *out, const char *text, size_t n)
{
    bool right = n % 4 == 0;
    for (size_t i = 0; right && i < n; i += 4) {
        unsigned padding = 0;
        if (i + 4 == n)
            padding = text[n - 1] != '=' ? 0 : text[n - 2] != '=' ? 1 : 2;
        right = take_group(out, text + i, padding);
    }
    if (!right)
        return err_set(BUS_ERR_INVALID_REQUEST, "malformed Base64");
    return buf_failed(out) ? err_no_memory() : 0;
}
