/* SPDX-License-Identifier: Apache-2.0 */
#include "api/subscription.h"
#include "base/bytes.h"

#include <string.h>

enum { HEAD_BYTES = 6 }; /* a version, and how many topics follow */

static enum subscription_end
walk_member(
    struct bytes metadata, bool (*each)(void *context, const char *topic, size_t n), void *context)
{
    const uint8_t *at = metadata.data, *end = at + (metadata.len > 0 ? metadata.len : 0);
    if (end - at < HEAD_BYTES)
        return SUBSCRIPTION_UNREADABLE;
    int32_t topics = bytes_get_i32(at + 2);
    for (at += HEAD_BYTES; topics > 0; topics--) {
        int n = end - at >= 2 ? bytes_get_i16(at) : -1;
        if (n < 0 || end - at - 2 < n)
            return SUBSCRIPTION_UNREADABLE;
        if (each(context, (const char *)at + 2, (size_t)n))
            return SUBSCRIPTION_FOUND;
        at += 2 + n;
    }
    return SUBSCRIPTION_ALL;
}

enum subscription_end
subscription_walk(const struct group *group,
    bool (*each)(void *context, const char *topic, size_t n), void *context)
{
    enum subscription_end end = SUBSCRIPTION_ALL;
    if (!group->first)
        return SUBSCRIPTION_ALL;
    if (!group->protocol_type || strcmp(group->protocol_type, SUBSCRIPTION_CONSUMER) != 0)
        return SUBSCRIPTION_UNREADABLE;
    for (const struct group_member *m = group->first; m && end != SUBSCRIPTION_FOUND; m = m->next) {
        enum subscription_end one = walk_member(m->protocols[0].metadata, each, context);
        if (one != SUBSCRIPTION_ALL)
            end = one;
    }
    return end;
}

static bool
is_topic(void *context, const char *topic, size_t n)
{
    const char *wanted = context;
    return strlen(wanted) == n && memcmp(wanted, topic, n) == 0;
}

bool
subscription_has(const struct group *group, const char *topic)
{
    return subscription_walk(group, is_topic, (void *)topic) != SUBSCRIPTION_ALL;
}
