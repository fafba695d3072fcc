/* SPDX-License-Identifier: Apache-2.0
 * What committed offsets cost: a commit while few and while many are there, and a start with many,
 * whose groups have MEMBERS (1) members each that come back in their generation.
 * usage: bench_offsets FOLDER [GROUPS [PARTITIONS [MEMBERS]]], the folder on the disk in question
 */
#include "api/coordinator.h"
#include "base/clock.h"
#include "base/err.h"
#include "cluster/offsets.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    GROUPS = 10000,
    PARTITIONS = 10,
    TURN = 100,
    PROBES = 2000,
    MEMBERS_MAX = 100,
    MAP_BYTES = 256 << 20
};

struct bench {
    const char *folder;
    struct store *store;
    struct meta *meta;
    struct controller controller;
    struct offsets *offsets;
    struct api api; /* as much of it as the coordinator uses */
    struct coordinator *coordinator;
    struct settings settings;
    int64_t done; /* commits told to be safe */
};

static void
must(int rc, const char *what)
{
    if (rc == 0)
        return;
    fprintf(stderr, "bench_offsets: %s: %s\n", what, err_text());
    exit(1);
}

/* ---- a busd with nothing else --------------------------------------------------------------- */

static int
load_checkpoint(void *context, const uint8_t topic_id[STORE_ID_BYTES], int32_t partition,
    struct store_checkpoint *checkpoint)
{
    struct bench *b = context;
    int rc = meta_checkpoint_load(b->meta, topic_id, partition, checkpoint, sizeof *checkpoint);
    return rc == META_CHECKPOINT_NONE ? STORE_CHECKPOINT_NONE : rc;
}

static int
save_checkpoints(void *context, const struct store_checkpoint *checkpoints, size_t count)
{
    struct bench *b = context;
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        struct meta_checkpoint row = {.bytes = &checkpoints[i],
            .byte_count = sizeof checkpoints[i],
            .partition = checkpoints[i].partition};
        memcpy(row.topic_id, checkpoints[i].topic_id, sizeof row.topic_id);
        rc = meta_checkpoints_save(b->meta, &row, 1);
    }
    return rc;
}

static int
drop_checkpoint(void *context, const uint8_t topic_id[STORE_ID_BYTES], int32_t partition)
{
    (void)context;
    (void)topic_id;
    (void)partition;
    return 0;
}

static int64_t
mono_ms(void *context)
{
    (void)context;
    return clock_mono_ms();
}

static int64_t
wall_ms(void *context)
{
    (void)context;
    return clock_wall_ms();
}

static int
get_log(void *context, const struct cluster_topic *topic, int32_t partition, struct log **log,
    void **hold)
{
    struct bench *b = context;
    struct log_options options = {.topic = topic->name,
        .partition = partition,
        .flags = SHM_FLAG_FLUSH_ON_ACK,
        .max_message_bytes = 1 << 20,
        .segment_bytes = 100 << 20,
        .preallocate_bytes = 1 << 20,
        .index_interval_bytes = 4096};
    memcpy(options.topic_id, topic->id.b, sizeof options.topic_id);
    int rc = log_open(b->store, &options, log);
    *hold = *log;
    return rc;
}

static void
put_log(void *context, void *hold)
{
    struct log *log = hold;
    (void)context;
    log_close(&log);
}

static void
flush(void *context, void *hold, int64_t offset)
{
    (void)context;
    log_flush(hold, offset, clock_mono_ns() + INT64_C(60000000000));
}

static void
soon(void *context)
{
    (void)context;
}

static void
start(struct bench *b)
{
    static const struct offsets_ops ops = {.mono_ms = mono_ms,
        .wall_ms = wall_ms,
        .get_log = get_log,
        .put_log = put_log,
        .flush = flush,
        .soon = soon};
    char path[300];
    static const struct api_daemon_ops daemon = {.mono_ms = mono_ms};
    int64_t times[5];
    snprintf(path, sizeof path, "%s/meta", b->folder);
    struct meta_options meta = {.folder = path, .map_bytes = MAP_BYTES, .node_id = 1};
    struct store_options store = {.data = b->folder,
        .checkpoints = {load_checkpoint, save_checkpoints, drop_checkpoint, b},
        .append_lock_timeout_ms = 100};
    struct offsets_options options = {&ops, b, &b->controller, NULL};
    times[0] = clock_mono_ns();
    must(store_open(&store, &b->store), "store");
    must(meta_open(&meta, &b->meta), "meta");
    times[1] = clock_mono_ns();
    must(controller_open(&b->controller, b->meta, &b->settings), "controller");
    times[2] = clock_mono_ns();
    must(offsets_open(&options, &b->offsets), "offsets");
    times[3] = clock_mono_ns();
    b->api = (struct api){.wiring = {.ops = &daemon, .context = b, .controller = &b->controller},
        .offsets = b->offsets};
    must(coordinator_new(&b->api, &b->coordinator), "coordinator");
    times[4] = clock_mono_ns();
    printf("start: files %.1f ms, cluster %.1f ms, offsets %.1f ms, groups %.1f ms, "
           "together %.1f ms; %zu groups in %.1f MB\n",
        (double)(times[1] - times[0]) / 1e6, (double)(times[2] - times[1]) / 1e6,
        (double)(times[3] - times[2]) / 1e6, (double)(times[4] - times[3]) / 1e6,
        (double)(times[4] - times[0]) / 1e6, coordinator_groups(b->coordinator)->count,
        (double)coordinator_groups(b->coordinator)->bytes / 1e6);
}

