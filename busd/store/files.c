/* SPDX-License-Identifier: Apache-2.0 */
#include "store/files.h"

#include "base/check.h"
#include "base/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BASE_DIGITS = 20 };

int
log_file_open(const char *path, struct log_file **file)
{
    struct log_file *fresh = malloc(sizeof *fresh);
    if (!fresh)
        return err_no_memory();
    atomic_init(&fresh->references, 1);
    fresh->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fresh->fd < 0) {
        int rc = err_sys(errno, "open %s", path);
        free(fresh);
        return rc;
    }
    *file = fresh;
    return 0;
}

struct log_file *
log_file_ref(struct log_file *file)
{
    /* Relaxed: whoever adds a reference has one already. */
    atomic_fetch_add_explicit(&file->references, 1, memory_order_relaxed);
    return file;
}

void
log_file_unref(struct log_file **file)
{
    struct log_file *old = *file;
    *file = NULL;
    /* Acq_rel: the last one to leave sees the end of everybody else's use. */
    if (!old || atomic_fetch_sub_explicit(&old->references, 1, memory_order_acq_rel) > 1)
        return;
    close(old->fd);
    free(old);
}

void
files_name(char name[FILES_NAME_BYTES_MAX], int64_t base_offset, const char *suffix)
{
    MUST(base_offset >= 0);
    int n =
        snprintf(name, FILES_NAME_BYTES_MAX, "%0*" PRId64 "%s", BASE_DIGITS, base_offset, suffix);
    MUST(n > 0 && n < FILES_NAME_BYTES_MAX);
}

void
files_spare_name(char name[FILES_NAME_BYTES_MAX], int64_t n)
{
    MUST(n >= 0);
    int bytes = snprintf(name, FILES_NAME_BYTES_MAX, "spare-%" PRId64 ".log", n);
    MUST(bytes > 0 && bytes < FILES_NAME_BYTES_MAX);
}

char *
files_path(const char *folder, const char *name)
{
    char *path;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

int
files_sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(errno, "open the folder %s", path);
    int rc = 0;
    if (fsync(fd) < 0)
        rc = err_sys(errno, "flush the folder %s", path);
    close(fd);
    return rc;
}

int
files_sync_parent(const char *path)
{
    char *parent = strdup(path);
    if (!parent)
        return err_no_memory();
    char *slash = strrchr(parent, '/');
    int rc = 0;
    if (!slash)
        rc = files_sync_folder(".");
    else if (slash == parent)
        rc = files_sync_folder("/");
    else {
        *slash = '\0';
        rc = files_sync_folder(parent);
    }
    free(parent);
    return rc;
}

int
files_make_folder(const char *path)
{
    if (mkdir(path, 0700) == 0)
        return files_sync_parent(path);
    if (errno != EEXIST)
        return err_sys(errno, "create the folder %s", path);
    struct stat status;
    if (stat(path, &status) < 0)
        return err_sys(errno, "look at %s", path);
    if (!S_ISDIR(status.st_mode))
        return err_sys(ENOTDIR, "use the folder %s", path);
    return 0;
}

