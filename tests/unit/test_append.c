/* SPDX-License-Identifier: Apache-2.0
 * Append, roll, loans, fencing and the cursor, on a partition without busd.
 */
#include "base/clock.h"
#include "base/err.h"
#include "lib/shm_fixture.h"
#include "record/builder.h"
#include "shm/append.h"
#include "shm/cursor.h"
#include "shm/lock.h"
#include "unit/unit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SEGMENT_BYTES = 64 * 1024, MESSAGE_BYTES_MAX = 4096 };

static struct shm_fixture fixture;
static struct shm_partition writer, reader;
static struct cursor cursor;

static int64_t
soon(void)
{
    return clock_mono_ns() + INT64_C(10000000000);
}

static void
set_up(uint32_t flags, uint32_t limit)
{
    struct shm_fixture_options options = {.flags = flags,
        .segment_bytes = SEGMENT_BYTES,
        .limit = limit,
        .max_message_bytes = MESSAGE_BYTES_MAX};
    CU_ASSERT_EQUAL_FATAL(shm_fixture_init(&fixture, &options), 0);
    CU_ASSERT_EQUAL_FATAL(shm_fixture_view(&fixture, true, &writer), 0);
    CU_ASSERT_EQUAL_FATAL(shm_fixture_view(&fixture, false, &reader), 0);
    cursor_init(&cursor, &reader, 0, CURSOR_UNCOMMITTED);
}

static void
tear_down(void)
{
    cursor_fini(&cursor);
    shm_partition_fini(&reader);
    shm_partition_fini(&writer);
    shm_fixture_fini(&fixture);
}

/* A batch of `count` records "<number>" padded to `size` bytes each, in `builder`. */
static struct append_batch
build(struct batch_builder *builder, int count, int number, int32_t size)
{
    static _Thread_local char value[2 * SEGMENT_BYTES];
    struct builder_options options = {.producer_id = -1, .producer_epoch = -1, .base_sequence = -1};
    builder_reset(builder, &options);
    for (int i = 0; i < count; i++) {
        memset(value, '.', (size_t)size);
        snprintf(value, sizeof value, "%d", number + i);
        struct builder_record record = {
            .ts = 1000 + number + i, .key_bytes = -1, .value = value, .value_bytes = size};
        CU_ASSERT_EQUAL_FATAL(builder_append(builder, &record), BUILDER_OK);
    }
    struct append_batch batch = {.offsets = (uint32_t)count};
    CU_ASSERT_EQUAL_FATAL(builder_finish(builder, &batch.bytes, &batch.size_bytes), 0);
    return batch;
}

static int
append_to(struct shm_partition *view, int count, int number, int32_t size, int64_t *base)
{
    struct batch_builder builder;
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 4 * SEGMENT_BYTES, 4 * SEGMENT_BYTES), 0);
    struct append_batch batch = build(&builder, count, number, size);
    struct append_result result = {.base_offset = -1};
    int rc = shm_append(view, &batch, soon(), &result);
    *base = result.base_offset;
    builder_fini(&builder);
    return rc;
}

static int
append(int count, int number, int32_t size)
{
    int64_t base;
    return append_to(&writer, count, number, size, &base);
}

/* Reads one batch and checks that it starts with record `number` at offset `number`. */
static void
expect_batch(int64_t number, int32_t count)
{
    const uint8_t *bytes;
    struct batch_header header;
    CU_ASSERT_EQUAL_FATAL(cursor_next(&cursor, &bytes, &header), CURSOR_BATCH);
    CU_ASSERT_EQUAL(header.base_offset, number);
    CU_ASSERT_EQUAL(header.count, count);
    CU_ASSERT(batch_crc_ok(bytes, batch_bytes(&header)));
    struct batch_iter iter;
    struct record record = {0};
    CU_ASSERT_EQUAL_FATAL(batch_iter_init(&iter, bytes, batch_bytes(&header), &header, NULL, 0), 0);
    for (int32_t i = 0; i < count; i++) {
        char text[16];
        CU_ASSERT_EQUAL_FATAL(batch_iter_next(&iter, &record), 1);
        CU_ASSERT_EQUAL(record.offset, number + i);
        size_t length = (size_t)snprintf(text, sizeof text, "%d", (int)(number + i));
        CU_ASSERT_EQUAL(memcmp(record.value, text, length), 0);
    }
}

