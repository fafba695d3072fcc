/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/err.h"
#include "record/batch.h"
#include "shm/lock.h"
#include "shm/partition.h"
#include "unit/store_client.h"
#include "unit/store_fixture.h"
#include "unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char first_log[] = "00000000000000000000.log";

static int64_t
deadline(void)
{
    return clock_mono_ns() + 10 * INT64_C(1000000000);
}

static void
test_empty(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_FALSE(log_exists(fixture.store, &fixture.options));
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT(log_exists(fixture.store, &fixture.options));
    struct log_bounds bounds = fixture_bounds(&fixture);
    CU_ASSERT_EQUAL(bounds.start_offset, 0);
    CU_ASSERT_EQUAL(bounds.end_offset, 0);
    CU_ASSERT_EQUAL(bounds.visible_offset, 0);
    CU_ASSERT_EQUAL(bounds.durable_offset, 0);
    CU_ASSERT_EQUAL(bounds.state, SHM_STATE_OPEN);
    CU_ASSERT_EQUAL(fixture_read(&fixture, 0), 0);
    CU_ASSERT_EQUAL(fixture_read(&fixture, 1), -BUS_ERR_OFFSET_OUT_OF_RANGE);
    CU_ASSERT_EQUAL(fixture_read(&fixture, -1), -BUS_ERR_OFFSET_OUT_OF_RANGE);
    struct log_found found;
    CU_ASSERT_EQUAL(log_find_time(fixture.log, 0, &found), 0);
    CU_ASSERT_EQUAL(found.offset, -1);
    CU_ASSERT_EQUAL(log_find_max_time(fixture.log, &found), 0);
    CU_ASSERT_EQUAL(found.offset, -1);
    CU_ASSERT_EQUAL(log_flush(fixture.log, 5, deadline()), LOG_FLUSHED);
    fixture_serve(&fixture);
    CU_ASSERT_EQUAL(fixture_count(&fixture, ".log"), 1);
    fixture_fini(&fixture);
}

static void
test_append_and_read(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    for (int i = 0; i < 100; i++)
        CU_ASSERT_EQUAL(fixture_append(&fixture, 3, 100, 1000 + i), 3 * i);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 300);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 300);
    for (int64_t offset = 0; offset < 300; offset++)
        CU_ASSERT(fixture_read(&fixture, offset) > offset);
    fixture_serve(&fixture);
    CU_ASSERT(fixture_size(&fixture, "00000000000000000000.index") > 0);
    for (int64_t offset = 0; offset < 300; offset++)
        CU_ASSERT(fixture_read(&fixture, offset) > offset);
    CU_ASSERT_EQUAL(fixture_read(&fixture, 300), 300);
    CU_ASSERT_EQUAL(fixture_read(&fixture, 301), -BUS_ERR_OFFSET_OUT_OF_RANGE);
    fixture_fini(&fixture);
}

static void
test_read_limits(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    size_t bytes;
    free(fixture_batch(1, 500, 1, &bytes));
    for (int i = 0; i < 4; i++)
        fixture_append(&fixture, 1, 500, 1);
    struct log_read_options options = {.offset = 1};
    struct log_slice slice;
    static const struct {
        int add;
        bool at_least_one;
        int outcome;
        size_t batches;
    } cases[] = {{-1, false, LOG_READ_TOO_SMALL, 0}, {-1, true, LOG_READ_OK, 1},
        {0, false, LOG_READ_OK, 1}, {1, false, LOG_READ_OK, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        options.max_bytes = bytes + (size_t)cases[i].add;
        options.at_least_one = cases[i].at_least_one;
        CU_ASSERT_EQUAL(log_read(fixture.log, &options, &slice), cases[i].outcome);
        CU_ASSERT_EQUAL(slice.bytes, cases[i].batches * bytes);
        log_slice_release(&slice);
    }
    options.max_bytes = 2 * bytes;
    CU_ASSERT_EQUAL(log_read(fixture.log, &options, &slice), LOG_READ_OK);
    CU_ASSERT_EQUAL(slice.bytes, 2 * bytes);
    CU_ASSERT_EQUAL(slice.first_offset, 1);
    CU_ASSERT_EQUAL(slice.next_offset, 3);
    log_slice_release(&slice);
    CU_ASSERT_PTR_NULL(slice.file);
    log_slice_release(&slice);
    fixture_fini(&fixture);
}

static void
test_sizes_refused(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    size_t bytes;
    free(fixture_batch(1, 5000, 1, &bytes));
    fixture.options.max_message_bytes = (uint32_t)bytes;
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 5000, 1), 0);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 5001, 1), -BUS_ERR_MESSAGE_TOO_LARGE);
    fixture.options.max_message_bytes = 1 << 20;
    fixture.options.segment_bytes = (uint32_t)bytes;
    log_configure(fixture.log, &fixture.options);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 5001, 1), -BUS_ERR_RECORD_LIST_TOO_LARGE);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 5000, 1), 1);
    fixture_fini(&fixture);
}

