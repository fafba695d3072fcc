/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/logset.h"

#include "base/err.h"
#include "busctl/cleanfile.h"
#include "busctl/logfile.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 3 }; /* <data>/topics/<topic>-<partition>/<segment> */

static bool
is_segment_name(const char *name)
{
    size_t length = strlen(name);
    return length > 4 && strcmp(name + length - 4, ".log") == 0;
}

/** In a spare may stand nothing, or what an append left; any other file shows what it is. */
static bool
is_spare_name(const char *path)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    return strncmp(name, "spare-", 6) == 0 && is_segment_name(name);
}

/** The base offset of a file: of a spare, that of its first batch. */
static int
base_of(const char *path, int64_t *base)
{
    struct logfile file;
    const uint8_t *bytes;
    struct batch_header header;
    *base = logfile_base_of_name(path);
    if (*base >= 0)
        return 0;
    int rc = logfile_open(&file, path);
    if (rc < 0)
        return rc;
    if (logfile_batch(&file, 0, &bytes, &header) == LOGFILE_BATCH)
        *base = header.base_offset;
    else if (!is_spare_name(path) && logfile_resume(&file, 0, 0) < 0)
        rc = err_set(BUS_ERR_INVALID_ARGUMENT,
            "%s: there is no batch in it: name a segment (*.log), its .index or .timeindex, a "
            "partition's folder or busd's data",
            path);
    logfile_close(&file);
    return rc;
}

static int
add(struct logset *set, const char *path, int64_t size)
{
    struct logset_file *files = realloc(set->files, (set->count + 1) * sizeof *files);
    if (!files)
        return err_no_memory();
    set->files = files;
    struct logset_file *file = &files[set->count];
    *file = (struct logset_file){.path = strdup(path), .next = -1, .size = size};
    if (!file->path)
        return err_no_memory();
    set->count++;
    return base_of(path, &file->base);
}

/** By base; empty spares last. */
static int
by_base(const void *a, const void *b)
{
    uint64_t left = (uint64_t)((const struct logset_file *)a)->base;
    uint64_t right = (uint64_t)((const struct logset_file *)b)->base;
    return left < right ? -1 : left > right;
}

/** Whether a swap that a crash has cut off has its new segment in place. */
static bool
is_swapped(const struct logset_file *files, size_t count, const struct cleanfile *clean)
{
    for (size_t i = 0; i < count && clean->swap_base >= 0; i++)
        if (files[i].base == clean->swap_base && files[i].size == clean->swap_bytes)
            return true;
    return false;
}

/** Takes out what such a swap has replaced, and only not removed yet; how many are left. */
static size_t
drop_replaced(struct logset_file *files, size_t count)
{
    struct cleanfile clean;
    if (cleanfile_read(files[0].path, &clean) < 0 || !is_swapped(files, count, &clean))
        return count;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (files[i].base > clean.swap_base && files[i].base < clean.swap_end)
            free(files[i].path);
        else
            files[kept++] = files[i];
    }
    return kept;
}

/** Orders the files of one folder; how many are left of them. */
static size_t
link_files(struct logset_file *files, size_t count)
{
    qsort(files, count, sizeof *files, by_base);
    count = drop_replaced(files, count);
    for (size_t i = 0; i + 1 < count; i++)
        files[i].next = files[i + 1].base;
    return count;
}

static int
walk(struct logset *set, const char *path, int depth)
{
    struct stat status;
    if (stat(path, &status) < 0)
        return err_set(BUS_ERR_SYSTEM, "%s: %s: name a file or a folder that can be read", path,
            strerror(errno));
    if (!S_ISDIR(status.st_mode))
        return depth == 0 || is_segment_name(path) ? add(set, path, status.st_size) : 0;
    if (depth > DEPTH_MAX)
        return 0;
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0)
        return err_sys(errno, "%s", path);
    int rc = 0;
    for (int i = 0; i < count; i++) {
        char inner[4096];
        int length = snprintf(inner, sizeof inner, "%s/%s", path, entries[i]->d_name);
        bool fits = length > 0 && length < (int)sizeof inner;
        bool folder = entries[i]->d_type == DT_DIR || entries[i]->d_type == DT_UNKNOWN;
        bool wanted =
            entries[i]->d_name[0] != '.' && (folder || is_segment_name(entries[i]->d_name));
        if (rc == 0 && fits && wanted)
            rc = walk(set, inner, depth + 1);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

/** The folder part of a path, in bytes. */
static size_t
folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) : 0;
}

static bool
is_same_folder(const struct logset *set, size_t a, size_t b)
{
    const char *one = set->files[a].path, *other = set->files[b].path;
    return folder_of(one) == folder_of(other) && strncmp(one, other, folder_of(one)) == 0;
}

int
logset_init(struct logset *set, const char *path)
{
    *set = (struct logset){0};
    int rc = walk(set, path, 0);
    if (rc < 0)
        return rc;
    if (set->count == 0)
        return err_set(BUS_ERR_INVALID_ARGUMENT,
            "%s: no segment file (*.log) here: name a file, a partition's folder or busd's data",
            path);
    size_t kept = 0;
    for (size_t first = 0, end; first < set->count; first = end) {
        for (end = first + 1; end < set->count && is_same_folder(set, first, end);)
            end++;
        size_t left = link_files(set->files + first, end - first);
        memmove(set->files + kept, set->files + first, left * sizeof *set->files);
        kept += left;
    }
    set->count = kept;
    return 0;
}

void
logset_fini(struct logset *set)
{
    for (size_t i = 0; i < set->count; i++)
        free(set->files[i].path);
    free(set->files);
    *set = (struct logset){0};
}
