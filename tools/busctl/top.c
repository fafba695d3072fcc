/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/top.h"

#include "busctl/command.h"
#include "busctl/interrupt.h"
#include "busctl/number.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A busd that does not answer must not keep us from the keyboard for long. */
#define REQUEST_TIMEOUT_TEXT "3000"
#define RECONNECT_MAX_TEXT "100"

static const double delay_min_s = 0.1, delay_max_s = 3600;

static const struct opt_row options[] = {
    {'d', "delay", "SECONDS", "the time between two looks, 0.1 to 3600; default: 1", OPT_NOTHING},
    {'s', "sort", "name|records|bytes|size|partitions|lag",
        "the order: by name, or the most records a second, bytes a second, bytes, partitions or "
        "lag first; default: name",
        OPT_NOTHING},
    {'r', "reverse", NULL, "the other way round", OPT_NOTHING},
    {'b', "batch", NULL, "print one frame after the other, without a terminal", OPT_NOTHING},
    {'n', "count", "COUNT", "with -b: end after so many frames", OPT_NOTHING},
    {0},
};

static const char *const examples[] = {
    "$0 top",
    "$0 top -d 0.5 -s records",
    "$0 top -b -n 1",
    "$0 top -b -n 60 --json >minute.json",
    NULL,
};

static const char *const sorts[] = {
    [TOP_BY_NAME] = "name",
    [TOP_BY_RECORDS_PER_S] = "records",
    [TOP_BY_BYTES_PER_S] = "bytes",
    [TOP_BY_BYTES] = "size",
    [TOP_BY_PARTITIONS] = "partitions",
    [TOP_BY_LAG] = "lag",
};

static int
take_sort(const struct opts *opts, struct top *top)
{
    for (size_t i = 0; i < sizeof sorts / sizeof sorts[0]; i++)
        if (strcmp(opts->value, sorts[i]) == 0) {
            top->sort = (enum top_sort)i;
            return CTL_OK;
        }
    return ctl_usage(opts->ctl,
        "--sort %s: one of name, records, bytes, size, partitions and lag is wanted", opts->value);
}

static int
take_option(struct opts *opts, struct top *top, int key)
{
    switch (key) {
    case 'd':
        if (decimal_parse(opts->value, delay_min_s, delay_max_s, &top->delay_s) < 0)
            return ctl_usage(
                opts->ctl, "--delay %s: seconds from 0.1 to 3600 are wanted", opts->value);
        return CTL_OK;
    case 's':
        return take_sort(opts, top);
    case 'r':
        top->reversed = true;
        return CTL_OK;
    case 'n':
        return opts_number(opts, "--count", 1, INT64_MAX, &top->count);
    default:
        top->batch = true;
        return CTL_OK;
    }
}

static int
parse(struct opts *opts, struct top *top)
{
    int code = CTL_OK;
    for (int key; code == CTL_OK && (key = opts_next(opts)) != OPTS_END;) {
        if (key == OPTS_EXIT)
            return -1;
        code = take_option(opts, top, key);
    }
    if (code == CTL_OK)
        code = opts_expect(opts, 0, 0, "");
    if (code != CTL_OK || top->batch)
        return code;
    if (opts->ctl->json)
        return ctl_usage(opts->ctl, "--json is for frames in a row: add -b");
    if (top->count > 0)
        return ctl_usage(opts->ctl, "--count is for frames in a row: add -b");
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return ctl_usage(
            opts->ctl, "standard input and output are no terminal: use -b to print frames instead");
    return CTL_OK;
}

void
top_update(struct top *top)
{
    struct top_sample *fresh = NULL;
    /* Calls would wait for it; the connection comes back by itself. */
    if (bus_connected(top->bus)) {
        fresh = top_sample_take(top->bus);
        snprintf(top->away, sizeof top->away, "%s", fresh ? "" : bus_error());
    } else {
        snprintf(top->away, sizeof top->away, "nobody listens at its socket; trying again");
    }
    if (!fresh)
        return;
    top_sample_free(&top->before);
    top->before = top->now;
    top->now = fresh;
}

void
top_fini(struct top *top)
{
    top_sample_free(&top->now);
    top_sample_free(&top->before);
}

static int
connect_impatiently(struct ctl *ctl, struct bus **bus)
{
    struct bus_config *config = bus_config_new();
    if (!config)
        return ctl_no_memory(ctl);
    bus_config_set(config, "request.timeout.ms", REQUEST_TIMEOUT_TEXT);
    bus_config_set(config, "reconnect.backoff.max.ms", RECONNECT_MAX_TEXT);
    int code = ctl_connect_as(ctl, config, bus);
    bus_config_free(&config);
    return code;
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    struct top top = {.delay_s = 1, .count = -1};
    int code = parse(opts, &top);
    if (code == CTL_OK && top.batch)
        code = ctl_out(ctl);
    if (code == CTL_OK)
        code = connect_impatiently(ctl, &top.bus);
    if (code == CTL_OK) {
        interrupt_catch(NULL);
        code = top.batch ? top_batch(ctl, &top) : top_interact(ctl, &top);
        interrupt_release();
        top_fini(&top);
        bus_close(&top.bus);
    }
    return code < 0 ? opts->exit_code : code;
}

const struct command command_top = {
    .name = "top",
    .arguments = "",
    .text = "Shows topics, rates, sizes and how far groups are behind, again every second.",
    .options = options,
    .examples = examples,
    .run = run,
};
