/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/consume.h"

#include "base/clock.h"
#include "busctl/command.h"
#include "busctl/interrupt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECORDS_AT_ONCE = 1000,
    WAIT_MS = 1000, /* then the ends are looked at again */
};

enum { OPT_DURABLE = OPT_LONG };

struct consume {
    struct bus_config *config; /* owned */
    const char *group;         /* NULL: it reads for itself */
    const char *start_text;
    const char *partitions; /* NULL: all */
    const char *format_text;
    struct format format;
    struct range range;
    int64_t count; /* records to print; -1: no limit */
    bool exit_at_end;
    struct readings readings;
    struct bus_consumer *consumer;
};

static const struct opt_row options[] = {
    {'G', "group", "GROUP",
        "read as a member of this group, which shares partitions out and commits what was printed",
        OPT_GROUP},
    {'o', "offset", "beginning|end|N|-N|@TIME|FROM:TO",
        "where to begin: an offset, N records before the end, a time as in @14:00, @-1h or "
        "@2026-08-01T14:00:00Z; default: beginning. FROM:TO, as in 10:20 or @-1h:@-30m, ends "
        "before TO",
        OPT_NOTHING},
    {'p', "partition", "LIST", "partitions as in 0,2-5; default: all", OPT_NOTHING},
    {'c', "count", "COUNT", "end after so many records", OPT_NOTHING},
    {'e', "exit", NULL, "end at the present end of the partitions", OPT_NOTHING},
    {'f', "format", "FORMAT",
        "how a record is printed: %t topic %p partition %o offset %k key %s value %h headers "
        "%T timestamp %K %S sizes %% \\n \\t \\xNN; default: %s\\n",
        OPT_NOTHING},
    {'J', "json-records", NULL, "one JSON object a record, as --json", OPT_NOTHING},
    {OPT_DURABLE, "durable", NULL, "only what is on stable storage", OPT_NOTHING},
    {'X', "set", "NAME=VALUE",
        "a setting of the consumer, see 'config list -s consumer'; may be given several times",
        OPT_CLIENT_SETTING},
    {0},
};

static const char *const examples[] = {
    "$0 consume -e greetings",
    "$0 consume -o end -f '%T %k: %s\\n' users",
    "$0 consume -o @-1h -c 10 -J logs",
    "$0 consume -o -5 -p 0 -e orders",
    "$0 consume -o @-1h:@-30m logs",
    "$0 consume -G billing orders payments",
    NULL,
};

static int
take_option(struct opts *opts, struct consume *consume, int key)
{
    switch (key) {
    case 'G':
        consume->group = opts->value;
        return opts_config(opts, consume->config, "group.id", opts->value);
    case 'o':
        consume->start_text = opts->value;
        return CTL_OK;
    case 'p':
        consume->partitions = opts->value;
        return CTL_OK;
    case 'c':
        return opts_number(opts, "-c", 0, INT64_MAX, &consume->count);
    case 'e':
        consume->exit_at_end = true;
        return CTL_OK;
    case 'f':
        consume->format_text = opts->value;
        return CTL_OK;
    case 'J':
        opts->ctl->json = true;
        return CTL_OK;
    case OPT_DURABLE:
        return opts_config(opts, consume->config, "isolation.level", "read_durable");
    default:
        return opts_config_pair(opts, consume->config);
    }
}

/** What a group decides is not for options. */
static int
check_group(const struct opts *opts, const struct consume *consume)
{
    enum start_kind from = consume->range.from.kind;
    if (!*consume->group)
        return ctl_usage(opts->ctl, "-G: a group has a name");
    if (consume->partitions)
        return ctl_usage(opts->ctl, "-p: a group shares the partitions out itself: leave out -p");
    if (consume->range.has_end || (from != START_BEGINNING && from != START_END))
        return ctl_usage(opts->ctl,
            "-o: a group goes on where it has committed: -o can be beginning or end, for where it "
            "has not; see also group reset");
    return opts_config(
        opts, consume->config, "auto.offset.reset", from == START_END ? "latest" : "earliest");
}

static int
parse(struct opts *opts, struct consume *consume)
{
    int code = CTL_OK;
    for (int key; code == CTL_OK && (key = opts_next(opts)) != OPTS_END;) {
        if (key == OPTS_EXIT)
            return -1;
        code = take_option(opts, consume, key);
    }
    if (code == CTL_OK)
        code = consume->group ? opts_expect(opts, 1, -1, "the names of topics")
                              : opts_expect(opts, 1, 1, "the name of a topic");
    if (code != CTL_OK)
        return code;
    if (format_init(&consume->format, consume->format_text) < 0)
        return ctl_usage(opts->ctl, "-f: %s", bus_error());
    if (range_parse(consume->start_text, clock_wall_ms(), &consume->range) < 0)
        return ctl_usage(opts->ctl, "-o: %s", bus_error());
    /* A range is what there is of it now. */
    consume->exit_at_end |= consume->range.has_end;
    if (consume->group)
        return check_group(opts, consume);
    return opts_config(opts, consume->config, "auto.offset.reset",
        consume->range.from.kind == START_OFFSET ? "none" : "earliest");
}

