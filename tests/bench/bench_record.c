/* SPDX-License-Identifier: Apache-2.0
 *
 * What building and reading a batch costs, in nanoseconds a record: the median of several runs.
 * The floor beside it is a memcpy of the same bytes.
 */
#include "base/clock.h"
#include "base/err.h"
#include "record/batch.h"
#include "record/builder.h"
#include "record/codec.h"
#include "record/crc32c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RUNS = 15,
    WORK_RECORDS = 400000, /* a run */
    BATCH_BYTES_MAX = 8 << 20,
    VALUE_BYTES_MAX = 1024,
};

struct bench {
    struct batch_builder builder;
    struct builder_options options;
    struct buf scratch;
    const void *batch;
    size_t bytes;
    int32_t records;     /* a batch */
    int32_t value_bytes; /* a record */
    uint8_t value[VALUE_BYTES_MAX];
    uint8_t *copy;
    uint64_t sink; /* keeps the compiler from leaving work out */
};

static void
stop(const char *what)
{
    fprintf(stderr, "bench_record: %s: %s\n", what, err_text());
    exit(1);
}

static void
encode(struct bench *bench)
{
    builder_reset(&bench->builder, &bench->options);
    struct builder_record r = {.ts = 1700000000000,
        .key_bytes = -1,
        .value = bench->value,
        .value_bytes = bench->value_bytes};
    for (int32_t i = 0; i < bench->records; i++)
        if (builder_append(&bench->builder, &r) != BUILDER_OK)
            stop("append");
    if (builder_finish(&bench->builder, &bench->batch, &bench->bytes) < 0)
        stop("finish");
}

static void
iterate(struct bench *bench)
{
    struct batch_header h;
    struct batch_iter it;
    struct record record;
    if (batch_header_read(bench->batch, bench->bytes, &h) != BATCH_OK ||
        batch_iter_init(&it, bench->batch, bench->bytes, &h, &bench->scratch, SIZE_MAX) < 0)
        stop("iterate");
    while (batch_iter_next(&it, &record) > 0)
        bench->sink += (uint64_t)record.offset + (uint64_t)record.value_bytes;
    if (it.previous_delta != bench->records - 1)
        stop("iterate");
}

static void
verify(struct bench *bench)
{
    struct batch_header h;
    if (batch_header_read(bench->batch, bench->bytes, &h) != BATCH_OK ||
        batch_verify(
            bench->batch, bench->bytes, &h, &bench->scratch, SIZE_MAX, BATCH_VERIFY_PRODUCE) < 0)
        stop("verify");
}

static void
checksum(struct bench *bench)
{
    bench->sink += crc32c(bench->batch, bench->bytes);
}

static void
floor_copy(struct bench *bench)
{
    memcpy(bench->copy, bench->batch, bench->bytes);
    bench->sink += bench->copy[bench->bytes / 2];
}

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Nanoseconds a record, the median. */
static double
measure(struct bench *bench, void (*work)(struct bench *))
{
    double ns[RUNS];
    int rounds = WORK_RECORDS / bench->records;
    for (int run = 0; run < RUNS; run++) {
        int64_t start = clock_mono_ns();
        for (int i = 0; i < rounds; i++)
            work(bench);
        ns[run] = (double)(clock_mono_ns() - start) / rounds / bench->records;
    }
    qsort(ns, RUNS, sizeof ns[0], compare);
    return ns[RUNS / 2];
}

static void
measure_row(struct bench *bench, int32_t value_bytes, int32_t records, int codec)
{
    bench->value_bytes = value_bytes;
    bench->records = records;
    bench->options = BUILDER_OPTIONS_PLAIN;
    bench->options.codec = codec;
    double encode_ns = measure(bench, encode);
    double iterate_ns = measure(bench, iterate);
    double verify_ns = measure(bench, verify);
    double crc_ns = measure(bench, checksum);
    double copy_ns = measure(bench, floor_copy);
    printf("%5d %6d %-7s %8.1f %8.1f %8.1f %8.1f %8.1f\n", value_bytes, records, codec_name(codec),
        encode_ns, iterate_ns, verify_ns, crc_ns, copy_ns);
}

int
main(void)
{
    static struct bench bench;
    bench.copy = malloc(BATCH_BYTES_MAX);
    if (!bench.copy || builder_init(&bench.builder, BATCH_BYTES_MAX, BATCH_BYTES_MAX) < 0)
        stop("start");
    for (size_t i = 0; i < sizeof bench.value; i++)
        bench.value[i] = (uint8_t)("0123456789abcdef"[(i * 7 + i / 5) % 16]);
    printf("ns a record\n%5s %6s %-7s %8s %8s %8s %8s %8s\n", "value", "batch", "codec", "encode",
        "iterate", "verify", "crc", "memcpy");
    static const int32_t sizes[] = {32, 100, 1024};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        measure_row(&bench, sizes[i], 1, CODEC_NONE);
        measure_row(&bench, sizes[i], 1000, CODEC_NONE);
        for (int codec = CODEC_GZIP; codec < CODEC_COUNT; codec++)
            if (codec_available(codec))
                measure_row(&bench, sizes[i], 1000, codec);
    }
    builder_fini(&bench.builder);
    buf_fini(&bench.scratch);
    free(bench.copy);
    codec_thread_fini();
    return bench.sink == 0;
}
