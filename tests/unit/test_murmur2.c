/* SPDX-License-Identifier: Apache-2.0 */
#include "record/murmur2.h"
#include "unit/unit.h"

#include <string.h>

/* The values that Kafka's Java client gives. */
static void
test_known(void)
{
    static const struct {
        const char *key;
        int32_t hash;
    } known[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        CU_ASSERT_EQUAL((int32_t)murmur2(known[i].key, strlen(known[i].key)), known[i].hash);
}

static void
test_partition(void)
{
    /* 479470107 and -790332482 & 0x7fffffff = 1357151166, by hand. */
    CU_ASSERT_EQUAL(murmur2_partition("abc", 3, 10), 7);
    CU_ASSERT_EQUAL(murmur2_partition("foobar", 6, 10), 6);
    CU_ASSERT_EQUAL(murmur2_partition("foobar", 6, 1), 0);
    CU_ASSERT_EQUAL(murmur2_partition("foobar", 6, INT32_MAX), 1357151166);
}

static void
test_range(void)
{
    unsigned outside = 0;
    unsigned used[7] = {0};
    for (uint32_t i = 0; i < 1000; i++) {
        int32_t partition = murmur2_partition(&i, i % 5, 7);
        outside += partition < 0 || partition >= 7;
        partition = murmur2_partition(&i, sizeof i, 7);
        if (partition >= 0 && partition < 7)
            used[partition]++;
    }
    CU_ASSERT_EQUAL(outside, 0);
    for (size_t i = 0; i < 7; i++)
        CU_ASSERT(used[i] > 0);
}

static const struct unit_case cases[] = {
    {"keys hash as in Kafka's Java client", test_known},
    {"a key's partition ignores the sign", test_partition},
    {"partitions are in range and all used", test_range},
    {NULL, NULL},
};

void
register_murmur2(void)
{
    unit_register("murmur2", cases);
}
