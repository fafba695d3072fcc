/* SPDX-License-Identifier: Apache-2.0
 * What recovery takes out of a log: kept for whoever wants to look at it, but not for ever.
 */
#include "base/err.h"
#include "base/trace.h"
#include "store/files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    NAMES_MAX = 1000, /* for the pieces of one segment */
    DAYS_MAX = 7,     /* nothing is kept longer */
    DAYS_MIN = 1,     /* or removed earlier, unless there are FILES_LIMIT */
    FILES_MAX = 16,   /* more, or more than BYTES_MAX: the oldest go */
    FILES_LIMIT = 64,
};

#define BYTES_MAX (INT64_C(1) << 30)
#define DAY_MS (INT64_C(24) * 3600 * 1000)

static const char suffix[] = ".cut";

/* "<base>.log.cut", "<base>.log.2.cut" … */
static void
cut_name(char name[FILES_NAME_BYTES_MAX], int64_t base_offset, int n)
{
    char end[FILES_NAME_BYTES_MAX / 2];
    if (n == 1)
        snprintf(end, sizeof end, ".log%s", suffix);
    else
        snprintf(end, sizeof end, ".log.%d%s", n, suffix);
    files_name(name, base_offset, end);
}

int
cut_path(const char *folder, int64_t base_offset, char **path)
{
    *path = NULL;
    for (int n = 1; n <= NAMES_MAX; n++) {
        char name[FILES_NAME_BYTES_MAX];
        cut_name(name, base_offset, n);
        *path = files_path(folder, name);
        if (!*path)
            return err_no_memory();
        if (access(*path, F_OK) < 0 && errno == ENOENT)
            return 0;
        free(*path);
        *path = NULL;
    }
    return err_set(BUS_ERR_LIMIT_REACHED,
        "%s holds too many files that were set aside: remove those that end in %s", folder, suffix);
}

/* A file that was prepared and never used: there are no data, only reserved space. */
static bool
is_empty(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool empty = fd >= 0 && lseek(fd, 0, SEEK_DATA) < 0 && errno == ENXIO;
    if (fd >= 0)
        close(fd);
    return empty;
}

int
cut_segment(const char *folder, int64_t base_offset)
{
    char name[FILES_NAME_BYTES_MAX];
    files_name(name, base_offset, ".log");
    char *to = NULL, *from = files_path(folder, name);
    int rc = from ? 0 : err_no_memory();
    if (rc == 0 && !is_empty(from)) {
        rc = cut_path(folder, base_offset, &to);
        if (rc == 0 && rename(from, to) < 0)
            rc = err_sys(errno, "set %s aside", from);
        /* From now on its time tells when it was set aside. */
        if (rc == 0 && utimensat(AT_FDCWD, to, NULL, 0) < 0)
            rc = err_sys(errno, "set the time of %s", to);
    }
    free(from);
    free(to);
    return rc < 0 ? rc : files_remove_segment(folder, base_offset);
}

/* ---- the bounds ----------------------------------------------------------------------------- */

struct piece {
    char name[FILES_NAME_BYTES_MAX];
    int64_t bytes; /* on disk */
    int64_t time_ms;
};

struct pieces {
    struct piece *all; /* owned */
    size_t count;
};

static int
collect(void *context, int folder_fd, const char *name)
{
    struct pieces *pieces = context;
    size_t length = strlen(name), end = strlen(suffix);
    struct stat status;
    if (length <= end || length >= FILES_NAME_BYTES_MAX ||
        strcmp(name + length - end, suffix) != 0 ||
        fstatat(folder_fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(status.st_mode))
        return 0;
    struct piece *more = realloc(pieces->all, (pieces->count + 1) * sizeof *more);
    if (!more)
        return err_no_memory();
    pieces->all = more;
    struct piece *piece = &more[pieces->count++];
    memcpy(piece->name, name, length + 1);
    piece->bytes = (int64_t)status.st_blocks * 512;
    piece->time_ms =
        (int64_t)status.st_mtim.tv_sec * 1000 + (int64_t)status.st_mtim.tv_nsec / 1000000;
    return 0;
}

static int
newest_first(const void *a, const void *b)
{
    const struct piece *left = a, *right = b;
    return (left->time_ms < right->time_ms) - (left->time_ms > right->time_ms);
}

static bool
must_go(const struct piece *piece, size_t newer, int64_t newer_bytes, int64_t now_ms)
{
    int64_t age_ms = now_ms - piece->time_ms;
    bool many = newer >= FILES_MAX || newer_bytes + piece->bytes > BYTES_MAX;
    return age_ms > DAYS_MAX * DAY_MS || newer >= FILES_LIMIT ||
           (many && age_ms > DAYS_MIN * DAY_MS);
}

int
cut_prune(const char *folder, int64_t now_ms)
{
    struct pieces pieces = {0};
    int rc = files_each_name(folder, collect, &pieces);
    if (pieces.count > 1)
        qsort(pieces.all, pieces.count, sizeof *pieces.all, newest_first);
    int64_t bytes = 0;
    for (size_t i = 0; rc == 0 && i < pieces.count; i++) {
        const struct piece *piece = &pieces.all[i];
        if (must_go(piece, i, bytes, now_ms)) {
            rc = files_remove(folder, piece->name);
            if (rc == 0)
                trace(TRACE_NOTICE, "%s/%s, which recovery had set aside, was removed", folder,
                    piece->name);
        }
        bytes += piece->bytes;
    }
    free(pieces.all);
    return rc;
}
