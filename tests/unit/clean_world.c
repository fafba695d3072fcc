/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/clean_world.h"

#include "base/clock.h"
#include "core/clean_policy.h"
#include "core/retain.h"
#include "record/batch.h"
#include "record/builder.h"
#include "record/codec.h"
#include "store/private.h"
#include "unit/unit.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- crashes -------------------------------------------------------------------------------- */

int world_crash_after;

static void
maybe_crash(void)
{
    if (world_crash_after > 0 && --world_crash_after == 0)
        _exit(77);
}

/* These stand before those of the C library, for the whole test program. */
int
rename(const char *from, const char *to)
{
    maybe_crash();
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int
unlink(const char *path)
{
    maybe_crash();
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* Only processes die here, and the kernel forgets nothing: to wait for the disk would test nothing.
 */
int
fsync(int fd)
{
    maybe_crash();
    return fcntl(fd, F_GETFD) < 0 ? -1 : 0;
}

ssize_t
pwrite(int fd, const void *bytes, size_t n, off_t position)
{
    maybe_crash();
    return syscall(SYS_pwrite64, fd, bytes, n, position);
}

/* ---- rules ---------------------------------------------------------------------------------- */

static int64_t
past(const struct clean_world *world, int64_t span_ms)
{
    return span_ms < 0 || span_ms > world->now_ms ? INT64_MIN : world->now_ms - span_ms;
}

static size_t
retain(void *context, const struct log_rules *rules, const struct store_facts_log *log)
{
    const struct clean_world *world = context;
    struct retain_rules limits = {.remove = rules->remove,
        .before_ms = past(world, rules->retention_ms),
        .retention_bytes = rules->retention_bytes,
        .log_start_offset = log->log_start_offset,
        .limit_offset = log->limit_offset};
    struct retain_segment segments[256];
    CU_ASSERT_FATAL(log->count <= 256);
    for (size_t i = 0; i < log->count; i++)
        segments[i] = (struct retain_segment){.next_offset = log->segments[i].next_offset,
            .bytes = log->segments[i].bytes,
            .max_timestamp = log->segments[i].max_timestamp,
            .closed_ms = log->segments[i].closed_ms};
    return retain_count(&limits, segments, log->count, log->total_bytes);
}

static void
assess(void *context, const struct log_rules *rules, const struct store_facts_log *log,
    struct store_dirt *dirt)
{
    const struct clean_world *world = context;
    struct clean_rules limits = {.compact = rules->compact,
        .asked = log->asked,
        .dirty_ratio = rules->dirty_ratio,
        .young_ms = rules->min_lag_ms > 0 ? past(world, rules->min_lag_ms) : INT64_MAX,
        .overdue_ms = past(world, rules->max_lag_ms),
        .clean_offset = log->clean_offset,
        .limit_offset = log->limit_offset};
    struct clean_segment segments[256];
    CU_ASSERT_FATAL(log->count <= 256);
    for (size_t i = 0; i < log->count; i++)
        segments[i] = (struct clean_segment){.base_offset = log->segments[i].base_offset,
            .next_offset = log->segments[i].next_offset,
            .bytes = log->segments[i].bytes,
            .first_timestamp = log->segments[i].first_timestamp,
            .newest_ms = log->segments[i].max_timestamp};
    struct clean_verdict verdict;
    clean_assess(&limits, segments, log->count, &verdict);
    *dirt = (struct store_dirt){.due = verdict.due,
        .urgency = verdict.urgency,
        .end_offset = verdict.end_offset,
        .clean_bytes = verdict.clean_bytes,
        .dirty_bytes = verdict.dirty_bytes,
        .horizon_ms = clean_horizon_ms(world->now_ms, rules->delete_retention_ms),
        .passed_ms = world->now_ms,
        .producer_before_ms = world->producer_before_ms};
}

/* ---- life ----------------------------------------------------------------------------------- */

uint32_t
clean_world_random(struct clean_world *world, uint32_t below)
{
    world->random = world->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((world->random >> 33) % below);
}

/* The fixture's context stays what kicks and checkpoints have; the rules have their own. */
static void
equip(struct clean_world *world)
{
    struct store_options *options = &world->fixture.store->options;
    options->rules = (struct store_rules){.retain = retain, .assess = assess, .context = world};
    store_configure(world->fixture.store, &world->upkeep);
}

void
clean_world_init(struct clean_world *world, uint64_t seed)
{
    *world = (struct clean_world){.random = seed * 2 + 1, .now_ms = 1000000};
    world->upkeep = (struct store_upkeep){
        .retention_check_ms = 1, .dedupe_bytes = 1 << 20, .bytes_per_second_max = INT64_MAX};
    world->rules = (struct log_rules){.compact = true,
        .retention_ms = -1,
        .retention_bytes = -1,
        .delete_retention_ms = 1000,
        .max_lag_ms = INT64_MAX};
    world->records = calloc(WORLD_RECORDS_MAX, sizeof *world->records);
    CU_ASSERT_PTR_NOT_NULL_FATAL(world->records);
    fixture_disk.quick = true;
    fixture_init(&world->fixture);
    struct log_options *options = &world->fixture.options;
    options->flags |= SHM_FLAG_COMPACTED;
    options->segment_bytes = 20000;
    options->preallocate_bytes = 65536;
    options->max_message_bytes = 10000;
    equip(world);
}

void
clean_world_fini(struct clean_world *world)
{
    fixture_fini(&world->fixture);
    fixture_disk.quick = false;
    free(world->records);
}

void
clean_world_open(struct clean_world *world)
{
    world->fixture.options.rules = world->rules;
    CU_ASSERT_EQUAL_FATAL(fixture_open(&world->fixture), 0);
}

void
clean_world_restart(struct clean_world *world)
{
    fixture_restart(&world->fixture);
    equip(world);
    clean_world_open(world);
}

void
clean_world_reboot(struct clean_world *world)
{
    fixture_reboot(&world->fixture);
    equip(world);
    clean_world_open(world);
}

/* ---- appends -------------------------------------------------------------------------------- */

static int
key_text(int32_t key, char text[16])
{
    return snprintf(text, 16, "key-%" PRId32, key);
}

/* A value that tells which record it belongs to. */
static void
fill_value(uint8_t *value, int32_t size, int64_t offset)
{
    for (int32_t i = 0; i < size; i++)
        value[i] = (uint8_t)(offset * 7 + i);
}

static void
add_record(struct clean_world *world, struct batch_builder *builder, int64_t offset)
{
    static const struct builder_header headers[] = {
        {.key = "a", .key_bytes = 1, .value = "b", .value_bytes = 1},
        {.key = "c", .key_bytes = 1, .value = NULL, .value_bytes = -1}};
    static uint8_t value[4096];
    const struct world_record *record = &world->records[offset];
    char key[16];
    int key_bytes = record->key >= 0 ? key_text(record->key, key) : -1;
    fill_value(value, record->value_size, offset);
    struct builder_record encoded = {.ts = record->timestamp,
        .key = record->key >= 0 ? key : NULL,
        .key_bytes = key_bytes,
        .value = record->value_size >= 0 ? value : NULL,
        .value_bytes = record->value_size,
        .headers = headers,
        .header_count = record->headers};
    CU_ASSERT_EQUAL_FATAL(builder_append(builder, &encoded), BUILDER_OK);
}

int64_t
clean_world_append(struct clean_world *world, const struct world_batch *batch)
{
    struct batch_builder builder;
    struct builder_options options = BUILDER_OPTIONS_PLAIN;
    int64_t base = world->count;
    CU_ASSERT_FATAL(base + batch->records <= WORLD_RECORDS_MAX);
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 1 << 20, 1 << 24), 0);
    options.codec = batch->codec;
    builder_reset(&builder, &options);
    if (batch->producer_id >= 0)
        builder_set_producer(&builder, batch->producer_id, 0, (int32_t)base);
    for (int i = 0; i < batch->records; i++) {
        struct world_record *record = &world->records[base + i];
        int32_t key = batch->first_key >= 0 ? (batch->first_key + i) % WORLD_KEYS
                                            : (int32_t)clean_world_random(world, WORLD_KEYS);
        int32_t random =
            clean_world_random(world, 5) == 0 ? -1 : (int32_t)clean_world_random(world, 300);
        *record = (struct world_record){.key = batch->no_keys ? -1 : key,
            .value_size = batch->value_size >= -1 ? batch->value_size : random,
            .timestamp = world->now_ms + (int64_t)clean_world_random(world, 50) - 25,
            .seen_ms = -1,
            .headers = (uint8_t)clean_world_random(world, 3)};
        add_record(world, &builder, base + i);
    }
    const void *bytes;
    size_t size;
    struct append_result result;
    CU_ASSERT_EQUAL_FATAL(builder_finish(&builder, &bytes, &size), 0);
    struct append_batch append = {
        .bytes = bytes, .size_bytes = size, .offsets = (uint32_t)batch->records};
    CU_ASSERT_EQUAL_FATAL(log_append(world->fixture.log, &append, 1000, &result), LOG_APPENDED);
    builder_fini(&builder);
    CU_ASSERT_EQUAL_FATAL(result.base_offset, base);
    world->count += batch->records;
    return base;
}

