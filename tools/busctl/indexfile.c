/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/indexfile.h"

#include "base/bytes.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OFFSET_ENTRY_BYTES = 8, TIME_ENTRY_BYTES = 12 };

/** The last '.' of the last part of the path, or its end. */
static const char *
suffix_of(const char *path)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    const char *dot = strrchr(name, '.');
    return dot ? dot : name + strlen(name);
}

enum indexfile_kind
indexfile_kind(const char *path)
{
    const char *suffix = suffix_of(path);
    if (strcmp(suffix, ".index") == 0)
        return INDEXFILE_OFFSET;
    return strcmp(suffix, ".timeindex") == 0 ? INDEXFILE_TIME : INDEXFILE_NONE;
}

bool
indexfile_sibling(const char *path, const char *suffix, char to[PATH_MAX])
{
    int length = (int)(suffix_of(path) - path);
    return snprintf(to, PATH_MAX, "%.*s%s", length, path, suffix) < PATH_MAX;
}

static int
read_all(struct indexfile *index, int fd, size_t size)
{
    index->bytes = malloc(size + 1);
    if (!index->bytes)
        return err_no_memory();
    ssize_t got = pread(fd, index->bytes, size, 0);
    if (got < 0)
        return err_sys(errno, "%s", index->path);
    index->used = (size_t)got;
    return 0;
}

/** Entries of zeros at the end are room that was not used. */
static void
leave_out_zeros(struct indexfile *index)
{
    size_t size = index->used;
    while (index->used > 0 && index->bytes[index->used - 1] == 0)
        index->used--;
    index->used += index->entry_bytes - 1;
    index->used -= index->used % index->entry_bytes;
    if (index->used > size)
        index->used = size;
}

int
indexfile_open(struct indexfile *index, const char *path)
{
    struct stat status;
    *index = (struct indexfile){.kind = indexfile_kind(path)};
    index->entry_bytes = index->kind == INDEXFILE_TIME ? TIME_ENTRY_BYTES : OFFSET_ENTRY_BYTES;
    if (snprintf(index->path, sizeof index->path, "%s", path) >= (int)sizeof index->path)
        return err_sys(ENAMETOOLONG, "%.100s…", path);
    int fd = open(index->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return INDEXFILE_MISSING;
    if (fd < 0)
        return err_sys(errno, "%s", index->path);
    int rc = fstat(fd, &status) < 0 ? err_sys(errno, "%s", index->path) : 0;
    if (rc == 0)
        rc = read_all(index, fd, (size_t)status.st_size);
    close(fd);
    if (rc == 0)
        leave_out_zeros(index);
    return rc;
}

void
indexfile_close(struct indexfile *index)
{
    free(index->bytes);
    index->bytes = NULL;
}

bool
indexfile_entry(const struct indexfile *index, size_t at, struct indexfile_entry *entry)
{
    const uint8_t *bytes = index->bytes + at;
    if (index->used - at < index->entry_bytes)
        return false;
    *entry = (struct indexfile_entry){0};
    if (index->kind == INDEXFILE_TIME) {
        entry->time_ms = bytes_get_i64(bytes);
        entry->offset = bytes_get_u32(bytes + 8);
    } else {
        entry->offset = bytes_get_u32(bytes);
        entry->position = bytes_get_u32(bytes + 4);
    }
    return true;
}