static void
test_rolls(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    for (int i = 0; i < 100; i++) {
        CU_ASSERT_EQUAL(fixture_append(&fixture, 2, 10000, 1000 + i), 2 * i);
        if (i % 7 == 0)
            fixture_serve(&fixture);
    }
    fixture_serve(&fixture);
    struct log_usage usage;
    log_usage(fixture.log, &usage);
    CU_ASSERT(usage.segments >= 10);
    CU_ASSERT_EQUAL(fixture_count(&fixture, ".index"), fixture_count(&fixture, ".timeindex"));
    CU_ASSERT_EQUAL(fixture_count(&fixture, ".log"), usage.segments + 1);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 200);
    struct stat status;
    CU_ASSERT_EQUAL(stat(fixture_path(&fixture, first_log), &status), 0);
    CU_ASSERT(status.st_blocks * 512 < 200000 + 8192);
    fixture_restart(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 200);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 200);
    fixture_fini(&fixture);
}

static void
test_roll_by_age(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    fixture_append(&fixture, 1, 10, 1);
    fixture_serve(&fixture);
    struct log_usage usage;
    log_usage(fixture.log, &usage);
    CU_ASSERT_EQUAL(usage.segments, 1);
    fixture.options.segment_ms = 1;
    log_configure(fixture.log, &fixture.options);
    for (int64_t until_ns = deadline(); usage.segments == 1 && clock_mono_ns() < until_ns;) {
        fixture_serve(&fixture);
        log_usage(fixture.log, &usage);
    }
    CU_ASSERT_EQUAL(usage.segments, 2);
    fixture_serve(&fixture);
    log_usage(fixture.log, &usage);
    CU_ASSERT_EQUAL(usage.segments, 2);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 1);
    fixture_fini(&fixture);
}

static void
test_find_by_time(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    for (int i = 0; i < 200; i++) {
        fixture_append(&fixture, 2, 3000, 10000 + 10 * i);
        if (i == 150)
            fixture_serve(&fixture);
    }
    for (int turn = 0; turn < 2; turn++) {
        struct log_found found;
        for (int i = 0; i < 200; i++) {
            CU_ASSERT_EQUAL(log_find_time(fixture.log, 10000 + 10 * i - 5, &found), 0);
            CU_ASSERT_EQUAL(found.offset, 2 * i);
            CU_ASSERT_EQUAL(found.timestamp, 10000 + 10 * i);
            CU_ASSERT_EQUAL(log_find_time(fixture.log, 10000 + 10 * i, &found), 0);
            CU_ASSERT_EQUAL(found.offset, 2 * i);
        }
        CU_ASSERT_EQUAL(log_find_time(fixture.log, 10000 + 10 * 199 + 1, &found), 0);
        CU_ASSERT_EQUAL(found.offset, -1);
        CU_ASSERT_EQUAL(log_find_max_time(fixture.log, &found), 0);
        CU_ASSERT_EQUAL(found.offset, 398);
        CU_ASSERT_EQUAL(found.timestamp, 10000 + 10 * 199);
        fixture_serve(&fixture);
    }
    fixture_fini(&fixture);
}

