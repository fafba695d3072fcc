/* SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"
#include "core/cluster.h"
#include "fuzz/target.h"

#include <string.h>

enum { ARENA_BYTES = 1 << 20 };

/** What is taken for a command has one form: encoded again it is the same bytes. */
static void
check_bytes(const struct command *command, const uint8_t *data, size_t size)
{
    struct buf bytes;
    buf_init(&bytes);
    MUST(command_encode(command, &bytes) == 0);
    MUST(bytes.length == size && memcmp(bytes.data, data, size) == 0);
    buf_fini(&bytes);
}

/** Applies the command; the row that it leads to brings the same state about in `copy`. */
static void
apply(struct cluster *cluster, struct cluster *copy, const struct command *command)
{
    struct changes changes;
    struct cluster_row row;
    struct buf space;
    if (cluster_prepare(cluster, command, &changes) < 0) {
        MUST(err_text()[0] != '\0');
        return;
    }
    buf_init(&space);
    MUST(cluster_row(&changes, &space, &row) == 0);
    MUST(row.value_bytes == 0 || cluster_load(copy, &row) == 0);
    cluster_commit(cluster, &changes);
    changes_fini(&changes);
    buf_fini(&space);
    MUST(cluster->topic_count <= 2);
}

static void
init(struct cluster *cluster)
{
    static const struct command node = {.type = COMMAND_NODE_REGISTER, .node = 1, .name = ""};
    struct changes changes;
    cluster_init(cluster, NULL);
    MUST(cluster_apply(cluster, &node, &changes) == 0);
    changes_fini(&changes);
}

/** The bytes as a command, on a cluster with one topic and on one without. */
static void
try_command(const uint8_t *data, size_t size)
{
    static const struct command topic = {
        .type = COMMAND_TOPIC_CREATE, .name = "t", .id = {{1}}, .count = 1, .replicas = {{1}, 1}};
    struct cluster cluster, copy;
    struct changes changes;
    struct command command;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    if (command_decode(data, size, &command, &arena) == 0) {
        check_bytes(&command, data, size);
        init(&cluster);
        init(&copy);
        MUST(cluster_apply(&cluster, &topic, &changes) == 0);
        changes_fini(&changes);
        apply(&cluster, &copy, &command);
        cluster_fini(&cluster);
        cluster_fini(&copy);
    }
    arena_fini(&arena);
}

/** The bytes as a stored row: a key, and the rest is the value. */
static void
try_row(const uint8_t *data, size_t size)
{
    struct cluster cluster;
    struct cluster_row row = {.key_bytes = size > 17 ? 17 : size};
    memcpy(row.key, data, row.key_bytes);
    if (size > 5 && data[0] == 'n')
        row.key_bytes = 5;
    else if (size > 6 && data[0] == 'u')
        row.key_bytes = 6;
    else if (size > 1 && data[0] != 't' && data[0] != 'a')
        row.key_bytes = 1;
    row.value = data + row.key_bytes;
    row.value_bytes = size - row.key_bytes;
    cluster_init(&cluster, NULL);
    int rc = cluster_load(&cluster, &row);
    MUST(rc <= 0 && (rc == 0 || err_text()[0] != '\0'));
    cluster_fini(&cluster);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    try_command(data, size);
    try_row(data, size);
    return 0;
}
