/* SPDX-License-Identifier: Apache-2.0
 * Aligned text: fields one a line, or the rows of a table.
 */
#ifndef BUSCTL_GRID_H
#define BUSCTL_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { GRID_COLUMNS_MAX = 24 };

struct grid_cell {
    char *text; /* owned */
    bool right; /* aligned */
};

/** Fields of an object, or the rows of a table. All zeros: empty. */
struct grid {
    const char *titles[GRID_COLUMNS_MAX];
    size_t widths[GRID_COLUMNS_MAX]; /* of what was written before */
    size_t columns;
    struct grid_cell *cells; /* owned; row by row */
    size_t count;            /* of cells */
    bool headed;             /* the line of titles was written */
};

/** Removes the cells; titles and widths stay. */
void grid_clear(struct grid *grid);

/** Adds a cell; takes the text, also when memory is out (false). */
bool grid_add(struct grid *grid, char *text, bool right);

/** Writes a key as words, in capitals or not. */
void grid_write_title(FILE *to, const char *key, bool upper);

/** Writes the rows as a table and removes them; the titles come the first time. */
void grid_write_table(struct grid *grid, FILE *to);

/** Writes the cells one a line behind their titles, and empties the grid. */
void grid_write_fields(struct grid *grid, FILE *to);

#endif
