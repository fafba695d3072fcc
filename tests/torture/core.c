/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "core/cluster.h"
#include "torture/scenarios.h"

#include <string.h>

static const struct command_setting setting = {"access.read", "user:anna", SETTING_OP_SET};

/** Applies a command and takes its row to `copy`; what fails leaves both as they were. */
static int
apply(struct cluster *cluster, struct cluster *copy, const struct command *command)
{
    struct changes changes;
    struct cluster_row row;
    struct buf space;
    size_t topics = cluster->topic_count, copies = copy->topic_count;
    int rc = cluster_prepare(cluster, command, &changes);
    if (rc < 0)
        return cluster->topic_count == topics ? rc : 1;
    buf_init(&space);
    rc = cluster_row(&changes, &space, &row);
    if (rc == 0 && row.value_bytes > 0)
        rc = cluster_load(copy, &row);
    if (rc < 0 && copy->topic_count != copies)
        rc = 2;
    if (rc == 0)
        cluster_commit(cluster, &changes);
    changes_fini(&changes);
    buf_fini(&space);
    return rc;
}

/** There and back through bytes. */
static int
code(const struct command *command)
{
    struct command back;
    struct arena arena;
    struct buf bytes;
    buf_init(&bytes);
    arena_init(&arena, 1 << 20);
    int rc = command_encode(command, &bytes);
    if (rc == 0)
        rc = command_decode(bytes.data, bytes.length, &back, &arena);
    if (rc == 0 && back.setting_count != command->setting_count)
        rc = 3;
    arena_fini(&arena);
    buf_fini(&bytes);
    return rc;
}

static int
run_commands(struct cluster *cluster, struct cluster *copy)
{
    const struct command commands[] = {
        {.type = COMMAND_NODE_REGISTER, .node = 1, .name = "host", .count = 9},
        {.type = COMMAND_TOPIC_CREATE,
            .name = "a",
            .id = {{1}},
            .count = 3,
            .replicas = {{1}, 1},
            .settings = &setting,
            .setting_count = 1},
        {.type = COMMAND_TOPIC_CREATE, .name = "b", .id = {{2}}, .count = 1, .replicas = {{1}, 1}},
        {.type = COMMAND_PRODUCER_IDS, .count = 10},
    };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof commands / sizeof commands[0]; i++) {
        rc = code(&commands[i]);
        if (rc == 0)
            rc = apply(cluster, copy, &commands[i]);
    }
    if (rc == 0 && (!cluster_topic(copy, "a") || cluster->partition_total != 4))
        rc = 4;
    return rc;
}

/** What changes a topic needs no row of its own here: the copy has the topic already. */
static int
change(struct cluster *cluster)
{
    struct changes changes;
    struct command grow = {
        .type = COMMAND_TOPIC_GROW, .id = {{1}}, .count = 5, .replicas = {{1}, 1}};
    struct command alter = {
        .type = COMMAND_TOPIC_ALTER, .id = {{1}}, .settings = &setting, .setting_count = 1};
    int rc = cluster_apply(cluster, &grow, &changes);
    if (rc < 0)
        return cluster->partition_total == 4 ? rc : 5;
    changes_fini(&changes);
    rc = cluster_apply(cluster, &alter, &changes);
    if (rc == 0)
        changes_fini(&changes);
    return rc;
}

/** Commands, rows and layers of settings under failing allocations. */
int
scenario_cluster(void *unused)
{
    (void)unused;
    struct cluster cluster, copy;
    cluster_init(&cluster, NULL);
    cluster_init(&copy, NULL);
    int rc = run_commands(&cluster, &copy);
    if (rc == 0)
        rc = change(&cluster);
    if (rc == 0)
        rc = settings_alter(
            &cluster.settings, BROKER_TOPIC_ACCESS_READ, SETTING_OP_APPEND, "user:bert");
    if (rc == 0)
        rc = settings_alter(
            &cluster.settings, BROKER_TOPIC_ACCESS_READ, SETTING_OP_SUBTRACT, "user:bert");
    if (rc == 0)
        rc = settings_copy(&copy.settings, &cluster.settings);
    cluster_fini(&cluster);
    cluster_fini(&copy);
    return rc;
}
