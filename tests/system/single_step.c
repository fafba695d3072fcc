/* SPDX-License-Identifier: Apache-2.0
 * Fault F3: a producer dies at every instruction of an append, of a roll, and of a loan with its
 * commit.
 *
 * The victim runs under ptrace. For n = 0, 1, 2, … it is single-stepped n instructions into the
 * operation and killed there; then this process, which has the same partition mapped, appends with
 * a short deadline and reads everything back. It must get the lock, no batch may be torn, and the
 * victim's batch is there as a whole or not at all. When the victim gets to the end of its
 * operation alive, every instruction has had its turn.
 */
#include "base/clock.h"
#include "base/err.h"
#include "lib/shm_fixture.h"
#include "record/builder.h"
#include "shm/append.h"
#include "shm/cursor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SEGMENT_BYTES = 16 * 1024, /* small: rolls are among the instructions */
    MARGIN_NS = 2000000000,    /* far longer than a hand-over takes; a lost lock takes for ever */
    STEPS_MAX = 200000,
};

static struct shm_fixture fixture;
static struct shm_partition view;
static struct cursor cursor;
static struct batch_builder builder;
static int64_t ours, theirs; /* batches that the log must hold; that the victims got into it */
static int64_t survived;     /* victims' batches in all set-ups */

_Noreturn static void
fail(const char *what, int64_t step)
{
    printf("not ok - %s at instruction %lld: %s\n", what, (long long)step, err_text());
    exit(1);
}

/* A batch whose value names who wrote it, so that a torn one cannot look whole: the CRC tells. */
static struct append_batch
batch_of(char who)
{
    char value[90];
    memset(value, who, sizeof value);
    struct builder_options options = {.producer_id = -1, .producer_epoch = -1, .base_sequence = -1};
    struct builder_record record = {
        .ts = 1, .key_bytes = -1, .value = value, .value_bytes = sizeof value};
    struct append_batch batch = {.offsets = 1};
    builder_reset(&builder, &options);
    if (builder_append(&builder, &record) < 0 ||
        builder_finish(&builder, &batch.bytes, &batch.size_bytes) < 0)
        fail("building a batch", 0);
    return batch;
}

static void
victim_append(const struct append_batch *batch)
{
    struct append_result result;
    shm_append(&view, batch, INT64_MAX, &result);
}

static void
victim_roll(const struct append_batch *batch)
{
    shm_roll(&view, INT64_MAX);
    victim_append(batch);
}

static void
victim_loan(const struct append_batch *batch)
{
    struct append_loan loan;
    if (shm_loan_begin(&view, batch->size_bytes, INT64_MAX, &loan) != APPEND_DONE)
        return;
    memcpy(loan.bytes, batch->bytes, batch->size_bytes);
    batch_patch(loan.bytes, loan.base_offset, loan.leader_epoch);
    shm_loan_commit(&view, &loan, 1);
}

static pid_t
start_victim(void (*operation)(const struct append_batch *))
{
    struct append_batch batch = batch_of('v');
    pid_t victim = fork();
    if (victim == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        operation(&batch);
        raise(SIGSTOP);
        _exit(0);
    }
    waitpid(victim, NULL, 0);
    return victim;
}

/* Steps; true when the victim came to the end of the operation. */
static bool
step(pid_t victim, int64_t steps)
{
    for (int64_t i = 0; i < steps; i++) {
        int status;
        ptrace(PTRACE_SINGLESTEP, victim, NULL, NULL);
        waitpid(victim, &status, 0);
        if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP)
            return true;
    }
    return false;
}

static void
keep_a_spare(int64_t at)
{
    struct shm_tail tail;
    if (shm_partition_tail(&view, &tail) < 0)
        fail("the tail", at);
    shm_fixture_close(&fixture, tail.seq, &tail);
    fixture.segments[tail.seq].next_offset = -1;
    if (!tail.has_spare && fixture.segment_count < FIXTURE_SEGMENTS_MAX &&
        shm_fixture_spare(&fixture, &view) < 0)
        fail("the spare", at);
}

/* Another producer goes on at once, and every batch is whole. */
static void
go_on_and_check(int64_t at)
{
    struct append_batch batch = batch_of('o');
    struct append_result result;
    int rc = shm_append(&view, &batch, clock_mono_ns() + MARGIN_NS, &result);
    if (rc == APPEND_NO_ROOM) {
        keep_a_spare(at);
        rc = shm_append(&view, &batch, clock_mono_ns() + MARGIN_NS, &result);
    }
    if (rc != APPEND_DONE)
        fail("the lock was not handed over", at);
    int64_t seen_ours = 0;
    const uint8_t *bytes;
    struct batch_header header;
    while ((rc = cursor_next(&cursor, &bytes, &header)) == CURSOR_BATCH) {
        if (!batch_crc_ok(bytes, batch_bytes(&header)))
            fail("a torn batch was read", at);
        bool is_ours = bytes[BATCH_HEADER_BYTES + 20] == 'o';
        seen_ours += is_ours;
        theirs += !is_ours;
        survived += !is_ours;
        ours += is_ours;
    }
    if (rc != CURSOR_EMPTY || seen_ours != 1 || cursor.offset != ours + theirs)
        fail("a batch is missing or double", at);
    keep_a_spare(at);
}

static void
set_up(void)
{
    struct shm_fixture_options options = {
        .segment_bytes = SEGMENT_BYTES, .max_message_bytes = 4096};
    ours = theirs = 0;
    if (shm_fixture_init(&fixture, &options) < 0 || shm_fixture_view(&fixture, true, &view) < 0 ||
        builder_init(&builder, 4096, 4096) < 0)
        fail("set-up", 0);
    cursor_init(&cursor, &view, 0, CURSOR_UNCOMMITTED);
    keep_a_spare(0);
}

static void
tear_down(void)
{
    cursor_fini(&cursor);
    builder_fini(&builder);
    shm_partition_fini(&view);
    shm_fixture_fini(&fixture);
}

static void
kill_at_every_instruction(const char *name, void (*operation)(const struct append_batch *))
{
    bool finished = false;
    int64_t steps = 0;
    survived = 0;
    set_up();
    go_on_and_check(0); /* the pages are in, so that stepping is not spent on page faults */
    while (!finished && steps < STEPS_MAX) {
        if (fixture.segment_count >= FIXTURE_SEGMENTS_MAX - 1) {
            tear_down();
            set_up();
        }
        pid_t victim = start_victim(operation);
        finished = step(victim, steps);
        kill(victim, SIGKILL);
        waitpid(victim, NULL, 0);
        go_on_and_check(steps);
        steps++;
    }
    printf("%s - %s: killed at each of %lld instructions, the others went on\n",
        finished && survived > 0 ? "ok" : "not ok", name, (long long)steps);
    tear_down();
}

int
main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    kill_at_every_instruction("append", victim_append);
    kill_at_every_instruction("roll and append", victim_roll);
    kill_at_every_instruction("loan and commit", victim_loan);
    return 0;
}