static void
test_find_time_after_late_records(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    fixture_append(&fixture, 1, 2000, 5000);
    fixture_append(&fixture, 1, 2000, 9000);
    for (int i = 0; i < 50; i++)
        fixture_append(&fixture, 1, 2000, 100 + i);
    fixture_serve(&fixture);
    struct log_found found;
    CU_ASSERT_EQUAL(log_find_time(fixture.log, 50, &found), 0);
    CU_ASSERT_EQUAL(found.offset, 0);
    CU_ASSERT_EQUAL(log_find_time(fixture.log, 5001, &found), 0);
    CU_ASSERT_EQUAL(found.offset, 1);
    CU_ASSERT_EQUAL(log_find_max_time(fixture.log, &found), 0);
    CU_ASSERT_EQUAL(found.offset, 1);
    int64_t start;
    CU_ASSERT_EQUAL(log_set_start(fixture.log, 2, &start), 0);
    CU_ASSERT_EQUAL(log_find_time(fixture.log, 120, &found), 0);
    CU_ASSERT_EQUAL(found.offset, 22);
    CU_ASSERT_EQUAL(log_find_time(fixture.log, 5000, &found), 0);
    CU_ASSERT_EQUAL(found.offset, -1);
    fixture_fini(&fixture);
}

static void
test_epochs(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    fixture.options.leader_epoch = 2;
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    fixture_append(&fixture, 5, 10, 1);
    log_set_leader_epoch(fixture.log, 4);
    log_set_leader_epoch(fixture.log, 3);
    fixture_append(&fixture, 5, 10, 1);
    log_set_leader_epoch(fixture.log, 7);
    for (int turn = 0; turn < 2; turn++) {
        static const struct log_epoch_end ends[] = {
            {1, 0}, {2, 5}, {2, 5}, {4, 10}, {4, 10}, {4, 10}, {7, 10}, {-1, -1}};
        for (int epoch = 1; epoch <= 8; epoch++) {
            struct log_epoch_end end;
            CU_ASSERT_EQUAL(log_find_epoch_end(fixture.log, epoch, &end), 0);
            CU_ASSERT_EQUAL(end.leader_epoch, ends[epoch - 1].leader_epoch);
            CU_ASSERT_EQUAL(end.end_offset, ends[epoch - 1].end_offset);
        }
        int32_t epoch;
        CU_ASSERT_EQUAL(log_find_epoch(fixture.log, 4, &epoch), 0);
        CU_ASSERT_EQUAL(epoch, 2);
        CU_ASSERT_EQUAL(log_find_epoch(fixture.log, 5, &epoch), 0);
        CU_ASSERT_EQUAL(epoch, 4);
        CU_ASSERT_EQUAL(log_find_epoch(fixture.log, 10, &epoch), 0);
        CU_ASSERT_EQUAL(epoch, 7);
        CU_ASSERT_EQUAL(log_find_epoch(fixture.log, 11, &epoch), -BUS_ERR_OFFSET_OUT_OF_RANGE);
        fixture_serve(&fixture);
        fixture_restart(&fixture);
        fixture.options.leader_epoch = 7;
        CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
        if (turn == 0)
            unlink(fixture_path(&fixture, "leader-epoch-checkpoint"));
    }
    fixture_fini(&fixture);
}

