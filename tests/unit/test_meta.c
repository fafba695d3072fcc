/* SPDX-License-Identifier: Apache-2.0 */
#include "meta/meta.h"

#include "unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static const char *
path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void
make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/shmbus-test-meta-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
}

static void
remove_folder(void)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "backup", "backup.new", "kept"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unlink(path_of(names[i]));
    CU_ASSERT_EQUAL(rmdir(folder), 0);
}

static int
open_meta(struct meta **meta)
{
    struct meta_options options = {folder, 16 << 20, 7};
    return meta_open(&options, meta);
}

static int
commit(struct meta *meta, const char *key, const char *value, int64_t *index)
{
    struct meta_row row = {key, value, strlen(key), strlen(value)};
    struct meta_change change = {"command", 7, &row, 1, NULL};
    return meta_commit(meta, &change, index);
}

/** Joins all rows as "key=value;". */
static int
join(void *context, const struct meta_row *row)
{
    char *text = context;
    size_t used = strlen(text);
    snprintf(text + used, 1024 - used, "%.*s=%.*s;", (int)row->key_bytes, (const char *)row->key,
        (int)row->value_bytes, (const char *)row->value);
    return 0;
}

static const char *
all_rows(struct meta *meta)
{
    static char text[1024];
    text[0] = '\0';
    if (meta_rows(meta, join, text) < 0)
        return err_text();
    return text;
}

static int
same_command(void *context, const void *command, size_t n)
{
    (void)context;
    CU_ASSERT_EQUAL(n, 7);
    CU_ASSERT_EQUAL(memcmp(command, "command", 7), 0);
    return 0;
}

static void
test_rows_and_log(void)
{
    struct meta *meta;
    int64_t index, first, last;
    make_folder();
    CU_ASSERT_EQUAL_FATAL(open_meta(&meta), 0);
    CU_ASSERT_EQUAL(meta_log_range(meta, &first, &last), 0);
    CU_ASSERT_EQUAL(last, -1);
    CU_ASSERT_EQUAL(commit(meta, "b", "2", &index), 0);
    CU_ASSERT_EQUAL(index, 0);
    CU_ASSERT_EQUAL(commit(meta, "a", "1", &index), 0);
    CU_ASSERT_EQUAL(commit(meta, "b", "3", &index), 0);
    CU_ASSERT_EQUAL(index, 2);
    CU_ASSERT_STRING_EQUAL(all_rows(meta), "a=1;b=3;");
    meta_close(&meta);
    CU_ASSERT_PTR_NULL(meta);
    CU_ASSERT_EQUAL_FATAL(open_meta(&meta), 0);
    CU_ASSERT_EQUAL(commit(meta, "a", "", &index), 0);
    CU_ASSERT_EQUAL(commit(meta, "gone", "", &index), 0);
    CU_ASSERT_STRING_EQUAL(all_rows(meta), "b=3;");
    CU_ASSERT_EQUAL(meta_log_range(meta, &first, &last), 0);
    CU_ASSERT_EQUAL(first, 0);
    CU_ASSERT_EQUAL(last, 4);
    CU_ASSERT_EQUAL(meta_log_read(meta, 4, same_command, NULL), 0);
    CU_ASSERT_EQUAL(meta_log_read(meta, 5, same_command, NULL), -BUS_ERR_OFFSET_OUT_OF_RANGE);
    meta_close(&meta);
    meta_close(&meta);
    remove_folder();
}

static void
test_identity(void)
{
    struct meta *meta;
    make_folder();
    CU_ASSERT_EQUAL_FATAL(open_meta(&meta), 0);
    struct meta_identity was = *meta_identity(meta);
    CU_ASSERT_EQUAL(strlen(was.cluster_id), META_CLUSTER_ID_BYTES);
    CU_ASSERT_EQUAL(was.node_id, 7);
    meta_close(&meta);
    struct meta_options options = {folder, 16 << 20, 8};
    CU_ASSERT_EQUAL_FATAL(meta_open(&options, &meta), 0);
    CU_ASSERT_EQUAL(memcmp(&was, meta_identity(meta), sizeof was), 0);
    meta_close(&meta);
    remove_folder();
}

