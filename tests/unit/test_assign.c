/* SPDX-License-Identifier: Apache-2.0
 * The assignors: the examples of Kafka's documentation, bytes as Kafka has them, and what holds for
 * any group.
 */
#include "client/assign.h"
#include "unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMBERS_MAX = 8, TOPICS_MAX = 6, ROUNDS = 300 };

struct world {
    struct arena arena;
    struct assign_topic topics[TOPICS_MAX];
    size_t topic_count;
    struct assign_member members[MEMBERS_MAX];
    size_t member_count;
    const char *names[MEMBERS_MAX][TOPICS_MAX];
    bool seen[TOPICS_MAX][32];
};

static const char *const topic_names[TOPICS_MAX] = {"t0", "t1", "t2", "t3", "t4", "t5"};
static const char *const member_names[MEMBERS_MAX] = {
    "C0", "C1", "C2", "C3", "C4", "C5", "C6", "C7"};

static void
begin(struct world *world, size_t topics, int32_t partitions, size_t members)
{
    memset(world, 0, sizeof *world);
    arena_init(&world->arena, 1 << 24);
    world->topic_count = topics;
    world->member_count = members;
    for (size_t t = 0; t < topics; t++)
        world->topics[t] = (struct assign_topic){topic_names[t], partitions};
    for (size_t m = 0; m < members; m++) {
        for (size_t t = 0; t < topics; t++)
            world->names[m][t] = topic_names[t];
        world->members[m] = (struct assign_member){.id = member_names[m],
            .topics = world->names[m],
            .topic_count = topics,
            .generation = -1};
    }
}

static void
solve(struct world *world, enum assign_strategy strategy)
{
    CU_ASSERT_EQUAL_FATAL(assign_solve(strategy, world->members, world->member_count, world->topics,
                              world->topic_count, &world->arena),
        0);
}

/* "t0-0 t0-1", in the order of topics. */
static void
expect(const struct assign_member *member, const char *text)
{
    char out[512] = "";
    size_t used = 0;
    for (size_t i = 0; i < member->share.count; i++)
        used += (size_t)snprintf(out + used, sizeof out - used, "%s%s-%d", i > 0 ? " " : "",
            member->share.items[i].topic, member->share.items[i].partition);
    CU_ASSERT_STRING_EQUAL(out, text);
}

/* The members own what they got. */
static void
next_generation(struct world *world, int32_t generation)
{
    for (size_t m = 0; m < world->member_count; m++) {
        world->members[m].owned = world->members[m].share;
        world->members[m].generation = generation;
    }
}

static void
test_range(void)
{
    struct world world;
    begin(&world, 2, 3, 2);
    solve(&world, ASSIGN_RANGE);
    expect(&world.members[0], "t0-0 t0-1 t1-0 t1-1");
    expect(&world.members[1], "t0-2 t1-2");
    arena_fini(&world.arena);
}

static void
test_round_robin(void)
{
    struct world world;
    begin(&world, 2, 3, 2);
    solve(&world, ASSIGN_ROUNDROBIN);
    expect(&world.members[0], "t0-0 t0-2 t1-1");
    expect(&world.members[1], "t0-1 t1-0 t1-2");
    arena_fini(&world.arena);
    /* Topics of 1, 2, 3 partitions; C0 wants the first, C1 two, C2 all. */
    begin(&world, 3, 1, 3);
    world.topics[1].partitions = 2;
    world.topics[2].partitions = 3;
    world.members[0].topic_count = 1;
    world.members[1].topic_count = 2;
    solve(&world, ASSIGN_ROUNDROBIN);
    expect(&world.members[0], "t0-0");
    expect(&world.members[1], "t1-0");
    expect(&world.members[2], "t1-1 t2-0 t2-1 t2-2");
    arena_fini(&world.arena);
}

static void
test_sticky(void)
{
    struct world world;
    begin(&world, 3, 1, 3);
    world.topics[1].partitions = 2;
    world.topics[2].partitions = 3;
    world.members[0].topic_count = 1;
    world.members[1].topic_count = 2;
    solve(&world, ASSIGN_STICKY);
    expect(&world.members[0], "t0-0");
    expect(&world.members[1], "t1-0 t1-1");
    expect(&world.members[2], "t2-0 t2-1 t2-2");
    next_generation(&world, 1);
    world.members[0] = world.members[1];
    world.members[1] = world.members[2];
    world.member_count = 2;
    solve(&world, ASSIGN_STICKY);
    expect(&world.members[0], "t0-0 t1-0 t1-1");
    expect(&world.members[1], "t2-0 t2-1 t2-2");
    arena_fini(&world.arena);
}

