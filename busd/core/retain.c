/* SPDX-License-Identifier: Apache-2.0 */
#include "core/retain.h"

int64_t
retain_newest_ms(int64_t max_timestamp, int64_t closed_ms)
{
    bool future =
        closed_ms < INT64_MAX - RETAIN_FUTURE_MS && max_timestamp > closed_ms + RETAIN_FUTURE_MS;
    return max_timestamp < 0 || future ? closed_ms : max_timestamp;
}

static bool
is_over(const struct retain_rules *rules, const struct retain_segment *segment, int64_t total_bytes)
{
    if (segment->next_offset > rules->limit_offset)
        return false;
    if (segment->next_offset <= rules->log_start_offset)
        return true;
    if (!rules->remove)
        return false;
    if (retain_newest_ms(segment->max_timestamp, segment->closed_ms) < rules->before_ms)
        return true;
    return rules->retention_bytes >= 0 && total_bytes - segment->bytes >= rules->retention_bytes;
}

size_t
retain_count(const struct retain_rules *rules, const struct retain_segment *segments, size_t count,
    int64_t total_bytes)
{
    size_t gone = 0;
    while (gone < count && is_over(rules, &segments[gone], total_bytes))
        total_bytes -= segments[gone++].bytes;
    return gone;
}
