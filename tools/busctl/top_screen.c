/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/top_screen.h"

#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <ncurses.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

static SCREEN *screen;

int
top_screen_open(void)
{
    const char *type = getenv("TERM");
    if (!type || !*type)
        return err_set(BUS_ERR_UNSUPPORTED_VERSION,
            "TERM is not set, so the type of the terminal is not known: export TERM, or use -b");
    /* initscr() would end the process, newterm() would leak what it had made by then. */
    if (top_screen_is_fit())
        screen = newterm(NULL, stdout, stdin);
    if (!screen)
        return err_set(BUS_ERR_UNSUPPORTED_VERSION,
            "the terminal type '%s' (TERM) is not known here, or cannot move its cursor: try "
            "TERM=vt100, or use -b",
            type);
    set_term(screen);
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(25);
    curs_set(0);
    return 0;
}

void
top_screen_close(void)
{
    if (!screen)
        return;
    endwin();
    delscreen(screen);
    screen = NULL;
}

void
top_screen_size(int *width, int *height)
{
    *width = COLS;
    *height = LINES;
}

static attr_t
attributes(enum top_style style)
{
    switch (style) {
    case TOP_STRONG:
        return A_BOLD;
    case TOP_TITLE:
        return A_REVERSE;
    case TOP_ALERT:
        return A_BOLD | A_REVERSE;
    default:
        return A_NORMAL;
    }
}

void
top_screen_draw(const struct top_frame *frame)
{
    erase();
    for (size_t i = 0; i < frame->count && i < (size_t)LINES; i++) {
        attr_t how = attributes(frame->lines[i].style);
        move((int)i, 0);
        attrset((int)how);
        /* Characters that are two columns wide must not push anything into the next line. */
        addnstr(frame->lines[i].text, -1);
        attrset(A_NORMAL);
        if ((int)i == getcury(stdscr))
            clrtoeol();
    }
    refresh();
}

static int
key_of(int got)
{
    static const struct {
        int curses;
        int key;
    } keys[] = {{KEY_RESIZE, TOP_KEY_RESIZE}, {KEY_UP, TOP_KEY_UP}, {KEY_DOWN, TOP_KEY_DOWN},
        {KEY_PPAGE, TOP_KEY_PAGE_UP}, {KEY_NPAGE, TOP_KEY_PAGE_DOWN}, {KEY_HOME, TOP_KEY_HOME},
        {KEY_END, TOP_KEY_END}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (keys[i].curses == got)
            return keys[i].key;
    return got >= 0 && got < 256 ? got : TOP_KEY_NONE;
}

int
top_screen_key(int64_t until_ns)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    int got = getch();
    if (got != ERR)
        return key_of(got);
    int64_t left_ns = until_ns - clock_mono_ns();
    int rc = poll(&input, 1, left_ns > 0 ? (int)(left_ns / 1000000) + 1 : 0);
    got = getch();
    if (got != ERR)
        return key_of(got);
    /* Readable, and nothing to read: its other end is closed. */
    return rc > 0 ? TOP_KEY_GONE : TOP_KEY_NONE;
}
