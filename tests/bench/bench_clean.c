/* SPDX-License-Identifier: Apache-2.0
 * How fast the cleaner compacts: MB of log per second, on one core, and how much memory it takes.
 *
 *   bench_clean [FOLDER [MIB [VALUE_BYTES [CODEC]]]]
 *
 * Fills one partition with records of VALUE_BYTES (1024), half of which are superseded, compacts
 * it, and prints beside it what reading and writing the same bytes costs on the same disk.
 */
#include "base/clock.h"
#include "base/err.h"
#include "record/builder.h"
#include "record/codec.h"
#include "shm/control.h"
#include "store/log.h"
#include "store/store.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH_RECORDS = 64,
    SEGMENT_BYTES = 128 << 20,
    MAP_BYTES = 128 << 20,
    FLOOR_BYTES = 1 << 20
};

static char data[256];
static struct store *store;
static struct log *opened;
static struct store_checkpoint saved;
static bool known;

static void
die(const char *what)
{
    fprintf(stderr, "bench_clean: %s: %s\n", what, err_text());
    exit(1);
}

static int
load(void *context, const uint8_t *topic_id, int32_t partition, struct store_checkpoint *checkpoint)
{
    (void)context;
    (void)topic_id;
    (void)partition;
    *checkpoint = saved;
    return known ? 0 : STORE_CHECKPOINT_NONE;
}

static int
save(void *context, const struct store_checkpoint *checkpoints, size_t count)
{
    (void)context;
    saved = checkpoints[count - 1];
    known = true;
    return 0;
}

static int
drop(void *context, const uint8_t *topic_id, int32_t partition)
{
    (void)context;
    (void)topic_id;
    (void)partition;
    known = false;
    return 0;
}

/* All that is closed and flushed is due. */
static void
assess(void *context, const struct log_rules *rules, const struct store_facts_log *log,
    struct store_dirt *dirt)
{
    (void)context;
    (void)rules;
    *dirt = (struct store_dirt){.end_offset = log->clean_offset, .urgency = 1};
    for (size_t i = 0; i < log->count; i++) {
        if (log->segments[i].next_offset > log->limit_offset)
            return;
        dirt->end_offset = log->segments[i].next_offset;
        dirt->due = dirt->end_offset > log->clean_offset;
    }
}

static void
start(const char *folder)
{
    snprintf(data, sizeof data, "%s/bench-clean-XXXXXX", folder);
    if (!mkdtemp(data)) {
        perror(data);
        exit(1);
    }
    struct store_options options = {.data = data,
        .checkpoints = {.load = load, .save = save, .drop = drop},
        .rules = {.assess = assess},
        .append_lock_timeout_ms = 100};
    struct log_options settings = {.topic = "bench",
        .topic_id = {1},
        .flags = SHM_FLAG_COMPACTED,
        .max_message_bytes = 4 << 20,
        .segment_bytes = SEGMENT_BYTES,
        .preallocate_bytes = 16 << 20,
        .index_interval_bytes = 4096,
        .rules = {.compact = true, .retention_ms = -1, .retention_bytes = -1}};
    if (store_open(&options, &store) < 0 || log_open(store, &settings, &opened) < 0)
        die("open");
}

/* Text that compresses a little. */
static void
fill(char *value, size_t bytes, uint64_t number)
{
    for (size_t i = 0; i < bytes; i++) {
        if (i % 16 == 0)
            number = number * UINT64_C(6364136223846793005) + 1;
        value[i] = (char)('a' + (number >> (32 + i % 16)) % 16);
    }
}

static void
append_batch(struct batch_builder *builder, uint64_t first, uint64_t keys, size_t value_bytes)
{
    static char value[1 << 20];
    for (uint64_t i = first; i < first + BATCH_RECORDS; i++) {
        char key[24];
        int n = snprintf(key, sizeof key, "key-%" PRIu64, i % keys);
        fill(value, value_bytes, i);
        struct builder_record record = {.ts = clock_wall_ms(),
            .key = key,
            .key_bytes = n,
            .value = value,
            .value_bytes = (int32_t)value_bytes};
        if (builder_append(builder, &record) != BUILDER_OK)
            die("build");
    }
    struct append_batch batch = {.offsets = BATCH_RECORDS};
    struct append_result result;
    if (builder_finish(builder, &batch.bytes, &batch.size_bytes) < 0 ||
        log_append(opened, &batch, 1000, &result) != LOG_APPENDED)
        die("append");
}