static void
test_sticky_keeps(void)
{
    static struct assign_partition first[] = {{"t0", 0}, {"t1", 1}, {"t3", 0}};
    static struct assign_partition third[] = {{"t1", 0}, {"t2", 1}};
    struct world world;
    begin(&world, 4, 2, 2);
    world.members[0].owned = (struct assign_list){first, 3};
    world.members[1].owned = (struct assign_list){third, 2};
    solve(&world, ASSIGN_STICKY);
    CU_ASSERT_EQUAL(world.members[0].share.count, 4);
    CU_ASSERT_EQUAL(world.members[1].share.count, 4);
    for (size_t i = 0; i < 3; i++)
        CU_ASSERT_TRUE(assign_has(&world.members[0].share, first[i].topic, first[i].partition));
    for (size_t i = 0; i < 2; i++)
        CU_ASSERT_TRUE(assign_has(&world.members[1].share, third[i].topic, third[i].partition));
    arena_fini(&world.arena);
}

static void
test_old_claims(void)
{
    static struct assign_partition both[] = {{"t0", 0}, {"t0", 1}};
    struct world world;
    begin(&world, 1, 2, 2);
    world.members[0].owned = world.members[1].owned = (struct assign_list){both, 2};
    world.members[0].generation = 3;
    world.members[1].generation = 4;
    solve(&world, ASSIGN_STICKY);
    CU_ASSERT_EQUAL(world.members[0].share.count, 1);
    CU_ASSERT_EQUAL(world.members[1].share.count, 1);
    arena_fini(&world.arena);
}

static void
test_cooperative(void)
{
    struct world world;
    begin(&world, 1, 4, 2);
    world.member_count = 1;
    solve(&world, ASSIGN_COOPERATIVE);
    expect(&world.members[0], "t0-0 t0-1 t0-2 t0-3");
    next_generation(&world, 1);
    world.member_count = 2;
    solve(&world, ASSIGN_COOPERATIVE);
    CU_ASSERT_EQUAL(world.members[0].share.count, 2);
    CU_ASSERT_EQUAL(world.members[1].share.count, 0);
    next_generation(&world, 2);
    solve(&world, ASSIGN_COOPERATIVE);
    CU_ASSERT_EQUAL(world.members[0].share.count, 2);
    CU_ASSERT_EQUAL(world.members[1].share.count, 2);
    arena_fini(&world.arena);
}

static void
test_static_first(void)
{
    struct world world;
    begin(&world, 1, 1, 2);
    world.members[1].instance_id = "z";
    solve(&world, ASSIGN_RANGE);
    expect(&world.members[0], "");
    expect(&world.members[1], "t0-0");
    arena_fini(&world.arena);
}

static void
note_once(struct world *world, size_t m)
{
    const struct assign_list *share = &world->members[m].share;
    for (size_t i = 0; i < share->count; i++) {
        size_t topic = (size_t)(share->items[i].topic[1] - '0');
        CU_ASSERT_FALSE(world->seen[topic][share->items[i].partition]);
        world->seen[topic][share->items[i].partition] = true;
        bool wanted = false;
        for (size_t t = 0; t < world->members[m].topic_count; t++)
            wanted = wanted || strcmp(world->names[m][t], share->items[i].topic) == 0;
        CU_ASSERT_TRUE(wanted);
    }
}

/* Each partition of a topic that anybody wants is one member's, and of one who wants it. */
static void
check_complete(struct world *world)
{
    memset(world->seen, 0, sizeof world->seen);
    for (size_t m = 0; m < world->member_count; m++)
        note_once(world, m);
    for (size_t t = 0; t < world->topic_count; t++) {
        bool wanted = false;
        for (size_t m = 0; m < world->member_count; m++)
            for (size_t i = 0; i < world->members[m].topic_count; i++)
                wanted = wanted || world->names[m][i] == topic_names[t];
        for (int32_t p = 0; p < world->topics[t].partitions; p++)
            CU_ASSERT_EQUAL(world->seen[t][p], wanted);
    }
}

static void
random_world(struct world *world)
{
    begin(world, 1 + (size_t)(rand() % TOPICS_MAX), 0, 1 + (size_t)(rand() % MEMBERS_MAX));
    for (size_t t = 0; t < world->topic_count; t++)
        world->topics[t].partitions = rand() % 16;
    for (size_t m = 0; m < world->member_count; m++) {
        world->members[m].topic_count = 0;
        for (size_t t = 0; t < world->topic_count; t++)
            if (rand() % 3 > 0)
                world->names[m][world->members[m].topic_count++] = topic_names[t];
    }
}

