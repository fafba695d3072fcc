/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "shm/lock.h"
#include "unit/unit.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 20000 };

static int64_t
in_ms(int64_t ms)
{
    return clock_mono_ns() + ms * 1000000;
}

static void
test_take_and_release(void)
{
    _Atomic uint32_t word = 0;
    CU_ASSERT_EQUAL(shm_lock(&word, in_ms(1000)), SHM_LOCK_TAKEN);
    CU_ASSERT_EQUAL(shm_lock_owner(&word), (uint32_t)gettid());
    shm_unlock(&word);
    CU_ASSERT_EQUAL(word, 0);
    CU_ASSERT_EQUAL(shm_lock_try(&word), SHM_LOCK_TAKEN);
    shm_unlock(&word);
}

static void
test_one_at_a_time(void)
{
    _Atomic uint32_t first = 0, second = 0;
    CU_ASSERT_EQUAL(shm_lock(&first, in_ms(1000)), SHM_LOCK_TAKEN);
    CU_ASSERT_EQUAL(shm_lock(&second, in_ms(1000)), SHM_LOCK_NESTED);
    CU_ASSERT_EQUAL(shm_lock_try(&second), SHM_LOCK_NESTED);
    CU_ASSERT_EQUAL(second, 0);
    shm_unlock(&first);
    CU_ASSERT_EQUAL(shm_lock(&second, in_ms(1000)), SHM_LOCK_TAKEN);
    shm_unlock(&second);
}

static void
test_any_value_times_out(void)
{
    static const uint32_t values[] = {1, 77, FUTEX_WAITERS | 5, FUTEX_TID_MASK,
        FUTEX_OWNER_DIED | 3, FUTEX_WAITERS | FUTEX_OWNER_DIED | 9};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        _Atomic uint32_t word = values[i];
        CU_ASSERT_EQUAL(shm_lock_try(&word), SHM_LOCK_TIMED_OUT);
        CU_ASSERT_EQUAL(shm_lock(&word, in_ms(1)), SHM_LOCK_TIMED_OUT);
        /* A lock that was not taken is not released either. */
        shm_unlock(&word);
        CU_ASSERT_EQUAL(word & FUTEX_TID_MASK, values[i] & FUTEX_TID_MASK);
    }
}

static void
test_taken_away(void)
{
    _Atomic uint32_t word = 0;
    CU_ASSERT_EQUAL(shm_lock(&word, in_ms(1000)), SHM_LOCK_TAKEN);
    word = 4711;
    shm_unlock(&word);
    CU_ASSERT_EQUAL(word, 4711);
    /* The thread itself is free to lock again. */
    word = 0;
    CU_ASSERT_EQUAL(shm_lock(&word, in_ms(1000)), SHM_LOCK_TAKEN);
    shm_unlock(&word);
}

static struct {
    _Atomic uint32_t word;
    int64_t counter; /* plain: the lock is what makes the additions right */
} shared;

static void *
add_often(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        if (shm_lock(&shared.word, INT64_MAX) != SHM_LOCK_TAKEN)
            return NULL;
        shared.counter++;
        shm_unlock(&shared.word);
    }
    return NULL;
}

static void
test_excludes(void)
{
    pthread_t threads[THREADS];
    shared.counter = 0;
    for (int i = 0; i < THREADS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, add_often, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(shared.counter, THREADS * ROUNDS);
    CU_ASSERT_EQUAL(shared.word, 0);
}

static void *
die_with_lock(void *word)
{
    shm_lock(word, INT64_MAX);
    return NULL;
}

static void
test_owner_thread_ends(void)
{
    static _Atomic uint32_t word;
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, die_with_lock, (void *)&word), 0);
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(shm_lock(&word, in_ms(10000)), SHM_LOCK_OWNER_DIED);
    shm_unlock(&word);
    CU_ASSERT_EQUAL(shm_lock_try(&word), SHM_LOCK_TAKEN);
    shm_unlock(&word);
}

static void
test_owner_process_is_killed(void)
{
    _Atomic uint32_t *word =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_PTR_NOT_EQUAL_FATAL(word, MAP_FAILED);
    pid_t child = fork();
    if (child == 0) {
        shm_lock(word, INT64_MAX);
        raise(SIGKILL);
    }
    CU_ASSERT_EQUAL(waitpid(child, NULL, 0), child);
    CU_ASSERT_EQUAL(shm_lock(word, in_ms(10000)), SHM_LOCK_OWNER_DIED);
    shm_unlock(word);
    munmap((void *)word, 4096);
}

static void
test_child_of_fork_has_its_own_name(void)
{
    _Atomic uint32_t *words =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_PTR_NOT_EQUAL_FATAL(words, MAP_FAILED);
    shm_lock(&words[0], INT64_MAX);
    shm_unlock(&words[0]);
    pid_t child = fork();
    if (child == 0) {
        shm_lock(&words[0], INT64_MAX);
        words[1] = shm_lock_owner(&words[0]);
        shm_unlock(&words[0]);
        _exit(0);
    }
    CU_ASSERT_EQUAL(waitpid(child, NULL, 0), child);
    CU_ASSERT_EQUAL(words[1], (uint32_t)child);
    munmap((void *)words, 4096);
}

static void
test_child_of_fork_is_free(void)
{
    int status = -1;
    _Atomic uint32_t held = 0, other = 0;
    shm_lock(&held, INT64_MAX);
    pid_t child = fork();
    if (child == 0) {
        bool taken = shm_lock(&other, in_ms(1000)) == SHM_LOCK_TAKEN;
        shm_unlock(&other);
        shm_unlock(&held); /* not the child's: no effect */
        _exit(taken && held != 0 ? 0 : 1);
    }
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    shm_unlock(&held);
    CU_ASSERT_EQUAL(held, 0);
}

/* As in a sandbox, or under an emulator that does not know the call. */
static void
refuse_robust_lists(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_get_robust_list, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        _exit(0); /* no filters here either: nothing to test */
}

static void
test_kernel_without_robust_lists(void)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        _Atomic uint32_t word = 0, other = 0;
        refuse_robust_lists();
        bool taken = shm_lock(&word, in_ms(1000)) == SHM_LOCK_TAKEN;
        bool nested = shm_lock_try(&other) == SHM_LOCK_NESTED;
        shm_unlock(&word);
        _exit(taken && nested && word == 0 ? 0 : 1);
    }
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static const struct unit_case cases[] = {
    {"the owner's thread id is in the word", test_take_and_release},
    {"a thread holds one lock at a time", test_one_at_a_time},
    {"whatever the word holds, the call returns", test_any_value_times_out},
    {"a lock that was taken away is left alone", test_taken_away},
    {"threads exclude each other", test_excludes},
    {"the lock of an ended thread goes on", test_owner_thread_ends},
    {"the lock of a killed process goes on", test_owner_process_is_killed},
    {"the child of a fork locks under its own id", test_child_of_fork_has_its_own_name},
    {"the child of a fork has none of its parent's locks", test_child_of_fork_is_free},
    {"a kernel without robust lists is no reason to stop", test_kernel_without_robust_lists},
    {NULL, NULL},
};

void
register_lock(void)
{
    unit_register("lock", cases);
}
