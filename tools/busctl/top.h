/* SPDX-License-Identifier: Apache-2.0
 * The work of `top`: looks at busd again and again, and what it keeps of that.
 */
#ifndef BUSCTL_TOP_H
#define BUSCTL_TOP_H

#include "busctl/busctl.h"
#include "busctl/top_frame.h"
#include "busctl/top_sample.h"

struct top {
    /* What was asked for. */
    double delay_s;
    int64_t count; /* frames; -1: no limit */
    bool batch;
    enum top_sort sort;
    bool reversed;

    struct bus *bus;           /* borrowed */
    struct top_sample *now;    /* owned: the last look that went well */
    struct top_sample *before; /* owned: the one before, that rates are measured from */
    char away[256];            /* why the last look did not go well; "": it did */

    /* On the screen. */
    enum top_show show;
    size_t scroll;
};

/** Looks at busd. Blocks: up to the time of a request. */
void top_update(struct top *top);

/** Releases what was seen. */
void top_fini(struct top *top);

/** Prints frames until the count, a signal, or a reader that went away. Exit code after telling. */
int top_batch(struct ctl *ctl, struct top *top);

/** Shows it on the terminal until it is told to end. Exit code after telling. */
int top_interact(struct ctl *ctl, struct top *top);

#endif
