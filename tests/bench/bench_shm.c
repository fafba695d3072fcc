/* SPDX-License-Identifier: Apache-2.0
 * What the shared-memory floor costs without busd and libbus: round trip through two logs between
 * two pinned processes beside the bare cache line, one-record appends, and batches one to one.
 *
 *     bench_shm [FOLDER]        FOLDER holds the segments; default: the current folder
 */
#include "base/clock.h"
#include "base/err.h"
#include "lib/shm_fixture.h"
#include "record/builder.h"
#include "shm/append.h"
#include "shm/cursor.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 300000, SEGMENT_BYTES = 1 << 30, WARM_UP = 50000 };

static void
must(int rc, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "bench_shm: %s: %s\n", what, err_text());
    exit(1);
}

static void
pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static int
compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void
report(const char *name, int64_t *ns, int count)
{
    qsort(ns, (size_t)count, sizeof *ns, compare);
    printf("%-28s p50 %6lld ns  p99 %6lld ns  p99.9 %6lld ns\n", name, (long long)ns[count / 2],
        (long long)ns[count - count / 100], (long long)ns[count - count / 1000]);
}

static void
bench_floor(void)
{
    static int64_t ns[ROUNDS];
    struct line {
        _Alignas(64) _Atomic int64_t ping;
        _Alignas(64) _Atomic int64_t pong;
    } *line = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();
    if (child == 0) {
        pin(1);
        for (int64_t i = 1; i <= ROUNDS; i++) {
            while (atomic_load_explicit(&line->ping, memory_order_acquire) != i) {
            }
            atomic_store_explicit(&line->pong, i, memory_order_release);
        }
        _exit(0);
    }
    pin(0);
    for (int64_t i = 1; i <= ROUNDS; i++) {
        int64_t start = clock_mono_ns();
        atomic_store_explicit(&line->ping, i, memory_order_release);
        while (atomic_load_explicit(&line->pong, memory_order_acquire) != i) {
        }
        ns[i - 1] = clock_mono_ns() - start;
    }
    waitpid(child, NULL, 0);
    report("floor: cache line", ns, ROUNDS);
}

static void
append_one(struct shm_partition *view, struct batch_builder *builder, const void *value, int bytes)
{
    struct builder_record record = {.ts = 1, .key_bytes = -1, .value = value};
    record.value_bytes = bytes;
    struct builder_options options = {.producer_id = -1, .producer_epoch = -1, .base_sequence = -1};
    builder_reset(builder, &options);
    must(builder_append(builder, &record), "append to the batch");
    struct append_batch batch = {.offsets = 1};
    must(builder_finish(builder, &batch.bytes, &batch.size_bytes), "finish the batch");
    struct append_result result;
    int rc = shm_append(view, &batch, INT64_MAX, &result);
    must(rc > 0 ? -1 : rc, "append");
}

static void
read_one(struct cursor *cursor)
{
    const uint8_t *bytes;
    struct batch_header header;
    struct batch_iter iter;
    struct record record;
    int rc;
    while ((rc = cursor_next(cursor, &bytes, &header)) == CURSOR_EMPTY) {
    }
    must(rc, "read");
    must(batch_iter_init(&iter, bytes, batch_bytes(&header), &header, NULL, 0), "open the batch");
    while (batch_iter_next(&iter, &record) == 1) {
    }
}

static void
bench_round_trip(const char *folder)
{
    static int64_t ns[ROUNDS];
    char value[32] = "round trip";
    struct shm_fixture ping, pong;
    struct shm_fixture_options options = {
        .folder = folder, .segment_bytes = SEGMENT_BYTES, .max_message_bytes = 1 << 20};
    must(shm_fixture_init(&ping, &options), "make a partition");
    must(shm_fixture_init(&pong, &options), "make a partition");
    struct shm_partition out, in;
    struct cursor cursor;
    struct batch_builder builder;
    must(builder_init(&builder, 4096, 4096), "make a builder");
    pid_t child = fork();
    pin(child == 0 ? 1 : 0);
    must(shm_fixture_view(child == 0 ? &pong : &ping, true, &out), "attach");
    must(shm_fixture_view(child == 0 ? &ping : &pong, false, &in), "attach");
    cursor_init(&cursor, &in, 0, CURSOR_UNCOMMITTED);
    for (int i = -WARM_UP; i < ROUNDS; i++) {
        int64_t start = clock_mono_ns();
        if (child == 0) {
            read_one(&cursor);
            append_one(&out, &builder, value, sizeof value);
        } else {
            append_one(&out, &builder, value, sizeof value);
            read_one(&cursor);
            if (i >= 0)
                ns[i] = clock_mono_ns() - start;
        }
    }
    if (child == 0)
        _exit(0);
    waitpid(child, NULL, 0);
    report("round trip, 32 B records", ns, ROUNDS);
    shm_fixture_fini(&ping);
    shm_fixture_fini(&pong);
}

