/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/replay.h"

#include "base/clock.h"
#include "busctl/command.h"
#include "busctl/interrupt.h"
#include "busctl/text.h"

#include <stdlib.h>
#include <string.h>

/* A time below, without a date, is an offset that was meant for -o: seconds until March 1973. */
#define EPOCH_S_MIN INT64_C(100000000)

/* Merged partitions come in small pieces; without waiting they would become batches as small. */
#define LINGER_AT_MAX_TEXT "5"

enum {
    OPT_FROM = OPT_LONG,
    OPT_TO,
    OPT_INTO,
    OPT_CREATE,
    OPT_KEEP,
    OPT_ACKS,
    OPT_COMPRESSION,
    OPT_LINGER
};

static const struct opt_row options[] = {
    {OPT_INTO, "into", "TOPIC2", "where the records go: a topic with at least as many partitions",
        OPT_TOPIC},
    {OPT_FROM, "from", "TIME",
        "begin at this time, as in 14:00, -1h or 2026-08-01T14:00:00Z; "
        "default: the oldest record",
        OPT_NOTHING},
    {OPT_TO, "to", "TIME", "end before this time; default: the present end", OPT_NOTHING},
    {'o', "offset", "START|FROM:TO", "the range as 'consume -o' takes it, in place of both",
        OPT_NOTHING},
    {'p', "partition", "LIST", "partitions as in 0,2-5; default: all", OPT_NOTHING},
    {'s', "speed", "N|max", "so many times as fast as it was; max: without waiting; default: 1",
        OPT_NOTHING},
    {OPT_CREATE, "create", NULL,
        "create TOPIC2 with the partitions and settings of TOPIC, unless it is there", OPT_NOTHING},
    {OPT_KEEP, "keep-timestamps", NULL,
        "the old timestamps; default: the times at which the records are due now", OPT_NOTHING},
    {'n', "dry-run", NULL, "only tell how many records, bytes and how long", OPT_NOTHING},
    {OPT_ACKS, "acks", "0|1|all", "when a record is done; default: all, on stable storage",
        OPT_NOTHING},
    {OPT_COMPRESSION, "compression", "none|zstd|lz4|snappy|gzip", "how batches are compressed",
        OPT_NOTHING},
    {OPT_LINGER, "linger", "MS",
        "how long a batch waits for more records; default: 0, and 5 with --speed max", OPT_NOTHING},
    {'X', "set", "NAME=VALUE",
        "a setting of the producer, see 'config list -s producer'; may be given several times",
        OPT_CLIENT_SETTING},
    {0},
};

static const char *const examples[] = {
    "$0 replay orders --from 14:00 --to 14:30 --into test --create",
    "$0 replay orders --from -1h --speed 10 --into test",
    "$0 replay orders -o -100 -p 0 --speed max --keep-timestamps --into copy --create",
    "$0 replay orders --from 2026-08-01 --speed 60 --into test --dry-run",
    NULL,
};

static int
set_speed(const struct opts *opts, struct replay *replay)
{
    if (pace_parse(opts->value, &replay->speed) < 0)
        return ctl_usage(opts->ctl, "--speed: %s", bus_error());
    return CTL_OK;
}

/** The options that say what to read and how. */
static int
take_own(struct opts *opts, struct replay *replay, int key)
{
    switch (key) {
    case OPT_INTO:
        replay->into = opts->value;
        return CTL_OK;
    case OPT_FROM:
        replay->from_text = opts->value;
        return CTL_OK;
    case OPT_TO:
        replay->to_text = opts->value;
        return CTL_OK;
    case 'o':
        replay->range_text = opts->value;
        return CTL_OK;
    case 'p':
        replay->partitions = opts->value;
        return CTL_OK;
    case 's':
        return set_speed(opts, replay);
    case OPT_CREATE:
        replay->create = true;
        return CTL_OK;
    case OPT_KEEP:
        replay->keep_timestamps = true;
        return CTL_OK;
    default:
        replay->dry_run = true;
        return CTL_OK;
    }
}

static int
take_option(struct opts *opts, struct replay *replay, int key)
{
    switch (key) {
    case OPT_ACKS:
        return opts_config(opts, replay->config, "acks", opts->value);
    case OPT_COMPRESSION:
        return opts_config(opts, replay->config, "compression.type", opts->value);
    case OPT_LINGER:
        replay->linger_given = true;
        return opts_config(opts, replay->config, "linger.ms", opts->value);
    case 'X':
        return opts_config_pair(opts, replay->config);
    default:
        return take_own(opts, replay, key);
    }
}

