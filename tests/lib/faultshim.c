/* SPDX-License-Identifier: Apache-2.0 */
/*
 * faultshim.so: trouble from outside, for system tests. Started with LD_PRELOAD, it stands before
 * the calls that reach disk, memory and sockets, and makes them fail, stop or die as told. The
 * programs under test know nothing of it.
 *
 *   SHMBUS_FAULT="RULE[;RULE…]"
 *
 *     RULE is  when:call[@path]:n:action
 *       when    before or after the call is made; after with an error: made, but reported as failed
 *       call    a name of the list `calls` below: fdatasync, fsync, msync, fallocate, write,
 *               pwrite, pread, ftruncate, rename, unlink, open, shm_open, mmap, sendmsg, recvmsg,
 *               accept, socket, eventfd, memfd_create, chmod; or "any". Variants count as one:
 * pwrite is pwrite, pwrite64, pwritev and pwritev64; pread is pread and pread64; rename is rename,
 * renameat and renameat2; open is open and openat; write is write and writev; unlink is unlink and
 * unlinkat.
 *       @path   only calls whose file has this in its path (either path of a rename; the name of
 *               a shared-memory object; for a descriptor what /proc/self/fd says)
 *       n       the n-th call that matches, from 1 on; "n+" for the n-th and all that follow
 *       action  kill (SIGKILL itself), stop (SIGSTOP itself), delay:MS, or the name of an errno:
 *               EIO ENOSPC EMFILE ENFILE ENOMEM EDQUOT EACCES EINTR EAGAIN
 *
 *     Each process counts for itself, and each rule for itself. A rule that cannot be read ends the
 *     process at its start with status 2: a fault that never strikes would pass every test.
 *
 *   SHMBUS_FAULT_WHEN=FILE  calls count only while FILE exists; so a test lets a program start in
 *                           peace and then creates FILE.
 *   SHMBUS_FAULT_LOG=FILE   a line "pid when call n action path" is appended when a rule strikes.
 *   SHMBUS_WALL=FILE        the seconds by which CLOCK_REALTIME is wrong: 8 bytes of this machine's
 *                           order, which the test may overwrite at any time.
 *   SHMBUS_SHADOW=DIR       keeps in DIR what has been flushed (see shadow.h), from which
 *                           powerloss.py makes what a power loss would leave. Flushes are fsync,
 *                           fdatasync, msync(MS_SYNC), and writes through a descriptor with O_DSYNC
 *                           or O_SYNC (LMDB writes its meta pages so). sync() and syncfs() are not
 *                           seen.
 */
#include "lib/shadow.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { RULES_MAX = 16, PATH_TEXT_BYTES_MAX = 512 };

#define CALLS(X)                                                                                   \
    X(accept)                                                                                      \
    X(chmod)                                                                                       \
    X(eventfd)                                                                                     \
    X(fallocate)                                                                                   \
    X(fdatasync)                                                                                   \
    X(fsync)                                                                                       \
    X(ftruncate)                                                                                   \
    X(memfd_create)                                                                                \
    X(mmap)                                                                                        \
    X(msync)                                                                                       \
    X(open)                                                                                        \
    X(pread)                                                                                       \
    X(pwrite)                                                                                      \
    X(recvmsg)                                                                                     \
    X(rename)                                                                                      \
    X(sendmsg)                                                                                     \
    X(shm_open)                                                                                    \
    X(socket)                                                                                      \
    X(unlink)                                                                                      \
    X(write)                                                                                       \
    X(any)

enum call {
#define X(name) CALL_##name,
    CALLS(X)
#undef X
        CALLS_COUNT
};

static const char *const calls[] = {
#define X(name) #name,
    CALLS(X)
#undef X
};

enum action { ACTION_ERROR, ACTION_KILL, ACTION_STOP, ACTION_DELAY };

