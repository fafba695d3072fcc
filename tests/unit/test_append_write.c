/* SPDX-License-Identifier: Apache-2.0
 * The two ways of a batch into the log, and zeros ahead of it.
 */
#include "base/clock.h"
#include "base/err.h"
#include "lib/shm_fixture.h"
#include "record/batch.h"
#include "record/builder.h"
#include "shm/append.h"
#include "shm/cursor.h"
#include "shm/fill.h"
#include "shm/lock.h"
#include "unit/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SEGMENT_BYTES = 256 * 1024, LARGE_BYTES = 40000, PAGE_BYTES = 4096 };

static struct shm_fixture fixture;
static struct shm_partition writer, reader;
static struct cursor cursor;
static int writes;          /* calls of pwritev() */
static int write_errnum;    /* they fail with it; 0: they work */
static ssize_t write_short; /* this many bytes are missing from what they write */

/* In the place of the C library's, to see the calls. */
ssize_t
pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    writes++;
    if (write_errnum) {
        errno = write_errnum;
        return -1;
    }
    return syscall(SYS_pwritev, fd, parts, count, at, 0) - write_short;
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
        .flags = flags, .segment_bytes = SEGMENT_BYTES, .max_message_bytes = SEGMENT_BYTES};
    writes = write_errnum = 0;
    write_short = 0;
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

/* Appends one record whose value is `size` times `letter`. */
static int
append(char letter, size_t size, bool flush, struct append_result *result)
{
    static char value[SEGMENT_BYTES];
    struct batch_builder builder;
    struct builder_options options = {.producer_id = -1, .producer_epoch = -1, .base_sequence = -1};
    struct builder_record record = {
        .ts = 7, .key_bytes = -1, .value = value, .value_bytes = (int32_t)size};
    struct append_batch batch = {.offsets = 1, .flush = flush};
    memset(value, letter, size);
    CU_ASSERT_EQUAL_FATAL(builder_init(&builder, SEGMENT_BYTES, SEGMENT_BYTES), 0);
    builder_reset(&builder, &options);
    CU_ASSERT_EQUAL(builder_append(&builder, &record), 0);
    CU_ASSERT_EQUAL(builder_finish(&builder, &batch.bytes, &batch.size_bytes), 0);
    int rc = shm_append(&writer, &batch, in_ms(10000), result);
    builder_fini(&builder);
    return rc;
}

/* Reads the next batch: one record at `offset`, `size` times `letter`. */
static void
expect(int64_t offset, char letter, size_t size)
{
    const uint8_t *bytes;
    struct batch_header header;
    struct batch_iter iter;
    struct record record = {0};
    CU_ASSERT_EQUAL_FATAL(cursor_next(&cursor, &bytes, &header), CURSOR_BATCH);
    CU_ASSERT_EQUAL(header.base_offset, offset);
    CU_ASSERT(batch_crc_ok(bytes, batch_bytes(&header)));
    CU_ASSERT_EQUAL_FATAL(batch_iter_init(&iter, bytes, batch_bytes(&header), &header, NULL, 0), 0);
    CU_ASSERT_EQUAL_FATAL(batch_iter_next(&iter, &record), 1);
    CU_ASSERT_EQUAL_FATAL(record.value_bytes, (int32_t)size);
    const uint8_t *value = record.value;
    CU_ASSERT_EQUAL(value[0], letter);
    CU_ASSERT_EQUAL(memcmp(value, value + 1, size - 1), 0);
}

static void
test_ways(void)
{
    struct append_result result;
    set_up(SHM_FLAG_FLUSH_ON_ACK);
    CU_ASSERT_EQUAL(append('a', 10, false, &result), APPEND_DONE);
    CU_ASSERT_EQUAL(writes, 0);
    CU_ASSERT_EQUAL(append('b', 10, true, &result), APPEND_DONE);
    CU_ASSERT_EQUAL(writes, 1);
    CU_ASSERT_EQUAL(append('c', LARGE_BYTES, false, &result), APPEND_DONE);
    CU_ASSERT_EQUAL(writes, 2);
    CU_ASSERT_EQUAL(append('d', 10, false, &result), APPEND_DONE);
    CU_ASSERT_EQUAL(writes, 2);
    CU_ASSERT_EQUAL(result.base_offset, 3);
    expect(0, 'a', 10);
    expect(1, 'b', 10);
    expect(2, 'c', LARGE_BYTES);
    expect(3, 'd', 10);
    tear_down();
}

static void
test_no_flush_no_write(void)
{
    struct append_result result;
    set_up(0);
    CU_ASSERT_EQUAL(append('a', 10, true, &result), APPEND_DONE);
    CU_ASSERT_EQUAL(writes, 0);
    tear_down();
    set_up(SHM_FLAG_FLUSH_ON_ACK | SHM_FLAG_MEMORY);
    CU_ASSERT_EQUAL(append('a', 10, true, &result), APPEND_DONE);
    CU_ASSERT_EQUAL(writes, 0);
    tear_down();
}

static void
test_log_append_time(void)
{
    const uint8_t *bytes;
    struct batch_header header;
    struct append_result result;
    set_up(SHM_FLAG_FLUSH_ON_ACK | SHM_FLAG_LOG_APPEND_TIME);
    for (int i = 0; i < 2; i++) {
        int64_t before_ms = clock_wall_ms();
        CU_ASSERT_EQUAL(append('a', i == 0 ? 10 : LARGE_BYTES, true, &result), APPEND_DONE);
        CU_ASSERT_EQUAL(writes, i + 1);
        CU_ASSERT(result.log_append_time_ms >= before_ms);
        CU_ASSERT_EQUAL_FATAL(cursor_next(&cursor, &bytes, &header), CURSOR_BATCH);
        CU_ASSERT_EQUAL(header.max_timestamp, result.log_append_time_ms);
        CU_ASSERT(header.attributes & BATCH_ATTR_LOG_APPEND);
        CU_ASSERT(batch_crc_ok(bytes, batch_bytes(&header)));
    }
    tear_down();
}

