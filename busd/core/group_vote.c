/* SPDX-License-Identifier: Apache-2.0
 * Which protocols a group has in common, and which one it uses.
 */
#include "base/check.h"
#include "core/group_inner.h"

#include <string.h>

static bool
offers(const struct group_member *member, const char *name)
{
    for (int32_t i = 0; i < member->protocol_count; i++)
        if (strcmp(member->protocols[i].name, name) == 0)
            return true;
    return false;
}

static bool
all_offer(const struct group *group, const char *name)
{
    const struct group_member *member = group->first;
    while (member && offers(member, name))
        member = member->next;
    return !member;
}

bool
group_supports(const struct group *group, const struct group_join *join)
{
    if (join->protocol_type[0] == '\0' || join->protocol_count == 0)
        return false;
    if (!group->first)
        return true;
    if (!group->protocol_type || strcmp(group->protocol_type, join->protocol_type) != 0)
        return false;
    for (int32_t i = 0; i < join->protocol_count; i++)
        if (all_offer(group, join->protocols[i].name))
            return true;
    return false;
}

/** The member's favourite among those that all know. Each join is checked, so there is one. */
static const char *
favourite(const struct group *group, const struct group_member *member)
{
    int32_t i = 0;
    while (!all_offer(group, member->protocols[i].name)) {
        i++;
        MUST(i < member->protocol_count);
    }
    return member->protocols[i].name;
}

const char *
group_vote(const struct group *group)
{
    const struct group_member *first = group->first;
    int32_t votes[GROUP_PROTOCOLS_MAX] = {0};
    int32_t best = 0;
    for (const struct group_member *m = first; m; m = m->next) {
        const char *name = favourite(group, m);
        int32_t i = 0;
        while (strcmp(first->protocols[i].name, name) != 0)
            i++;
        votes[i]++;
    }
    for (int32_t i = 1; i < first->protocol_count; i++)
        if (votes[i] > votes[best])
            best = i;
    return first->protocols[best].name;
}
