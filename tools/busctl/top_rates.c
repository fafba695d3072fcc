/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/top_rates.h"

#include <stdlib.h>
#include <string.h>

struct order {
    enum top_sort sort;
    bool reversed;
};

/* ---- rates ----------------------------------------------------------------------------------- */

static int
by_topic_name(const void *name, const void *topic)
{
    return strcmp(name, ((const struct top_topic *)topic)->name);
}

static int
by_group_name(const void *name, const void *group)
{
    return strcmp(name, ((const struct top_group *)group)->name);
}

/** The same topic in the look before; NULL: it was not there, or another one of that name was. */
static const struct top_topic *
topic_before(const struct top_look *before, const struct top_topic *topic)
{
    const struct top_topic *found = before->topic_count == 0
                                        ? NULL
                                        : bsearch(topic->name, before->topics, before->topic_count,
                                              sizeof *before->topics, by_topic_name);
    return found && memcmp(found->id, topic->id, TOP_ID_BYTES) == 0 ? found : NULL;
}

/** Records that came into a partition since it was `old`. */
static int64_t
new_records(const struct top_part *old, const struct top_part *now)
{
    if (old->end < 0 || now->end < old->end)
        return 0;
    return now->end - old->end;
}

/**
 * Bytes that came in. Where old segments went meanwhile the difference of the sizes says nothing,
 * and the new records are taken for as long as those kept are on average.
 */
static int64_t
new_bytes(const struct top_part *old, const struct top_part *now)
{
    if (old->bytes < 0 || now->bytes < 0)
        return 0;
    if (now->start == old->start && now->bytes >= old->bytes)
        return now->bytes - old->bytes;
    int64_t records = new_records(old, now), kept = now->end - now->start;
    return kept > 0 ? (int64_t)((double)now->bytes / (double)kept * (double)records) : 0;
}

static double
elapsed_s(const struct top_look *now, const struct top_look *before)
{
    return before && now->at_ns > before->at_ns ? (double)(now->at_ns - before->at_ns) / 1e9 : 0;
}

static void
rate_topic(struct top_topic_row *row, const struct top_look *now, const struct top_topic *topic,
    const struct top_look *before)
{
    /* What was not there before began empty. */
    static const struct top_part nothing;
    double seconds = elapsed_s(now, before);
    row->records_per_s = row->bytes_per_s = TOP_UNKNOWN;
    if (seconds <= 0)
        return;
    const struct top_topic *old = topic_before(before, topic);
    int64_t records = 0, bytes = 0;
    for (size_t i = 0; i < topic->partitions; i++) {
        bool was = old && i < old->partitions;
        const struct top_part *then = was ? &before->parts[old->first + i] : &nothing;
        records += new_records(then, &now->parts[topic->first + i]);
        bytes += new_bytes(then, &now->parts[topic->first + i]);
    }
    row->records_per_s = (double)records / seconds;
    row->bytes_per_s = (double)bytes / seconds;
}

static void
fill_topic(struct top_topic_row *row, const struct top_look *now, const struct top_topic *topic,
    const struct top_look *before)
{
    *row = (struct top_topic_row){.name = topic->name, .partitions = topic->partitions};
    for (size_t i = 0; i < topic->partitions; i++) {
        const struct top_part *part = &now->parts[topic->first + i];
        if (part->end >= 0 && part->start >= 0)
            row->records += part->end - part->start;
        if (part->bytes >= 0)
            row->bytes += part->bytes;
    }
    rate_topic(row, now, topic, before);
}

static void
fill_group(struct top_group_row *row, const struct top_look *now, const struct top_group *group,
    const struct top_look *before)
{
    *row = (struct top_group_row){.name = group->name,
        .state = group->state,
        .members = group->members,
        .partitions = group->partitions,
        .lag = group->lag,
        .records_per_s = TOP_UNKNOWN};
    double seconds = elapsed_s(now, before);
    if (seconds <= 0 || before->group_count == 0)
        return;
    const struct top_group *old = bsearch(
        group->name, before->groups, before->group_count, sizeof *before->groups, by_group_name);
    /* Other partitions: the sums cannot be compared. */
    if (!old || old->partitions != group->partitions)
        return;
    int64_t committed = group->committed - old->committed;
    row->records_per_s = committed > 0 ? (double)committed / seconds : 0;
}

/* ---- order ----------------------------------------------------------------------------------- */

static int
compare(double a, double b, const char *name_a, const char *name_b, bool reversed)
{
    /* The largest first. */
    int order = (a < b) - (a > b);
    if (order == 0)
        order = strcmp(name_a, name_b);
    return reversed ? -order : order;
}

static double
topic_key(const struct top_topic_row *row, enum top_sort sort)
{
    switch (sort) {
    case TOP_BY_RECORDS_PER_S:
        return row->records_per_s;
    case TOP_BY_BYTES_PER_S:
        return row->bytes_per_s;
    case TOP_BY_BYTES:
        return (double)row->bytes;
    case TOP_BY_PARTITIONS:
        return (double)row->partitions;
    default:
        return 0;
    }
}

static double
group_key(const struct top_group_row *row, enum top_sort sort)
{
    switch (sort) {
    case TOP_BY_RECORDS_PER_S:
        return row->records_per_s;
    case TOP_BY_PARTITIONS:
        return (double)row->partitions;
    case TOP_BY_LAG:
        return (double)row->lag;
    default:
        return 0;
    }
}

static int
by_topic_key(const void *a, const void *b, void *context)
{
    const struct top_topic_row *left = a, *right = b;
    const struct order *order = context;
    return compare(topic_key(left, order->sort), topic_key(right, order->sort), left->name,
        right->name, order->reversed);
}

static int
by_group_key(const void *a, const void *b, void *context)
{
    const struct top_group_row *left = a, *right = b;
    const struct order *order = context;
    return compare(group_key(left, order->sort), group_key(right, order->sort), left->name,
        right->name, order->reversed);
}

/* ---- the view -------------------------------------------------------------------------------- */

static void
sum_up(struct top_view *view, bool rated)
{
    view->records_per_s = view->bytes_per_s = rated ? 0 : TOP_UNKNOWN;
    for (size_t i = 0; i < view->topic_count; i++) {
        view->bytes += view->topics[i].bytes;
        view->records_per_s += rated ? view->topics[i].records_per_s : 0;
        view->bytes_per_s += rated ? view->topics[i].bytes_per_s : 0;
    }
    for (size_t i = 0; i < view->group_count; i++)
        view->lag += view->groups[i].lag;
}

bool
top_view_init(struct top_view *view, const struct top_look *now, const struct top_look *before,
    enum top_sort sort, bool reversed)
{
    struct order order = {sort, reversed};
    *view = (struct top_view){0};
    view->topics = calloc(now->topic_count + 1, sizeof *view->topics);
    view->groups = calloc(now->group_count + 1, sizeof *view->groups);
    if (!view->topics || !view->groups)
        return false;
    view->topic_count = now->topic_count;
    view->group_count = now->group_count;
    for (size_t i = 0; i < now->topic_count; i++)
        fill_topic(&view->topics[i], now, &now->topics[i], before);
    for (size_t i = 0; i < now->group_count; i++)
        fill_group(&view->groups[i], now, &now->groups[i], before);
    sum_up(view, elapsed_s(now, before) > 0);
    qsort_r(view->topics, view->topic_count, sizeof *view->topics, by_topic_key, &order);
    qsort_r(view->groups, view->group_count, sizeof *view->groups, by_group_key, &order);
    return true;
}

void
top_view_fini(struct top_view *view)
{
    free(view->topics);
    free(view->groups);
    *view = (struct top_view){0};
}
