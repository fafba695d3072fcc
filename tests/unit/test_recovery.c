/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/err.h"
#include "record/batch.h"
#include "shm/flush.h"
#include "shm/partition.h"
#include "store/index.h"
#include "unit/store_client.h"
#include "unit/store_fixture.h"
#include "unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char first_log[] = "00000000000000000000.log";
static const char first_index[] = "00000000000000000000.index";
static const char first_timeindex[] = "00000000000000000000.timeindex";

static int64_t
deadline(void)
{
    return clock_mono_ns() + 10 * INT64_C(1000000000);
}

static void
test_restart_trusts(void)
{
    struct store_fixture fixture;
    struct shm_partition view;
    int writers;
    store_client_start(&fixture, &view, &writers);
    uint32_t generation = fixture_bounds(&fixture).generation;
    CU_ASSERT_EQUAL(store_client_append(&view, 10), APPEND_DONE);
    log_close(&fixture.log);
    int appended = 1;
    while (store_client_append(&view, 9000) == APPEND_DONE)
        appended++;
    CU_ASSERT_EQUAL(shm_flush(&view, appended, deadline()), FLUSH_DONE);
    fixture_restart(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).generation, generation);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, appended);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).durable_offset, appended);
    fixture_serve(&fixture);
    CU_ASSERT_EQUAL(fixture_count(&fixture, ".log"), 3);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), appended);
    CU_ASSERT_EQUAL(store_client_append(&view, 10), APPEND_DONE);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), appended + 1);
    shm_partition_fini(&view);
    close(writers);
    fixture_fini(&fixture);
}

static void
test_reboot_takes_the_activated_spare(void)
{
    struct store_fixture fixture;
    struct shm_partition view;
    int writers;
    store_client_start(&fixture, &view, &writers);
    log_close(&fixture.log);
    int appended = 0;
    while (store_client_append(&view, 9000) == APPEND_DONE)
        appended++;
    shm_partition_fini(&view);
    close(writers);
    CU_ASSERT_EQUAL(fixture_size(&fixture, "spare-1.log") > 0, 1);
    fixture_reboot(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_size(&fixture, "spare-1.log"), -1);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, appended);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).durable_offset, appended);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), appended);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), appended);
    fixture_fini(&fixture);
}

/* Where each of `count` batches of the same size lies. */
static size_t
batch_size(size_t value_bytes)
{
    size_t bytes;
    free(fixture_batch(1, value_bytes, 1, &bytes));
    return bytes;
}

static void
test_cuts_a_torn_tail(void)
{
    int64_t bytes = (int64_t)batch_size(500);
    /* Damage in the header, in the CRC, at the start and in the last byte of batch 7. */
    const int64_t places[] = {0, 8, 17, 61, bytes - 1};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct store_fixture fixture;
        fixture_init(&fixture);
        CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
        for (int n = 0; n < 10; n++)
            fixture_append(&fixture, 1, 500, 1);
        fixture_damage(&fixture, first_log, 7 * bytes + places[i], 1);
        fixture_reboot(&fixture);
        CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
        CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 7);
        CU_ASSERT_EQUAL(fixture_nonzero(&fixture, first_log, 7 * bytes), -1);
        CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 500, 1), 7);
        CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 8);
        fixture_serve(&fixture);
        CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 8);
        fixture_fini(&fixture);
    }
}

static void
test_scans_from_the_checkpoint_only(void)
{
    struct store_fixture fixture;
    int64_t bytes = (int64_t)batch_size(500);
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    for (int n = 0; n < 20; n++)
        fixture_append(&fixture, 1, 500, 1);
    fixture_serve(&fixture);
    CU_ASSERT_EQUAL(store_flush(fixture.store), 0);
    CU_ASSERT_EQUAL(fixture.checkpoints[0].position, 20 * bytes);
    for (int n = 0; n < 5; n++)
        fixture_append(&fixture, 1, 500, 1);
    /* One body and one header below the checkpoint: damage there is never cut. */
    fixture_damage(&fixture, first_log, 5 * bytes + 100, 1);
    fixture_damage(&fixture, first_log, 10 * bytes + 16, 1);
    fixture_reboot(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 25);
    for (int turn = 0; turn < 2; turn++) {
        CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), -BUS_ERR_CORRUPT_MESSAGE);
        CU_ASSERT_EQUAL(fixture_read(&fixture, 5), -BUS_ERR_CORRUPT_MESSAGE);
        CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "t-3: offsets 5 to 5"));
        CU_ASSERT_EQUAL(fixture_read(&fixture, 6), 10);
        CU_ASSERT_EQUAL(fixture_read(&fixture, 10), -BUS_ERR_CORRUPT_MESSAGE);
        CU_ASSERT_EQUAL(fixture_read_all(&fixture, 12), 25);
        struct log_found found;
        CU_ASSERT_EQUAL(log_find_time(fixture.log, 1, &found), 0);
        CU_ASSERT_EQUAL(found.offset, 0);
        fixture_serve(&fixture);
    }
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 25);
    fixture_fini(&fixture);
}