static int
next_outcome(void)
{
    const uint8_t *bytes;
    struct batch_header header;
    return cursor_next(&cursor, &bytes, &header);
}

static void
test_append_then_read(void)
{
    set_up(0, 0);
    CU_ASSERT_EQUAL(next_outcome(), CURSOR_EMPTY);
    CU_ASSERT_FALSE(cursor_ready(&cursor));
    CU_ASSERT_EQUAL(append(1, 0, 10), APPEND_DONE);
    CU_ASSERT_EQUAL(append(5, 1, 10), APPEND_DONE);
    CU_ASSERT(cursor_ready(&cursor));
    expect_batch(0, 1);
    expect_batch(1, 5);
    CU_ASSERT_EQUAL(next_outcome(), CURSOR_EMPTY);
    CU_ASSERT_FALSE(cursor_ready(&cursor));
    tear_down();
}

static void
test_size_limits(void)
{
    set_up(0, 0);
    int32_t overhead = BATCH_HEADER_BYTES + 9; /* a record of this size, without key */
    CU_ASSERT_EQUAL(append(1, 0, MESSAGE_BYTES_MAX - overhead), APPEND_DONE);
    CU_ASSERT_EQUAL(append(1, 1, MESSAGE_BYTES_MAX), -BUS_ERR_MESSAGE_TOO_LARGE);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "max.message.bytes"));
    atomic_store(&writer.control->max_message_bytes, 4 * SEGMENT_BYTES);
    CU_ASSERT_EQUAL(append(1, 1, SEGMENT_BYTES), -BUS_ERR_RECORD_LIST_TOO_LARGE);
    expect_batch(0, 1);
    CU_ASSERT_EQUAL(next_outcome(), CURSOR_EMPTY);
    tear_down();
}

static void
test_reservation_is_never_passed(void)
{
    set_up(0, 8192);
    int number = 0;
    while (append(1, number, 500) == APPEND_DONE)
        number++;
    CU_ASSERT(number > 0);
    CU_ASSERT_EQUAL(append(1, number, 500), APPEND_NO_ROOM);
    CU_ASSERT(fixture.kicks > 0);
    CU_ASSERT_EQUAL(atomic_load(&writer.control->reserve_wanted), 1);
    struct shm_tail tail;
    CU_ASSERT_EQUAL(shm_partition_tail(&writer, &tail), 0);
    CU_ASSERT(tail.position <= 8192);
    CU_ASSERT_EQUAL(tail.end_offset, number);
    tear_down();
}

static void
test_roll_to_the_spare(void)
{
    set_up(0, 0);
    int number = 0;
    CU_ASSERT_EQUAL(shm_fixture_spare(&fixture, &writer), 0);
    struct shm_tail tail;
    do {
        CU_ASSERT_EQUAL_FATAL(append(1, number++, 1000), APPEND_DONE);
        CU_ASSERT_EQUAL_FATAL(shm_partition_tail(&writer, &tail), 0);
    } while (tail.seq == 0);
    CU_ASSERT_EQUAL(tail.base_offset, number - 1);
    CU_ASSERT_FALSE(tail.has_spare);
    for (int i = 0; i < number; i++)
        expect_batch(i, 1);
    CU_ASSERT_EQUAL(next_outcome(), CURSOR_EMPTY);
    /* Without another spare the second segment fills up and no more. */
    while (append(1, number, 1000) == APPEND_DONE)
        number++;
    CU_ASSERT_EQUAL(append(1, number, 1000), APPEND_NO_ROOM);
    CU_ASSERT_EQUAL(shm_fixture_spare(&fixture, &writer), 0);
    CU_ASSERT_EQUAL(append(1, number, 1000), APPEND_DONE);
    tear_down();
}

