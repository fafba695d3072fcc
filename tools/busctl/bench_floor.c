/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/err.h"
#include "busctl/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    LINE_ROUNDS = 200000,
    LINE_WARM_ROUNDS = 20000,
    COPY_AREA_BYTES = 256 << 20, /* larger than any cache */
    DISK_AREA_BYTES = 64 << 20,
    DISK_SYNCS_MAX = 100000,
};

static const int64_t copy_ns = 500000000;
static const int64_t disk_ns = 1500000000;

/** One side of the exchange: waits for its line, answers on the other. */
static int
exchange(struct member *member)
{
    struct team_shared *shared = member->shared;
    bool first = member->index == 0;
    _Atomic int64_t *own = first ? &shared->ping : &shared->pong;
    _Atomic int64_t *other = first ? &shared->pong : &shared->ping;
    member_pin(member);
    if (!member_ready(member))
        return -1;
    int64_t before = clock_mono_ns();
    for (int64_t i = 1; i <= LINE_ROUNDS + LINE_WARM_ROUNDS; i++) {
        /* Release and acquire: the other side does the same with the words exchanged. */
        if (first)
            atomic_store_explicit(own, i, memory_order_release);
        while (atomic_load_explicit(other, memory_order_acquire) != i) {
        }
        if (!first) {
            atomic_store_explicit(own, i, memory_order_release);
            continue;
        }
        int64_t now = clock_mono_ns();
        if (i > LINE_WARM_ROUNDS)
            member_sample(member, now - before);
        before = now;
    }
    return 0;
}

int
bench_floor_line(struct bench *bench, double *p50_ns)
{
    struct team team;
    uint32_t *sorted;
    struct team_options options = {.count = 2,
        .cpus = bench_cpus(bench, 2),
        .samples_max = LINE_ROUNDS,
        .work = exchange,
        .context = bench};
    if (!bench_may_spin(bench, 2))
        return ctl_fail(bench->ctl, "this process may use one CPU only: allow two, see taskset(1)");
    int code = bench_run(bench, &team, &options);
    if (code == CTL_OK) {
        size_t count = team_sort(&team, 0, &sorted);
        *p50_ns = bench_percentile(sorted, count, 0.5);
    }
    team_fini(&team);
    return code;
}

void
bench_warm(int64_t bytes)
{
    int64_t page = sysconf(_SC_PAGESIZE), free_pages = sysconf(_SC_AVPHYS_PAGES);
    if (bytes > free_pages / 2 * page)
        bytes = free_pages / 2 * page;
    if (bytes <= 0)
        return;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    uint8_t *area = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (area == MAP_FAILED)
        return;
    for (int64_t at = 0; at < bytes; at += page)
        area[at] = 1;
    munmap(area, (size_t)bytes);
}

int
bench_floor_copy(struct bench *bench, size_t block_bytes, double *bytes_per_s)
{
    size_t blocks = COPY_AREA_BYTES / block_bytes ? COPY_AREA_BYTES / block_bytes : 1;
    int code = bench_go_on(bench);
    if (code != CTL_OK)
        return code;
    uint8_t *from = malloc(block_bytes), *to = malloc(blocks * block_bytes);
    if (!from || !to) {
        code = ctl_no_memory(bench->ctl);
    } else {
        /* Touched before, as the log's pages are populated before they are written. */
        memset(from, 1, block_bytes);
        memset(to, 0, blocks * block_bytes);
        int64_t start = clock_mono_ns(), now;
        double bytes = 0;
        do {
            for (size_t i = 0; i < blocks; i++)
                memcpy(to + i * block_bytes, from, block_bytes);
            __asm__ volatile("" : : "r"(to) : "memory"); /* keeps the copies */
            bytes += (double)(blocks * block_bytes);
        } while ((now = clock_mono_ns()) - start < copy_ns);
        *bytes_per_s = bytes * 1e9 / (double)(now - start);
    }
    free(from);
    free(to);
    return code;
}

/** A file without a name whose blocks are allocated and written: overwriting them is the fastest
 * that the file system has. */
static int
disk_file(const char *directory, const uint8_t *bytes)
{
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(errno, "a file in %s", directory);
    int rc = 0;
    if (pwrite(fd, bytes, DISK_AREA_BYTES, 0) != DISK_AREA_BYTES || fsync(fd) < 0)
        rc = err_sys(errno, "write to a file in %s", directory);
    if (rc < 0)
        close(fd);
    return rc < 0 ? rc : fd;
}

static int
disk_loop(int fd, const uint8_t *bytes, size_t group_bytes, uint32_t *samples, size_t *count)
{
    int64_t start = clock_mono_ns();
    int64_t groups = DISK_AREA_BYTES / (int64_t)group_bytes;
    while (*count < DISK_SYNCS_MAX && clock_mono_ns() - start < disk_ns) {
        off_t at = (off_t)((int64_t)*count % groups * (int64_t)group_bytes);
        if (pwrite(fd, bytes, group_bytes, at) != (ssize_t)group_bytes)
            return err_sys(errno, "write");
        int64_t before = clock_mono_ns();
        if (fdatasync(fd) < 0)
            return err_sys(errno, "fdatasync");
        int64_t ns = clock_mono_ns() - before;
        samples[(*count)++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
    }
    return 0;
}

static int
by_value(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static int
disk_measure(const char *directory, size_t group_bytes, uint8_t *bytes, uint32_t *samples,
    struct bench_disk *disk)
{
    size_t count = 0;
    memset(bytes, 1, DISK_AREA_BYTES);
    int fd = disk_file(directory, bytes);
    if (fd < 0)
        return fd;
    int64_t start = clock_mono_ns();
    int rc = disk_loop(fd, bytes, group_bytes, samples, &count);
    double seconds = (double)(clock_mono_ns() - start) / 1e9;
    close(fd);
    if (rc < 0)
        return rc;
    qsort(samples, count, sizeof *samples, by_value);
    disk->bytes_per_s = (double)count * (double)group_bytes / seconds;
    disk->p99_us = bench_percentile(samples, count, 0.99) / 1e3;
    return 0;
}

int
bench_floor_disk(
    struct bench *bench, const char *directory, size_t group_bytes, struct bench_disk *disk)
{
    int code = bench_go_on(bench);
    if (code != CTL_OK)
        return code;
    uint8_t *bytes = malloc(DISK_AREA_BYTES);
    uint32_t *samples = calloc(DISK_SYNCS_MAX, sizeof *samples);
    if (!bytes || !samples)
        code = ctl_no_memory(bench->ctl);
    else if (group_bytes > DISK_AREA_BYTES)
        code = ctl_fail(
            bench->ctl, "groups of %zu bytes are too large: lower --size or --batch", group_bytes);
    else if (disk_measure(directory, group_bytes, bytes, samples, disk) < 0)
        code = ctl_fail(bench->ctl,
            "%s: the disk's floor: name a folder on the same file system with --directory",
            bus_error());
    free(bytes);
    free(samples);
    return code;
}