static void
test_delete_records(void)
{
    struct store_fixture fixture;
    int64_t start;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    for (int i = 0; i < 60; i++)
        fixture_append(&fixture, 1, 20000, 1);
    fixture_serve(&fixture);
    int files = fixture_count(&fixture, ".log");
    CU_ASSERT_EQUAL(log_set_start(fixture.log, 61, &start), -BUS_ERR_OFFSET_OUT_OF_RANGE);
    CU_ASSERT_EQUAL(log_set_start(fixture.log, -2, &start), -BUS_ERR_OFFSET_OUT_OF_RANGE);
    CU_ASSERT_EQUAL(log_set_start(fixture.log, 25, &start), 0);
    CU_ASSERT_EQUAL(start, 25);
    CU_ASSERT_EQUAL(log_set_start(fixture.log, 20, &start), 0);
    CU_ASSERT_EQUAL(start, 25);
    CU_ASSERT(fixture_count(&fixture, ".log") < files);
    CU_ASSERT_EQUAL(fixture_read(&fixture, 24), -BUS_ERR_OFFSET_OUT_OF_RANGE);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 25), 60);
    fixture_restart(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).start_offset, 25);
    CU_ASSERT_EQUAL(log_set_start(fixture.log, -1, &start), 0);
    CU_ASSERT_EQUAL(start, 60);
    CU_ASSERT_EQUAL(fixture_read(&fixture, 60), 60);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 60);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 60), 61);
    fixture_reboot(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).start_offset, 60);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 61);
    fixture_fini(&fixture);
}

static void
test_durable_and_isolation(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    fixture_append(&fixture, 4, 10, 1);
    CU_ASSERT_EQUAL(log_flush(fixture.log, 4, deadline()), LOG_FLUSHED);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).durable_offset, 4);
    fixture_append(&fixture, 4, 10, 1);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).durable_offset, 4);
    struct log_read_options options = {.max_bytes = 1 << 20, .isolation = LOG_READ_DURABLE};
    struct log_slice slice;
    CU_ASSERT_EQUAL(log_read(fixture.log, &options, &slice), LOG_READ_OK);
    CU_ASSERT_EQUAL(slice.next_offset, 4);
    log_slice_release(&slice);
    options.offset = 4;
    CU_ASSERT_EQUAL(log_read(fixture.log, &options, &slice), LOG_READ_OK);
    CU_ASSERT_EQUAL(slice.bytes, 0);
    log_slice_release(&slice);
    fixture_serve(&fixture);
    CU_ASSERT_EQUAL(store_flush(fixture.store), 0);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).durable_offset, 8);
    CU_ASSERT_EQUAL(fixture.checkpoints[0].durable_offset, 8);
    CU_ASSERT_EQUAL(log_read(fixture.log, &options, &slice), LOG_READ_OK);
    CU_ASSERT_EQUAL(slice.next_offset, 8);
    log_slice_release(&slice);
    fixture_fini(&fixture);
}

static void
test_high_watermark(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    fixture.options.flags |= SHM_FLAG_REPLICATED;
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    fixture_append(&fixture, 4, 10, 1);
    fixture_append(&fixture, 4, 10, 1);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).visible_offset, 0);
    CU_ASSERT_EQUAL(fixture_read(&fixture, 0), 0);
    log_set_high_watermark(fixture.log, 4);
    log_set_high_watermark(fixture.log, 3);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).visible_offset, 4);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 4);
    struct log_read_options options = {.max_bytes = 1 << 20, .isolation = LOG_READ_END};
    struct log_slice slice;
    CU_ASSERT_EQUAL(log_read(fixture.log, &options, &slice), LOG_READ_OK);
    CU_ASSERT_EQUAL(slice.next_offset, 8);
    log_slice_release(&slice);
    fixture_fini(&fixture);
}

