/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/merge.h"

#include "unit/unit.h"

#include <stdlib.h>

enum { SEQUENCES = 5, LENGTH = 40 };

/** Looks at every head each time: the lowest timestamp, of these the lowest sequence. */
static size_t
plain_first(int64_t table[SEQUENCES][LENGTH], const int at[SEQUENCES])
{
    size_t first = SEQUENCES;
    for (size_t i = 0; i < SEQUENCES; i++)
        if (at[i] < LENGTH && (first == SEQUENCES || table[i][at[i]] < table[first][at[first]]))
            first = i;
    return first;
}

static void
merge_all(int64_t table[SEQUENCES][LENGTH])
{
    struct merge merge;
    int at[SEQUENCES] = {0};
    CU_ASSERT_TRUE_FATAL(merge_init(&merge, SEQUENCES));
    for (size_t i = 0; i < SEQUENCES; i++)
        merge_add(&merge, i, table[i][0]);
    for (int taken = 0; taken < SEQUENCES * LENGTH; taken++) {
        size_t expected = plain_first(table, at);
        const struct merge_head *head = merge_first(&merge);
        CU_ASSERT_PTR_NOT_NULL_FATAL(head);
        CU_ASSERT_EQUAL(head->sequence, expected);
        CU_ASSERT_EQUAL(head->timestamp_ms, table[expected][at[expected]]);
        if (++at[expected] < LENGTH)
            merge_next(&merge, table[expected][at[expected]]);
        else
            merge_end(&merge);
    }
    CU_ASSERT_PTR_NULL(merge_first(&merge));
    merge_fini(&merge);
}

static void
test_like_a_plain_one(void)
{
    int64_t table[SEQUENCES][LENGTH];
    srand(1);
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < SEQUENCES; i++)
            for (int j = 0; j < LENGTH; j++)
                table[i][j] = rand() % 50 - 1; /* also equal ones, and some that go back */
        merge_all(table);
    }
}

static void
test_nothing(void)
{
    struct merge merge;
    CU_ASSERT_TRUE_FATAL(merge_init(&merge, 0));
    CU_ASSERT_PTR_NULL(merge_first(&merge));
    merge_fini(&merge);
    merge_fini(&merge);
}

static const struct unit_case cases[] = {
    {"gives the order that looking at all heads gives", test_like_a_plain_one},
    {"nothing to merge", test_nothing},
    {NULL, NULL},
};

void
register_merge(void)
{
    unit_register("merge", cases);
}
