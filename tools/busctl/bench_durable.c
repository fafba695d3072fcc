/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/err.h"
#include "busctl/bench.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES_MAX = 1 << 20 };

struct durable {
    struct bench bench; /* first: the members' context */
    struct bench_topic topic;
    char directory[PATH_MAX];
};

static const struct opt_row options[] = {
    {'s', "size", "BYTES", "of a value; default: 1024", OPT_NOTHING},
    {'b', "batch", "N", "records that a producer sends at once; default: 1", OPT_NOTHING},
    {'P', "producers", "N", "processes; default: 16", OPT_NOTHING},
    {'t', "seconds", "N", "of a run; default: 3", OPT_NOTHING},
    {'r', "runs", "N", "the figures are medians of so many runs; default: 5", OPT_NOTHING},
    {BENCH_PIN, "pin", "none|CPU,CPU", "CPUs for the producers in turn; default: none",
        OPT_NOTHING},
    {'T', "topic", "TOPIC", "use this topic instead of a new one", OPT_TOPIC},
    {'c', "config", "NAME=VALUE", "a setting of the new topic", OPT_TOPIC_SETTING},
    {BENCH_DIRECTORY, "directory", "PATH",
        "where the floor is measured; default: busd's data folder", OPT_FILE},
    {BENCH_FLOOR_ONLY, "floor-only", NULL, "measure the floor only; needs no busd but --directory",
        OPT_NOTHING},
    {0},
};

static const char *const examples[] = {
    "$0 bench durable",
    "$0 bench durable --producers 1 --size 4k --json",
    "$0 bench durable --floor-only --directory .",
    NULL,
};

/** Sends one group and waits until it is on stable storage. */
static int
send_group(struct bench_client *client, const struct bus_message *message, int64_t batch,
    const struct bus_message *messages)
{
    if (batch == 1)
        return bus_send(client->topic, message, NULL);
    for (int64_t sent = 0; sent < batch;) {
        int rc = bus_send_many(client->topic, messages + sent, (int)(batch - sent));
        if (rc < 0)
            return rc;
        sent += rc;
    }
    return bus_flush(client->producer, -1);
}

static int
send_all(struct member *member, struct bench_client *client, const struct bus_message *messages)
{
    const struct bench *bench = member->context;
    struct team_report *report = member->report;
    int64_t before = report->start_ns = clock_mono_ns();
    int64_t stop_ns = before + bench->seconds * 1000000000;
    while (before < stop_ns && !member_alone(member)) {
        if (send_group(client, messages, bench->batch, messages) < 0)
            return member_fail(member, "send");
        int64_t now = clock_mono_ns();
        member_sample(member, now - before);
        report->records += bench->batch;
        report->end_ns = before = now;
    }
    return 0;
}

static int
work(struct member *member)
{
    const struct durable *durable = member->context;
    const struct bench *bench = &durable->bench;
    struct bench_producing producing = {.topic = durable->topic.name, .acks = "all"};
    struct bench_client client;
    char *value = calloc(1, (size_t)bench->size);
    struct bus_message *messages = calloc((size_t)bench->batch, sizeof *messages);
    int rc = value && messages ? 0 : -1;
    for (int64_t i = 0; rc == 0 && i < bench->batch; i++)
        messages[i] = (struct bus_message){
            .timestamp_ms = BUS_TIME_NOW, .value = value, .value_size = (size_t)bench->size};
    if (rc == 0) {
        rc = bench_client_open(&client, member, &producing, NULL);
        if (rc == 0 && !member_ready(member))
            rc = -1;
        member_pin(member);
        if (rc == 0)
            rc = send_all(member, &client, messages);
        bench_client_close(&client);
    }
    free(messages);
    free(value);
    return rc;
}

struct figures {
    double rate[BENCH_RUNS_MAX], p99[BENCH_RUNS_MAX];
    double floor[BENCH_RUNS_MAX], floor_p99[BENCH_RUNS_MAX];
};

