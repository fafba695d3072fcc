/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/err.h"
#include "busctl/bench.h"

#include <stdlib.h>
#include <string.h>

enum {
    WARM_ROUNDS = 20000, /* threads have started, pages are there; then the CPUs are settled */
    WAIT_MS = 100,       /* a poll, where spinning would take the other side's CPU */
};

struct latency {
    struct bench bench; /* first: the members' context */
    struct bench_topic ping;
    struct bench_topic pong;
};

static const struct opt_row options[] = {
    {'s', "size", "BYTES", "of a value; default: 32", OPT_NOTHING},
    {'n', "count", "N", "round trips of a run; default: 200000", OPT_NOTHING},
    {'r', "runs", "N", "the figures are medians of so many runs; default: 5", OPT_NOTHING},
    {BENCH_PIN, "pin", "none|CPU,CPU", "CPUs for the two processes; default: the first two",
        OPT_NOTHING},
    {'T', "topic", "TOPIC", "send on this topic instead of a new one", OPT_TOPIC},
    {'c', "config", "NAME=VALUE", "a setting of the new topics", OPT_TOPIC_SETTING},
    {BENCH_FLOOR_ONLY, "floor-only", NULL, "measure the floor only; needs no busd", OPT_NOTHING},
    {0},
};

static const char *const examples[] = {
    "$0 bench latency",
    "$0 bench latency --size 1k --runs 9 --json",
    "$0 bench latency --floor-only",
    NULL,
};

/** Waits for the next record and checks that it is number `round`. */
static int
receive(struct member *member, struct bench_client *client, int64_t round, int wait_ms)
{
    struct bus_record record;
    for (int64_t turn = 1;; turn++) {
        int got = bus_poll(client->consumer, &record, 1, wait_ms);
        if (got < 0)
            return member_fail(member, "poll");
        if (got == 0) {
            if (turn % 4096 == 0 && member_alone(member))
                return -1;
            continue;
        }
        int64_t seen = -1;
        if (record.value_size >= sizeof seen)
            memcpy(&seen, record.value, sizeof seen);
        if (seen == round)
            return 0;
        err_set(BUS_ERR_CORRUPT_MESSAGE, "round %lld came, %lld was sent", (long long)seen,
            (long long)round);
        return member_fail(member, "a record that is not ours: use another topic");
    }
}

static int
send_round(struct member *member, struct bench_client *client, char *value, int64_t round)
{
    const struct latency *latency = member->context;
    memcpy(value, &round, sizeof round);
    struct bus_message message = {
        .timestamp_ms = BUS_TIME_NOW, .value = value, .value_size = (size_t)latency->bench.size};
    return bus_send(client->topic, &message, NULL) < 0 ? member_fail(member, "send") : 0;
}

static int
play(struct member *member, struct bench_client *client, char *value, int wait_ms)
{
    const struct latency *latency = member->context;
    bool first = member->index == 0;
    int rc = 0;
    int64_t before = clock_mono_ns();
    for (int64_t i = 0; i < WARM_ROUNDS + latency->bench.count && rc == 0; i++) {
        if (i == WARM_ROUNDS / 2)
            member_pin(member);
        if (first)
            rc = send_round(member, client, value, i);
        if (rc == 0)
            rc = receive(member, client, i, wait_ms);
        if (rc == 0 && !first)
            rc = send_round(member, client, value, i);
        int64_t now = clock_mono_ns();
        if (first && i >= WARM_ROUNDS)
            member_sample(member, now - before);
        before = now;
    }
    return rc;
}

static int
work(struct member *member)
{
    const struct latency *latency = member->context;
    const struct bench_topic *to = member->index == 0 ? &latency->ping : &latency->pong;
    const struct bench_topic *from = member->index == 0 ? &latency->pong : &latency->ping;
    struct bench_producing producing = {.topic = to->name, .acks = "1"};
    struct bench_client client;
    char *value = calloc(1, (size_t)latency->bench.size);
    int rc = value ? bench_client_open(&client, member, &producing, from->name) : -1;
    if (rc == 0 && !member_ready(member))
        rc = -1;
    if (rc == 0)
        rc = play(member, &client, value, bench_may_spin(&latency->bench, 2) ? 0 : WAIT_MS);
    if (value)
        bench_client_close(&client);
    free(value);
    return rc;
}

struct figures {
    double p50[BENCH_RUNS_MAX], p99[BENCH_RUNS_MAX], p999[BENCH_RUNS_MAX], floor[BENCH_RUNS_MAX];
};

static int
measure(struct latency *latency, struct figures *figures, int64_t run)
{
    struct bench *bench = &latency->bench;
    struct team team;
    uint32_t *sorted;
    struct team_options team_options = {.count = 2,
        .cpus = bench_cpus(bench, 2),
        .samples_max = (size_t)bench->count,
        .work = work,
        .context = latency};
    int code = bench_run(bench, &team, &team_options);
    if (code == CTL_OK) {
        size_t count = team_sort(&team, 0, &sorted);
        figures->p50[run] = bench_percentile(sorted, count, 0.5);
        figures->p99[run] = bench_percentile(sorted, count, 0.99);
        figures->p999[run] = bench_percentile(sorted, count, 0.999);
    }
    team_fini(&team);
    return code;
}

static int
measure_on_topics(struct latency *latency, struct figures *figures, int64_t run)
{
    struct bench *bench = &latency->bench;
    const char *given = bench->topic;
    int code = bench_topic_open(bench, "ping", &latency->ping);
    bench->topic = NULL; /* the way back has a topic of its own in any case */
    if (code == CTL_OK) {
        code = bench_topic_open(bench, "pong", &latency->pong);
        if (code == CTL_OK)
            code = measure(latency, figures, run);
        bench_topic_close(bench, &latency->pong);
    }
    bench->topic = given;
    bench_topic_close(bench, &latency->ping);
    return code;
}

static void
print(struct bench *bench, struct figures *figures)
{
    struct out *out = bench->ctl->out;
    size_t runs = (size_t)bench->runs;
    out_object(out, NULL);
    out_text(out, "bench", "latency");
    out_integer(out, "size", bench->size);
    out_integer(out, "batch", bench->batch);
    if (!bench->floor_only) {
        out_integer(out, "p50_ns", (int64_t)bench_median(figures->p50, runs));
        out_integer(out, "p99_ns", (int64_t)bench_median(figures->p99, runs));
        out_integer(out, "p999_ns", (int64_t)bench_median(figures->p999, runs));
    }
    out_integer(out, "floor_p50_ns", (int64_t)bench_median(figures->floor, runs));
    out_end(out);
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    static struct figures figures;
    struct latency latency = {
        .bench = {.ctl = ctl, .size = 32, .batch = 1, .count = 200000, .runs = 5}};
    struct bench *bench = &latency.bench;
    int code = bench_parse(bench, opts);
    if (code < 0)
        return opts->exit_code;
    for (int64_t i = 0; i < bench->runs && code == CTL_OK; i++) {
        code = bench_floor_line(bench, &figures.floor[i]);
        if (code == CTL_OK && !bench->floor_only)
            code = measure_on_topics(&latency, &figures, i);
    }
    if (code == CTL_OK)
        print(bench, &figures);
    bench_fini(bench);
    return code;
}

const struct command command_bench_latency = {
    .group = "bench",
    .name = "latency",
    .arguments = "",
    .text = "Measures the round trip of one record through two topics between two processes that "
            "spin, and the round trip of a cache line beside it.",
    .options = options,
    .examples = examples,
    .run = run,
};
