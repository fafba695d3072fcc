/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/wait.h"

#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

enum { FALLBACK_TURN_MS = 2 }; /* where one call cannot watch all the words */

void
wait_word_wake(_Atomic uint32_t *word)
{
    /* Release: the sleeper that sees the new number (acquire in wait_begin() and in shm_flush())
     * sees what was done. */
    atomic_fetch_add_explicit(word, 1, memory_order_release);
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void
shm_wake(struct shm_partition *view)
{
    /* Seq_cst: in one total order with publish() or raise_durable() before, and with the flag and
     * the look of a sleeper. */
    if (atomic_load_explicit(&view->bell->sleeping, memory_order_seq_cst) == 0)
        return;
    atomic_store_explicit(&view->bell->sleeping, 0, memory_order_seq_cst);
    wait_word_wake(&view->control->wake_seq);
}

void
wait_init(struct wait_set *set)
{
    set->count = 0;
}

bool
wait_add(struct wait_set *set, const struct shm_partition *view)
{
    if (set->count >= WAIT_WORDS_MAX)
        return false;
    set->entries[set->count].word = &view->control->wake_seq;
    set->entries[set->count].sleeping = &view->bell->sleeping;
    set->count++;
    return true;
}

bool
wait_add_word(struct wait_set *set, const _Atomic uint32_t *word)
{
    if (set->count > WAIT_WORDS_MAX)
        return false;
    set->entries[set->count].word = word;
    set->entries[set->count].sleeping = NULL;
    set->count++;
    return true;
}

void
wait_begin(struct wait_set *set)
{
    for (int i = 0; i < set->count; i++) {
        /* Acquire: pairs with wait_word_wake(). Noted before the flag goes up, so that a wake-up
         * after the flag changes the number. */
        set->entries[i].seen = atomic_load_explicit(set->entries[i].word, memory_order_acquire);
        /* Seq_cst: pairs with shm_wake(); the caller's look at the log follows in program order. */
        if (set->entries[i].sleeping)
            atomic_store_explicit(set->entries[i].sleeping, 1, memory_order_seq_cst);
    }
    /* The caller's acquire loads are not seq_cst themselves: the fence puts them behind the flag.
     */
    atomic_thread_fence(memory_order_seq_cst);
}

static struct timespec
timespec_of(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

static void
sleep_on_one(const struct wait_set *set, int64_t until_ns)
{
    struct timespec until = timespec_of(until_ns);
    /* FUTEX_WAIT_BITSET takes an absolute time, and works on read-only mappings. */
    syscall(SYS_futex, set->entries[0].word, FUTEX_WAIT_BITSET, set->entries[0].seen, &until, NULL,
        FUTEX_BITSET_MATCH_ANY);
}

static long
sleep_on_all(const struct wait_set *set, int64_t until_ns)
{
    struct futex_waitv waiters[WAIT_WORDS_MAX + 1];
    struct timespec until = timespec_of(until_ns);
    for (int i = 0; i < set->count; i++)
        waiters[i] = (struct futex_waitv){.val = set->entries[i].seen,
            .uaddr = (uintptr_t)set->entries[i].word,
            .flags = FUTEX_32};
    return syscall(SYS_futex_waitv, waiters, (unsigned)set->count, 0, &until, CLOCK_MONOTONIC);
}

void
wait_sleep(struct wait_set *set, int64_t deadline_ns)
{
    int64_t now_ns = clock_mono_ns();
    int64_t bound_ns = now_ns + SHM_SLEEP_BOUND_MS * INT64_C(1000000);
    int64_t until_ns = deadline_ns < bound_ns ? deadline_ns : bound_ns;
    if (until_ns <= now_ns)
        return;
    if (set->count == 0) {
        struct timespec until = timespec_of(until_ns);
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    } else if (set->count == 1) {
        sleep_on_one(set, until_ns);
    } else if (sleep_on_all(set, until_ns) < 0 && errno != EAGAIN && errno != EINTR &&
               errno != ETIMEDOUT) {
        /* A kernel before 5.16, or a sandbox that refuses what it does not know: the first word
         * alone, in short turns. */
        bound_ns = now_ns + FALLBACK_TURN_MS * INT64_C(1000000);
        sleep_on_one(set, until_ns < bound_ns ? until_ns : bound_ns);
    }
}
