/* SPDX-License-Identifier: Apache-2.0
 * Faults F3 and F4: a producer dies, or is stopped and evicted, at every instruction of an append,
 * of a roll, of a loan with its commit, and of a flush.
 *
 * The victim runs under ptrace. For n = 0, 1, 2, … it is single-stepped n instructions into the
 * operation. When it gets to the end of it alive, every instruction has had its turn.
 *
 * Killed there: this process, which has the same partition mapped, appends and flushes with a short
 * deadline and reads everything back. It must get the locks, no batch may be torn, and the victim's
 * batch is there as a whole or not at all.
 *
 * Evicted there: the generation is fenced, then the victim goes on to the end. What is published no
 * longer moves, and the victim believes that it appended exactly if its batch is there.
 *
 * Overtaken there: the victim looks at the tail while the log and its reservation grow. What it
 * sees must make sense.
 */
#include "base/clock.h"
#include "base/err.h"
#include "lib/shm_fixture.h"
#include "record/builder.h"
#include "shm/append.h"
#include "shm/cursor.h"
#include "shm/flush.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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
static int *told;            /* what the operation returned to the victim; shared with it */

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
    *told = shm_append(&view, batch, INT64_MAX, &result);
}

/* The way that goes through pwrite(). */
static void
victim_write(const struct append_batch *batch)
{
    struct append_batch flushed = *batch;
    flushed.flush = true;
    victim_append(&flushed);
}

static void
victim_roll(const struct append_batch *batch)
{
    (void)batch;
    *told = shm_roll(&view, INT64_MAX);
}

static void
victim_roll_and_append(const struct append_batch *batch)
{
    victim_roll(batch);
    victim_append(batch);
}

static void
victim_loan(const struct append_batch *batch)
{
    struct append_loan loan;
    *told = shm_loan_begin(&view, batch->size_bytes, INT64_MAX, &loan);
    if (*told != APPEND_DONE)
        return;
    memcpy(loan.bytes, batch->bytes, batch->size_bytes);
    batch_patch(loan.bytes, loan.base_offset, loan.leader_epoch);
    *told = shm_loan_commit(&view, &loan, 1);
}

static void
victim_flush(const struct append_batch *batch)
{
    (void)batch;
    *told = shm_flush(&view, cursor.offset, INT64_MAX);
}

static void
victim_look(const struct append_batch *batch)
{
    struct shm_tail tail;
    (void)batch;
    *told = shm_partition_tail(&view, &tail);
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
    if (shm_flush(&view, cursor.offset, clock_mono_ns() + MARGIN_NS) != FLUSH_DONE)
        fail("the flush was not handed over", at);
    keep_a_spare(at);
}

static void
set_up(void)
{
    struct shm_fixture_options options = {
        .flags = SHM_FLAG_FLUSH_ON_ACK, .segment_bytes = SEGMENT_BYTES, .max_message_bytes = 4096};
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
    bool finished = false, appends = operation != victim_flush;
    int64_t steps = 0;
    survived = 0;
    set_up();
    go_on_and_check(0); /* the pages are in, so that stepping is not spent on page faults */
    while (!finished && steps < STEPS_MAX) {
        if (fixture.segment_count >= FIXTURE_SEGMENTS_MAX - 1) {
            tear_down();
            set_up();
            go_on_and_check(steps);
        }
        /* There is something to flush. */
        atomic_store(&view.control->durable_offset, cursor.offset - 1);
        pid_t victim = start_victim(operation);
        finished = step(victim, steps);
        kill(victim, SIGKILL);
        waitpid(victim, NULL, 0);
        go_on_and_check(steps);
        steps++;
    }
    printf("%s - %s: killed at each of %lld instructions, the others went on\n",
        finished && (survived > 0 || !appends) ? "ok" : "not ok", name, (long long)steps);
    tear_down();
}

