/* SPDX-License-Identifier: Apache-2.0
 * Retention carried out: the start of the log and the files.
 */
#include "base/clock.h"
#include "base/err.h"
#include "store/private.h"
#include "unit/clean_world.h"
#include "unit/unit.h"

#include <sys/mman.h>

/* A world that removes and does not compact, with `segments` closed segments. */
static void
begin(struct clean_world *world, int segments)
{
    clean_world_init(world, 1);
    world->rules.compact = false;
    world->rules.remove = true;
    world->fixture.options.flags &= ~(uint32_t)SHM_FLAG_COMPACTED;
    clean_world_open(world);
    for (int i = 0; i < segments; i++) {
        clean_world_roll(world);
        world->now_ms += 1000;
    }
}

static void
configure(struct clean_world *world)
{
    world->fixture.options.rules = world->rules;
    log_configure(world->fixture.log, &world->fixture.options);
    /* The next look of the keeper is due. */
    world->fixture.log->retained_ms = -1;
}

static int64_t
start_of(struct clean_world *world)
{
    return fixture_bounds(&world->fixture).start_offset;
}

static void
test_by_size(void)
{
    struct clean_world world;
    begin(&world, 5);
    CU_ASSERT_EQUAL(start_of(&world), 0);
    int files = fixture_count(&world.fixture, ".log");
    world.rules.retention_bytes = 30000;
    configure(&world);
    clean_world_serve(&world);
    int64_t start = start_of(&world);
    CU_ASSERT(start > 0);
    CU_ASSERT(fixture_count(&world.fixture, ".log") < files);
    CU_ASSERT_EQUAL(clean_world_check(&world, false), world.count - start);
    CU_ASSERT_EQUAL(fixture_read(&world.fixture, start - 1), -BUS_ERR_OFFSET_OUT_OF_RANGE);
    struct shm_control *control = fixture_control(&world.fixture);
    CU_ASSERT_EQUAL(control->log_start_offset, start);
    munmap(control, SHM_PAGE_BYTES);
    clean_world_restart(&world);
    CU_ASSERT_EQUAL(start_of(&world), start);
    clean_world_reboot(&world);
    CU_ASSERT_EQUAL(start_of(&world), start);
    CU_ASSERT_EQUAL(clean_world_check(&world, false), world.count - start);
    clean_world_fini(&world);
}

static void
roll_unflushed(struct clean_world *world)
{
    struct world_batch filler = {
        .records = 1, .first_key = WORLD_KEYS - 1, .value_size = 3000, .producer_id = -1};
    int64_t base = segments_active(world->fixture.log)->base_offset;
    while (segments_active(world->fixture.log)->base_offset == base) {
        clean_world_append(world, &filler);
        fixture_serve(&world->fixture);
    }
}

/** Segments that were never flushed go: they do not stand in the way of those behind them. */
static void
test_faster_than_flush(void)
{
    struct clean_world world;
    begin(&world, 0);
    for (int i = 0; i < 4; i++)
        roll_unflushed(&world);
    world.rules.retention_bytes = 0;
    configure(&world);
    fixture_serve(&world.fixture);
    CU_ASSERT(start_of(&world) > 0);
    CU_ASSERT(start_of(&world) > fixture_bounds(&world.fixture).durable_offset);
    CU_ASSERT_EQUAL(
        log_flush(world.fixture.log, world.count, clock_mono_ns() + INT64_C(60000000000)),
        LOG_FLUSHED);
    CU_ASSERT_EQUAL(fixture_bounds(&world.fixture).durable_offset, world.count);
    clean_world_fini(&world);
}

/** A flush that was kept waiting asks for a segment long behind the tail, and must not be told that
 * it is gone while it is there: it would pass over it. */
static void
test_flush_finds_old_segments(void)
{
    struct clean_world world;
    begin(&world, 0);
    for (int i = 0; i < SHM_SLOTS + 2; i++)
        roll_unflushed(&world);
    struct shm_source source = log_source_unlocked(world.fixture.log);
    struct shm_segment *segment = NULL;
    uint32_t position;
    CU_ASSERT_EQUAL_FATAL(source.open(source.context, 0, -1, &segment, &position), 0);
    CU_ASSERT_EQUAL(segment->base_offset, 0);
    shm_segment_unref(&segment);
    clean_world_fini(&world);
}

