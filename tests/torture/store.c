/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "record/builder.h"
#include "store/log.h"
#include "torture/scenarios.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCHES = 8, VALUE_BYTES = 9000, BATCH_BYTES_MAX = VALUE_BYTES + 200 };

/* One data folder and what was promised about it. */
struct world {
    char folder[64];
    char instance[64];
    struct store_checkpoint checkpoint; /* generation 0: none */
    struct store *store;
    struct log *log;
    int64_t acknowledged; /* offsets below were appended */
    uint8_t batch[BATCH_BYTES_MAX];
    size_t batch_bytes;
};

static const struct log_options log_settings = {.topic = "t",
    .topic_id = {1},
    .flags = SHM_FLAG_FLUSH_ON_ACK,
    .max_message_bytes = 20000,
    .segment_bytes = 30000,
    .preallocate_bytes = 20000,
    .index_interval_bytes = 1000};

static int
load(void *context, const uint8_t *topic_id, int32_t partition, struct store_checkpoint *checkpoint)
{
    const struct world *world = context;
    (void)topic_id;
    (void)partition;
    *checkpoint = world->checkpoint;
    return world->checkpoint.generation > 0 ? 0 : STORE_CHECKPOINT_NONE;
}

static int
save(void *context, const struct store_checkpoint *checkpoints, size_t count)
{
    struct world *world = context;
    world->checkpoint = checkpoints[count - 1];
    return 0;
}

static int
drop(void *context, const uint8_t *topic_id, int32_t partition)
{
    struct world *world = context;
    (void)topic_id;
    (void)partition;
    world->checkpoint.generation = 0;
    return 0;
}

static int
open_all(struct world *world)
{
    struct store_options options = {.data = world->folder,
        .checkpoints = {.load = load, .save = save, .drop = drop, .context = world},
        .append_lock_timeout_ms = 100};
    int rc = store_open(&options, &world->store);
    return rc < 0 ? rc : log_open(world->store, &log_settings, &world->log);
}

static void
close_all(struct world *world)
{
    log_close(&world->log);
    store_close(&world->store);
}

static int
append(struct world *world)
{
    struct append_batch batch = {
        .bytes = world->batch, .size_bytes = world->batch_bytes, .offsets = 1};
    struct append_result result;
    int rc = log_append(world->log, &batch, 1000, &result);
    if (rc == LOG_APPENDED)
        world->acknowledged = result.base_offset + 1;
    return rc;
}

/* Reads everything from the start; a positive number when something acknowledged is missing. */
static int
read_back(struct world *world)
{
    struct log_bounds bounds;
    int rc = log_bounds(world->log, &bounds);
    if (rc < 0)
        return rc;
    if (bounds.end_offset < world->acknowledged)
        return 1;
    struct log_read_options options = {.max_bytes = 20000, .at_least_one = true};
    for (options.offset = bounds.start_offset; options.offset < world->acknowledged;) {
        struct log_slice slice;
        rc = log_read(world->log, &options, &slice);
        if (rc < 0)
            return rc;
        bool good = slice.bytes > 0 && slice.first_offset == options.offset;
        options.offset = slice.next_offset;
        log_slice_release(&slice);
        if (!good)
            return 2;
    }
    return 0;
}

static int
look_around(struct world *world)
{
    struct log_attachment attachment;
    struct log_found found;
    struct log_epoch_end end;
    int rc = log_attach(world->log, LOG_ACCESS_WRITE, &attachment);
    if (rc < 0)
        return rc;
    log_attachment_close(&attachment);
    rc = log_find_time(world->log, 1, &found);
    if (rc == 0 && found.offset != 0)
        return 3;
    if (rc == 0)
        rc = log_find_epoch_end(world->log, 0, &end);
    return rc;
}

/* Faults are off: a reboot takes the shared memory away. */
static void
reboot(struct world *world)
{
    char path[512];
    torture_pause();
    snprintf(path, sizeof path, "%s/format", world->folder);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%*s %*s instance %63s", world->instance) != 1)
        world->instance[0] = '\0';
    if (file)
        fclose(file);
    DIR *dir = opendir("/dev/shm");
    for (struct dirent *entry; dir && world->instance[0] && (entry = readdir(dir));)
        if (strstr(entry->d_name, world->instance)) {
            snprintf(path, sizeof path, "/dev/shm/%s", entry->d_name);
            unlink(path);
        }
    if (dir)
        closedir(dir);
    torture_resume();
}

static int
fill(struct world *world)
{
    int rc = open_all(world);
    for (int i = 0; rc == 0 && i < BATCHES; i++) {
        rc = append(world);
        if (i % 3 == 2)
            (void)store_service(world->store, true);
    }
    if (rc == 0)
        rc = look_around(world);
    if (rc == 0)
        rc = store_flush(world->store);
    if (rc == 0)
        rc = read_back(world);
    return rc;
}

static int
live(struct world *world)
{
    int rc = fill(world);
    close_all(world);
    if (rc != 0)
        return rc;
    rc = open_all(world);
    if (rc == 0)
        rc = append(world);
    close_all(world);
    if (rc != 0)
        return rc;
    reboot(world);
    rc = open_all(world);
    if (rc == 0)
        rc = read_back(world);
    if (rc == 0)
        rc = append(world);
    return rc;
}

static int
remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void
begin(struct world *world)
{
    *world = (struct world){0};
    torture_pause();
    snprintf(world->folder, sizeof world->folder, "/dev/shm/shmbus-torture-XXXXXX");
    if (!mkdtemp(world->folder))
        world->folder[0] = '\0';
    struct batch_single single = {.ts = 5,
        .key_bytes = -1,
        .value_bytes = VALUE_BYTES,
        .producer_id = -1,
        .producer_epoch = -1,
        .base_sequence = -1};
    world->batch_bytes = batch_single_bytes(-1, VALUE_BYTES);
    size_t at = batch_single_begin(world->batch, &single);
    memset(world->batch + at, 'x', VALUE_BYTES);
    batch_single_finish(world->batch, world->batch_bytes);
    torture_resume();
}

static void
end(struct world *world)
{
    close_all(world);
    reboot(world);
    torture_pause();
    nftw(world->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    torture_resume();
}

/* Fills a log, goes on in it, and recovers it. Whatever failed on the way: what was acknowledged is
 * there when the faults are over. */
int
scenario_store(void *unused)
{
    (void)unused;
    struct world world;
    begin(&world);
    int rc = live(&world);
    close_all(&world);
    torture_pause();
    int after = open_all(&world);
    if (after == 0)
        after = read_back(&world);
    if (after < 0)
        printf("# afterwards: %s\n", err_text());
    torture_resume();
    end(&world);
    return after != 0 ? 10 + abs(after) : rc;
}

/* Deletes a partition; a second attempt without faults finishes what the first one left. */
int
scenario_store_delete(void *unused)
{
    (void)unused;
    struct world world;
    begin(&world);
    torture_pause();
    int rc = open_all(&world);
    if (rc == 0)
        rc = append(&world);
    torture_resume();
    if (rc == 0)
        rc = log_delete(&world.log);
    torture_pause();
    int after = world.store ? log_remove(world.store, &log_settings) : 0;
    bool left = world.store && log_exists(world.store, &log_settings);
    torture_resume();
    end(&world);
    return after < 0 || left ? 1 : rc;
}