static void
test_roll_on_demand(void)
{
    set_up(0, 0);
    CU_ASSERT_EQUAL(shm_fixture_spare(&fixture, &writer), 0);
    CU_ASSERT_EQUAL(shm_roll(&writer, soon()), 0);
    struct shm_tail tail;
    CU_ASSERT_EQUAL(shm_partition_tail(&writer, &tail), 0);
    CU_ASSERT_EQUAL(tail.seq, 0); /* an empty segment stays */
    CU_ASSERT_EQUAL(append(3, 0, 10), APPEND_DONE);
    CU_ASSERT_EQUAL(shm_roll(&writer, soon()), 0);
    CU_ASSERT_EQUAL(shm_partition_tail(&writer, &tail), 0);
    CU_ASSERT_EQUAL(tail.seq, 1);
    CU_ASSERT_EQUAL(tail.base_offset, 3);
    CU_ASSERT_EQUAL(append(2, 3, 10), APPEND_DONE);
    expect_batch(0, 3);
    expect_batch(3, 2);
    tear_down();
}

static void
test_half_done_roll_is_finished(void)
{
    set_up(0, 0);
    CU_ASSERT_EQUAL(append(3, 0, 10), APPEND_DONE);
    /* As a writer leaves it that dies between the seal and the step to the spare. */
    atomic_fetch_or(&writer.control->slots[0].published, SHM_SEALED);
    CU_ASSERT_EQUAL(append(1, 3, 10), APPEND_NO_ROOM);
    CU_ASSERT_EQUAL(shm_fixture_spare(&fixture, &writer), 0);
    CU_ASSERT_EQUAL(append(1, 3, 10), APPEND_DONE);
    expect_batch(0, 3);
    expect_batch(3, 1);
    tear_down();
}

static void
test_late_reader_is_told_where_a_segment_ends(void)
{
    set_up(0, 0);
    struct shm_tail tail;
    for (int i = 0; i < SHM_SLOTS + 3; i++) {
        CU_ASSERT_EQUAL_FATAL(append(1, i, 10), APPEND_DONE);
        CU_ASSERT_EQUAL_FATAL(shm_partition_tail(&writer, &tail), 0);
        shm_fixture_close(&fixture, tail.seq, &tail);
        CU_ASSERT_EQUAL_FATAL(shm_fixture_spare(&fixture, &writer), 0);
        CU_ASSERT_EQUAL_FATAL(shm_roll(&writer, soon()), 0);
    }
    for (int i = 0; i < SHM_SLOTS + 3; i++)
        expect_batch(i, 1);
    tear_down();
}

static void
test_fence_ends_the_generation(void)
{
    set_up(0, 0);
    CU_ASSERT_EQUAL(shm_fixture_spare(&fixture, &writer), 0);
    CU_ASSERT_EQUAL(append(2, 0, 10), APPEND_DONE);
    shm_fence(&writer, SHM_STATE_FENCED);
    CU_ASSERT_EQUAL(append(1, 2, 10), APPEND_FENCED);
    expect_batch(0, 2);
    CU_ASSERT_EQUAL(next_outcome(), CURSOR_FENCED);
    CU_ASSERT(cursor_ready(&cursor));
    tear_down();
}

static void
test_other_ends(void)
{
    set_up(0, 0);
    CU_ASSERT_EQUAL(append(2, 0, 10), APPEND_DONE);
    shm_fence(&writer, SHM_STATE_OFFLINE);
    CU_ASSERT_EQUAL(append(1, 2, 10), -BUS_ERR_PARTITION_OFFLINE);
    expect_batch(0, 2); /* what is there can be read */
    CU_ASSERT_EQUAL(next_outcome(), CURSOR_EMPTY);
    CU_ASSERT_FALSE(cursor_ready(&cursor));
    shm_fence(&writer, SHM_STATE_DELETED);
    CU_ASSERT_EQUAL(append(1, 2, 10), -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_EQUAL(next_outcome(), -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    tear_down();
}

static void
test_late_publish_reaches_nobody(void)
{
    set_up(0, 0);
    struct append_loan loan;
    CU_ASSERT_EQUAL(append(1, 0, 10), APPEND_DONE);
    CU_ASSERT_EQUAL(shm_loan_begin(&writer, 200, soon(), &loan), APPEND_DONE);
    memset(loan.bytes, 'z', loan.size_bytes);
    shm_fence(&writer, SHM_STATE_FENCED); /* the eviction, while the lock is held */
    CU_ASSERT_EQUAL(shm_loan_commit(&writer, &loan, 1), -BUS_ERR_EVICTED);
    expect_batch(0, 1);
    CU_ASSERT_EQUAL(next_outcome(), CURSOR_FENCED);
    tear_down();
}

static void
test_loan(void)
{
    set_up(0, 0);
    struct batch_builder builder;
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 4096, 4096), 0);
    struct append_batch batch = build(&builder, 1, 0, 100);
    struct append_loan loan;
    CU_ASSERT_EQUAL(shm_loan_begin(&writer, batch.size_bytes, soon(), &loan), APPEND_DONE);
    CU_ASSERT_EQUAL(append(1, 0, 10), -BUS_ERR_WRONG_STATE);
    shm_loan_abort(&writer, &loan);
    CU_ASSERT_EQUAL(next_outcome(), CURSOR_EMPTY);
    CU_ASSERT_EQUAL(shm_loan_begin(&writer, batch.size_bytes, soon(), &loan), APPEND_DONE);
    CU_ASSERT_EQUAL(loan.base_offset, 0);
    memcpy(loan.bytes, batch.bytes, batch.size_bytes);
    CU_ASSERT_EQUAL(shm_loan_commit(&writer, &loan, 1), 0);
    CU_ASSERT_EQUAL(append(1, 1, 10), APPEND_DONE);
    expect_batch(0, 1);
    expect_batch(1, 1);
    builder_fini(&builder);
    tear_down();
}

