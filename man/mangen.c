/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mangen: fills the tables of a man page, so that a page never tells anything else than the code.
 * Runs at build time: mangen PAGE.in >PAGE. A line of the page that reads
 *
 *     @TABLE config@    becomes the rows of busd/core/broker.def,
 *     @TABLE topic@     those of busd/core/topic.def,
 *     @TABLE errors@    those of libbus/bus/errors.def,
 *
 * a tagged paragraph each. A table of another name ends mangen with status 1. The other marks of a
 * page (@VERSION@, @BUSCTL@ …) are sed's, see SUBSTITUTE in Makefile.am.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum type { BOOL, DOUBLE, ENUM, INT, LIST, LONG, STRING };

static const char *const type_words[] = {
    "true or false", "a number", "a word", "an integer", "a list of words", "an integer", "a text"};

struct option {
    const char *name;
    const char *standard; /* the default */
    const char *unit;     /* or the words allowed, between bars */
    const char *text;
    const char *origin; /* how the default or the moment of a change is told; may be "" */
    double min_real, max_real;
    int64_t min, max;
    enum type type;
};

/* Text with the characters that roff takes for its own made plain. */
static void
put_text(const char *text)
{
    if (text[0] == '.' || text[0] == '\'')
        fputs("\\&", stdout);
    for (const char *c = text; *c; c++) {
        if (*c == '\\')
            fputs("\\e", stdout);
        else if (*c == '-')
            fputs("\\-", stdout);
        else
            putchar(*c);
    }
}

static void
put_words(const char *words)
{
    fputs(": ", stdout);
    for (; *words; words++) {
        if (*words == '|')
            fputs(", ", stdout);
        else
            putchar(*words);
    }
}

static void
put_integer_range(const struct option *option)
{
    char text[80];
    if (strcmp(option->unit, "octal") == 0)
        snprintf(text, sizeof text, " from %" PRIo64 " to %" PRIo64 ", octal",
            (uint64_t)option->min, (uint64_t)option->max);
    else if (option->max == INT64_MAX)
        snprintf(text, sizeof text, " from %" PRId64, option->min);
    else
        snprintf(text, sizeof text, " from %" PRId64 " to %" PRId64, option->min, option->max);
    put_text(text);
    if (option->unit[0] && strcmp(option->unit, "octal") != 0)
        printf(", in %s", option->unit);
}

static void
put_range(const struct option *option)
{
    fputs(type_words[option->type], stdout);
    switch (option->type) {
    case ENUM:
    case LIST:
        put_words(option->unit);
        break;
    case INT:
    case LONG:
        put_integer_range(option);
        break;
    case DOUBLE:
        printf(" from %g to %g", option->min_real, option->max_real);
        break;
    case STRING:
        printf(" of up to %" PRId64 " bytes", option->max);
        break;
    case BOOL:
        break;
    }
}

static void
put_option(const struct option *option)
{
    fputs(".TP\n.B ", stdout);
    put_text(option->name);
    putchar('\n');
    put_text(option->text);
    fputs("\n.br\nValue: ", stdout);
    put_range(option);
    fputs(". Default: ", stdout);
    put_text(option->standard[0] ? option->standard : "empty");
    fputs(".", stdout);
    put_text(option->origin);
    putchar('\n');
}

static void
put_config(void)
{
#define RESTART " A change takes effect at the next start."
#define DYNAMIC ""
#define X(name, row, type, standard, min, max, unit, when, text)                                   \
    put_option(&(const struct option){(name), (standard), (unit), (text), (when), (double)(min),   \
        (double)(max), (int64_t)(min), (int64_t)(max), (type)});
#include "core/broker.def"
#undef X
#undef RESTART
#undef DYNAMIC
}

static void
put_topic(void)
{
#define X(name, row, type, standard, min, max, unit, broker_name, text)                            \
    put_option(&(const struct option){(name), (standard), (unit), (text),                          \
        " For all topics: " broker_name ".", (double)(min), (double)(max), (int64_t)(min),         \
        (int64_t)(max), (type)});
#include "core/topic.def"
#undef X
}

static void
put_error(int number, const char *name, bool retriable, const char *text)
{
    printf(".TP\n.BR BUS_ERR_%s \" (%d)\"\n", name, number);
    put_text(text);
    fputs(retriable ? "; may succeed later.\n" : ".\n", stdout);
}

static void
put_errors(void)
{
#define X(number, name, retriable, text) put_error((number), #name, (retriable) != 0, (text));
#include <bus/errors.def>
#undef X
}

static const struct {
    const char *mark;
    void (*put)(void);
} tables[] = {
    {"@TABLE config@\n", put_config},
    {"@TABLE errors@\n", put_errors},
    {"@TABLE topic@\n", put_topic},
};

static bool
put_line(const char *line)
{
    if (strncmp(line, "@TABLE ", 7) != 0) {
        fputs(line, stdout);
        return true;
    }
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        if (strcmp(line, tables[i].mark) == 0) {
            tables[i].put();
            return true;
        }
    }
    fprintf(stderr, "mangen: no such table: %s", line);
    return false;
}

int
main(int argc, char **argv)
{
    FILE *page = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (!page) {
        fprintf(stderr, "usage: mangen PAGE.in\n");
        return 2;
    }
    char line[4096];
    bool good = true;
    while (good && fgets(line, sizeof line, page))
        good = put_line(line);
    good = good && !ferror(page);
    fclose(page);
    return good && fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
