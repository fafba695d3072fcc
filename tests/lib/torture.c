/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/torture.h"

#include "base/check.h"
#include "lib/torture_live.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RUN_SECONDS_MAX = 60 }; /* a run that takes longer hangs */

enum kind { KIND_NONE, KIND_MEMORY, KIND_SYSTEM, KINDS };

static const char *const kind_names[] = {"no fault", "allocation", "system call"};

/* The fault of the present run. Threads of the scenario are started and joined inside the run, so
 * only the count is shared between them; it orders nothing else. */
static bool running;
static enum kind armed;
static size_t fail_at;
static int fail_errno;
static _Atomic size_t counts[KINDS];
static _Atomic bool hit;
static _Thread_local unsigned paused;

static char state_text[160]; /* for the signal handler: what is running */

void
torture_pause(void)
{
    paused++;
}

void
torture_resume(void)
{
    MUST(paused > 0);
    paused--;
}

/* Counts a call of that kind; true when it is the one to fail, with errno set. */
static bool
fault_now(enum kind kind)
{
    if (!running || paused > 0)
        return false;
    size_t number = atomic_fetch_add_explicit(&counts[kind], 1, memory_order_relaxed) + 1;
    if (armed != kind || number != fail_at)
        return false;
    atomic_store_explicit(&hit, true, memory_order_relaxed);
    errno = fail_errno;
    return true;
}

/* ---- the wrappers: "__wrap_x" and "__real_x" are the linker's names -------------------------- */

#define SITE __builtin_return_address(0)

#define WRAP_MEMORY(name, params, args)                                                            \
    void *__real_##name params;                                                                    \
    void *__wrap_##name params;                                                                    \
    void *__wrap_##name params                                                                     \
    {                                                                                              \
        if (fault_now(KIND_MEMORY))                                                                \
            return NULL;                                                                           \
        void *block = __real_##name args;                                                          \
        live_block_add(block, SITE);                                                               \
        return block;                                                                              \
    }

WRAP_MEMORY(malloc, (size_t size), (size))
WRAP_MEMORY(calloc, (size_t count, size_t size), (count, size))
WRAP_MEMORY(aligned_alloc, (size_t alignment, size_t size), (alignment, size))
WRAP_MEMORY(strdup, (const char *text), (text))
WRAP_MEMORY(strndup, (const char *text, size_t length), (text, length))

void __real_free(void *block);
void __wrap_free(void *block);
void *__real_realloc(void *block, size_t size);
void *__wrap_realloc(void *block, size_t size);
int __real_posix_memalign(void **block, size_t alignment, size_t size);
int __wrap_posix_memalign(void **block, size_t alignment, size_t size);

void
__wrap_free(void *block)
{
    live_block_remove(block);
    __real_free(block);
}

void *
__wrap_realloc(void *block, size_t size)
{
    if (fault_now(KIND_MEMORY))
        return NULL;
    live_block_remove(block);
    void *moved = __real_realloc(block, size);
    live_block_add(moved ? moved : block, SITE);
    return moved;
}

int
__wrap_posix_memalign(void **block, size_t alignment, size_t size)
{
    if (fault_now(KIND_MEMORY))
        return ENOMEM;
    int rc = __real_posix_memalign(block, alignment, size);
    if (rc == 0)
        live_block_add(*block, SITE);
    return rc;
}

#define WRAP_SYSTEM(type, name, params, args)                                                      \
    type __real_##name params;                                                                     \
    type __wrap_##name params;                                                                     \
    type __wrap_##name params                                                                      \
    {                                                                                              \
        return fault_now(KIND_SYSTEM) ? (type)-1 : __real_##name args;                             \
    }

WRAP_SYSTEM(
    int, accept4, (int fd, struct sockaddr *at, socklen_t *n, int flags), (fd, at, n, flags))