static void
test_checkpoints(void)
{
    static const uint8_t id[16] = {1, 2, 3};
    struct meta *meta;
    char bytes[8] = "";
    make_folder();
    CU_ASSERT_EQUAL_FATAL(open_meta(&meta), 0);
    CU_ASSERT_EQUAL(meta_checkpoint_load(meta, id, 3, bytes, 8), META_CHECKPOINT_NONE);
    struct meta_checkpoint two[2] = {{"12345678", 8, {0}, 3}, {"abcdefgh", 8, {0}, 4}};
    memcpy(two[0].topic_id, id, 16);
    memcpy(two[1].topic_id, id, 16);
    CU_ASSERT_EQUAL(meta_checkpoints_save(meta, two, 2), 0);
    CU_ASSERT_EQUAL(meta_checkpoint_load(meta, id, 3, bytes, 8), 0);
    CU_ASSERT_EQUAL(memcmp(bytes, "12345678", 8), 0);
    CU_ASSERT_EQUAL(meta_checkpoint_load(meta, id, 4, bytes, 7), META_CHECKPOINT_NONE);
    two[0].bytes = NULL;
    CU_ASSERT_EQUAL(meta_checkpoints_save(meta, two, 1), 0);
    CU_ASSERT_EQUAL(meta_checkpoints_save(meta, two, 1), 0);
    CU_ASSERT_EQUAL(meta_checkpoint_load(meta, id, 3, bytes, 8), META_CHECKPOINT_NONE);
    CU_ASSERT_EQUAL(meta_checkpoint_load(meta, id, 4, bytes, 8), 0);
    meta_close(&meta);
    remove_folder();
}

static void
test_log_is_trimmed(void)
{
    struct meta *meta;
    int64_t index, first, last;
    make_folder();
    CU_ASSERT_EQUAL_FATAL(open_meta(&meta), 0);
    for (int i = 0; i < 4100; i++)
        if (commit(meta, "k", "v", &index) < 0)
            CU_FAIL_FATAL("a commit failed");
    CU_ASSERT_EQUAL(meta_log_range(meta, &first, &last), 0);
    CU_ASSERT_EQUAL(last, 4099);
    CU_ASSERT_EQUAL(first, 4);
    meta_close(&meta);
    CU_ASSERT_EQUAL_FATAL(open_meta(&meta), 0); /* lists of free pages were walked, too */
    meta_close(&meta);
    remove_folder();
}

static void
test_full(void)
{
    static char large[1 << 16];
    struct meta_options options = {folder, 1 << 20, 1};
    struct meta *meta;
    int64_t index;
    int rc = 0;
    make_folder();
    CU_ASSERT_EQUAL_FATAL(meta_open(&options, &meta), 0);
    memset(large, 'x', sizeof large - 1);
    char key[16];
    for (int i = 0; rc == 0 && i < 100; i++) {
        snprintf(key, sizeof key, "k%d", i);
        rc = commit(meta, key, large, &index);
    }
    CU_ASSERT_EQUAL(rc, -BUS_ERR_DISK_FULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "metadata.map.bytes"));
    CU_ASSERT_EQUAL(commit(meta, "k1", "", &index), 0);
    CU_ASSERT_EQUAL(commit(meta, "k2", "small", &index), 0);
    struct meta_row row = {"", "v", 0, 1};
    struct meta_change change = {"c", 1, &row, 1, NULL};
    CU_ASSERT_EQUAL(meta_commit(meta, &change, &index), -BUS_ERR_INVALID_ARGUMENT);
    meta_close(&meta);
    CU_ASSERT_EQUAL_FATAL(meta_open(&options, &meta), 0);
    meta_close(&meta);
    remove_folder();
}