static void
test_segments_that_do_not_continue(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    for (int n = 0; n < 30; n++)
        fixture_append(&fixture, 1, 20000, 1);
    fixture_serve(&fixture);
    int files = fixture_count(&fixture, ".log");
    fixture.checkpoints[0] =
        (struct store_checkpoint){.topic_id = {7, 7, 7}, .partition = 3, .generation = 5};
    fixture.checkpoint_count = 1;
    fixture_damage(&fixture, first_log, 4 * (int64_t)batch_size(20000) + 70, 1);
    fixture_reboot(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 4);
    /* The later segments, and what was behind the damage in the first; a spare is no data. */
    CU_ASSERT_EQUAL(fixture_count(&fixture, ".cut"), files - 1);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 20000, 1), 4);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 5);
    fixture_fini(&fixture);
}

static void
test_missing_files(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    for (int n = 0; n < 5; n++)
        fixture_append(&fixture, 1, 20000, 1);
    fixture_serve(&fixture);
    CU_ASSERT_EQUAL(store_flush(fixture.store), 0);
    unlink(fixture_path(&fixture, first_log));
    fixture_reboot(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    /* An offset that was given is not given again. */
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 5);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 5);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 5), 6);
    fixture_fini(&fixture);
}

/* Damages one index file in some way and checks that everything is found and written again. */
static void
damage_index(const char *name, void (*damage)(const struct store_fixture *, const char *))
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    for (int n = 0; n < 60; n++)
        fixture_append(&fixture, 1, 5000, 1000 + n);
    fixture_serve(&fixture);
    int64_t size = fixture_size(&fixture, name);
    CU_ASSERT(size > 24);
    log_close(&fixture.log);
    damage(&fixture, name);
    for (int turn = 0; turn < 2; turn++) {
        fixture_restart(&fixture);
        CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
        for (int offset = 0; offset < 60; offset++) {
            struct log_found found;
            CU_ASSERT(fixture_read(&fixture, offset) > offset);
            CU_ASSERT_EQUAL(log_find_time(fixture.log, 1000 + offset, &found), 0);
            CU_ASSERT_EQUAL(found.offset, offset);
        }
        fixture_serve(&fixture);
        CU_ASSERT_EQUAL(fixture_size(&fixture, name), size);
    }
    fixture_fini(&fixture);
}

static void
index_missing(const struct store_fixture *fixture, const char *name)
{
    unlink(fixture_path(fixture, name));
}

static void
index_odd(const struct store_fixture *fixture, const char *name)
{
    CU_ASSERT_EQUAL(
        truncate(fixture_path(fixture, name), fixture_size(fixture, name) / 2 / 24 * 24 + 5), 0);
}

static void
index_garbage(const struct store_fixture *fixture, const char *name)
{
    fixture_damage(fixture, name, 24, 24);
}

static void
index_too_long(const struct store_fixture *fixture, const char *name)
{
    fixture_damage(fixture, name, fixture_size(fixture, name), 240);
}

static void
index_zeroed(const struct store_fixture *fixture, const char *name)
{
    int64_t size = fixture_size(fixture, name);
    CU_ASSERT_EQUAL(truncate(fixture_path(fixture, name), 24), 0);
    CU_ASSERT_EQUAL(truncate(fixture_path(fixture, name), size), 0);
}

