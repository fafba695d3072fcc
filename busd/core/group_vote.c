/* SPDX-License-Identifier: Apache-2.0
 * Which protocols a group has in common, and which one it uses.
 */
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

/** Number of the member's favourite among those of `first` that all know. Each join is checked, so
 * there is one. */
static int32_t
favourite(const struct group_member *first, const bool *common, const struct group_member *member)
{
    for (int32_t i = 0; i < member->protocol_count; i++)
        for (int32_t j = 0; j < first->protocol_count; j++)
            if (common[j] && strcmp(first->protocols[j].name, member->protocols[i].name) == 0)
                return j;
    return 0;
}

const char *
group_vote(const struct group *group)
{
    const struct group_member *first = group->first;
    int32_t votes[GROUP_PROTOCOLS_MAX] = {0};
    bool common[GROUP_PROTOCOLS_MAX];
    int32_t best = 0;
    for (int32_t i = 0; i < first->protocol_count; i++)
        common[i] = all_offer(group, first->protocols[i].name);
    for (const struct group_member *m = first; m; m = m->next)
        votes[favourite(first, common, m)]++;
    for (int32_t i = 1; i < first->protocol_count; i++)
        if (votes[i] > votes[best])
            best = i;
    return first->protocols[best].name;
}
