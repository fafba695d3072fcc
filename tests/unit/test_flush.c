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
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct shm_fixture fixture;
static struct shm_partition writer;
static int whole_syncs;

/* In the place of the C library's, to see the calls. */
int
syncfs(int fd)
{
    whole_syncs++;
    return (int)syscall(SYS_syncfs, fd);
}

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

/* The first segments have lost their slots when somebody flushes at last. */
static void
test_flush_covers_segments_without_a_slot(void)
{
    set_up(0);
    for (int i = 0; i < SHM_SLOTS + 2; i++) {
        append_one(&writer);
        CU_ASSERT_EQUAL(shm_fixture_spare(&fixture, &writer), 0);
        CU_ASSERT_EQUAL(shm_roll(&writer, in_ms(10000)), 0);
    }
    whole_syncs = 0;
    CU_ASSERT_EQUAL(shm_flush(&writer, SHM_SLOTS, in_ms(10000)), FLUSH_DONE);
    CU_ASSERT_EQUAL(whole_syncs, 1);
    append_one(&writer);
    CU_ASSERT_EQUAL(shm_flush(&writer, SHM_SLOTS + 3, in_ms(10000)), FLUSH_DONE);
    CU_ASSERT_EQUAL(whole_syncs, 1);
    tear_down();
}

/* A record that a rebuilt log does not have any more: its producer must hear of it. */
static void
test_flush_beyond_the_end(void)
{
    set_up(0);
    append_one(&writer);
    CU_ASSERT_EQUAL(shm_flush(&writer, 2, in_ms(10000)), -BUS_ERR_OFFSET_OUT_OF_RANGE);
    CU_ASSERT_EQUAL(atomic_load(&writer.control->flush_lock), 0);
    tear_down();
}

/* What the page says about those who may come is a guess, or a lie. */
static void
test_flush_does_not_wait_for_a_lie(void)
{
    static const int64_t lies[] = {INT64_MAX, INT64_MIN, 5};
    set_up(0);
    for (int i = 0; i < 3; i++) {
        append_one(&writer);
        atomic_store(&writer.control->flush_expected, lies[i]);
        CU_ASSERT_EQUAL(shm_flush(&writer, i + 1, in_ms(10000)), FLUSH_DONE);
        CU_ASSERT_EQUAL(shm_durable_offset(&writer), i + 1);
        CU_ASSERT_EQUAL(atomic_load(&writer.control->flush_turn), (uint32_t)i + 1);
        CU_ASSERT_EQUAL(atomic_load(&writer.control->flush_expected), 0); /* nobody was woken */
    }
    tear_down();
}

static struct shm_source plain;
static enum shm_state ending;

/* The generation ends while the flush waits for a segment; the one that comes may be another. */
static int
open_behind_the_end(
    void *context, int64_t seq, int64_t offset, struct shm_segment **segment, uint32_t *position)
{
    shm_fence(&writer, ending);
    return plain.open(context, seq, offset, segment, position);
}

static void
flush_while_it_ends(enum shm_state state, int expected)
{
    set_up(0);
    append_one(&writer);
    struct shm_partition late;
    CU_ASSERT_EQUAL_FATAL(shm_fixture_view(&fixture, true, &late), 0);
    plain = late.source;
    ending = state;
    late.source.open = open_behind_the_end;
    CU_ASSERT_EQUAL(shm_flush(&late, 1, in_ms(10000)), expected);
    CU_ASSERT_EQUAL(shm_durable_offset(&late), 0);
    shm_partition_fini(&late);
    tear_down();
}

static void
test_end_during_a_flush(void)
{
    flush_while_it_ends(SHM_STATE_FENCED, FLUSH_FENCED);
    flush_while_it_ends(SHM_STATE_OFFLINE, -BUS_ERR_KAFKA_STORAGE_ERROR);
}

