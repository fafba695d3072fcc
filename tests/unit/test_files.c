/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "record/batch.h"
#include "store/files.h"
#include "store/walk.h"
#include "unit/store_fixture.h"
#include "unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
make_folder(char folder[64])
{
    snprintf(folder, 64, "/tmp/shmbus-unit-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
}

static int
make_file(const char *folder, const char *name, size_t bytes)
{
    char *path = files_path(folder, name);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    free(path);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(ftruncate(fd, (off_t)bytes), 0);
    return fd;
}

static void
test_names(void)
{
    char name[FILES_NAME_BYTES_MAX];
    int64_t number;
    files_name(name, 0, ".log");
    CU_ASSERT_STRING_EQUAL(name, "00000000000000000000.log");
    files_name(name, INT64_MAX, ".timeindex");
    CU_ASSERT_STRING_EQUAL(name, "09223372036854775807.timeindex");
    CU_ASSERT_EQUAL(files_parse(name, &number), FILES_INDEX);
    CU_ASSERT_EQUAL(number, INT64_MAX);
    files_spare_name(name, INT64_MAX);
    CU_ASSERT_EQUAL(files_parse(name, &number), FILES_SPARE);
    CU_ASSERT_EQUAL(number, INT64_MAX);
    CU_ASSERT_EQUAL(files_parse("00000000000000000017.log", &number), FILES_LOG);
    CU_ASSERT_EQUAL(number, 17);
    static const char *const others[] = {"", ".log", "17.log", "0000000000000000017.log",
        "000000000000000000017.log", "00000000000000000017.log.cut", "00000000000000000017.lo",
        "0000000000000000001x.log", "09223372036854775808.log", "99999999999999999999.log",
        "-0000000000000000001.log", "spare-.log", "spare-1", "spare--1.log", "spare-1.index",
        "writers.lock", "leader-epoch-checkpoint"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        CU_ASSERT_EQUAL(files_parse(others[i], &number), FILES_OTHER);
}

static void
test_list(void)
{
    char folder[64];
    make_folder(folder);
    static const char *const names[] = {"00000000000000000200.log", "00000000000000000000.log",
        "00000000000000000030.log", "spare-12.log", "spare-9.log", "00000000000000000030.index",
        "00000000000000000031.index", "00000000000000000031.timeindex", "writers.lock"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        close(make_file(folder, names[i], i));
    struct files_list list;
    CU_ASSERT_EQUAL_FATAL(files_list_read(folder, &list), 0);
    static const struct files_entry expected[] = {
        {0, 1, false}, {30, 2, false}, {200, 0, false}, {9, 4, true}, {12, 3, true}};
    CU_ASSERT_EQUAL_FATAL(list.count, 5);
    for (size_t i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(list.entries[i].number, expected[i].number);
        CU_ASSERT_EQUAL(list.entries[i].bytes, expected[i].bytes);
        CU_ASSERT_EQUAL(list.entries[i].spare, expected[i].spare);
    }
    files_list_fini(&list);
    /* Indexes without a segment went away, those with one stayed. */
    char *path = files_path(folder, "00000000000000000031.index");
    CU_ASSERT_EQUAL(access(path, F_OK), -1);
    free(path);
    path = files_path(folder, "00000000000000000030.index");
    CU_ASSERT_EQUAL(access(path, F_OK), 0);
    free(path);
    CU_ASSERT_EQUAL(files_remove_folder(folder), 0);
    CU_ASSERT_EQUAL(files_remove_folder(folder), 0);
    CU_ASSERT_EQUAL(files_list_read(folder, &list), -BUS_ERR_SYSTEM);
}

static void
test_foreign_files(void)
{
    char folder[64];
    make_folder(folder);
    char *path = files_path(folder, "00000000000000000000.log");
    CU_ASSERT_EQUAL(symlink("/etc/passwd", path), 0);
    struct files_list list;
    CU_ASSERT_EQUAL(files_list_read(folder, &list), -BUS_ERR_SYSTEM);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "not a regular file"));
    unlink(path);
    free(path);
    close(make_file(folder, "plain", 0));
    path = files_path(folder, "plain");
    CU_ASSERT(files_make_folder(path) < 0);
    free(path);
    CU_ASSERT_EQUAL(files_remove_folder(folder), 0);
}

static void
test_reserve(void)
{
    char folder[64];
    struct stat status;
    int64_t reserved;
    bool full;
    make_folder(folder);
    int fd = make_file(folder, "x", 0);
    struct files_reservation want = {.have = 0, .wanted = 1 << 20};
    CU_ASSERT_EQUAL(files_reserve(fd, &want, &reserved, &full), 0);
    CU_ASSERT_EQUAL(reserved, 1 << 20);
    CU_ASSERT_FALSE(full);
    CU_ASSERT_EQUAL(fstat(fd, &status), 0);
    CU_ASSERT_EQUAL(status.st_size, 1 << 20);
    CU_ASSERT(status.st_blocks * 512 >= 1 << 20);
    want = (struct files_reservation){.have = 1 << 20, .wanted = 1 << 20};
    CU_ASSERT_EQUAL(files_reserve(fd, &want, &reserved, &full), 0);
    CU_ASSERT_EQUAL(reserved, 1 << 20);
    CU_ASSERT_EQUAL(files_punch(fd, 4096, 1 << 20), 0);
    CU_ASSERT_EQUAL(files_punch(fd, 4096, 4096), 0);
    CU_ASSERT_EQUAL(fstat(fd, &status), 0);
    CU_ASSERT_EQUAL(status.st_size, 1 << 20);
    CU_ASSERT(status.st_blocks * 512 <= 8192);
    close(fd);
    CU_ASSERT_EQUAL(files_remove_folder(folder), 0);
}

static void
test_reserve_on_a_full_disk(void)
{
    char folder[64];
    int64_t reserved;
    bool full;
    make_folder(folder);
    int fd = make_file(folder, "x", 0);
    fixture_disk.full = true;
    fixture_disk.reservations = 0;
    struct files_reservation want = {.have = 0, .wanted = 64 << 20};
    CU_ASSERT_EQUAL(files_reserve(fd, &want, &reserved, &full), 0);
    CU_ASSERT_EQUAL(reserved, 0);
    CU_ASSERT(full);
    /* 64 MiB, then halves down to FILES_RESERVE_MIN. */
    CU_ASSERT_EQUAL(fixture_disk.reservations, 9);
    fixture_disk.reservations = 0;
    want.least = 32 << 20;
    CU_ASSERT_EQUAL(files_reserve(fd, &want, &reserved, &full), 0);
    CU_ASSERT_EQUAL(fixture_disk.reservations, 2);
    fixture_disk.full = false;
    close(fd);
    CU_ASSERT_EQUAL(files_reserve(-1, &want, &reserved, &full), -BUS_ERR_SYSTEM);
    CU_ASSERT_EQUAL(files_remove_folder(folder), 0);
}

static void
test_shared_file(void)
{
    char folder[64];
    struct log_file *file, *other;
    make_folder(folder);
    close(make_file(folder, "x", 10));
    char *path = files_path(folder, "x");
    CU_ASSERT_EQUAL_FATAL(log_file_open(path, &file), 0);
    other = log_file_ref(file);
    int fd = file->fd;
    log_file_unref(&file);
    CU_ASSERT_PTR_NULL(file);
    CU_ASSERT(fcntl(fd, F_GETFD) >= 0);
    log_file_unref(&other);
    CU_ASSERT_EQUAL(fcntl(fd, F_GETFD), -1);
    log_file_unref(&other);
    unlink(path);
    CU_ASSERT(log_file_open(path, &file) < 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), path));
    free(path);
    CU_ASSERT_EQUAL(files_remove_folder(folder), 0);
}

