/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/progress.h"

#include "base/clock.h"

#include <stdio.h>
#include <unistd.h>

enum { FIRST_AFTER_MS = 1000, EVERY_MS = 200 };

void
progress_init(struct progress *progress, const char *what, int64_t total_bytes)
{
    int64_t now_ms = clock_mono_ms();
    *progress = (struct progress){.what = what,
        .total = total_bytes,
        .started_ms = now_ms,
        .next_ms = now_ms + FIRST_AFTER_MS,
        .on = isatty(STDERR_FILENO)};
}

bool
progress_due(const struct progress *progress)
{
    return progress->on && clock_mono_ms() >= progress->next_ms;
}

void
progress_show(struct progress *progress, int64_t bytes, int64_t records)
{
    if (!progress_due(progress))
        return;
    int64_t now_ms = clock_mono_ms();
    double seconds = (double)(now_ms - progress->started_ms) / 1000;
    double mib = (double)bytes / 1048576;
    fprintf(stderr, "\r\033[K%s %lld records, %.1f MiB, %.1f MiB/s", progress->what,
        (long long)records, mib, mib / seconds);
    if (progress->total > 0)
        fprintf(stderr, ", %.0f %%", 100 * (double)bytes / (double)progress->total);
    fputs(progress->note, stderr);
    fflush(stderr);
    progress->shown = true;
    progress->next_ms = now_ms + EVERY_MS;
}

void
progress_clear(struct progress *progress)
{
    if (!progress->shown)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    progress->shown = false;
}