static void
test_attach(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    struct log_attachment reader, writer;
    CU_ASSERT_EQUAL_FATAL(log_attach(fixture.log, LOG_ACCESS_READ, &reader), 0);
    CU_ASSERT_EQUAL(reader.writers, -1);
    CU_ASSERT_EQUAL(reader.segment_count, 1);
    CU_ASSERT_EQUAL(reader.segments[0].seq, 0);
    CU_ASSERT_PTR_EQUAL(
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, reader.control, 0), MAP_FAILED);
    CU_ASSERT_EQUAL(errno, EACCES);
    CU_ASSERT_PTR_EQUAL(
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, reader.segments[0].fd, 0), MAP_FAILED);
    int kicks = fixture.kicks;
    CU_ASSERT_EQUAL_FATAL(log_attach(fixture.log, LOG_ACCESS_WRITE, &writer), 0);
    CU_ASSERT(fixture.kicks > kicks);
    CU_ASSERT(log_wants_service(fixture.log));
    CU_ASSERT(writer.writers >= 0);
    CU_ASSERT(writer.segments[0].writable);
    int probe = open(fixture_path(&fixture, "writers.lock"), O_RDWR);
    CU_ASSERT_EQUAL(flock(probe, LOCK_EX | LOCK_NB), -1);
    log_attachment_close(&writer);
    CU_ASSERT_EQUAL(flock(probe, LOCK_EX | LOCK_NB), 0);
    close(probe);
    fixture_serve(&fixture);
    CU_ASSERT_FALSE(log_wants_service(fixture.log));
    CU_ASSERT_EQUAL_FATAL(log_attach(fixture.log, LOG_ACCESS_WRITE, &writer), 0);
    CU_ASSERT_EQUAL(writer.segment_count, 2);
    CU_ASSERT_EQUAL(writer.segments[1].seq, 1);
    CU_ASSERT_EQUAL(writer.segments[1].base_offset, -1);
    log_attachment_close(&writer);
    log_attachment_close(&reader);
    fixture_fini(&fixture);
}

static void
test_direct_writer(void)
{
    struct store_fixture fixture;
    struct shm_partition view;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    store_client_open(&fixture, &view, NULL);
    shm_partition_fini(&view);
    fixture_serve(&fixture);
    store_client_open(&fixture, &view, NULL);
    int appended = 0;
    while (store_client_append(&view, 9000) == APPEND_DONE)
        appended++;
    CU_ASSERT(appended > 20);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, appended);
    CU_ASSERT_EQUAL(log_make_room(fixture.log), 0);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), appended);
    CU_ASSERT_EQUAL(log_flush(fixture.log, appended, deadline()), LOG_FLUSHED);
    shm_partition_fini(&view);
    fixture_serve(&fixture);
    store_client_open(&fixture, &view, NULL);
    CU_ASSERT_EQUAL(store_client_append(&view, 9000), APPEND_DONE);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), appended + 1);
    shm_partition_fini(&view);
    fixture_fini(&fixture);
}

static void
test_segment_by_offset_and_number(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    for (int i = 0; i < 30; i++) {
        fixture_append(&fixture, 1, 20000, 1);
        fixture_serve(&fixture);
    }
    struct log_segment_wanted wanted = {.seq = -1, .offset = 15};
    struct log_segment segment;
    CU_ASSERT_EQUAL_FATAL(log_segment(fixture.log, &wanted, &segment), 0);
    CU_ASSERT(segment.base_offset <= 15 && segment.next_offset > 15);
    CU_ASSERT(segment.end > 0 && segment.end <= segment.capacity);
    uint8_t head[61];
    CU_ASSERT_EQUAL(pread(segment.fd, head, sizeof head, segment.position), 61);
    struct batch_header header;
    batch_header_read(head, (size_t)segment.end, &header);
    CU_ASSERT(header.base_offset <= 15);
    close(segment.fd);
    wanted.offset = 31;
    CU_ASSERT_EQUAL(log_segment(fixture.log, &wanted, &segment), -BUS_ERR_OFFSET_OUT_OF_RANGE);
    wanted = (struct log_segment_wanted){.seq = 0, .generation = 2};
    wanted.generation = fixture_bounds(&fixture).generation + 1;
    CU_ASSERT_EQUAL(log_segment(fixture.log, &wanted, &segment), -BUS_ERR_NOT_LEADER_OR_FOLLOWER);
    wanted.generation--;
    CU_ASSERT_EQUAL_FATAL(log_segment(fixture.log, &wanted, &segment), 0);
    CU_ASSERT_EQUAL(segment.seq, 0);
    CU_ASSERT_EQUAL(segment.base_offset, 0);
    CU_ASSERT_FALSE(segment.writable);
    close(segment.fd);
    wanted.access = LOG_ACCESS_WRITE;
    CU_ASSERT_EQUAL_FATAL(log_segment(fixture.log, &wanted, &segment), 0);
    CU_ASSERT(segment.writable);
    close(segment.fd);
    wanted.seq = 1000;
    CU_ASSERT_EQUAL(log_segment(fixture.log, &wanted, &segment), -BUS_ERR_RESOURCE_NOT_FOUND);
    fixture_fini(&fixture);
}