static const struct {
    const char *name;
    int number;
} errors[] = {{"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EMFILE", EMFILE}, {"ENFILE", ENFILE},
    {"ENOMEM", ENOMEM}, {"EDQUOT", EDQUOT}, {"EACCES", EACCES}, {"EINTR", EINTR},
    {"EAGAIN", EAGAIN}};

struct rule {
    bool after;
    enum call call;
    char path[128]; /* "" for every path */
    unsigned long n;
    bool and_later;
    enum action action;
    char action_text[16];
    int error;
    long delay_ms;
    _Atomic unsigned long count; /* calls that matched; a tally, it orders nothing */
};

static struct rule rules[RULES_MAX];
static size_t rules_count;
static const char *arm_path; /* SHMBUS_FAULT_WHEN, or NULL */
static const char *log_path; /* SHMBUS_FAULT_LOG, or NULL */

/* What a call is about: a descriptor, or up to two paths. */
struct subject {
    int fd; /* -1: the paths say it */
    const char *path;
    const char *other_path;
};

/* ---- reading the rules ----------------------------------------------------------------------- */

static _Noreturn void
refuse(const char *rule, const char *why)
{
    char text[256];
    int length = snprintf(text, sizeof text, "faultshim: SHMBUS_FAULT \"%s\": %s\n", rule, why);
    syscall(SYS_write, STDERR_FILENO, text, length);
    syscall(SYS_exit_group, 2);
    abort();
}

static void
parse_call(struct rule *rule, char *text, const char *whole)
{
    char *at = strchr(text, '@');
    if (at) {
        *at++ = '\0';
        if (strlen(at) >= sizeof rule->path)
            refuse(whole, "the path is too long");
        memcpy(rule->path, at, strlen(at) + 1);
    }
    for (size_t i = 0; i < CALLS_COUNT; i++) {
        if (strcmp(text, calls[i]) == 0) {
            rule->call = (enum call)i;
            return;
        }
    }
    refuse(whole, "no such call");
}

static void
parse_action(struct rule *rule, const char *text, const char *delay, const char *whole)
{
    snprintf(rule->action_text, sizeof rule->action_text, "%s", text);
    if (strcmp(text, "kill") == 0) {
        rule->action = ACTION_KILL;
        return;
    }
    if (strcmp(text, "stop") == 0) {
        rule->action = ACTION_STOP;
        return;
    }
    if (strcmp(text, "delay") == 0 && delay) {
        rule->action = ACTION_DELAY;
        rule->delay_ms = strtol(delay, NULL, 10);
        return;
    }
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        if (strcmp(text, errors[i].name) == 0) {
            rule->action = ACTION_ERROR;
            rule->error = errors[i].number;
            return;
        }
    }
    refuse(whole, "no such action");
}

static void
parse_rule(struct rule *rule, const char *whole)
{
    char text[512];
    if (strlen(whole) >= sizeof text)
        refuse(whole, "too long");
    memcpy(text, whole, strlen(whole) + 1);
    char *rest = text;
    char *when = strsep(&rest, ":");
    char *call = strsep(&rest, ":");
    char *n = strsep(&rest, ":");
    char *action = strsep(&rest, ":");
    if (!action)
        refuse(whole, "want when:call:n:action");
    rule->after = strcmp(when, "after") == 0;
    if (!rule->after && strcmp(when, "before") != 0)
        refuse(whole, "want before or after");
    parse_call(rule, call, whole);
    char *end;
    rule->n = strtoul(n, &end, 10);
    rule->and_later = *end == '+';
    if (rule->n == 0 || (*end != '\0' && strcmp(end, "+") != 0))
        refuse(whole, "want a count from 1 on, or one with a +");
    parse_action(rule, action, rest, whole);
}

/* How wrong the wall clock is, seconds; NULL not at all. The test may write it meanwhile, so it is
 * volatile. */
static const volatile int64_t *wall_error;

