/* SPDX-License-Identifier: Apache-2.0
 * A lock in shared memory that survives the death of its holder.
 *
 * The word holds the owner's thread id, as the kernel's robust futexes want it. A robust pthread
 * mutex would keep its list pointers in the shared page too, and glibc follows and writes through
 * them on unlock: a hostile co-writer could make us write anywhere. So we use only the kernel's
 * half. While a thread takes, holds and releases the lock, the `list_op_pending` field of its own
 * robust list head (private memory) points at the word; if the thread dies, the kernel marks the
 * word FUTEX_OWNER_DIED and wakes one waiter. A thread can hold one such lock at a time.
 *
 * Thread ids are those of one PID namespace, which all who share a lock must be in. If the kernel
 * does not help (no robust list, or the thread used a robust pthread mutex while it held the lock),
 * the lock of a dead owner looks like that of a stopped one, which busd evicts.
 */
#ifndef SHM_LOCK_H
#define SHM_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/** Outcomes of shm_lock(). */
enum shm_lock_outcome {
    SHM_LOCK_TAKEN = 0,
    SHM_LOCK_OWNER_DIED = 1, /* taken from a dead owner: what it protects may be half done */
    SHM_LOCK_TIMED_OUT = 2,
    SHM_LOCK_NESTED = 3, /* this thread holds another such lock */
};

/**
 * Takes the lock, spinning a little and then sleeping until `deadline_ns` (CLOCK_MONOTONIC).
 * Thread: any. Blocks: until the deadline. Whatever the word holds, this returns in time.
 */
enum shm_lock_outcome shm_lock(_Atomic uint32_t *word, int64_t deadline_ns);

/** Tries once, without waiting. SHM_LOCK_TIMED_OUT when it is held. */
enum shm_lock_outcome shm_lock_try(_Atomic uint32_t *word);

/** Releases the lock, if this thread still has it; a word that was taken away is left alone. */
void shm_unlock(_Atomic uint32_t *word);

/** The thread id in the word, 0 when free; for reports of a stall. */
uint32_t shm_lock_owner(const _Atomic uint32_t *word);

#endif
