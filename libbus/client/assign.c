/* SPDX-License-Identifier: Apache-2.0
 * The assignors. All partitions of all topics have one row of numbers, in the order of topic and
 * partition; members are numbered in Kafka's order.
 */
#include "client/assign.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

enum { NOBODY = -1 };

struct slot {
    int32_t topic;
    int32_t partition;
    int32_t owner;          /* a member, or NOBODY */
    int32_t next, previous; /* of the same owner; the youngest first */
    int32_t claimant;       /* who had it; NOBODY: none, or two of one generation */
    int32_t generation;     /* in which it was had */
    bool is_claimed;
    bool is_kept;      /* the owner claims it */
    bool is_elsewhere; /* somebody else claims it */
};

struct work {
    struct assign_member **members; /* in order */
    int32_t member_count;
    struct assign_topic *topics; /* those that are there, in order */
    int32_t *starts;             /* the first slot of each */
    int32_t topic_count;
    struct slot *slots;
    int32_t slot_count;
    bool *wants;    /* [member × topic] */
    int32_t *load;  /* of each member */
    int32_t *heads; /* the first slot of each */
    int32_t *ranks; /* members, the least loaded first */
};

static const char *const names[ASSIGN_STRATEGIES] = {
    [ASSIGN_RANGE] = "range",
    [ASSIGN_ROUNDROBIN] = "roundrobin",
    [ASSIGN_STICKY] = "sticky",
    [ASSIGN_COOPERATIVE] = "cooperative-sticky",
};

const char *
assign_name(enum assign_strategy strategy)
{
    return names[strategy];
}

int
assign_find(const char *name, size_t n)
{
    for (int i = 0; i < ASSIGN_STRATEGIES; i++)
        if (strlen(names[i]) == n && memcmp(names[i], name, n) == 0)
            return i;
    return -1;
}

int
assign_parse(const char *text, enum assign_strategy strategies[ASSIGN_STRATEGIES])
{
    int count = 0;
    for (const char *at = text;; at++) {
        size_t n = strcspn(at, ",");
        int found = assign_find(at, n);
        bool again = false;
        for (int i = 0; i < count; i++)
            again = again || (int)strategies[i] == found;
        if (found < 0 || again)
            return err_set(BUS_ERR_INVALID_CONFIG,
                "partition.assignment.strategy: \"%s\" is not a list of range, roundrobin, sticky, "
                "cooperative-sticky, each once, with commas between them",
                text);
        strategies[count++] = (enum assign_strategy)found;
        at += n;
        if (*at == '\0')
            return count;
    }
}

bool
assign_has(const struct assign_list *list, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].partition == partition && strcmp(list->items[i].topic, topic) == 0)
            return true;
    return false;
}

/* Static members first, by instance; the others by id. */
static int
by_member(const void *a, const void *b)
{
    const struct assign_member *left = *(struct assign_member *const *)a;
    const struct assign_member *right = *(struct assign_member *const *)b;
    if (left->instance_id && right->instance_id)
        return strcmp(left->instance_id, right->instance_id);
    if (left->instance_id || right->instance_id)
        return left->instance_id ? -1 : 1;
    return strcmp(left->id, right->id);
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(((const struct assign_topic *)a)->name, ((const struct assign_topic *)b)->name);
}

static int32_t
topic_number(const struct work *work, const char *name)
{
    struct assign_topic key = {.name = name};
    const struct assign_topic *found =
        bsearch(&key, work->topics, (size_t)work->topic_count, sizeof key, by_name);
    return found ? (int32_t)(found - work->topics) : NOBODY;
}

static bool
wants(const struct work *work, int32_t member, int32_t topic)
{
    return work->wants[(size_t)member * (size_t)work->topic_count + (size_t)topic];
}

static int
init_topics(struct work *work, const struct assign_topic *topics, size_t count, struct arena *arena)
{
    work->topics = arena_array(arena, count, sizeof *work->topics);
    work->starts = arena_array(arena, count, sizeof *work->starts);
    if (!work->topics || !work->starts)
        return -BUS_ERR_NO_MEMORY;
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        if (topics[i].partitions > 0)
            work->topics[work->topic_count++] = topics[i];
    qsort(work->topics, (size_t)work->topic_count, sizeof *topics, by_name);
    for (int32_t i = 0; i < work->topic_count; i++) {
        work->starts[i] = (int32_t)total;
        total += (size_t)work->topics[i].partitions;
        if (total > INT32_MAX)
            return err_set(BUS_ERR_NO_MEMORY, "too many partitions for one group");
    }
    work->slots = arena_array(arena, total, sizeof *work->slots);
    if (!work->slots)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < work->topic_count; i++)
        for (int32_t p = 0; p < work->topics[i].partitions; p++)
            work->slots[work->slot_count++] =
                (struct slot){.topic = i, .partition = p, .owner = NOBODY, .claimant = NOBODY};
    return 0;
}

