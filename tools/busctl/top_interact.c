/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "busctl/interrupt.h"
#include "busctl/top.h"
#include "busctl/top_screen.h"

#include <string.h>

enum { PAGE_ROWS = 10 };

/* Fits into 80 columns. */
static const char help[] =
    "q quit  sort: n name r records b bytes s size p parts l lag  g groups  arrows";

/** Nothing was seen yet: busd went away right after the start. */
static const struct top_sample nothing;

/** Shows what is known. False: memory is out. */
static bool
draw(struct top *top)
{
    const struct top_sample *now = top->now ? top->now : &nothing;
    bool rated = top->before && !top->away[0];
    struct top_view view;
    struct top_frame frame;
    struct top_scene scene = {.view = &view,
        .status = &now->status,
        .disk_bytes = now->disk_bytes,
        .time_ms = now->time_ms,
        .away = top->away[0] ? top->away : NULL,
        .help = help,
        .sort = top->sort,
        .show = top->show,
        .scroll = top->scroll};
    top_screen_size(&scene.width, &scene.height);
    bool made = top_view_init(
        &view, &now->look, rated ? &top->before->look : NULL, top->sort, top->reversed);
    if (made) {
        made = top_frame_init(&frame, &scene);
        if (made)
            top_screen_draw(&frame);
        top->scroll = frame.scroll;
        top_frame_fini(&frame);
    }
    top_view_fini(&view);
    return made;
}

static void
sort_by(struct top *top, enum top_sort sort)
{
    top->reversed = top->sort == sort && !top->reversed;
    top->sort = sort;
}

static void
scroll_by(struct top *top, int rows)
{
    size_t up = (size_t)-rows;
    if (rows < 0)
        top->scroll -= top->scroll < up ? top->scroll : up;
    else
        top->scroll += (size_t)rows;
}

/** Does what a key that changes the order asks for; false when it is none. */
static bool
sort_key(struct top *top, int key)
{
    static const char letters[] = "nrbspl";
    static const enum top_sort sorts[] = {TOP_BY_NAME, TOP_BY_RECORDS_PER_S, TOP_BY_BYTES_PER_S,
        TOP_BY_BYTES, TOP_BY_PARTITIONS, TOP_BY_LAG};
    const char *found = key > 0 && key < 128 ? strchr(letters, key) : NULL;
    if (found)
        sort_by(top, sorts[found - letters]);
    return found != NULL;
}

/** Does what a key asks for; false when that is to end. */
static bool
take_key(struct top *top, int key, int64_t *next_ns)
{
    if (sort_key(top, key))
        return true;
    switch (key) {
    case 'q':
    case 'Q':
    case TOP_KEY_GONE:
        return false;
    case 'g':
        top->show = (top->show + 1) % TOP_SHOW_COUNT;
        top->scroll = 0;
        break;
    case ' ':
        *next_ns = 0;
        break;
    case TOP_KEY_UP:
        scroll_by(top, -1);
        break;
    case TOP_KEY_DOWN:
        scroll_by(top, 1);
        break;
    case TOP_KEY_PAGE_UP:
        scroll_by(top, -PAGE_ROWS);
        break;
    case TOP_KEY_PAGE_DOWN:
        scroll_by(top, PAGE_ROWS);
        break;
    case TOP_KEY_HOME:
        top->scroll = 0;
        break;
    case TOP_KEY_END:
        top->scroll = SIZE_MAX / 2; /* the frame knows where that is */
        break;
    default:
        break;
    }
    return true;
}

int
top_interact(struct ctl *ctl, struct top *top)
{
    int64_t delay_ns = (int64_t)(top->delay_s * 1e9), next_ns = 0;
    bool goes_on = true, drawn = true;
    if (top_screen_open() < 0)
        return ctl_fail(ctl, "%s", bus_error());
    while (drawn && goes_on && !interrupted()) {
        int64_t now_ns = clock_mono_ns();
        if (now_ns >= next_ns) {
            top_update(top);
            next_ns = now_ns + delay_ns;
        }
        drawn = draw(top);
        if (drawn)
            goes_on = take_key(top, top_screen_key(next_ns), &next_ns);
    }
    top_screen_close();
    return drawn ? CTL_OK : ctl_no_memory(ctl);
}
