/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "busctl/command.h"
#include "busctl/places.h"
#include "busctl/timeparse.h"

#include <stdlib.h>

enum { KINDS = 4 }; /* of questions about a partition */

struct look {
    bool has_time;
    int64_t time_ms;
    struct places places;
    struct bus_offset_query *queries; /* owned; kind by kind, in each the places in order */
};

static const struct opt_row options[] = {
    {'a', "at", "TIME",
        "also the first record at or after this time, as in 14:00, -1h or 2026-08-01T14:00:00Z",
        OPT_NOTHING},
    {0},
};

static const char *const examples[] = {
    "$0 topic offsets orders",
    "$0 topic offsets --at 14:00 orders:0,2-5 users",
    NULL,
};

static int
ask(struct ctl *ctl, struct bus *bus, struct look *look)
{
    const int64_t times[KINDS] = {
        BUS_OFFSET_BEGINNING, BUS_OFFSET_END, BUS_OFFSET_MAX_TIME, look->time_ms};
    size_t count = look->places.count;
    size_t kinds = look->has_time ? KINDS : KINDS - 1;
    look->queries = calloc(count + 1, KINDS * sizeof *look->queries);
    if (!look->queries)
        return ctl_no_memory(ctl);
    for (size_t i = 0; i < kinds * count; i++)
        look->queries[i] = (struct bus_offset_query){.topic = look->places.rows[i % count].topic,
            .partition = look->places.rows[i % count].partition,
            .timestamp_ms = times[i / count]};
    int rc = bus_offsets_find(bus, look->queries, kinds * count);
    return rc < 0 ? ctl_fail_bus(ctl, rc, NULL) : CTL_OK;
}

static int
put_row(struct ctl *ctl, const struct look *look, size_t index)
{
    const struct bus_offset_query *of[KINDS];
    int32_t error = 0;
    for (size_t i = 0; i < KINDS; i++) {
        of[i] = &look->queries[i * look->places.count + index];
        error = error ? error : of[i]->error;
    }
    out_object(ctl->out, NULL);
    out_text(ctl->out, "topic", of[0]->topic);
    out_integer(ctl->out, "partition", of[0]->partition);
    out_offset(ctl->out, "start_offset", of[0]->offset);
    out_offset(ctl->out, "end_offset", of[1]->offset);
    out_offset(ctl->out, "newest_offset", of[2]->offset);
    out_time(ctl->out, "newest_time", of[2]->found_ms);
    if (look->has_time) {
        out_offset(ctl->out, "at_offset", of[3]->offset);
        out_time(ctl->out, "at_time", of[3]->found_ms);
    }
    out_end(ctl->out);
    if (!error)
        return CTL_OK;
    return ctl_fail(ctl, "%s-%d: %s", of[0]->topic, of[0]->partition, bus_err_text(error));
}

static int
show(struct ctl *ctl, struct bus *bus, struct look *look, char **topics)
{
    int code = CTL_OK;
    for (; code == CTL_OK && *topics; topics++)
        code = places_add(ctl, bus, &look->places, *topics);
    if (code == CTL_OK)
        code = ask(ctl, bus, look);
    if (code != CTL_OK)
        return code;
    out_list(ctl->out, NULL);
    for (size_t i = 0; i < look->places.count; i++) {
        int one = put_row(ctl, look, i);
        code = code == CTL_OK ? one : code;
    }
    out_end(ctl->out);
    return code;
}

static int
parse(struct opts *opts, struct look *look)
{
    for (int key; (key = opts_next(opts)) != OPTS_END; look->has_time = true) {
        if (key == OPTS_EXIT)
            return -1;
        const char *text = opts->value + (opts->value[0] == '@');
        if (time_parse(text, clock_wall_ms(), &look->time_ms) < 0)
            return ctl_usage(opts->ctl, "--at: %s", bus_error());
        /* Nothing is older than the epoch, and what is below zero are no times for busd. */
        look->time_ms = look->time_ms < 0 ? 0 : look->time_ms;
    }
    return opts_expect(opts, 1, -1, "the name of a topic");
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    struct look look = {0};
    struct bus *bus;
    int code = parse(opts, &look);
    if (code == CTL_OK)
        code = ctl_out(ctl);
    if (code == CTL_OK)
        code = ctl_connect(ctl, &bus);
    if (code == CTL_OK) {
        code = show(ctl, bus, &look, opts_arguments(opts));
        places_fini(&look.places);
        free(look.queries);
        bus_close(&bus);
    }
    return code < 0 ? opts->exit_code : code;
}

const struct command command_topic_offsets = {
    .group = "topic",
    .name = "offsets",
    .arguments = "TOPIC[:PARTITIONS]...",
    .text = "Shows where partitions start and end, their newest record, and where a time is.",
    .options = options,
    .examples = examples,
    .first = OPT_TOPIC,
    .others = OPT_TOPIC,
    .run = run,
};