static void
index_shifted(const struct store_fixture *fixture, const char *name)
{
    /* Entries that rise and lie within the segment, but point between batches. */
    uint8_t bytes[8];
    int fd = open(fixture_path(fixture, name), O_RDWR);
    CU_ASSERT_EQUAL(pread(fd, bytes, 8, 16), 8);
    bytes[7] ^= 1;
    CU_ASSERT_EQUAL(pwrite(fd, bytes, 8, 16), 8);
    close(fd);
}

static void
test_damaged_indexes(void)
{
    void (*const damages[])(const struct store_fixture *, const char *) = {
        index_missing, index_odd, index_garbage, index_too_long, index_zeroed};
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        damage_index(first_index, damages[i]);
        damage_index(first_timeindex, damages[i]);
    }
    damage_index(first_index, index_shifted);
}

static void
test_writers_of_a_lost_page(void)
{
    struct store_fixture fixture;
    struct shm_partition view;
    int writers;
    store_client_start(&fixture, &view, &writers);
    CU_ASSERT_EQUAL(store_client_append(&view, 10), APPEND_DONE);
    fixture_reboot(&fixture);
    CU_ASSERT_EQUAL(fixture_open(&fixture), -BUS_ERR_PARTITION_OFFLINE);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "writers.lock"));
    CU_ASSERT_PTR_NULL(fixture.log);
    CU_ASSERT_EQUAL(store_client_append(&view, 10), APPEND_DONE);
    shm_partition_fini(&view);
    close(writers);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).end_offset, 2);
    fixture_fini(&fixture);
}

static void
test_failed_flush(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    fixture_append(&fixture, 1, 10, 1);
    CU_ASSERT_EQUAL(log_flush(fixture.log, 1, deadline()), LOG_FLUSHED);
    fixture_append(&fixture, 1, 10, 1);
    fixture_disk.flush_fails = true;
    CU_ASSERT_EQUAL(log_flush(fixture.log, 2, deadline()), -BUS_ERR_KAFKA_STORAGE_ERROR);
    fixture_disk.flush_fails = false;
    /* It is never retried into a success. */
    CU_ASSERT_EQUAL(log_flush(fixture.log, 2, deadline()), -BUS_ERR_KAFKA_STORAGE_ERROR);
    CU_ASSERT_EQUAL(log_flush(fixture.log, 1, deadline()), LOG_FLUSHED);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).state, SHM_STATE_OFFLINE);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), -BUS_ERR_PARTITION_OFFLINE);
    CU_ASSERT_EQUAL(log_make_room(fixture.log), -BUS_ERR_PARTITION_OFFLINE);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 2);
    fixture_serve(&fixture);
    CU_ASSERT_EQUAL(store_flush(fixture.store), 0);
    fixture_disk.flush_fails = true;
    fixture_restart(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).state, SHM_STATE_OFFLINE);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 2);
    fixture_disk.flush_fails = false;
    fixture_restart(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).state, SHM_STATE_OPEN);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).durable_offset, 2);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 2);
    fixture_fini(&fixture);
}

static void
test_full_disk(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    fixture.options.segment_bytes = 3 << 20;
    fixture.options.preallocate_bytes = 1 << 20;
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    fixture_append(&fixture, 1, 10, 1);
    fixture_disk.full = true;
    int64_t appended = 1, rc;
    while ((rc = fixture_append(&fixture, 1, 50000, 1)) >= 0)
        appended++;
    CU_ASSERT_EQUAL(rc, -BUS_ERR_DISK_FULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), fixture.data));
    CU_ASSERT(appended > 10);
    CU_ASSERT_EQUAL(log_make_room(fixture.log), -BUS_ERR_DISK_FULL);
    fixture_serve(&fixture);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), appended);
    CU_ASSERT_EQUAL(log_flush(fixture.log, appended, deadline()), LOG_FLUSHED);
    fixture_reboot(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), appended);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 50000, 1), -BUS_ERR_DISK_FULL);
    fixture_disk.full = false;
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 50000, 1), appended);
    fixture_serve(&fixture);
    for (int n = 0; n < 100; n++)
        CU_ASSERT(fixture_append(&fixture, 1, 50000, 1) > 0);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), appended + 101);
    fixture_fini(&fixture);
}

