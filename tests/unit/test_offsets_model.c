/* SPDX-License-Identifier: Apache-2.0
 * Committed offsets under random histories, against a plain model.
 */
#include "cluster/offsets_inner.h"
#include "unit/offsets_world.h"

#include <string.h>

enum { GROUPS = 5, TOPICS = 2, PARTITIONS = 3 };

static const char *const group_names[GROUPS] = {"a", "bb", "ccc", "d4", "e"};
static const char *const topic_names[TOPICS] = {"t", "u"};

struct model {
    int64_t offset[GROUPS][TOPICS][PARTITIONS]; /* -1 none */
    bool metadata[GROUPS];
};

static void
compare(const struct model *model)
{
    for (int g = 0; g < GROUPS; g++) {
        bool known = model->metadata[g];
        for (int t = 0; t < TOPICS; t++)
            for (int p = 0; p < PARTITIONS; p++) {
                int64_t want = model->offset[g][t][p];
                known = known || want >= 0;
                CU_ASSERT_EQUAL_FATAL(ow_committed(group_names[g], topic_names[t], p), want);
            }
        CU_ASSERT_EQUAL_FATAL(offsets_known(ow_offsets(), group_names[g]), known);
    }
}

static uint64_t random_state;

static int
pick(int n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((random_state >> 33) % (uint64_t)n);
}

static void
model_commit(struct model *model, int64_t offset)
{
    int g = pick(GROUPS), count = 1 + pick(4);
    struct offsets_item items[4];
    for (int i = 0; i < count; i++) {
        int t = pick(TOPICS), p = pick(PARTITIONS);
        items[i] = (struct offsets_item){topic_names[t], p, 5, offset + i, pick(2) ? "x" : NULL};
        model->offset[g][t][p] = offset + i;
    }
    struct offsets_commit one = {group_names[g], items, (size_t)count, -1};
    CU_ASSERT_EQUAL_FATAL(offsets_commit(ow_offsets(), &one, NULL, NULL), 0);
}

static void
model_remove(struct model *model)
{
    int g = pick(GROUPS), t = pick(TOPICS), p = pick(PARTITIONS);
    struct offsets_item item = {.topic = topic_names[t], .partition = p};
    struct offsets_commit one = {group_names[g], &item, 1, -1};
    CU_ASSERT_EQUAL_FATAL(offsets_delete(ow_offsets(), &one, NULL, NULL), 0);
    model->offset[g][t][p] = -1;
}

static void
model_delete_topic(struct model *model)
{
    int t = pick(TOPICS);
    ow_delete_topic(topic_names[t]);
    world_topic(&ow, topic_names[t], 4, NULL);
    for (int g = 0; g < GROUPS; g++)
        for (int p = 0; p < PARTITIONS; p++)
            model->offset[g][t][p] = -1;
}

static void
model_group(struct model *model)
{
    int g = pick(GROUPS);
    offsets_run(ow_offsets()); /* what is on its way is not seen by a removal of the group */
    if (pick(2)) {
        ow_store_group(group_names[g], pick(2));
        model->metadata[g] = true;
        return;
    }
    CU_ASSERT_EQUAL_FATAL(offsets_delete_group(ow_offsets(), group_names[g], NULL, NULL), 0);
    model->metadata[g] = false;
    memset(model->offset[g], -1, sizeof model->offset[g]);
}

static void
model_restart(void)
{
    int how = pick(4);
    if (how == 1)
        ow_freeze_lmdb();
    if (how == 2)
        ow_lose_lmdb();
    if (how == 3)
        ow_offsets()->saving.broken = true;
    world_restart(&ow);
}

static void
test_model(void)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct model model;
        random_state = seed;
        memset(&model, -1, sizeof model);
        memset(model.metadata, 0, sizeof model.metadata);
        ow_set_up();
        for (int step = 0; step < 150; step++) {
            int what = pick(20);
            if (what < 10)
                model_commit(&model, step * 10);
            else if (what < 13)
                model_remove(&model);
            else if (what < 15)
                model_group(&model);
            else if (what == 15)
                model_delete_topic(&model);
            else if (what == 16)
                model_restart();
            else
                ow_pass(pick(3) * 600);
            if (pick(3) == 0) {
                offsets_run(ow_offsets());
                compare(&model);
            }
        }
        ow_lose_lmdb();
        world_restart(&ow);
        compare(&model);
        ow_tear_down();
    }
}

static const struct unit_case cases[] = {
    {"random histories against a plain model", test_model},
    {NULL, NULL},
};

void
register_offsets_model(void)
{
    unit_register("offsets_model", cases);
}
