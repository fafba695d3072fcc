/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "base/check.h"
#include "busctl/grid.h"
#include "busctl/out.h"
#include "busctl/text.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS_HELD = 256 }; /* a table is written, and its widths are settled, after so many rows */

enum where { AT_TOP, IN_OBJECT, IN_LIST, IN_ROW };

struct out_text {
    struct out base;
    enum where where;
    bool has_object; /* the list stands in an object */
    bool begun;      /* a row of that list was written */
    struct grid fields;
    struct grid table;
    size_t column; /* of the row being filled */
};

static struct out_text *
text_of(struct out *out)
{
    return (struct out_text *)out;
}

static void
text_begin_object(struct out *out, const char *key)
{
    struct out_text *text = text_of(out);
    (void)key;
    MUST(text->where == AT_TOP || text->where == IN_LIST);
    text->where = text->where == AT_TOP ? IN_OBJECT : IN_ROW;
    text->column = 0;
}

static void
text_begin_list(struct out *out, const char *key)
{
    struct out_text *text = text_of(out);
    MUST(text->where == AT_TOP || text->where == IN_OBJECT);
    text->has_object = text->where == IN_OBJECT;
    if (text->has_object) {
        grid_write_fields(&text->fields, out->to);
        fputc('\n', out->to);
        grid_write_title(out->to, key, false);
        fputc(':', out->to);
    }
    text->begun = false;
    memset(&text->table, 0, sizeof text->table);
    text->where = IN_LIST;
}

/** Writes the rows that are held; the first ones begin below the title. */
static void
write_rows(struct out_text *text)
{
    if (text->table.count == 0)
        return;
    if (text->has_object && !text->begun)
        fputc('\n', text->base.to);
    text->begun = true;
    grid_write_table(&text->table, text->base.to);
}

static void
text_end(struct out *out)
{
    struct out_text *text = text_of(out);
    MUST(text->where != AT_TOP);
    if (text->where == IN_ROW) {
        MUST(text->column == text->table.columns);
        if (text->table.count >= ROWS_HELD * text->table.columns)
            write_rows(text);
        text->where = IN_LIST;
    } else if (text->where == IN_LIST) {
        write_rows(text);
        if (text->has_object && !text->begun)
            fputs(" none\n", out->to);
        text->where = text->has_object ? IN_OBJECT : AT_TOP;
    } else {
        grid_write_fields(&text->fields, out->to);
        text->where = AT_TOP;
    }
}

/** Adds a field (takes `value`; NULL: memory was out). */
static void
text_put(struct out *out, const char *key, char *value, bool right)
{
    struct out_text *text = text_of(out);
    MUST(text->where == IN_OBJECT || text->where == IN_ROW);
    struct grid *grid = text->where == IN_ROW ? &text->table : &text->fields;
    size_t column = text->where == IN_ROW ? text->column++ : grid->columns;
    MUST(column < GRID_COLUMNS_MAX && column <= grid->columns);
    if (column == grid->columns)
        grid->titles[grid->columns++] = key;
    if (!value || !grid_add(grid, value, right))
        out->failed = true;
}

static void
text_put_integer(struct out *out, const char *key, int64_t value)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)value);
    text_put(out, key, strdup(digits), true);
}

static void
text_put_none(struct out *out, const char *key)
{
    text_put(out, key, strdup("-"), true);
}

static void
text_put_real(struct out *out, const char *key, double value)
{
    char digits[48];
    snprintf(digits, sizeof digits, "%.2f", value);
    text_put(out, key, strdup(digits), true);
}

static void
text_put_boolean(struct out *out, const char *key, bool value)
{
    text_put(out, key, strdup(value ? "yes" : "no"), false);
}

static void
text_put_bytes(struct out *out, const char *key, const void *bytes, size_t size)
{
    text_put(out, key, bytes ? text_visible(bytes, size) : strdup("-"), false);
}

static void
text_put_time(struct out *out, const char *key, int64_t time_ms)
{
    char date[TEXT_TIME_BYTES];
    text_time(time_ms, date);
    text_put(out, key, strdup(date), false);
}

static void
text_put_pairs(struct out *out, const char *key, const struct out_pair *pairs, size_t count)
{
    struct buf line;
    buf_init(&line);
    for (size_t i = 0; i < count; i++) {
        buf_put(&line, ",", i > 0);
        buf_put(&line, pairs[i].name, pairs[i].name_size);
        buf_put(&line, "=", 1);
        buf_put(&line, pairs[i].value, pairs[i].value_size);
    }
    char *value = count ? text_visible(line.data, line.length) : strdup("-");
    text_put(out, key, buf_failed(&line) ? (free(value), NULL) : value, false);
    buf_fini(&line);
}

static void
text_flush(struct out *out)
{
    write_rows(text_of(out));
    fflush(out->to);
}

static void
text_free(struct out *out)
{
    struct out_text *text = text_of(out);
    grid_clear(&text->fields);
    grid_clear(&text->table);
    free(text);
}

static const struct out_ops text_ops = {
    .object = text_begin_object,
    .list = text_begin_list,
    .end = text_end,
    .integer = text_put_integer,
    .none = text_put_none,
    .real = text_put_real,
    .boolean = text_put_boolean,
    .bytes = text_put_bytes,
    .time = text_put_time,
    .pairs = text_put_pairs,
    .flush = text_flush,
    .free = text_free,
};

struct out *
out_text_open(FILE *to)
{
    struct out_text *text = calloc(1, sizeof *text);
    if (!text)
        return NULL;
    text->base.ops = &text_ops;
    text->base.to = to;
    return &text->base;
}
