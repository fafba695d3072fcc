/* SPDX-License-Identifier: Apache-2.0
 * Keeper, flusher, cleaner, writers and readers of one log, each in a thread of its own, as in
 * busd: for the thread sanitizer above all.
 */
#include "base/err.h"
#include "record/builder.h"
#include "store/private.h"
#include "unit/clean_world.h"
#include "unit/unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>

enum {
    BATCHES = 1500,
    RECORDS = 8,
    KEYS = 60,
};

static struct clean_world world;
static atomic_bool over;

static void *
keep(void *context)
{
    (void)context;
    while (!atomic_load(&over)) {
        store_service(world.fixture.store, true);
        sched_yield();
    }
    return NULL;
}

static void *
flush(void *context)
{
    (void)context;
    while (!atomic_load(&over)) {
        store_flush(world.fixture.store);
        sched_yield();
    }
    return NULL;
}

static void *
clean(void *context)
{
    (void)context;
    while (!atomic_load(&over)) {
        store_clean(world.fixture.store);
        sched_yield();
    }
    return NULL;
}

/* Asks for compaction and looks how far it is. */
static void *
look(void *context)
{
    struct log_cleaning_status status;
    struct log_bounds bounds;
    (void)context;
    while (!atomic_load(&over)) {
        (void)log_compact(world.fixture.log);
        log_cleaning_status(world.fixture.log, &status);
        (void)log_bounds(world.fixture.log, &bounds);
        sched_yield();
    }
    return NULL;
}

/* Reads from the start to the end; the offset behind what was read. */
static int64_t
read_log(int64_t *records)
{
    struct log_bounds bounds;
    struct log_read_options options = {
        .max_bytes = 1 << 16, .isolation = LOG_READ_END, .at_least_one = true};
    *records = 0;
    if (log_bounds(world.fixture.log, &bounds) < 0)
        return -1;
    for (options.offset = bounds.start_offset; options.offset < bounds.end_offset;) {
        struct log_slice slice;
        struct batch_header header;
        struct buf bytes;
        if (log_read(world.fixture.log, &options, &slice) < 0)
            return -1;
        buf_init(&bytes);
        bool good = log_slice_copy(&slice, &bytes) == 0 && bytes.length > 0;
        for (size_t at = 0; good && at < bytes.length; at += batch_bytes(&header)) {
            good = batch_header_read(bytes.data + at, bytes.length - at, &header) == BATCH_OK &&
                   batch_crc_ok(bytes.data + at, batch_bytes(&header)) &&
                   batch_next_offset(&header) > options.offset;
            *records += good ? header.count : 0;
            if (good)
                options.offset = batch_next_offset(&header);
            else
                break;
        }
        buf_fini(&bytes);
        log_slice_release(&slice);
        if (!good)
            return -1;
    }
    return options.offset;
}

static void *
read_on(void *context)
{
    int *failures = context;
    while (!atomic_load(&over)) {
        int64_t records;
        *failures += read_log(&records) < 0;
    }
    return NULL;
}

static void
append(struct batch_builder *builder, int number)
{
    struct builder_options options = BUILDER_OPTIONS_PLAIN;
    struct append_result result;
    const void *bytes;
    size_t size;
    int rc;
    builder_reset(builder, &options);
    for (int i = 0; i < RECORDS; i++) {
        char key[16];
        int n = snprintf(key, sizeof key, "k%d", (number * RECORDS + i) % KEYS);
        struct builder_record record = {.key = key,
            .key_bytes = n,
            .value = "a value of some length, so that segments fill",
            .value_bytes = 45,
            .ts = world.now_ms};
        CU_ASSERT_EQUAL_FATAL(builder_append(builder, &record), BUILDER_OK);
    }
    CU_ASSERT_EQUAL_FATAL(builder_finish(builder, &bytes, &size), 0);
    struct append_batch one = {.bytes = bytes, .size_bytes = size, .offsets = RECORDS};
    while ((rc = log_append(world.fixture.log, &one, 1000, &result)) == LOG_APPEND_BUSY)
        sched_yield();
    CU_ASSERT_EQUAL_FATAL(rc, LOG_APPENDED);
}

static void
test_all_at_once(void)
{
    void *(*const hands[])(void *) = {keep, flush, clean, look, read_on};
    enum { HANDS = sizeof hands / sizeof hands[0] };
    pthread_t threads[HANDS];
    struct batch_builder builder;
    struct log_cleaning_status status;
    int64_t records;
    int failures = 0;
    clean_world_init(&world, 1);
    world.upkeep.clean = true;
    store_configure(world.fixture.store, &world.upkeep);
    clean_world_open(&world);
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 1 << 16, 1 << 20), 0);
    atomic_store(&over, false);
    for (int i = 0; i < HANDS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, hands[i], &failures), 0);
    for (int i = 0; i < BATCHES; i++)
        append(&builder, i);
    do {
        sched_yield();
        log_cleaning_status(world.fixture.log, &status);
    } while (status.runs < 3);
    atomic_store(&over, true);
    for (int i = 0; i < HANDS; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(failures, 0);
    CU_ASSERT_EQUAL(read_log(&records), BATCHES * RECORDS);
    CU_ASSERT(records < BATCHES * RECORDS);
    builder_fini(&builder);
    clean_world_fini(&world);
}

static const struct unit_case cases[] = {
    {"keeper, flusher, cleaner, writer and reader at once", test_all_at_once},
    {NULL, NULL},
};

void
register_clean_threads(void)
{
    unit_register("clean_threads", cases);
}