/* Batches of several sizes, one of them larger than the window, then zeros. */
static int
make_log(const char *folder, int64_t positions[6])
{
    static const size_t sizes[] = {10, 3000, 200000, 1, 70000};
    int fd = make_file(folder, "log", 1 << 20);
    int64_t position = 0;
    for (int i = 0; i < 5; i++) {
        size_t bytes;
        void *batch = fixture_batch(2, sizes[i] / 2, 5, &bytes);
        batch_patch(batch, 2 * i, 0);
        CU_ASSERT_EQUAL(pwrite(fd, batch, bytes, position), (ssize_t)bytes);
        positions[i] = position;
        position += (int64_t)bytes;
        free(batch);
    }
    positions[5] = position;
    return fd;
}

static void
test_walk(void)
{
    char folder[64];
    int64_t positions[6];
    struct walk walk;
    make_folder(folder);
    int fd = make_log(folder, positions);
    CU_ASSERT_EQUAL_FATAL(walk_init(&walk, fd, 0, 1 << 20), 0);
    for (int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(walk_next(&walk), WALK_BATCH);
        CU_ASSERT_EQUAL(walk.batch_position, positions[i]);
        CU_ASSERT_EQUAL(walk.batch.base_offset, 2 * i);
        CU_ASSERT_EQUAL(walk_crc_ok(&walk), 1);
    }
    CU_ASSERT_EQUAL(walk_next(&walk), WALK_END);
    CU_ASSERT_EQUAL(walk.position, positions[5]);
    walk_seek(&walk, positions[3], -1);
    walk.end = positions[5];
    CU_ASSERT_EQUAL(walk_next(&walk), WALK_BATCH);
    CU_ASSERT_EQUAL(walk_next(&walk), WALK_BATCH);
    CU_ASSERT_EQUAL(walk_next(&walk), WALK_END);
    walk_seek(&walk, positions[4], -1);
    walk.end = positions[5] - 1;
    CU_ASSERT_EQUAL(walk_next(&walk), -BUS_ERR_CORRUPT_MESSAGE);
    CU_ASSERT_EQUAL(walk.position, positions[4]);
    walk_fini(&walk);
    close(fd);
    CU_ASSERT_EQUAL(files_remove_folder(folder), 0);
}

