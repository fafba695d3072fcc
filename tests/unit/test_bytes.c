/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "unit/unit.h"

static void
test_order(void)
{
    uint8_t at[9] = {0};
    bytes_put_u16(at + 1, 0x0102);
    CU_ASSERT_EQUAL(memcmp(at, "\0\1\2\0", 4), 0);
    bytes_put_u32(at + 1, 0x01020304);
    CU_ASSERT_EQUAL(memcmp(at, "\0\1\2\3\4\0", 6), 0);
    bytes_put_u64(at + 1, 0x0102030405060708);
    CU_ASSERT_EQUAL(memcmp(at, "\0\1\2\3\4\5\6\7\10", 9), 0);
    CU_ASSERT_EQUAL(bytes_get_u64(at + 1), 0x0102030405060708);
    CU_ASSERT_EQUAL(bytes_get_u32(at + 1), 0x01020304);
    CU_ASSERT_EQUAL(bytes_get_u16(at + 1), 0x0102);
}

static void
test_signs(void)
{
    uint8_t at[8];
    bytes_put_i16(at, INT16_MIN);
    CU_ASSERT_EQUAL(bytes_get_i16(at), INT16_MIN);
    bytes_put_i16(at, -1);
    CU_ASSERT_EQUAL(bytes_get_u16(at), UINT16_MAX);
    bytes_put_i32(at, INT32_MIN);
    CU_ASSERT_EQUAL(bytes_get_i32(at), INT32_MIN);
    bytes_put_i64(at, INT64_MIN);
    CU_ASSERT_EQUAL(bytes_get_i64(at), INT64_MIN);
    bytes_put_i64(at, INT64_MAX);
    CU_ASSERT_EQUAL(bytes_get_i64(at), INT64_MAX);
}

static const struct unit_case cases[] = {
    {"the highest byte is first, at any address", test_order},
    {"the extremes of signed integers survive", test_signs},
    {NULL, NULL},
};

void
register_bytes(void)
{
    unit_register("bytes", cases);
}
