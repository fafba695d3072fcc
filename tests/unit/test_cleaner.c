/* SPDX-License-Identifier: Apache-2.0
 * Compaction against a plain model, with crashes.
 */
#include "base/err.h"
#include "record/codec.h"
#include "store/private.h"
#include "unit/clean_world.h"
#include "unit/unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const char first_log[] = "00000000000000000000.log";

static void
append_key(struct clean_world *world, int32_t key, int32_t value_size)
{
    struct world_batch batch = {
        .records = 1, .first_key = key, .value_size = value_size, .producer_id = -1};
    clean_world_append(world, &batch);
}

static void
test_last_value(void)
{
    struct clean_world world;
    clean_world_init(&world, 1);
    clean_world_open(&world);
    for (int i = 0; i < 200; i++)
        append_key(&world, i % 10, 300);
    clean_world_roll(&world);
    CU_ASSERT_EQUAL(clean_world_check(&world, true), world.count);
    int files = fixture_count(&world.fixture, ".log");
    clean_world_run(&world);
    struct log_cleaning_status status = clean_world_status(&world);
    CU_ASSERT(status.clean_offset > 190);
    CU_ASSERT_EQUAL(status.runs, 1);
    CU_ASSERT(status.bytes_after < status.bytes_before / 4);
    CU_ASSERT(status.records_dropped > 150);
    CU_ASSERT_STRING_EQUAL(status.failure, "");
    CU_ASSERT_EQUAL(status.state, LOG_CLEANING_IDLE);
    CU_ASSERT(clean_world_check(&world, true) < 60);
    CU_ASSERT(fixture_count(&world.fixture, ".log") < files);
    CU_ASSERT_EQUAL(fixture_count(&world.fixture, ".clean"), 0);
    /* Once more: nothing is dirty. */
    clean_world_run(&world);
    CU_ASSERT_EQUAL(clean_world_status(&world).runs, 1);
    clean_world_fini(&world);
}

static void
test_deletions_take_two_passes(void)
{
    struct clean_world world;
    clean_world_init(&world, 2);
    clean_world_open(&world);
    append_key(&world, 1, 100);
    append_key(&world, 1, -1);
    clean_world_roll(&world);
    clean_world_run(&world);
    clean_world_check(&world, true);
    CU_ASSERT_FALSE(world.records[0].last_seen);
    CU_ASSERT_TRUE(world.records[1].last_seen);
    /* Just before the horizon it stays, and at it it goes. */
    world.now_ms += 999;
    clean_world_roll(&world);
    clean_world_run(&world);
    clean_world_check(&world, true);
    CU_ASSERT_TRUE(world.records[1].last_seen);
    world.now_ms += 1;
    clean_world_roll(&world);
    clean_world_run(&world);
    clean_world_check(&world, true);
    CU_ASSERT_FALSE(world.records[1].last_seen);
    clean_world_fini(&world);
}

static void
test_records_without_key_go(void)
{
    struct clean_world world;
    clean_world_init(&world, 3);
    clean_world_open(&world);
    struct world_batch batch = {
        .records = 3, .first_key = 1, .value_size = 10, .producer_id = -1, .no_keys = true};
    clean_world_append(&world, &batch);
    clean_world_roll(&world);
    clean_world_run(&world);
    clean_world_check(&world, true);
    CU_ASSERT_FALSE(world.records[0].last_seen);
    clean_world_fini(&world);
}

static void
test_producers_leave_their_last_batch(void)
{
    struct clean_world world;
    clean_world_init(&world, 4);
    clean_world_open(&world);
    for (int i = 0; i < 20; i++) {
        struct world_batch batch = {
            .records = 2, .first_key = 5, .value_size = 50, .producer_id = i % 2 ? 700 : 800};
        clean_world_append(&world, &batch);
    }
    for (int i = 0; i < 3; i++)
        append_key(&world, 5 + i, 10);
    clean_world_roll(&world);
    clean_world_run(&world);
    clean_world_check(&world, true);
    /* One for each producer, and perhaps one at the end of the segment. */
    int empty = clean_world_empty_batches(&world);
    CU_ASSERT(empty == 2 || empty == 3);
    /* Producers that are silent for too long are forgotten. */
    world.producer_before_ms = INT64_MAX;
    clean_world_roll(&world);
    clean_world_run(&world);
    clean_world_check(&world, true);
    CU_ASSERT(clean_world_empty_batches(&world) <= 1);
    clean_world_fini(&world);
}