static int
init_members(struct work *work, struct assign_member *members, size_t count, struct arena *arena)
{
    work->members = arena_array(arena, count, sizeof *work->members);
    work->wants = arena_array(arena, count, (size_t)work->topic_count * sizeof *work->wants);
    work->load = arena_array(arena, count, sizeof *work->load);
    work->heads = arena_array(arena, count, sizeof *work->heads);
    work->ranks = arena_array(arena, count, sizeof *work->ranks);
    if (!work->members || !work->wants || !work->load || !work->heads || !work->ranks)
        return -BUS_ERR_NO_MEMORY;
    work->member_count = (int32_t)count;
    for (size_t i = 0; i < count; i++)
        work->members[i] = &members[i];
    qsort(work->members, count, sizeof(struct assign_member *), by_member);
    for (size_t i = 0; i < count; i++) {
        work->heads[i] = NOBODY;
        for (size_t t = 0; t < work->members[i]->topic_count; t++) {
            int32_t topic = topic_number(work, work->members[i]->topics[t]);
            if (topic != NOBODY)
                work->wants[i * (size_t)work->topic_count + (size_t)topic] = true;
        }
    }
    return 0;
}

static void
give(struct work *work, int32_t at, int32_t member)
{
    struct slot *slot = &work->slots[at];
    slot->owner = member;
    slot->previous = NOBODY;
    slot->next = work->heads[member];
    if (slot->next != NOBODY)
        work->slots[slot->next].previous = at;
    work->heads[member] = at;
    work->load[member]++;
}

static void
take(struct work *work, int32_t at)
{
    struct slot *slot = &work->slots[at];
    if (slot->previous != NOBODY)
        work->slots[slot->previous].next = slot->next;
    else
        work->heads[slot->owner] = slot->next;
    if (slot->next != NOBODY)
        work->slots[slot->next].previous = slot->previous;
    work->load[slot->owner]--;
    slot->owner = NOBODY;
}

static void
range(struct work *work)
{
    for (int32_t t = 0; t < work->topic_count; t++) {
        int32_t readers = 0, at = work->starts[t], nth = 0;
        for (int32_t m = 0; m < work->member_count; m++)
            readers += wants(work, m, t);
        for (int32_t m = 0; m < work->member_count; m++) {
            if (!wants(work, m, t))
                continue;
            int32_t count = work->topics[t].partitions / readers;
            count += nth++ < work->topics[t].partitions % readers;
            while (count-- > 0)
                give(work, at++, m);
        }
    }
}

static void
round_robin(struct work *work)
{
    int32_t turn = 0;
    for (int32_t at = 0; at < work->slot_count; at++) {
        for (int32_t tries = 0; tries < work->member_count; tries++) {
            int32_t m = turn;
            turn = (turn + 1) % work->member_count;
            if (!wants(work, m, work->slots[at].topic))
                continue;
            give(work, at, m);
            break;
        }
    }
}

/* The slot of something that member `m` says it had; NOBODY when that is not to be had. */
static int32_t
claimed_slot(const struct work *work, int32_t m, size_t nth)
{
    const struct assign_partition *had = &work->members[m]->owned.items[nth];
    int32_t topic = topic_number(work, had->topic);
    if (topic == NOBODY || had->partition < 0 || had->partition >= work->topics[topic].partitions)
        return NOBODY;
    return work->starts[topic] + had->partition;
}

/* Of two who say that they had a partition the younger generation is right. */
static void
note_claims(struct work *work)
{
    for (int32_t m = 0; m < work->member_count; m++) {
        const struct assign_member *member = work->members[m];
        for (size_t i = 0; i < member->owned.count; i++) {
            int32_t at = claimed_slot(work, m, i);
            if (at == NOBODY || work->slots[at].claimant == m)
                continue;
            struct slot *slot = &work->slots[at];
            if (!slot->is_claimed || member->generation > slot->generation) {
                slot->claimant = m;
                slot->generation = member->generation;
            } else if (member->generation == slot->generation) {
                slot->claimant = NOBODY;
            }
            slot->is_claimed = true;
        }
    }
}

static void
keep_claims(struct work *work)
{
    for (int32_t at = 0; at < work->slot_count; at++) {
        const struct slot *slot = &work->slots[at];
        if (slot->claimant != NOBODY && wants(work, slot->claimant, slot->topic))
            give(work, at, slot->claimant);
    }
}

