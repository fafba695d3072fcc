/* SPDX-License-Identifier: Apache-2.0
 * A line on the terminal that tells how far long work has come; silent elsewhere.
 */
#ifndef BUSCTL_PROGRESS_H
#define BUSCTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum { PROGRESS_NOTE_BYTES = 128 };

struct progress {
    const char *what; /* "sent", "verified"; borrowed */
    int64_t total;    /* bytes, 0: unknown */
    int64_t started_ms;
    int64_t next_ms; /* monotonic; when the line is written again */
    bool on;         /* stderr is a terminal */
    bool shown;
    char note[PROGRESS_NOTE_BYTES]; /* shown behind the rest; "" at the start */
};

/** Starts; the line appears when the work takes longer than a second. */
void progress_init(struct progress *progress, const char *what, int64_t total_bytes);

/** Whether progress_show() would write now, so that a note is worth making. */
bool progress_due(const struct progress *progress);

/** Shows the state if it is time: `bytes` done and `records` among them. Cheap when silent. */
void progress_show(struct progress *progress, int64_t bytes, int64_t records);

/** Removes the line, so that other text may follow. */
void progress_clear(struct progress *progress);

#endif
