/* SPDX-License-Identifier: Apache-2.0 */
#include "core/settings.h"

#include "base/check.h"
#include "core/setting_value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROW(name, type, standard, min, max, unit, when, text)                                      \
    {                                                                                              \
        (name), (standard), (unit), (text), (double)(min), (double)(max), (int64_t)(min),          \
            (int64_t)(max), SETTING_##type, SETTING_##when                                         \
    }

static const struct setting_row topic_rows[] = {
#define X(name, row, type, standard, min, max, unit, broker_name, text)                            \
    ROW(name, type, standard, min, max, unit, DYNAMIC, text),
#include "core/topic.def"
#undef X
};

static const struct setting_row broker_rows[] = {
#define X(name, row, type, standard, min, max, unit, when, text)                                   \
    ROW(name, type, standard, min, max, unit, when, text),
#include "core/broker.def"
#undef X
#define X(name, row, type, standard, min, max, unit, broker_name, text)                            \
    ROW(broker_name, type, standard, min, max, unit, DYNAMIC, text),
#include "core/topic.def"
#undef X
};

const struct setting_table setting_table_topic = {
    "topic", topic_rows, TOPIC_SETTINGS, BROKER_SETTINGS - TOPIC_SETTINGS};
const struct setting_table setting_table_broker = {"busd", broker_rows, BROKER_SETTINGS, 0};

void
settings_init(struct settings *settings, const struct setting_table *table,
    enum setting_source source, const struct settings *parent)
{
    *settings = (struct settings){.table = table, .source = source, .parent = parent};
}

void
settings_fini(struct settings *settings)
{
    if (!settings->values)
        return;
    for (unsigned i = 0; i < settings->table->count; i++)
        setting_value_fini(&settings->table->rows[i], &settings->values[i]);
    free(settings->values);
    settings->values = NULL;
}

static int
need_values(struct settings *settings)
{
    if (!settings->values)
        settings->values = calloc(settings->table->count, sizeof settings->values[0]);
    return settings->values ? 0 : err_no_memory();
}

static int
copy_value(struct settings *to, const struct settings *from, unsigned row)
{
    to->values[row] = from->values[row];
    if (from->table->rows[row].type != SETTING_STRING &&
        from->table->rows[row].type != SETTING_LIST)
        return 0;
    to->values[row].string = strdup(from->values[row].string);
    if (to->values[row].string)
        return 0;
    to->values[row].set = false;
    return err_no_memory();
}

int
settings_copy(struct settings *to, const struct settings *from)
{
    MUST(to->table == from->table);
    settings_fini(to);
    if (!from->values)
        return 0;
    int rc = need_values(to);
    for (unsigned i = 0; rc == 0 && i < from->table->count; i++)
        if (from->values[i].set)
            rc = copy_value(to, from, i);
    if (rc < 0)
        settings_fini(to);
    return rc;
}

void
settings_swap(struct settings *a, struct settings *b)
{
    MUST(a->table == b->table);
    struct setting_value *values = a->values;
    a->values = b->values;
    b->values = values;
}