static void
test_full_table_of_checkpoints(void)
{
    struct store_fixture fixture;
    int64_t start;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    fixture_append(&fixture, 4, 10, 1);
    fixture_serve(&fixture);
    fixture.save_fails = true;
    CU_ASSERT_EQUAL(store_flush(fixture.store), -BUS_ERR_DISK_FULL);
    CU_ASSERT_EQUAL(log_set_start(fixture.log, 2, &start), -BUS_ERR_DISK_FULL);
    CU_ASSERT_EQUAL(start, 0);
    CU_ASSERT_EQUAL(fixture_bounds(&fixture).start_offset, 0);
    fixture.save_fails = false;
    CU_ASSERT_EQUAL(store_flush(fixture.store), 0);
    CU_ASSERT_EQUAL(log_set_start(fixture.log, 2, &start), 0);
    CU_ASSERT_EQUAL(start, 2);
    fixture_fini(&fixture);
}

static void
test_log_without_checkpoint(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    for (int n = 0; n < 30; n++)
        fixture_append(&fixture, 1, 20000, 1);
    fixture_serve(&fixture);
    log_close(&fixture.log);
    fixture.checkpoint_count = 0;
    fixture_reboot(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 30);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 30);
    fixture_fini(&fixture);
}

/* A closed segment that the disk does not give back stops neither indexes nor checkpoints of what
 * follows it. */