static void
bench_single(const char *folder, int size)
{
    struct shm_fixture fixture;
    struct shm_fixture_options options = {
        .folder = folder, .segment_bytes = SEGMENT_BYTES, .max_message_bytes = 1 << 20};
    must(shm_fixture_init(&fixture, &options), "make a partition");
    struct shm_partition view;
    struct batch_builder builder;
    char value[1024] = {0};
    must(builder_init(&builder, 4096, 4096), "make a builder");
    must(shm_fixture_view(&fixture, true, &view), "attach");
    int count = SEGMENT_BYTES / 2 / (size + 80);
    int64_t start = clock_mono_ns();
    for (int i = 0; i < count; i++)
        append_one(&view, &builder, value, size);
    double seconds = (double)(clock_mono_ns() - start) / 1e9;
    printf("one-record appends, %4d B     %6.2f M/s\n", size, count / seconds / 1e6);
    shm_partition_fini(&view);
    shm_fixture_fini(&fixture);
}

static void
produce_batches(struct shm_fixture *fixture, int size, int batches)
{
    struct shm_partition view;
    struct batch_builder builder;
    char value[65536] = {0};
    must(builder_init(&builder, 2 << 20, 2 << 20), "make a builder");
    must(shm_fixture_view(fixture, true, &view), "attach");
    struct builder_record record = {.ts = 1, .key_bytes = -1, .value = value};
    record.value_bytes = size;
    struct builder_options plain = {.producer_id = -1, .producer_epoch = -1, .base_sequence = -1};
    for (int i = 0; i < batches; i++) {
        builder_reset(&builder, &plain);
        for (int j = 0; j < 1000; j++)
            must(builder_append(&builder, &record), "append to the batch");
        struct append_batch batch = {.offsets = 1000};
        must(builder_finish(&builder, &batch.bytes, &batch.size_bytes), "finish");
        struct append_result result;
        int rc = shm_append(&view, &batch, INT64_MAX, &result);
        must(rc > 0 ? -1 : rc, "append");
    }
    shm_partition_fini(&view);
}

static void
bench_batches(const char *folder, int size)
{
    struct shm_fixture fixture;
    struct shm_fixture_options options = {
        .folder = folder, .segment_bytes = SEGMENT_BYTES, .max_message_bytes = 2 << 20};
    must(shm_fixture_init(&fixture, &options), "make a partition");
    int batches = SEGMENT_BYTES / 1000 / (size + 10) - 1;
    pid_t child = fork();
    if (child == 0) {
        pin(1);
        produce_batches(&fixture, size, batches);
        _exit(0);
    }
    pin(0);
    struct shm_partition view;
    struct cursor cursor;
    must(shm_fixture_view(&fixture, false, &view), "attach");
    cursor_init(&cursor, &view, 0, CURSOR_UNCOMMITTED);
    int64_t start = clock_mono_ns();
    for (int i = 0; i < batches; i++)
        read_one(&cursor);
    double seconds = (double)(clock_mono_ns() - start) / 1e9;
    waitpid(child, NULL, 0);
    printf("batches of 1000, %4d B        %6.2f M/s  %6.2f GB/s\n", size,
        batches * 1000.0 / seconds / 1e6, batches * 1000.0 * size / seconds / 1e9);
    cursor_fini(&cursor);
    shm_partition_fini(&view);
    shm_fixture_fini(&fixture);
}

int
main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* the segments are removed, even if nobody reads the figures */
    const char *folder = argc > 1 ? argv[1] : ".";
    setvbuf(stdout, NULL, _IOLBF, 0);
    bench_floor();
    bench_round_trip(folder);
    bench_single(folder, 32);
    bench_single(folder, 100);
    bench_batches(folder, 32);
    bench_batches(folder, 100);
    bench_batches(folder, 1024);
    return 0;
}