void
clean_world_append_random(struct clean_world *world)
{
    int codec;
    do
        codec = (int)clean_world_random(world, CODEC_COUNT);
    while (!codec_available(codec));
    struct world_batch batch = {.records = 1 + (int)clean_world_random(world, 8),
        .codec = clean_world_random(world, 2) ? CODEC_NONE : codec,
        .first_key = -1,
        .value_size = -2,
        .producer_id = (int64_t)clean_world_random(world, 6) - 3};
    if (batch.producer_id < 0)
        batch.producer_id = -1;
    clean_world_append(world, &batch);
}

static int64_t
active_base(struct clean_world *world)
{
    const struct log *log = world->fixture.log;
    return segments_active(log)->base_offset;
}

void
clean_world_roll(struct clean_world *world)
{
    int64_t base = active_base(world);
    struct world_batch filler = {
        .records = 1, .first_key = WORLD_KEYS - 1, .value_size = 3000, .producer_id = -1};
    while (active_base(world) == base) {
        clean_world_append(world, &filler);
        clean_world_serve(world);
    }
}

void
clean_world_serve(struct clean_world *world)
{
    fixture_serve(&world->fixture);
    CU_ASSERT_EQUAL(store_flush(world->fixture.store), 0);
    CU_ASSERT_EQUAL(store_flush(world->fixture.store), 0);
}

