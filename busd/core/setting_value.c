/* SPDX-License-Identifier: Apache-2.0 */
#include "core/setting_value.h"

#include "core/access.h"
#include "core/listener.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/** A word behind a number, and what it multiplies by. */
struct suffix {
    const char *word;
    int64_t factor;
};

static const struct suffix size_suffixes[] = {
    {"", 1},
    {"k", INT64_C(1) << 10},
    {"m", INT64_C(1) << 20},
    {"g", INT64_C(1) << 30},
    {"t", INT64_C(1) << 40},
    {NULL, 0},
};

static const struct suffix duration_suffixes[] = {
    {"", 1},
    {"ms", 1},
    {"s", 1000},
    {"m", 60000},
    {"h", 3600000},
    {"d", 86400000},
    {NULL, 0},
};

static const struct suffix no_suffixes[] = {
    {"", 1},
    {NULL, 0},
};

static const struct suffix *
suffixes_of(const struct setting_row *row)
{
    if (strcmp(row->unit, "bytes") == 0)
        return size_suffixes;
    return strcmp(row->unit, "ms") == 0 ? duration_suffixes : no_suffixes;
}

static const char *
example_of(const struct setting_row *row)
{
    if (strcmp(row->unit, "bytes") == 0)
        return " bytes (64k, 1m, 1g are understood)";
    if (strcmp(row->unit, "ms") == 0)
        return " ms (10ms, 5s, 2m, 1h, 7d are understood)";
    return "";
}

static int
refuse_number(const struct setting_row *row, const char *text)
{
    if (strcmp(row->unit, "octal") == 0)
        return err_set(BUS_ERR_INVALID_CONFIG,
            "%s=%s: expected permissions in octal, 0000 to %04" PRIo64, row->name, text,
            (uint64_t)row->max);
    return err_set(BUS_ERR_INVALID_CONFIG,
        "%s=%s: expected a number from %" PRId64 " to %" PRId64 "%s", row->name, text, row->min,
        row->max, example_of(row));
}

static int
parse_number(const struct setting_row *row, const char *text, int64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoll(text, &end, strcmp(row->unit, "octal") == 0 ? 8 : 10);
    /* strtoll() takes leading spaces and a plus; canonical text has neither. */
    if (errno != 0 || end == text || !strchr("-0123456789", text[0]))
        return refuse_number(row, text);
    for (const struct suffix *at = suffixes_of(row); at->word; at++) {
        if (strcasecmp(end, at->word) != 0)
            continue;
        if (__builtin_mul_overflow(*number, at->factor, number) || *number < row->min ||
            *number > row->max)
            break;
        return 0;
    }
    return refuse_number(row, text);
}

static int
parse_real(const struct setting_row *row, const char *text, double *real)
{
    char *end;
    errno = 0;
    *real = strtod(text, &end);
    /* NaN fails both comparisons, so they ask what must be true. */
    if (errno != 0 || end == text || *end != '\0' || !(*real >= row->min_real) ||
        !(*real <= row->max_real))
        return err_set(BUS_ERR_INVALID_CONFIG, "%s=%s: expected a number from %g to %g", row->name,
            text, row->min_real, row->max_real);
    return 0;
}

static int
parse_bool(const struct setting_row *row, const char *text, int64_t *number)
{
    *number = strcasecmp(text, "true") == 0;
    if (*number == 0 && strcasecmp(text, "false") != 0)
        return err_set(BUS_ERR_INVALID_CONFIG, "%s=%s: expected true or false", row->name, text);
    return 0;
}

/** The position of a word among those of the unit column; -1 when it is not there. */
static int64_t
choice_of(const char *choices, const char *word, size_t n)
{
    for (int64_t i = 0;; i++) {
        size_t length = strcspn(choices, "|");
        if (length == n && strncasecmp(choices, word, n) == 0)
            return i;
        if (choices[length] == '\0')
            return -1;
        choices += length + 1;
    }
}

static int
parse_enum(const struct setting_row *row, const char *text, int64_t *number)
{
    *number = choice_of(row->unit, text, strlen(text));
    if (*number < 0)
        return err_set(
            BUS_ERR_INVALID_CONFIG, "%s=%s: expected one of %s", row->name, text, row->unit);
    return 0;
}

static int
parse_string(const struct setting_row *row, const char *text, char **string)
{
    size_t n = strlen(text);
    if ((int64_t)n < row->min || (int64_t)n > row->max)
        return err_set(BUS_ERR_INVALID_CONFIG,
            "%s=%.40s%s: expected a text of %" PRId64 " to %" PRId64 " bytes, got %zu", row->name,
            text, n > 40 ? "…" : "", row->min, row->max, n);
    *string = strdup(text);
    return *string ? 0 : err_no_memory();
}

static bool
word_allowed(const struct setting_row *row, const char *word, size_t n)
{
    struct listener_spec spec;
    if (strcmp(row->unit, "access") == 0)
        return access_word_ok(word, n);
    if (strcmp(row->unit, "listener") == 0)
        return listener_parse(word, n, &spec) == 0;
    return choice_of(row->unit, word, n) >= 0;
}

