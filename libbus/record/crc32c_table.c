/* SPDX-License-Identifier: Apache-2.0 */
#include "record/crc32c.h"

#include <endian.h>
#include <pthread.h>
#include <string.h>

enum { SLICES = 8 };

static const uint32_t polynomial = 0x82f63b78; /* Castagnoli's, bits reversed */

/* table[s][b]: what byte b contributes when s more bytes follow it. */
static uint32_t table[SLICES][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void
table_fill(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) ? polynomial : 0);
        table[0][byte] = crc;
    }
    for (int slice = 1; slice < SLICES; slice++)
        for (int byte = 0; byte < 256; byte++) {
            uint32_t crc = table[slice - 1][byte];
            table[slice][byte] = (crc >> 8) ^ table[0][crc & 0xff];
        }
}

/* Eight bytes at once: each has a table of its own, so the look-ups do not wait for each other. */
static uint32_t
step_8(uint32_t crc, const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    word = le64toh(word) ^ crc;
    uint32_t next = 0;
    for (int i = 0; i < SLICES; i++)
        next ^= table[SLICES - 1 - i][(word >> (8 * i)) & 0xff];
    return next;
}

uint32_t
crc32c_extend_by_table(uint32_t crc, const void *p, size_t n)
{
    pthread_once(&table_once, table_fill);
    const uint8_t *at = p;
    crc = ~crc;
    for (; n >= SLICES; n -= SLICES, at += SLICES)
        crc = step_8(crc, at);
    for (; n > 0; n--, at++)
        crc = (crc >> 8) ^ table[0][(crc ^ *at) & 0xff];
    return ~crc;
}
