/* SPDX-License-Identifier: Apache-2.0
 * The terminal of `top`: puts a frame on it, says which key was pressed. One at a time.
 */
#ifndef BUSCTL_TOP_SCREEN_H
#define BUSCTL_TOP_SCREEN_H

#include "busctl/top_frame.h"

/** What top_screen_key() returns beside characters. */
enum top_key {
    TOP_KEY_NONE = 0x10000, /* the time is over, or a signal came */
    TOP_KEY_RESIZE,
    TOP_KEY_UP,
    TOP_KEY_DOWN,
    TOP_KEY_PAGE_UP,
    TOP_KEY_PAGE_DOWN,
    TOP_KEY_HOME,
    TOP_KEY_END,
    TOP_KEY_GONE, /* the terminal */
};

/** Whether the type of the terminal, TERM, is known here and can move its cursor. */
bool top_screen_is_fit(void);

/** Takes the terminal. Returns 0 or UNSUPPORTED_VERSION: the type of terminal is not known. */
int top_screen_open(void);

/** Gives it back as it was; does nothing when it was not taken. */
void top_screen_close(void);

/** The size of the window now. */
void top_screen_size(int *width, int *height);

/** Shows a frame. */
void top_screen_draw(const struct top_frame *frame);

/** Waits for a key until `until_ns` (monotonic): a character or a enum top_key. */
int top_screen_key(int64_t until_ns);

#endif
