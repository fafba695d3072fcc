/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/consume.h"

#include "base/clock.h"
#include "busctl/command.h"
#include "busctl/format.h"
#include "busctl/interrupt.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    RECORDS_AT_ONCE = 1000,
    WAIT_MS = 1000, /* then the ends are looked at again */
};

enum { OPT_DURABLE = OPT_LONG };

struct consume {
    struct bus_config *config; /* owned */
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
    {'X', "set", "NAME=VALUE", "a setting of the consumer; may be given several times",
        OPT_CLIENT_SETTING},
    {0},
};

static const char *const examples[] = {
    "$0 consume -e greetings",
    "$0 consume -o end -f '%T %k: %s\\n' users",
    "$0 consume -o @-1h -c 10 -J logs",
    "$0 consume -o -5 -p 0 -e orders",
    "$0 consume -o @-1h:@-30m logs",
    NULL,
};

static int
take_option(struct opts *opts, struct consume *consume, int key)
{
    switch (key) {
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
        code = opts_expect(opts, 1, 1, "the name of a topic");
    if (code != CTL_OK)
        return code;
    if (format_init(&consume->format, consume->format_text) < 0)
        return ctl_usage(opts->ctl, "-f: %s", bus_error());
    if (range_parse(consume->start_text, clock_wall_ms(), &consume->range) < 0)
        return ctl_usage(opts->ctl, "-o: %s", bus_error());
    /* A range is what there is of it now. */
    consume->exit_at_end |= consume->range.has_end;
    return CTL_OK;
}

static int
print_json(struct out *out, const struct bus_record *record)
{
    struct out_pair few[8];
    size_t count = record->header_count > 0 ? (size_t)record->header_count : 0;
    struct out_pair *pairs = count > 8 ? calloc(count, sizeof *pairs) : few;
    struct bus_record_header header;
    if (!pairs)
        return CTL_FAILED;
    for (size_t i = 0; i < count; i++) {
        if (bus_record_header(record, (int32_t)i, &header) < 0)
            count = i;
        else
            pairs[i] =
                (struct out_pair){header.key, header.key_size, header.value, header.value_size};
    }
    out_object(out, NULL);
    out_text(out, "topic", record->topic);
    out_integer(out, "partition", record->partition);
    out_integer(out, "offset", record->offset);
    out_time(out, "timestamp", record->timestamp_ms);
    out_bytes(out, "key", record->key, record->key_size);
    out_bytes(out, "value", record->value, record->value_size);
    out_pairs(out, "headers", pairs, count);
    out_end(out);
    if (pairs != few)
        free(pairs);
    return CTL_OK;
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
        if (!ctl->json)
            format_write(&consume->format, &records[i], stdout);
        else if (print_json(ctl->out, &records[i]) != CTL_OK)
            return ctl_no_memory(ctl);
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

/** Whether nobody is left to read what we print; a pipe tells without being written to. */
static bool
reader_is_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR);
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
        over = is_over(consume, reading) || (got == 0 && reader_is_gone());
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
run(struct ctl *ctl, struct opts *opts)
{
    struct consume consume = {.start_text = "beginning", .format_text = "%s\\n", .count = -1};
    struct bus *bus;
    consume.config = bus_config_new();
    if (!consume.config)
        return ctl_no_memory(ctl);
    int code = parse(opts, &consume);
    if (code == CTL_OK)
        code = opts_config(opts, consume.config, "auto.offset.reset",
            consume.range.from.kind == START_OFFSET ? "none" : "earliest");
    if (code == CTL_OK)
        code = ctl_out(ctl);
    if (code == CTL_OK)
        code = ctl_connect(ctl, &bus);
    if (code == CTL_OK) {
        consume.readings.topic = opts_arguments(opts)[0];
        code = run_open(ctl, &consume, bus);
        bus_close(&bus);
    }
    readings_fini(&consume.readings);
    format_fini(&consume.format);
    bus_config_free(&consume.config);
    return code < 0 ? opts->exit_code : code;
}

const struct command command_consume = {
    .name = "consume",
    .arguments = "TOPIC",
    .text = "Prints the records of a topic.",
    .options = options,
    .examples = examples,
    .first = OPT_TOPIC,
    .run = run,
};
