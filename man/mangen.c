/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mangen: fills the tables of a man page, so that a page never tells anything else than the code.
 * Runs at build time: mangen PAGE.in >PAGE. A line of the page that reads
 *
 *     @TABLE config@    becomes the rows of busd/core/broker.def,
 *     @TABLE topic@     those of busd/core/topic.def,
 *     @TABLE client@    those of libbus/client/client.def,
 *     @TABLE errors@    those of libbus/bus/errors.def,
 *     @TABLE requests@  Kafka's requests in libbus/protocol/kafka.messages,
 *
 * an item of a list (mdoc) each. A table of another name ends mangen with status 1. The
 * other marks of a page (@VERSION@, @BUSCTL@ …) are sed's, see SUBSTITUTE in Makefile.am.
 */
#include "protocol/apis.h"

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

enum { LINE_COLUMNS = 76 };

static int column; /* of the output line */

/* A letter of a word, with what roff takes for its own made plain. */
static void
put_letter(char c, bool starts_line)
{
    if (starts_line && (c == '.' || c == '\''))
        fputs("\\&", stdout);
    if (c == '\\')
        fputs("\\e", stdout);
    else if (c == '-')
        fputs("\\-", stdout);
    else
        putchar(c);
}

static void
end_line(void)
{
    if (column > 0)
        putchar('\n');
    column = 0;
}

/* Text, broken into lines; a sentence begins on a line of its own, as mdoc wants it. */
static void
put_text(const char *text)
{
    while (*text) {
        size_t word = strcspn(text, " ");
        if (word > 0 && column > 0 && column + 1 + (int)word > LINE_COLUMNS)
            end_line();
        else if (word > 0 && column > 0)
            column += putchar(' ') == ' ';
        bool starts_line = column == 0;
        for (size_t i = 0; i < word; i++)
            put_letter(text[i], starts_line && i == 0);
        column += (int)word;
        if (word > 0 && text[word - 1] == '.' && (text[word] == ' ' || text[word] == '\0'))
            end_line();
        text += word;
        text += strspn(text, " ");
    }
}

/* "a|b" as "a, b" at the end of `to`. */
static void
add_words(char *to, size_t room, const char *words)
{
    size_t used = strlen(to);
    for (; *words && used + 3 < room; words++) {
        if (*words == '|')
            to[used++] = ',';
        to[used++] = *words == '|' ? ' ' : *words;
    }
    to[used] = '\0';
}

static void
add_integer_range(char *to, size_t room, const struct option *option)
{
    size_t used = strlen(to);
    to += used;
    room -= used;
    if (strcmp(option->unit, "octal") == 0)
        snprintf(to, room, " from %" PRIo64 " to %" PRIo64 ", octal", (uint64_t)option->min,
            (uint64_t)option->max);
    else if (option->max == INT64_MAX)
        snprintf(to, room, " from %" PRId64 "%s%s", option->min, option->unit[0] ? ", in " : "",
            option->unit);
    else
        snprintf(to, room, " from %" PRId64 " to %" PRId64 "%s%s", option->min, option->max,
            option->unit[0] ? ", in " : "", option->unit);
}

/* What values there are: "an integer from 1 to 10, in bytes". */
static void
tell_range(char *to, size_t room, const struct option *option)
{
    snprintf(to, room, "%s", type_words[option->type]);
    size_t used = strlen(to);
    if (option->type == ENUM || (option->type == LIST && strchr(option->unit, '|'))) {
        snprintf(to + used, room - used, ": ");
        add_words(to, room, option->unit);
    } else if (option->type == INT || option->type == LONG) {
        add_integer_range(to, room, option);
    } else if (option->type == DOUBLE) {
        snprintf(to + used, room - used, " from %g to %g", option->min_real, option->max_real);
    } else if (option->type == STRING) {
        snprintf(to + used, room - used, " of up to %" PRId64 " bytes", option->max);
    }
}

static void
put_option(const struct option *option)
{
    char range[256], line[512];
    fputs(".It Cm ", stdout);
    put_text(option->name);
    end_line();
    put_text(option->text);
    tell_range(range, sizeof range, option);
    snprintf(line, sizeof line, "Value: %s.", range);
    put_text(line);
    snprintf(line, sizeof line, "Default: %s.", option->standard[0] ? option->standard : "empty");
    put_text(line);
    put_text(option->origin);
    end_line();
}

static void
put_config(void)
{
#define RESTART "A change takes effect at the next start."
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
        "For all topics: " broker_name ".", (double)(min), (double)(max), (int64_t)(min),          \
        (int64_t)(max), (type)});
#include "core/topic.def"
#undef X
}

static void
put_client(void)
{
#define SCOPE_CLIENT "For connections."
#define SCOPE_PRODUCER "For producers."
#define SCOPE_CONSUMER "For consumers."
#define X(name, field, type, standard, min, max, unit, scope, choices, text)                       \
    put_option(&(const struct option){(name), (standard), choices[0] ? choices : (unit), (text),   \
        SCOPE_##scope, (double)(min), (double)(max), (int64_t)(min), (int64_t)(max), (type)});
#include "client/client.def"
#undef X
}

static void
put_error(int number, const char *name, bool retriable, const char *text)
{
    char line[256];
    printf(".It Dv BUS_ERR_%s Pq %d\n", name, number);
    snprintf(line, sizeof line, "%s%s.", text, retriable ? "; may succeed later" : "");
    put_text(line);
    end_line();
}

static void
put_errors(void)
{
#define X(number, name, retriable, text) put_error((number), #name, (retriable) != 0, (text));
#include <bus/errors.def>
#undef X
}

static void
put_requests(void)
{
    for (size_t i = 0; i < api_table_count; i++) {
        const struct api_info *api = &api_table[i];
        if (!(api->doors & API_DOOR_KAFKA))
            continue;
        printf(".It %s Ta %d Ta %d", api->name, api->key, api->min_announced);
        if (api->max > api->min_announced)
            printf("\\(en%d", api->max);
        fputs(" Ta ", stdout);
        if (api->flexible_from == SCHEMA_NEVER)
            puts("never");
        else
            printf("%d\n", api->flexible_from);
    }
}

static const struct {
    const char *mark;
    void (*put)(void);
} tables[] = {
    {"@TABLE client@\n", put_client},
    {"@TABLE config@\n", put_config},
    {"@TABLE errors@\n", put_errors},
    {"@TABLE requests@\n", put_requests},
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
