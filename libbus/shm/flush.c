/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/flush.h"

#include "base/clock.h"
#include "base/err.h"
#include "shm/append.h"
#include "shm/lock.h"
#include "shm/wait.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    TURN_MS = 20,       /* a wait is cut, since the one who flushes may have died */
    QUIET_NS = 30000,   /* who was woken and has not appended by then is not waited for */
    GATHER_NS = 150000, /* nobody is waited for longer, whatever the page says */
    BYPASS_MS = 2000,   /* a flush that takes longer is done again by those who wait */
};

int64_t
shm_durable_offset(const struct shm_partition *view)
{
    /* Acquire: pairs with raise_durable(). */
    return atomic_load_explicit(&view->control->durable_offset, memory_order_acquire);
}

static void
raise_durable(struct shm_partition *view, int64_t offset)
{
    _Atomic int64_t *durable = &view->control->durable_offset;
    int64_t seen = atomic_load_explicit(durable, memory_order_relaxed);
    /* Seq_cst: the release pairs with shm_durable_offset(); the total order with wait.c's flag
     * makes sure that shm_wake() sees a reader who sleeps until the offset moves. */
    while (seen < offset && !atomic_compare_exchange_weak_explicit(durable, &seen, offset,
                                memory_order_seq_cst, memory_order_relaxed)) {
    }
}

static int
check_state(const struct shm_control *control)
{
    /* Acquire: pairs with the store in shm_fence(). */
    switch (atomic_load_explicit(&control->state, memory_order_acquire)) {
    case SHM_STATE_OPEN:
        return 0;
    case SHM_STATE_DELETED:
        return err_set(BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION, "the topic was deleted");
    case SHM_STATE_FENCED:
    default: /* damage, which busd answers with a new generation */
        return FLUSH_FENCED;
    case SHM_STATE_OFFLINE:
        return err_set(BUS_ERR_KAFKA_STORAGE_ERROR,
            "the partition is offline: a flush failed or its data is damaged; see busd's log");
    }
}

/* A failed flush is final: the kernel may have dropped the pages, and tells it only once. */
static int
sync_failed(struct shm_partition *view)
{
    int rc = err_sys(errno, "flush a segment");
    shm_fence(view, SHM_STATE_OFFLINE);
    err_prefix(rc, "the partition goes offline, since a failed flush cannot be repeated");
    return -BUS_ERR_KAFKA_STORAGE_ERROR;
}

/* The oldest segment with a slot that is not flushed yet; *all: nothing older is without. */
static int64_t
first_dirty(
    const struct shm_partition *view, int64_t durable, const struct shm_tail *tail, bool *all)
{
    int64_t first = tail->seq, base_offset = tail->base_offset;
    struct shm_tail older;
    while (base_offset > durable && first > 0 && tail->seq - first < SHM_SLOTS - 1 &&
           shm_slot_read(view->control, first - 1, &older)) {
        base_offset = older.base_offset;
        first--;
    }
    *all = base_offset <= durable;
    return first;
}

/* The active segment by now. Acquire: pairs with append.c's advance(). */
static int64_t
newest(const struct shm_partition *view)
{
    return atomic_load_explicit(&view->control->active_seq, memory_order_acquire);
}

/* Syncs the segments from the durable offset to the tail, the oldest first. Where the log rolled
 * away over more segments than there are slots, only busd knows the oldest: so all of the file
 * system is flushed, and after it the last segments, which also empties the cache of the disk. */
static int
sync_segments(struct shm_partition *view, int64_t durable, const struct shm_tail *tail)
{
    bool all;
    for (int64_t seq = first_dirty(view, durable, tail, &all); seq <= tail->seq; seq++) {
        struct shm_segment *segment;
        int rc = shm_partition_segment(view, seq, &segment);
        /* Retention was faster than any flush: what is gone needs none. */
        if (rc == -BUS_ERR_RESOURCE_NOT_FOUND && seq < newest(view))
            continue;
        if (rc < 0)
            return rc;
        if ((!all && syncfs(segment->fd) < 0) || fdatasync(segment->fd) < 0)
            return sync_failed(view);
        all = true;
    }
    return 0;
}

/* Those whom the last flush woke come back with their next batches at once, often. To let them join
 * this flush makes groups twice as large: else they would be the next, while these are on disk. */
static void
gather(const struct shm_partition *view)
{
    struct shm_tail tail;
    int64_t seen = -1, now_ns = clock_mono_ns();
    int64_t quiet_ns = now_ns, until_ns = now_ns + GATHER_NS;
    int64_t expected = atomic_load_explicit(&view->control->flush_expected, memory_order_relaxed);
    while (
        now_ns < until_ns && shm_partition_tail(view, &tail) == 0 && tail.end_offset < expected) {
        if (tail.end_offset != seen)
            quiet_ns = now_ns + QUIET_NS;
        else if (now_ns >= quiet_ns)
            break;
        seen = tail.end_offset;
        sched_yield();
        now_ns = clock_mono_ns();
    }
}

/* The bit of the futex on which those sleep whom this flush will serve. */
static uint32_t
bit_of(uint32_t turn)
{
    return UINT32_C(1) << turn % 32;
}

/* One flush, up to the tail. The state is looked at behind it: what a source gave after the end of
 * the generation may be another segment, and what failed for somebody else may have succeeded here
 * only because the pages were gone. */
