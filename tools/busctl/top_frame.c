/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/top_frame.h"

#include "busctl/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINE_BYTES = 1024,
    CELL_BYTES = 32,
    NAME_COLUMNS_MIN = 12, /* columns beside it go before it gets narrower */
    CELLS_MAX = 6,
};

/* ---- lines ----------------------------------------------------------------------------------- */

static bool
is_full(const struct top_frame *frame, const struct top_scene *scene)
{
    return scene->height <= 0 || frame->count >= (size_t)scene->height;
}

/** Length of the part of a text that is so many columns wide. */
static size_t
cut(const char *text, int columns)
{
    size_t at = 0;
    for (int seen = 0; text[at]; at++)
        if (((unsigned char)text[at] & 0xc0) != 0x80 && seen++ == columns)
            break;
    return at;
}

/** Adds a line if there is room in the window; false when memory is out. */
static bool
add_line(
    struct top_frame *frame, const struct top_scene *scene, enum top_style style, const char *text)
{
    if (is_full(frame, scene))
        return true;
    struct top_line *line = &frame->lines[frame->count];
    line->style = style;
    line->text = strndup(text, cut(text, scene->width > 0 ? scene->width : 0));
    frame->count += line->text != NULL;
    return line->text != NULL;
}

static bool __attribute__((format(printf, 4, 5))) add(struct top_frame *frame,
    const struct top_scene *scene, enum top_style style, const char *format, ...)
{
    char text[LINE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return add_line(frame, scene, style, text);
}

/* ---- numbers --------------------------------------------------------------------------------- */

/** A rate as "0.5", "12", "1234567"; "-" when it is unknown. */
static void
rate_text(double rate, char text[CELL_BYTES])
{
    if (rate < 0)
        snprintf(text, CELL_BYTES, "-");
    else
        snprintf(text, CELL_BYTES, rate > 0 && rate < 9.95 ? "%.1f" : "%.0f", rate);
}

static void
size_text(double bytes, char text[CELL_BYTES])
{
    text_size(bytes, text);
}

static void
count_text(int64_t count, char text[CELL_BYTES])
{
    snprintf(text, CELL_BYTES, "%lld", (long long)count);
}

/* ---- tables ---------------------------------------------------------------------------------- */

struct column {
    const char *title;
    int width;
    int rank; /* the highest goes first when the window is narrow */
    bool left;
};

struct table {
    const char *title; /* of the first column, the name */
    const char *none;  /* in place of rows */
    const char *more;  /* "3 more topics" */
    const struct column *columns;
    size_t column_count;
    size_t rows;
    /** The name and the cells of a row. */
    const char *(*fill)(const struct top_scene *, size_t row, char cells[][CELL_BYTES]);
};

static const struct column topic_columns[] = {
    {"PARTITIONS", 10, 5, false},
    {"RECORDS", 12, 4, false},
    {"SIZE", 10, 3, false},
    {"RECORDS/S", 10, 1, false},
    {"BYTES/S", 10, 2, false},
};

static const struct column group_columns[] = {
    {"STATE", 19, 5, true},
    {"MEMBERS", 7, 4, false},
    {"PARTITIONS", 10, 3, false},
    {"LAG", 12, 1, false},
    {"RECORDS/S", 10, 2, false},
};

static const char *
fill_topic(const struct top_scene *scene, size_t row, char cells[][CELL_BYTES])
{
    const struct top_topic_row *topic = &scene->view->topics[row];
    count_text((int64_t)topic->partitions, cells[0]);
    count_text(topic->records, cells[1]);
    size_text((double)topic->bytes, cells[2]);
    rate_text(topic->records_per_s, cells[3]);
    size_text(topic->bytes_per_s, cells[4]);
    return topic->name;
}

static const char *
fill_group(const struct top_scene *scene, size_t row, char cells[][CELL_BYTES])
{
    const struct top_group_row *group = &scene->view->groups[row];
    snprintf(cells[0], CELL_BYTES, "%s", group->state);
    count_text(group->members, cells[1]);
    count_text((int64_t)group->partitions, cells[2]);
    count_text(group->lag, cells[3]);
    rate_text(group->records_per_s, cells[4]);
    return group->name;
}

/** Which columns fit beside the name; returns the width that is left for it. */
static int
choose(const struct table *table, int width, bool shown[CELLS_MAX])
{
    int needed = 0;
    for (size_t i = 0; i < table->column_count; i++) {
        shown[i] = true;
        needed += 1 + table->columns[i].width;
    }
    for (int rank = (int)table->column_count; width - needed < NAME_COLUMNS_MIN && rank > 0; rank--)
        for (size_t i = 0; i < table->column_count; i++)
            if (table->columns[i].rank == rank) {
                shown[i] = false;
                needed -= 1 + table->columns[i].width;
            }
    return width - needed;
}

static bool
add_row(struct top_frame *frame, const struct top_scene *scene, const struct table *table,
    const char *name, char cells[][CELL_BYTES], bool is_title)
{
    char text[LINE_BYTES];
    bool shown[CELLS_MAX];
    int width = scene->width < LINE_BYTES / 4 ? scene->width : LINE_BYTES / 4;
    int name_columns = choose(table, width, shown);
    name_columns = name_columns > 0 ? name_columns : 0;
    int length = (int)cut(name, name_columns);
    int pad = name_columns - (int)text_columns(name);
    int at = snprintf(text, sizeof text, "%.*s%*s", length, name, pad > 0 ? pad : 0, "");
    for (size_t i = 0; i < table->column_count && at < LINE_BYTES; i++) {
        const struct column *column = &table->columns[i];
        if (shown[i])
            at += snprintf(text + at, sizeof text - (size_t)at, column->left ? " %-*s" : " %*s",
                column->width, is_title ? column->title : cells[i]);
    }
    return add_line(frame, scene, is_title ? TOP_TITLE : TOP_PLAIN, text);
}

/** The name as it may be shown: who commits may call a group what he likes. */
static bool
add_named_row(
    struct top_frame *frame, const struct top_scene *scene, const struct table *table, size_t row)
{
    char cells[CELLS_MAX][CELL_BYTES];
    const char *name = table->fill(scene, row, cells);
    char *visible = text_visible(name, strlen(name));
    bool done = visible && add_row(frame, scene, table, visible, cells, false);
    free(visible);
    return done;
}

/** Adds a table of at most `lines` lines, its title and what tells that there is more among them.
 */
static bool
add_table(struct top_frame *frame, const struct top_scene *scene, const struct table *table,
    size_t lines, size_t first)
{
    if (lines == 0)
        return true;
    bool good = add_row(frame, scene, table, table->title, NULL, true);
    size_t room = lines - 1, rest = table->rows - first;
    size_t rows = rest <= room ? rest : room > 0 ? room - 1 : 0;
    if (table->rows == 0 && room > 0)
        return good && add(frame, scene, TOP_PLAIN, "%s", table->none);
    for (size_t i = 0; i < rows && good; i++)
        good = add_named_row(frame, scene, table, first + i);
    if (good && rest > rows && room > 0)
        good = add(frame, scene, TOP_PLAIN, "... %zu more %s", rest - rows, table->more);
    return good;
}

/* ---- the frame ------------------------------------------------------------------------------- */

static bool
add_head(struct top_frame *frame, const struct top_scene *scene)
{
    const struct top_view *view = scene->view;
    const struct bus_status *status = scene->status;
    char time[TEXT_TIME_BYTES], span[TEXT_SPAN_BYTES], rate[CELL_BYTES];
    char memory[TEXT_SIZE_BYTES], disk[TEXT_SIZE_BYTES], size[TEXT_SIZE_BYTES];
    char byte_rate[TEXT_SIZE_BYTES];
    text_time(scene->time_ms, time);
    /* The time of day: "2026-08-01T14:00:05…" */
    const char *clock = strlen(time) > 19 ? time + 11 : time;
    text_span(status->uptime_ms, span);
    text_size((double)status->memory_bytes, memory);
    text_size((double)scene->disk_bytes, disk);
    text_size((double)view->bytes, size);
    text_size(view->bytes_per_s, byte_rate);
    rate_text(view->records_per_s, rate);
    bool good = scene->away ? add(frame, scene, TOP_ALERT, "busd is away since %.8s: %s", clock,
                                  scene->away)
                            : add(frame, scene, TOP_STRONG, "%.8s  busd %s, up %s, %s", clock,
                                  status->version, span, status->data_folder);
    good =
        good && add(frame, scene, TOP_PLAIN,
                    "topics %zu, partitions %d (open %d), groups %zu, connections %d, memory %s, "
                    "disk %s free",
                    view->topic_count, status->partitions, status->open_partitions,
                    view->group_count, status->connections, memory, disk);
    return good && add(frame, scene, TOP_PLAIN, "all: %s records/s, %s/s, %s, lag %lld", rate,
                       byte_rate, size, (long long)view->lag);
}

/** How many of `room` lines the groups get below the topics: a third, or what nobody else needs. */
static size_t
lines_of_groups(const struct top_view *view, size_t room)
{
    size_t wanted = 2 + view->group_count, third = room / 3;
    size_t topics = 1 + (view->topic_count ? view->topic_count : 1);
    size_t spare = topics < room ? room - topics : 0;
    size_t most = third > spare ? third : spare;
    if (view->group_count == 0 || most < 3)
        return 0;
    return wanted < most ? wanted : most;
}

/** How far down a table may begin: its last rows still fill the window. */
static size_t
scroll_max(const struct table *table, size_t lines)
{
    size_t rows = lines > 1 ? lines - 1 : 0;
    return table->rows > rows ? table->rows - rows : 0;
}

static bool
add_tables(struct top_frame *frame, const struct top_scene *scene, size_t room)
{
    const struct table topics = {"TOPIC", "no topics yet", "topics", topic_columns,
        sizeof topic_columns / sizeof topic_columns[0], scene->view->topic_count, fill_topic};
    const struct table groups = {"GROUP", "no consumer groups", "groups", group_columns,
        sizeof group_columns / sizeof group_columns[0], scene->view->group_count, fill_group};
    const struct table *first = scene->show == TOP_SHOW_GROUPS ? &groups : &topics;
    size_t below = scene->show == TOP_SHOW_BOTH ? lines_of_groups(scene->view, room) : 0;
    size_t lines = room - below, max = scroll_max(first, lines);
    frame->scroll = scene->scroll < max ? scene->scroll : max;
    if (!add_table(frame, scene, first, lines, frame->scroll))
        return false;
    if (below == 0)
        return true;
    return add_line(frame, scene, TOP_PLAIN, "") && add_table(frame, scene, &groups, below - 1, 0);
}

bool
top_frame_init(struct top_frame *frame, const struct top_scene *scene)
{
    *frame = (struct top_frame){0};
    size_t height = scene->height > 0 ? (size_t)scene->height : 0;
    frame->lines = calloc(height + 1, sizeof *frame->lines);
    if (!frame->lines || !add_head(frame, scene))
        return false;
    /* Between head and help: an empty line and the tables. */
    size_t used = frame->count + 2;
    if (height > used && !add_line(frame, scene, TOP_PLAIN, ""))
        return false;
    if (height > used && !add_tables(frame, scene, height - used))
        return false;
    while (frame->count + 1 < height)
        if (!add_line(frame, scene, TOP_PLAIN, ""))
            return false;
    return add_line(frame, scene, TOP_STRONG, scene->help);
}

void
top_frame_fini(struct top_frame *frame)
{
    for (size_t i = 0; i < frame->count; i++)
        free(frame->lines[i].text);
    free(frame->lines);
    *frame = (struct top_frame){0};
}