static void
test_busy_lock(void)
{
    set_up(0, 0);
    atomic_store(&writer.control->append_lock, 1);
    struct batch_builder builder;
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 4096, 4096), 0);
    struct append_batch batch = build(&builder, 1, 0, 10);
    struct append_result result;
    CU_ASSERT_EQUAL(shm_append(&writer, &batch, clock_mono_ns(), &result), APPEND_BUSY);
    builder_fini(&builder);
    tear_down();
}

static void
test_log_append_time(void)
{
    set_up(SHM_FLAG_LOG_APPEND_TIME, 0);
    struct batch_builder builder;
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 4096, 4096), 0);
    struct append_batch batch = build(&builder, 2, 0, 10);
    struct append_result result;
    int64_t before_ms = clock_wall_ms();
    CU_ASSERT_EQUAL(shm_append(&writer, &batch, soon(), &result), APPEND_DONE);
    CU_ASSERT(result.log_append_time_ms >= before_ms);
    const uint8_t *bytes;
    struct batch_header header;
    CU_ASSERT_EQUAL_FATAL(cursor_next(&cursor, &bytes, &header), CURSOR_BATCH);
    CU_ASSERT(header.attributes & BATCH_ATTR_LOG_APPEND);
    CU_ASSERT_EQUAL(header.max_timestamp, result.log_append_time_ms);
    CU_ASSERT(batch_crc_ok(bytes, batch_bytes(&header)));
    builder_fini(&builder);
    tear_down();
}

static void
test_seek(void)
{
    set_up(0, 0);
    for (int i = 0; i < 20; i += 4)
        CU_ASSERT_EQUAL(append(4, i, 10), APPEND_DONE);
    cursor_seek(&cursor, 10); /* inside the third batch */
    expect_batch(8, 4);
    expect_batch(12, 4);
    cursor_seek(&cursor, 20);
    CU_ASSERT_EQUAL(next_outcome(), CURSOR_EMPTY);
    CU_ASSERT_EQUAL(append(1, 20, 10), APPEND_DONE);
    expect_batch(20, 1);
    cursor_seek(&cursor, 22);
    CU_ASSERT_EQUAL(next_outcome(), -BUS_ERR_OFFSET_OUT_OF_RANGE);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "22"));
    atomic_store(&writer.control->log_start_offset, 4);
    cursor_seek(&cursor, 3);
    CU_ASSERT_EQUAL(next_outcome(), -BUS_ERR_OFFSET_OUT_OF_RANGE);
    cursor_seek(&cursor, 4);
    expect_batch(4, 4);
    tear_down();
}

