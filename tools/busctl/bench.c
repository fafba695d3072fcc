/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/bench.h"

#include "busctl/interrupt.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/** "0,1" or "none". */
static int
parse_pin(struct bench *bench, struct opts *opts)
{
    char *at = (char *)opts->value;
    bench->cpu_count = 0;
    bench->pin = true;
    if (strcmp(at, "none") == 0)
        return CTL_OK;
    do {
        char *end;
        long cpu = strtol(at, &end, 10);
        if (end == at || cpu < 0 || cpu >= BENCH_CPUS_MAX || (*end != ',' && *end != '\0') ||
            bench->cpu_count == BENCH_CPUS_MAX)
            return ctl_usage(opts->ctl, "--pin %s: CPUs as in 0,1 or none is wanted", opts->value);
        bench->cpus[bench->cpu_count++] = (int)cpu;
        at = end + (*end == ',');
    } while (*at);
    return CTL_OK;
}

static int
take_option(struct bench *bench, struct opts *opts, int key)
{
    switch (key) {
    case 's':
        return opts_number(opts, "--size", 8, 1 << 24, &bench->size);
    case 'b':
        return opts_number(opts, "--batch", 1, 100000, &bench->batch);
    case 'n':
        bench->seconds = 0;
        return opts_number(opts, "--count", 1, INT64_MAX / 2, &bench->count);
    case 't':
        bench->count = 0;
        return opts_number(opts, "--seconds", 1, 86400, &bench->seconds);
    case 'P':
        return opts_number(opts, "--producers", 1, TEAM_MAX / 2, &bench->producers);
    case 'R':
        return opts_number(opts, "--readers", 0, TEAM_MAX / 2, &bench->readers);
    case 'r':
        return opts_number(opts, "--runs", 1, BENCH_RUNS_MAX, &bench->runs);
    case 'T':
        bench->topic = opts->value;
        return CTL_OK;
    case 'c':
        return opts_setting(opts, (char *)opts->value, false, &bench->settings);
    case BENCH_PIN:
        return parse_pin(bench, opts);
    case BENCH_DIRECTORY:
        bench->directory = opts->value;
        return CTL_OK;
    default:
        bench->floor_only = true;
        return CTL_OK;
    }
}

static void
find_cpus(struct bench *bench)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return;
    for (int cpu = 0; cpu < CPU_SETSIZE && cpu < BENCH_CPUS_MAX; cpu++)
        if (CPU_ISSET((size_t)cpu, &set))
            bench->cpus[bench->cpu_count++] = cpu;
    bench->cpus_allowed = bench->cpu_count;
}

int
bench_parse(struct bench *bench, struct opts *opts)
{
    int code = CTL_OK;
    find_cpus(bench);
    for (int key; code == CTL_OK && (key = opts_next(opts)) != OPTS_END;) {
        if (key == OPTS_EXIT)
            return -1;
        code = take_option(bench, opts, key);
    }
    if (code == CTL_OK)
        code = opts_expect(opts, 0, 0, "");
    if (code == CTL_OK)
        code = ctl_out(bench->ctl);
    /* A signal ends the processes, and then our topics are deleted. */
    if (code == CTL_OK)
        interrupt_catch(NULL);
    return code;
}

void
bench_fini(struct bench *bench)
{
    interrupt_release();
    opts_settings_fini(&bench->settings);
}

int
bench_topic_open(struct bench *bench, const char *purpose, struct bench_topic *topic)
{
    struct bus *bus;
    *topic = (struct bench_topic){.ours = !bench->topic};
    if (bench->topic) {
        if (strlen(bench->topic) >= sizeof topic->name)
            return ctl_fail(bench->ctl, "--topic %s: the name is too long here", bench->topic);
        memcpy(topic->name, bench->topic, strlen(bench->topic) + 1);
        return CTL_OK;
    }
    snprintf(topic->name, sizeof topic->name, "busctl-bench-%s-%ld", purpose, (long)getpid());
    int code = ctl_connect(bench->ctl, &bus);
    if (code != CTL_OK)
        return code;
    int rc = bus_topic_create(bus, topic->name, 1, bench->settings.rows, bench->settings.count);
    if (rc < 0)
        code = ctl_fail_bus(bench->ctl, rc, topic->name);
    bus_close(&bus);
    return code;
}

void
bench_topic_close(struct bench *bench, struct bench_topic *topic)
{
    struct bus *bus;
    if (!topic->ours || ctl_connect(bench->ctl, &bus) != CTL_OK)
        return;
    int rc = bus_topic_delete(bus, topic->name);
    if (rc < 0)
        ctl_fail_bus(bench->ctl, rc, topic->name);
    bus_close(&bus);
}

const int *
bench_cpus(const struct bench *bench, int count)
{
    static int cpus[TEAM_MAX];
    if (bench->cpu_count == 0 || (count > bench->cpu_count && !bench->pin))
        return NULL;
    for (int i = 0; i < count; i++)
        cpus[i] = bench->cpus[i % bench->cpu_count];
    return cpus;
}

bool
bench_may_spin(const struct bench *bench, int count)
{
    return count <= bench->cpus_allowed;
}

int
bench_go_on(const struct bench *bench)
{
    return interrupted() ? ctl_fail(bench->ctl, "interrupted") : CTL_OK;
}

int
bench_run(struct bench *bench, struct team *team, const struct team_options *options)
{
    *team = (struct team){0};
    if (bench_go_on(bench) != CTL_OK)
        return CTL_FAILED;
    fflush(stdout); /* else every process would have what waits in the buffer */
    if (team_run(team, options) == 0)
        return CTL_OK;
    /* The processes get a terminal's signal as well; how they ended is of no interest then. */
    int code = bench_go_on(bench);
    return code == CTL_OK ? ctl_fail(bench->ctl, "%s", bus_error()) : code;
}

double
bench_percentile(const uint32_t *sorted, size_t count, double share)
{
    if (count == 0)
        return 0;
    size_t index = (size_t)((double)count * share);
    return sorted[index < count ? index : count - 1];
}

static int
by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

double
bench_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}
