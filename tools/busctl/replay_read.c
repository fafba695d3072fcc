/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/interrupt.h"
#include "busctl/replay.h"

#include <stdlib.h>

enum {
    RECORDS_HELD = 32768, /* of all partitions together, about */
    RECORDS_AT_ONCE = 1000,
    RECORDS_AT_ONCE_MIN = 16,
    WAIT_MS = 200, /* then signals and the end are looked at again */
};

static int
records_at_once(size_t partitions)
{
    size_t share = RECORDS_HELD / (partitions ? partitions : 1);
    if (share > RECORDS_AT_ONCE)
        return RECORDS_AT_ONCE;
    return share < RECORDS_AT_ONCE_MIN ? RECORDS_AT_ONCE_MIN : (int)share;
}

static int
source_open(struct ctl *ctl, struct bus *bus, struct replay_sources *sources, size_t index)
{
    struct replay_source *source = &sources->rows[index];
    struct readings one = {
        .topic = sources->readings.topic, .rows = &sources->readings.rows[index], .count = 1};
    source->reading = one.rows;
    source->records = calloc((size_t)sources->records_at_once, sizeof *source->records);
    struct bus_config *config = bus_config_new();
    if (!source->records || !config) {
        bus_config_free(&config);
        return ctl_no_memory(ctl);
    }
    /* Records that retention takes away meanwhile must be missed, not skipped in silence. */
    int rc = bus_config_set(config, "auto.offset.reset", "none");
    if (rc == 0)
        rc = bus_consumer_open(bus, config, &source->consumer);
    bus_config_free(&config);
    if (rc < 0)
        return ctl_fail_bus(ctl, rc, one.topic);
    int code = readings_assign(ctl, source->consumer, &one);
    if (code != CTL_OK)
        return code;
    rc = bus_position(source->consumer, one.topic, source->reading->partition, &source->position);
    if (rc < 0)
        return ctl_fail_bus(ctl, rc, one.topic);
    if (source->reading->end > source->position)
        sources->offsets += source->reading->end - source->position;
    return CTL_OK;
}

int
replay_sources_open(struct ctl *ctl, struct bus *bus, struct replay_sources *sources)
{
    size_t count = sources->readings.count;
    sources->records_at_once = records_at_once(count);
    sources->rows = calloc(count, sizeof *sources->rows);
    if (!sources->rows || !merge_init(&sources->merge, count))
        return ctl_no_memory(ctl);
    int code = CTL_OK;
    for (size_t i = 0; i < count && code == CTL_OK; i++)
        code = source_open(ctl, bus, sources, i);
    return code;
}

void
replay_sources_close(struct replay_sources *sources)
{
    for (size_t i = 0; sources->rows && i < sources->readings.count; i++) {
        bus_consumer_close(&sources->rows[i].consumer);
        free(sources->rows[i].records);
    }
    free(sources->rows);
    sources->rows = NULL;
    merge_fini(&sources->merge);
    readings_fini(&sources->readings);
}

static bool
at_end(const struct replay_sources *sources, struct replay_source *source)
{
    int64_t position;
    const struct reading *reading = source->reading;
    return bus_position(source->consumer, sources->readings.topic, reading->partition, &position) ==
               0 &&
           position >= reading->end;
}

/** Polls until there are records below the end, the end, or a signal: then there are none. */
static int
fill(struct ctl *ctl, struct replay_sources *sources, struct replay_source *source)
{
    source->at = source->count = 0;
    while (!interrupted() && !at_end(sources, source)) {
        int got = bus_poll(source->consumer, source->records, sources->records_at_once, WAIT_MS);
        if (got < 0)
            return ctl_fail_bus(ctl, got, sources->readings.topic);
        /* What came after the start of this command is no part of the range. */
        while (got > 0 && source->records[got - 1].offset >= source->reading->end)
            got--;
        source->count = got;
        if (got > 0)
            break;
    }
    return CTL_OK;
}

int
replay_sources_begin(struct ctl *ctl, struct replay_sources *sources)
{
    int code = CTL_OK;
    for (size_t i = 0; i < sources->readings.count && code == CTL_OK; i++) {
        struct replay_source *source = &sources->rows[i];
        code = fill(ctl, sources, source);
        if (source->count > 0)
            merge_add(&sources->merge, i, source->records[0].timestamp_ms);
    }
    return code;
}

static struct replay_source *
first_source(const struct replay_sources *sources)
{
    const struct merge_head *head = merge_first(&sources->merge);
    return head ? &sources->rows[head->sequence] : NULL;
}

const struct bus_record *
replay_sources_first(const struct replay_sources *sources)
{
    const struct replay_source *source = first_source(sources);
    return source ? &source->records[source->at] : NULL;
}

bool
replay_sources_take(struct replay_sources *sources)
{
    struct replay_source *source = first_source(sources);
    int64_t behind = source->records[source->at].offset + 1;
    sources->offsets_passed += behind - source->position;
    source->position = behind;
    if (++source->at == source->count)
        return false;
    merge_next(&sources->merge, source->records[source->at].timestamp_ms);
    return true;
}

int
replay_sources_refill(struct ctl *ctl, struct replay_sources *sources)
{
    struct replay_source *source = first_source(sources);
    int code = fill(ctl, sources, source);
    if (source->count > 0)
        merge_next(&sources->merge, source->records[0].timestamp_ms);
    else
        merge_end(&sources->merge);
    return code;
}