static void
test_isolation(void)
{
    set_up(0, 0);
    cursor_fini(&cursor);
    cursor_init(&cursor, &reader, 0, CURSOR_DURABLE);
    CU_ASSERT_EQUAL(append(2, 0, 10), APPEND_DONE);
    CU_ASSERT_EQUAL(next_outcome(), CURSOR_EMPTY);
    CU_ASSERT_FALSE(cursor_ready(&cursor));
    atomic_store(&writer.control->durable_offset, 2);
    CU_ASSERT(cursor_ready(&cursor));
    expect_batch(0, 2);
    cursor_fini(&cursor);
    cursor_init(&cursor, &reader, 0, CURSOR_UNCOMMITTED);
    atomic_fetch_or(&writer.control->flags, SHM_FLAG_REPLICATED);
    CU_ASSERT_EQUAL(next_outcome(), CURSOR_EMPTY);
    atomic_store(&writer.control->high_watermark, 2);
    expect_batch(0, 2);
    tear_down();
}

static void
test_damaged_batches_are_refused(void)
{
    set_up(0, 0);
    CU_ASSERT_EQUAL(append(1, 0, 100), APPEND_DONE);
    CU_ASSERT_EQUAL(append(1, 1, 100), APPEND_DONE);
    uint8_t *bytes = writer.segments[0]->bytes;
    uint8_t saved[BATCH_HEADER_BYTES];
    memcpy(saved, bytes, sizeof saved);
    static const struct {
        size_t at;
        uint8_t value;
    } damages[] = {{BATCH_AT_LENGTH, 0x7f}, {BATCH_AT_LENGTH + 3, 0}, {BATCH_AT_MAGIC, 1},
        {BATCH_AT_BASE_OFFSET, 0x7f}, {BATCH_AT_BASE_OFFSET + 7, 9},
        {BATCH_AT_LAST_OFFSET_DELTA, 0x40}};
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        memcpy(bytes, saved, sizeof saved);
        bytes[damages[i].at] = damages[i].value;
        cursor_seek(&cursor, 0);
        CU_ASSERT_EQUAL(next_outcome(), -BUS_ERR_CORRUPT_MESSAGE);
        CU_ASSERT_EQUAL(cursor.offset, 0);
    }
    tear_down();
}

static void
test_scribbled_control_page(void)
{
    set_up(0, 0);
    CU_ASSERT_EQUAL(append(1, 0, 100), APPEND_DONE);
    struct shm_control saved = *writer.control;
    static uint8_t log[4096];
    memcpy(log, writer.segments[0]->bytes, sizeof log);
    /* Every word of the page in turn, with values that hurt: nothing crashes, hangs or reads
     * outside the mapping. The partition itself is at the mercy of who may write it. */
    static const uint64_t values[] = {0, 1, UINT64_MAX, UINT64_C(0x7fffffff7fffffff),
        UINT64_C(0x8000000000000000), UINT64_C(0x00ffffff00000010), INT64_MAX};
    for (size_t at = 64; at < sizeof saved; at += 8) {
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
            struct batch_builder builder;
            CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 4096, 4096), 0);
            struct append_batch batch = build(&builder, 1, 1, 10);
            struct append_result result;
            memcpy((char *)writer.control + at, &values[i], 8);
            cursor_seek(&cursor, 0);
            next_outcome();
            next_outcome();
            cursor_ready(&cursor);
            shm_append(&writer, &batch, clock_mono_ns(), &result);
            memcpy((void *)writer.control, &saved, sizeof saved);
            memcpy(writer.segments[0]->bytes, log, sizeof log);
            builder_fini(&builder);
        }
    }
    cursor_seek(&cursor, 0);
    expect_batch(0, 1);
    tear_down();
}

/* The page that was missing took the bytes, and they are nowhere else. */
static void
test_batch_into_a_missing_page(void)
{
    set_up(0, 0);
    CU_ASSERT_EQUAL(append(1, 0, 100), APPEND_DONE);
    CU_ASSERT_EQUAL(ftruncate(writer.segments[0]->fd, 0), 0);
    CU_ASSERT_EQUAL(append(1, 1, 100), -BUS_ERR_CORRUPT_MESSAGE);
    CU_ASSERT_EQUAL(append(1, 1, 100), -BUS_ERR_CORRUPT_MESSAGE);
    struct shm_tail tail;
    CU_ASSERT_EQUAL(shm_partition_tail(&reader, &tail), 0);
    CU_ASSERT_EQUAL(tail.end_offset, 1);
    CU_ASSERT_EQUAL(atomic_load(&reader.control->append_lock), 0);
    tear_down();
}