/* Returns the bytes. */
static int64_t
fill_log(int64_t bytes, size_t value_bytes, int codec)
{
    struct batch_builder builder;
    struct builder_options options = BUILDER_OPTIONS_PLAIN;
    struct log_usage usage;
    options.codec = codec;
    if (builder_init(&builder, 4 << 20, 4 << 20) < 0)
        die("builder");
    uint64_t records = (uint64_t)bytes / value_bytes;
    for (uint64_t i = 0; i < records; i += BATCH_RECORDS) {
        builder_reset(&builder, &options);
        append_batch(&builder, i, records / 2, value_bytes);
        if (i % (BATCH_RECORDS * 64) == 0)
            store_service(store, true);
    }
    builder_fini(&builder);
    while (store_service(store, true) > 0)
        continue;
    if (store_flush(store) < 0 || store_flush(store) < 0)
        die("flush");
    log_usage(opened, &usage);
    return usage.bytes;
}

static int64_t
cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Memory of the process itself, without the pages of files that it maps. */
static long
own_kib(void)
{
    char line[128];
    long kib = 0;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "RssAnon: %ld", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib;
}

static void
compact(int64_t bytes)
{
    struct store_upkeep upkeep = {
        .dedupe_bytes = MAP_BYTES, .bytes_per_second_max = INT64_MAX, .clean = true};
    struct log_cleaning_status status;
    int64_t wall = 0, cpu = 0;
    long before_kib = own_kib(), most_kib = 0;
    store_configure(store, &upkeep);
    if (log_compact(opened) < 0)
        die("compact");
    do {
        store_service(store, true);
        store_flush(store);
        int64_t wall_ns = clock_mono_ns(), began_ns = cpu_ns();
        store_clean(store);
        cpu += cpu_ns() - began_ns;
        wall += clock_mono_ns() - wall_ns;
        log_cleaning_status(opened, &status);
        long now_kib = own_kib();
        most_kib = now_kib > most_kib ? now_kib : most_kib;
    } while (status.runs == 0);
    printf("compacted         %8.0f MB/s   %" PRId64 " -> %" PRId64 " MB, %" PRId64
           " records removed\n",
        (double)bytes * 1e3 / (double)wall, bytes / 1000000, status.bytes_after / 1000000,
        status.records_dropped);
    printf("of processor time %8.0f MB/s\n", (double)bytes * 1e3 / (double)cpu);
    printf("memory            %8ld KiB more than before\n", most_kib - before_kib);
}

/* Writes and flushes as many bytes as were read twice and written once. */
static void
measure_floor(int64_t bytes)
{
    static char block[FLOOR_BYTES];
    char path[300];
    snprintf(path, sizeof path, "%s/floor", data);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    int64_t began_ns = clock_mono_ns();
    for (int64_t at = 0; at < bytes / 2; at += FLOOR_BYTES)
        if (pwrite(fd, block, sizeof block, at) < 0)
            die("write");
    fdatasync(fd);
    for (int turn = 0; turn < 4; turn++)
        for (int64_t at = 0; at < bytes / 2; at += FLOOR_BYTES)
            if (pread(fd, block, sizeof block, at) < 0)
                die("read");
    printf("floor             %8.0f MB/s   the same reads and writes, with one flush\n",
        (double)bytes * 1e3 / (double)(clock_mono_ns() - began_ns));
    close(fd);
}

static int
remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

int
main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : "/tmp";
    int64_t mib = argc > 2 ? strtol(argv[2], NULL, 10) : 512;
    size_t value_bytes = argc > 3 ? strtoul(argv[3], NULL, 10) : 1024;
    int codec = argc > 4 ? codec_of_name(argv[4]) : CODEC_NONE;
    if (mib < 1 || value_bytes < 1 || value_bytes > 60000 || codec < 0) {
        fprintf(stderr, "usage: bench_clean [FOLDER [MIB [VALUE_BYTES [CODEC]]]]\n");
        return 2;
    }
    start(folder);
    int64_t bytes = fill_log(mib << 20, value_bytes, codec);
    compact(bytes);
    measure_floor(bytes);
    if (log_delete(&opened) < 0)
        die("delete");
    store_close(&store);
    nftw(data, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}