static void
test_unreadable_segment(void)
{
    struct store_fixture fixture;
    struct stat status;
    fixture_init(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    fixture_append(&fixture, 1, 20000, 1);
    fixture_serve(&fixture);
    for (int n = 1; n < 15; n++)
        fixture_append(&fixture, 1, 20000, 1);
    CU_ASSERT_EQUAL(stat(fixture_path(&fixture, first_log), &status), 0);
    fixture_disk.bad_inode = status.st_ino;
    for (int turn = 0; turn < 5; turn++)
        fixture_serve(&fixture);
    CU_ASSERT_EQUAL(store_flush(fixture.store), 0);
    CU_ASSERT_EQUAL(fixture.checkpoints[0].durable_offset, 15);
    fixture_disk.bad_inode = 0;
    fixture_restart(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    fixture_serve(&fixture);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 15);
    CU_ASSERT_EQUAL(fixture_size(&fixture, first_index), 8 * INDEX_ENTRY_BYTES);
    fixture_fini(&fixture);
}

/* Checkpoints follow the indexes, so these must keep up with a writer: the keeper comes back as
 * long as there is work, not with its next tick. */
static void
test_keeper_comes_back(void)
{
    struct store_fixture fixture;
    fixture_init(&fixture);
    fixture.options.segment_bytes = fixture.options.preallocate_bytes = 16 << 20;
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    for (int n = 0; n < 3000; n++)
        fixture_append(&fixture, 1, 1100, 1);
    size_t waiting = store_service(fixture.store, true);
    for (int turn = 0; waiting > 0 && turn < 100; turn++)
        waiting = store_service(fixture.store, false);
    CU_ASSERT_EQUAL(waiting, 0);
    CU_ASSERT_EQUAL(store_flush(fixture.store), 0);
    CU_ASSERT_EQUAL(fixture.checkpoints[0].durable_offset, 3000);
    fixture_fini(&fixture);
}

static void
test_many_segments(void)
{
    struct store_fixture fixture;
    struct log_usage usage;
    struct log_found found;
    fixture_init(&fixture);
    fixture.options.segment_bytes = fixture.options.max_message_bytes = 11000;
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    for (int n = 0; n < 100; n++)
        fixture_append(&fixture, 1, 10000, 1);
    fixture_serve(&fixture);
    log_close(&fixture.log);
    unlink(fixture_path(&fixture, "leader-epoch-checkpoint"));
    fixture_reboot(&fixture);
    int files = fixture_open_files();
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT(fixture_open_files() <= files + 4);
    log_usage(fixture.log, &usage);
    CU_ASSERT_EQUAL(usage.segments, 100);
    CU_ASSERT(fixture_open_files() <= files + 4);
    CU_ASSERT_EQUAL(log_find_max_time(fixture.log, &found), 0);
    CU_ASSERT_EQUAL(found.offset, 0);
    CU_ASSERT_EQUAL(log_find_time(fixture.log, 2, &found), 0);
    CU_ASSERT_EQUAL(found.offset, -1);
    CU_ASSERT(fixture_open_files() <= files + 4);
    fixture_fini(&fixture);
}

/* What the time indexes know is not looked for in the segments. */
static void
test_time_after_a_start(void)
{
    struct store_fixture fixture;
    struct log_found found;
    fixture_init(&fixture);
    fixture.options.segment_bytes = fixture.options.preallocate_bytes = 1 << 20;
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    for (int n = 0; n < 1000; n++)
        fixture_append(&fixture, 1, 5000, 1000 + n);
    fixture_serve(&fixture);
    fixture_restart(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    fixture_disk.bytes_read = 0;
    CU_ASSERT_EQUAL(log_find_max_time(fixture.log, &found), 0);
    CU_ASSERT_EQUAL(found.offset, 999);
    CU_ASSERT_EQUAL(found.timestamp, 1999);
    CU_ASSERT_EQUAL(log_find_time(fixture.log, 2000, &found), 0);
    CU_ASSERT_EQUAL(found.offset, -1);
    CU_ASSERT_EQUAL(log_find_time(fixture.log, 1500, &found), 0);
    CU_ASSERT_EQUAL(found.offset, 500);
    CU_ASSERT(fixture_disk.bytes_read < 2 << 20);
    fixture_fini(&fixture);
}

/* The epoch of a batch is written by whoever writes it. */
static void
test_epochs_that_nobody_gave(void)
{
    struct store_fixture fixture;
    struct shm_partition view;
    struct log_epoch_end end;
    int writers;
    store_client_start(&fixture, &view, &writers);
    for (int n = 0; n < 100; n++) {
        atomic_store(&view.control->leader_epoch, 1000 + n);
        CU_ASSERT_EQUAL(store_client_append(&view, 10), APPEND_DONE);
    }
    fixture_serve(&fixture);
    CU_ASSERT(fixture_size(&fixture, "leader-epoch-checkpoint") < 10);
    fixture.options.leader_epoch = 1;
    log_configure(fixture.log, &fixture.options);
    CU_ASSERT_EQUAL(fixture_append(&fixture, 1, 10, 1), 100);
    CU_ASSERT_EQUAL(log_find_epoch_end(fixture.log, 0, &end), 0);
    CU_ASSERT_EQUAL(end.end_offset, 100);
    log_close(&fixture.log);
    unlink(fixture_path(&fixture, "leader-epoch-checkpoint"));
    shm_partition_fini(&view);
    close(writers);
    fixture_reboot(&fixture);
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT_EQUAL(log_find_epoch_end(fixture.log, 0, &end), 0);
    CU_ASSERT_EQUAL(end.end_offset, 100);
    fixture_fini(&fixture);
}

static const struct unit_case cases[] = {
    {"a restart trusts the pages of this boot", test_restart_trusts},
    {"a spare that was written to is taken", test_reboot_takes_the_activated_spare},
    {"a torn tail is cut and zeroed", test_cuts_a_torn_tail},
    {"damage below the checkpoint is withheld and not cut", test_scans_from_the_checkpoint_only},
    {"segments that do not continue the log are set aside", test_segments_that_do_not_continue},
    {"missing data gives no offset twice", test_missing_files},
    {"damaged indexes are written anew", test_damaged_indexes},
    {"writers of a lost page keep the partition offline", test_writers_of_a_lost_page},
    {"a failed flush is final until a restart writes again", test_failed_flush},
    {"a full disk is an error that passes", test_full_disk},
    {"checkpoints that cannot be saved", test_full_table_of_checkpoints},
    {"a log without checkpoint", test_log_without_checkpoint},
    {"a segment that cannot be read stops no checkpoint", test_unreadable_segment},
    {"the keeper comes back while there is work", test_keeper_comes_back},
    {"many segments need few file descriptors", test_many_segments},
    {"times are looked up in the indexes of a start", test_time_after_a_start},
    {"an epoch that nobody gave is not believed", test_epochs_that_nobody_gave},
    {NULL, NULL},
};

void
register_recovery(void)
{
    unit_register("recovery", cases);
}
