/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/grid.h"

#include "busctl/text.h"

#include <stdlib.h>
#include <string.h>

void
grid_clear(struct grid *grid)
{
    for (size_t i = 0; i < grid->count; i++)
        free(grid->cells[i].text);
    free(grid->cells);
    grid->cells = NULL;
    grid->count = 0;
}

bool
grid_add(struct grid *grid, char *text, bool right)
{
    if ((grid->count & (grid->count - 1)) == 0) {
        size_t capacity = grid->count ? grid->count * 2 : 1;
        struct grid_cell *cells = realloc(grid->cells, capacity * sizeof *cells);
        if (!cells) {
            free(text);
            return false;
        }
        grid->cells = cells;
    }
    grid->cells[grid->count++] = (struct grid_cell){.text = text, .right = right};
    return true;
}

void
grid_write_title(FILE *to, const char *key, bool upper)
{
    for (; *key; key++) {
        char c = *key == '_' ? ' ' : *key;
        fputc(upper && c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c, to);
    }
}

static void
put_cell(FILE *to, const struct grid_cell *cell, size_t width, bool last)
{
    size_t own = text_columns(cell->text);
    int pad = own < width ? (int)(width - own) : 0;
    if (cell->right)
        fprintf(to, "%*s%s", pad, "", cell->text);
    else
        fprintf(to, "%s%*s", cell->text, last ? 0 : pad, "");
    if (!last)
        fputs("  ", to);
}

static void
table_widths(struct grid *grid)
{
    for (size_t i = 0; i < grid->columns; i++)
        if (grid->widths[i] < strlen(grid->titles[i]))
            grid->widths[i] = strlen(grid->titles[i]);
    for (size_t i = 0; i < grid->count; i++) {
        size_t *width = &grid->widths[i % grid->columns];
        size_t own = text_columns(grid->cells[i].text);
        if (own > *width)
            *width = own;
    }
}

static void
table_head(struct grid *grid, FILE *to)
{
    for (size_t i = 0; i < grid->columns; i++) {
        bool last = i + 1 == grid->columns;
        int pad = (int)(grid->widths[i] - strlen(grid->titles[i]));
        bool right = grid->cells[i].right;
        fprintf(to, "%*s", right ? pad : 0, "");
        grid_write_title(to, grid->titles[i], true);
        fprintf(to, "%*s%s", right || last ? 0 : pad, "", last ? "\n" : "  ");
    }
    grid->headed = true;
}

void
grid_write_table(struct grid *grid, FILE *to)
{
    if (grid->count == 0)
        return;
    table_widths(grid);
    if (!grid->headed)
        table_head(grid, to);
    for (size_t i = 0; i < grid->count; i++) {
        bool last = (i + 1) % grid->columns == 0;
        put_cell(to, &grid->cells[i], grid->widths[i % grid->columns], last);
        if (last)
            fputc('\n', to);
    }
    grid_clear(grid);
}

void
grid_write_fields(struct grid *grid, FILE *to)
{
    size_t width = 0;
    for (size_t i = 0; i < grid->count; i++)
        if (strlen(grid->titles[i]) > width)
            width = strlen(grid->titles[i]);
    for (size_t i = 0; i < grid->count; i++) {
        grid_write_title(to, grid->titles[i], false);
        fprintf(to, ":%*s %s\n", (int)(width - strlen(grid->titles[i])), "", grid->cells[i].text);
    }
    grid_clear(grid);
    grid->columns = 0;
}
