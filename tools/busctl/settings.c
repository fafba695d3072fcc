/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/settings.h"

#include <bus/client.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum type { BOOL, STRING, INT, LONG, DOUBLE, LIST, ENUM };

static const char *const type_names[] = {"bool", "string", "int", "long", "double", "list", "enum"};

struct row {
    const char *name;
    enum type type;
    const char *standard;
    double min, max;
    const char *unit;
    const char *remark;
    const char *text;
};

static const struct row topic_rows[] = {
#define X(name, row, type, standard, min, max, unit, broker_name, text)                            \
    {name, type, standard, (double)(min), (double)(max), unit, broker_name, text},
#include "core/topic.def"
#undef X
};

/* The settings of busd that are the defaults of topics: the rows of topics under another name. */
static const struct row default_rows[] = {
#define X(name, row, type, standard, min, max, unit, broker_name, text)                            \
    {broker_name, type, standard, (double)(min), (double)(max), unit, name, text},
#include "core/topic.def"
#undef X
};

#define RESTART "takes effect at the next start"
#define DYNAMIC "takes effect at once"

static const struct row busd_rows[] = {
#define X(name, row, type, standard, min, max, unit, when, text)                                   \
    {name, type, standard, (double)(min), (double)(max), unit, when, text},
#include "core/broker.def"
#undef X
};

enum {
    TOPIC_ROWS = sizeof topic_rows / sizeof topic_rows[0],
    BUSD_ROWS = sizeof busd_rows / sizeof busd_rows[0],
};

static bool
is_number(const struct row *row)
{
    return row->type == INT || row->type == LONG || row->type == DOUBLE;
}

/** The unit column of ENUM and of most LIST rows holds the words allowed. */
static bool
has_words(const struct row *row)
{
    return strchr(row->unit, '|') || row->type == ENUM;
}

static void
put_limit(char *to, size_t room, double limit, bool octal)
{
    if (limit >= 9.2e18)
        snprintf(to, room, "%lld", (long long)INT64_MAX);
    else if (octal)
        snprintf(to, room, "0%llo", (unsigned long long)limit);
    else
        snprintf(to, room, "%.0f", limit);
}

static void
of_row(const struct row *row, const char *scope, struct setting *setting)
{
    *setting = (struct setting){.name = row->name,
        .scope = scope,
        .type = type_names[row->type],
        .standard = row->standard,
        .unit = has_words(row) ? "" : row->unit,
        .text = row->text,
        .remark = row->remark};
    if (has_words(row)) {
        snprintf(setting->range, sizeof setting->range, "%s", row->unit);
    } else if (is_number(row)) {
        bool octal = strcmp(row->unit, "octal") == 0;
        put_limit(setting->range, sizeof setting->range, row->min, octal);
        size_t used = strlen(setting->range);
        snprintf(setting->range + used, sizeof setting->range - used, "..");
        put_limit(setting->range + used + 2, sizeof setting->range - used - 2, row->max, octal);
    } else if (row->type == BOOL) {
        snprintf(setting->range, sizeof setting->range, "true|false");
    }
}

bool
settings_at(size_t index, struct setting *setting)
{
    struct bus_config_row row;
    if (index < TOPIC_ROWS) {
        of_row(&topic_rows[index], "topic", setting);
        return true;
    }
    index -= TOPIC_ROWS;
    if (index < BUSD_ROWS) {
        of_row(&busd_rows[index], "busd", setting);
        return true;
    }
    index -= BUSD_ROWS;
    if (index < TOPIC_ROWS) {
        of_row(&default_rows[index], "busd", setting);
        setting->topic_setting = setting->remark;
        setting->remark = DYNAMIC;
        return true;
    }
    if (bus_config_row(index - TOPIC_ROWS, &row) < 0)
        return false;
    *setting = (struct setting){.name = row.name,
        .scope = row.scope,
        .type = row.type,
        .standard = row.default_value,
        .unit = row.unit,
        .text = row.text};
    snprintf(setting->range, sizeof setting->range, "%s", row.range);
    return true;
}