static void
evaluate(struct team *team, struct figures *figures, int64_t run)
{
    int64_t start = INT64_MAX, end = 0, records = 0;
    for (int i = 0; i < team->count; i++) {
        const struct team_report *report = &team->shared->reports[i];
        records += report->records;
        start = report->start_ns < start ? report->start_ns : start;
        end = report->end_ns > end ? report->end_ns : end;
    }
    uint32_t *sorted;
    size_t count = team_sort(team, 0, &sorted);
    figures->rate[run] = end > start ? (double)records * 1e9 / (double)(end - start) : 0;
    figures->p99[run] = bench_percentile(sorted, count, 0.99) / 1e3;
}

static int
measure(struct durable *durable, struct figures *figures, int64_t run)
{
    struct bench *bench = &durable->bench;
    struct team team;
    struct team_options team_options = {.count = (int)bench->producers,
        .cpus = bench->pin ? bench_cpus(bench, (int)bench->producers) : NULL,
        .samples_max = SAMPLES_MAX,
        .work = work,
        .context = durable};
    int code = bench_topic_open(bench, "durable", &durable->topic);
    if (code != CTL_OK)
        return code;
    code = bench_run(bench, &team, &team_options);
    if (code == CTL_OK)
        evaluate(&team, figures, run);
    team_fini(&team);
    bench_topic_close(bench, &durable->topic);
    return code;
}

/** Where to measure the disk: as told, or where busd has its data. */
static int
find_directory(struct durable *durable)
{
    struct bench *bench = &durable->bench;
    struct bus *bus;
    struct bus_status status;
    if (bench->directory) {
        snprintf(durable->directory, sizeof durable->directory, "%s", bench->directory);
        return CTL_OK;
    }
    int code = ctl_connect(bench->ctl, &bus);
    if (code != CTL_OK)
        return code;
    int rc = bus_status(bus, &status);
    if (rc < 0)
        code = ctl_fail_bus(bench->ctl, rc, NULL);
    else
        snprintf(durable->directory, sizeof durable->directory, "%s", status.data_folder);
    bus_close(&bus);
    return code;
}

static void
print(struct bench *bench, struct figures *figures)
{
    struct out *out = bench->ctl->out;
    size_t runs = (size_t)bench->runs;
    double rate = bench_median(figures->rate, runs);
    out_object(out, NULL);
    out_text(out, "bench", "durable");
    out_integer(out, "size", bench->size);
    out_integer(out, "batch", bench->batch);
    if (!bench->floor_only) {
        out_integer(out, "msgs_per_s", (int64_t)rate);
        out_integer(out, "bytes_per_s", (int64_t)(rate * (double)bench->size));
    }
    out_integer(out, "floor_bytes_per_s", (int64_t)bench_median(figures->floor, runs));
    out_integer(out, "producers", bench->producers);
    if (!bench->floor_only)
        out_real(out, "p99_us", bench_median(figures->p99, runs));
    out_real(out, "floor_fdatasync_p99_us", bench_median(figures->floor_p99, runs));
    out_end(out);
}

static int
run_all(struct durable *durable, struct figures *figures)
{
    struct bench *bench = &durable->bench;
    size_t group = (size_t)(bench->producers * bench->batch * bench->size);
    int code = find_directory(durable);
    for (int64_t i = 0; i < bench->runs && code == CTL_OK; i++) {
        struct bench_disk disk;
        code = bench_floor_disk(bench, durable->directory, group, &disk);
        if (code != CTL_OK)
            break;
        figures->floor[i] = disk.bytes_per_s;
        figures->floor_p99[i] = disk.p99_us;
        if (!bench->floor_only)
            code = measure(durable, figures, i);
    }
    if (code == CTL_OK)
        print(bench, figures);
    return code;
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    static struct figures figures;
    static struct durable durable;
    durable.bench = (struct bench){
        .ctl = ctl, .size = 1024, .batch = 1, .producers = 16, .seconds = 3, .runs = 5};
    int code = bench_parse(&durable.bench, opts);
    if (code < 0)
        return opts->exit_code;
    if (code == CTL_OK)
        code = run_all(&durable, &figures);
    bench_fini(&durable.bench);
    return code;
}

const struct command command_bench_durable = {
    .group = "bench",
    .name = "durable",
    .arguments = "",
    .text = "Measures producers that wait for stable storage (acks=all), and plain writes with "
            "fdatasync() of the same groups on the same file system beside them.",
    .options = options,
    .examples = examples,
    .run = run,
};