/* A decimal number of `digits` digits (0: one or more) up to `suffix`, which ends the name. */
static bool
parse_number(const char *text, int digits, const char *suffix, int64_t *number)
{
    int64_t value = 0;
    int count = 0;
    for (; *text >= '0' && *text <= '9'; text++, count++) {
        int digit = *text - '0';
        if (value > (INT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (count == 0 || (digits > 0 && count != digits) || strcmp(text, suffix) != 0)
        return false;
    *number = value;
    return true;
}

enum files_kind
files_parse(const char *name, int64_t *number)
{
    if (parse_number(name, BASE_DIGITS, ".log", number))
        return FILES_LOG;
    if (parse_number(name, BASE_DIGITS, ".index", number) ||
        parse_number(name, BASE_DIGITS, ".timeindex", number))
        return FILES_INDEX;
    if (strncmp(name, "spare-", 6) == 0 && parse_number(name + 6, 0, ".log", number))
        return FILES_SPARE;
    return FILES_OTHER;
}

static int
by_kind_and_number(const void *a, const void *b)
{
    const struct files_entry *left = a, *right = b;
    if (left->spare != right->spare)
        return left->spare ? 1 : -1;
    return (left->number > right->number) - (left->number < right->number);
}

static int
list_add(struct files_list *list, int folder_fd, const char *name)
{
    int64_t number;
    enum files_kind kind = files_parse(name, &number);
    struct stat status;
    if (kind != FILES_LOG && kind != FILES_SPARE)
        return 0;
    if (fstatat(folder_fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return err_sys(errno, "look at %s", name);
    if (!S_ISREG(status.st_mode))
        return err_set(BUS_ERR_SYSTEM, "%s is not a regular file", name);
    struct files_entry *entries = realloc(list->entries, (list->count + 1) * sizeof *list->entries);
    if (!entries)
        return err_no_memory();
    list->entries = entries;
    entries[list->count++] = (struct files_entry){
        .number = number, .bytes = status.st_size, .spare = kind == FILES_SPARE};
    return 0;
}

int
files_each_name(
    const char *folder, int (*visit)(void *context, int folder_fd, const char *name), void *context)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return err_sys(errno, "open the folder %s", folder);
    int rc = 0;
    while (rc == 0) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry) {
            if (errno != 0)
                rc = err_sys(errno, "read the folder %s", folder);
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = visit(context, dirfd(dir), entry->d_name);
    }
    closedir(dir);
    return rc;
}

static int
visit_segment(void *context, int folder_fd, const char *name)
{
    return list_add(context, folder_fd, name);
}

static bool
has_segment(const struct files_list *list, int64_t base_offset)
{
    for (size_t i = 0; i < list->count; i++)
        if (!list->entries[i].spare && list->entries[i].number == base_offset)
            return true;
    return false;
}

static int
visit_orphan(void *context, int folder_fd, const char *name)
{
    int64_t number;
    if (files_parse(name, &number) != FILES_INDEX || has_segment(context, number))
        return 0;
    if (unlinkat(folder_fd, name, 0) < 0 && errno != ENOENT)
        return err_sys(errno, "remove %s", name);
    return 0;
}

int
files_list_read(const char *folder, struct files_list *list)
{
    *list = (struct files_list){0};
    int rc = files_each_name(folder, visit_segment, list);
    if (rc == 0)
        rc = files_each_name(folder, visit_orphan, list);
    if (rc < 0) {
        files_list_fini(list);
        return err_prefix(rc, "%s", folder);
    }
    if (list->count > 1)
        qsort(list->entries, list->count, sizeof *list->entries, by_kind_and_number);
    return 0;
}

void
files_list_fini(struct files_list *list)
{
    free(list->entries);
    *list = (struct files_list){0};
}

int
files_reserve(int fd, const struct files_reservation *want, int64_t *reserved, bool *full)
{
    int64_t wanted = want->wanted;
    *reserved = want->have;
    *full = false;
    while (wanted > want->have) {
        if (fallocate(fd, 0, want->have, wanted - want->have) == 0) {
            *reserved = wanted;
            return 0;
        }
        if (errno == EINTR)
            continue;
        if (errno != ENOSPC && errno != EDQUOT)
            return err_sys(errno, "reserve %" PRId64 " bytes of disk space", wanted - want->have);
        *full = true;
        int64_t half = (wanted - want->have) / 2 & ~INT64_C(4095);
        if (half < FILES_RESERVE_MIN || want->have + half < want->least)
            return 0;
        wanted = want->have + half;
    }
    return 0;
}

int
files_punch(int fd, int64_t from, int64_t to)
{
    if (to > from && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, to - from) < 0)
        return err_sys(errno, "give %" PRId64 " bytes of disk space back", to - from);
    return 0;
}

int
files_remove(const char *folder, const char *name)
{
    char *path = files_path(folder, name);
    if (!path)
        return err_no_memory();
    int rc = 0;
    if (unlink(path) < 0 && errno != ENOENT)
        rc = err_sys(errno, "remove %s", path);
    free(path);
    return rc;
}

int
files_remove_segment(const char *folder, int64_t base_offset)
{
    static const char *const suffixes[] = {".log", ".index", ".timeindex"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char name[FILES_NAME_BYTES_MAX];
        files_name(name, base_offset, suffixes[i]);
        int rc = files_remove(folder, name);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int
visit_unlink(void *context, int folder_fd, const char *name)
{
    (void)context;
    if (unlinkat(folder_fd, name, 0) < 0 && errno != ENOENT)
        return err_sys(errno, "remove %s", name);
    return 0;
}

int
files_remove_folder(const char *path)
{
    struct stat status;
    if (lstat(path, &status) < 0)
        return errno == ENOENT ? 0 : err_sys(errno, "look at %s", path);
    if (!S_ISDIR(status.st_mode))
        return unlink(path) < 0 ? err_sys(errno, "remove %s", path) : 0;
    int rc = files_each_name(path, visit_unlink, NULL);
    if (rc == 0 && rmdir(path) < 0 && errno != ENOENT)
        rc = err_sys(errno, "remove the folder");
    return err_prefix(rc, "%s", path);
}
