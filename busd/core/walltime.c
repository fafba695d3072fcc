/* SPDX-License-Identifier: Apache-2.0 */
#include "core/walltime.h"

#include <stdbool.h>

void
walltime_init(struct walltime *time)
{
    *time = (struct walltime){.boot_ms = -1};
}

static int64_t
jump_size(const struct walltime_jump *jump)
{
    return jump->after_ms - jump->before_ms;
}

/* The two oldest become one that is at least as careful as both: what is older than the later one
 * counts as younger by the sum. */
static void
melt_oldest(struct walltime *time)
{
    struct walltime_jump *jumps = time->jumps;
    jumps[0] = (struct walltime_jump){
        .before_ms = jumps[1].before_ms, .after_ms = jumps[1].after_ms + jump_size(&jumps[0])};
    time->count--;
    for (size_t i = 1; i < time->count; i++)
        jumps[i] = jumps[i + 1];
}

static void
add_jump(struct walltime *time, int64_t before_ms, int64_t after_ms)
{
    if (time->count == WALLTIME_JUMPS_MAX)
        melt_oldest(time);
    time->jumps[time->count++] =
        (struct walltime_jump){.before_ms = before_ms, .after_ms = after_ms};
}

/* The clock was set right again: the newest jumps are explained first. */
static void
take_back(struct walltime *time, int64_t back_ms)
{
    while (time->count > 0 && back_ms > 0) {
        struct walltime_jump *last = &time->jumps[time->count - 1];
        int64_t size = jump_size(last);
        if (size > back_ms) {
            last->after_ms -= back_ms;
            break;
        }
        back_ms -= size;
        time->count--;
    }
    /* A correction of about the size of the jump is the end of it. */
    if (time->count > 0 && jump_size(&time->jumps[time->count - 1]) <= WALLTIME_TOLERANCE_MS)
        time->count--;
}

enum walltime_outcome
walltime_note(struct walltime *time, int64_t wall_ms, int64_t boot_ms, int64_t *jump_ms)
{
    *jump_ms = 0;
    int64_t expected_ms = time->wall_ms + (boot_ms - time->boot_ms);
    bool first = time->boot_ms < 0;
    int64_t off_ms = first ? 0 : wall_ms - expected_ms;
    if (!first && off_ms <= WALLTIME_TOLERANCE_MS && off_ms >= -WALLTIME_TOLERANCE_MS)
        return WALLTIME_STEADY;
    time->wall_ms = wall_ms;
    time->boot_ms = boot_ms;
    *jump_ms = off_ms;
    if (off_ms > 0)
        add_jump(time, expected_ms, wall_ms);
    else if (off_ms < 0)
        take_back(time, -off_ms);
    return off_ms > 0 ? WALLTIME_FORWARD : off_ms < 0 ? WALLTIME_BACK : WALLTIME_STEADY;
}

int64_t
walltime_past(const struct walltime *time, int64_t wall_ms, int64_t span_ms)
{
    int64_t border;
    if (span_ms < 0 || __builtin_sub_overflow(wall_ms, span_ms, &border))
        return INT64_MIN;
    for (size_t i = time->count; i > 0; i--) {
        const struct walltime_jump *jump = &time->jumps[i - 1];
        if (border >= jump->after_ms)
            break;
        if (__builtin_sub_overflow(border, jump_size(jump), &border))
            return INT64_MIN;
    }
    return border;
}