static int
flush_now(struct shm_partition *view, int64_t offset, struct shm_tail *tail)
{
    int rc = shm_partition_tail(view, tail);
    if (rc < 0)
        return rc;
    if (tail->end_offset < offset)
        return err_set(BUS_ERR_OFFSET_OUT_OF_RANGE,
            "the log ends at offset %lld, before the records that are to be flushed, up to %lld",
            (long long)tail->end_offset, (long long)offset);
    rc = sync_segments(view, shm_durable_offset(view), tail);
    if (rc == 0)
        rc = check_state(view->control);
    if (rc == 0)
        raise_durable(view, tail->end_offset);
    return rc;
}

/* Wakes those who slept until the end of flush number `turn`, and of those who came meanwhile one,
 * who will find the lock free and flush for them. Returns how many had been waiting. */
static long
wake_served(struct shm_control *control, uint32_t turn)
{
    _Atomic uint32_t *word = &control->durable_seq;
    /* Release: pairs with the acquire in shm_flush(). */
    atomic_fetch_add_explicit(word, 1, memory_order_release);
    long served = syscall(SYS_futex, word, FUTEX_WAKE_BITSET, INT_MAX, NULL, NULL, bit_of(turn));
    syscall(SYS_futex, word, FUTEX_WAKE_BITSET, 1, NULL, NULL, bit_of(turn + 1));
    return served;
}

/* One flush under the lock. */
static int
flush_locked(struct shm_partition *view, int64_t offset)
{
    struct shm_control *control = view->control;
    struct shm_tail tail, later;
    gather(view);
    int64_t before = shm_durable_offset(view);
    /* Seq_cst: who read the number before it grew had appended before, and the look at the tail
     * that follows sees that. Where a processor lets that look overtake, somebody sleeps for
     * TURN_MS. */
    uint32_t turn = atomic_fetch_add_explicit(&control->flush_turn, 1, memory_order_seq_cst) + 1;
    int rc = flush_now(view, offset, &tail);
    shm_unlock(&control->flush_lock);
    long served = wake_served(control, turn);
    bool again = rc == 0 && served > 0 && shm_partition_tail(view, &later) == 0;
    atomic_store_explicit(&control->flush_expected,
        again ? later.end_offset + (tail.end_offset - before) : 0, memory_order_relaxed);
    shm_wake(view);
    return rc;
}

/* One flush without the lock, beside one that takes too long. */
static int
flush_beside(struct shm_partition *view, int64_t offset)
{
    struct shm_tail tail;
    int rc = flush_now(view, offset, &tail);
    wait_word_wake(&view->control->durable_seq);
    shm_wake(view);
    return rc;
}

static void
sleep_until_flushed(struct shm_partition *view, uint32_t seen, uint32_t turn, int64_t deadline_ns)
{
    int64_t until_ns = clock_mono_ns() + TURN_MS * INT64_C(1000000);
    if (deadline_ns < until_ns)
        until_ns = deadline_ns;
    struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
    syscall(SYS_futex, &view->control->durable_seq, FUTEX_WAIT_BITSET, seen, &until, NULL,
        bit_of(turn));
}

/* Whoever was woken to begin the next flush and does not begin it wakes another one. */
static int
leave(struct shm_control *control, uint32_t turn, int outcome)
{
    /* Relaxed: at worst somebody is woken in vain, or sleeps until the end of his TURN_MS. */
    if (atomic_load_explicit(&control->flush_turn, memory_order_relaxed) == turn - 1)
        syscall(SYS_futex, &control->durable_seq, FUTEX_WAKE_BITSET, 1, NULL, NULL, bit_of(turn));
    return outcome;
}

int
shm_flush(struct shm_partition *view, int64_t offset, int64_t deadline_ns)
{
    struct shm_control *control = view->control;
    if (atomic_load_explicit(&control->flags, memory_order_relaxed) & SHM_FLAG_MEMORY)
        return FLUSH_DONE;
    int64_t bypass_ns = clock_mono_ns() + BYPASS_MS * INT64_C(1000000);
    uint32_t slept = 0; /* until the end of this flush; 0: not at all */
    for (;;) {
        /* Acquire: pairs with wake_served(); noted before the look at the offset. */
        uint32_t seen = atomic_load_explicit(&control->durable_seq, memory_order_acquire);
        /* The next flush to begin takes in what we appended. Seq_cst: see flush_locked(). */
        uint32_t turn = atomic_load_explicit(&control->flush_turn, memory_order_seq_cst) + 1;
        if (shm_durable_offset(view) >= offset)
            return slept ? leave(control, slept, FLUSH_DONE) : FLUSH_DONE;
        int rc = check_state(control);
        if (rc != 0)
            return rc;
        enum shm_lock_outcome lock = shm_lock_try(&control->flush_lock);
        bool locked = lock == SHM_LOCK_TAKEN || lock == SHM_LOCK_OWNER_DIED;
        int64_t now_ns = clock_mono_ns();
        if (locked || lock == SHM_LOCK_NESTED || now_ns >= bypass_ns) {
            rc = locked ? flush_locked(view, offset) : flush_beside(view, offset);
            if (rc != 0 || shm_durable_offset(view) >= offset)
                return rc;
        }
        if (now_ns >= deadline_ns)
            return slept ? leave(control, slept, FLUSH_TIMED_OUT) : FLUSH_TIMED_OUT;
        sleep_until_flushed(view, seen, turn, deadline_ns);
        slept = turn;
    }
}
