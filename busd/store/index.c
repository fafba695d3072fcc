/* SPDX-License-Identifier: Apache-2.0 */
#include "store/index.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "base/trace.h"
#include "record/batch_header.h"
#include "store/files.h"
#include "store/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK_ENTRIES = 4096 };

void
index_reset(struct index *index)
{
    *index = (struct index){.loaded = true,
        .offset = -1,
        .last = {.offset = -1},
        .max_timestamp = -1,
        .max_offset = -1,
        .indexed_timestamp = -1};
}

/* The fd of one of the two files, or -1 with *rc 0 when it is missing and may be. */
static int
open_file(const struct index_files *files, const char *suffix, int flags, int *rc)
{
    char name[FILES_NAME_BYTES_MAX], whole[FILES_NAME_BYTES_MAX];
    snprintf(whole, sizeof whole, "%s%s", suffix, files->fresh ? ".clean" : "");
    files_name(name, files->base_offset, whole);
    char *path = files_path(files->folder, name);
    *rc = 0;
    if (!path) {
        *rc = err_no_memory();
        return -1;
    }
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0 && !(errno == ENOENT && !(flags & O_CREAT)))
        *rc = err_sys(errno, "open %s", path);
    free(path);
    return fd;
}

static struct index_entry
decode(const uint8_t *p, int64_t base_offset)
{
    return (struct index_entry){
        .offset = base_offset + bytes_get_i32(p), .position = bytes_get_i32(p + 4)};
}

static struct index_time_entry
decode_time(const uint8_t *p, int64_t base_offset)
{
    return (struct index_time_entry){
        .timestamp = bytes_get_i64(p), .offset = base_offset + bytes_get_i32(p + 8)};
}

/* What index_load() knows while it reads. */
struct load {
    struct index *index;
    int64_t base_offset;
    int64_t end_offset;
    int64_t end_position;
    int64_t time_offset; /* of the last time entry */
    bool cut;            /* the file did not end with its last good entry, or was missing */
    bool wrong;          /* entries of either file were cut off */
};

/* Takes an entry when it is good; false ends the good part of the file. */
static bool
take_entry(struct load *load, const uint8_t *p)
{
    struct index *index = load->index;
    struct index_entry entry = decode(p, load->base_offset);
    if (entry.offset <= index->last.offset || entry.offset < load->base_offset ||
        entry.offset >= load->end_offset || entry.position <= index->last.position ||
        entry.position >= load->end_position)
        return false;
    index->last = entry;
    index->entries++;
    return true;
}

static bool
take_time_entry(struct load *load, const uint8_t *p)
{
    struct index *index = load->index;
    struct index_time_entry entry = decode_time(p, load->base_offset);
    if (entry.timestamp <= index->indexed_timestamp || entry.offset < load->base_offset ||
        entry.offset <= load->time_offset || entry.offset >= load->end_offset)
        return false;
    index->indexed_timestamp = entry.timestamp;
    index->time_entries++;
    load->time_offset = entry.offset;
    return true;
}

/* Offers the entries of a file one by one and cuts the file behind the last one taken. */
static int
load_entries(struct load *load, int fd, size_t entry_bytes,
    bool (*take)(struct load *load, const uint8_t *p))
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return err_sys(errno, "look at an index");
    int64_t count = status.st_size / (int64_t)entry_bytes;
    uint8_t *chunk = malloc(CHUNK_ENTRIES * entry_bytes);
    if (!chunk)
        return err_no_memory();
    int64_t taken = 0;
    int rc = 0;
    bool good = true;
    while (good && rc == 0 && taken < count) {
        int64_t n = count - taken < CHUNK_ENTRIES ? count - taken : CHUNK_ENTRIES;
        rc = walk_read(fd, chunk, (size_t)n * entry_bytes, taken * (int64_t)entry_bytes);
        for (int64_t i = 0; good && rc == 0 && i < n; i++) {
            good = take(load, chunk + (size_t)i * entry_bytes);
            taken += good;
        }
    }
    free(chunk);
    load->cut = rc == 0 && taken * (int64_t)entry_bytes < status.st_size;
    load->wrong |= load->cut;
    if (load->cut && ftruncate(fd, taken * (int64_t)entry_bytes) < 0)
        rc = err_sys(errno, "cut an index");
    return rc;
}