static void
test_failed_write(void)
{
    struct append_result result;
    const uint8_t *bytes;
    struct batch_header header;
    set_up(SHM_FLAG_FLUSH_ON_ACK);
    write_errnum = EIO;
    CU_ASSERT(append('a', 10, true, &result) < 0);
    write_errnum = ENOSPC;
    CU_ASSERT_EQUAL(append('a', 10, true, &result), -BUS_ERR_DISK_FULL);
    write_errnum = 0;
    write_short = 1;
    CU_ASSERT_EQUAL(append('a', 10, true, &result), -BUS_ERR_DISK_FULL);
    write_short = 0;
    CU_ASSERT_EQUAL(cursor_next(&cursor, &bytes, &header), CURSOR_EMPTY);
    CU_ASSERT_EQUAL(append('b', 10, true, &result), APPEND_DONE);
    CU_ASSERT_EQUAL(result.base_offset, 0);
    expect(0, 'b', 10);
    tear_down();
}

/* The kernel would kill a process that writes beyond its limit. */
static void
test_limit_on_file_sizes(void)
{
    struct append_result result;
    struct rlimit old, small = {.rlim_cur = PAGE_BYTES};
    set_up(SHM_FLAG_FLUSH_ON_ACK);
    shm_partition_fini(&writer);
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &small), 0);
    CU_ASSERT_EQUAL_FATAL(shm_fixture_view(&fixture, true, &writer), 0);
    CU_ASSERT_EQUAL(append('a', LARGE_BYTES, true, &result), APPEND_DONE);
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &old), 0);
    CU_ASSERT_EQUAL(writes, 0);
    expect(0, 'a', LARGE_BYTES);
    tear_down();
}

static void
test_fill_spares_what_was_appended(void)
{
    struct append_result result;
    struct shm_tail tail;
    set_up(0);
    CU_ASSERT_EQUAL(append('a', 10, false, &result), APPEND_DONE);
    CU_ASSERT_EQUAL_FATAL(shm_partition_tail(&writer, &tail), 0);
    uint8_t *bytes = writer.segments[0]->bytes;
    memset(bytes + PAGE_BYTES, 'x', 3 * PAGE_BYTES);
    struct fill_range range = {.until = 3 * PAGE_BYTES, .fd = writer.segments[0]->fd};
    CU_ASSERT_EQUAL(shm_fill(&writer, &range, in_ms(10000)), FILL_DONE);
    for (size_t i = tail.position; i < range.until; i++)
        CU_ASSERT_EQUAL_FATAL(bytes[i], 0);
    CU_ASSERT_EQUAL(bytes[range.until], 'x');
    range.from = range.until + PAGE_BYTES / 2; /* a range of its own, behind a gap */
    range.until = 4 * PAGE_BYTES;
    CU_ASSERT_EQUAL(shm_fill(&writer, &range, in_ms(10000)), FILL_DONE);
    CU_ASSERT_EQUAL(bytes[range.from - 1], 'x');
    CU_ASSERT_EQUAL(bytes[range.from], 0);
    expect(0, 'a', 10);
    tear_down();
}

static void
test_fill_not_now(void)
{
    set_up(0);
    struct shm_segment *segment;
    CU_ASSERT_EQUAL_FATAL(shm_partition_segment(&writer, 0, &segment), 0);
    struct fill_range range = {.until = PAGE_BYTES, .fd = segment->fd};
    struct fill_range other = range, beyond = range;
    other.seq = 1;
    beyond.until = SEGMENT_BYTES + 1;
    CU_ASSERT_EQUAL(shm_fill(&writer, &other, in_ms(10000)), FILL_NOT_NOW);
    CU_ASSERT_EQUAL(shm_fill(&writer, &beyond, in_ms(10000)), FILL_NOT_NOW);
    CU_ASSERT_EQUAL(shm_lock(&writer.control->append_lock, in_ms(10000)), SHM_LOCK_TAKEN);
    CU_ASSERT_EQUAL(shm_fill(&writer, &range, in_ms(1)), FILL_NOT_NOW);
    shm_unlock(&writer.control->append_lock);
    CU_ASSERT_EQUAL(shm_fill(&writer, &range, in_ms(10000)), FILL_DONE);
    range.fd = -1;
    CU_ASSERT(shm_fill(&writer, &range, in_ms(10000)) < 0);
    CU_ASSERT_EQUAL(atomic_load(&writer.control->append_lock), 0);
    tear_down();
}

static const struct unit_case cases[] = {
    {"large batches, and those to be flushed, go by a system call", test_ways},
    {"nothing is written that way for a flush that does not come", test_no_flush_no_write},
    {"LogAppendTime is stamped on that way too", test_log_append_time},
    {"a write that fails publishes nothing", test_failed_write},
    {"a limit on file sizes kills nobody", test_limit_on_file_sizes},
    {"zeros spare what was appended", test_fill_spares_what_was_appended},
    {"zeros only ahead of the tail, below the limit, under the lock", test_fill_not_now},
    {NULL, NULL},
};

void
register_append_write(void)
{
    unit_register("append_write", cases);
}
