/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "base/err.h"
#include "unit/unit.h"

#include <string.h>

static void
test_empty(void)
{
    struct buf buf;
    buf_init(&buf);
    CU_ASSERT_PTR_NULL(buf.data);
    CU_ASSERT_EQUAL(buf.length, 0);
    CU_ASSERT_EQUAL(buf.capacity, 0);
    CU_ASSERT_FALSE(buf_failed(&buf));
    buf_put(&buf, NULL, 0);
    CU_ASSERT_EQUAL(buf.length, 0);
    CU_ASSERT_FALSE(buf_failed(&buf));
    buf_fini(&buf);
    CU_ASSERT_PTR_NULL(buf.data);
}

static void
test_keeps_bytes_while_growing(void)
{
    struct buf buf;
    buf_init(&buf);
    for (unsigned i = 0; i < 3000; i++) {
        uint8_t byte = (uint8_t)(i * 7);
        buf_put(&buf, &byte, 1);
    }
    CU_ASSERT_EQUAL_FATAL(buf.length, 3000);
    CU_ASSERT(buf.capacity >= buf.length);
    unsigned wrong = 0;
    for (unsigned i = 0; i < 3000; i++)
        wrong += buf.data[i] != (uint8_t)(i * 7);
    CU_ASSERT_EQUAL(wrong, 0);
    buf_fini(&buf);
}

static void
test_reserve_at_the_edge(void)
{
    struct buf buf;
    buf_init(&buf);
    CU_ASSERT_EQUAL(buf_reserve(&buf, 1), 0);
    size_t capacity = buf.capacity;
    const uint8_t *data = buf.data;
    CU_ASSERT_EQUAL(buf_reserve(&buf, capacity - 1), 0);
    CU_ASSERT_EQUAL(buf_reserve(&buf, capacity), 0);
    CU_ASSERT_EQUAL(buf.capacity, capacity);
    CU_ASSERT_PTR_EQUAL(buf.data, data);
    CU_ASSERT_EQUAL(buf_reserve(&buf, capacity + 1), 0);
    CU_ASSERT(buf.capacity >= capacity + 1);
    CU_ASSERT_EQUAL(buf.length, 0);
    buf_fini(&buf);
}

static void
test_extend_gives_zeroes(void)
{
    struct buf buf;
    buf_init(&buf);
    buf_put(&buf, "abc", 3);
    buf_clear(&buf);
    uint8_t *start = buf_extend(&buf, 3);
    CU_ASSERT_PTR_NOT_NULL_FATAL(start);
    CU_ASSERT_EQUAL(memcmp(start, "\0\0\0", 3), 0);
    buf_put(&buf, "x", 1);
    CU_ASSERT_EQUAL(buf.length, 4);
    CU_ASSERT_EQUAL(buf.data[3], 'x');
    buf_fini(&buf);
}

static void
test_too_much_is_remembered(void)
{
    struct buf buf;
    buf_init(&buf);
    buf_put(&buf, "abc", 3);
    CU_ASSERT_EQUAL(buf_reserve(&buf, SIZE_MAX / 2), -BUS_ERR_NO_MEMORY);
    CU_ASSERT(buf_failed(&buf));
    CU_ASSERT_STRING_EQUAL(err_text(), "out of memory");
    buf_put(&buf, "def", 3);
    CU_ASSERT_EQUAL(buf.length, 3);
    CU_ASSERT_PTR_NULL(buf_extend(&buf, 1));
    buf_clear(&buf);
    CU_ASSERT_FALSE(buf_failed(&buf));
    buf_put(&buf, "def", 3);
    CU_ASSERT_EQUAL(buf.length, 3);
    CU_ASSERT_PTR_NULL(buf_extend(&buf, SIZE_MAX));
    CU_ASSERT(buf_failed(&buf));
    buf_fini(&buf);
}

static const struct unit_case cases[] = {
    {"an empty buffer owns nothing", test_empty},
    {"bytes survive growth", test_keeps_bytes_while_growing},
    {"reserve moves only past the capacity", test_reserve_at_the_edge},
    {"extend gives zeroes over old bytes", test_extend_gives_zeroes},
    {"an impossible size is refused and remembered", test_too_much_is_remembered},
    {NULL, NULL},
};

void
register_buf(void)
{
    unit_register("buf", cases);
}