/** Reads --from or --to: a time, with or without '@', beginning or end. */
static int
parse_point(const struct opts *opts, const char *option, const char *text, struct start *start)
{
    size_t digits = strspn(text, "0123456789");
    if (strcmp(text, "beginning") == 0 || strcmp(text, "end") == 0)
        return start_parse(text, clock_wall_ms(), start) < 0 ? CTL_USAGE : CTL_OK;
    start->kind = START_TIME;
    if (time_parse(text + (text[0] == '@'), clock_wall_ms(), &start->value) < 0)
        return ctl_usage(opts->ctl, "%s: %s", option, bus_error());
    if (digits > 0 && !text[digits] && start->value < EPOCH_S_MIN * 1000)
        return ctl_usage(
            opts->ctl, "%s %s: a time is wanted; for offsets there is -o FROM:TO", option, text);
    return CTL_OK;
}

static int
parse_range(const struct opts *opts, struct replay *replay)
{
    struct ctl *ctl = opts->ctl;
    struct range *range = &replay->range;
    bool by_time = replay->from_text || replay->to_text;
    if (replay->range_text && by_time)
        return ctl_usage(ctl, "-o stands in place of --from and --to: leave out one or the other");
    if (replay->range_text) {
        if (range_parse(replay->range_text, clock_wall_ms(), range) < 0)
            return ctl_usage(ctl, "-o: %s", bus_error());
        return CTL_OK;
    }
    int code = CTL_OK;
    if (replay->from_text)
        code = parse_point(opts, "--from", replay->from_text, &range->from);
    range->has_end = replay->to_text != NULL;
    if (code == CTL_OK && replay->to_text)
        code = parse_point(opts, "--to", replay->to_text, &range->to);
    if (code == CTL_OK && range_settle(range, replay->from_text, replay->to_text) < 0)
        code = ctl_usage(ctl, "%s", bus_error());
    return code;
}

static int
parse(struct opts *opts, struct replay *replay)
{
    int code = CTL_OK;
    for (int key; code == CTL_OK && (key = opts_next(opts)) != OPTS_END;) {
        if (key == OPTS_EXIT)
            return -1;
        code = take_option(opts, replay, key);
    }
    if (code == CTL_OK)
        code = opts_expect(opts, 1, 1, "the name of a topic");
    if (code != CTL_OK)
        return code;
    replay->sources.readings.topic = opts_arguments(opts)[0];
    if (!replay->into)
        return ctl_usage(opts->ctl, "--into is missing: name the topic that the records go to");
    if (strcmp(replay->into, replay->sources.readings.topic) == 0)
        return ctl_usage(opts->ctl,
            "%s cannot be replayed into itself: name another topic with --into", replay->into);
    if (replay->speed == 0 && !replay->linger_given)
        code = opts_config(opts, replay->config, "linger.ms", LINGER_AT_MAX_TEXT);
    return code == CTL_OK ? parse_range(opts, replay) : code;
}

/** Creates the target with the partitions of the source and the settings that it was given. */
static int
create(struct ctl *ctl, struct bus *bus, const struct replay *replay, int32_t partitions)
{
    const char *source = replay->sources.readings.topic;
    struct bus_settings *settings;
    struct bus_setting_state state;
    struct bus_setting *rows = NULL;
    size_t count = 0, all = 0;
    int rc = bus_settings_fetch(bus, source, &settings);
    if (rc < 0)
        return ctl_fail_bus(ctl, rc, source);
    while (bus_settings_get(settings, all, &state) == 0)
        all++;
    rows = calloc(all + 1, sizeof *rows);
    for (size_t i = 0; rows && bus_settings_get(settings, i, &state) == 0; i++)
        if (!state.is_default)
            rows[count++] = (struct bus_setting){.name = state.name, .value = state.value};
    rc = rows ? bus_topic_create(bus, replay->into, partitions, rows, count) : 0;
    int code = rows ? CTL_OK : ctl_no_memory(ctl);
    /* Somebody else was quicker: as good. */
    if (rc < 0 && rc != -BUS_ERR_TOPIC_ALREADY_EXISTS)
        code = ctl_fail_bus(ctl, rc, replay->into);
    free(rows);
    bus_settings_free(&settings);
    return code;
}

/** The number of partitions of a topic; 0 when it is not there, negative after telling. */
static int32_t
partitions_of(struct ctl *ctl, struct bus *bus, const char *topic)
{
    struct bus_topics *topics;
    int rc = bus_topics_fetch(bus, topic, &topics);
    if (rc == -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION)
        return 0;
    if (rc < 0) {
        ctl_fail_bus(ctl, rc, topic);
        return -1;
    }
    int32_t count = bus_topics_partitions(topics, 0);
    bus_topics_free(&topics);
    return count;
}