static int
load_file(struct load *load, const struct index_files *files, const char *suffix,
    size_t entry_bytes, bool (*take)(struct load *load, const uint8_t *p))
{
    int rc;
    int fd = open_file(files, suffix, O_RDWR, &rc);
    load->cut = fd < 0;
    if (fd < 0)
        return rc;
    rc = load_entries(load, fd, entry_bytes, take);
    close(fd);
    return err_prefix(rc, "index of segment %lld", (long long)files->base_offset);
}

int
index_load(
    struct index *index, const struct index_files *files, int64_t end_offset, int64_t end_position)
{
    struct index fresh;
    index_reset(&fresh);
    struct load load = {.index = &fresh,
        .base_offset = files->base_offset,
        .end_offset = end_offset,
        .end_position = end_position,
        .time_offset = -1};
    int rc = load_file(&load, files, ".timeindex", INDEX_TIME_ENTRY_BYTES, take_time_entry);
    /* Entries behind what is left of the time index would promise more than it holds. An empty one
     * belongs to records without time, or was emptied: it costs little to write both again. */
    if ((load.cut || fresh.time_entries == 0) && load.time_offset + 1 < load.end_offset)
        load.end_offset = load.time_offset + 1;
    if (rc == 0)
        rc = load_file(&load, files, ".index", INDEX_ENTRY_BYTES, take_entry);
    if (rc < 0)
        return rc;
    if (load.wrong)
        trace(TRACE_NOTICE,
            "%s/%020lld.index or .timeindex does not fit its segment: it "
            "is written again",
            files->folder, (long long)files->base_offset);
    fresh.position = fresh.last.position;
    fresh.max_timestamp = fresh.indexed_timestamp;
    fresh.max_offset = load.time_offset;
    *index = fresh;
    return 0;
}

static int
write_all(int fd, const uint8_t *bytes, size_t n, int64_t position)
{
    while (n > 0) {
        ssize_t put = pwrite(fd, bytes, n, position);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return err_sys(errno, "write an index");
        bytes += put;
        n -= (size_t)put;
        position += put;
    }
    return 0;
}

static int
append_bytes(const struct index_files *files, const char *suffix, const uint8_t *bytes, size_t n,
    int64_t position)
{
    if (n == 0)
        return 0;
    int rc;
    int fd = open_file(files, suffix, O_WRONLY | O_CREAT, &rc);
    if (fd < 0)
        return rc;
    /* An index that was reset starts over in a file that may still hold what was wrong. */
    if (position == 0 && ftruncate(fd, 0) < 0)
        rc = err_sys(errno, "cut an index");
    if (rc == 0)
        rc = write_all(fd, bytes, n, position);
    close(fd);
    return err_prefix(rc, "index of segment %lld", (long long)files->base_offset);
}

static int
sync_file(const struct index_files *files, const char *suffix)
{
    int rc;
    int fd = open_file(files, suffix, O_RDONLY, &rc);
    if (fd < 0)
        return rc;
    if (fdatasync(fd) < 0)
        rc = err_sys(errno, "flush the index of segment %lld", (long long)files->base_offset);
    close(fd);
    return rc;
}

int
index_sync(const struct index_files *files)
{
    int rc = sync_file(files, ".timeindex");
    return rc < 0 ? rc : sync_file(files, ".index");
}

int
index_append(
    const struct index *index, const struct index_files *files, const struct index_batch *batch)
{
    MUST(batch->count <= INDEX_BATCH_MAX && batch->time_count <= INDEX_BATCH_MAX);
    uint8_t bytes[INDEX_BATCH_MAX * INDEX_TIME_ENTRY_BYTES];
    for (size_t i = 0; i < batch->time_count; i++) {
        uint8_t *p = bytes + i * INDEX_TIME_ENTRY_BYTES;
        bytes_put_i64(p, batch->time_entries[i].timestamp);
        bytes_put_i32(p + 8, (int32_t)(batch->time_entries[i].offset - files->base_offset));
    }
    int rc = append_bytes(files, ".timeindex", bytes, batch->time_count * INDEX_TIME_ENTRY_BYTES,
        (int64_t)index->time_entries * INDEX_TIME_ENTRY_BYTES);
    for (size_t i = 0; i < batch->count; i++) {
        uint8_t *p = bytes + i * INDEX_ENTRY_BYTES;
        bytes_put_i32(p, (int32_t)(batch->entries[i].offset - files->base_offset));
        bytes_put_i32(p + 4, (int32_t)batch->entries[i].position);
    }
    if (rc == 0)
        rc = append_bytes(files, ".index", bytes, batch->count * INDEX_ENTRY_BYTES,
            (int64_t)index->entries * INDEX_ENTRY_BYTES);
    return rc;
}

