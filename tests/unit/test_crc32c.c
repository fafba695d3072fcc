/* SPDX-License-Identifier: Apache-2.0 */
#include "record/crc32c.h"
#include "unit/unit.h"

#include <string.h>

enum { BYTES_MAX = 1100 };

static void
fill(uint8_t *bytes, size_t n)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < n; i++) {
        state = state * 1103515245 + 12345;
        bytes[i] = (uint8_t)(state >> 16);
    }
}

/* RFC 3720, B.4, and the customary check value of "123456789". */
static void
test_known(void)
{
    uint8_t bytes[32];
    CU_ASSERT_EQUAL(crc32c("", 0), 0);
    CU_ASSERT_EQUAL(crc32c("123456789", 9), 0xe3069283);
    memset(bytes, 0, sizeof bytes);
    CU_ASSERT_EQUAL(crc32c(bytes, sizeof bytes), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    CU_ASSERT_EQUAL(crc32c(bytes, sizeof bytes), 0x62a8ab43);
    for (uint8_t i = 0; i < sizeof bytes; i++)
        bytes[i] = i;
    CU_ASSERT_EQUAL(crc32c(bytes, sizeof bytes), 0x46dd794e);
}

static void
test_table_agrees(void)
{
    uint8_t bytes[BYTES_MAX];
    fill(bytes, sizeof bytes);
    unsigned wrong = 0;
    for (size_t n = 0; n <= BYTES_MAX; n++) {
        size_t start = n < BYTES_MAX ? n % 8 : 0;
        size_t length = n - (n < start ? 0 : start);
        wrong += crc32c(bytes + start, length) != crc32c_extend_by_table(0, bytes + start, length);
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void
test_extend(void)
{
    uint8_t bytes[BYTES_MAX];
    fill(bytes, sizeof bytes);
    uint32_t whole = crc32c(bytes, sizeof bytes);
    unsigned wrong = 0;
    for (size_t cut = 0; cut <= BYTES_MAX; cut++) {
        uint32_t head = crc32c(bytes, cut);
        wrong += crc32c_extend(head, bytes + cut, BYTES_MAX - cut) != whole;
        wrong += crc32c_extend_by_table(head, bytes + cut, BYTES_MAX - cut) != whole;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void
test_every_bit_counts(void)
{
    uint8_t bytes[64];
    fill(bytes, sizeof bytes);
    uint32_t right = crc32c(bytes, sizeof bytes);
    unsigned missed = 0;
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        missed += crc32c(bytes, sizeof bytes) == right;
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    CU_ASSERT_EQUAL(missed, 0);
}

static const struct unit_case cases[] = {
    {"known checksums come out", test_known},
    {"the table gives the same at every length", test_table_agrees},
    {"a checksum can be extended at every place", test_extend},
    {"a flipped bit changes it", test_every_bit_counts},
    {NULL, NULL},
};

void
register_crc32c(void)
{
    unit_register("crc32c", cases);
}
