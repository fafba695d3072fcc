/* SPDX-License-Identifier: Apache-2.0
 * By itself: term.h defines words like "lines" and "columns" as macros.
 */
#include "busctl/top_screen.h"

#include <ncurses.h>
#include <term.h>
#include <unistd.h>

bool
top_screen_is_fit(void)
{
    int found;
    if (setupterm(NULL, STDOUT_FILENO, &found) != OK)
        return false;
    bool moves = cursor_address != NULL;
    del_curterm(cur_term);
    return moves;
}