void
index_close(struct index *index, struct index_batch *batch)
{
    if (index->max_timestamp <= index->indexed_timestamp)
        return;
    batch->time_entries[batch->time_count++] =
        (struct index_time_entry){.timestamp = index->max_timestamp, .offset = index->max_offset};
    index->indexed_timestamp = index->max_timestamp;
}

void
index_take(struct index *index, struct index_batch *batch, const struct batch_header *header,
    int64_t position, int64_t interval)
{
    int64_t last_offset = batch_next_offset(header) - 1;
    if (header->max_timestamp > index->max_timestamp) {
        index->max_timestamp = header->max_timestamp;
        index->max_offset = last_offset;
    }
    if (position - index->last.position > interval) {
        index_close(index, batch);
        index->last = (struct index_entry){.offset = last_offset, .position = position};
        batch->entries[batch->count++] = index->last;
    }
    index->position = position + (int64_t)batch_bytes(header);
    index->offset = last_offset + 1;
}

/* A binary search in a file: how many of the first `count` entries satisfy `below`, which holds for
 * a first part of them only. */
struct search {
    int fd;
    size_t entry_bytes;
    uint32_t count;
    int64_t base_offset;
    int64_t key;
    bool (*below)(const struct search *search, const uint8_t *p);
};

static int
search_run(const struct search *search, uint32_t *border)
{
    uint32_t low = 0, high = search->count;
    while (low < high) {
        uint8_t p[INDEX_TIME_ENTRY_BYTES];
        uint32_t middle = low + (high - low) / 2;
        int rc = walk_read(
            search->fd, p, search->entry_bytes, (int64_t)middle * (int64_t)search->entry_bytes);
        if (rc < 0)
            return rc;
        if (search->below(search, p))
            low = middle + 1;
        else
            high = middle;
    }
    *border = low;
    return 0;
}

static bool
offset_not_above(const struct search *search, const uint8_t *p)
{
    return decode(p, search->base_offset).offset <= search->key;
}

static bool
time_below(const struct search *search, const uint8_t *p)
{
    return decode_time(p, search->base_offset).timestamp < search->key;
}

/* Runs a search and reads the entry before the border; *p is valid when *found. */
static int
find(const struct index_files *files, const char *suffix, struct search *search,
    uint8_t p[INDEX_TIME_ENTRY_BYTES], bool *found)
{
    int rc;
    *found = false;
    if (search->count == 0)
        return 0;
    search->fd = open_file(files, suffix, O_RDONLY, &rc);
    if (search->fd < 0)
        return rc;
    uint32_t border = 0;
    rc = search_run(search, &border);
    if (rc == 0 && border > 0) {
        *found = true;
        rc = walk_read(search->fd, p, search->entry_bytes,
            (int64_t)(border - 1) * (int64_t)search->entry_bytes);
    }
    close(search->fd);
    return err_prefix(rc, "index of segment %lld", (long long)files->base_offset);
}

int
index_find_offset(const struct index *index, const struct index_files *files, int64_t offset,
    struct index_entry *entry)
{
    uint8_t p[INDEX_TIME_ENTRY_BYTES];
    bool found;
    struct search search = {.entry_bytes = INDEX_ENTRY_BYTES,
        .count = index->entries,
        .base_offset = files->base_offset,
        .key = offset,
        .below = offset_not_above};
    int rc = find(files, ".index", &search, p, &found);
    *entry = rc == 0 && found ? decode(p, files->base_offset) : (struct index_entry){.offset = -1};
    return rc;
}

int
index_find_time(const struct index *index, const struct index_files *files, int64_t timestamp,
    struct index_time_entry *entry)
{
    uint8_t p[INDEX_TIME_ENTRY_BYTES];
    bool found;
    struct search search = {.entry_bytes = INDEX_TIME_ENTRY_BYTES,
        .count = index->time_entries,
        .base_offset = files->base_offset,
        .key = timestamp,
        .below = time_below};
    int rc = find(files, ".timeindex", &search, p, &found);
    *entry = rc == 0 && found ? decode_time(p, files->base_offset)
                              : (struct index_time_entry){.timestamp = -1, .offset = -1};
    return rc;
}
