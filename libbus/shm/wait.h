/* SPDX-License-Identifier: Apache-2.0
 * Sleeping until a partition has news, and waking those who sleep.
 */
#ifndef SHM_WAIT_H
#define SHM_WAIT_H

#include "shm/partition.h"

enum { WAIT_WORDS_MAX = 127 }; /* futex_waitv takes 128; one is kept for the caller's own word */

/**
 * Wakes the sleepers of a view, if there are any. What they are woken for was stored with seq_cst,
 * or a sleeper may be missed (who then sleeps until his bound). Thread: any. Blocks: no.
 */
void shm_wake(struct shm_partition *view);

/**
 * One thread's wait on several partitions:
 *
 *     for (;;) {
 *         wait_begin(&w);                 announces the sleep and notes the words
 *         if (any cursor is ready) break;  the check after the announcement closes the race
 *         wait_sleep(&w, deadline_ns);
 *     }
 */
struct wait_set {
    struct {
        const _Atomic uint32_t *word;
        _Atomic uint32_t *sleeping; /* NULL for a private word */
        uint32_t seen;
    } entries[WAIT_WORDS_MAX + 1];
    int count;
};

/** An empty set. */
void wait_init(struct wait_set *set);

/** Adds a partition; false when the set is full (its news then waits for SHM_SLEEP_BOUND_MS). */
bool wait_add(struct wait_set *set, const struct shm_partition *view);

/** Adds a private word, for an interruption by another thread of this process. */
bool wait_add_word(struct wait_set *set, const _Atomic uint32_t *word);

/** Announces the sleep on every partition and notes the words. */
void wait_begin(struct wait_set *set);

/**
 * Sleeps until a word moves, the deadline (CLOCK_MONOTONIC) or SHM_SLEEP_BOUND_MS, whichever is
 * first. Returns when there may be news; the caller looks again. Blocks: yes.
 */
void wait_sleep(struct wait_set *set, int64_t deadline_ns);

/** Bumps a private word and wakes its sleepers. Thread: any. */
void wait_word_wake(_Atomic uint32_t *word);

#endif
