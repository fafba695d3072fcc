/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "shm/guard.h"
#include "unit/unit.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096 };

static void *
map_file(int *fd, size_t bytes)
{
    *fd = memfd_create("guard", MFD_CLOEXEC);
    CU_ASSERT_FATAL(*fd >= 0);
    CU_ASSERT_EQUAL_FATAL(ftruncate(*fd, (off_t)bytes), 0);
    void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    CU_ASSERT_PTR_NOT_EQUAL_FATAL(start, MAP_FAILED);
    return start;
}

static void
test_truncated_file_reads_as_zeros(void)
{
    int fd;
    _Atomic bool damaged = false;
    volatile char *bytes = map_file(&fd, 2 * PAGE);
    memset((void *)bytes, 'x', 2 * PAGE);
    CU_ASSERT_EQUAL(guard_add((void *)bytes, 2 * PAGE, &damaged), 0);
    CU_ASSERT_EQUAL(bytes[PAGE], 'x');
    CU_ASSERT_FALSE(damaged);
    CU_ASSERT_EQUAL(ftruncate(fd, 0), 0);
    CU_ASSERT_EQUAL(bytes[PAGE + 7], 0);
    CU_ASSERT(damaged);
    bytes[0] = 'y'; /* writes go nowhere, and hurt nobody */
    CU_ASSERT_EQUAL(bytes[0], 'y');
    guard_remove((void *)bytes);
    munmap((void *)bytes, 2 * PAGE);
    close(fd);
}

static void
test_elsewhere_it_still_kills(void)
{
    int fd, status = 0;
    volatile char *bytes = map_file(&fd, PAGE);
    _Atomic bool damaged = false;
    CU_ASSERT_EQUAL(guard_add((void *)bytes, PAGE, &damaged), 0);
    guard_remove((void *)bytes);
    CU_ASSERT_EQUAL(ftruncate(fd, 0), 0);
    pid_t child = fork();
    if (child == 0) {
        /* A sanitizer's own handler would turn the signal into an exit. */
        signal(SIGBUS, SIG_DFL);
        _exit(bytes[0]);
    }
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    CU_ASSERT_FALSE(damaged);
    munmap((void *)bytes, PAGE);
    close(fd);
}

/* The sender of a signal fills its words as he likes, the address among them. */
static void
test_sent_signal_is_no_fault(void)
{
    int fd, status = 0;
    _Atomic bool *damaged =
        mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_PTR_NOT_EQUAL_FATAL(damaged, MAP_FAILED);
    void *bytes = map_file(&fd, PAGE);
    CU_ASSERT_EQUAL(guard_add(bytes, PAGE, damaged), 0);
    pid_t child = fork();
    if (child == 0) {
        close(STDERR_FILENO); /* a sanitizer tells of it */
        siginfo_t info = {.si_signo = SIGBUS, .si_code = SI_QUEUE};
        info.si_addr = bytes;
        syscall(SYS_rt_sigqueueinfo, getpid(), SIGBUS, &info);
        _exit(0);
    }
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CU_ASSERT_FALSE(*damaged);
    guard_remove(bytes);
    munmap(bytes, PAGE);
    munmap(damaged, PAGE);
    close(fd);
}

static void
test_many_regions(void)
{
    enum { REGIONS = 1000 };
    static char places[REGIONS][16];
    static _Atomic bool damaged;
    for (int i = 0; i < REGIONS; i++)
        CU_ASSERT_EQUAL(guard_add(places[i], sizeof places[i], &damaged), 0);
    for (int i = 0; i < REGIONS; i++)
        guard_remove(places[i]);
    /* The places are free again. */
    for (int i = 0; i < REGIONS; i++)
        CU_ASSERT_EQUAL(guard_add(places[i], sizeof places[i], &damaged), 0);
    for (int i = 0; i < REGIONS; i++)
        guard_remove(places[i]);
}

static const struct unit_case cases[] = {
    {"a truncated file reads as zeros", test_truncated_file_reads_as_zeros},
    {"outside the regions the signal does what it did", test_elsewhere_it_still_kills},
    {"a signal that was sent is no fault", test_sent_signal_is_no_fault},
    {"many regions come and go", test_many_regions},
    {NULL, NULL},
};

void
register_guard(void)
{
    unit_register("guard", cases);
}
