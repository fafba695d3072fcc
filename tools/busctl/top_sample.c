/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/top_sample.h"

#include "base/clock.h"
#include "base/err.h"

#include <bus/groups.h>
#include <stdlib.h>
#include <string.h>

/** Makes room for all topics and their partitions. */
static int
make_topics(struct top_look *look, const struct bus_topics *topics)
{
    size_t count = bus_topics_count(topics), parts = 0;
    for (size_t i = 0; i < count; i++)
        parts += (size_t)bus_topics_partitions(topics, i);
    look->topics = calloc(count + 1, sizeof *look->topics);
    look->parts = calloc(parts + 1, sizeof *look->parts);
    if (!look->topics || !look->parts)
        return err_no_memory();
    for (size_t i = 0, at = 0; i < count; i++) {
        struct top_topic *topic = &look->topics[look->topic_count++];
        *topic = (struct top_topic){.name = bus_topics_name(topics, i),
            .first = at,
            .partitions = (size_t)bus_topics_partitions(topics, i)};
        memcpy(topic->id, bus_topics_id(topics, i), TOP_ID_BYTES);
        at += topic->partitions;
    }
    for (size_t i = 0; i < parts; i++)
        look->parts[i] = (struct top_part){-1, -1, -1};
    return 0;
}

static size_t
partition_total(const struct top_look *look)
{
    if (look->topic_count == 0)
        return 0;
    const struct top_topic *last = &look->topics[look->topic_count - 1];
    return last->first + last->partitions;
}

/** Asks for the starts or the ends of all partitions. What is not there any more stays -1. */
static int
find_offsets(struct bus *bus, struct top_look *look, bool ends)
{
    size_t count = partition_total(look);
    struct bus_offset_query *queries = calloc(count + 1, sizeof *queries);
    if (!queries)
        return err_no_memory();
    for (size_t i = 0; i < look->topic_count; i++)
        for (size_t j = 0; j < look->topics[i].partitions; j++)
            queries[look->topics[i].first + j] =
                (struct bus_offset_query){.topic = look->topics[i].name,
                    .partition = (int32_t)j,
                    .timestamp_ms = ends ? BUS_OFFSET_END : BUS_OFFSET_BEGINNING};
    int rc = bus_offsets_find(bus, queries, count);
    for (size_t i = 0; i < count && rc == 0; i++)
        *(ends ? &look->parts[i].end : &look->parts[i].start) =
            queries[i].error == 0 ? queries[i].offset : -1;
    free(queries);
    return rc;
}

static int
by_name(const void *name, const void *topic)
{
    return strcmp(name, ((const struct top_topic *)topic)->name);
}

static int
find_sizes(struct bus *bus, struct top_sample *sample)
{
    struct bus_sizes *sizes;
    struct bus_size size;
    int64_t total;
    struct top_look *look = &sample->look;
    int rc = bus_sizes_fetch(bus, &sizes);
    if (rc < 0)
        return rc;
    for (size_t i = 0; bus_sizes_get(sizes, i, &size) == 0; i++) {
        const struct top_topic *topic = look->topic_count == 0
                                            ? NULL
                                            : bsearch(size.topic, look->topics, look->topic_count,
                                                  sizeof *look->topics, by_name);
        if (topic && size.partition >= 0 && (size_t)size.partition < topic->partitions)
            look->parts[topic->first + (size_t)size.partition].bytes = size.bytes;
    }
    bus_sizes_disk(sizes, &total, &sample->disk_bytes);
    bus_sizes_free(&sizes);
    return 0;
}

static int
make_groups(struct top_look *look, const struct bus_groups *groups, const char ***names)
{
    size_t count = bus_groups_count(groups);
    struct bus_group_state state;
    *names = calloc(count + 1, sizeof **names);
    look->groups = calloc(count + 1, sizeof *look->groups);
    if (!*names || !look->groups)
        return err_no_memory();
    for (size_t i = 0; i < count && bus_groups_get(groups, i, &state) == 0; i++) {
        (*names)[i] = state.group;
        look->groups[look->group_count++] =
            (struct top_group){.name = state.group, .state = state.state, .members = state.members};
    }
    return 0;
}

/** Adds up what each group has committed. The rows come in the order of the groups. */
static void
take_commits(struct top_look *look, const struct bus_commits *commits)
{
    struct bus_commit_state row;
    for (size_t i = 0, at = 0; bus_commits_get(commits, i, &row) == 0; i++) {
        while (at < look->group_count && strcmp(look->groups[at].name, row.group) != 0)
            at++;
        if (at == look->group_count)
            return;
        struct top_group *group = &look->groups[at];
        group->partitions++;
        group->committed += row.offset;
        group->lag += row.lag > 0 ? row.lag : 0;
    }
}

static int
find_groups(struct bus *bus, struct top_sample *sample)
{
    const char **names = NULL;
    struct bus_commits *commits = NULL;
    int rc = bus_groups_fetch(bus, NULL, &sample->groups);
    if (rc == 0)
        rc = make_groups(&sample->look, sample->groups, &names);
    if (rc == 0 && sample->look.group_count > 0)
        rc = bus_commits_fetch(bus, names, sample->look.group_count, &commits);
    if (rc == 0 && commits)
        take_commits(&sample->look, commits);
    bus_commits_free(&commits);
    free(names);
    return rc;
}

static int
take(struct bus *bus, struct top_sample *sample)
{
    int rc = bus_status(bus, &sample->status);
    if (rc == 0)
        rc = bus_topics_fetch(bus, NULL, &sample->topics);
    if (rc == 0)
        rc = make_topics(&sample->look, sample->topics);
    if (rc == 0)
        rc = find_offsets(bus, &sample->look, false);
    /* The moment that rates are measured between is that of the ends. */
    sample->look.at_ns = clock_mono_ns();
    sample->time_ms = clock_wall_ms();
    if (rc == 0)
        rc = find_offsets(bus, &sample->look, true);
    if (rc == 0)
        rc = find_sizes(bus, sample);
    return rc == 0 ? find_groups(bus, sample) : rc;
}

struct top_sample *
top_sample_take(struct bus *bus)
{
    struct top_sample *sample = calloc(1, sizeof *sample);
    if (!sample) {
        err_no_memory();
        return NULL;
    }
    sample->disk_bytes = -1;
    if (take(bus, sample) < 0)
        top_sample_free(&sample);
    return sample;
}

void
top_sample_free(struct top_sample **sample)
{
    struct top_sample *old = *sample;
    *sample = NULL;
    if (!old)
        return;
    bus_topics_free(&old->topics);
    bus_groups_free(&old->groups);
    free(old->look.topics);
    free(old->look.parts);
    free(old->look.groups);
    free(old);
}
