/* SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"
#include "fuzz/target.h"
#include "store/index.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BASE_OFFSET = 1000, END_OFFSET = 1000 + (1 << 20), END_POSITION = 1 << 24 };

static char folder[64];
static char paths[2][128];

static void
clean_up(void)
{
    unlink(paths[0]);
    unlink(paths[1]);
    rmdir(folder);
}

static void
set_up(void)
{
    if (folder[0])
        return;
    snprintf(folder, sizeof folder, "/dev/shm/shmbus-fuzz-XXXXXX");
    MUST(mkdtemp(folder));
    snprintf(paths[0], sizeof paths[0], "%s/00000000000000001000.index", folder);
    snprintf(paths[1], sizeof paths[1], "%s/00000000000000001000.timeindex", folder);
    atexit(clean_up);
}

static void
write_file(const char *path, const uint8_t *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    MUST(fd >= 0);
    MUST(write(fd, data, size) == (ssize_t)size);
    close(fd);
}

static int64_t
size_of(const char *path)
{
    struct stat status;
    return stat(path, &status) < 0 ? 0 : status.st_size;
}

/* Lookups stay inside the segment and on the right side of what is looked for. */
static void
look_up(const struct index *index, const struct index_files *files, int64_t offset)
{
    struct index_entry entry;
    struct index_time_entry time;
    MUST(index_find_offset(index, files, offset, &entry) == 0);
    MUST(entry.offset <= offset || entry.offset == -1);
    MUST(entry.position >= 0 && entry.position < END_POSITION);
    MUST(entry.offset == -1 || (entry.offset >= BASE_OFFSET && entry.offset < END_OFFSET));
    MUST(index_find_time(index, files, offset, &time) == 0);
    MUST(time.offset == -1 || time.timestamp < offset);
    MUST(time.offset == -1 || (time.offset >= BASE_OFFSET && time.offset < END_OFFSET));
}

/* Entries that follow what was kept are kept too. */
static void
append(const struct index *index, const struct index_files *files)
{
    static struct index_batch batch;
    batch.count = batch.time_count = 0;
    if (index->last.offset + 1 < END_OFFSET && index->last.position + 1 < END_POSITION)
        batch.entries[batch.count++] = (struct index_entry){
            .offset = index->last.offset < BASE_OFFSET ? BASE_OFFSET : index->last.offset + 1,
            .position = index->last.position + 1};
    if (index->max_offset + 1 < END_OFFSET && index->indexed_timestamp < INT64_MAX)
        batch.time_entries[batch.time_count++] =
            (struct index_time_entry){.timestamp = index->indexed_timestamp + 1,
                .offset = index->max_offset < BASE_OFFSET ? BASE_OFFSET : index->max_offset + 1};
    MUST(index_append(index, files, &batch) == 0);
    struct index again;
    MUST(index_load(&again, files, END_OFFSET, END_POSITION) == 0);
    MUST(again.entries == index->entries + batch.count);
    MUST(again.time_entries == index->time_entries + batch.time_count);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    set_up();
    size_t half = size > 0 ? size * data[0] / 256 : 0;
    struct index_files files = {.folder = folder, .base_offset = BASE_OFFSET};
    struct index index;
    write_file(paths[0], data, half);
    write_file(paths[1], data + half, size - half);
    MUST(index_load(&index, &files, END_OFFSET, END_POSITION) == 0);
    MUST(index.position == index.last.position && index.position < END_POSITION);
    /* What was not good is gone. */
    MUST(size_of(paths[0]) == (int64_t)index.entries * INDEX_ENTRY_BYTES);
    MUST(size_of(paths[1]) == (int64_t)index.time_entries * INDEX_TIME_ENTRY_BYTES);
    const int64_t offsets[] = {INT64_MIN, 0, BASE_OFFSET, index.last.offset, index.max_offset,
        index.indexed_timestamp, END_OFFSET / 2, END_OFFSET, INT64_MAX};
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++)
        look_up(&index, &files, offsets[i]);
    append(&index, &files);
    return 0;
}
