/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "store/files.h"
#include "store/index.h"
#include "unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BASE = 500 };

struct place {
    char folder[64];
    struct index_files files;
};

static void
place_init(struct place *place)
{
    snprintf(place->folder, sizeof place->folder, "/tmp/shmbus-unit-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(place->folder));
    place->files = (struct index_files){.folder = place->folder, .base_offset = BASE};
}

static void
place_fini(struct place *place)
{
    CU_ASSERT_EQUAL(files_remove_folder(place->folder), 0);
}

static int64_t
size_of(const struct place *place, const char *suffix)
{
    char name[FILES_NAME_BYTES_MAX];
    struct stat status;
    files_name(name, BASE, suffix);
    char *path = files_path(place->folder, name);
    int rc = stat(path, &status);
    free(path);
    return rc < 0 ? -1 : status.st_size;
}

static void
write_bytes(const struct place *place, const char *suffix, const void *bytes, size_t n)
{
    char name[FILES_NAME_BYTES_MAX];
    files_name(name, BASE, suffix);
    char *path = files_path(place->folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(write(fd, bytes, n), (ssize_t)n);
    close(fd);
    free(path);
}

/* Adds `count` entries: offset BASE + 10 i + 9 at position 100 i, time 1000 + 10 i. */
static void
add(struct index *index, const struct place *place, int first, int count)
{
    struct index_batch *batch = calloc(1, sizeof *batch);
    for (int i = first; i < first + count; i++) {
        batch->entries[batch->count++] =
            (struct index_entry){.offset = BASE + 10 * i + 9, .position = 100 * i};
        batch->time_entries[batch->time_count++] =
            (struct index_time_entry){.timestamp = 1000 + 10 * i, .offset = BASE + 10 * i + 9};
    }
    CU_ASSERT_EQUAL(index_append(index, &place->files, batch), 0);
    index->entries += (uint32_t)count;
    index->time_entries += (uint32_t)count;
    free(batch);
}

static void
test_missing_files_are_empty(void)
{
    struct place place;
    struct index index;
    struct index_entry entry;
    struct index_time_entry time;
    place_init(&place);
    CU_ASSERT_EQUAL(index_load(&index, &place.files, BASE + 100, 1000), 0);
    CU_ASSERT(index.loaded);
    CU_ASSERT_FALSE(index.complete);
    CU_ASSERT_EQUAL(index.entries, 0);
    CU_ASSERT_EQUAL(index.position, 0);
    CU_ASSERT_EQUAL(index.offset, -1);
    CU_ASSERT_EQUAL(index.max_timestamp, -1);
    CU_ASSERT_EQUAL(index_find_offset(&index, &place.files, BASE, &entry), 0);
    CU_ASSERT_EQUAL(entry.offset, -1);
    CU_ASSERT_EQUAL(entry.position, 0);
    CU_ASSERT_EQUAL(index_find_time(&index, &place.files, 5, &time), 0);
    CU_ASSERT_EQUAL(time.offset, -1);
    CU_ASSERT_EQUAL(size_of(&place, ".index"), -1);
    place_fini(&place);
}

static void
test_layout_is_kafkas(void)
{
    struct place place;
    struct index index;
    uint8_t bytes[INDEX_TIME_ENTRY_BYTES];
    place_init(&place);
    index_reset(&index);
    add(&index, &place, 1, 1);
    char path[128];
    snprintf(path, sizeof path, "%s/00000000000000000500.index", place.folder);
    int fd = open(path, O_RDONLY);
    CU_ASSERT_EQUAL(read(fd, bytes, sizeof bytes), INDEX_ENTRY_BYTES);
    close(fd);
    CU_ASSERT_EQUAL(bytes_get_i32(bytes), 19);
    CU_ASSERT_EQUAL(bytes_get_i32(bytes + 4), 100);
    snprintf(path, sizeof path, "%s/00000000000000000500.timeindex", place.folder);
    fd = open(path, O_RDONLY);
    CU_ASSERT_EQUAL(read(fd, bytes, sizeof bytes), INDEX_TIME_ENTRY_BYTES);
    close(fd);
    CU_ASSERT_EQUAL(bytes_get_i64(bytes), 1010);
    CU_ASSERT_EQUAL(bytes_get_i32(bytes + 8), 19);
    place_fini(&place);
}

static void
test_lookups_at_the_edges(void)
{
    struct place place;
    struct index index;
    struct index_entry entry;
    struct index_time_entry time;
    place_init(&place);
    index_reset(&index);
    add(&index, &place, 1, 300);
    add(&index, &place, 301, 400);
    for (int i = 1; i <= 700; i++) {
        CU_ASSERT_EQUAL(index_find_offset(&index, &place.files, BASE + 10 * i + 8, &entry), 0);
        CU_ASSERT_EQUAL(entry.position, 100 * (i - 1));
        CU_ASSERT_EQUAL(index_find_offset(&index, &place.files, BASE + 10 * i + 9, &entry), 0);
        CU_ASSERT_EQUAL(entry.position, 100 * i);
        CU_ASSERT_EQUAL(index_find_time(&index, &place.files, 1000 + 10 * i, &time), 0);
        CU_ASSERT_EQUAL(time.offset, i == 1 ? -1 : BASE + 10 * i - 1);
        CU_ASSERT_EQUAL(index_find_time(&index, &place.files, 1000 + 10 * i + 1, &time), 0);
        CU_ASSERT_EQUAL(time.offset, BASE + 10 * i + 9);
    }
    CU_ASSERT_EQUAL(index_find_offset(&index, &place.files, INT64_MAX, &entry), 0);
    CU_ASSERT_EQUAL(entry.position, 70000);
    CU_ASSERT_EQUAL(index_sync(&place.files), 0);
    place_fini(&place);
}

static void
test_load_keeps_the_good_part(void)
{
    struct place place;
    struct index index;
    place_init(&place);
    index_reset(&index);
    add(&index, &place, 1, 10);
    CU_ASSERT_EQUAL(index_load(&index, &place.files, BASE + 1000, 100000), 0);
    CU_ASSERT_EQUAL(index.entries, 10);
    CU_ASSERT_EQUAL(index.time_entries, 10);
    CU_ASSERT_EQUAL(index.position, 1000);
    CU_ASSERT_EQUAL(index.last.offset, BASE + 109);
    CU_ASSERT_EQUAL(index.max_timestamp, 1100);
    /* The end of the segment is right behind, at, and before the last entry. */
    CU_ASSERT_EQUAL(index_load(&index, &place.files, BASE + 110, 1001), 0);
    CU_ASSERT_EQUAL(index.entries, 10);
    CU_ASSERT_EQUAL(index_load(&index, &place.files, BASE + 110, 1000), 0);
    CU_ASSERT_EQUAL(index.entries, 9);
    CU_ASSERT_EQUAL(index.time_entries, 10);
    CU_ASSERT_EQUAL(size_of(&place, ".index"), 9 * INDEX_ENTRY_BYTES);
    CU_ASSERT_EQUAL(index_load(&index, &place.files, BASE + 99, 100000), 0);
    CU_ASSERT_EQUAL(index.entries, 8);
    CU_ASSERT_EQUAL(index.time_entries, 8);
    CU_ASSERT_EQUAL(size_of(&place, ".timeindex"), 8 * INDEX_TIME_ENTRY_BYTES);
    place_fini(&place);
}

static void
test_load_cuts_what_makes_no_sense(void)
{
    static const struct {
        int32_t offset, position;
    } bad[] = {{19, 300}, {29, 100}, {5, 300}, {-1, 300}, {29, -5}, {0, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct place place;
        struct index index;
        uint8_t bytes[3 * INDEX_ENTRY_BYTES + 3] = {0};
        place_init(&place);
        index_reset(&index);
        add(&index, &place, 1, 3);
        bytes_put_i32(bytes, 19);
        bytes_put_i32(bytes + 4, 100);
        bytes_put_i32(bytes + 8, bad[i].offset);
        bytes_put_i32(bytes + 12, bad[i].position);
        bytes_put_i32(bytes + 16, 39);
        bytes_put_i32(bytes + 20, 900);
        write_bytes(&place, ".index", bytes, sizeof bytes);
        CU_ASSERT_EQUAL(index_load(&index, &place.files, BASE + 1000, 100000), 0);
        CU_ASSERT_EQUAL(index.entries, 1);
        CU_ASSERT_EQUAL(size_of(&place, ".index"), INDEX_ENTRY_BYTES);
        place_fini(&place);
    }
}

static void
test_time_index_bounds_the_other(void)
{
    struct place place;
    struct index index;
    place_init(&place);
    index_reset(&index);
    add(&index, &place, 1, 10);
    /* Cut in the middle of an entry: nothing behind what is left may be promised. */
    char path[128];
    snprintf(path, sizeof path, "%s/00000000000000000500.timeindex", place.folder);
    CU_ASSERT_EQUAL(truncate(path, 4 * INDEX_TIME_ENTRY_BYTES + 1), 0);
    CU_ASSERT_EQUAL(index_load(&index, &place.files, BASE + 1000, 100000), 0);
    CU_ASSERT_EQUAL(index.time_entries, 4);
    CU_ASSERT_EQUAL(index.entries, 4);
    CU_ASSERT_EQUAL(index.position, 400);
    unlink(path);
    CU_ASSERT_EQUAL(index_load(&index, &place.files, BASE + 1000, 100000), 0);
    CU_ASSERT_EQUAL(index.entries, 0);
    place_fini(&place);
}

static void
test_reset_starts_the_files_over(void)
{
    struct place place;
    struct index index;
    place_init(&place);
    index_reset(&index);
    add(&index, &place, 1, 50);
    index_reset(&index);
    add(&index, &place, 1, 2);
    CU_ASSERT_EQUAL(size_of(&place, ".index"), 2 * INDEX_ENTRY_BYTES);
    CU_ASSERT_EQUAL(size_of(&place, ".timeindex"), 2 * INDEX_TIME_ENTRY_BYTES);
    place_fini(&place);
}

static void
test_lost_file_is_an_error(void)
{
    struct place place;
    struct index index;
    struct index_entry entry;
    place_init(&place);
    index_reset(&index);
    add(&index, &place, 1, 50);
    write_bytes(&place, ".index", "", 0);
    CU_ASSERT(index_find_offset(&index, &place.files, BASE + 200, &entry) < 0);
    CU_ASSERT_EQUAL(entry.position, 0);
    place_fini(&place);
}

static const struct unit_case cases[] = {
    {"missing files are empty indexes", test_missing_files_are_empty},
    {"the layout is Kafka's", test_layout_is_kafkas},
    {"lookups at the edges", test_lookups_at_the_edges},
    {"load keeps what lies in the segment", test_load_keeps_the_good_part},
    {"load cuts what makes no sense", test_load_cuts_what_makes_no_sense},
    {"a cut time index takes the offset index with it", test_time_index_bounds_the_other},
    {"a reset starts the files over", test_reset_starts_the_files_over},
    {"a file that was lost is an error", test_lost_file_is_an_error},
    {NULL, NULL},
};

void
register_index(void)
{
    unit_register("index", cases);
}
