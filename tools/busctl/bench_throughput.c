/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/err.h"
#include "busctl/bench.h"

#include <stdlib.h>
#include <string.h>

enum {
    RECORDS_AT_ONCE = 1000,
    WAIT_MS = 20,              /* a poll of readers without a CPU of their own */
    HEADER_BYTES = 61,         /* of a batch */
    RECORD_OVERHEAD_BYTES = 24 /* more than a record's lengths and deltas take */
};

static const int64_t default_bytes = INT64_C(1) << 28; /* of values in a run */
static const int64_t default_count_max = 10000000;

struct throughput {
    struct bench bench; /* first: the members' context */
    struct bench_topic topic;
};

static const struct opt_row options[] = {
    {'s', "size", "BYTES", "of a value; default: 100", OPT_NOTHING},
    {'b', "batch", "N", "records of a batch; default: 1000, or what fits into 1 MiB", OPT_NOTHING},
    {'n', "count", "N", "records of a run; default: 256 MiB, at most 10000000", OPT_NOTHING},
    {'t', "seconds", "N", "send for so long instead", OPT_NOTHING},
    {'P', "producers", "N", "processes that send to the one partition; default: 1", OPT_NOTHING},
    {'R', "readers", "N", "processes that read it all, 0: nobody does; default: 1", OPT_NOTHING},
    {'r', "runs", "N", "the figures are medians of so many runs; default: 5", OPT_NOTHING},
    {BENCH_PIN, "pin", "none|CPU,CPU",
        "CPUs for producers, then readers; default: as they come, if there is one for each",
        OPT_NOTHING},
    {'T', "topic", "TOPIC", "use this topic instead of a new one", OPT_TOPIC},
    {'c', "config", "NAME=VALUE", "a setting of the new topic", OPT_TOPIC_SETTING},
    {BENCH_FLOOR_ONLY, "floor-only", NULL, "measure the floor only; needs no busd", OPT_NOTHING},
    {0},
};

static const char *const examples[] = {
    "$0 bench throughput",
    "$0 bench throughput --size 1k --json",
    "$0 bench throughput --batch 1 --producers 2",
    "$0 bench throughput --readers 4 -c storage.type=memory",
    NULL,
};

/** The block of values that a batch is made of, as messages. */
static struct bus_message *
make_messages(const struct bench *bench, char **block)
{
    struct bus_message *messages = calloc((size_t)bench->batch, sizeof *messages);
    *block = calloc((size_t)bench->batch, (size_t)bench->size);
    for (int64_t i = 0; messages && *block && i < bench->batch; i++)
        messages[i] = (struct bus_message){.timestamp_ms = BUS_TIME_NOW,
            .value = *block + i * bench->size,
            .value_size = (size_t)bench->size};
    return *block ? messages : NULL;
}

static int
send_batch(struct member *member, struct bench_client *client, const struct bus_message *messages,
    int64_t count)
{
    for (int64_t sent = 0; sent < count;) {
        int rc = bus_send_many(client->topic, messages + sent, (int)(count - sent));
        if (rc < 0)
            return member_fail(member, "send");
        sent += rc;
    }
    member->report->records += count;
    return 0;
}

static int
send_all(struct member *member, struct bench_client *client, const struct bus_message *messages)
{
    const struct bench *bench = member->context;
    int64_t share = bench->count / bench->producers;
    int64_t stop_ns = member->report->start_ns + bench->seconds * 1000000000;
    int rc = 0;
    while (rc == 0 && !member_alone(member)) {
        int64_t left = bench->count ? share - member->report->records : bench->batch;
        if (left <= 0 || (!bench->count && clock_mono_ns() >= stop_ns))
            break;
        bool first = member->report->records == 0;
        rc = send_batch(member, client, messages, left < bench->batch ? left : bench->batch);
        /* Threads that the first batch started are not to share our CPU. */
        if (first)
            member_pin(member);
    }
    if (rc == 0 && bus_flush(client->producer, -1) < 0)
        rc = member_fail(member, "flush");
    return rc;
}

static int
produce(struct member *member)
{
    const struct throughput *throughput = member->context;
    const struct bench *bench = &throughput->bench;
    struct bench_producing producing = {.topic = throughput->topic.name,
        .acks = "1",
        .batch_bytes = HEADER_BYTES + bench->batch * (bench->size + RECORD_OVERHEAD_BYTES)};
    struct bench_client client;
    char *block = NULL;
    struct bus_message *messages = make_messages(bench, &block);
    int rc = messages ? bench_client_open(&client, member, &producing, NULL) : -1;
    if (rc == 0 && !member_ready(member))
        rc = -1;
    if (rc == 0) {
        member->report->start_ns = clock_mono_ns();
        rc = send_all(member, &client, messages);
        member->report->end_ns = clock_mono_ns();
    }
    atomic_fetch_add(&member->shared->sent, member->report->records);
    /* Release: whoever sees us finished sees what we sent. */
    atomic_fetch_add_explicit(&member->shared->finished, 1, memory_order_release);
    if (messages)
        bench_client_close(&client);
    free(messages);
    free(block);
    return rc;
}

/** Whether everything that was sent has been seen. */
static bool
is_all(const struct member *member)
{
    const struct bench *bench = member->context;
    /* Acquire: pairs with the release in produce(). */
    return atomic_load_explicit(&member->shared->finished, memory_order_acquire) ==
               (int)bench->producers &&
           atomic_load(&member->shared->sent) <= member->report->records;
}