void
clean_world_allow(struct clean_world *world, bool clean)
{
    world->upkeep.clean = clean;
    store_configure(world->fixture.store, &world->upkeep);
}

int
clean_world_run(struct clean_world *world)
{
    struct store *store = world->fixture.store;
    int steps = 0;
    clean_world_allow(world, true);
    for (int idle = 0; idle < 3 && steps < 10000; steps++) {
        clean_world_serve(world);
        idle = store_clean(store) ? 0 : idle + 1;
    }
    CU_ASSERT(steps < 10000);
    clean_world_allow(world, false);
    return steps;
}

struct log_cleaning_status
clean_world_status(struct clean_world *world)
{
    struct log_cleaning_status status;
    log_cleaning_status(world->fixture.log, &status);
    return status;
}

/* ---- the check ------------------------------------------------------------------------------ */

/* What a reading meets. */
struct reading {
    struct clean_world *world;
    int64_t next; /* no offset below comes next */
    int64_t records;
    int empty;
};

static void
check_record(struct reading *reading, const struct record *record)
{
    struct clean_world *world = reading->world;
    CU_ASSERT_FATAL(record->offset >= reading->next && record->offset < world->count);
    struct world_record *model = &world->records[record->offset];
    char key[16];
    uint8_t value[4096];
    int key_bytes = model->key >= 0 ? key_text(model->key, key) : -1;
    fill_value(value, model->value_size, record->offset);
    CU_ASSERT_EQUAL(record->key_bytes, key_bytes);
    CU_ASSERT(key_bytes < 0 || memcmp(record->key, key, (size_t)key_bytes) == 0);
    CU_ASSERT_EQUAL_FATAL(record->value_bytes, model->value_size);
    CU_ASSERT(
        model->value_size <= 0 || memcmp(record->value, value, (size_t)model->value_size) == 0);
    CU_ASSERT_EQUAL(record->timestamp, model->timestamp);
    CU_ASSERT_EQUAL(record->header_count, model->headers);
    model->last_seen = true;
    reading->next = record->offset + 1;
    reading->records++;
}

static void
check_batch(struct reading *reading, const uint8_t *bytes, const struct batch_header *header)
{
    struct batch_iter iter;
    struct record record;
    struct buf scratch;
    buf_init(&scratch);
    CU_ASSERT_FATAL(header->base_offset >= reading->next);
    CU_ASSERT_EQUAL(batch_verify(bytes, batch_bytes(header), header, &scratch, 1 << 24, 0), 0);
    CU_ASSERT_EQUAL_FATAL(
        batch_iter_init(&iter, bytes, batch_bytes(header), header, &scratch, 1 << 24), 0);
    while (batch_iter_next(&iter, &record) == 1)
        check_record(reading, &record);
    reading->empty += header->count == 0;
    reading->next = batch_next_offset(header);
    buf_fini(&scratch);
}