static void
test_backup(void)
{
    struct meta *meta;
    int64_t index;
    make_folder();
    CU_ASSERT_EQUAL_FATAL(open_meta(&meta), 0);
    CU_ASSERT_EQUAL(commit(meta, "a", "1", &index), 0);
    CU_ASSERT_EQUAL(commit(meta, "b", "2", &index), 0);
    struct meta_identity was = *meta_identity(meta);
    meta_close(&meta);
    CU_ASSERT_EQUAL(unlink(path_of("data.mdb")), 0);
    CU_ASSERT_EQUAL_FATAL(open_meta(&meta), 0);
    CU_ASSERT_STRING_EQUAL(all_rows(meta), "a=1;b=2;");
    CU_ASSERT_EQUAL(memcmp(&was, meta_identity(meta), sizeof was), 0);
    meta_close(&meta);
    remove_folder();
}

static size_t
read_file(const char *name, uint8_t *bytes, size_t n)
{
    int fd = open(path_of(name), O_RDONLY);
    ssize_t got = read(fd, bytes, n);
    close(fd);
    CU_ASSERT_FATAL(got > 0);
    return (size_t)got;
}

static void
write_file(const char *name, const uint8_t *bytes, size_t n)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CU_ASSERT_EQUAL_FATAL(write(fd, bytes, n), (ssize_t)n);
    close(fd);
}

/* busd was killed between a commit and its backup: the next one makes up for it, changes or not. */
static void
test_late_backup(void)
{
    struct meta *meta;
    int64_t index;
    uint8_t old[4096];
    make_folder();
    CU_ASSERT_EQUAL_FATAL(open_meta(&meta), 0);
    CU_ASSERT_EQUAL(commit(meta, "a", "1", &index), 0);
    meta_close(&meta);
    size_t n = read_file("backup", old, sizeof old);
    CU_ASSERT_EQUAL_FATAL(open_meta(&meta), 0);
    CU_ASSERT_EQUAL(commit(meta, "b", "2", &index), 0);
    meta_close(&meta);
    write_file("backup", old, n);
    CU_ASSERT_EQUAL_FATAL(open_meta(&meta), 0);
    CU_ASSERT_EQUAL(meta_backup(meta), 0);
    meta_close(&meta);
    CU_ASSERT_EQUAL(unlink(path_of("data.mdb")), 0);
    CU_ASSERT_EQUAL_FATAL(open_meta(&meta), 0);
    CU_ASSERT_STRING_EQUAL(all_rows(meta), "a=1;b=2;");
    meta_close(&meta);
    remove_folder();
}

static void
test_damaged_backup(void)
{
    static uint8_t good[4096], bad[4096];
    struct meta *meta;
    int64_t index;
    make_folder();
    CU_ASSERT_EQUAL_FATAL(open_meta(&meta), 0);
    CU_ASSERT_EQUAL(commit(meta, "a", "1", &index), 0);
    meta_close(&meta);
    size_t n = read_file("backup", good, sizeof good);
    for (size_t i = 0; i < n; i++) {
        unlink(path_of("data.mdb"));
        memcpy(bad, good, n);
        bad[i] ^= 1;
        write_file("backup", bad, n);
        CU_ASSERT(open_meta(&meta) < 0);
        meta_close(&meta);
        write_file("backup", good, i);
        CU_ASSERT_EQUAL(open_meta(&meta), -BUS_ERR_CORRUPT_MESSAGE);
        meta_close(&meta);
    }
    write_file("backup", good, n);
    CU_ASSERT_EQUAL_FATAL(
        open_meta(&meta), 0); /* a failed attempt left nothing that is in the way */
    CU_ASSERT_STRING_EQUAL(all_rows(meta), "a=1;");
    meta_close(&meta);
    remove_folder();
}

/** An environment with branch pages, large values and free pages. */
static size_t
make_large(uint8_t *bytes, size_t n)
{
    static char value[9000];
    struct meta *meta;
    int64_t index;
    char key[16];
    CU_ASSERT_EQUAL_FATAL(open_meta(&meta), 0);
    for (int i = 0; i < 60; i++) {
        snprintf(key, sizeof key, "key-%d", i * 7 % 60);
        memset(value, 'v', sizeof value - 1);
        value[i % 10 == 0 ? 8999 : 400] = '\0';
        CU_ASSERT_EQUAL(commit(meta, key, value, &index), 0);
        if (i % 3 == 0)
            CU_ASSERT_EQUAL(commit(meta, key, "", &index), 0);
    }
    meta_close(&meta);
    return read_file("data.mdb", bytes, n);
}