/* A writer that holds the lock, in a thread of its own, until it is told to go on. */
struct holder {
    struct shm_partition *view;
    pthread_barrier_t barrier;
    int outcome;
};

static void *
hold_lock(void *context)
{
    struct holder *holder = context;
    struct append_loan loan;
    holder->outcome = shm_loan_begin(holder->view, 200, deadline(), &loan);
    pthread_barrier_wait(&holder->barrier);
    pthread_barrier_wait(&holder->barrier);
    if (holder->outcome == APPEND_DONE) {
        memset(loan.bytes, 0x5a, 200);
        holder->outcome = shm_loan_commit(holder->view, &loan, 1);
    }
    return NULL;
}

static void
test_evicts_a_stuck_writer(void)
{
    struct store_fixture fixture;
    struct shm_partition view;
    pthread_t thread;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    store_client_open(&fixture, &view, NULL);
    CU_ASSERT_EQUAL(store_client_append(&view, 100), APPEND_DONE);
    uint32_t generation = fixture_bounds(&fixture).generation;
    CU_ASSERT_EQUAL(log_stalled(fixture.log, generation), LOG_STALL_OVER);
    CU_ASSERT_EQUAL(log_stalled(fixture.log, generation - 1), LOG_STALL_OVER);
    struct holder holder = {.view = &view};
    pthread_barrier_init(&holder.barrier, NULL, 2);
    pthread_create(&thread, NULL, hold_lock, &holder);
    pthread_barrier_wait(&holder.barrier);
    CU_ASSERT_EQUAL(log_stalled(fixture.log, generation), LOG_STALL_WAIT);
    int rc = LOG_STALL_WAIT;
    for (int64_t until_ns = deadline(); rc == LOG_STALL_WAIT && clock_mono_ns() < until_ns;)
        rc = log_stalled(fixture.log, generation);
    CU_ASSERT_EQUAL(rc, LOG_STALL_EVICTED);
    CU_ASSERT_EQUAL(log_stalled(fixture.log, generation), LOG_STALL_OVER);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).generation, generation + 1);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 1);
    pthread_barrier_wait(&holder.barrier);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&holder.barrier);
    CU_ASSERT_EQUAL(holder.outcome, -BUS_ERR_EVICTED);
    CU_ASSERT_EQUAL(store_client_append(&view, 10), APPEND_FENCED);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 2);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 2);
    CU_ASSERT_EQUAL(fixture_objects(&fixture), 2);
    CU_ASSERT_EQUAL(log_flush(fixture.log, 2, deadline()), LOG_FLUSHED);
    shm_partition_fini(&view);
    fixture_restart(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 2);
    fixture_reboot(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 2);
    fixture_fini(&fixture);
}

static void
test_mediated_append_evicts(void)
{
    struct store_fixture fixture;
    struct shm_partition view;
    pthread_t thread;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    store_client_open(&fixture, &view, NULL);
    struct holder holder = {.view = &view};
    pthread_barrier_init(&holder.barrier, NULL, 2);
    pthread_create(&thread, NULL, hold_lock, &holder);
    pthread_barrier_wait(&holder.barrier);
    size_t bytes;
    void *batch = fixture_batch(1, 10, 1, &bytes);
    struct append_batch append = {.bytes = batch, .size_bytes = bytes, .offsets = 1};
    struct append_result result;
    int rc = log_append(fixture.log, &append, 0, &result);
    CU_ASSERT_EQUAL(rc, LOG_APPEND_BUSY);
    for (int64_t until_ns = deadline(); rc == LOG_APPEND_BUSY && clock_mono_ns() < until_ns;)
        rc = log_append(fixture.log, &append, 0, &result);
    CU_ASSERT_EQUAL(rc, LOG_APPENDED);
    CU_ASSERT_EQUAL(result.base_offset, 0);
    free(batch);
    pthread_barrier_wait(&holder.barrier);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&holder.barrier);
    struct log_usage usage;
    log_usage(fixture.log, &usage);
    CU_ASSERT_EQUAL(usage.evictions, 1);
    shm_partition_fini(&view);
    fixture_fini(&fixture);
}

