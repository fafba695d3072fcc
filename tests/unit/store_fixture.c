/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/store_fixture.h"

#include "record/batch.h"
#include "record/builder.h"
#include "unit/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

struct fixture_disk fixture_disk;

static bool
on_disk(int fd)
{
    struct statfs status;
    return fstatfs(fd, &status) == 0 && status.f_type != TMPFS_MAGIC;
}

/* These stand before those of the C library, for the whole test program. */
int
fallocate(int fd, int mode, off_t offset, off_t len)
{
    fixture_disk.reservations++;
    if (!(mode & FALLOC_FL_PUNCH_HOLE) && len > fixture_disk.reserved_max)
        fixture_disk.reserved_max = len;
    if (fixture_disk.reserve_fails) {
        errno = EIO;
        return -1;
    }
    if (!(mode & FALLOC_FL_PUNCH_HOLE) && len > 1 << 30) {
        errno = ENOSPC;
        return -1;
    }
    if (fixture_disk.full && !(mode & FALLOC_FL_PUNCH_HOLE) && on_disk(fd)) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

int
fdatasync(int fd)
{
    if (fixture_disk.flush_fails) {
        errno = EIO;
        return -1;
    }
    if (fixture_disk.quick)
        return fcntl(fd, F_GETFD) < 0 ? -1 : 0;
    return (int)syscall(SYS_fdatasync, fd);
}

ssize_t
pread(int fd, void *to, size_t bytes, off_t offset)
{
    struct stat status;
    if (fixture_disk.bad_inode != 0 && fstat(fd, &status) == 0 &&
        status.st_ino == fixture_disk.bad_inode) {
        errno = EIO;
        return -1;
    }
    ssize_t got = syscall(SYS_pread64, fd, to, bytes, offset);
    if (got > 0)
        fixture_disk.bytes_read += got;
    return got;
}

static struct store_checkpoint *
find(struct store_fixture *fixture, const uint8_t *topic_id, int32_t partition)
{
    for (size_t i = 0; i < fixture->checkpoint_count; i++)
        if (memcmp(fixture->checkpoints[i].topic_id, topic_id, STORE_ID_BYTES) == 0 &&
            fixture->checkpoints[i].partition == partition)
            return &fixture->checkpoints[i];
    return NULL;
}

static int
load(void *context, const uint8_t *topic_id, int32_t partition, struct store_checkpoint *checkpoint)
{
    const struct store_checkpoint *found = find(context, topic_id, partition);
    if (!found)
        return STORE_CHECKPOINT_NONE;
    *checkpoint = *found;
    return 0;
}

static int
save(void *context, const struct store_checkpoint *checkpoints, size_t count)
{
    struct store_fixture *fixture = context;
    if (fixture->save_fails)
        return -BUS_ERR_DISK_FULL;
    for (size_t i = 0; i < count; i++) {
        struct store_checkpoint *at =
            find(fixture, checkpoints[i].topic_id, checkpoints[i].partition);
        if (!at && fixture->checkpoint_count < FIXTURE_CHECKPOINTS_MAX)
            at = &fixture->checkpoints[fixture->checkpoint_count++];
        CU_ASSERT_PTR_NOT_NULL_FATAL(at);
        *at = checkpoints[i];
    }
    return 0;
}

static int
drop(void *context, const uint8_t *topic_id, int32_t partition)
{
    struct store_fixture *fixture = context;
    struct store_checkpoint *at = find(fixture, topic_id, partition);
    if (at)
        *at = fixture->checkpoints[--fixture->checkpoint_count];
    return 0;
}

static void
kick(void *context)
{
    ((struct store_fixture *)context)->kicks++;
}

static void
open_store(struct store_fixture *fixture)
{
    struct store_options options = {.data = fixture->data,
        .checkpoints = {.load = load, .save = save, .drop = drop, .context = fixture},
        .kick = kick,
        .context = fixture,
        .append_lock_timeout_ms = 1};
    CU_ASSERT_EQUAL_FATAL(store_open(&options, &fixture->store), 0);
}

void
fixture_init(struct store_fixture *fixture)
{
    *fixture = (struct store_fixture){.options = {.topic = "t",
                                          .topic_id = {7, 7, 7},
                                          .partition = 3,
                                          .flags = SHM_FLAG_FLUSH_ON_ACK,
                                          .max_message_bytes = 100000,
                                          .segment_bytes = 200000,
                                          .preallocate_bytes = 100000,
                                          .index_interval_bytes = 1000,
                                          .segment_ms = 0}};
    snprintf(fixture->data, sizeof fixture->data, "/tmp/shmbus-unit-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(fixture->data));
    open_store(fixture);
}

static int
remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* The instance id as text, which is part of every name in shared memory. */
static void
instance(const struct store_fixture *fixture, char hex[64])
{
    char path[128];
    snprintf(path, sizeof path, "%s/format", fixture->data);
    FILE *file = fopen(path, "r");
    hex[0] = '\0';
    if (file && fscanf(file, "%*s %*s instance %63s", hex) != 1)
        hex[0] = '\0';
    if (file)
        fclose(file);
}

const char *
fixture_memory(const struct store_fixture *fixture)
{
    static char path[128];
    char hex[64];
    instance(fixture, hex);
    snprintf(path, sizeof path, "/dev/shm/shmbus-%s", hex);
    return path;
}

/* Visits what belongs to this data folder in shared memory. */
static int
visit_objects(const struct store_fixture *fixture, bool erase)
{
    char hex[64], path[512];
    instance(fixture, hex);
    DIR *dir = opendir("/dev/shm");
    int count = 0;
    for (struct dirent *entry; hex[0] && (entry = readdir(dir));) {
        if (!strstr(entry->d_name, hex))
            continue;
        snprintf(path, sizeof path, "/dev/shm/%s", entry->d_name);
        count += strstr(entry->d_name, ".ctl") || strstr(entry->d_name, ".bell");
        if (erase)
            nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    }
    closedir(dir);
    return count;
}

int
fixture_objects(const struct store_fixture *fixture)
{
    return visit_objects(fixture, false);
}

void
fixture_fini(struct store_fixture *fixture)
{
    log_close(&fixture->log);
    store_close(&fixture->store);
    visit_objects(fixture, true);
    nftw(fixture->data, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int
fixture_open(struct store_fixture *fixture)
{
    return log_open(fixture->store, &fixture->options, &fixture->log);
}

void
fixture_restart(struct store_fixture *fixture)
{
    log_close(&fixture->log);
    store_close(&fixture->store);
    open_store(fixture);
}

void
fixture_reboot(struct store_fixture *fixture)
{
    log_close(&fixture->log);
    store_close(&fixture->store);
    visit_objects(fixture, true);
    open_store(fixture);
}

void *
fixture_batch(int records, size_t value_bytes, int64_t timestamp, size_t *bytes)
{
    struct batch_builder builder;
    const void *batch;
    char *value = malloc(value_bytes + 1);
    memset(value, 'v', value_bytes + 1);
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, 1 << 20, 1 << 24), 0);
    for (int i = 0; i < records; i++) {
        struct builder_record record = {.ts = timestamp,
            .key = "k",
            .key_bytes = 1,
            .value = value,
            .value_bytes = (int32_t)value_bytes};
        CU_ASSERT_EQUAL(builder_append(&builder, &record), BUILDER_OK);
    }
    CU_ASSERT_EQUAL_FATAL(builder_finish(&builder, &batch, bytes), 0);
    void *copy = malloc(*bytes);
    memcpy(copy, batch, *bytes);
    builder_fini(&builder);
    free(value);
    return copy;
}

int64_t
fixture_append(struct store_fixture *fixture, int records, size_t value_bytes, int64_t timestamp)
{
    size_t bytes;
    void *batch = fixture_batch(records, value_bytes, timestamp, &bytes);
    struct append_batch append = {
        .bytes = batch, .size_bytes = bytes, .offsets = (uint32_t)records};
    struct append_result result;
    int rc = log_append(fixture->log, &append, 1000, &result);
    free(batch);
    return rc < 0 ? rc : rc == LOG_APPENDED ? result.base_offset : -1;
}

void
fixture_serve(struct store_fixture *fixture)
{
    for (int turn = 0; turn < 100; turn++)
        if (store_service(fixture->store, true) == 0)
            return;
    CU_FAIL("the keeper never comes to an end");
}

/* Checks every batch of a slice against the offset it should have. */
static void
check_slice(const struct log_slice *slice, int64_t offset)
{
    struct buf bytes;
    buf_init(&bytes);
    CU_ASSERT_EQUAL(log_slice_copy(slice, &bytes), 0);
    CU_ASSERT_EQUAL(bytes.length, slice->bytes);
    int64_t next = slice->first_offset;
    CU_ASSERT(next <= offset);
    for (size_t at = 0; at < bytes.length;) {
        struct batch_header header;
        CU_ASSERT_EQUAL_FATAL(
            batch_header_read(bytes.data + at, bytes.length - at, &header), BATCH_OK);
        CU_ASSERT_EQUAL(header.base_offset, next);
        CU_ASSERT(batch_crc_ok(bytes.data + at, batch_bytes(&header)));
        next = batch_next_offset(&header);
        at += batch_bytes(&header);
    }
    CU_ASSERT_EQUAL(next, slice->next_offset);
    buf_fini(&bytes);
}

int64_t
fixture_read(struct store_fixture *fixture, int64_t offset)
{
    struct log_read_options options = {.offset = offset, .max_bytes = 5000, .at_least_one = true};
    struct log_slice slice;
    int rc = log_read(fixture->log, &options, &slice);
    if (rc < 0)
        return rc;
    CU_ASSERT_EQUAL(rc, LOG_READ_OK);
    if (slice.bytes > 0)
        check_slice(&slice, offset);
    int64_t next = slice.next_offset;
    log_slice_release(&slice);
    return next;
}

int64_t
fixture_read_all(struct store_fixture *fixture, int64_t offset)
{
    for (;;) {
        int64_t next = fixture_read(fixture, offset);
        if (next < 0 || next == offset)
            return next;
        offset = next;
    }
}

struct log_bounds
fixture_bounds(struct store_fixture *fixture)
{
    struct log_bounds bounds = {0};
    CU_ASSERT_EQUAL(log_bounds(fixture->log, &bounds), 0);
    return bounds;
}

const char *
fixture_path(const struct store_fixture *fixture, const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/topics/%s-%" PRId32 "/%s", fixture->data,
        fixture->options.topic, fixture->options.partition, name);
    return path;
}

void
fixture_damage(
    const struct store_fixture *fixture, const char *name, int64_t position, size_t bytes)
{
    char garbage[4096];
    memset(garbage, 0xa5, sizeof garbage);
    int fd = open(fixture_path(fixture, name), O_WRONLY);
    CU_ASSERT_FATAL(fd >= 0 && bytes <= sizeof garbage);
    CU_ASSERT_EQUAL(pwrite(fd, garbage, bytes, position), (ssize_t)bytes);
    close(fd);
}

int64_t
fixture_nonzero(const struct store_fixture *fixture, const char *name, int64_t position)
{
    FILE *file = fopen(fixture_path(fixture, name), "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fseek(file, position, SEEK_SET);
    int c;
    while ((c = getc(file)) == 0)
        position++;
    fclose(file);
    return c == EOF ? -1 : position;
}

int
fixture_open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

struct shm_control *
fixture_control(const struct store_fixture *fixture)
{
    struct log_attachment attachment;
    CU_ASSERT_EQUAL_FATAL(log_attach(fixture->log, LOG_ACCESS_WRITE, &attachment), 0);
    void *page =
        mmap(NULL, SHM_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, attachment.control, 0);
    CU_ASSERT_PTR_NOT_EQUAL_FATAL(page, MAP_FAILED);
    log_attachment_close(&attachment);
    return page;
}

int64_t
fixture_size(const struct store_fixture *fixture, const char *name)
{
    struct stat status;
    return stat(fixture_path(fixture, name), &status) < 0 ? -1 : status.st_size;
}

int
fixture_count(const struct store_fixture *fixture, const char *suffix)
{
    DIR *dir = opendir(fixture_path(fixture, ""));
    int count = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        size_t n = strlen(entry->d_name), end = strlen(suffix);
        count += n > end && strcmp(entry->d_name + n - end, suffix) == 0;
    }
    if (dir)
        closedir(dir);
    return count;
}
