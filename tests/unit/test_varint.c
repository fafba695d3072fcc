/* SPDX-License-Identifier: Apache-2.0 */
#include "record/varint.h"
#include "unit/unit.h"

#include <string.h>

/* Numbers and their bytes, from the definition of the format. */
static const struct {
    int64_t value;
    const char *bytes;
    size_t n;
} known[] = {
    {0, "\x00", 1},
    {-1, "\x01", 1},
    {1, "\x02", 1},
    {63, "\x7e", 1},
    {-64, "\x7f", 1},
    {64, "\x80\x01", 2},
    {-65, "\x81\x01", 2},
    {8191, "\xfe\x7f", 2},
    {-8192, "\xff\x7f", 2},
    {8192, "\x80\x80\x01", 3},
    {1048575, "\xfe\xff\x7f", 3},
    {1048576, "\x80\x80\x80\x01", 4},
    {INT32_MAX, "\xfe\xff\xff\xff\x0f", 5},
    {INT32_MIN, "\xff\xff\xff\xff\x0f", 5},
    {INT64_MAX, "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10},
    {INT64_MIN, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10},
};

enum { KNOWN = sizeof known / sizeof known[0] };

static void
test_put(void)
{
    uint8_t bytes[VARINT_64_BYTES_MAX];
    for (size_t i = 0; i < KNOWN; i++) {
        size_t n = (size_t)(varint_put_i64(bytes, known[i].value) - bytes);
        CU_ASSERT_EQUAL(n, known[i].n);
        CU_ASSERT_EQUAL(memcmp(bytes, known[i].bytes, known[i].n), 0);
        CU_ASSERT_EQUAL(varint_size_i64(known[i].value), known[i].n);
        if (known[i].value != (int32_t)known[i].value)
            continue;
        n = (size_t)(varint_put_i32(bytes, (int32_t)known[i].value) - bytes);
        CU_ASSERT_EQUAL(n, known[i].n);
        CU_ASSERT_EQUAL(memcmp(bytes, known[i].bytes, known[i].n), 0);
        CU_ASSERT_EQUAL(varint_size_i32((int32_t)known[i].value), known[i].n);
    }
}

static void
test_get(void)
{
    for (size_t i = 0; i < KNOWN; i++) {
        const uint8_t *start = (const uint8_t *)known[i].bytes;
        const uint8_t *p = start;
        int64_t wide;
        CU_ASSERT(varint_get_i64(&p, start + known[i].n, &wide));
        CU_ASSERT_EQUAL(wide, known[i].value);
        CU_ASSERT_PTR_EQUAL(p, start + known[i].n);
        p = start;
        int32_t narrow;
        bool fits = known[i].value == (int32_t)known[i].value;
        CU_ASSERT_EQUAL(varint_get_i32(&p, start + known[i].n, &narrow), fits);
        if (fits)
            CU_ASSERT_EQUAL(narrow, known[i].value);
    }
}

static void
test_cut_short(void)
{
    for (size_t i = 0; i < KNOWN; i++)
        for (size_t n = 0; n < known[i].n; n++) {
            const uint8_t *start = (const uint8_t *)known[i].bytes;
            const uint8_t *p = start;
            int64_t wide;
            CU_ASSERT_FALSE(varint_get_i64(&p, start + n, &wide));
            p = start;
            int32_t narrow;
            CU_ASSERT_FALSE(varint_get_i32(&p, start + n, &narrow));
        }
}

static bool
get_u32(const char *bytes, size_t n, uint32_t *out)
{
    const uint8_t *p = (const uint8_t *)bytes;
    return varint_get_u32(&p, p + n, out) && p == (const uint8_t *)bytes + n;
}

static bool
get_u64(const char *bytes, size_t n, uint64_t *out)
{
    const uint8_t *p = (const uint8_t *)bytes;
    return varint_get_u64(&p, p + n, out) && p == (const uint8_t *)bytes + n;
}

static void
test_too_long(void)
{
    uint32_t narrow;
    CU_ASSERT(get_u32("\xff\xff\xff\xff\x0f", 5, &narrow));
    CU_ASSERT_EQUAL(narrow, UINT32_MAX);
    CU_ASSERT_FALSE(get_u32("\x80\x80\x80\x80\x10", 5, &narrow));
    uint64_t wide;
    CU_ASSERT(get_u64("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10, &wide));
    CU_ASSERT_EQUAL(wide, UINT64_MAX);
    CU_ASSERT_FALSE(get_u64("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02", 10, &wide));
    CU_ASSERT_FALSE(get_u64("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11, &wide));
}

static void
test_padded(void)
{
    uint32_t narrow;
    CU_ASSERT(get_u32("\x85\x00", 2, &narrow));
    CU_ASSERT_EQUAL(narrow, 5);
    CU_ASSERT(get_u32("\x85\x80\x80\x00", 4, &narrow));
    CU_ASSERT_EQUAL(narrow, 5);
}

/* Around every power of two, where sizes change. */
static void
test_round_trip(void)
{
    uint8_t bytes[VARINT_64_BYTES_MAX];
    unsigned wrong = 0;
    for (unsigned bit = 0; bit < 64; bit++)
        for (uint64_t near = 0; near < 3; near++) {
            uint64_t value = ((uint64_t)1 << bit) + near - 1;
            const uint8_t *end = varint_put_u64(bytes, value);
            const uint8_t *p = bytes;
            uint64_t out = 0;
            wrong += (size_t)(end - bytes) != varint_size_u64(value);
            wrong += !varint_get_u64(&p, end, &out) || out != value || p != end;
            uint32_t narrow = (uint32_t)value;
            end = varint_put_u32(bytes, narrow);
            p = bytes;
            uint32_t narrow_out = 0;
            wrong += (size_t)(end - bytes) != varint_size_u32(narrow);
            wrong += !varint_get_u32(&p, end, &narrow_out) || narrow_out != narrow || p != end;
        }
    CU_ASSERT_EQUAL(wrong, 0);
}

static const struct unit_case cases[] = {
    {"known numbers are written", test_put},
    {"known numbers are read", test_get},
    {"a number cut short is refused at every byte", test_cut_short},
    {"numbers of more than 32 and 64 bits are refused", test_too_long},
    {"a number with superfluous bytes is read", test_padded},
    {"numbers survive around every size", test_round_trip},
    {NULL, NULL},
};

void
register_varint(void)
{
    unit_register("varint", cases);
}
