/* SPDX-License-Identifier: Apache-2.0
 * Flush and sleep, on a partition without busd.
 */
#include "base/clock.h"
#include "base/err.h"
#include "lib/shm_fixture.h"
#include "record/builder.h"
#include "shm/append.h"
#include "shm/flush.h"
#include "shm/lock.h"
#include "shm/wait.h"
#include "unit/unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

static struct shm_fixture fixture;
static struct shm_partition writer;

static int64_t
in_ms(int64_t ms)
{
    return clock_mono_ns() + ms * 1000000;
}

static void
set_up(uint32_t flags)
{
    struct shm_fixture_options options = {
        .flags = flags, .segment_bytes = 1 << 16, .max_message_bytes = 4096};
    CU_ASSERT_EQUAL_FATAL(shm_fixture_init(&fixture, &options), 0);
    CU_ASSERT_EQUAL_FATAL(shm_fixture_view(&fixture, true, &writer), 0);
}

static void
tear_down(void)
{
    shm_partition_fini(&writer);
    shm_fixture_fini(&fixture);
}

static void
append_one(struct shm_partition *view)
{
    struct batch_builder builder;
    struct builder_options options = {.producer_id = -1, .producer_epoch = -1, .base_sequence = -1};
    struct builder_record record = {.key_bytes = -1, .value = "v", .value_bytes = 1};
    struct append_batch batch = {.offsets = 1};
    struct append_result result;
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 4096, 4096), 0);
    builder_reset(&builder, &options);
    CU_ASSERT_EQUAL(builder_append(&builder, &record), 0);
    CU_ASSERT_EQUAL(builder_finish(&builder, &batch.bytes, &batch.size_bytes), 0);
    CU_ASSERT_EQUAL(shm_append(view, &batch, in_ms(10000), &result), APPEND_DONE);
    builder_fini(&builder);
}

static void
test_flush_raises_the_durable_offset(void)
{
    set_up(0);
    append_one(&writer);
    append_one(&writer);
    CU_ASSERT_EQUAL(shm_durable_offset(&writer), 0);
    CU_ASSERT_EQUAL(shm_flush(&writer, 1, in_ms(10000)), FLUSH_DONE);
    CU_ASSERT_EQUAL(shm_durable_offset(&writer), 2); /* the whole log, not only what was asked */
    CU_ASSERT_EQUAL(atomic_load(&writer.control->flush_lock), 0);
    tear_down();
}

static void
test_flush_covers_rolled_segments(void)
{
    set_up(0);
    append_one(&writer);
    CU_ASSERT_EQUAL(shm_fixture_spare(&fixture, &writer), 0);
    CU_ASSERT_EQUAL(shm_roll(&writer, in_ms(10000)), 0);
    append_one(&writer);
    CU_ASSERT_EQUAL(shm_flush(&writer, 2, in_ms(10000)), FLUSH_DONE);
    CU_ASSERT_EQUAL(shm_durable_offset(&writer), 2);
    tear_down();
}

static void
test_memory_needs_no_flush(void)
{
    set_up(SHM_FLAG_MEMORY);
    append_one(&writer);
    CU_ASSERT_EQUAL(shm_flush(&writer, 1, 0), FLUSH_DONE);
    tear_down();
}

static void
test_flush_waits_for_the_one_who_does_it(void)
{
    set_up(0);
    append_one(&writer);
    atomic_store(&writer.control->flush_lock, 1); /* somebody else is at it, and never ends */
    CU_ASSERT_EQUAL(shm_flush(&writer, 1, in_ms(30)), FLUSH_TIMED_OUT);
    atomic_store(&writer.control->durable_offset, 1);
    CU_ASSERT_EQUAL(shm_flush(&writer, 1, 0), FLUSH_DONE);
    tear_down();
}

static void
test_failed_flush_is_final(void)
{
    set_up(0);
    append_one(&writer);
    /* fdatasync() on a pipe fails with EINVAL: a stand-in for a disk that fails. */
    int ends[2];
    CU_ASSERT_EQUAL_FATAL(pipe2(ends, O_CLOEXEC), 0);
    int file = writer.segments[0]->fd;
    writer.segments[0]->fd = ends[0];
    CU_ASSERT_EQUAL(shm_flush(&writer, 1, in_ms(10000)), -BUS_ERR_KAFKA_STORAGE_ERROR);
    writer.segments[0]->fd = file;
    /* The disk works again, but the kernel may have dropped the pages: no second try. */
    CU_ASSERT_EQUAL(shm_flush(&writer, 1, in_ms(10000)), -BUS_ERR_KAFKA_STORAGE_ERROR);
    CU_ASSERT_EQUAL(shm_durable_offset(&writer), 0);
    CU_ASSERT_EQUAL(atomic_load(&writer.control->state), SHM_STATE_OFFLINE);
    close(ends[0]);
    close(ends[1]);
    tear_down();
}