static void
stop(struct bench *b)
{
    int64_t from = clock_mono_ns();
    offsets_close(&b->offsets);
    coordinator_free(&b->coordinator);
    controller_close(&b->controller);
    store_flush(b->store);
    meta_close(&b->meta);
    store_close(&b->store);
    printf("end: %.1f ms\n", (double)(clock_mono_ns() - from) / 1e6);
}

/* ---- commits -------------------------------------------------------------------------------- */

static void
count(void *context, int rc)
{
    struct bench *b = context;
    must(rc, "commit");
    b->done++;
}

static void
commit(struct bench *b, long group, int32_t partitions, int64_t offset)
{
    char name[32];
    struct offsets_item items[1000];
    struct offsets_waiter waiter = {count, b};
    snprintf(name, sizeof name, "group-%ld", group);
    for (int32_t i = 0; i < partitions; i++)
        items[i] = (struct offsets_item){"events", i, 0, offset, NULL};
    struct offsets_commit one = {name, items, (size_t)partitions, -1};
    must(offsets_commit(b->offsets, &one, &waiter, NULL), "commit");
}

/** The group as its leader's assignment leaves it: `members` with 60 bytes each of what they tell.
 */
static void
store_members(struct bench *b, long group, int members)
{
    static const uint8_t told[60];
    struct group_metadata_value_member rows[MEMBERS_MAX];
    char name[32], ids[MEMBERS_MAX][48];
    struct offsets_waiter waiter = {count, b};
    snprintf(name, sizeof name, "group-%ld", group);
    for (int i = 0; i < members; i++) {
        snprintf(ids[i], sizeof ids[i], "client-%036ld-%02d", group, i);
        rows[i] = (struct group_metadata_value_member){.member_id = ids[i],
            .client_id = "client",
            .client_host = "/local",
            .rebalance_timeout = 300000,
            .session_timeout = 45000,
            .subscription = {told, sizeof told},
            .assignment = {told, sizeof told}};
    }
    struct group_metadata_value value = {.protocol_type = "consumer",
        .generation = 1,
        .protocol = "range",
        .leader = ids[0],
        .current_state_timestamp = -1,
        .members = rows,
        .members_count = members};
    must(offsets_store_group(b->offsets, name, &value, &waiter, NULL), "group");
}

/** Nanoseconds for a commit of one partition, of many in a turn: the flush is shared. */
static double
probe(struct bench *b, int64_t offset)
{
    int64_t from = clock_mono_ns();
    for (int i = 0; i < PROBES; i++)
        commit(b, i % 100, 1, offset + i);
    offsets_run(b->offsets);
    return (double)(clock_mono_ns() - from) / PROBES;
}

int
main(int argc, char **argv)
{
    static struct bench bench;
    struct bench *b = &bench;
    if (argc < 2 || argc > 5) {
        fprintf(stderr, "usage: bench_offsets FOLDER [GROUPS [PARTITIONS [MEMBERS]]]\n");
        return 2;
    }
    long groups = argc > 2 ? strtol(argv[2], NULL, 10) : GROUPS;
    int32_t partitions = argc > 3 ? (int32_t)strtol(argv[3], NULL, 10) : PARTITIONS;
    int members = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 1;
    if (groups < 100 || partitions < 1 || partitions > 1000 || members < 0 || members > MEMBERS_MAX)
        return 2;
    b->folder = argv[1];
    mkdir(b->folder, 0700);
    settings_init(&b->settings, &setting_table_broker, SETTING_FROM_STATIC, NULL);
    start(b);
    struct command node = {.type = COMMAND_NODE_REGISTER, .node = 1, .name = ""};
    struct command topic = {
        .type = COMMAND_TOPIC_CREATE, .name = "events", .count = 1000, .replicas = {{1}, 1}};
    must(controller_propose(&b->controller, &node), "node");
    must(controller_new_id(&topic.id), "id");
    must(controller_propose(&b->controller, &topic), "topic");
    commit(b, 0, 1, 0);
    offsets_run(b->offsets);
    double few = probe(b, 0);
    for (long i = 0; i < groups; i++) {
        commit(b, i, partitions, i);
        if (members > 0)
            store_members(b, i, members);
        if (i % TURN == TURN - 1)
            offsets_run(b->offsets);
    }
    offsets_run(b->offsets);
    double many = probe(b, 100000);
    printf("commit of one partition: %.0f ns with few offsets, %.0f ns with %ld\n", few, many,
        groups * partitions);
    stop(b);
    start(b);
    printf("offsets of the last group: %zu\n", offsets_count(b->offsets, "group-99"));
    stop(b);
    settings_fini(&b->settings);
    return 0;
}
