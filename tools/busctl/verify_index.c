/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "base/err.h"
#include "busctl/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REMEDY ": it is derived, so stop busd and remove the file: it is made again"

enum { INDEX_ENTRY_BYTES = 8, TIMEINDEX_ENTRY_BYTES = 12 };

/** An index file in memory. */
struct index {
    char path[PATH_MAX];
    uint8_t *bytes; /* owned */
    size_t size;
};

/** Reads the file beside the segment that ends in `suffix`; size 0 when there is none. */
static int
load(const struct logfile *file, const char *suffix, struct index *index)
{
    struct stat status;
    size_t stem = strlen(file->path) - strlen(".log");
    index->bytes = NULL;
    index->size = 0;
    if (snprintf(index->path, sizeof index->path, "%.*s%s", (int)stem, file->path, suffix) >=
        (int)sizeof index->path)
        return 0;
    int fd = open(index->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_sys(errno, "%s", index->path);
    int rc = 0;
    if (fstat(fd, &status) < 0)
        rc = err_sys(errno, "%s", index->path);
    else if (status.st_size > 0 && !(index->bytes = malloc((size_t)status.st_size)))
        rc = err_no_memory();
    if (rc == 0 && status.st_size > 0) {
        ssize_t got = pread(fd, index->bytes, (size_t)status.st_size, 0);
        if (got < 0)
            rc = err_sys(errno, "%s", index->path);
        else
            index->size = (size_t)got;
    }
    close(fd);
    return rc;
}

static void
tell(struct verify *verify, const struct index *index, size_t at, int64_t offset,
    const char *problem)
{
    struct verify_damage damage = {
        .file = index->path, .position = (int64_t)at, .offset = offset, .problem = problem};
    verify_tell(verify, &damage);
}

/** Entries of zeros at the end are room that was not used. */
static size_t
used_bytes(const struct index *index, size_t entry_bytes)
{
    size_t used = index->size;
    while (used > 0 && index->bytes[used - 1] == 0)
        used--;
    used += entry_bytes - 1;
    used -= used % entry_bytes;
    return used < index->size ? used : index->size;
}

/** Whether the batch at `position` exists and contains `offset`. */
static bool
leads_to(struct logfile *file, int64_t position, int64_t offset)
{
    const uint8_t *bytes;
    struct batch_header header;
    return logfile_batch(file, position, &bytes, &header) == LOGFILE_BATCH &&
           header.base_offset <= offset && offset < batch_next_offset(&header);
}

static void
check_index(struct verify *verify, struct logfile *file, const struct index *index, int64_t end)
{
    int64_t last_offset = -1, last_position = -1;
    size_t used = used_bytes(index, INDEX_ENTRY_BYTES);
    for (size_t at = 0; at < used; at += INDEX_ENTRY_BYTES) {
        if (used - at < INDEX_ENTRY_BYTES) {
            tell(verify, index, at, last_offset, "the last entry is cut off" REMEDY);
            return;
        }
        int64_t offset = file->base_offset + bytes_get_u32(index->bytes + at);
        int64_t position = bytes_get_u32(index->bytes + at + 4);
        if (offset <= last_offset || position <= last_position) {
            tell(verify, index, at, offset, "the entries do not rise" REMEDY);
            return;
        }
        if (position >= end || !leads_to(file, position, offset)) {
            tell(verify, index, at, offset, "the entry leads to no batch with this offset" REMEDY);
            return;
        }
        last_offset = offset;
        last_position = position;
    }
}

static void
check_timeindex(struct verify *verify, const struct logfile *file, const struct index *index)
{
    int64_t last_time = INT64_MIN, last_offset = -1;
    size_t used = used_bytes(index, TIMEINDEX_ENTRY_BYTES);
    for (size_t at = 0; at < used; at += TIMEINDEX_ENTRY_BYTES) {
        if (used - at < TIMEINDEX_ENTRY_BYTES) {
            tell(verify, index, at, last_offset, "the last entry is cut off" REMEDY);
            return;
        }
        int64_t time = bytes_get_i64(index->bytes + at);
        int64_t offset = file->base_offset + bytes_get_u32(index->bytes + at + 8);
        if (time < last_time || offset < last_offset) {
            tell(verify, index, at, offset, "the entries do not rise" REMEDY);
            return;
        }
        last_time = time;
        last_offset = offset;
    }
}

int
verify_indexes(struct verify *verify, struct logfile *file, int64_t end)
{
    struct index index;
    int rc = load(file, ".index", &index);
    if (rc == 0)
        check_index(verify, file, &index, end);
    free(index.bytes);
    if (rc < 0)
        return rc;
    rc = load(file, ".timeindex", &index);
    if (rc == 0)
        check_timeindex(verify, file, &index);
    free(index.bytes);
    return rc;
}
