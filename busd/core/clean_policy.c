/* SPDX-License-Identifier: Apache-2.0 */
#include "core/clean_policy.h"

enum { ASKED = 3, OVERDUE = 2 }; /* more urgent than any ratio */

static bool
may_clean(const struct clean_rules *rules, const struct clean_segment *segment)
{
    return segment->next_offset <= rules->limit_offset && segment->newest_ms < rules->young_ms;
}

/* Whether the oldest dirty segment has waited too long. */
static bool
is_overdue(const struct clean_rules *rules, const struct clean_segment *first)
{
    return first && first->first_timestamp >= 0 && first->first_timestamp < rules->overdue_ms;
}

static void
judge(const struct clean_rules *rules, bool overdue, bool any, struct clean_verdict *verdict)
{
    int64_t all = verdict->clean_bytes + verdict->dirty_bytes;
    double ratio = all > 0 ? (double)verdict->dirty_bytes / (double)all : 0;
    verdict->urgency = ratio;
    /* Who asks gets a pass even without anything dirty: deletions may have become old enough. */
    if (rules->asked)
        verdict->due = any;
    else
        verdict->due = verdict->dirty_bytes > 0 && (ratio > rules->dirty_ratio || overdue);
    if (rules->asked)
        verdict->urgency += ASKED;
    else if (overdue)
        verdict->urgency += OVERDUE;
}

void
clean_assess(const struct clean_rules *rules, const struct clean_segment *segments, size_t count,
    struct clean_verdict *verdict)
{
    *verdict = (struct clean_verdict){.end_offset = rules->clean_offset};
    const struct clean_segment *first = NULL;
    size_t i = 0;
    if (!rules->compact)
        return;
    for (; i < count && segments[i].next_offset <= rules->clean_offset; i++)
        verdict->clean_bytes += segments[i].bytes;
    bool any = i > 0;
    for (; i < count && may_clean(rules, &segments[i]); i++) {
        if (!first)
            first = &segments[i];
        verdict->dirty_bytes += segments[i].bytes;
        verdict->end_offset = segments[i].next_offset;
    }
    judge(rules, is_overdue(rules, first), any || first, verdict);
}

int64_t
clean_horizon_ms(int64_t now_ms, int64_t delete_retention_ms)
{
    int64_t horizon;
    return __builtin_add_overflow(now_ms, delete_retention_ms, &horizon) ? INT64_MAX : horizon;
}