static int
read_all(struct member *member, struct bench_client *client)
{
    static struct bus_record records[RECORDS_AT_ONCE];
    const struct bench *bench = member->context;
    bool spin = bench_may_spin(bench, (int)(bench->producers + bench->readers));
    int64_t next = -1;
    uint64_t sum = 0;
    while (!is_all(member)) {
        int got = bus_poll(client->consumer, records, RECORDS_AT_ONCE, spin ? 0 : WAIT_MS);
        if (got < 0)
            return member_fail(member, "poll");
        if (got == 0 && member_alone(member))
            return -1;
        if (got > 0 && next < 0)
            member_pin(member);
        for (int i = 0; i < got; i++) {
            if (next >= 0 && records[i].offset != next) {
                err_set(BUS_ERR_CORRUPT_MESSAGE, "offset %lld came, %lld was due",
                    (long long)records[i].offset, (long long)next);
                return member_fail(member, "poll");
            }
            next = records[i].offset + 1;
            sum += *(const uint8_t *)records[i].value;
        }
        member->report->records += got;
        if (got > 0)
            member->report->end_ns = clock_mono_ns();
    }
    __asm__ volatile("" : : "r"(sum)); /* keeps the reads */
    return 0;
}

static int
work(struct member *member)
{
    const struct throughput *throughput = member->context;
    struct bench_client client;
    if (member->index < throughput->bench.producers)
        return produce(member);
    int rc = bench_client_open(&client, member, NULL, throughput->topic.name);
    if (rc == 0 && !member_ready(member))
        rc = -1;
    if (rc == 0)
        rc = read_all(member, &client);
    bench_client_close(&client);
    return rc;
}

struct figures {
    double rate[BENCH_RUNS_MAX], floor[BENCH_RUNS_MAX];
};

static void
evaluate(const struct bench *bench, const struct team *team, double *rate)
{
    int64_t start = INT64_MAX, end = 0, records = 0;
    for (int i = 0; i < team->count; i++) {
        const struct team_report *report = &team->shared->reports[i];
        if ((i >= bench->producers || bench->readers == 0) && report->end_ns > end)
            end = report->end_ns;
        if (i >= bench->producers)
            continue;
        records += report->records;
        if (report->start_ns < start)
            start = report->start_ns;
    }
    *rate = end > start ? (double)records * 1e9 / (double)(end - start) : 0;
}

static int
measure(struct throughput *throughput, double *rate)
{
    struct bench *bench = &throughput->bench;
    struct team team;
    int count = (int)(bench->producers + bench->readers);
    struct team_options team_options = {
        .count = count, .cpus = bench_cpus(bench, count), .work = work, .context = throughput};
    bench_warm(bench->count ? bench->count * (bench->size + RECORD_OVERHEAD_BYTES) : default_bytes);
    int code = bench_topic_open(bench, "throughput", &throughput->topic);
    if (code != CTL_OK)
        return code;
    code = bench_run(bench, &team, &team_options);
    if (code == CTL_OK)
        evaluate(bench, &team, rate);
    team_fini(&team);
    bench_topic_close(bench, &throughput->topic);
    return code;
}

static void
print(struct bench *bench, struct figures *figures)
{
    struct out *out = bench->ctl->out;
    size_t runs = (size_t)bench->runs;
    double rate = bench_median(figures->rate, runs);
    out_object(out, NULL);
    out_text(out, "bench", "throughput");
    out_integer(out, "size", bench->size);
    out_integer(out, "batch", bench->batch);
    if (!bench->floor_only) {
        out_integer(out, "msgs_per_s", (int64_t)rate);
        out_integer(out, "bytes_per_s", (int64_t)(rate * (double)bench->size));
    }
    out_integer(out, "floor_bytes_per_s", (int64_t)bench_median(figures->floor, runs));
    out_end(out);
}

/** What was not said on the command line. */
static void
settle(struct bench *bench)
{
    if (bench->batch == 0) {
        int64_t fits = ((1 << 20) - HEADER_BYTES) / (bench->size + RECORD_OVERHEAD_BYTES);
        bench->batch = fits < 1 ? 1 : fits < 1000 ? fits : 1000;
    }
    if (bench->count == 0 && bench->seconds == 0) {
        bench->count = default_bytes / bench->size;
        if (bench->count > default_count_max)
            bench->count = default_count_max;
    }
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    static struct figures figures;
    struct throughput throughput = {
        .bench = {.ctl = ctl, .size = 100, .producers = 1, .readers = 1, .runs = 5}};
    struct bench *bench = &throughput.bench;
    int code = bench_parse(bench, opts);
    if (code < 0)
        return opts->exit_code;
    settle(bench);
    for (int64_t i = 0; i < bench->runs && code == CTL_OK; i++) {
        code = bench_floor_copy(bench, (size_t)(bench->batch * bench->size), &figures.floor[i]);
        if (code == CTL_OK && !bench->floor_only)
            code = measure(&throughput, &figures.rate[i]);
    }
    if (code == CTL_OK)
        print(bench, &figures);
    bench_fini(bench);
    return code;
}

const struct command command_bench_throughput = {
    .group = "bench",
    .name = "throughput",
    .arguments = "",
    .text = "Measures how fast records go through one partition until every reader has the last, "
            "and memcpy() of the same blocks beside it.",
    .options = options,
    .examples = examples,
    .run = run,
};