static void
test_codecs(void)
{
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        struct clean_world world;
        if (!codec_available(codec))
            continue;
        clean_world_init(&world, 5);
        clean_world_open(&world);
        for (int i = 0; i < 60; i++) {
            struct world_batch batch = {.records = 7,
                .codec = codec,
                .first_key = i % 9,
                .value_size = 500,
                .producer_id = -1};
            clean_world_append(&world, &batch);
        }
        clean_world_roll(&world);
        clean_world_run(&world);
        clean_world_check(&world, true);
        CU_ASSERT(clean_world_status(&world).records_dropped > 300);
        clean_world_fini(&world);
    }
}

/* More keys than the map holds: several passes, the same end. */
static void
test_several_passes(void)
{
    struct clean_world world;
    clean_world_init(&world, 6);
    world.upkeep.dedupe_bytes = 1; /* the least that there is: 57 keys */
    store_configure(world.fixture.store, &world.upkeep);
    clean_world_open(&world);
    for (int i = 0; i < 400; i++) {
        struct world_batch batch = {
            .records = 3, .first_key = i % WORLD_KEYS, .value_size = 60, .producer_id = i + 1};
        clean_world_append(&world, &batch);
    }
    clean_world_roll(&world);
    clean_world_run(&world);
    struct log_cleaning_status status = clean_world_status(&world);
    CU_ASSERT(status.runs > 0);
    CU_ASSERT(status.clean_offset > 1100);
    clean_world_check(&world, true);
    clean_world_fini(&world);
}

static void
test_lag(void)
{
    struct clean_world world;
    clean_world_init(&world, 7);
    world.rules.min_lag_ms = 500;
    clean_world_open(&world);
    for (int i = 0; i < 200; i++)
        append_key(&world, i % 3, 300);
    clean_world_roll(&world);
    clean_world_run(&world);
    CU_ASSERT_EQUAL(clean_world_status(&world).runs, 0);
    CU_ASSERT_EQUAL(clean_world_check(&world, true), world.count);
    world.now_ms += 600;
    clean_world_run(&world);
    CU_ASSERT_EQUAL(clean_world_status(&world).runs, 1);
    clean_world_check(&world, true);
    clean_world_fini(&world);
}

static void
test_asked(void)
{
    struct clean_world world;
    clean_world_init(&world, 8);
    world.rules.dirty_ratio = 1;
    clean_world_open(&world);
    for (int i = 0; i < 20; i++)
        append_key(&world, 3, 100);
    clean_world_run(&world);
    CU_ASSERT_EQUAL(clean_world_status(&world).runs, 0);
    CU_ASSERT_EQUAL(log_compact(world.fixture.log), 0);
    CU_ASSERT_EQUAL(clean_world_status(&world).state, LOG_CLEANING_ASKED);
    clean_world_run(&world);
    CU_ASSERT_EQUAL(clean_world_status(&world).runs, 1);
    CU_ASSERT_EQUAL(clean_world_status(&world).state, LOG_CLEANING_IDLE);
    /* The active segment was closed for it. */
    CU_ASSERT_EQUAL(clean_world_check(&world, true), 1);
    CU_ASSERT_EQUAL(log_compact(world.fixture.log), 0);
    clean_world_run(&world);
    CU_ASSERT_EQUAL(clean_world_status(&world).state, LOG_CLEANING_IDLE);
    world.rules.compact = false;
    world.fixture.options.rules = world.rules;
    log_configure(world.fixture.log, &world.fixture.options);
    CU_ASSERT_EQUAL(log_compact(world.fixture.log), -BUS_ERR_POLICY_VIOLATION);
    clean_world_fini(&world);
}

