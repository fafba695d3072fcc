/* SPDX-License-Identifier: Apache-2.0
 * A group comes back from storage: its members go on in the generation that they were in.
 */
#include "core/group_inner.h"

#include <stdlib.h>
#include <string.h>

/** NULL and "" are none. */
static bool
copy_text(char **to, const char *from)
{
    if (!from || from[0] == '\0')
        return true;
    *to = strdup(from);
    return *to != NULL;
}

static bool
makes_sense(const struct group_image *image)
{
    if (!image->id || image->id[0] == '\0' || image->generation < 0 || image->member_count < 0)
        return false;
    if (image->member_count > 0 && (!image->protocol_type || !image->protocol))
        return false;
    for (int32_t i = 0; i < image->member_count; i++) {
        const struct group_image_member *m = &image->members[i];
        if (!m->id || m->id[0] == '\0' || m->session_timeout_ms < 0 || m->rebalance_timeout_ms < 0)
            return false;
    }
    return true;
}

/** The member knows one protocol, the group's, until it joins again. */
static bool
add_member(struct groups *groups, struct group *group, int64_t time_ms,
    const struct group_image_member *saved)
{
    struct group_protocol protocol = {group->protocol, saved->subscription};
    struct group_join join = {
        .instance_id = saved->instance_id,
        .client_id = saved->client_id ? saved->client_id : "",
        .client_host = saved->client_host ? saved->client_host : "",
        .protocols = &protocol,
        .protocol_count = 1,
        .session_timeout_ms = saved->session_timeout_ms,
        .rebalance_timeout_ms = saved->rebalance_timeout_ms,
    };
    struct group_member *member = member_new(&join, saved->id);
    if (!member || !group_index_reserve(group)) {
        if (member)
            member_free(member);
        return false;
    }
    member->knows_id = true;
    member_touch(member, time_ms);
    member_add(groups, group, member);
    return member_assign(groups, member, saved->assignment);
}

static bool
fill(struct groups *groups, struct group *group, int64_t time_ms, const struct group_image *image)
{
    if (!copy_text(&group->protocol_type, image->protocol_type) ||
        !copy_text(&group->protocol, image->protocol))
        return false;
    for (int32_t i = 0; i < image->member_count; i++)
        if (!add_member(groups, group, time_ms, &image->members[i]))
            return false;
    struct group_member *leader = image->leader ? group_member_find(group, image->leader) : NULL;
    if (leader)
        group->leader = leader;
    return true;
}

int
groups_restore(struct groups *groups, int64_t now_ms, const struct group_image *image)
{
    int64_t time_ms = groups_time(groups, now_ms);
    if (!makes_sense(image) || groups_find(groups, image->id))
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "the metadata of group %s makes no sense",
            image->id ? image->id : "(null)");
    struct group *group = groups_add(groups, image->id);
    if (!group)
        return err_no_memory();
    group->generation = image->generation;
    bool filled = fill(groups, group, time_ms, image);
    if (!filled) {
        while (group->first)
            member_remove(groups, group->first);
        groups_remove(groups, group);
        return err_no_memory();
    }
    group->state = group->first ? GROUP_STABLE : GROUP_EMPTY;
    groups_arm(groups, group);
    return 0;
}
