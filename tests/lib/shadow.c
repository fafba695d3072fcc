/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/shadow.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Calls that the shim stands before are made as bare system calls here, so that the shadow never
 * meets a fault or itself.
 */
enum { KEY_BYTES_MAX = 64, COPY_BYTES_MAX = 1 << 14 };

static char folder_path[2048];

static _Noreturn void
give_up(const char *what)
{
    char text[256];
    int length = snprintf(text, sizeof text, "faultshim: %s: %s\n", what, strerror(errno));
    syscall(SYS_write, STDERR_FILENO, text, length);
    syscall(SYS_exit_group, 2);
    abort();
}

static int
open_bare(const char *path, int flags)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

void
shadow_open(const char *folder)
{
    char path[sizeof folder_path + 16];
    snprintf(folder_path, sizeof folder_path, "%s", folder);
    static const char *const parts[] = {"", "/files", "/dirs"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        snprintf(path, sizeof path, "%s%s", folder_path, parts[i]);
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            give_up(path);
    }
}

/* The name of an inode in the shadow; gives its type in `mode`. */
static bool
key_of(int dir, const char *name, int flags, char key[KEY_BYTES_MAX], mode_t *mode)
{
    struct statx st;
    if (statx(dir, name, flags, STATX_TYPE | STATX_INO | STATX_BTIME, &st) < 0)
        return false;
    int64_t birth_ns =
        st.stx_mask & STATX_BTIME ? st.stx_btime.tv_sec * 1000000000 + st.stx_btime.tv_nsec : 0;
    snprintf(key, KEY_BYTES_MAX, "%" PRIu64 "-%" PRId64, (uint64_t)st.stx_ino, birth_ns);
    *mode = st.stx_mode;
    return true;
}

/* The shadow of a file, locked against other processes that flush the same file; -1 with errno. */
static int
open_shadow(int fd, const char *key)
{
    char path[sizeof folder_path + 16 + KEY_BYTES_MAX];
    snprintf(path, sizeof path, "%s/files/%s", folder_path, key);
    int shadow = open_bare(path, O_RDWR | O_CREAT);
    if (shadow < 0)
        give_up(path);
    while (syscall(SYS_flock, shadow, 2 /* LOCK_EX */) < 0)
        if (errno != EINTR)
            give_up(path);
    struct stat st;
    if (fstat(fd, &st) < 0)
        give_up(path);
    struct stat had;
    if (fstat(shadow, &had) < 0)
        give_up(path);
    if (st.st_size != had.st_size && syscall(SYS_ftruncate, shadow, st.st_size) < 0)
        give_up(path);
    return shadow;
}

static void
copy_through_memory(int from, int to, off_t at, off_t n)
{
    char bytes[COPY_BYTES_MAX]; /* small: threads of programs under test have small stacks */
    while (n > 0) {
        size_t part = n < COPY_BYTES_MAX ? (size_t)n : COPY_BYTES_MAX;
        ssize_t got = syscall(SYS_pread64, from, bytes, part, at);
        if (got == 0)
            return; /* the file became shorter meanwhile */
        if (got < 0 || syscall(SYS_pwrite64, to, bytes, got, at) != got)
            give_up("copying what is flushed");
        at += got;
        n -= got;
    }
}

static void
copy_range(int from, int to, off_t at, off_t n)
{
    while (n > 0) {
        off_t in = at;
        off_t out = at;
        ssize_t got = copy_file_range(from, &in, to, &out, (size_t)n, 0);
        if (got <= 0) {
            copy_through_memory(from, to, at, n);
            return;
        }
        at += got;
        n -= got;
    }
}

static void
clear_range(int to, off_t at, off_t n)
{
    if (n > 0)
        syscall(SYS_fallocate, to, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, n);
}

/* Copies the data of a range, and turns what is a hole there into a hole here. */
static void
copy_sparse(int from, int to, off_t at, off_t end)
{
    while (at < end) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0 && errno != ENXIO) {
            copy_range(from, to, at, end - at); /* a file system without holes */
            return;
        }
        if (data < 0 || data > end)
            data = end;
        clear_range(to, at, data - at);
        if (data == end)
            return;
        off_t hole = lseek(from, data, SEEK_HOLE);
        if (hole < 0 || hole > end)
            hole = end;
        copy_range(from, to, data, hole - data);
        at = hole;
    }
}