/* The member with the least that wants the topic. */
static int32_t
least(const struct work *work, int32_t topic)
{
    int32_t best = NOBODY;
    for (int32_t m = 0; m < work->member_count; m++)
        if (wants(work, m, topic) && (best == NOBODY || work->load[m] < work->load[best]))
            best = m;
    return best;
}

/* Topics that few can read come first: for the others there is more choice. */
static void
give_rest(struct work *work)
{
    for (int32_t readers = 1; readers <= work->member_count; readers++) {
        for (int32_t t = 0; t < work->topic_count; t++) {
            int32_t count = 0;
            for (int32_t m = 0; m < work->member_count; m++)
                count += wants(work, m, t);
            if (count != readers)
                continue;
            for (int32_t at = work->starts[t]; at < work->starts[t] + work->topics[t].partitions;
                 at++)
                if (work->slots[at].owner == NOBODY)
                    give(work, at, least(work, t));
        }
    }
}

static int
by_load(const void *a, const void *b, void *context)
{
    const struct work *work = context;
    int32_t left = *(const int32_t *)a, right = *(const int32_t *)b;
    if (work->load[left] != work->load[right])
        return work->load[left] < work->load[right] ? -1 : 1;
    return left < right ? -1 : left > right;
}

/* Moves one partition from a member to one that has at least two less; false: there is none. */
static bool
move_one(struct work *work, int32_t from, int32_t to)
{
    for (int32_t at = work->heads[from]; at != NOBODY; at = work->slots[at].next) {
        if (!wants(work, to, work->slots[at].topic))
            continue;
        take(work, at);
        give(work, at, to);
        return true;
    }
    return false;
}

/* Moves one partition from the fullest member that can give to the emptiest that can take it. */
static bool
improve(struct work *work)
{
    for (int32_t m = 0; m < work->member_count; m++)
        work->ranks[m] = m;
    qsort_r(work->ranks, (size_t)work->member_count, sizeof *work->ranks, by_load, work);
    for (int32_t high = work->member_count - 1; high > 0; high--) {
        int32_t from = work->ranks[high];
        for (int32_t low = 0; low < high; low++) {
            int32_t to = work->ranks[low];
            if (work->load[to] + 1 >= work->load[from])
                break;
            if (move_one(work, from, to))
                return true;
        }
    }
    return false;
}

static void
sticky(struct work *work)
{
    note_claims(work);
    keep_claims(work);
    give_rest(work);
    while (improve(work)) {
    }
}

/* What another member still reads is not given out in this generation. */
static void
withhold(struct work *work)
{
    for (int32_t m = 0; m < work->member_count; m++) {
        for (size_t i = 0; i < work->members[m]->owned.count; i++) {
            int32_t at = claimed_slot(work, m, i);
            if (at == NOBODY)
                continue;
            if (work->slots[at].owner == m)
                work->slots[at].is_kept = true;
            else
                work->slots[at].is_elsewhere = true;
        }
    }
    for (int32_t at = 0; at < work->slot_count; at++) {
        const struct slot *slot = &work->slots[at];
        if (slot->owner != NOBODY && slot->is_elsewhere && !slot->is_kept)
            take(work, at);
    }
}

static int
fill_shares(struct work *work, struct arena *arena)
{
    for (int32_t m = 0; m < work->member_count; m++) {
        struct assign_list *share = &work->members[m]->share;
        share->count = 0;
        share->items = arena_array(arena, (size_t)work->load[m], sizeof *share->items);
        if (!share->items)
            return -BUS_ERR_NO_MEMORY;
    }
    for (int32_t at = 0; at < work->slot_count; at++) {
        const struct slot *slot = &work->slots[at];
        if (slot->owner == NOBODY)
            continue;
        struct assign_list *share = &work->members[slot->owner]->share;
        share->items[share->count++] = (struct assign_partition){
            .topic = work->topics[slot->topic].name, .partition = slot->partition};
    }
    return 0;
}

int
assign_solve(enum assign_strategy strategy, struct assign_member *members, size_t member_count,
    const struct assign_topic *topics, size_t topic_count, struct arena *arena)
{
    struct work work = {0};
    int rc = init_topics(&work, topics, topic_count, arena);
    if (rc == 0)
        rc = init_members(&work, members, member_count, arena);
    if (rc < 0)
        return rc;
    if (strategy == ASSIGN_RANGE)
        range(&work);
    else if (strategy == ASSIGN_ROUNDROBIN)
        round_robin(&work);
    else
        sticky(&work);
    if (strategy == ASSIGN_COOPERATIVE)
        withhold(&work);
    return fill_shares(&work, arena);
}
