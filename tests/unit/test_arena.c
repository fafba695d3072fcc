/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "protocol/arena.h"
#include "unit/unit.h"

#include <stdint.h>
#include <string.h>

enum { ALIGNMENT = _Alignof(max_align_t) };

static void
test_pieces(void)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    uint8_t *pieces[200];
    size_t used = 0;
    for (size_t i = 0; i < 200; i++) {
        size_t n = i * 7;
        pieces[i] = arena_alloc(&arena, n);
        CU_ASSERT_PTR_NOT_NULL_FATAL(pieces[i]);
        CU_ASSERT_EQUAL((uintptr_t)pieces[i] % ALIGNMENT, 0);
        for (size_t k = 0; k < n; k++)
            CU_ASSERT_EQUAL_FATAL(pieces[i][k], 0);
        memset(pieces[i], (int)i, n);
        used += (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    CU_ASSERT_EQUAL(arena.used, used);
    for (size_t i = 0; i < 200; i++)
        for (size_t k = 0; k < i * 7; k++)
            CU_ASSERT_EQUAL_FATAL(pieces[i][k], (uint8_t)i);
    arena_fini(&arena);
    CU_ASSERT_EQUAL(arena.used, 0);
    CU_ASSERT_PTR_NULL(arena.chunks);
}

static void
test_limit(void)
{
    struct arena arena;
    arena_init(&arena, 160);
    CU_ASSERT_PTR_NULL(arena_alloc(&arena, 161));
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "160 bytes"));
    CU_ASSERT_PTR_NULL(arena_alloc(&arena, SIZE_MAX));
    CU_ASSERT_PTR_NOT_NULL(arena_alloc(&arena, 144));
    CU_ASSERT_PTR_NOT_NULL(arena_alloc(&arena, 16));
    CU_ASSERT_PTR_NULL(arena_alloc(&arena, 1));
    CU_ASSERT_PTR_NOT_NULL(arena_alloc(&arena, 0));
    arena_reset(&arena);
    CU_ASSERT_PTR_NOT_NULL(arena_alloc(&arena, 160));
    arena_fini(&arena);
}

static void
test_array_overflow(void)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    CU_ASSERT_PTR_NULL(arena_array(&arena, SIZE_MAX / 2, 4));
    CU_ASSERT_PTR_NULL(arena_array(&arena, SIZE_MAX / 4 + 2, 4));
    CU_ASSERT_PTR_NOT_NULL(arena_array(&arena, 0, 4));
    CU_ASSERT_PTR_NOT_NULL(arena_array(&arena, 4, 0));
    CU_ASSERT_EQUAL(arena.used, 0);
    CU_ASSERT_PTR_NOT_NULL(arena_array(&arena, 4, 8));
    CU_ASSERT_EQUAL(arena.used, 32);
    arena_fini(&arena);
}

static void
test_reset_keeps_one_chunk(void)
{
    struct arena arena;
    arena_init(&arena, 1 << 22);
    void *first = arena_alloc(&arena, 100);
    CU_ASSERT_PTR_NOT_NULL(arena_alloc(&arena, 1 << 20));
    CU_ASSERT_PTR_NOT_NULL(arena_alloc(&arena, 5000));
    arena_reset(&arena);
    CU_ASSERT_EQUAL(arena.used, 0);
    CU_ASSERT_PTR_EQUAL(arena_alloc(&arena, 50), first);
    arena_reset(&arena);
    CU_ASSERT_PTR_EQUAL(arena_alloc(&arena, 50), first);
    arena_fini(&arena);
    arena_reset(&arena);
    CU_ASSERT_PTR_NULL(arena.chunks);
}

static void
test_texts(void)
{
    struct arena arena;
    arena_init(&arena, 4096);
    CU_ASSERT_STRING_EQUAL(arena_string(&arena, "abcdef", 3), "abc");
    CU_ASSERT_STRING_EQUAL(arena_string(&arena, NULL, 0), "");
    CU_ASSERT_STRING_EQUAL(arena_format(&arena, "%s-%d", "topic", 7), "topic-7");
    CU_ASSERT_PTR_NULL(arena_format(&arena, "%5000d", 1));
    CU_ASSERT_PTR_NULL(arena_string(&arena, "", 4096));
    arena_fini(&arena);
}

static const struct unit_case cases[] = {
    {"pieces are zeroed, aligned and apart", test_pieces},
    {"the limit holds to the byte", test_limit},
    {"an array that overflows is refused", test_array_overflow},
    {"a reset keeps one small chunk", test_reset_keeps_one_chunk},
    {"strings are copied and formatted", test_texts},
    {NULL, NULL},
};

void
register_arena(void)
{
    unit_register("arena", cases);
}