/* A description of its own, because seeking in the caller's would move its offset. */
static int
open_again(int fd)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return open_bare(link, O_RDONLY);
}

static void
flush_bytes(int fd, const char *key, off_t at, off_t n)
{
    int from = open_again(fd);
    if (from < 0)
        give_up("opening what is flushed");
    int to = open_shadow(from, key);
    struct stat st;
    if (fstat(from, &st) < 0)
        give_up("looking at what is flushed");
    off_t end = n < 0 || at + n > st.st_size ? st.st_size : at + n;
    copy_sparse(from, to, at, end);
    close(to);
    close(from);
}

static void
write_entries(FILE *to, DIR *folder)
{
    for (struct dirent *entry; (entry = readdir(folder));) {
        char key[KEY_BYTES_MAX];
        mode_t mode;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (!key_of(dirfd(folder), entry->d_name, AT_SYMLINK_NOFOLLOW, key, &mode))
            continue; /* removed between readdir and here */
        fprintf(to, "%s %c %s\n", key, S_ISDIR(mode) ? 'd' : 'f', entry->d_name);
    }
}

/* Other processes may flush the same folder; the whole list goes into place at once. */
static void
flush_entries(int fd, const char *key)
{
    char path[sizeof folder_path + 16 + KEY_BYTES_MAX];
    char made[sizeof path + 32];
    snprintf(path, sizeof path, "%s/dirs/%s", folder_path, key);
    snprintf(made, sizeof made, "%s.%ld", path, (long)syscall(SYS_gettid));
    int again = open_again(fd);
    DIR *folder = again < 0 ? NULL : fdopendir(again);
    int file = open_bare(made, O_WRONLY | O_CREAT | O_TRUNC);
    FILE *to = file < 0 ? NULL : fdopen(file, "w");
    if (!folder || !to)
        give_up("listing the folder that is flushed");
    write_entries(to, folder);
    closedir(folder);
    if (fclose(to) != 0 || syscall(SYS_renameat, AT_FDCWD, made, AT_FDCWD, path) < 0)
        give_up(path);
}

void
shadow_flush(int fd)
{
    if (!folder_path[0])
        return;
    int kept = errno;
    char key[KEY_BYTES_MAX];
    mode_t mode;
    if (key_of(fd, "", AT_EMPTY_PATH, key, &mode)) {
        if (S_ISREG(mode))
            flush_bytes(fd, key, 0, -1);
        else if (S_ISDIR(mode))
            flush_entries(fd, key);
    }
    errno = kept;
}

void
shadow_flush_range(int fd, off_t at, off_t n)
{
    if (!folder_path[0])
        return;
    int kept = errno;
    char key[KEY_BYTES_MAX];
    mode_t mode;
    if (n > 0 && key_of(fd, "", AT_EMPTY_PATH, key, &mode) && S_ISREG(mode))
        flush_bytes(fd, key, at, n);
    errno = kept;
}

/* A row of /proc/self/maps that overlaps the pages: flushes that part of its file. */
static void
flush_row(const char *row, uintptr_t from, uintptr_t to)
{
    uintptr_t first;
    uintptr_t end;
    uintmax_t offset;
    int path_at = 0;
    if (sscanf(row, "%" SCNxPTR "-%" SCNxPTR " %*3cs %" SCNxMAX " %*s %*s %n", &first, &end,
            &offset, &path_at) != 3 ||
        row[path_at] != '/')
        return;
    uintptr_t low = first > from ? first : from;
    uintptr_t high = end < to ? end : to;
    if (low >= high)
        return;
    int fd = open_bare(row + path_at, O_RDONLY);
    if (fd < 0)
        return; /* removed: a power loss leaves nothing of it */
    shadow_flush_range(fd, (off_t)(offset + (low - first)), (off_t)(high - low));
    close(fd);
}

void
shadow_flush_memory(const void *at, size_t n)
{
    if (!folder_path[0])
        return;
    int kept = errno;
    char row[4096];
    int fd = open_bare("/proc/self/maps", O_RDONLY);
    FILE *maps = fd < 0 ? NULL : fdopen(fd, "r");
    if (!maps)
        give_up("/proc/self/maps");
    while (fgets(row, sizeof row, maps)) {
        row[strcspn(row, "\n")] = '\0';
        flush_row(row, (uintptr_t)at, (uintptr_t)at + n);
    }
    fclose(maps);
    errno = kept;
}