static void
test_by_age(void)
{
    struct clean_world world;
    begin(&world, 5);
    world.rules.retention_ms = 100000;
    configure(&world);
    clean_world_serve(&world);
    CU_ASSERT_EQUAL(start_of(&world), 0);
    world.now_ms += 98000;
    configure(&world);
    clean_world_serve(&world);
    int64_t start = start_of(&world);
    CU_ASSERT(start > 0 && start < world.count);
    /* The active segment stays, however old it is. */
    world.now_ms += 10000000;
    configure(&world);
    clean_world_serve(&world);
    CU_ASSERT(start_of(&world) > start);
    CU_ASSERT_EQUAL(start_of(&world), segments_active(world.fixture.log)->base_offset);
    CU_ASSERT_EQUAL(clean_world_check(&world, false), world.count - start_of(&world));
    clean_world_fini(&world);
}

/* The start is on disk before a file goes: without it nothing goes. */
static void
test_checkpoint_fails(void)
{
    struct clean_world world;
    begin(&world, 5);
    int files = fixture_count(&world.fixture, ".log");
    world.fixture.save_fails = true;
    world.rules.retention_bytes = 0;
    configure(&world);
    fixture_serve(&world.fixture);
    CU_ASSERT_EQUAL(start_of(&world), 0);
    CU_ASSERT_EQUAL(fixture_count(&world.fixture, ".log"), files);
    world.fixture.save_fails = false;
    configure(&world);
    clean_world_serve(&world);
    CU_ASSERT(start_of(&world) > 0);
    clean_world_fini(&world);
}

/* A reader that holds a removed segment goes on with it. */
static void
test_reader_keeps_its_file(void)
{
    struct clean_world world;
    begin(&world, 3);
    struct log_read_options options = {.offset = 0, .max_bytes = 10000, .at_least_one = true};
    struct log_slice slice;
    CU_ASSERT_EQUAL_FATAL(log_read(world.fixture.log, &options, &slice), LOG_READ_OK);
    world.rules.retention_bytes = 0;
    configure(&world);
    clean_world_serve(&world);
    CU_ASSERT(start_of(&world) > 0);
    struct buf bytes;
    buf_init(&bytes);
    CU_ASSERT_EQUAL(log_slice_copy(&slice, &bytes), 0);
    CU_ASSERT_EQUAL(bytes.length, slice.bytes);
    buf_fini(&bytes);
    log_slice_release(&slice);
    clean_world_fini(&world);
}

/* compact,delete: both work on one log. */
static void
test_both_policies(void)
{
    struct clean_world world;
    clean_world_init(&world, 2);
    world.rules.remove = true;
    clean_world_open(&world);
    for (int i = 0; i < 6; i++) {
        struct world_batch batch = {
            .records = 8, .first_key = i, .value_size = 200, .producer_id = -1};
        for (int n = 0; n < 12; n++)
            clean_world_append(&world, &batch);
        clean_world_roll(&world);
        world.now_ms += 1000;
    }
    clean_world_run(&world);
    clean_world_check(&world, true);
    world.rules.retention_bytes = 0;
    configure(&world);
    clean_world_serve(&world);
    CU_ASSERT_EQUAL(start_of(&world), segments_active(world.fixture.log)->base_offset);
    clean_world_reboot(&world);
    clean_world_run(&world);
    CU_ASSERT_EQUAL(fixture_count(&world.fixture, ".clean"), 0);
    CU_ASSERT(fixture_read_all(&world.fixture, start_of(&world)) == world.count);
    clean_world_fini(&world);
}

static void
test_closed_segments(void)
{
    struct clean_world world;
    begin(&world, 0);
    CU_ASSERT_FALSE(log_has_closed(world.fixture.store, &world.fixture.options));
    clean_world_roll(&world);
    CU_ASSERT_TRUE(log_has_closed(world.fixture.store, &world.fixture.options));
    clean_world_fini(&world);
}

void
register_retention(void)
{
    static const struct unit_case cases[] = {
        {"by size, and across restarts", test_by_size},
        {"it may be faster than the flush", test_faster_than_flush},
        {"what is there is found by a flush", test_flush_finds_old_segments},
        {"by age, and never the active segment", test_by_age},
        {"nothing goes before the start is saved", test_checkpoint_fails},
        {"a reader keeps its file", test_reader_keeps_its_file},
        {"compact,delete", test_both_policies},
        {"whether there is something to retain", test_closed_segments},
        {NULL, NULL},
    };
    unit_register("retention", cases);
}
