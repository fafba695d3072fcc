/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/consume.h"

#include "base/clock.h"
#include "busctl/places.h"
#include "busctl/text.h"

#include <stdlib.h>
#include <string.h>

/** The offset `count` records before the end, or the start of the log. */
static int
tail_offset(struct bus *bus, const char *topic, int32_t partition, int64_t count, int64_t *offset)
{
    struct bus_partition_state state;
    int rc = bus_partition_state(bus, topic, partition, &state);
    if (rc < 0)
        return rc;
    int64_t length = state.end_offset - state.log_start_offset;
    *offset = count < length ? state.end_offset - count : state.log_start_offset;
    return 0;
}

/** The offset in one partition that a place stands for, or BUS_OFFSET_BEGINNING or _END. */
static int
find_offset(struct bus *bus, const char *topic, int32_t partition, const struct start *start,
    int64_t *offset)
{
    int rc = 0;
    switch (start->kind) {
    case START_BEGINNING:
        *offset = BUS_OFFSET_BEGINNING;
        break;
    case START_END:
        *offset = BUS_OFFSET_END;
        break;
    case START_OFFSET:
        *offset = start->value;
        break;
    case START_TAIL:
        rc = tail_offset(bus, topic, partition, start->value, offset);
        break;
    case START_TIME:
        rc = bus_offset_find(bus, topic, partition, start->value, offset, NULL);
        if (rc == 0 && *offset < 0)
            *offset = BUS_OFFSET_END;
        break;
    }
    return rc;
}

static int
find_range(struct bus *bus, const char *topic, const struct range *range, struct reading *reading)
{
    reading->stop = INT64_MAX;
    int rc = find_offset(bus, topic, reading->partition, &range->from, &reading->offset);
    if (rc == 0 && range->has_end)
        rc = find_offset(bus, topic, reading->partition, &range->to, &reading->stop);
    if (reading->stop == BUS_OFFSET_END)
        reading->stop = INT64_MAX;
    return rc;
}

static int
fill(struct ctl *ctl, struct bus *bus, struct readings *readings, const bool *wanted,
    int32_t partitions, const struct range *range)
{
    readings->rows = calloc((size_t)partitions, sizeof *readings->rows);
    if (!readings->rows)
        return ctl_no_memory(ctl);
    for (int32_t i = 0; i < partitions; i++) {
        if (!wanted[i])
            continue;
        struct reading *reading = &readings->rows[readings->count++];
        reading->partition = i;
        int rc = find_range(bus, readings->topic, range, reading);
        if (rc < 0)
            return ctl_fail_bus(ctl, rc, readings->topic);
    }
    return CTL_OK;
}

/** A time to come is no mistake, but seldom what was meant. */
static void
note_future(const struct ctl *ctl, const struct start *from)
{
    char time[TEXT_TIME_BYTES];
    if (from->kind != START_TIME || from->value <= clock_wall_ms())
        return;
    text_time(from->value, time);
    ctl_note(ctl, "%s is in the future: where no record is that young, the end is the start", time);
}

int
readings_init(struct ctl *ctl, struct bus *bus, struct readings *readings, const char *list,
    const struct range *range)
{
    struct bus_topics *topics;
    int rc = bus_topics_fetch(bus, readings->topic, &topics);
    if (rc < 0)
        return ctl_fail_bus(ctl, rc, readings->topic);
    int32_t partitions = bus_topics_partitions(topics, 0);
    bus_topics_free(&topics);
    bool *wanted = calloc((size_t)partitions, sizeof *wanted);
    if (!wanted)
        return ctl_no_memory(ctl);
    int code = places_parse_list(ctl, "-p ", list, wanted, partitions);
    if (code == CTL_OK)
        note_future(ctl, &range->from);
    if (code == CTL_OK)
        code = fill(ctl, bus, readings, wanted, partitions, range);
    free(wanted);
    return code;
}

void
readings_fini(struct readings *readings)
{
    free(readings->rows);
    readings->rows = NULL;
    readings->count = 0;
}

int
readings_assign(struct ctl *ctl, struct bus_consumer *consumer, struct readings *readings)
{
    struct bus_assignment *assignments = calloc(readings->count, sizeof *assignments);
    if (!assignments)
        return ctl_no_memory(ctl);
    for (size_t i = 0; i < readings->count; i++)
        assignments[i] = (struct bus_assignment){.topic = readings->topic,
            .partition = readings->rows[i].partition,
            .offset = readings->rows[i].offset};
    int rc = bus_assign(consumer, assignments, readings->count);
    free(assignments);
    for (size_t i = 0; i < readings->count && rc == 0; i++) {
        struct reading *reading = &readings->rows[i];
        rc = bus_end_offset(consumer, readings->topic, reading->partition, &reading->end);
        if (reading->end > reading->stop)
            reading->end = reading->stop;
    }
    return rc < 0 ? ctl_fail_bus(ctl, rc, readings->topic) : CTL_OK;
}

struct reading *
readings_find(struct readings *readings, int32_t partition)
{
    for (size_t i = 0; i < readings->count; i++)
        if (readings->rows[i].partition == partition)
            return &readings->rows[i];
    return NULL;
}

static void
look(struct readings *readings, struct reading *reading, struct bus_consumer *consumer)
{
    int64_t position;
    if (reading->done)
        return;
    if (bus_position(consumer, readings->topic, reading->partition, &position) < 0)
        return;
    reading->done = position >= reading->end;
    readings->done += reading->done;
}

bool
readings_done(struct readings *readings, struct reading *reading, struct bus_consumer *consumer)
{
    if (reading)
        look(readings, reading, consumer);
    for (size_t i = 0; !reading && i < readings->count; i++)
        look(readings, &readings->rows[i], consumer);
    return readings->done == readings->count;
}
