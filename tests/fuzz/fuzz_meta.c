/* SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"
#include "fuzz/target.h"
#include "meta/meta.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096 };

static char folder[64];

static const char *
path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void
remove_all(void)
{
    unlink(path_of("data.mdb"));
    unlink(path_of("lock.mdb"));
    unlink(path_of("backup"));
    rmdir(folder);
}

static void
make_folder(void)
{
    snprintf(folder, sizeof folder, "/dev/shm/shmbus-fuzz-meta-XXXXXX");
    MUST(mkdtemp(folder));
    atexit(remove_all);
}

/** Writes the input as LMDB's file, rounded down to pages as a real one is. */
static void
write_file(const uint8_t *data, size_t size)
{
    int fd = open(path_of("data.mdb"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size -= size % PAGE_BYTES;
    MUST(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
    unlink(path_of("backup"));
}

static int
touch(void *context, const struct meta_row *row)
{
    unsigned *sum = context;
    for (size_t i = 0; i < row->value_bytes; i++)
        *sum += ((const uint8_t *)row->value)[i];
    return 0;
}

/** Reads and writes everything that an accepted file leads to. */
static void
use(struct meta *meta)
{
    static char large[6000];
    unsigned sum = 0;
    int64_t index;
    struct meta_checkpoint checkpoint = {.bytes = "12345678", .byte_count = 8};
    memset(large, 'x', sizeof large);
    meta_rows(meta, touch, &sum);
    meta_checkpoints_save(meta, &checkpoint, 1);
    for (int i = 0; i < 6; i++) {
        char key = (char)('a' + i);
        struct meta_row row = {&key, large, 1, i % 2 ? sizeof large : 10};
        struct meta_change change = {"command", 7, &row, 1, NULL};
        if (meta_commit(meta, &change, &index) < 0)
            break;
    }
    meta_rows(meta, touch, &sum);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!folder[0])
        make_folder();
    write_file(data, size);
    struct meta *meta;
    struct meta_options options = {folder, 1 << 20, 1};
    int rc = meta_open(&options, &meta);
    MUST(rc == 0 || err_text()[0] != '\0');
    if (rc == 0)
        use(meta);
    meta_close(&meta);
    return 0;
}
