/* SPDX-License-Identifier: Apache-2.0
 * The lines of a screen of `top`, for any size of window. Draws nothing.
 */
#ifndef BUSCTL_TOP_FRAME_H
#define BUSCTL_TOP_FRAME_H

#include "busctl/top_rates.h"

#include <bus/admin.h>

enum top_style {
    TOP_PLAIN,
    TOP_STRONG, /* what matters first */
    TOP_TITLE,  /* of a table */
    TOP_ALERT,
};

struct top_line {
    char *text; /* owned; UTF-8, at most as wide as the window */
    enum top_style style;
};

/** What is looked at. */
enum top_show { TOP_SHOW_BOTH, TOP_SHOW_TOPICS, TOP_SHOW_GROUPS, TOP_SHOW_COUNT };

/** What a frame is made of, beside the view; everything is borrowed. */
struct top_scene {
    const struct top_view *view;
    const struct bus_status *status;
    int64_t disk_bytes; /* that are left; -1 unknown */
    int64_t time_ms;    /* of the figures, since 1970 */
    const char *away;   /* why there are no newer figures; NULL: these are new */
    const char *help;   /* the last line */
    enum top_sort sort;
    enum top_show show;
    size_t scroll; /* rows of the first table that are above the window */
    int width;
    int height;
};

struct top_frame {
    struct top_line *lines; /* owned */
    size_t count;           /* at most the height */
    size_t scroll;          /* as asked, or as far as the table goes */
};

/** Fills a frame; false when memory is out, top_frame_fini() in any case. */
bool top_frame_init(struct top_frame *frame, const struct top_scene *scene);

/** Releases the lines. */
void top_frame_fini(struct top_frame *frame);

#endif