static void
test_random(void)
{
    srand(7);
    for (int round = 0; round < ROUNDS; round++) {
        struct world world;
        random_world(&world);
        for (int strategy = ASSIGN_RANGE; strategy <= ASSIGN_STICKY; strategy++) {
            solve(&world, (enum assign_strategy)strategy);
            check_complete(&world);
        }
        next_generation(&world, 1);
        solve(&world, ASSIGN_COOPERATIVE);
        for (size_t m = 0; m < world.member_count; m++) /* nothing has changed */
            CU_ASSERT_EQUAL(world.members[m].share.count, world.members[m].owned.count);
        world.members[0] = world.members[--world.member_count];
        memcpy(world.names[0], world.names[world.member_count], sizeof world.names[0]);
        world.members[0].topics = world.names[0];
        solve(&world, ASSIGN_COOPERATIVE);
        next_generation(&world, 2);
        solve(&world, ASSIGN_COOPERATIVE);
        check_complete(&world);
        arena_fini(&world.arena);
    }
}

static void
test_subscription_bytes(void)
{
    static const uint8_t expected[] = {0, 3, 0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0,
        1, 0, 1, 't', 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 5, 0xff, 0xff};
    static struct assign_partition had[] = {{"t", 2}, {"t", 1}};
    static const char *const topics[] = {"t"};
    struct assign_list owned = {had, 2};
    struct buf out;
    buf_init(&out);
    CU_ASSERT_EQUAL_FATAL(
        assign_put_subscription(ASSIGN_COOPERATIVE, topics, 1, &owned, 5, &out), 0);
    CU_ASSERT_EQUAL_FATAL(out.length, sizeof expected);
    CU_ASSERT_EQUAL(memcmp(out.data, expected, sizeof expected), 0);
    buf_fini(&out);
}

