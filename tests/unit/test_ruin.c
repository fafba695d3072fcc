/* SPDX-License-Identifier: Apache-2.0
 * A control page or a segment that somebody has ruined, and generations that end half-way.
 */
#include "base/clock.h"
#include "base/err.h"
#include "shm/flush.h"
#include "shm/partition.h"
#include "unit/store_client.h"
#include "unit/store_fixture.h"
#include "unit/unit.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char first_log[] = "00000000000000000000.log";
static const char second_log[] = "00000000000000000003.log";

static int64_t
deadline(void)
{
    return clock_mono_ns() + 10 * INT64_C(1000000000);
}

/* One way to ruin a control page. */
struct ruin {
    const char *what;
    void (*ruin)(struct shm_control *control);
};

static void
ruin_active(struct shm_control *control)
{
    atomic_store(&control->active_seq, 5);
}

static void
ruin_state(struct shm_control *control)
{
    atomic_store(&control->state, 99);
}

static void
ruin_fence(struct shm_control *control)
{
    atomic_store(&control->state, SHM_STATE_FENCED);
}

static void
ruin_published(struct shm_control *control)
{
    atomic_store(&control->slots[0].published, SHM_PUBLISHED(90000, 500));
}

static void
ruin_backwards(struct shm_control *control)
{
    atomic_store(&control->slots[0].published, SHM_PUBLISHED(0, 0));
}

static void
ruin_limit(struct shm_control *control)
{
    atomic_store(&control->slots[0].limit, 0x7ffffff0);
}

static void
ruin_roll(struct shm_control *control)
{
    atomic_store(&control->slots[1].base_offset, 1000);
    atomic_store(&control->active_seq, 1);
}

static void
ruin_base(struct shm_control *control)
{
    atomic_store(&control->slots[0].base_offset, -7);
}

static void
ruin_durable(struct shm_control *control)
{
    atomic_store(&control->durable_offset, 1000);
}

static void
ruin_all(struct shm_control *control)
{
    memset(control, 0xff, sizeof *control);
}

static const struct ruin ruins[] = {{"active", ruin_active}, {"state", ruin_state},
    {"fence", ruin_fence}, {"published", ruin_published}, {"backwards", ruin_backwards},
    {"limit", ruin_limit}, {"roll", ruin_roll}, {"base", ruin_base}, {"durable", ruin_durable},
    {"all", ruin_all}};

static void
test_ruined_page_while_running(void)
{
    for (size_t i = 0; i < sizeof ruins / sizeof ruins[0]; i++) {
        struct store_fixture fixture;
        struct shm_partition view;
        int writers;
        store_client_start(&fixture, &view, &writers);
        for (int n = 0; n < 10; n++)
            CU_ASSERT_EQUAL(store_client_append(&view, 10), APPEND_DONE);
        CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 10);
        struct shm_control *control = fixture_control(&fixture);
        ruins[i].ruin(control);
        fixture_serve(&fixture);
        fixture_serve(&fixture);
        CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 10);
        CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 10);
        CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 10);
        CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 11);
        CU_ASSERT_NOT_EQUAL(store_client_append(&view, 10), APPEND_DONE);
        struct log_usage usage;
        log_usage(fixture.log, &usage);
        CU_ASSERT_EQUAL(usage.rebuilds, 1);
        CU_ASSERT_EQUAL(fixture_objects(&fixture), 2);
        munmap(control, SHM_PAGE_BYTES);
        shm_partition_fini(&view);
        close(writers);
        fixture_fini(&fixture);
    }
}

static void
test_ruined_page_at_start(void)
{
    for (size_t i = 0; i < sizeof ruins / sizeof ruins[0]; i++) {
        if (ruins[i].ruin == ruin_published)
            continue; /* a plausible lie: seen only when its batches are looked at */
        struct store_fixture fixture;
        struct shm_partition view;
        int writers;
        store_client_start(&fixture, &view, &writers);
        for (int n = 0; n < 10; n++)
            CU_ASSERT_EQUAL(store_client_append(&view, 10), APPEND_DONE);
        CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 10);
        fixture_serve(&fixture);
        CU_ASSERT_EQUAL(store_flush(fixture.store), 0);
        struct shm_control *control = fixture_control(&fixture);
        log_close(&fixture.log);
        ruins[i].ruin(control);
        fixture_restart(&fixture);
        CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
        fixture_serve(&fixture);
        CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 10);
        CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 10);
        CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 11);
        /* A lock that nobody will ever give back is not waited for. */
        CU_ASSERT_NOT_EQUAL(store_client_append_until(&view, 10, 0), APPEND_DONE);
        munmap(control, SHM_PAGE_BYTES);
        shm_partition_fini(&view);
        close(writers);
        fixture_fini(&fixture);
    }
}

static void
test_published_garbage(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    for (int n = 0; n < 10; n++)
        fixture_append(&fixture, 1, 10, 1);
    struct shm_control *control = fixture_control(&fixture);
    uint64_t published = atomic_load(&control->slots[0].published);
    atomic_store(
        &control->slots[0].published, SHM_PUBLISHED(SHM_PUBLISHED_POSITION(published) + 500, 12));
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 12);
    CU_ASSERT_EQUAL(fixture_read(&fixture, 10), -BUS_ERR_CORRUPT_MESSAGE);
    fixture_serve(&fixture);
    fixture_serve(&fixture);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 10);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 10);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 11);
    munmap(control, SHM_PAGE_BYTES);
    fixture_fini(&fixture);
}