/** Prints what one poll gave; takes what was printed off the count. */
static int
print(struct ctl *ctl, struct consume *consume, const struct bus_record *records, int count)
{
    struct reading *reading = NULL;
    if (consume->exit_at_end)
        reading = readings_find(&consume->readings, records[0].partition);
    for (int i = 0; i < count && consume->count != 0; i++) {
        /* What came after the start of this command does not count as the present end. */
        if (reading && records[i].offset >= reading->end)
            break;
        if (consume_print(ctl, &consume->format, &records[i]) != CTL_OK)
            return CTL_FAILED;
        consume->count -= consume->count > 0;
    }
    /* What is wrong with stdout, ctl_flush() tells at the end. */
    return ferror(stdout) ? CTL_FAILED : CTL_OK;
}

/** Whether the work is over: interrupted, counted out, or at the end. */
static bool
is_over(struct consume *consume, struct reading *reading)
{
    if (interrupted() || consume->count == 0)
        return true;
    return consume->exit_at_end && readings_done(&consume->readings, reading, consume->consumer);
}

static int
loop(struct ctl *ctl, struct consume *consume)
{
    static struct bus_record records[RECORDS_AT_ONCE];
    bool over = is_over(consume, NULL);
    while (!over) {
        int got = bus_poll(consume->consumer, records, RECORDS_AT_ONCE, 0);
        if (got == 0) {
            if (fflush(stdout) != 0)
                return CTL_FAILED;
            got = bus_poll(consume->consumer, records, RECORDS_AT_ONCE, WAIT_MS);
        }
        if (got < 0)
            return ctl_fail_bus(ctl, got, consume->readings.topic);
        if (got > 0 && print(ctl, consume, records, got) != CTL_OK)
            return CTL_FAILED;
        struct reading *reading =
            got > 0 ? readings_find(&consume->readings, records[0].partition) : NULL;
        over = is_over(consume, reading) || (got == 0 && consume_reader_is_gone());
    }
    return CTL_OK;
}

static int
run_open(struct ctl *ctl, struct consume *consume, struct bus *bus)
{
    int code = readings_init(ctl, bus, &consume->readings, consume->partitions, &consume->range);
    if (code != CTL_OK)
        return code;
    int rc = bus_consumer_open(bus, consume->config, &consume->consumer);
    if (rc < 0)
        return ctl_fail_bus(ctl, rc, NULL);
    code = readings_assign(ctl, consume->consumer, &consume->readings);
    if (code == CTL_OK) {
        interrupt_catch(consume->consumer);
        code = loop(ctl, consume);
        interrupt_release();
    }
    bus_consumer_close(&consume->consumer);
    /* A reader of ours that has seen enough is no failure. */
    return code == CTL_FAILED && ferror(stdout) ? ctl_flush(ctl) : code;
}

static int
run_group(struct ctl *ctl, struct opts *opts, struct consume *consume, struct bus *bus)
{
    struct consume_group what = {.group = consume->group,
        .topics = opts_arguments(opts),
        .format = &consume->format,
        .count = consume->count,
        .exit_at_end = consume->exit_at_end};
    while (what.topics[what.topic_count])
        what.topic_count++;
    return consume_group(ctl, bus, consume->config, &what);
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    struct consume consume = {.start_text = "beginning", .format_text = "%s\\n", .count = -1};
    struct bus *bus;
    consume.config = bus_config_new();
    if (!consume.config)
        return ctl_no_memory(ctl);
    int code = opts_config(opts, consume.config, "enable.auto.commit", "false");
    if (code == CTL_OK)
        code = parse(opts, &consume);
    if (code == CTL_OK)
        code = ctl_out(ctl);
    if (code == CTL_OK)
        code = ctl_connect(ctl, &bus);
    if (code == CTL_OK) {
        consume.readings.topic = opts_arguments(opts)[0];
        code = consume.group ? run_group(ctl, opts, &consume, bus) : run_open(ctl, &consume, bus);
        bus_close(&bus);
    }
    readings_fini(&consume.readings);
    format_fini(&consume.format);
    bus_config_free(&consume.config);
    return code < 0 ? opts->exit_code : code;
}

const struct command command_consume = {
    .name = "consume",
    .arguments = "TOPIC...",
    .text = "Prints the records of a topic, or with -G a share of those of several.",
    .options = options,
    .examples = examples,
    .first = OPT_TOPIC,
    .others = OPT_TOPIC,
    .run = run,
};
