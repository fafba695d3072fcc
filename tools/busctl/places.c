/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/places.h"

#include <stdlib.h>
#include <string.h>

/** Reads "3" or "2-5" at *at and moves behind it; false when it is neither. */
static bool
range(const char **at, int64_t *first, int64_t *last)
{
    char *end;
    if (**at < '0' || **at > '9')
        return false;
    *first = *last = strtoll(*at, &end, 10);
    if (*end == '-') {
        if (end[1] < '0' || end[1] > '9')
            return false;
        *last = strtoll(end + 1, &end, 10);
    }
    *at = end + (*end == ',');
    return (*end == ',' || *end == '\0') && *first <= *last;
}

int
places_parse_list(
    struct ctl *ctl, const char *what, const char *list, bool *wanted, int32_t partitions)
{
    int64_t first = 0, last = partitions - 1;
    const char *at = list;
    do {
        if (list && !range(&at, &first, &last))
            return ctl_usage(ctl, "%s%s: partitions as in 0,2-5 are wanted", what, list);
        if (last >= partitions)
            return ctl_fail(ctl,
                partitions == 1 ? "partition %lld: the topic has partition 0 only"
                                : "partition %lld: the topic has the partitions 0 to %d",
                (long long)last, partitions - 1);
        for (int64_t i = first; i <= last; i++)
            wanted[i] = true;
    } while (list && *at);
    return CTL_OK;
}

int
places_compare(const void *a, const void *b)
{
    const struct bus_place *left = a, *right = b;
    int order = strcmp(left->topic, right->topic);
    if (order != 0)
        return order;
    return (left->partition > right->partition) - (left->partition < right->partition);
}

bool
places_have(const struct places *places, const char *topic, int32_t partition)
{
    const struct bus_place wanted = {.topic = topic, .partition = partition};
    return places->count > 0 &&
           bsearch(&wanted, places->rows, places->count, sizeof wanted, places_compare);
}

static bool
grow(struct places *places, size_t more)
{
    struct bus_place *rows = realloc(places->rows, (places->count + more) * sizeof *rows);
    if (rows)
        places->rows = rows;
    char **names = realloc(places->names, (places->name_count + 1) * sizeof *names);
    if (names)
        places->names = names;
    return rows && names;
}

/** Takes the name. */
static int
add(struct ctl *ctl, struct places *places, char *name, const bool *wanted, int32_t partitions)
{
    if (!grow(places, (size_t)partitions)) {
        free(name);
        return ctl_no_memory(ctl);
    }
    places->names[places->name_count++] = name;
    size_t before = places->count;
    for (int32_t i = 0; i < partitions; i++)
        if (wanted[i])
            places->rows[places->count++] = (struct bus_place){.topic = name, .partition = i};
    if (before > 0) {
        qsort(places->rows, places->count, sizeof *places->rows, places_compare);
        size_t kept = 1;
        for (size_t i = 1; i < places->count; i++)
            if (places_compare(&places->rows[kept - 1], &places->rows[i]) != 0)
                places->rows[kept++] = places->rows[i];
        places->count = kept;
    }
    return CTL_OK;
}

/** Takes the name. */
static int
add_topic(struct ctl *ctl, struct bus *bus, struct places *places, char *name, const char *list)
{
    struct bus_topics *topics;
    int rc = bus_topics_fetch(bus, name, &topics);
    if (rc < 0) {
        int code = ctl_fail_bus(ctl, rc, name);
        free(name);
        return code;
    }
    int32_t partitions = bus_topics_partitions(topics, 0);
    bus_topics_free(&topics);
    bool *wanted = calloc((size_t)partitions + 1, sizeof *wanted);
    if (!wanted) {
        free(name);
        return ctl_no_memory(ctl);
    }
    char what[300];
    snprintf(what, sizeof what, "%s:", name);
    int code = places_parse_list(ctl, what, list, wanted, partitions);
    if (code == CTL_OK)
        code = add(ctl, places, name, wanted, partitions);
    else
        free(name);
    free(wanted);
    return code;
}

int
places_add(struct ctl *ctl, struct bus *bus, struct places *places, const char *text)
{
    size_t length = strcspn(text, ":");
    if (length == 0)
        return ctl_usage(ctl, "'%s' has not the form TOPIC or TOPIC:0,2-5", text);
    char *name = strndup(text, length);
    if (!name)
        return ctl_no_memory(ctl);
    return add_topic(ctl, bus, places, name, text[length] ? text + length + 1 : NULL);
}

void
places_fini(struct places *places)
{
    for (size_t i = 0; i < places->name_count; i++)
        free(places->names[i]);
    free(places->names);
    free(places->rows);
    *places = (struct places){0};
}
