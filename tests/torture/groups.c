/* SPDX-License-Identifier: Apache-2.0
 * The group coordinator under failing allocations: who asks is answered once, and what is refused
 * has changed nothing that matters.
 */
#include "base/err.h"
#include "core/group.h"
#include "torture/scenarios.h"

#include <stdio.h>
#include <string.h>

enum { MEMBERS = 3, TRIES = 4 };

struct asker {
    struct group_waiter join, sync; /* first: answers come with their addresses */
    char id[32];
    int joins, syncs; /* answers */
    enum bus_err error;
    int32_t generation;
};

static void
joined(void *context, struct group_waiter *waiter, const struct group_joined *answer)
{
    struct asker *a = (struct asker *)(void *)waiter;
    (void)context;
    a->joins++;
    a->error = answer->error;
    if (!answer->error || answer->error == BUS_ERR_MEMBER_ID_REQUIRED)
        snprintf(a->id, sizeof a->id, "%s", answer->member_id);
    if (!answer->error)
        a->generation = answer->group->generation;
}

static void
synced(void *context, struct group_waiter *waiter, const struct group_synced *answer)
{
    struct asker *a = (struct asker *)(void *)(waiter - 1);
    (void)context;
    a->syncs++;
    a->error = answer->error;
}

static int
save(void *context, const struct group *group, uint64_t number)
{
    (void)context;
    (void)group;
    (void)number;
    return GROUP_SAVED;
}

static void
join(struct groups *groups, struct asker *a, const char *fresh_id, const char *instance_id)
{
    static const struct group_protocol protocols[] = {
        {"range", {(const uint8_t *)"metadata", 8}}, {"sticky", {NULL, 0}}};
    char own[32];
    snprintf(own, sizeof own, "%s", a->id);
    struct group_join request = {
        .group_id = "g",
        .member_id = own,
        .instance_id = instance_id,
        .fresh_id = fresh_id,
        .client_id = "client",
        .client_host = "host",
        .protocol_type = "consumer",
        .protocols = protocols,
        .protocol_count = 2,
        .session_timeout_ms = 6000,
        .rebalance_timeout_ms = 6000,
        .needs_known_id = true,
    };
    group_join(groups, 0, &request, &a->join);
}

/** Has everybody join, each as often as it takes; what is refused may be tried again. */
static int
join_all(struct groups *groups, struct asker *askers)
{
    static const char *const fresh[] = {"a", "b", "c"};
    for (int i = 0; i < MEMBERS; i++) {
        const char *instance = i == 2 ? "instance" : NULL;
        for (int try = 0; try < TRIES && !askers[i].join.member; try++)
            join(groups, &askers[i], fresh[i], instance);
        if (!askers[i].join.member)
            return 1;
    }
    return 0;
}

static int
sync_all(struct groups *groups, struct asker *askers)
{
    struct group_share shares[MEMBERS];
    for (int i = 0; i < MEMBERS; i++)
        shares[i] = (struct group_share){askers[i].id, {(const uint8_t *)"share", 5}};
    for (int i = MEMBERS - 1; i >= 0; i--) {
        struct group_sync request = {
            .claim = {"g", askers[i].id, NULL, askers[i].generation},
            .shares = shares,
            .share_count = i == 0 ? MEMBERS : 0,
        };
        int before = askers[i].syncs;
        group_sync(groups, 7000, &request, &askers[i].sync);
        if (askers[i].syncs == before && !askers[i].sync.member)
            return 2;
    }
    for (int i = 0; i < MEMBERS; i++)
        if (askers[i].sync.member || askers[i].syncs != 1)
            return 3;
    return -(int)askers[0].error;
}

static int
restore(struct groups *groups)
{
    static const struct group_image_member members[] = {
        {"m1", NULL, "c", "h", 6000, 6000, {(const uint8_t *)"s", 1}, {(const uint8_t *)"a", 1}},
        {"m2", "i", "c", "h", 6000, 6000, {NULL, 0}, {NULL, 0}},
    };
    const struct group_image image = {.id = "saved",
        .protocol_type = "consumer",
        .protocol = "range",
        .leader = "m2",
        .generation = 3,
        .members = members,
        .member_count = 2};
    int rc = groups_restore(groups, 7000, &image);
    const struct group *group = groups_find(groups, "saved");
    if (rc < 0)
        return group ? 4 : rc;
    return group->member_count == 2 && group->leader == group->last ? 0 : 5;
}

static int
run_group(struct groups *groups, struct asker *askers)
{
    int rc = join_all(groups, askers);
    if (rc > 0)
        return rc;
    for (int64_t now_ms = groups_deadline_ms(groups); now_ms <= 6000;
         now_ms = groups_deadline_ms(groups))
        groups_tick(groups, now_ms);
    for (int i = 0; i < MEMBERS; i++)
        if (askers[i].join.member || askers[i].error || askers[i].generation != 1)
            return groups_find(groups, "g")->state == GROUP_PREPARING ? -BUS_ERR_NO_MEMORY : 6;
    return sync_all(groups, askers);
}

int
scenario_groups(void *unused)
{
    static const struct group_ops ops = {joined, synced, save, NULL};
    static const struct group_rules rules = {3000, 6000, 60000, 10, 10, 1 << 20};
    struct asker askers[MEMBERS] = {0};
    struct groups groups;
    (void)unused;
    groups_init(&groups, &ops, &rules);
    int rc = run_group(&groups, askers);
    if (rc <= 0) {
        int restored = restore(&groups);
        rc = restored != 0 ? restored : rc;
    }
    for (int i = 0; i < MEMBERS; i++) {
        group_cancel(&groups, 7000, &askers[i].join);
        group_cancel(&groups, 7000, &askers[i].sync);
    }
    groups_fini(&groups);
    return groups.bytes == 0 ? rc : 7;
}