WRAP_SYSTEM(int, bind, (int fd, const struct sockaddr *at, socklen_t n), (fd, at, n))
WRAP_SYSTEM(int, connect, (int fd, const struct sockaddr *at, socklen_t n), (fd, at, n))
WRAP_SYSTEM(int, eventfd, (unsigned value, int flags), (value, flags))
WRAP_SYSTEM(int, fallocate, (int fd, int mode, off_t at, off_t n), (fd, mode, at, n))
WRAP_SYSTEM(int, fdatasync, (int fd), (fd))
WRAP_SYSTEM(int, flock, (int fd, int how), (fd, how))
WRAP_SYSTEM(int, fstat, (int fd, struct stat *st), (fd, st))
WRAP_SYSTEM(int, fsync, (int fd), (fd))
WRAP_SYSTEM(int, ftruncate, (int fd, off_t size), (fd, size))
WRAP_SYSTEM(int, listen, (int fd, int backlog), (fd, backlog))
WRAP_SYSTEM(int, memfd_create, (const char *name, unsigned flags), (name, flags))
WRAP_SYSTEM(int, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP_SYSTEM(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
WRAP_SYSTEM(int, msync, (void *at, size_t n, int flags), (at, n, flags))
WRAP_SYSTEM(int, pipe2, (int fds[2], int flags), (fds, flags))
WRAP_SYSTEM(ssize_t, pread, (int fd, void *to, size_t n, off_t at), (fd, to, n, at))
WRAP_SYSTEM(ssize_t, pwrite, (int fd, const void *from, size_t n, off_t at), (fd, from, n, at))
WRAP_SYSTEM(ssize_t, read, (int fd, void *to, size_t n), (fd, to, n))
WRAP_SYSTEM(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
WRAP_SYSTEM(int, rename, (const char *from, const char *to), (from, to))
WRAP_SYSTEM(int, renameat, (int from_dir, const char *from, int to_dir, const char *to),
    (from_dir, from, to_dir, to))
WRAP_SYSTEM(
    ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
WRAP_SYSTEM(int, socket, (int domain, int type, int protocol), (domain, type, protocol))
WRAP_SYSTEM(int, socketpair, (int domain, int type, int protocol, int fds[2]),
    (domain, type, protocol, fds))
WRAP_SYSTEM(ssize_t, write, (int fd, const void *from, size_t n), (fd, from, n))

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __real_shm_open(const char *name, int flags, mode_t mode);
int __wrap_shm_open(const char *name, int flags, mode_t mode);
void *__real_mmap(void *at, size_t n, int rights, int flags, int fd, off_t from);
void *__wrap_mmap(void *at, size_t n, int rights, int flags, int fd, off_t from);
int __real_munmap(void *at, size_t n);
int __wrap_munmap(void *at, size_t n);
int __real_pthread_create(
    pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *with);
int __wrap_pthread_create(
    pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *with);

int
__wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fault_now(KIND_SYSTEM) ? -1 : __real_open(path, flags, mode);
}

int
__wrap_openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fault_now(KIND_SYSTEM) ? -1 : __real_openat(dir, path, flags, mode);
}

int
__wrap_shm_open(const char *name, int flags, mode_t mode)
{
    if (fault_now(KIND_SYSTEM))
        return -1;
    int fd = __real_shm_open(name, flags, mode);
    if (fd >= 0 && flags & O_CREAT)
        live_shm_add(name + (name[0] == '/'));
    return fd;
}

static size_t
whole_pages(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (n + page - 1) / page * page;
}

void *
__wrap_mmap(void *at, size_t n, int rights, int flags, int fd, off_t from)
{
    if (fault_now(KIND_SYSTEM))
        return MAP_FAILED;
    void *mapped = __real_mmap(at, n, rights, flags, fd, from);
    /* A mapping at a fixed place lies over one that was counted. */
    if (mapped != MAP_FAILED && !(flags & MAP_FIXED))
        live_mapped((ptrdiff_t)whole_pages(n));
    return mapped;
}

int
__wrap_munmap(void *at, size_t n)
{
    int rc = __real_munmap(at, n);
    if (rc == 0)
        live_mapped(-(ptrdiff_t)whole_pages(n));
    return rc;
}

int
__wrap_pthread_create(
    pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *with)
{
    if (fault_now(KIND_SYSTEM))
        return EAGAIN;
    return __real_pthread_create(thread, attr, start, with);
}

/* ---- the runs -------------------------------------------------------------------------------- */

static void
on_signal(int number)
{
    static const char hangs[] = " hangs\n";
    static const char dies[] = " dies of a signal\n";
    const char *end = number == SIGALRM ? hangs : dies;
    ssize_t ignored = __real_write(STDOUT_FILENO, "not ok - ", 9);
    ignored = __real_write(STDOUT_FILENO, state_text, strlen(state_text));
    ignored = __real_write(STDOUT_FILENO, end, strlen(end));
    (void)ignored;
    signal(number, SIG_DFL);
    raise(number);
    _exit(1);
}

static void
catch_signals(void)
{
    static const int numbers[] = {SIGABRT, SIGALRM, SIGBUS, SIGFPE, SIGILL, SIGSEGV};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        signal(numbers[i], on_signal);
}

static int
run_once(const char *name, torture_scenario *scenario, void *with)
{
    snprintf(state_text, sizeof state_text, "%s: with %s %zu failing (%s) it", name,
        kind_names[armed], fail_at, armed == KIND_NONE ? "none" : strerror(fail_errno));
    for (size_t i = 0; i < KINDS; i++)
        atomic_store_explicit(&counts[i], 0, memory_order_relaxed);
    atomic_store_explicit(&hit, false, memory_order_relaxed);
    alarm(RUN_SECONDS_MAX);
    running = true;
    int rc = scenario(with);
    running = false;
    alarm(0);
    return rc;
}

/* One run with the fault in place; false when it ended badly. */
static bool
run_judged(const char *name, torture_scenario *scenario, void *with, const struct live *before,
    char why[TORTURE_WHY_BYTES_MAX])
{
    char difference[TORTURE_WHY_BYTES_MAX - sizeof state_text - 8];
    int rc = run_once(name, scenario, with);
    bool was_hit = atomic_load_explicit(&hit, memory_order_relaxed);
    if (rc > 0 || (rc < 0 && !was_hit)) {
        snprintf(why, TORTURE_WHY_BYTES_MAX, "%s returns %d", state_text, rc);
        return false;
    }
    if (!live_same(before, difference, sizeof difference)) {
        snprintf(why, TORTURE_WHY_BYTES_MAX, "%s leaves: %s", state_text, difference);
        return false;
    }
    return true;
}

/* Fails call 1, 2, … of the kind until a run meets no fault; gives the number of faults. */
static bool
run_kind(const char *name, torture_scenario *scenario, void *with, const struct live *before,
    char why[TORTURE_WHY_BYTES_MAX], size_t *faults)
{
    for (fail_at = 1;; fail_at++) {
        if (!run_judged(name, scenario, with, before, why))
            return false;
        if (!atomic_load_explicit(&hit, memory_order_relaxed))
            return true;
        ++*faults;
    }
}

bool
torture_holds(
    const char *name, torture_scenario *scenario, void *with, char why[TORTURE_WHY_BYTES_MAX])
{
    static const struct {
        enum kind kind;
        int errnum;
    } rounds[] = {
        {KIND_MEMORY, ENOMEM}, {KIND_SYSTEM, EMFILE}, {KIND_SYSTEM, ENOSPC}, {KIND_SYSTEM, EIO}};
    struct live before;
    catch_signals();
    /* The first run fills whatever is kept for ever; after it, nothing may grow. */
    armed = KIND_NONE;
    int rc = run_once(name, scenario, with);
    if (rc != 0) {
        snprintf(why, TORTURE_WHY_BYTES_MAX, "without any fault it returns %d", rc);
        return false;
    }
    live_take(&before);
    size_t faults[KINDS] = {0};
    for (size_t i = 0; i < sizeof rounds / sizeof rounds[0]; i++) {
        armed = rounds[i].kind;
        fail_errno = rounds[i].errnum;
        if (!run_kind(name, scenario, with, &before, why, &faults[armed]))
            return false;
    }
    snprintf(why, TORTURE_WHY_BYTES_MAX, "%zu failed allocations, %zu failed system calls",
        faults[KIND_MEMORY], faults[KIND_SYSTEM]);
    return true;
}

bool
torture_run(const char *name, torture_scenario *scenario, void *with)
{
    char why[TORTURE_WHY_BYTES_MAX];
    bool holds = torture_holds(name, scenario, with, why);
    printf("%s - %s: %s\n", holds ? "ok" : "not ok", name, why);
    fflush(stdout);
    return holds;
}