static void *
roll_on(void *unused)
{
    CU_ASSERT_EQUAL(shm_roll(&writer, in_ms(10000)), 0);
    return unused;
}

/* The log rolls on while the flush waits for a segment, and retention takes the segment away. */
static int
open_what_is_gone(
    void *context, int64_t seq, int64_t offset, struct shm_segment **segment, uint32_t *position)
{
    pthread_t other; /* this thread holds the lock for flushes, and may hold one only */
    if (seq > 0)
        return plain.open(context, seq, offset, segment, position);
    CU_ASSERT_EQUAL(pthread_create(&other, NULL, roll_on, NULL), 0);
    CU_ASSERT_EQUAL(pthread_join(other, NULL), 0);
    return err_set(BUS_ERR_RESOURCE_NOT_FOUND, "there is no segment %lld", (long long)seq);
}

static void
test_tail_is_gone_during_a_flush(void)
{
    struct shm_partition late;
    set_up(0);
    append_one(&writer);
    CU_ASSERT_EQUAL(shm_fixture_spare(&fixture, &writer), 0);
    CU_ASSERT_EQUAL_FATAL(shm_fixture_view(&fixture, true, &late), 0);
    plain = late.source;
    late.source.open = open_what_is_gone;
    CU_ASSERT_EQUAL(shm_flush(&late, 1, in_ms(10000)), FLUSH_DONE);
    CU_ASSERT_EQUAL(shm_durable_offset(&late), 1);
    shm_partition_fini(&late);
    tear_down();
}

enum { FLUSHES = 300 };
static _Atomic uint32_t watched; /* flushes that were looked at */

static void *
watch_the_lock(void *taken)
{
    for (uint32_t flush = 1; flush <= FLUSHES; flush++) {
        while (atomic_load(&writer.control->durable_seq) != flush)
            sched_yield();
        if (atomic_load(&writer.control->flush_lock) != 0)
            atomic_fetch_add((_Atomic int *)taken, 1);
        atomic_store(&watched, flush);
    }
    return NULL;
}

/* Whoever is woken can take the lock: else nobody would flush what came during the flush. */
static void
test_woken_when_the_lock_is_free(void)
{
    set_up(0);
    pthread_t thread;
    _Atomic int taken = 0;
    atomic_store(&watched, 0);
    append_one(&writer);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, watch_the_lock, (void *)&taken), 0);
    for (uint32_t flush = 1; flush <= FLUSHES; flush++) {
        atomic_store(&writer.control->durable_offset, 0);
        CU_ASSERT_EQUAL(shm_flush(&writer, 1, in_ms(10000)), FLUSH_DONE);
        while (atomic_load(&watched) != flush)
            sched_yield();
    }
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(taken, 0);
    tear_down();
}

/* Who reads what is durable sleeps on the bell, as all readers do. */
static void
test_flush_wakes_readers(void)
{
    set_up(0);
    append_one(&writer);
    atomic_store(&writer.bell->sleeping, 1);
    CU_ASSERT_EQUAL(shm_flush(&writer, 1, in_ms(10000)), FLUSH_DONE);
    CU_ASSERT_EQUAL(atomic_load(&writer.control->wake_seq), 1);
    CU_ASSERT_EQUAL(atomic_load(&writer.bell->sleeping), 0);
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
    {"the segment of the tail may go during a flush", test_tail_is_gone_during_a_flush},
    {"a flush covers segments that were rolled", test_flush_covers_rolled_segments},
    {"a flush covers segments without a slot", test_flush_covers_segments_without_a_slot},
    {"a flush beyond the end is refused", test_flush_beyond_the_end},
    {"a flush does not wait for those who never come", test_flush_does_not_wait_for_a_lie},
    {"a flush in a generation that ends meanwhile is void", test_end_during_a_flush},
    {"those who wait are woken when the lock is free", test_woken_when_the_lock_is_free},
    {"a flush wakes readers of what is durable", test_flush_wakes_readers},
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
