/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/suggest.h"

#include <stdint.h>
#include <string.h>

static size_t
least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t
suggest_distance(const char *a, const char *b)
{
    size_t rows = strlen(a), columns = strlen(b);
    if (rows > SUGGEST_BYTES_MAX || columns > SUGGEST_BYTES_MAX)
        return SIZE_MAX;
    size_t cost[3][SUGGEST_BYTES_MAX + 1];
    size_t *before = cost[0], *above = cost[1], *row = cost[2];
    for (size_t j = 0; j <= columns; j++)
        above[j] = j;
    for (size_t i = 1; i <= rows; i++) {
        row[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            row[j] = least(above[j], row[j - 1]) + 1;
            row[j] = least(row[j], above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[columns];
}

void
suggest_init(struct suggest *suggest, const char *wanted)
{
    /* Near is: at most a third of the letters are wrong, one in any case. */
    *suggest = (struct suggest){.wanted = wanted, .distance = strlen(wanted) / 3 + 2};
}

void
suggest_try(struct suggest *suggest, const char *word)
{
    size_t distance = suggest_distance(suggest->wanted, word);
    if (distance < suggest->distance) {
        suggest->distance = distance;
        suggest->best = word;
    }
}