static void
test_delete(void)
{
    struct store_fixture fixture;
    struct shm_partition view;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    store_client_open(&fixture, &view, NULL);
    CU_ASSERT_EQUAL(store_client_append(&view, 10), APPEND_DONE);
    CU_ASSERT_EQUAL(store_flush(fixture.store), 0);
    CU_ASSERT_EQUAL(log_delete(&fixture.log), 0);
    CU_ASSERT_PTR_NULL(fixture.log);
    CU_ASSERT_EQUAL(store_client_append(&view, 10), -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION);
    CU_ASSERT_FALSE(log_exists(fixture.store, &fixture.options));
    CU_ASSERT_EQUAL(fixture_objects(&fixture), 0);
    CU_ASSERT_EQUAL(fixture.checkpoint_count, 0);
    CU_ASSERT_EQUAL(log_remove(fixture.store, &fixture.options), 0);
    shm_partition_fini(&view);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 0);
    fixture_fini(&fixture);
}

static void
test_memory_topic(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    fixture.options.flags = SHM_FLAG_MEMORY;
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    fixture_append(&fixture, 3, 100, 1);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).durable_offset, 3);
    CU_ASSERT_EQUAL(fixture_size(&fixture, first_log), -1);
    fixture_serve(&fixture);
    CU_ASSERT_EQUAL(store_flush(fixture.store), 0);
    fixture_restart(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 3);
    fixture_reboot(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 3);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 3);
    CU_ASSERT_EQUAL(log_delete(&fixture.log), 0);
    fixture_fini(&fixture);
}

static void
test_watch(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    struct wait_set set;
    struct log_watch *hold;
    wait_init(&set);
    CU_ASSERT_EQUAL_FATAL(log_watch(fixture.log, &set, &hold), 0);
    wait_begin(&set);
    fixture_append(&fixture, 1, 10, 1);
    wait_sleep(&set, INT64_MAX);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 1);
    log_watch_end(&hold);
    CU_ASSERT_PTR_NULL(hold);
    log_watch_end(&hold);
    set.count = WAIT_WORDS_MAX;
    CU_ASSERT_EQUAL(log_watch(fixture.log, &set, &hold), -BUS_ERR_LIMIT_REACHED);
    fixture_fini(&fixture);
}

static void
test_folder(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    struct store *second = NULL;
    struct store_options options = {.data = fixture.data};
    CU_ASSERT_EQUAL(store_open(&options, &second), -BUS_ERR_DATA_LOCKED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), fixture.data));
    store_close(&fixture.store);
    static const struct {
        const char *text;
        int rc;
    } cases[] = {{"shmbus-data 2\ninstance ", -BUS_ERR_DATA_VERSION},
        {"shmbus-data 1\ninstance 12", -BUS_ERR_INVALID_FORMAT},
        {"shmbus-data 1\n", -BUS_ERR_INVALID_FORMAT}, {"", -BUS_ERR_INVALID_FORMAT},
        {"shmbus-data 0\ninstance 0123456789abcdef0123456789abcdef", -BUS_ERR_INVALID_FORMAT},
        {"shmbus-data 1\ninstance 0123456789abcdef0123456789abcdef\n", 0}};
    char path[128];
    snprintf(path, sizeof path, "%s/format", fixture.data);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        FILE *file = fopen(path, "w");
        fputs(cases[i].text, file);
        fclose(file);
        CU_ASSERT_EQUAL(store_open(&options, &second), cases[i].rc);
        if (cases[i].rc < 0)
            CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), fixture.data));
        store_close(&second);
    }
    fixture_fini(&fixture);
}