/** Opens a damaged file and, when it is let in, looks at and writes everything. */
static void
try_damaged(unsigned *refused)
{
    struct meta *meta;
    static char text[1024];
    int64_t index;
    uint8_t id[16] = {0};
    char bytes[8];
    if (open_meta(&meta) < 0) {
        ++*refused;
        return;
    }
    text[0] = '\0';
    meta_rows(meta, join, text);
    meta_checkpoint_load(meta, id, 0, bytes, sizeof bytes);
    for (int i = 0; i < 8; i++)
        if (commit(meta, "key-1", "other", &index) < 0)
            break;
    meta_close(&meta);
}

static void
test_bit_flips(void)
{
    static uint8_t good[1 << 20], bad[1 << 20];
    unsigned refused = 0;
    make_folder();
    size_t n = make_large(good, sizeof good);
    CU_ASSERT(n > 30 * 4096);
    unlink(path_of("backup"));
    unsigned state = 12345;
    for (int i = 0; i < 600; i++) {
        memcpy(bad, good, n);
        state = state * 1103515245 + 12345;
        size_t page = (state >> 8) % (n / 4096);
        state = state * 1103515245 + 12345;
        /* Most of the structure lies in the heads of pages: they get half of the flips. */
        size_t at = page * 4096 + (state >> 8) % (i % 2 ? 160 : 4096);
        bad[at] = (uint8_t)(i % 3 == 0 ? 0xff : bad[at] ^ 1u << (i % 8));
        write_file("data.mdb", bad, n);
        try_damaged(&refused);
        unlink(path_of("backup"));
    }
    CU_ASSERT(refused > 20);
    CU_ASSERT(refused < 600);
    remove_folder();
}

static void
test_cut_file(void)
{
    static uint8_t good[1 << 20];
    struct meta *meta;
    make_folder();
    size_t n = make_large(good, sizeof good);
    unlink(path_of("backup"));
    for (size_t length = 1; length < n; length += length == 1 ? 4095 : 4096) {
        write_file("data.mdb", good, length);
        CU_ASSERT_EQUAL(open_meta(&meta), -BUS_ERR_CORRUPT_MESSAGE);
        CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "data.mdb"));
        CU_ASSERT_PTR_NOT_NULL(strstr(err_text(), "Remedy"));
        CU_ASSERT_PTR_NULL(meta);
    }
    memset(good, 0, n);
    write_file("data.mdb", good, n);
    CU_ASSERT_EQUAL(open_meta(&meta), -BUS_ERR_CORRUPT_MESSAGE);
    remove_folder();
}

static void
test_newer_versions(void)
{
    static uint8_t bytes[1 << 20];
    struct meta *meta;
    make_folder();
    size_t n = make_large(bytes, sizeof bytes);
    bytes[16 + 4] = bytes[4096 + 16 + 4] = 9; /* the version in both meta pages */
    write_file("data.mdb", bytes, n);
    CU_ASSERT_EQUAL(open_meta(&meta), -BUS_ERR_DATA_VERSION);
    unlink(path_of("data.mdb"));
    n = read_file("backup", bytes, sizeof bytes);
    bytes[strlen("shmbus-metadata ")] = '2';
    write_file("backup", bytes, n);
    CU_ASSERT_EQUAL(open_meta(&meta), -BUS_ERR_DATA_VERSION);
    remove_folder();
}

static const struct unit_case cases[] = {
    {"commits change rows and log, and stay", test_rows_and_log},
    {"the identity is made once", test_identity},
    {"checkpoints are kept and removed", test_checkpoints},
    {"the log keeps its young end", test_log_is_trimmed},
    {"a full map is a clean failure", test_full},
    {"a lost environment comes back from the backup", test_backup},
    {"a backup that was not written in time is made up for", test_late_backup},
    {"a damaged backup is refused", test_damaged_backup},
    {"flipped bits are refused or harmless", test_bit_flips},
    {"a cut file is refused with a remedy", test_cut_file},
    {"newer formats are refused", test_newer_versions},
    {NULL, NULL},
};

void
register_meta(void)
{
    unit_register("meta", cases);
}