static void
test_loan_of_a_missing_page(void)
{
    set_up(0, 0);
    struct append_loan loan;
    CU_ASSERT_EQUAL(shm_loan_begin(&writer, 200, soon(), &loan), APPEND_DONE);
    CU_ASSERT_EQUAL(ftruncate(writer.segments[0]->fd, 0), 0);
    memset(loan.bytes, 'z', loan.size_bytes);
    CU_ASSERT_EQUAL(shm_loan_commit(&writer, &loan, 1), -BUS_ERR_CORRUPT_MESSAGE);
    struct shm_tail tail;
    CU_ASSERT_EQUAL(shm_partition_tail(&reader, &tail), 0);
    CU_ASSERT_EQUAL(tail.end_offset, 0);
    tear_down();
}

static void
cut_off(const char *object)
{
    int fd = shm_object_open(object, true);
    CU_ASSERT_EQUAL(ftruncate(fd, 0), 0);
    close(fd);
}

/* Publishing into the page that the guard put there would be told as a success. */
static void
test_control_page_cut_off_under_a_loan(void)
{
    set_up(0, 0);
    struct append_loan loan;
    CU_ASSERT_EQUAL(shm_loan_begin(&writer, 200, soon(), &loan), APPEND_DONE);
    cut_off(fixture.control_name);
    CU_ASSERT_EQUAL(shm_loan_commit(&writer, &loan, 1), -BUS_ERR_CORRUPT_MESSAGE);
    tear_down();
}

/* Every reader may write the bell. */
static void
test_bell_harms_nobody(void)
{
    set_up(0, 0);
    struct shm_partition late;
    CU_ASSERT_EQUAL(append(1, 0, 10), APPEND_DONE);
    memset((void *)reader.bell, 0, SHM_PAGE_BYTES);
    CU_ASSERT_EQUAL_FATAL(shm_fixture_view(&fixture, true, &late), 0);
    shm_partition_fini(&late);
    cut_off(fixture.bell_name);
    CU_ASSERT_EQUAL(append(1, 1, 10), APPEND_DONE);
    CU_ASSERT(writer.deaf);
    CU_ASSERT_FALSE(writer.damaged);
    CU_ASSERT_EQUAL_FATAL(shm_fixture_view(&fixture, true, &late), 0);
    int64_t base;
    CU_ASSERT_EQUAL(append_to(&late, 1, 2, 10, &base), APPEND_DONE);
    CU_ASSERT_FALSE(late.deaf);
    shm_partition_fini(&late);
    for (int i = 0; i < 3; i++)
        expect_batch(i, 1);
    tear_down();
}

/* busd prepares a spare while a client, whose flush failed, ends the generation. */
static void
test_spare_behind_the_fence(void)
{
    set_up(0, 0);
    shm_fence(&writer, SHM_STATE_OFFLINE);
    CU_ASSERT_EQUAL(shm_fixture_spare(&fixture, &writer), 0);
    struct shm_tail spare;
    CU_ASSERT_FATAL(shm_slot_read(writer.control, 1, &spare));
    CU_ASSERT(spare.sealed);
    tear_down();
}

/* Else the one who waits for it would spin. */
static void
test_not_ready_before_it_is_visible(void)
{
    set_up(0, 0);
    struct shm_tail tail;
    CU_ASSERT_EQUAL(append(4, 0, 10), APPEND_DONE);
    cursor_fini(&cursor);
    cursor_init(&cursor, &reader, 0, CURSOR_DURABLE);
    atomic_store(&writer.control->durable_offset, 2); /* within the batch */
    CU_ASSERT_EQUAL(next_outcome(), CURSOR_EMPTY);
    CU_ASSERT_FALSE(cursor_ready(&cursor));
    /* The same in a segment that is known to be closed. */
    CU_ASSERT_EQUAL(shm_fixture_spare(&fixture, &writer), 0);
    CU_ASSERT_EQUAL(shm_roll(&writer, soon()), 0);
    CU_ASSERT(shm_slot_read(writer.control, 0, &tail));
    shm_fixture_close(&fixture, 0, &tail);
    atomic_store(&writer.control->durable_offset, 0);
    cursor_seek(&cursor, 1);
    CU_ASSERT_EQUAL(next_outcome(), CURSOR_EMPTY);
    CU_ASSERT_EQUAL(cursor.segment->next_offset, 4);
    CU_ASSERT_FALSE(cursor_ready(&cursor));
    atomic_store(&writer.control->durable_offset, 4);
    CU_ASSERT(cursor_ready(&cursor));
    expect_batch(0, 4);
    tear_down();
}

