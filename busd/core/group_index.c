/* SPDX-License-Identifier: Apache-2.0
 * Members by id and by instance id: a request may name many, and a group may have many.
 */
#include "core/group_inner.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS_MIN = 8 };

static struct group_member **
bucket_of(const struct group *group, bool by_instance, uint64_t hash)
{
    struct group_member **buckets = by_instance ? group->by_instance : group->by_id;
    return &buckets[hash & (group->bucket_count - 1)];
}

static void
insert(struct group *group, struct group_member *member)
{
    struct group_member **bucket = bucket_of(group, false, member->id_hash);
    member->id_chain = *bucket;
    *bucket = member;
    if (!member->instance_id)
        return;
    bucket = bucket_of(group, true, member->instance_hash);
    member->instance_chain = *bucket;
    *bucket = member;
}

bool
group_index_reserve(struct group *group)
{
    if ((size_t)group->member_count < group->bucket_count)
        return true;
    size_t count = group->bucket_count ? group->bucket_count * 2 : BUCKETS_MIN;
    struct group_member **by_id = calloc(count, sizeof(struct group_member *));
    struct group_member **by_instance = calloc(count, sizeof(struct group_member *));
    if (!by_id || !by_instance) {
        free(by_id);
        free(by_instance);
        return group->bucket_count > 0; /* longer chains will do */
    }
    group_index_free(group);
    group->by_id = by_id;
    group->by_instance = by_instance;
    group->bucket_count = count;
    for (struct group_member *m = group->first; m; m = m->next)
        insert(group, m);
    return true;
}

void
group_index_free(struct group *group)
{
    free(group->by_id);
    free(group->by_instance);
    group->by_id = group->by_instance = NULL;
    group->bucket_count = 0;
}

void
group_index_add(struct group *group, struct group_member *member)
{
    member->id_hash = groups_hash(member->id);
    member->instance_hash = member->instance_id ? groups_hash(member->instance_id) : 0;
    insert(group, member);
}

void
group_index_drop(struct group *group, const struct group_member *member)
{
    struct group_member **link = bucket_of(group, false, member->id_hash);
    while (*link != member)
        link = &(*link)->id_chain;
    *link = member->id_chain;
    if (!member->instance_id)
        return;
    link = bucket_of(group, true, member->instance_hash);
    while (*link != member)
        link = &(*link)->instance_chain;
    *link = member->instance_chain;
}

struct group_member *
group_member_find(const struct group *group, const char *id)
{
    if (group->bucket_count == 0)
        return NULL;
    uint64_t hash = groups_hash(id);
    struct group_member *member = *bucket_of(group, false, hash);
    while (member && (member->id_hash != hash || strcmp(member->id, id) != 0))
        member = member->id_chain;
    return member;
}

struct group_member *
group_instance_find(const struct group *group, const char *instance_id)
{
    if (group->bucket_count == 0)
        return NULL;
    uint64_t hash = groups_hash(instance_id);
    struct group_member *member = *bucket_of(group, true, hash);
    while (
        member && (member->instance_hash != hash || strcmp(member->instance_id, instance_id) != 0))
        member = member->instance_chain;
    return member;
}