static void
test_walk_over_damage(void)
{
    char folder[64];
    int64_t positions[6];
    struct walk walk;
    make_folder(folder);
    int fd = make_log(folder, positions);
    int64_t from;
    CU_ASSERT_EQUAL(pwrite(fd, "\xff\xff\xff", 3, positions[1] + BATCH_AT_LENGTH), 3);
    CU_ASSERT_EQUAL(pwrite(fd, "!", 1, positions[3] - 1), 1);
    CU_ASSERT_EQUAL_FATAL(walk_init(&walk, fd, 0, 1 << 20), 0);
    struct walk_range range = {.least = 0, .end_offset = 10};
    CU_ASSERT_EQUAL(walk_next(&walk), WALK_BATCH);
    CU_ASSERT_EQUAL(walk_next(&walk), -BUS_ERR_CORRUPT_MESSAGE);
    /* Batch 2 has a bad CRC, so batch 3 is the next sound one. */
    CU_ASSERT_EQUAL(walk_skip(&walk, &range, &from), WALK_BATCH);
    CU_ASSERT_EQUAL(from, 2);
    CU_ASSERT_EQUAL(walk.batch.base_offset, 6);
    CU_ASSERT_EQUAL(walk.batch_position, positions[3]);
    CU_ASSERT_EQUAL(walk_next(&walk), WALK_BATCH);
    walk_seek(&walk, positions[1], 2);
    range.end_offset = 7;
    CU_ASSERT_EQUAL(walk_skip(&walk, &range, &from), WALK_END);
    CU_ASSERT_EQUAL(walk.position, walk.end);
    walk_seek(&walk, positions[1], 8);
    range.end_offset = 10;
    CU_ASSERT_EQUAL(walk_skip(&walk, &range, &from), WALK_BATCH);
    CU_ASSERT_EQUAL(walk.batch.base_offset, 8);
    /* A file that is shorter than it should be. */
    CU_ASSERT_EQUAL(ftruncate(fd, positions[3] + 5), 0);
    walk_seek(&walk, positions[3], -1);
    CU_ASSERT_EQUAL(walk_next(&walk), -BUS_ERR_CORRUPT_MESSAGE);
    walk_fini(&walk);
    close(fd);
    CU_ASSERT_EQUAL(files_remove_folder(folder), 0);
}

