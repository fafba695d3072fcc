/* SPDX-License-Identifier: Apache-2.0 */
#include "api/twice.h"

#include <stdlib.h>
#include <string.h>

int
twice_init(struct twice *twice, struct arena *arena, size_t most)
{
    *twice = (struct twice){.sorted = arena_array(arena, most, sizeof(const char *))};
    return twice->sorted ? 0 : -BUS_ERR_NO_MEMORY;
}

void
twice_add(struct twice *twice, const char *name)
{
    if (name)
        twice->sorted[twice->count++] = name;
}

static int
compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void
twice_sort(struct twice *twice)
{
    if (twice->count > 1)
        qsort(twice->sorted, twice->count, sizeof twice->sorted[0], compare);
}

bool
twice_has(const struct twice *twice, const char *name)
{
    if (!name || twice->count < 2)
        return false;
    const char **at = bsearch(&name, twice->sorted, twice->count, sizeof twice->sorted[0], compare);
    if (!at)
        return false;
    bool before = at > twice->sorted && strcmp(at[-1], name) == 0;
    bool behind = at + 1 < twice->sorted + twice->count && strcmp(at[1], name) == 0;
    return before || behind;
}
