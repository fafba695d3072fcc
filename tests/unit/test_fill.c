/* SPDX-License-Identifier: Apache-2.0
 * Which logs get zeros ahead of their tail.
 */
#include "base/clock.h"
#include "shm/control.h"
#include "store/private.h"
#include "unit/store_fixture.h"
#include "unit/unit.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>

enum {
    SEGMENT_BYTES = 16 * 1024 * 1024,
    MARK = 1024 * 1024, /* where rubbish lies, behind the tail */
    FAST_BYTES = 100000,
};

static const char segment_name[] = "00000000000000000000.log";

static struct store_fixture fixture;

static void
set_up(uint32_t flags)
{
    fixture_init(&fixture);
    fixture.options.segment_bytes = fixture.options.preallocate_bytes = SEGMENT_BYTES;
    fixture.options.max_message_bytes = MARK;
    fixture.options.flags = flags;
    CU_ASSERT_EQUAL_FATAL(fixture_open(&fixture), 0);
    CU_ASSERT(fixture_append(&fixture, 1, 10, 1) >= 0);
    CU_ASSERT_EQUAL_FATAL(room_reserve(fixture.log, SEGMENT_BYTES / 2), 0);
    fixture_serve(&fixture);
    fixture_damage(&fixture, segment_name, MARK, 1);
    CU_ASSERT_EQUAL(fixture_nonzero(&fixture, segment_name, MARK), MARK);
}

static bool
serve_once(void)
{
    bool more;
    CU_ASSERT_EQUAL(log_service(fixture.log, &more), 0);
    return more;
}

/* Somebody appends, and somebody flushes for those who wait. */
static void
append_and_flush(void)
{
    struct shm_control *control = &fixture.log->generation->view.control[0];
    CU_ASSERT(fixture_append(&fixture, 1, 10, 1) >= 0);
    atomic_fetch_add(&control->flush_turn, 1);
}

static void
test_flushed_log(void)
{
    set_up(SHM_FLAG_FLUSH_ON_ACK);
    append_and_flush();
    CU_ASSERT_TRUE(serve_once());
    CU_ASSERT_EQUAL(fixture_nonzero(&fixture, segment_name, MARK), -1);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 2);
    fixture_fini(&fixture);
}

static void
test_slow_log(void)
{
    set_up(SHM_FLAG_FLUSH_ON_ACK);
    CU_ASSERT(fixture_append(&fixture, 1, 10, 1) >= 0);
    fixture_serve(&fixture);
    CU_ASSERT_EQUAL(fixture_nonzero(&fixture, segment_name, MARK), MARK);
    fixture_fini(&fixture);
}

static void
test_log_that_does_not_flush(void)
{
    set_up(0);
    append_and_flush();
    fixture_serve(&fixture);
    CU_ASSERT_EQUAL(fixture_nonzero(&fixture, segment_name, MARK), MARK);
    fixture_fini(&fixture);
}

/* A look that lies ahead: it counts as growth of the last millisecond. */
static void
test_fast_log(void)
{
    set_up(0);
    CU_ASSERT(fixture_append(&fixture, 1, FAST_BYTES, 1) >= 0);
    fixture.log->fill.looked_ns = clock_mono_ns() + INT64_C(60000000000);
    CU_ASSERT_TRUE(log_fill(fixture.log));
    CU_ASSERT_EQUAL(fixture_nonzero(&fixture, segment_name, MARK), -1);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 2);
    fixture_fini(&fixture);
}

/* The keeper's other work goes on. */
static void
test_failure_harms_nobody(void)
{
    struct rlimit old, small = {.rlim_cur = 64 * 1024};
    set_up(SHM_FLAG_FLUSH_ON_ACK);
    append_and_flush();
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_FSIZE, &small), 0);
    serve_once();
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    CU_ASSERT_EQUAL(fixture_nonzero(&fixture, segment_name, MARK), MARK);
    CU_ASSERT_EQUAL(fixture_read_all(&fixture, 0), 2);
    fixture_fini(&fixture);
}

static const struct unit_case cases[] = {
    {"a log that is flushed for those who wait gets zeros", test_flushed_log},
    {"a log that grows slowly goes without", test_slow_log},
    {"so does one whose topic does not flush", test_log_that_does_not_flush},
    {"a log that grows fast gets zeros", test_fast_log},
    {"not to get them harms nobody", test_failure_harms_nobody},
    {NULL, NULL},
};

void
register_fill(void)
{
    unit_register("fill", cases);
}