static void
open_wall(const char *path)
{
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    long at = syscall(SYS_mmap, NULL, sizeof *wall_error, PROT_READ, MAP_SHARED, fd, 0L);
    if (at > 0)
        wall_error = (const volatile int64_t *)at;
    syscall(SYS_close, fd);
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, now);
    bool wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
    if (rc == 0 && wall && wall_error)
        now->tv_sec += *wall_error;
    return rc;
}

__attribute__((constructor)) static void
read_environment(void)
{
    arm_path = getenv("SHMBUS_FAULT_WHEN");
    log_path = getenv("SHMBUS_FAULT_LOG");
    open_wall(getenv("SHMBUS_WALL"));
    const char *folder = getenv("SHMBUS_SHADOW");
    if (folder && folder[0])
        shadow_open(folder);
    const char *text = getenv("SHMBUS_FAULT");
    while (text && *text) {
        char one[512];
        size_t length = strcspn(text, ";");
        if (length >= sizeof one || rules_count == RULES_MAX)
            refuse(text, "too long, or too many rules");
        memcpy(one, text, length);
        one[length] = '\0';
        if (length > 0) {
            parse_rule(&rules[rules_count], one);
            rules_count++;
        }
        text += length + (text[length] == ';');
    }
}

/* ---- striking -------------------------------------------------------------------------------- */

static bool
exists(const char *path)
{
    return syscall(SYS_faccessat, AT_FDCWD, path, 0 /* F_OK */) == 0;
}

/* Fills `text` with the path of the subject; "" when it has none. */
static void
name_subject(const struct subject *subject, char text[PATH_TEXT_BYTES_MAX])
{
    text[0] = '\0';
    if (subject->path) {
        snprintf(text, PATH_TEXT_BYTES_MAX, "%s%s%s", subject->path, subject->other_path ? " " : "",
            subject->other_path ? subject->other_path : "");
        return;
    }
    if (subject->fd < 0)
        return;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", subject->fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, text, (size_t)PATH_TEXT_BYTES_MAX - 1);
    text[length > 0 ? length : 0] = '\0';
}

