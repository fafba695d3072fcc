/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/lock.h"

#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    SPINS_BEFORE_SLEEP = 200, /* about 5 µs: longer than the append of a full batch takes */
    SLEEP_MS = 20,            /* a sleep is cut short, since a hostile holder need not wake us */
};

/* What this thread keeps for its locks: its id and its half of the kernel's robust list. `alone`
 * takes the place of the list where there is none. */
static _Thread_local struct {
    uint32_t tid;
    struct robust_list_head *head;
    struct robust_list_head alone;
} self;

static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Tells the kernel which word this thread is about to take, holds, or is about to release. The
 * kernel reads the field only when the thread is dead, so compiler order is all that is needed. */
static void
announce(_Atomic uint32_t *word)
{
    *(void *volatile *)&self.head->list_op_pending = (char *)word - self.head->futex_offset;
    atomic_signal_fence(memory_order_seq_cst);
}

static bool
another_announced(void)
{
    return *(void *volatile *)&self.head->list_op_pending != NULL;
}

static void
withdraw(void)
{
    atomic_signal_fence(memory_order_seq_cst);
    *(void *volatile *)&self.head->list_op_pending = NULL;
}

/* The child of a fork is a thread with another id; a lock that its parent held is not the child's.
 */
static void
forget_self(void)
{
    if (self.head)
        withdraw();
    self.tid = 0;
}

static void
watch_forks(void)
{
    pthread_atfork(NULL, NULL, forget_self);
}

static void
know_self(void)
{
    size_t bytes = 0;
    pthread_once(&once, watch_forks);
    long rc = syscall(SYS_get_robust_list, 0, &self.head, &bytes);
    if (rc < 0 || bytes != sizeof *self.head || !self.head)
        self.head = &self.alone;
    self.tid = (uint32_t)gettid();
}

/* Takes a word that is free or whose owner died; `waiters` is kept so that the unlock wakes. The
 * acquire pairs with the release in shm_unlock(). */
static bool
take(_Atomic uint32_t *word, uint32_t seen, uint32_t waiters)
{
    uint32_t mine = self.tid | waiters | (seen & FUTEX_WAITERS);
    return atomic_compare_exchange_strong_explicit(
        word, &seen, mine, memory_order_acquire, memory_order_relaxed);
}

static bool
is_free(uint32_t value)
{
    return (value & FUTEX_TID_MASK) == 0;
}

static enum shm_lock_outcome
outcome_of(uint32_t seen)
{
    return seen & FUTEX_OWNER_DIED ? SHM_LOCK_OWNER_DIED : SHM_LOCK_TAKEN;
}

static void
sleep_on(_Atomic uint32_t *word, uint32_t value, int64_t deadline_ns)
{
    int64_t left_ns = deadline_ns - clock_mono_ns();
    if (left_ns > SLEEP_MS * INT64_C(1000000))
        left_ns = SLEEP_MS * INT64_C(1000000);
    if (left_ns <= 0)
        return;
    struct timespec left = {.tv_sec = 0, .tv_nsec = (long)left_ns};
    syscall(SYS_futex, word, FUTEX_WAIT, value, &left, NULL, 0);
}

static void
relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static enum shm_lock_outcome
lock_slowly(_Atomic uint32_t *word, int64_t deadline_ns)
{
    uint32_t waiters = 0;
    for (unsigned turn = 0;; turn++) {
        uint32_t seen = atomic_load_explicit(word, memory_order_relaxed);
        if (is_free(seen) && take(word, seen, waiters))
            return outcome_of(seen);
        if (turn < SPINS_BEFORE_SLEEP) {
            relax();
            continue;
        }
        if (clock_mono_ns() >= deadline_ns)
            return SHM_LOCK_TIMED_OUT;
        if (is_free(seen))
            continue;
        if (!(seen & FUTEX_WAITERS) &&
            !atomic_compare_exchange_strong_explicit(
                word, &seen, seen | FUTEX_WAITERS, memory_order_relaxed, memory_order_relaxed))
            continue;
        /* Others may sleep beside us, and the holder's unlock clears the mark: whoever slept takes
         * the lock with the mark set. */
        waiters = FUTEX_WAITERS;
        sleep_on(word, seen | FUTEX_WAITERS, deadline_ns);
    }
}

enum shm_lock_outcome
shm_lock(_Atomic uint32_t *word, int64_t deadline_ns)
{
    if (self.tid == 0)
        know_self();
    if (another_announced())
        return SHM_LOCK_NESTED;
    announce(word);
    if (take(word, 0, 0))
        return SHM_LOCK_TAKEN;
    enum shm_lock_outcome outcome = lock_slowly(word, deadline_ns);
    if (outcome == SHM_LOCK_TIMED_OUT)
        withdraw();
    return outcome;
}

enum shm_lock_outcome
shm_lock_try(_Atomic uint32_t *word)
{
    if (self.tid == 0)
        know_self();
    if (another_announced())
        return SHM_LOCK_NESTED;
    announce(word);
    uint32_t seen = atomic_load_explicit(word, memory_order_relaxed);
    if (is_free(seen) && take(word, seen, 0))
        return outcome_of(seen);
    withdraw();
    return SHM_LOCK_TIMED_OUT;
}

void
shm_unlock(_Atomic uint32_t *word)
{
    uint32_t seen = self.tid;
    /* Release: what was written under the lock is seen by the next owner's take(). */
    bool released = atomic_compare_exchange_strong_explicit(
        word, &seen, 0, memory_order_release, memory_order_relaxed);
    if (!released && self.tid != 0 && (seen & FUTEX_TID_MASK) == self.tid) {
        /* Release, as above. Only the waiters' bit can have been added meanwhile. */
        seen = atomic_exchange_explicit(word, 0, memory_order_release);
        if (seen & FUTEX_WAITERS)
            syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
    withdraw();
}

uint32_t
shm_lock_owner(const _Atomic uint32_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed) & FUTEX_TID_MASK;
}