static void
test_death_in_the_middle_of_an_eviction(void)
{
    struct store_fixture fixture;
    struct shm_partition view;
    int writers;
    store_client_start(&fixture, &view, &writers);
    for (int n = 0; n < 3; n++)
        CU_ASSERT_EQUAL(store_client_append(&view, 10), APPEND_DONE);
    uint32_t generation = fixture_bounds(&fixture).generation;
    CU_ASSERT_EQUAL(store_flush(fixture.store), 0);
    log_close(&fixture.log);
    /* The number is saved and the page fenced, but no new page exists. */
    fixture.checkpoints[0].generation = generation + 1;
    shm_fence(&view, SHM_STATE_FENCED);
    fixture_restart(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT(fixture_bounds(&fixture).generation > generation);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 3);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 3);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 4);
    CU_ASSERT_EQUAL(fixture_objects(&fixture), 2);
    CU_ASSERT_EQUAL(store_client_append(&view, 10), APPEND_FENCED);
    shm_partition_fini(&view);
    close(writers);
    fixture_fini(&fixture);
}

static void
test_number_saved_only(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    fixture_append(&fixture, 1, 10, 1);
    fixture_serve(&fixture);
    CU_ASSERT_EQUAL(store_flush(fixture.store), 0);
    log_close(&fixture.log);
    fixture.checkpoints[0].generation++;
    fixture_restart(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 1);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 2);
    fixture_fini(&fixture);
}

/* A writer may make the file as long as he likes. */
static void
test_file_made_longer(void)
{
    struct store_fixture fixture;
    struct shm_partition view;
    struct log_usage usage;
    int writers;
    store_client_start(&fixture, &view, &writers);
    for (int n = 0; n < 3; n++)
        CU_ASSERT_EQUAL(store_client_append(&view, 10), APPEND_DONE);
    CU_ASSERT_EQUAL(ftruncate(view.segments[0]->fd, INT64_C(1) << 40), 0);
    struct shm_control *control = fixture_control(&fixture);
    ruin_all(control);
    munmap(control, SHM_PAGE_BYTES);
    fixture_disk.reserved_max = 0;
    for (int turn = 0; turn < 3; turn++)
        fixture_serve(&fixture);
    log_usage(fixture.log, &usage);
    CU_ASSERT_EQUAL(usage.rebuilds, 1);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 3);
    shm_partition_fini(&view);
    close(writers);
    fixture_reboot(&fixture);
    CU_ASSERT_EQUAL(truncate(fixture_path(&fixture, second_log), INT64_C(1) << 40), 0);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT(fixture_disk.reserved_max <= fixture.options.segment_bytes);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 4);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 5);
    fixture_serve(&fixture);
    log_usage(fixture.log, &usage);
    CU_ASSERT_EQUAL(usage.rebuilds, 0);
    fixture_fini(&fixture);
}

/* The repair of a ruined page fails for a while, and meanwhile settings change. */
static void
test_repair_that_fails(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    struct shm_control *control = fixture_control(&fixture);
    ruin_all(control);
    munmap(control, SHM_PAGE_BYTES);
    unlink(fixture_path(&fixture, first_log));
    fixture_disk.reserve_fails = true;
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), -BUS_ERR_PARTITION_OFFLINE);
    fixture_serve(&fixture);
    log_configure(fixture.log, &fixture.options);
    log_set_high_watermark(fixture.log, 1);
    struct log_usage usage;
    log_usage(fixture.log, &usage);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), -BUS_ERR_PARTITION_OFFLINE);
    fixture_disk.reserve_fails = false;
    fixture_serve(&fixture);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 0);
    fixture_fini(&fixture);
}

/* That a flush failed must not be forgotten with the page that says it. */
static void
test_failed_flush_and_ruined_page(void)
{
    for (int turn = 0; turn < 2; turn++) {
        struct store_fixture fixture;
        struct shm_partition view;
        int writers;
        store_client_start(&fixture, &view, &writers);
        CU_ASSERT_EQUAL(store_client_append(&view, 10), APPEND_DONE);
        fixture_disk.flush_fails = true;
        int rc =
            turn == 0 ? log_flush(fixture.log, 1, deadline()) : shm_flush(&view, 1, deadline());
        CU_ASSERT_EQUAL(rc, -BUS_ERR_KAFKA_STORAGE_ERROR);
        fixture_disk.flush_fails = false;
        CU_ASSERT_EQUAL(fixture_bounds(&fixture).state, SHM_STATE_OFFLINE);
        ruin_all(view.control);
        fixture_serve(&fixture);
        fixture_serve(&fixture);
        CU_ASSERT_EQUAL(fixture_bounds(&fixture).state, SHM_STATE_OFFLINE);
        CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), -BUS_ERR_PARTITION_OFFLINE);
        CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 1);
        shm_partition_fini(&view);
        close(writers);
        fixture_restart(&fixture);
        CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
        CU_ASSERT_EQUAL(fixture_bounds(&fixture).state, SHM_STATE_OPEN);
        CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 1);
        fixture_fini(&fixture);
    }
}

static const struct unit_case cases[] = {
    {"a ruined page is replaced while running", test_ruined_page_while_running},
    {"a ruined page is replaced at start", test_ruined_page_at_start},
    {"published garbage is cut off", test_published_garbage},
    {"busd dies in the middle of an eviction", test_death_in_the_middle_of_an_eviction},
    {"busd dies with a number saved only", test_number_saved_only},
    {"a file that a writer made longer", test_file_made_longer},
    {"a repair that fails for a while", test_repair_that_fails},
    {"a failed flush is not forgotten with its page", test_failed_flush_and_ruined_page},
    {NULL, NULL},
};

void
register_ruin(void)
{
    unit_register("ruin", cases);
}
