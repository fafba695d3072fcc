/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/flush.h"

#include "base/clock.h"
#include "base/err.h"
#include "shm/append.h"
#include "shm/lock.h"
#include "shm/wait.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    TURN_MS = 20,     /* a wait is cut, since the one who flushes may have died */
    BYPASS_MS = 2000, /* a flush that takes longer is done again by those who wait */
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
        if (rc < 0)
            return rc;
        if ((!all && syncfs(segment->fd) < 0) || fdatasync(segment->fd) < 0)
            return sync_failed(view);
        all = true;
    }
    return 0;
}

/* One flush, up to the tail. The state is looked at behind it: what a source gave after the end of
 * the generation may be another segment, and what failed for somebody else may have succeeded here
 * only because the pages were gone. */
static int
flush_now(struct shm_partition *view, int64_t offset)
{
    struct shm_tail tail;
    int rc = shm_partition_tail(view, &tail);
    if (rc < 0)
        return rc;
    if (tail.end_offset < offset)
        return err_set(BUS_ERR_OFFSET_OUT_OF_RANGE,
            "the log ends at offset %lld, before the records that are to be flushed, up to %lld",
            (long long)tail.end_offset, (long long)offset);
    rc = sync_segments(view, shm_durable_offset(view), &tail);
    if (rc == 0)
        rc = check_state(view->control);
    if (rc == 0)
        raise_durable(view, tail.end_offset);
    return rc;
}

/* One flush under the lock, or beside one that takes too long. Those who wait are woken behind the
 * unlock: one of them finds the lock free and flushes what came meanwhile. */
static int
flush_and_tell(struct shm_partition *view, int64_t offset, bool locked)
{
    int rc = flush_now(view, offset);
    if (locked)
        shm_unlock(&view->control->flush_lock);
    wait_word_wake(&view->control->durable_seq);
    shm_wake(view);
    return rc;
}

static void
sleep_until_flushed(struct shm_partition *view, uint32_t seen, int64_t deadline_ns)
{
    int64_t until_ns = clock_mono_ns() + TURN_MS * INT64_C(1000000);
    if (deadline_ns < until_ns)
        until_ns = deadline_ns;
    struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
    syscall(SYS_futex, &view->control->durable_seq, FUTEX_WAIT_BITSET, seen, &until, NULL,
        FUTEX_BITSET_MATCH_ANY);
}

int
shm_flush(struct shm_partition *view, int64_t offset, int64_t deadline_ns)
{
    struct shm_control *control = view->control;
    if (atomic_load_explicit(&control->flags, memory_order_relaxed) & SHM_FLAG_MEMORY)
        return FLUSH_DONE;
    int64_t bypass_ns = clock_mono_ns() + BYPASS_MS * INT64_C(1000000);
    for (;;) {
        /* Acquire: pairs with wait_word_wake(); noted before the look at the offset. */
        uint32_t seen = atomic_load_explicit(&control->durable_seq, memory_order_acquire);
        if (shm_durable_offset(view) >= offset)
            return FLUSH_DONE;
        int rc = check_state(control);
        if (rc != 0)
            return rc;
        enum shm_lock_outcome lock = shm_lock_try(&control->flush_lock);
        bool locked = lock == SHM_LOCK_TAKEN || lock == SHM_LOCK_OWNER_DIED;
        int64_t now_ns = clock_mono_ns();
        if (locked || lock == SHM_LOCK_NESTED || now_ns >= bypass_ns) {
            rc = flush_and_tell(view, offset, locked);
            if (rc != 0 || shm_durable_offset(view) >= offset)
                return rc;
        }
        if (now_ns >= deadline_ns)
            return FLUSH_TIMED_OUT;
        sleep_until_flushed(view, seen, deadline_ns);
    }
}
