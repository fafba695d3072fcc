/* SPDX-License-Identifier: Apache-2.0 */
#include "client/settings.h"

#include "base/check.h"
#include "base/err.h"
#include "client/assign.h"
#include "record/codec.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum row_type { ROW_INT, ROW_BOOL, ROW_ENUM, ROW_STRING };

struct row {
    const char *name;
    const char *text_default;
    const char *unit;
    const char *scope;
    const char *choices;
    const char *text;
    const char *range;
    size_t offset; /* of the member in struct settings */
    int64_t min, max;
    enum row_type type;
};

#define SCOPE_CLIENT "client"
#define SCOPE_PRODUCER "producer"
#define SCOPE_CONSUMER "consumer"

#define RANGE_INT(min, max, choices) #min ".." #max
#define RANGE_BOOL(min, max, choices) "true|false"
#define RANGE_ENUM(min, max, choices) choices
#define RANGE_STRING(min, max, choices) ""

static const struct row rows[] = {
#define X(row_name, field, kind, value, low, high, row_unit, row_scope, row_choices, row_text)     \
    {.name = row_name,                                                                             \
        .text_default = value,                                                                     \
        .unit = row_unit,                                                                          \
        .scope = SCOPE_##row_scope,                                                                \
        .choices = row_choices,                                                                    \
        .text = row_text,                                                                          \
        .range = RANGE_##kind(low, high, row_choices),                                             \
        .offset = offsetof(struct settings, field),                                                \
        .min = low,                                                                                \
        .max = high,                                                                               \
        .type = ROW_##kind},
#include "client/client.def"
#undef X
};

enum { ROWS = sizeof rows / sizeof rows[0] };

struct bus_config {
    struct settings settings;
    char texts[ROWS][SETTINGS_STRING_BYTES_MAX]; /* the values in force, row by row */
};

static const struct row *
row_find(const char *name)
{
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

static void *
member(struct settings *settings, const struct row *row)
{
    return (char *)settings + row->offset;
}

static int
refuse(const struct row *row, const char *value)
{
    if (row->type == ROW_STRING)
        return err_set(BUS_ERR_INVALID_CONFIG,
            "%s: longer than %" PRId64 " characters: give a shorter one", row->name, row->max);
    return err_set(BUS_ERR_INVALID_CONFIG, "%s: \"%s\" is not in %s%s%s", row->name, value,
        row->range, *row->unit ? " " : "", row->unit);
}

/* What a suffix multiplies by; 0 when the unit knows no such suffix. */
static int64_t
factor_of(const char *unit, const char *suffix)
{
    static const struct {
        const char *unit, *suffix;
        int64_t factor;
    } factors[] = {
        {"bytes", "k", 1 << 10},
        {"bytes", "m", 1 << 20},
        {"bytes", "g", 1 << 30},
        {"ms", "ms", 1},
        {"ms", "s", 1000},
        {"ms", "m", 60000},
        {"ms", "h", 3600000},
        {"us", "us", 1},
        {"us", "ms", 1000},
    };
    if (*suffix == '\0')
        return 1;
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++)
        if (strcmp(factors[i].unit, unit) == 0 && strcasecmp(factors[i].suffix, suffix) == 0)
            return factors[i].factor;
    return 0;
}

static int
parse_int(const struct row *row, const char *value, int64_t *out)
{
    char *end;
    if (!isdigit((unsigned char)*value) && *value != '-')
        return refuse(row, value);
    errno = 0;
    long long number = strtoll(value, &end, 10);
    int64_t factor = end == value ? 0 : factor_of(row->unit, end);
    int64_t result;
    if (errno != 0 || factor == 0 || __builtin_mul_overflow((int64_t)number, factor, &result) ||
        result < row->min || result > row->max)
        return refuse(row, value);
    *out = result;
    return 0;
}

static int
parse_bool(const struct row *row, const char *value, bool *out)
{
    bool yes = strcasecmp(value, "true") == 0;
    if (!yes && strcasecmp(value, "false") != 0)
        return refuse(row, value);
    *out = yes;
    return 0;
}

/* The length of the choice at `at`; the list ends with a length of 0. */
static size_t
choice_length(const char *at)
{
    return strcspn(at, "|");
}

static int
parse_enum(const struct row *row, const char *value, int *out)
{
    if (row->offset == offsetof(struct settings, acks) && strcmp(value, "-1") == 0)
        value = "all";
    int number = 0;
    for (const char *at = row->choices; *at; number++) {
        size_t length = choice_length(at);
        if (strlen(value) == length && strncasecmp(at, value, length) == 0) {
            *out = number;
            return 0;
        }
        at += length;
        at += *at == '|';
    }
    return refuse(row, value);
}

static int
parse(const struct row *row, const char *value, struct settings *settings)
{
    switch (row->type) {
    case ROW_INT:
        return parse_int(row, value, member(settings, row));
    case ROW_BOOL:
        return parse_bool(row, value, member(settings, row));
    case ROW_ENUM:
        return parse_enum(row, value, member(settings, row));
    default:
        if (strlen(value) > (size_t)row->max)
            return refuse(row, value);
        memcpy(member(settings, row), value, strlen(value) + 1);
        return 0;
    }
}

/* What one row alone cannot tell. */
static int
check_together(const struct settings *settings)
{
    if (!codec_available(settings->compression_type))
        return err_set(BUS_ERR_INVALID_CONFIG,
            "compression.type: this build of libbus has no %s; none and zstd are always there",
            codec_name(settings->compression_type));
    enum assign_strategy strategies[ASSIGN_STRATEGIES];
    int rc = assign_parse(settings->partition_assignment_strategy, strategies);
    return rc < 0 ? rc : 0;
}

static void
defaults(struct settings *settings)
{
    memset(settings, 0, sizeof *settings);
    for (size_t i = 0; i < ROWS; i++)
        MUST(parse(&rows[i], rows[i].text_default, settings) == 0);
}

static void
choice_text(const struct row *row, int number, char *text)
{
    const char *at = row->choices;
    while (number-- > 0)
        at += choice_length(at) + 1;
    snprintf(text, SETTINGS_STRING_BYTES_MAX, "%.*s", (int)choice_length(at), at);
}

/* Writes the value of a row in its one spelling. */
static void
render(struct bus_config *config, const struct row *row)
{
    const void *value = member(&config->settings, row);
    char *text = config->texts[row - rows];
    switch (row->type) {
    case ROW_INT:
        snprintf(text, SETTINGS_STRING_BYTES_MAX, "%" PRId64, *(const int64_t *)value);
        break;
    case ROW_BOOL:
        snprintf(text, SETTINGS_STRING_BYTES_MAX, "%s", *(const bool *)value ? "true" : "false");
        break;
    case ROW_ENUM:
        choice_text(row, *(const int *)value, text);
        break;
    case ROW_STRING:
        memcpy(text, value, SETTINGS_STRING_BYTES_MAX);
        break;
    }
}

void
settings_of(const struct bus_config *config, struct settings *settings)
{
    if (config)
        *settings = config->settings;
    else
        defaults(settings);
}

struct bus_config *
bus_config_new(void)
{
    struct bus_config *config = calloc(1, sizeof *config);
    if (!config) {
        err_no_memory();
        return NULL;
    }
    defaults(&config->settings);
    for (size_t i = 0; i < ROWS; i++)
        render(config, &rows[i]);
    return config;
}

void
bus_config_free(struct bus_config **config)
{
    free(*config);
    *config = NULL;
}

int
bus_config_set(struct bus_config *config, const char *name, const char *value)
{
    const struct row *row = row_find(name);
    if (!row)
        return err_set(BUS_ERR_INVALID_CONFIG, "no such setting: %s; see libbus(3)", name);
    struct settings changed = config->settings;
    int rc = parse(row, value, &changed);
    if (rc == 0)
        rc = check_together(&changed);
    if (rc < 0)
        return rc;
    config->settings = changed;
    render(config, row);
    return 0;
}

const char *
bus_config_get(const struct bus_config *config, const char *name)
{
    const struct row *row = row_find(name);
    return row ? config->texts[row - rows] : NULL;
}

int
bus_config_row(size_t index, struct bus_config_row *row)
{
    static const char *const type_names[] = {"int", "bool", "enum", "string"};
    if (index >= ROWS)
        return err_set(BUS_ERR_INVALID_ARGUMENT, "there are %d settings", ROWS);
    const struct row *from = &rows[index];
    *row = (struct bus_config_row){.name = from->name,
        .type = type_names[from->type],
        .default_value = from->text_default,
        .range = from->range,
        .unit = from->unit,
        .scope = from->scope,
        .text = from->text};
    return 0;
}
