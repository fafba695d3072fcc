/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/torture_live.h"

#include "base/check.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SLOTS = 1 << 17, /* of the table of blocks; half of them may be in use */
    SHM_NAMES_MAX = 256,
    SHM_NAME_BYTES_MAX = 128,
};

struct block {
    const void *at; /* NULL: the slot is free */
    const void *site;
    size_t number; /* counts allocations, so that a new block is told from an old one */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct block table[SLOTS];
static size_t blocks;
static size_t numbers;
static char shm_names[SHM_NAMES_MAX][SHM_NAME_BYTES_MAX];
static size_t shm_names_used;
/* A sum that threads add to; nothing else hangs on it. */
static _Atomic ptrdiff_t mapped;
/* The number of the last allocation before the baseline; only newer blocks are leaks. */
static size_t number_of_baseline;

static size_t
slot_of(const void *block)
{
    return (size_t)(((uintptr_t)block >> 4) * 0x9e3779b97f4a7c15u >> 47) % SLOTS;
}

void
live_block_add(const void *block, const void *site)
{
    if (!block)
        return;
    pthread_mutex_lock(&mutex);
    MUST(blocks < SLOTS / 2);
    size_t slot = slot_of(block);
    while (table[slot].at)
        slot = (slot + 1) % SLOTS;
    table[slot] = (struct block){.at = block, .site = site, .number = ++numbers};
    blocks++;
    pthread_mutex_unlock(&mutex);
}

/* Moves later blocks of the same run into the hole, so that a search never stops too early. */
static void
close_hole(size_t hole)
{
    for (size_t slot = (hole + 1) % SLOTS; table[slot].at; slot = (slot + 1) % SLOTS) {
        size_t home = slot_of(table[slot].at);
        if ((slot - home) % SLOTS < (slot - hole) % SLOTS)
            continue;
        table[hole] = table[slot];
        hole = slot;
    }
    table[hole].at = NULL;
}

void
live_block_remove(const void *block)
{
    if (!block)
        return;
    pthread_mutex_lock(&mutex);
    size_t slot = slot_of(block);
    while (table[slot].at && table[slot].at != block)
        slot = (slot + 1) % SLOTS;
    if (table[slot].at) {
        close_hole(slot);
        blocks--;
    }
    pthread_mutex_unlock(&mutex);
}

void
live_mapped(ptrdiff_t bytes)
{
    atomic_fetch_add_explicit(&mapped, bytes, memory_order_relaxed);
}

void
live_shm_add(const char *name)
{
    pthread_mutex_lock(&mutex);
    bool known = false;
    for (size_t i = 0; i < shm_names_used && !known; i++)
        known = strcmp(shm_names[i], name) == 0;
    if (!known) {
        MUST(shm_names_used < SHM_NAMES_MAX);
        snprintf(shm_names[shm_names_used++], SHM_NAME_BYTES_MAX, "%s", name);
    }
    pthread_mutex_unlock(&mutex);
}

/* Forgets the names whose objects are gone and counts the others. */
static size_t
count_shm(void)
{
    size_t kept = 0;
    for (size_t i = 0; i < shm_names_used; i++) {
        char path[SHM_NAME_BYTES_MAX + 16];
        snprintf(path, sizeof path, "/dev/shm/%s", shm_names[i]);
        if (access(path, F_OK) == 0 && kept != i)
            memcpy(shm_names[kept], shm_names[i], SHM_NAME_BYTES_MAX);
        kept += access(path, F_OK) == 0;
    }
    shm_names_used = kept;
    return kept;
}

static bool
row_counts(const char *row)
{
    const char *rights = strchr(row, ' ');
    if (!rights)
        return false;
    bool shared = rights[4] == 's';
    return shared || (strchr(row, '/') && !strstr(row, ".so"));
}

static size_t
count_file_mappings(char *last_row, size_t size)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    MUST(maps);
    char row[1024];
    size_t count = 0;
    while (fgets(row, sizeof row, maps)) {
        if (!row_counts(row))
            continue;
        count++;
        if (last_row && !strstr(row, "/torture"))
            snprintf(last_row, size, "%.*s", (int)strcspn(row, "\n"), row);
    }
    fclose(maps);
    return count;
}

void
live_take(struct live *live)
{
    *live = (struct live){
        .mapped_bytes = (size_t)atomic_load_explicit(&mapped, memory_order_relaxed),
        .file_mappings = count_file_mappings(NULL, 0),
        .shm_objects = count_shm(),
    };
    for (int fd = 0; fd < LIVE_FILES_MAX; fd++)
        live->files[fd] = fcntl(fd, F_GETFD) >= 0;
    pthread_mutex_lock(&mutex);
    live->blocks = blocks;
    number_of_baseline = numbers;
    pthread_mutex_unlock(&mutex);
}

static const struct block *
newest_leak(void)
{
    const struct block *found = NULL;
    for (size_t slot = 0; slot < SLOTS; slot++)
        if (table[slot].at && table[slot].number > number_of_baseline)
            found = &table[slot];
    return found;
}

static bool
blocks_same(const struct live *before, char *why, size_t size)
{
    pthread_mutex_lock(&mutex);
    bool same = blocks == before->blocks;
    const struct block *leak = same ? NULL : newest_leak();
    if (!same)
        snprintf(why, size, "%zu blocks in use, %zu before; the last one allocated at %p", blocks,
            before->blocks, leak ? leak->site : NULL);
    pthread_mutex_unlock(&mutex);
    return same;
}

static bool
files_same(const struct live *before, char *why, size_t size)
{
    for (int fd = 0; fd < LIVE_FILES_MAX; fd++) {
        bool open_now = fcntl(fd, F_GETFD) >= 0;
        if (open_now == before->files[fd])
            continue;
        char link[64];
        char target[256] = "closed";
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = open_now ? readlink(link, target, sizeof target - 1) : -1;
        if (length >= 0)
            target[length] = '\0';
        snprintf(why, size, "descriptor %d is now: %s", fd, target);
        return false;
    }
    return true;
}

bool
live_same(const struct live *before, char *why, size_t size)
{
    if (!blocks_same(before, why, size) || !files_same(before, why, size))
        return false;
    size_t bytes = (size_t)atomic_load_explicit(&mapped, memory_order_relaxed);
    if (bytes != before->mapped_bytes) {
        snprintf(why, size, "%zu bytes mapped, %zu before", bytes, before->mapped_bytes);
        return false;
    }
    char row[256] = "";
    size_t file_mappings = count_file_mappings(row, sizeof row);
    if (file_mappings != before->file_mappings) {
        snprintf(why, size, "%zu mappings of files, %zu before; one of them: %s", file_mappings,
            before->file_mappings, row);
        return false;
    }
    size_t objects = count_shm();
    if (objects != before->shm_objects) {
        snprintf(why, size, "%zu shared-memory objects, %zu before; the last one: %s", objects,
            before->shm_objects, objects ? shm_names[objects - 1] : "none");
        return false;
    }
    return true;
}