static void
read_slice(struct reading *reading, const struct log_slice *slice)
{
    struct buf bytes;
    buf_init(&bytes);
    CU_ASSERT_EQUAL_FATAL(log_slice_copy(slice, &bytes), 0);
    for (size_t at = 0; at < bytes.length;) {
        struct batch_header header;
        CU_ASSERT_EQUAL_FATAL(
            batch_header_read(bytes.data + at, bytes.length - at, &header), BATCH_OK);
        check_batch(reading, bytes.data + at, &header);
        at += batch_bytes(&header);
    }
    buf_fini(&bytes);
}

static void
read_all(struct reading *reading)
{
    struct clean_world *world = reading->world;
    struct log_bounds bounds = fixture_bounds(&world->fixture);
    CU_ASSERT_EQUAL(bounds.end_offset, world->count);
    reading->next = bounds.start_offset;
    while (reading->next < bounds.end_offset) {
        struct log_read_options options = {
            .offset = reading->next, .max_bytes = 8000, .at_least_one = true};
        struct log_slice slice;
        CU_ASSERT_EQUAL_FATAL(log_read(world->fixture.log, &options, &slice), LOG_READ_OK);
        CU_ASSERT_FATAL(slice.bytes > 0);
        read_slice(reading, &slice);
        log_slice_release(&slice);
    }
}

/* What must be there, and with `clean` what must not. */
static void
check_kept(struct clean_world *world, int64_t clean_offset, bool clean)
{
    int64_t last[WORLD_KEYS], last_clean[WORLD_KEYS];
    struct log_bounds bounds = fixture_bounds(&world->fixture);
    memset(last, 0xff, sizeof last);
    memset(last_clean, 0xff, sizeof last_clean);
    for (int64_t i = 0; i < world->count; i++) {
        if (world->records[i].key < 0)
            continue;
        last[world->records[i].key] = i;
        if (i < clean_offset)
            last_clean[world->records[i].key] = i;
    }
    for (int64_t i = bounds.start_offset; i < world->count; i++) {
        struct world_record *record = &world->records[i];
        bool newest = record->key >= 0 && last[record->key] == i;
        bool deletion = record->value_size < 0;
        bool young = record->seen_ms < 0 ||
                     world->now_ms < record->seen_ms + world->rules.delete_retention_ms;
        if (i >= clean_offset && clean)
            CU_ASSERT(record->last_seen);
        if (newest && (!deletion || young))
            CU_ASSERT(record->last_seen);
        bool superseded = record->key < 0 || last_clean[record->key] > i;
        if (clean && i < clean_offset && superseded)
            CU_ASSERT_FALSE(record->last_seen);
        if (clean && i < clean_offset && deletion && record->seen_ms < 0)
            record->seen_ms = world->now_ms;
    }
}

/* The first record that is there at or after a time, as the index finds it. */
static void
check_time(struct clean_world *world, int64_t timestamp)
{
    struct log_found found;
    struct log_bounds bounds = fixture_bounds(&world->fixture);
    CU_ASSERT_EQUAL(log_find_time(world->fixture.log, timestamp, &found), 0);
    int64_t expected = -1;
    for (int64_t i = bounds.start_offset; expected < 0 && i < world->count; i++)
        if (world->records[i].last_seen && world->records[i].timestamp >= timestamp)
            expected = i;
    CU_ASSERT_EQUAL(found.offset, expected);
}

int64_t
clean_world_check(struct clean_world *world, bool clean)
{
    struct reading reading = {.world = world};
    struct log_cleaning_status status = clean_world_status(world);
    for (int64_t i = 0; i < world->count; i++)
        world->records[i].last_seen = false;
    read_all(&reading);
    check_kept(world, status.clean_offset, clean);
    for (int i = 0; i < 10 && world->count > 0; i++)
        check_time(
            world, world->records[clean_world_random(world, (uint32_t)world->count)].timestamp);
    return reading.records;
}

int
clean_world_empty_batches(struct clean_world *world)
{
    struct reading reading = {.world = world};
    read_all(&reading);
    return reading.empty;
}