/* Offsets stay missing when a topic is no longer compacted, and clients know. */
static void
test_policy_changes(void)
{
    struct clean_world world;
    clean_world_init(&world, 9);
    clean_world_open(&world);
    for (int i = 0; i < 200; i++)
        append_key(&world, i % 5, 300);
    clean_world_roll(&world);
    clean_world_run(&world);
    int64_t records = clean_world_check(&world, true);
    world.fixture.options.flags &= ~(uint32_t)SHM_FLAG_COMPACTED;
    world.rules.compact = false;
    world.fixture.options.rules = world.rules;
    log_configure(world.fixture.log, &world.fixture.options);
    for (int turn = 0; turn < 3; turn++) {
        CU_ASSERT_EQUAL(clean_world_check(&world, true), records);
        struct shm_control *control = fixture_control(&world.fixture);
        CU_ASSERT(control->flags & SHM_FLAG_HOLES);
        CU_ASSERT_FALSE(control->flags & SHM_FLAG_COMPACTED);
        munmap(control, SHM_PAGE_BYTES);
        if (turn == 0)
            clean_world_restart(&world);
        else
            clean_world_reboot(&world);
        clean_world_serve(&world);
    }
    clean_world_fini(&world);
}

static void
test_damage_is_left_alone(void)
{
    struct clean_world world;
    clean_world_init(&world, 10);
    clean_world_open(&world);
    for (int i = 0; i < 300; i++)
        append_key(&world, i % 5, 300);
    append_key(&world, 7, -1);
    clean_world_roll(&world);
    int64_t size = fixture_size(&world.fixture, first_log);
    /* A byte of a value in the first segment. */
    fixture_damage(&world.fixture, first_log, 5000, 1);
    clean_world_run(&world);
    struct log_cleaning_status status = clean_world_status(&world);
    CU_ASSERT_EQUAL(status.runs, 1);
    CU_ASSERT_EQUAL(fixture_size(&world.fixture, first_log), size);
    CU_ASSERT(status.records_dropped > 100);
    /* What lies before and behind the damage can be read. */
    CU_ASSERT(fixture_read(&world.fixture, 0) > 0);
    CU_ASSERT_EQUAL(fixture_read_all(&world.fixture, 0), -BUS_ERR_CORRUPT_MESSAGE);
    /* The deletion stays for ever: the damaged segment may hold what it deletes. */
    world.now_ms += 100000;
    clean_world_roll(&world);
    clean_world_run(&world);
    CU_ASSERT_EQUAL(clean_world_status(&world).runs, 2);
    struct log_read_options options = {.offset = 300, .max_bytes = 1, .at_least_one = true};
    struct log_slice slice;
    CU_ASSERT_EQUAL(log_read(world.fixture.log, &options, &slice), LOG_READ_OK);
    CU_ASSERT_EQUAL(slice.first_offset, 300);
    log_slice_release(&slice);
    clean_world_fini(&world);
}

/* What a reader has open or mapped stays as it was. */
static void
test_readers_keep_their_files(void)
{
    struct clean_world world;
    clean_world_init(&world, 11);
    clean_world_open(&world);
    for (int i = 0; i < 200; i++)
        append_key(&world, i % 5, 300);
    clean_world_roll(&world);
    struct log_read_options options = {.offset = 0, .max_bytes = 100000, .at_least_one = true};
    struct log_slice slice;
    CU_ASSERT_EQUAL_FATAL(log_read(world.fixture.log, &options, &slice), LOG_READ_OK);
    struct buf before, after;
    buf_init(&before);
    buf_init(&after);
    CU_ASSERT_EQUAL(log_slice_copy(&slice, &before), 0);
    clean_world_run(&world);
    CU_ASSERT_EQUAL(clean_world_status(&world).runs, 1);
    CU_ASSERT_EQUAL(log_slice_copy(&slice, &after), 0);
    CU_ASSERT_EQUAL(before.length, after.length);
    CU_ASSERT_EQUAL(memcmp(before.data, after.data, before.length), 0);
    log_slice_release(&slice);
    buf_fini(&before);
    buf_fini(&after);
    clean_world_fini(&world);
}

static void
test_closed_while_it_runs(void)
{
    struct clean_world world;
    clean_world_init(&world, 12);
    clean_world_open(&world);
    for (int i = 0; i < 200; i++)
        append_key(&world, i % 5, 300);
    clean_world_roll(&world);
    for (int steps = 0; steps < 4; steps++) {
        clean_world_allow(&world, true);
        for (int i = 0; i < steps; i++) {
            fixture_serve(&world.fixture);
            store_clean(world.fixture.store);
        }
        log_close(&world.fixture.log);
        store_clean(world.fixture.store);
        CU_ASSERT_FALSE(store_clean(world.fixture.store));
        clean_world_allow(&world, false);
        clean_world_open(&world);
        clean_world_serve(&world);
        CU_ASSERT_EQUAL(fixture_count(&world.fixture, ".clean"), 0);
        clean_world_check(&world, false);
    }
    clean_world_run(&world);
    clean_world_check(&world, true);
    clean_world_fini(&world);
}