/* Lets the victim go on to the end of its operation, and ends it there. */
static void
let_finish(pid_t victim, bool finished, int64_t at)
{
    int status;
    if (!finished) {
        ptrace(PTRACE_CONT, victim, NULL, NULL);
        waitpid(victim, &status, 0);
        if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGSTOP)
            fail("the victim did not come to its end", at);
    }
    kill(victim, SIGKILL);
    waitpid(victim, NULL, 0);
}

/* Reads the whole generation; true when the victim's batch is in it. */
static bool
read_to_the_fence(int64_t at)
{
    const uint8_t *bytes;
    struct batch_header header;
    bool found = false;
    int rc;
    while ((rc = cursor_next(&cursor, &bytes, &header)) == CURSOR_BATCH) {
        if (!batch_crc_ok(bytes, batch_bytes(&header)))
            fail("a late write reached a reader", at);
        found |= bytes[BATCH_HEADER_BYTES + 20] == 'v';
    }
    if (rc != CURSOR_FENCED)
        fail("the generation has no end", at);
    return found;
}

/* One eviction, in a generation of its own. True when the victim had finished before. */
static bool
evict_at(void (*operation)(const struct append_batch *), int64_t at)
{
    uint64_t published[SHM_SLOTS];
    set_up();
    go_on_and_check(at);
    *told = 1;
    pid_t victim = start_victim(operation);
    bool finished = step(victim, at);
    shm_fence(&view, SHM_STATE_FENCED);
    for (int i = 0; i < SHM_SLOTS; i++)
        published[i] = atomic_load(&view.control->slots[i].published);
    let_finish(victim, finished, at);
    for (int i = 0; i < SHM_SLOTS; i++)
        if (atomic_load(&view.control->slots[i].published) != published[i])
            fail("the published end moved behind the fence", at);
    bool found = read_to_the_fence(at);
    if (operation != victim_roll && found != (*told == APPEND_DONE))
        fail("the victim was told something else than what happened", at);
    survived += found;
    tear_down();
    return finished;
}

static void
evict_at_every_instruction(const char *name, void (*operation)(const struct append_batch *))
{
    int64_t steps = 0;
    survived = 0;
    while (!evict_at(operation, steps) && steps < STEPS_MAX)
        steps++;
    bool both = operation == victim_roll || (survived > 0 && survived <= steps);
    printf("%s - %s: evicted at each of %lld instructions, late writes reached nobody\n",
        steps < STEPS_MAX && both ? "ok" : "not ok", name, (long long)steps);
}

static void
overtake_at_every_instruction(void)
{
    bool finished = false;
    int64_t steps = 0;
    set_up();
    struct shm_slot *slot = &view.control->slots[0];
    while (!finished && steps < STEPS_MAX) {
        atomic_store(&slot->published, SHM_PUBLISHED(1000, 10));
        atomic_store(&slot->limit, 1000);
        pid_t victim = start_victim(victim_look);
        finished = step(victim, steps);
        atomic_store(&slot->limit, 2000);
        atomic_store(&slot->published, SHM_PUBLISHED(2000, 20));
        let_finish(victim, finished, steps);
        if (*told != 0)
            fail("a tail that moved on was taken for damage", steps);
        steps++;
    }
    printf("%s - look: overtaken at each of %lld instructions\n", finished ? "ok" : "not ok",
        (long long)steps);
    tear_down();
}

int
main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *sanitized = getenv("SANITIZED");
    if (sanitized && strcmp(sanitized, "yes") == 0) {
        puts("the steps of a sanitizer between our own are too many");
        return 77;
    }
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (told == MAP_FAILED)
        fail("set-up", 0);
    overtake_at_every_instruction();
    kill_at_every_instruction("append", victim_append);
    kill_at_every_instruction("append by pwrite", victim_write);
    kill_at_every_instruction("roll and append", victim_roll_and_append);
    kill_at_every_instruction("loan and commit", victim_loan);
    kill_at_every_instruction("flush", victim_flush);
    evict_at_every_instruction("append", victim_append);
    evict_at_every_instruction("append by pwrite", victim_write);
    evict_at_every_instruction("roll", victim_roll);
    evict_at_every_instruction("loan and commit", victim_loan);
    return 0;
}