static void
test_flush_of_an_ended_generation(void)
{
    set_up(0);
    append_one(&writer);
    shm_fence(&writer, SHM_STATE_FENCED);
    CU_ASSERT_EQUAL(shm_flush(&writer, 1, in_ms(10000)), FLUSH_FENCED);
    tear_down();
}

enum { WRITERS = 4, ROUNDS = 50 };

static void *
append_and_flush(void *unused)
{
    (void)unused;
    struct shm_partition view;
    if (shm_fixture_view(&fixture, true, &view) < 0)
        return NULL;
    for (int i = 0; i < ROUNDS; i++) {
        struct shm_tail tail;
        append_one(&view);
        shm_partition_tail(&view, &tail);
        CU_ASSERT_EQUAL(shm_flush(&view, tail.end_offset, in_ms(10000)), FLUSH_DONE);
        CU_ASSERT(shm_durable_offset(&view) >= tail.end_offset);
    }
    shm_partition_fini(&view);
    return NULL;
}

static void
test_group_commit(void)
{
    set_up(0);
    pthread_t threads[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, append_and_flush, NULL), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(shm_durable_offset(&writer), WRITERS * ROUNDS);
    tear_down();
}

static void *
append_later(void *go)
{
    struct shm_partition view;
    if (shm_fixture_view(&fixture, true, &view) < 0)
        return NULL;
    /* Until the sleeper has raised its flag. */
    while (atomic_load(&view.bell->sleeping) == 0) {
    }
    append_one(&view);
    atomic_store((_Atomic int *)go, 1);
    shm_partition_fini(&view);
    return NULL;
}

static void
sleep_until_news(int partitions)
{
    struct wait_set set;
    static _Atomic uint32_t own;
    struct shm_tail tail = {0};
    _Atomic int done = 0;
    pthread_t thread;
    wait_init(&set);
    for (int i = 0; i < partitions; i++)
        CU_ASSERT(wait_add(&set, &writer));
    CU_ASSERT(wait_add_word(&set, &own));
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, append_later, (void *)&done), 0);
    for (;;) {
        wait_begin(&set);
        CU_ASSERT_EQUAL_FATAL(shm_partition_tail(&writer, &tail), 0);
        if (tail.end_offset > 0)
            break;
        wait_sleep(&set, in_ms(10000));
    }
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(tail.end_offset, 1);
}

static void
test_sleeper_is_woken(void)
{
    set_up(0);
    sleep_until_news(1);
    CU_ASSERT(atomic_load(&writer.control->wake_seq) > 0);
    tear_down();
}

static void
test_sleep_on_many(void)
{
    set_up(0);
    sleep_until_news(WAIT_WORDS_MAX);
    struct wait_set set;
    wait_init(&set);
    for (int i = 0; i < WAIT_WORDS_MAX; i++)
        CU_ASSERT(wait_add(&set, &writer));
    CU_ASSERT_FALSE(wait_add(&set, &writer));
    tear_down();
}

static void
test_no_sleeper_no_call(void)
{
    set_up(0);
    append_one(&writer);
    CU_ASSERT_EQUAL(atomic_load(&writer.control->wake_seq), 0);
    atomic_store(&writer.bell->sleeping, 1);
    append_one(&writer);
    CU_ASSERT_EQUAL(atomic_load(&writer.control->wake_seq), 1);
    CU_ASSERT_EQUAL(atomic_load(&writer.bell->sleeping), 0);
    tear_down();
}

static const struct unit_case cases[] = {
    {"a flush raises the durable offset to the tail", test_flush_raises_the_durable_offset},
    {"a flush covers segments that were rolled", test_flush_covers_rolled_segments},
    {"a memory topic needs no flush", test_memory_needs_no_flush},
    {"those who wait do so until their deadline", test_flush_waits_for_the_one_who_does_it},
    {"a failed flush is final", test_failed_flush_is_final},
    {"an ended generation is an outcome", test_flush_of_an_ended_generation},
    {"a group commits together", test_group_commit},
    {"a sleeper is woken", test_sleeper_is_woken},
    {"one sleep watches many partitions", test_sleep_on_many},
    {"without a sleeper nobody is called", test_no_sleeper_no_call},
    {NULL, NULL},
};

void
register_flush(void)
{
    unit_register("flush", cases);
}
