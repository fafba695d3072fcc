/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/merge.h"

#include "base/check.h"

#include <stdlib.h>

bool
merge_init(struct merge *merge, size_t sequences)
{
    *merge = (struct merge){.capacity = sequences};
    merge->heads = calloc(sequences ? sequences : 1, sizeof *merge->heads);
    return merge->heads != NULL;
}

void
merge_fini(struct merge *merge)
{
    free(merge->heads);
    *merge = (struct merge){0};
}

static bool
before(const struct merge_head *a, const struct merge_head *b)
{
    if (a->timestamp_ms != b->timestamp_ms)
        return a->timestamp_ms < b->timestamp_ms;
    return a->sequence < b->sequence;
}

static void
swap(struct merge *merge, size_t a, size_t b)
{
    struct merge_head head = merge->heads[a];
    merge->heads[a] = merge->heads[b];
    merge->heads[b] = head;
}

/** Moves the head at `at` down to where it belongs. */
static void
sink(struct merge *merge, size_t at)
{
    for (;;) {
        size_t least = at, child = 2 * at + 1;
        for (size_t i = child; i < child + 2 && i < merge->count; i++)
            if (before(&merge->heads[i], &merge->heads[least]))
                least = i;
        if (least == at)
            return;
        swap(merge, at, least);
        at = least;
    }
}

void
merge_add(struct merge *merge, size_t sequence, int64_t timestamp_ms)
{
    MUST(merge->count < merge->capacity);
    size_t at = merge->count++;
    merge->heads[at] = (struct merge_head){timestamp_ms, sequence};
    for (; at > 0 && before(&merge->heads[at], &merge->heads[(at - 1) / 2]); at = (at - 1) / 2)
        swap(merge, at, (at - 1) / 2);
}

const struct merge_head *
merge_first(const struct merge *merge)
{
    return merge->count > 0 ? &merge->heads[0] : NULL;
}

void
merge_next(struct merge *merge, int64_t timestamp_ms)
{
    MUST(merge->count > 0);
    merge->heads[0].timestamp_ms = timestamp_ms;
    sink(merge, 0);
}

void
merge_end(struct merge *merge)
{
    MUST(merge->count > 0);
    merge->heads[0] = merge->heads[--merge->count];
    sink(merge, 0);
}