static void
write_log(const struct rule *rule, enum call call, unsigned long count, const char *path)
{
    char line[PATH_TEXT_BYTES_MAX + 128];
    if (!log_path)
        return;
    int length = snprintf(line, sizeof line, "%ld %s %s %lu %s %s\n", (long)getpid(),
        rule->after ? "after" : "before", calls[call], count, rule->action_text, path);
    int fd = (int)syscall(
        SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    syscall(SYS_write, fd, line, length);
    syscall(SYS_close, fd);
}

static void
delay(long ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        continue;
}

/* Carries out the action; true when the call is to fail, with errno set. */
static bool
act(const struct rule *rule)
{
    switch (rule->action) {
    case ACTION_KILL:
        kill(getpid(), SIGKILL);
        return false;
    case ACTION_STOP:
        kill(getpid(), SIGSTOP);
        return false;
    case ACTION_DELAY:
        delay(rule->delay_ms);
        return false;
    case ACTION_ERROR:
        errno = rule->error;
        return true;
    }
    return false;
}

/* Looks whether a rule strikes at this call; true when the call is to fail, with errno set. */
static bool
strike(bool after, enum call call, const struct subject *subject)
{
    char path[PATH_TEXT_BYTES_MAX];
    bool named = false;
    bool fails = false;
    int kept = errno;
    for (size_t i = 0; i < rules_count; i++) {
        struct rule *rule = &rules[i];
        if (rule->after != after || (rule->call != call && rule->call != CALL_any))
            continue;
        if (!named && (rule->path[0] || log_path))
            name_subject(subject, path), named = true;
        if (rule->path[0] && !strstr(path, rule->path))
            continue;
        if (arm_path && !exists(arm_path))
            continue;
        unsigned long count = atomic_fetch_add_explicit(&rule->count, 1, memory_order_relaxed) + 1;
        if (count != rule->n && !(rule->and_later && count > rule->n))
            continue;
        write_log(rule, call, count, named ? path : "");
        fails = act(rule) || fails;
        kept = fails ? errno : kept;
    }
    errno = kept;
    return fails;
}

/* ---- the calls ------------------------------------------------------------------------------- */

/* Makes the call unless a rule strikes before it, and lets a rule strike after it. */
#define STRUCK(type, call, on, made)                                                               \
    do {                                                                                           \
        const struct subject about = on;                                                           \
        if (strike(false, CALL_##call, &about))                                                    \
            return (type)-1;                                                                       \
        type result = (type)(made);                                                                \
        return strike(true, CALL_##call, &about) ? (type)-1 : result;                              \
    } while (0)

#define FILE_OF(descriptor)                                                                        \
    {                                                                                              \
        .fd = (descriptor)                                                                         \
    }
#define PATHS(one, two)                                                                            \
    {                                                                                              \
        .fd = -1, .path = (one), .other_path = (two)                                               \
    }

static int
flush_file(int fd, long number)
{
    shadow_flush(fd);
    return (int)syscall(number, fd);
}

int
fdatasync(int fd)
{
    STRUCK(int, fdatasync, FILE_OF(fd), flush_file(fd, SYS_fdatasync));
}

int
fsync(int fd)
{
    STRUCK(int, fsync, FILE_OF(fd), flush_file(fd, SYS_fsync));
}

static int
flush_memory(void *at, size_t n, int flags)
{
    if (flags & MS_SYNC)
        shadow_flush_memory(at, n);
    return (int)syscall(SYS_msync, at, n, flags);
}

int
msync(void *at, size_t n, int flags)
{
    STRUCK(int, msync, FILE_OF(-1), flush_memory(at, n, flags));
}

int
fallocate(int fd, int mode, off_t at, off_t n)
{
    STRUCK(int, fallocate, FILE_OF(fd), syscall(SYS_fallocate, fd, mode, at, n));
}

int
fallocate64(int fd, int mode, off64_t at, off64_t n)
{
    return fallocate(fd, mode, at, n);
}

int
ftruncate(int fd, off_t size)
{
    STRUCK(int, ftruncate, FILE_OF(fd), syscall(SYS_ftruncate, fd, size));
}

int
ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

/* A write through a descriptor with O_DSYNC is a flush of what it wrote. */
static ssize_t
written(int fd, off_t at, ssize_t n)
{
    if (n > 0 && fcntl(fd, F_GETFL) & O_DSYNC) {
        if (at < 0)
            at = lseek(fd, 0, SEEK_CUR) - n;
        shadow_flush_range(fd, at, n);
    }
    return n;
}

ssize_t
write(int fd, const void *from, size_t n)
{
    STRUCK(ssize_t, write, FILE_OF(fd), written(fd, -1, syscall(SYS_write, fd, from, n)));
}

ssize_t
writev(int fd, const struct iovec *parts, int count)
{
    STRUCK(ssize_t, write, FILE_OF(fd), written(fd, -1, syscall(SYS_writev, fd, parts, count)));
}

ssize_t
pread(int fd, void *to, size_t n, off_t at)
{
    STRUCK(ssize_t, pread, FILE_OF(fd), syscall(SYS_pread64, fd, to, n, at));
}

ssize_t
pread64(int fd, void *to, size_t n, off64_t at)
{
    return pread(fd, to, n, at);
}

ssize_t
pwrite(int fd, const void *from, size_t n, off_t at)
{
    STRUCK(ssize_t, pwrite, FILE_OF(fd), written(fd, at, syscall(SYS_pwrite64, fd, from, n, at)));
}

ssize_t
pwrite64(int fd, const void *from, size_t n, off64_t at)
{
    return pwrite(fd, from, n, at);
}

ssize_t
pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    /* The kernel takes the offset in two halves; on 64 bits the first holds all of it. */
    STRUCK(ssize_t, pwrite, FILE_OF(fd),
        written(fd, at, syscall(SYS_pwritev, fd, parts, count, at, 0)));
}

ssize_t
pwritev64(int fd, const struct iovec *parts, int count, off64_t at)
{
    return pwritev(fd, parts, count, at);
}

int
renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    STRUCK(int, rename, PATHS(from, to), syscall(SYS_renameat2, from_dir, from, to_dir, to, flags));
}

int
renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return renameat2(from_dir, from, to_dir, to, 0);
}

int
rename(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int
chmod(const char *path, mode_t mode)
{
    STRUCK(int, chmod, PATHS(path, NULL), syscall(SYS_fchmodat, AT_FDCWD, path, mode));
}

int
unlinkat(int dir, const char *path, int flags)
{
    STRUCK(int, unlink, PATHS(path, NULL), syscall(SYS_unlinkat, dir, path, flags));
}

int
unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

static int
open_struck(int dir, const char *path, int flags, mode_t mode)
{
    STRUCK(int, open, PATHS(path, NULL), syscall(SYS_openat, dir, path, flags, mode));
}

#define MODE_OF(flags, mode)                                                                       \
    do {                                                                                           \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        mode = ((flags)&O_CREAT) || ((flags)&O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;   \
        va_end(args);                                                                              \
    } while (0)

int
openat(int dir, const char *path, int flags, ...)
{
    mode_t mode;
    MODE_OF(flags, mode);
    return open_struck(dir, path, flags, mode);
}

int
openat64(int dir, const char *path, int flags, ...)
{
    mode_t mode;
    MODE_OF(flags, mode);
    return open_struck(dir, path, flags, mode);
}

int
open(const char *path, int flags, ...)
{
    mode_t mode;
    MODE_OF(flags, mode);
    return open_struck(AT_FDCWD, path, flags, mode);
}

int
open64(const char *path, int flags, ...)
{
    mode_t mode;
    MODE_OF(flags, mode);
    return open_struck(AT_FDCWD, path, flags, mode);
}

int
shm_open(const char *name, int flags, mode_t mode)
{
    char path[512];
    snprintf(path, sizeof path, "/dev/shm/%s", name + (name[0] == '/'));
    STRUCK(int, shm_open, PATHS(name, NULL),
        syscall(SYS_openat, AT_FDCWD, path, flags | O_NOFOLLOW | O_CLOEXEC, mode));
}

void *
mmap(void *at, size_t n, int rights, int flags, int fd, off_t from)
{
    STRUCK(void *, mmap, FILE_OF(fd), syscall(SYS_mmap, at, n, rights, flags, fd, from));
}

void *
mmap64(void *at, size_t n, int rights, int flags, int fd, off64_t from)
{
    return mmap(at, n, rights, flags, fd, from);
}

int
memfd_create(const char *name, unsigned flags)
{
    STRUCK(int, memfd_create, PATHS(name, NULL), syscall(SYS_memfd_create, name, flags));
}

int
eventfd(unsigned value, int flags)
{
    STRUCK(int, eventfd, FILE_OF(-1), syscall(SYS_eventfd2, value, flags));
}

int
socket(int domain, int type, int protocol)
{
    STRUCK(int, socket, FILE_OF(-1), syscall(SYS_socket, domain, type, protocol));
}

int
accept4(int fd, struct sockaddr *restrict at, socklen_t *restrict n, int flags)
{
    STRUCK(int, accept, FILE_OF(fd), syscall(SYS_accept4, fd, at, n, flags));
}

int
accept(int fd, struct sockaddr *restrict at, socklen_t *restrict n)
{
    return accept4(fd, at, n, 0);
}

ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
    STRUCK(ssize_t, sendmsg, FILE_OF(fd), syscall(SYS_sendmsg, fd, message, flags));
}

ssize_t
recvmsg(int fd, struct msghdr *message, int flags)
{
    STRUCK(ssize_t, recvmsg, FILE_OF(fd), syscall(SYS_recvmsg, fd, message, flags));
}