static unsigned
least(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

enum { NAME_BYTES_MAX = 64 };

/** How many letters must change, come or go to make `b` of `a`; both are short. */
static unsigned
distance(const char *a, const char *b)
{
    unsigned row[NAME_BYTES_MAX + 1];
    size_t n = strlen(b);
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            unsigned above = row[j];
            row[j] = least(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[n];
}

/** The name that was probably meant; NULL when none is near. */
static const char *
nearest(const struct setting_table *table, const char *name)
{
    size_t n = strlen(name);
    if (n > NAME_BYTES_MAX)
        return NULL;
    const char *best = NULL;
    unsigned best_distance = (unsigned)n / 3 + 2;
    for (unsigned i = 0; i < table->count; i++) {
        if (strlen(table->rows[i].name) > NAME_BYTES_MAX)
            continue;
        unsigned d = distance(name, table->rows[i].name);
        if (d >= best_distance)
            continue;
        best = table->rows[i].name;
        best_distance = d;
    }
    return best;
}

int
settings_find(const struct setting_table *table, const char *name)
{
    for (unsigned i = 0; i < table->count; i++)
        if (strcmp(table->rows[i].name, name) == 0)
            return (int)i;
    const char *meant = nearest(table, name);
    if (meant)
        return err_set(BUS_ERR_INVALID_CONFIG, "%s has no setting \"%.100s\"; did you mean %s?",
            table->what, name, meant);
    return err_set(BUS_ERR_INVALID_CONFIG,
        "%s has no setting \"%.100s\"; `busctl config list` shows all", table->what, name);
}

int
settings_set(struct settings *settings, unsigned row, const char *text)
{
    MUST(row < settings->table->count);
    struct setting_value value;
    int rc = setting_value_parse(&settings->table->rows[row], text, &value);
    if (rc < 0)
        return rc;
    rc = need_values(settings);
    if (rc < 0) {
        setting_value_fini(&settings->table->rows[row], &value);
        return rc;
    }
    settings_unset(settings, row);
    settings->values[row] = value;
    return 0;
}

int
settings_set_named(struct settings *settings, const char *name, const char *text)
{
    int row = settings_find(settings->table, name);
    return row < 0 ? row : settings_set(settings, (unsigned)row, text);
}

void
settings_unset(struct settings *settings, unsigned row)
{
    MUST(row < settings->table->count);
    if (settings->values)
        setting_value_fini(&settings->table->rows[row], &settings->values[row]);
}

static int
append_words(struct settings *settings, unsigned row, const char *text)
{
    const char *old = settings_text(settings, row);
    size_t n = strlen(old) + strlen(text) + 2;
    char *both = malloc(n);
    if (!both)
        return err_no_memory();
    snprintf(both, n, "%s,%s", old, text);
    int rc = settings_set(settings, row, both);
    free(both);
    return rc;
}

static int
subtract_words(struct settings *settings, unsigned row, const char *text)
{
    const char *old = settings_text(settings, row);
    char *left = calloc(strlen(old) + 1, 1);
    if (!left)
        return err_no_memory();
    size_t used = 0;
    while (*old) {
        size_t n = strcspn(old, ",");
        if (!setting_list_has(text, old, n)) {
            if (used > 0)
                left[used++] = ',';
            memcpy(left + used, old, n);
            used += n;
        }
        old += n + (old[n] == ',');
    }
    int rc = settings_set(settings, row, left);
    free(left);
    return rc;
}

int
settings_alter(struct settings *settings, unsigned row, enum setting_op op, const char *text)
{
    MUST(row < settings->table->count);
    const struct setting_row *info = &settings->table->rows[row];
    if (op == SETTING_OP_DELETE) {
        settings_unset(settings, row);
        return 0;
    }
    if (op == SETTING_OP_SET)
        return settings_set(settings, row, text);
    if (op != SETTING_OP_APPEND && op != SETTING_OP_SUBTRACT)
        return err_set(BUS_ERR_INVALID_REQUEST, "%s: operation %d is unknown", info->name, (int)op);
    if (info->type != SETTING_LIST)
        return err_set(
            BUS_ERR_INVALID_CONFIG, "%s is no list: words cannot be added or removed", info->name);
    if (!text || strlen(text) >= SETTING_TEXT_BYTES_MAX)
        return err_set(BUS_ERR_INVALID_CONFIG, "%s: the value is missing or too long", info->name);
    return op == SETTING_OP_APPEND ? append_words(settings, row, text)
                                   : subtract_words(settings, row, text);
}

/** Goes up until a layer has a value; `*row` follows into the parent's table. */
static const struct setting_value *
in_force(const struct settings **settings, unsigned *row)
{
    MUST(*row < (*settings)->table->count);
    for (const struct settings *at = *settings; at; at = at->parent) {
        *settings = at;
        if (at->values && at->values[*row].set)
            return &at->values[*row];
        if (at->parent && at->parent->table != at->table)
            *row += at->table->parent_first;
    }
    return NULL;
}

bool
settings_is_set(const struct settings *settings, unsigned row)
{
    MUST(row < settings->table->count);
    return settings->values && settings->values[row].set;
}

enum setting_source
settings_source(const struct settings *settings, unsigned row)
{
    return in_force(&settings, &row) ? settings->source : SETTING_FROM_DEFAULT;
}

int64_t
settings_int(const struct settings *settings, unsigned row)
{
    MUST(row < settings->table->count);
    enum setting_type type = settings->table->rows[row].type;
    MUST(type == SETTING_BOOL || type == SETTING_INT || type == SETTING_LONG ||
         type == SETTING_ENUM);
    const struct setting_value *value = in_force(&settings, &row);
    if (value)
        return value->number;
    struct setting_value standard;
    MUST(setting_value_parse(
             &settings->table->rows[row], settings->table->rows[row].standard, &standard) == 0);
    return standard.number;
}

bool
settings_bool(const struct settings *settings, unsigned row)
{
    return settings_int(settings, row) != 0;
}

double
settings_real(const struct settings *settings, unsigned row)
{
    MUST(row < settings->table->count && settings->table->rows[row].type == SETTING_DOUBLE);
    const struct setting_value *value = in_force(&settings, &row);
    return value ? value->real : strtod(settings->table->rows[row].standard, NULL);
}

const char *
settings_text(const struct settings *settings, unsigned row)
{
    MUST(row < settings->table->count);
    enum setting_type type = settings->table->rows[row].type;
    MUST(type == SETTING_STRING || type == SETTING_LIST);
    const struct setting_value *value = in_force(&settings, &row);
    return value ? value->string : settings->table->rows[row].standard;
}

bool
settings_list_has(const struct settings *settings, unsigned row, const char *word)
{
    return setting_list_has(settings_text(settings, row), word, strlen(word));
}

const char *
settings_format(const struct settings *settings, unsigned row, char space[SETTING_FORMAT_BYTES])
{
    const struct setting_value *value = in_force(&settings, &row);
    const struct setting_row *info = &settings->table->rows[row];
    return value ? setting_value_format(info, value, space) : info->standard;
}

int
settings_check_topic(const struct settings *settings)
{
    MUST(settings->table == &setting_table_topic);
    int64_t min = settings_int(settings, TOPIC_MIN_COMPACTION_LAG_MS);
    int64_t max = settings_int(settings, TOPIC_MAX_COMPACTION_LAG_MS);
    if (min > max)
        return err_set(BUS_ERR_INVALID_CONFIG,
            "min.compaction.lag.ms=%lld is above max.compaction.lag.ms=%lld", (long long)min,
            (long long)max);
    return 0;
}