/* Everybody who works on a log at the same time, until the appender is done. */
struct crowd {
    struct store_fixture *fixture;
    _Atomic bool done;
    _Atomic int wrong;
};

static void *
crowd_keeper(void *context)
{
    struct crowd *crowd = context;
    while (!atomic_load(&crowd->done))
        store_service(crowd->fixture->store, true);
    return NULL;
}

static void *
crowd_flusher(void *context)
{
    struct crowd *crowd = context;
    while (!atomic_load(&crowd->done))
        crowd->wrong += store_flush(crowd->fixture->store) != 0;
    return NULL;
}

static void *
crowd_waiter(void *context)
{
    struct crowd *crowd = context;
    while (!atomic_load(&crowd->done)) {
        struct log_bounds bounds;
        struct log_attachment attachment;
        crowd->wrong += log_bounds(crowd->fixture->log, &bounds) != 0;
        crowd->wrong +=
            log_flush(crowd->fixture->log, bounds.end_offset, deadline()) != LOG_FLUSHED;
        crowd->wrong += log_attach(crowd->fixture->log, LOG_ACCESS_WRITE, &attachment) != 0;
        log_attachment_close(&attachment);
    }
    return NULL;
}

/* Reads everything in order, then starts over. */
static void *
crowd_reader(void *context)
{
    struct crowd *crowd = context;
    struct log_read_options options = {.max_bytes = 50000, .at_least_one = true};
    while (!atomic_load(&crowd->done)) {
        struct log_slice slice;
        crowd->wrong += log_read(crowd->fixture->log, &options, &slice) != LOG_READ_OK;
        crowd->wrong += slice.bytes > 0 && slice.first_offset != options.offset;
        options.offset = slice.bytes > 0 ? slice.next_offset : 0;
        log_slice_release(&slice);
    }
    return NULL;
}

static void
test_crowd(void)
{
    enum { BATCHES = 400 };
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    struct crowd crowd = {.fixture = &fixture};
    void *(*const parts[])(void *) = {crowd_keeper, crowd_flusher, crowd_waiter, crowd_reader};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, parts[i], &crowd);
    for (int i = 0; i < BATCHES; i++) {
        int64_t offset = -1; /* as long as the keeper makes room just now */
        for (int64_t until_ns = deadline(); offset == -1 && clock_mono_ns() < until_ns;)
            offset = fixture_append(&fixture, 1, 9000, 1000 + i);
        CU_ASSERT_EQUAL(offset, i);
    }
    atomic_store(&crowd.done, true);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(crowd.wrong, 0);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), BATCHES);
    fixture_reboot(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), BATCHES);
    fixture_fini(&fixture);
}

static const struct unit_case cases[] = {
    {"an empty log", test_empty},
    {"what is appended is read", test_append_and_read},
    {"a read keeps its limits", test_read_limits},
    {"batches that are too large are refused", test_sizes_refused},
    {"a full segment is rolled, named, indexed and trimmed", test_rolls},
    {"an old segment is rolled", test_roll_by_age},
    {"records are found by time", test_find_by_time},
    {"late records do not hide others", test_find_time_after_late_records},
    {"leader epochs are known", test_epochs},
    {"records are deleted from the start", test_delete_records},
    {"reading the durable part only", test_durable_and_isolation},
    {"the high watermark bounds readers", test_high_watermark},
    {"the kernel keeps readers from writing", test_attach},
    {"a direct writer appends and rolls", test_direct_writer},
    {"segments are given by offset and by number", test_segment_by_offset_and_number},
    {"a stuck writer is evicted and its late write reaches nobody", test_evicts_a_stuck_writer},
    {"a mediated append evicts a stuck writer", test_mediated_append_evicts},
    {"a deleted partition is gone for its clients", test_delete},
    {"a memory topic survives busd and not a reboot", test_memory_topic},
    {"a watch sees an append", test_watch},
    {"keeper, flusher, readers and appender at once", test_crowd},
    {"the data folder is locked and versioned", test_folder},
    {NULL, NULL},
};

void
register_log(void)
{
    unit_register("log", cases);
}