/* Damage that leaves every header plausible. */
static void
test_walk_believes_no_header(void)
{
    char folder[64];
    int64_t positions[6];
    struct walk walk;
    struct walk_range range = {.least = 0, .end_offset = 10};
    int64_t from;
    uint8_t byte;
    make_folder(folder);
    int fd = make_log(folder, positions);
    CU_ASSERT_EQUAL_FATAL(walk_init(&walk, fd, 0, 1 << 20), 0);
    /* The length of batch 1 is a little off: batch 2 begins before where it seems to end. */
    CU_ASSERT_EQUAL(pread(fd, &byte, 1, positions[1] + 11), 1);
    byte ^= 2;
    CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, positions[1] + 11), 1);
    walk_seek(&walk, 0, 0);
    CU_ASSERT_EQUAL(walk_next(&walk), WALK_BATCH);
    CU_ASSERT_EQUAL(walk_next(&walk), WALK_BATCH);
    CU_ASSERT_EQUAL(walk_crc_ok(&walk), 0);
    CU_ASSERT_EQUAL(walk_next(&walk), -BUS_ERR_CORRUPT_MESSAGE);
    CU_ASSERT_EQUAL(walk_skip(&walk, &range, &from), WALK_BATCH);
    CU_ASSERT_EQUAL(from, 2);
    CU_ASSERT_EQUAL(walk.batch.base_offset, 4);
    /* The base offset of batch 3 is wrong, which no CRC tells. */
    CU_ASSERT_EQUAL(pwrite(fd, "\x08", 1, positions[3] + 7), 1);
    walk_seek(&walk, positions[2], 4);
    CU_ASSERT_EQUAL(walk_next(&walk), WALK_BATCH);
    CU_ASSERT_EQUAL(walk_next(&walk), -BUS_ERR_CORRUPT_MESSAGE);
    CU_ASSERT_EQUAL(walk_skip(&walk, &range, &from), WALK_BATCH);
    CU_ASSERT_EQUAL(from, 6);
    CU_ASSERT_EQUAL(walk.batch_position, positions[4]);
    /* Where compaction leaves holes it passes. */
    walk.holes = true;
    walk_seek(&walk, positions[2], 4);
    CU_ASSERT_EQUAL(walk_next(&walk), WALK_BATCH);
    CU_ASSERT_EQUAL(walk_next(&walk), WALK_BATCH);
    walk_fini(&walk);
    close(fd);
    CU_ASSERT_EQUAL(files_remove_folder(folder), 0);
}

static const struct unit_case cases[] = {
    {"names are told apart", test_names},
    {"a folder is listed in order", test_list},
    {"foreign files are refused", test_foreign_files},
    {"space is reserved and given back", test_reserve},
    {"a full disk gives less or nothing", test_reserve_on_a_full_disk},
    {"a file lives as long as its last reference", test_shared_file},
    {"a walk gives every batch", test_walk},
    {"a walk finds its way behind damage", test_walk_over_damage},
    {"a walk believes no header", test_walk_believes_no_header},
    {NULL, NULL},
};

void
register_files(void)
{
    unit_register("files", cases);
}