static int
refuse_word(const struct setting_row *row, const char *word, size_t n)
{
    if (strcmp(row->unit, "listener") == 0)
        return err_prefix(-BUS_ERR_INVALID_CONFIG, "%s", row->name); /* the parser said why */
    return err_set(BUS_ERR_INVALID_CONFIG, "%s: \"%.*s\" is not one of %s", row->name,
        n > 100 ? 100 : (int)n, word,
        strcmp(row->unit, "access") == 0 ? "self, user:NAME, group:NAME, *" : row->unit);
}

bool
setting_list_has(const char *list, const char *word, size_t n)
{
    while (*list) {
        size_t length = strcspn(list, ",");
        if (length == n && memcmp(list, word, n) == 0)
            return true;
        list += length + (list[length] == ',');
    }
    return false;
}

/** Appends a word to a list that has room for it, unless it is there already. */
static int64_t
list_add(char *list, const char *word, size_t n)
{
    if (setting_list_has(list, word, n))
        return 0;
    size_t used = strlen(list);
    if (used > 0)
        list[used++] = ',';
    memcpy(list + used, word, n);
    list[used + n] = '\0';
    return 1;
}

static int
fill_list(const struct setting_row *row, const char *text, char *list)
{
    int64_t count = 0;
    while (*text) {
        text += strspn(text, " \t");
        size_t length = strcspn(text, ",");
        size_t n = length;
        while (n > 0 && strchr(" \t", text[n - 1]))
            n--;
        if (n > 0 && !word_allowed(row, text, n))
            return refuse_word(row, text, n);
        if (n > 0)
            count += list_add(list, text, n);
        text += length + (text[length] == ',');
    }
    if (count < row->min || count > row->max)
        return err_set(BUS_ERR_INVALID_CONFIG,
            "%s: expected %" PRId64 " to %" PRId64 " words, got %" PRId64, row->name, row->min,
            row->max, count);
    return 0;
}

static int
parse_list(const struct setting_row *row, const char *text, char **string)
{
    char *list = calloc(strlen(text) + 2, 1);
    if (!list)
        return err_no_memory();
    int rc = fill_list(row, text, list);
    if (rc < 0)
        free(list);
    else
        *string = list;
    return rc;
}

static int
parse_any(const struct setting_row *row, const char *text, struct setting_value *value)
{
    switch (row->type) {
    case SETTING_BOOL:
        return parse_bool(row, text, &value->number);
    case SETTING_INT:
    case SETTING_LONG:
        return parse_number(row, text, &value->number);
    case SETTING_DOUBLE:
        return parse_real(row, text, &value->real);
    case SETTING_ENUM:
        return parse_enum(row, text, &value->number);
    case SETTING_STRING:
        return parse_string(row, text, &value->string);
    case SETTING_LIST:
        return parse_list(row, text, &value->string);
    }
    return err_set(BUS_ERR_INVALID_CONFIG, "%s has no known type", row->name);
}

int
setting_value_parse(const struct setting_row *row, const char *text, struct setting_value *value)
{
    *value = (struct setting_value){0};
    if (!text)
        return err_set(BUS_ERR_INVALID_CONFIG, "%s: a value is missing", row->name);
    if (strnlen(text, SETTING_TEXT_BYTES_MAX) == SETTING_TEXT_BYTES_MAX)
        return err_set(BUS_ERR_INVALID_CONFIG, "%s: the value is longer than %d bytes", row->name,
            SETTING_TEXT_BYTES_MAX - 1);
    int rc = parse_any(row, text, value);
    value->set = rc == 0;
    return rc;
}

void
setting_value_fini(const struct setting_row *row, struct setting_value *value)
{
    if (value->set && (row->type == SETTING_STRING || row->type == SETTING_LIST))
        free(value->string);
    *value = (struct setting_value){0};
}

static const char *
format_enum(const struct setting_row *row, int64_t number, char space[SETTING_FORMAT_BYTES])
{
    const char *at = row->unit;
    for (int64_t i = 0; i < number; i++)
        at += strcspn(at, "|") + 1;
    snprintf(space, SETTING_FORMAT_BYTES, "%.*s", (int)strcspn(at, "|"), at);
    return space;
}

/** The fewest digits that give the same number back. */
static const char *
format_real(double real, char space[SETTING_FORMAT_BYTES])
{
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(space, SETTING_FORMAT_BYTES, "%.*g", digits, real);
        if (!islessgreater(strtod(space, NULL), real))
            break;
    }
    return space;
}

const char *
setting_value_format(const struct setting_row *row, const struct setting_value *value,
    char space[SETTING_FORMAT_BYTES])
{
    switch (row->type) {
    case SETTING_BOOL:
        return value->number ? "true" : "false";
    case SETTING_INT:
    case SETTING_LONG:
        if (strcmp(row->unit, "octal") == 0)
            snprintf(space, SETTING_FORMAT_BYTES, "%04" PRIo64, (uint64_t)value->number);
        else
            snprintf(space, SETTING_FORMAT_BYTES, "%" PRId64, value->number);
        return space;
    case SETTING_DOUBLE:
        return format_real(value->real, space);
    case SETTING_ENUM:
        return format_enum(row, value->number, space);
    case SETTING_STRING:
    case SETTING_LIST:
        return value->string;
    }
    return "";
}
