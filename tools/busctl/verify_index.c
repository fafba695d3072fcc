/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/indexfile.h"
#include "busctl/verify.h"

#include "base/err.h"

#include <errno.h>

static void
tell(struct verify *verify, const struct indexfile *index, size_t at, int64_t offset,
    const char *problem)
{
    struct verify_damage damage = {
        .file = index->path, .position = (int64_t)at, .offset = offset, .problem = problem};
    verify_tell(verify, &damage);
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

/** What is wrong with an entry behind `last`; NULL: nothing. */
static const char *
judge(struct logfile *file, const struct indexfile *index, int64_t end,
    const struct indexfile_entry *entry, const struct indexfile_entry *last)
{
    bool rises = index->kind == INDEXFILE_TIME
                     ? entry->time_ms >= last->time_ms && entry->offset >= last->offset
                     : entry->offset > last->offset && entry->position > last->position;
    if (!rises)
        return "the entries do not rise" INDEXFILE_REMEDY;
    if (index->kind == INDEXFILE_TIME)
        return NULL;
    if (entry->position >= end ||
        !leads_to(file, entry->position, file->base_offset + entry->offset))
        return "the entry leads to no batch with this offset" INDEXFILE_REMEDY;
    return NULL;
}

static void
check(struct verify *verify, struct logfile *file, const struct indexfile *index, int64_t end)
{
    struct indexfile_entry entry, last = {-1, -1, INT64_MIN};
    for (size_t at = 0; at < index->used; at += index->entry_bytes, last = entry) {
        const char *problem = "the last entry is cut off" INDEXFILE_REMEDY;
        entry = last;
        if (indexfile_entry(index, at, &entry))
            problem = judge(file, index, end, &entry, &last);
        if (problem) {
            tell(verify, index, at, file->base_offset + entry.offset, problem);
            return;
        }
    }
}

static int
verify_one(struct verify *verify, struct logfile *file, const char *suffix, int64_t end)
{
    char path[PATH_MAX];
    struct indexfile index;
    if (!indexfile_sibling(file->path, suffix, path))
        return err_sys(ENAMETOOLONG, "%.100s…", file->path);
    int rc = indexfile_open(&index, path);
    if (rc == INDEXFILE_READ) {
        check(verify, file, &index, end);
        verify->indexes++;
    }
    indexfile_close(&index);
    return rc < 0 ? rc : 0;
}

int
verify_indexes(struct verify *verify, struct logfile *file, int64_t end)
{
    int rc = verify_one(verify, file, ".index", end);
    return rc < 0 ? rc : verify_one(verify, file, ".timeindex", end);
}