static void
test_truncated_segment(void)
{
    set_up(0, 0);
    CU_ASSERT_EQUAL(append(1, 0, 100), APPEND_DONE);
    CU_ASSERT_EQUAL(ftruncate(writer.segments[0]->fd, 0), 0);
    CU_ASSERT_EQUAL(next_outcome(), -BUS_ERR_CORRUPT_MESSAGE);
    tear_down();
}

enum { WRITERS = 3, BATCHES = 400 };

static void *
append_many(void *unused)
{
    (void)unused;
    struct shm_partition view;
    int64_t base;
    if (shm_fixture_view(&fixture, true, &view) < 0)
        return NULL;
    for (int i = 0; i < BATCHES; i++)
        if (append_to(&view, 2, i, 10, &base) != APPEND_DONE)
            break;
    shm_partition_fini(&view);
    return NULL;
}

static void
test_writers_side_by_side(void)
{
    set_up(0, 0);
    atomic_store(&writer.control->segment_bytes, 1 << 20);
    fixture.segment_bytes = 1 << 20;
    for (int i = 0; i < SHM_SLOTS - 2; i++)
        CU_ASSERT_EQUAL_FATAL(shm_fixture_spare(&fixture, &writer), 0);
    atomic_store(&writer.control->segment_bytes, SEGMENT_BYTES);
    pthread_t threads[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, append_many, NULL), 0);
    int64_t next = 0;
    while (next < WRITERS * BATCHES * 2) {
        const uint8_t *bytes;
        struct batch_header header;
        int rc = cursor_next(&cursor, &bytes, &header);
        if (rc == CURSOR_EMPTY)
            continue;
        CU_ASSERT_EQUAL_FATAL(rc, CURSOR_BATCH);
        CU_ASSERT_EQUAL(header.base_offset, next);
        CU_ASSERT(batch_crc_ok(bytes, batch_bytes(&header)));
        next = batch_next_offset(&header);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(next_outcome(), CURSOR_EMPTY);
    tear_down();
}

static const struct unit_case cases[] = {
    {"what was appended is read", test_append_then_read},
    {"batches above the limits are refused", test_size_limits},
    {"an append never passes the reservation", test_reservation_is_never_passed},
    {"a full segment rolls to the spare", test_roll_to_the_spare},
    {"a segment rolls on demand", test_roll_on_demand},
    {"a roll left half done is finished", test_half_done_roll_is_finished},
    {"a late reader learns where a segment ends", test_late_reader_is_told_where_a_segment_ends},
    {"a fence ends the generation", test_fence_ends_the_generation},
    {"offline reads, deleted does not", test_other_ends},
    {"a late publish reaches nobody", test_late_publish_reaches_nobody},
    {"a loan is published or given back", test_loan},
    {"a busy lock is an outcome", test_busy_lock},
    {"LogAppendTime is stamped under the lock", test_log_append_time},
    {"seek finds the batch of an offset", test_seek},
    {"readers stop at the durable offset and the high watermark", test_isolation},
    {"damaged batches are refused", test_damaged_batches_are_refused},
    {"a scribbled control page harms nobody", test_scribbled_control_page},
    {"a truncated segment is damage, not death", test_truncated_segment},
    {"a batch that met a missing page is not published", test_batch_into_a_missing_page},
    {"a loan that met a missing page is not published", test_loan_of_a_missing_page},
    {"a control page cut off under a loan", test_control_page_cut_off_under_a_loan},
    {"what readers do to the bell harms nobody", test_bell_harms_nobody},
    {"a spare that comes behind the fence is sealed", test_spare_behind_the_fence},
    {"what is not visible makes no reader ready", test_not_ready_before_it_is_visible},
    {"writers side by side make one log", test_writers_side_by_side},
    {NULL, NULL},
};

void
register_append(void)
{
    unit_register("append", cases);
}