/* Kafka's StickyAssignor: the previous assignment by topics, and the generation behind it. */
static void
test_sticky_bytes(void)
{
    static const uint8_t expected[] = {0, 3, 0, 0, 0, 2, 0, 1, 'a', 0, 1, 'b', 0, 0, 0, 34, 0, 0, 0,
        2, 0, 1, 'a', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 1, 'b', 0, 0, 0, 1, 0, 0, 0, 1, 0, 0,
        0, 7, 0, 0, 0, 0, 0, 0, 0, 7, 0xff, 0xff};
    static const uint8_t nothing[] = {0, 3, 0, 0, 0, 1, 0, 1, 'a', 0xff, 0xff, 0xff, 0xff, 0, 0, 0,
        0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static struct assign_partition had[] = {{"b", 1}, {"a", 3}, {"a", 0}};
    static const char *const topics[] = {"a", "b"};
    struct assign_list owned = {had, 3}, none = {NULL, 0};
    struct buf out;
    buf_init(&out);
    CU_ASSERT_EQUAL(assign_put_subscription(ASSIGN_STICKY, topics, 2, &owned, 7, &out), 0);
    CU_ASSERT_EQUAL_FATAL(out.length, sizeof expected);
    CU_ASSERT_EQUAL(memcmp(out.data, expected, sizeof expected), 0);
    buf_clear(&out);
    for (int strategy = ASSIGN_RANGE; strategy <= ASSIGN_STICKY; strategy++) {
        buf_clear(&out);
        CU_ASSERT_EQUAL(
            assign_put_subscription((enum assign_strategy)strategy, topics, 1, &none, -1, &out), 0);
        CU_ASSERT_EQUAL_FATAL(out.length, sizeof nothing);
        CU_ASSERT_EQUAL(memcmp(out.data, nothing, sizeof nothing), 0);
    }
    buf_fini(&out);
}

/* What Kafka's members of all versions write. */
static void
test_versions_read(void)
{
    static const uint8_t v1[] = {0, 1, 0, 0, 0, 1, 0, 1, 't', 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0,
        1, 't', 0, 0, 0, 1, 0, 0, 0, 2};
    static const uint8_t v2[] = {0, 2, 0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 't', 0,
        0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 6};
    static const uint8_t v3[] = {0, 3, 0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 't', 0,
        0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 6, 0, 2, 'e', 'u'};
    static const uint8_t sticky_v0[] = {
        0, 0, 0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 15, 0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 1, 0, 0, 0, 2};
    static const struct {
        const uint8_t *bytes;
        size_t size;
        enum assign_strategy strategy;
        int32_t generation;
    } rows[] = {{v1, sizeof v1, ASSIGN_COOPERATIVE, -1}, {v2, sizeof v2, ASSIGN_COOPERATIVE, 6},
        {v3, sizeof v3, ASSIGN_COOPERATIVE, 6}, {sticky_v0, sizeof sticky_v0, ASSIGN_STICKY, -1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct assign_member member = {0};
        struct arena arena;
        arena_init(&arena, 1 << 16);
        struct bytes data = {rows[i].bytes, (int32_t)rows[i].size};
        CU_ASSERT_EQUAL(assign_get_subscription(rows[i].strategy, data, &arena, &member), 0);
        CU_ASSERT_EQUAL_FATAL(member.owned.count, 1);
        CU_ASSERT_TRUE(assign_has(&member.owned, "t", 2));
        CU_ASSERT_EQUAL(member.generation, rows[i].generation);
        arena_fini(&arena);
    }
}

static void
test_subscription_read(void)
{
    static const uint8_t old[] = {0, 0, 0, 0, 0, 1, 0, 1, 't', 0xff, 0xff, 0xff, 0xff};
    static struct assign_partition had[] = {{"t", 1}, {"t", 2}};
    static const char *const topics[] = {"t"};
    struct assign_list owned = {had, 2};
    struct assign_member member = {0};
    struct arena arena;
    struct buf out;
    arena_init(&arena, 1 << 16);
    buf_init(&out);
    struct bytes data = {old, sizeof old};
    CU_ASSERT_EQUAL(assign_get_subscription(ASSIGN_RANGE, data, &arena, &member), 0);
    CU_ASSERT_STRING_EQUAL(member.topics[0], "t");
    CU_ASSERT_EQUAL(member.owned.count, 0);
    CU_ASSERT_EQUAL(member.generation, -1);
    CU_ASSERT_EQUAL(assign_put_subscription(ASSIGN_STICKY, topics, 1, &owned, 9, &out), 0);
    data = (struct bytes){out.data, (int32_t)out.length};
    CU_ASSERT_EQUAL(assign_get_subscription(ASSIGN_STICKY, data, &arena, &member), 0);
    CU_ASSERT_EQUAL(member.owned.count, 2);
    CU_ASSERT_EQUAL(member.generation, 9);
    for (int32_t n = 0; n < data.len; n++) {
        struct bytes cut = {out.data, n};
        CU_ASSERT_TRUE(assign_get_subscription(ASSIGN_STICKY, cut, &arena, &member) < 0);
    }
    buf_fini(&out);
    arena_fini(&arena);
}

static void
test_share_bytes(void)
{
    static const uint8_t expected[] = {
        0, 3, 0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff};
    static struct assign_partition items[] = {{"t", 7}};
    struct assign_list share = {items, 1}, back;
    struct arena arena;
    struct buf out;
    arena_init(&arena, 1 << 16);
    buf_init(&out);
    CU_ASSERT_EQUAL(assign_put_share(&share, &out), 0);
    CU_ASSERT_EQUAL_FATAL(out.length, sizeof expected);
    CU_ASSERT_EQUAL(memcmp(out.data, expected, sizeof expected), 0);
    struct bytes data = {out.data, (int32_t)out.length};
    CU_ASSERT_EQUAL(assign_get_share(data, &arena, &back), 0);
    CU_ASSERT_TRUE(back.count == 1 && assign_has(&back, "t", 7));
    CU_ASSERT_EQUAL(assign_get_share((struct bytes){NULL, 0}, &arena, &back), 0);
    CU_ASSERT_EQUAL(back.count, 0);
    buf_fini(&out);
    arena_fini(&arena);
}

static void
test_names(void)
{
    enum assign_strategy found[ASSIGN_STRATEGIES];
    CU_ASSERT_EQUAL(assign_parse("range,cooperative-sticky", found), 2);
    CU_ASSERT_EQUAL(found[1], ASSIGN_COOPERATIVE);
    CU_ASSERT_TRUE(assign_parse("range,range", found) < 0);
    CU_ASSERT_TRUE(assign_parse("", found) < 0);
    CU_ASSERT_TRUE(assign_parse("range,", found) < 0);
    CU_ASSERT_TRUE(assign_parse("Range", found) < 0);
}

static const struct unit_case cases[] = {
    {"range: runs of neighbours", test_range},
    {"roundrobin: in turn, also with different subscriptions", test_round_robin},
    {"sticky: what is left goes where it is wanted", test_sticky},
    {"sticky: everybody keeps what he had", test_sticky_keeps},
    {"sticky: the younger generation is right", test_old_claims},
    {"cooperative: given up in one generation, given out in the next", test_cooperative},
    {"static members come first", test_static_first},
    {"each partition is one member's, whatever the group", test_random},
    {"a subscription has Kafka's bytes", test_subscription_bytes},
    {"sticky's user data has Kafka's bytes", test_sticky_bytes},
    {"subscriptions of all versions", test_versions_read},
    {"old and cut subscriptions", test_subscription_read},
    {"a share has Kafka's bytes", test_share_bytes},
    {"the names of strategies", test_names},
    {NULL, NULL},
};

void
register_assign(void)
{
    unit_register("assign", cases);
}
