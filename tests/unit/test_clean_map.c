/* SPDX-License-Identifier: Apache-2.0 */
#include "store/clean_map.h"

#include "unit/unit.h"

#include <stdio.h>
#include <string.h>

/* The vectors that the authors of SipHash publish: secret and input are 0, 1, 2, … */
static void
test_vectors(void)
{
    const uint64_t secret[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    const uint8_t input[1] = {0};
    uint64_t hash[2];
    clean_hash(secret, CLEAN_KEY_RECORD, input, 0, hash);
    CU_ASSERT_EQUAL(hash[0], UINT64_C(0xe6a825ba047f81a3));
    CU_ASSERT_EQUAL(hash[1], UINT64_C(0x930255c71472f66d));
    clean_hash(secret, CLEAN_KEY_RECORD, input, 1, hash);
    CU_ASSERT_EQUAL(hash[0], UINT64_C(0x44af996bd8c187da));
    CU_ASSERT_EQUAL(hash[1], UINT64_C(0x45fc229b11597634));
    uint64_t other[2];
    clean_hash(secret, CLEAN_KEY_PRODUCER, input, 1, other);
    CU_ASSERT(other[0] != hash[0] && other[1] != hash[1]);
}

static bool
put(struct clean_map *map, int key, int64_t offset)
{
    char text[16];
    int n = snprintf(text, sizeof text, "%d", key);
    return clean_map_put(map, CLEAN_KEY_RECORD, text, (size_t)n, offset);
}

static int64_t
get(const struct clean_map *map, int key)
{
    char text[16];
    int n = snprintf(text, sizeof text, "%d", key);
    return clean_map_get(map, CLEAN_KEY_RECORD, text, (size_t)n);
}

static void
test_last_offset(void)
{
    struct clean_map map;
    CU_ASSERT_EQUAL_FATAL(clean_map_init(&map, 1 << 20, 1000), 0);
    CU_ASSERT_EQUAL(get(&map, 1), -1);
    CU_ASSERT_TRUE(put(&map, 1, 0));
    CU_ASSERT_EQUAL(get(&map, 1), 0);
    CU_ASSERT_TRUE(put(&map, 1, 77));
    CU_ASSERT_EQUAL(get(&map, 1), 77);
    CU_ASSERT_EQUAL(get(&map, 2), -1);
    CU_ASSERT_EQUAL(clean_map_get(&map, CLEAN_KEY_PRODUCER, "1", 1), -1);
    CU_ASSERT_EQUAL(clean_map_get(&map, CLEAN_KEY_RECORD, "", 0), -1);
    CU_ASSERT_TRUE(clean_map_put(&map, CLEAN_KEY_RECORD, "", 0, 5));
    CU_ASSERT_EQUAL(clean_map_get(&map, CLEAN_KEY_RECORD, "", 0), 5);
    clean_map_fini(&map);
    clean_map_fini(&map);
}

static void
test_full(void)
{
    struct clean_map map;
    CU_ASSERT_EQUAL_FATAL(clean_map_init(&map, 24 * 1000, 1 << 30), 0);
    CU_ASSERT_EQUAL(map.capacity, 1000);
    int keys = 0;
    while (put(&map, keys, keys))
        keys++;
    CU_ASSERT_EQUAL(keys, 900);
    /* Keys that it has can still move on. */
    CU_ASSERT_TRUE(put(&map, 0, 5000));
    for (int i = 1; i < keys; i++)
        CU_ASSERT_EQUAL(get(&map, i), i);
    CU_ASSERT_EQUAL(get(&map, 0), 5000);
    CU_ASSERT_EQUAL(get(&map, keys), -1);
    clean_map_fini(&map);
}

/* Small logs take little memory, whatever is allowed. */
static void
test_size(void)
{
    struct clean_map map;
    CU_ASSERT_EQUAL_FATAL(clean_map_init(&map, 1 << 30, 100), 0);
    CU_ASSERT(map.capacity < 300);
    for (int i = 0; i < 100; i++)
        CU_ASSERT_TRUE(put(&map, i, i));
    clean_map_fini(&map);
}

void
register_clean_map(void)
{
    static const struct unit_case cases[] = {
        {"SipHash-2-4-128", test_vectors},
        {"the last offset of a key", test_last_offset},
        {"a full map", test_full},
        {"no larger than needed", test_size},
        {NULL, NULL},
    };
    unit_register("clean_map", cases);
}