/* ---- crashes -------------------------------------------------------------------------------- */

/* Cleans in a child that ends after so many changes of files; whether it did. */
static bool
crash_in_child(struct clean_world *world, int after)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct store *store = world->fixture.store;
        clean_world_allow(world, true);
        world_crash_after = after;
        for (int idle = 0; idle < 3;) {
            store_service(store, true);
            idle = store_clean(store) ? 0 : idle + 1;
        }
        _exit(0);
    }
    int status = -1;
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT(WIFEXITED(status));
    CU_ASSERT(WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 0);
    return WEXITSTATUS(status) == 77;
}

/* A crash at each point of a compaction, one after the other. */
static void
test_crash_at_every_point(void)
{
    for (int reboot = 0; reboot < 2; reboot++) {
        struct clean_world world;
        clean_world_init(&world, 13);
        clean_world_open(&world);
        bool crashed = true;
        for (int after = 1; crashed && after < 200; after++) {
            for (int i = 0; i < 60; i++)
                append_key(&world, (after + i) % 20, 900);
            clean_world_roll(&world);
            crashed = crash_in_child(&world, after);
            if (reboot)
                clean_world_reboot(&world);
            else
                clean_world_restart(&world);
            clean_world_check(&world, false);
            CU_ASSERT_EQUAL(fixture_count(&world.fixture, ".clean"), 0);
            clean_world_serve(&world);
            if (after % 3 == 0) {
                clean_world_run(&world);
                clean_world_check(&world, true);
            }
        }
        CU_ASSERT_FALSE(crashed);
        clean_world_fini(&world);
    }
}

/* One random history with random crashes, restarts and passes of time. */
static void
run_history(uint64_t seed)
{
    struct clean_world world;
    clean_world_init(&world, seed);
    if (clean_world_random(&world, 3) == 0)
        world.upkeep.dedupe_bytes = 24 * (64 + clean_world_random(&world, 100));
    store_configure(world.fixture.store, &world.upkeep);
    clean_world_open(&world);
    for (int turn = 0; turn < 8; turn++) {
        uint32_t batches = clean_world_random(&world, 120);
        for (uint32_t i = 0; i < batches; i++) {
            clean_world_append_random(&world);
            if (i % 16 == 0)
                clean_world_serve(&world);
        }
        clean_world_roll(&world);
        world.now_ms += clean_world_random(&world, 800);
        uint32_t what = clean_world_random(&world, 4);
        if (what > 0)
            crash_in_child(&world, 1 + (int)clean_world_random(&world, 60));
        if (what == 1)
            clean_world_restart(&world);
        else if (what >= 2)
            clean_world_reboot(&world);
        if (what > 0)
            clean_world_check(&world, false);
        clean_world_run(&world);
        clean_world_check(&world, true);
    }
    clean_world_fini(&world);
}

static void
test_random_histories(void)
{
    unsigned failures = CU_get_number_of_failures();
    for (uint64_t seed = 1; seed <= 15; seed++) {
        run_history(seed);
        if (CU_get_number_of_failures() > failures) {
            printf("# seed %" PRIu64 "\n", seed);
            return;
        }
    }
}

void
register_cleaner(void)
{
    static const struct unit_case cases[] = {
        {"the last value of each key stays", test_last_value},
        {"deletions take two passes", test_deletions_take_two_passes},
        {"records without a key go", test_records_without_key_go},
        {"producers leave their last batch", test_producers_leave_their_last_batch},
        {"batches keep their codec", test_codecs},
        {"more keys than the map holds", test_several_passes},
        {"min.compaction.lag.ms", test_lag},
        {"somebody asks for it", test_asked},
        {"a topic that is no longer compacted", test_policy_changes},
        {"a damaged segment is left alone", test_damage_is_left_alone},
        {"readers keep their files", test_readers_keep_their_files},
        {"closed while it runs", test_closed_while_it_runs},
        {"a crash at every point", test_crash_at_every_point},
        {"random histories, with crashes", test_random_histories},
        {NULL, NULL},
    };
    unit_register("cleaner", cases);
}