/** Sees to it that there is a target with enough partitions. */
static int
prepare_target(struct ctl *ctl, struct bus *bus, const struct replay *replay)
{
    const struct readings *readings = &replay->sources.readings;
    int32_t needed = readings->rows[readings->count - 1].partition + 1;
    int32_t have = partitions_of(ctl, bus, replay->into);
    if (have < 0)
        return CTL_FAILED;
    if (have == 0 && !replay->create)
        return ctl_fail(ctl, "topic %s is not there: create it, or add --create", replay->into);
    if (have == 0) {
        int32_t source = partitions_of(ctl, bus, readings->topic);
        if (source > 0 && !replay->dry_run)
            return create(ctl, bus, replay, source);
        return source > 0 ? CTL_OK : ctl_fail(ctl, "topic %s was deleted", readings->topic);
    }
    if (have < needed)
        return ctl_fail(ctl,
            "%s has %d partition%s and partition %d of %s has no place there: 'topic alter -p %d "
            "%s' adds some, -p chooses which are replayed",
            replay->into, have, have == 1 ? "" : "s", needed - 1, readings->topic, needed,
            replay->into);
    return CTL_OK;
}

static void
put_summary(struct out *out, const struct replay *replay, bool done)
{
    bool spans = replay->first_ms >= 0;
    out_object(out, NULL);
    out_text(out, "topic", replay->sources.readings.topic);
    out_text(out, "into", replay->into);
    out_integer(out, "records", replay->records);
    out_integer(out, "bytes", replay->bytes);
    out_time(out, "first", replay->first_ms);
    out_time(out, "last", replay->last_ms);
    out_integer(out, "span_ms", spans ? replay->last_ms - replay->first_ms : 0);
    if (replay->dry_run)
        out_integer(out, "takes_ms", pace_length_ms(&replay->pace, replay->last_ms));
    else
        out_integer(out, "took_ms", clock_mono_ms() - replay->began_ms);
    out_boolean(out, "done", done);
    out_end(out);
}

/** Waits for the acknowledgements, and tells what has become of it. */
static int
finish(struct ctl *ctl, struct replay *replay, struct bus_producer *producer, int code)
{
    int rc = producer ? bus_flush(producer, -1) : 0;
    if (rc < 0)
        code = ctl_fail_bus(ctl, rc, NULL);
    if (!replay->dry_run)
        replay->records = atomic_load_explicit(&replay->delivered, memory_order_acquire);
    bool cut = interrupted() && replay_sources_first(&replay->sources);
    long long records = replay->records;
    if (cut && code == CTL_OK)
        code = ctl_fail(ctl, "interrupted after %lld record%s of %s: what is behind was not %s",
            records, records == 1 ? "" : "s", replay->sources.readings.topic,
            replay->dry_run ? "counted" : "replayed");
    else if (code == CTL_OK && records == 0)
        ctl_note(ctl, "%s has no records in this range: nothing to replay",
            replay->sources.readings.topic);
    put_summary(ctl->out, replay, code == CTL_OK);
    return code;
}

static int
run_sending(struct ctl *ctl, struct replay *replay, struct bus *bus)
{
    struct bus_producer *producer = NULL;
    int rc = bus_producer_open(bus, replay->config, &producer);
    if (rc == 0) {
        bus_producer_on_delivery(producer, replay_delivered, replay);
        rc = bus_producer_topic(producer, replay->into, &replay->target);
    }
    int code = rc < 0 ? ctl_fail_bus(ctl, rc, replay->into) : CTL_OK;
    if (code == CTL_OK)
        code = finish(ctl, replay, producer, replay_run(ctl, replay));
    bus_producer_close(&producer, 0);
    return code;
}

static int
run_open(struct ctl *ctl, struct replay *replay, struct bus *bus)
{
    struct readings *readings = &replay->sources.readings;
    int code = readings_init(ctl, bus, readings, replay->partitions, &replay->range);
    if (code == CTL_OK)
        code = replay_sources_open(ctl, bus, &replay->sources);
    if (code == CTL_OK)
        code = prepare_target(ctl, bus, replay);
    if (code != CTL_OK)
        return code;
    interrupt_catch(NULL);
    pace_init(&replay->pace, replay->speed);
    if (replay->dry_run)
        code = finish(ctl, replay, NULL, replay_run(ctl, replay));
    else
        code = run_sending(ctl, replay, bus);
    interrupt_release();
    return code;
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    static struct replay replay = {.speed = 1, .first_ms = -1, .last_ms = -1};
    struct bus *bus;
    replay.config = bus_config_new();
    if (!replay.config)
        return ctl_no_memory(ctl);
    int code = opts_config(opts, replay.config, "batch.size", "256k");
    if (code == CTL_OK)
        code = parse(opts, &replay);
    if (code == CTL_OK)
        code = ctl_out(ctl);
    if (code == CTL_OK)
        code = ctl_connect(ctl, &bus);
    if (code == CTL_OK) {
        code = run_open(ctl, &replay, bus);
        replay_sources_close(&replay.sources);
        bus_close(&bus);
    }
    bus_config_free(&replay.config);
    return code < 0 ? opts->exit_code : code;
}

const struct command command_replay = {
    .name = "replay",
    .arguments = "TOPIC --into TOPIC2",
    .text = "Copies a range of a topic into another topic, at the pace at which it was written.",
    .options = options,
    .examples = examples,
    .first = OPT_TOPIC,
    .run = run,
};
