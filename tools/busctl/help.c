/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/command.h"

#include <stdio.h>
#include <string.h>

enum {
    LEFT_COLUMN = 30,  /* where the texts start */
    LINE_COLUMNS = 80, /* texts are broken here */
};

/** Prints `text` in lines from column `left` on, broken between words; the cursor is there. */
static void
wrap(FILE *to, int left, const char *text)
{
    int at = left;
    while (*text) {
        int word = (int)strcspn(text, " ");
        if (at > left && at + 1 + word > LINE_COLUMNS) {
            fprintf(to, "\n%*s", left, "");
            at = left;
        } else if (at > left) {
            fputc(' ', to);
            at++;
        }
        fprintf(to, "%.*s", word, text);
        at += word;
        text += word;
        text += strspn(text, " ");
    }
    fputc('\n', to);
}

/** The text of a row, in the column of the texts; the cursor is in column `at`. */
static void
explain(FILE *to, int at, const char *text)
{
    if (at + 2 > LEFT_COLUMN) {
        fputc('\n', to);
        at = 0;
    }
    fprintf(to, "%*s", LEFT_COLUMN - at, "");
    wrap(to, LEFT_COLUMN, text);
}

static void
help_rows(FILE *to, const struct opt_row *rows)
{
    for (; rows->key; rows++) {
        int at;
        if (rows->key < OPT_LONG)
            at = fprintf(to, "  -%c, --%s", rows->key, rows->name);
        else
            at = fprintf(to, "      --%s", rows->name);
        if (rows->value)
            at += fprintf(to, " %s", rows->value);
        explain(to, at, rows->text);
    }
}

static void
help_example(FILE *to, const char *program, const char *line)
{
    fputs("  ", to);
    for (const char *at; (at = strstr(line, "$0")); line = at + 2)
        fprintf(to, "%.*s%s", (int)(at - line), line, program);
    fprintf(to, "%s\n", line);
}

void
help_command(const struct ctl *ctl, const struct command *command)
{
    FILE *to = stdout;
    fprintf(to, "usage: %s ", ctl->program);
    if (command->group)
        fprintf(to, "%s ", command->group);
    fprintf(to, "%s [option]...%s%s\n\n", command->name, *command->arguments ? " " : "",
        command->arguments);
    wrap(to, 0, command->text);
    if (command->options && command->options->key) {
        fputs("\nOptions:\n", to);
        help_rows(to, command->options);
    }
    fputs("\nOptions of every command:\n", to);
    help_rows(to, opt_global);
    fputs("\nExamples:\n", to);
    for (size_t i = 0; command->examples[i]; i++)
        help_example(to, ctl->program, command->examples[i]);
}

void
help_program(const struct ctl *ctl, const char *group, bool to_stderr)
{
    FILE *to = to_stderr ? stderr : stdout;
    fprintf(to, "usage: %s [option]... %s%scommand [argument]...\n\nCommands:\n", ctl->program,
        group ? group : "", group ? " " : "");
    const struct command *command;
    for (size_t i = 0; (command = command_at(i)); i++) {
        if (group && (!command->group || strcmp(command->group, group) != 0))
            continue;
        int at = fprintf(to, "  %s%s%s", command->group ? command->group : "",
            command->group ? " " : "", command->name);
        explain(to, at, command->text);
    }
    fputs("\nOptions:\n", to);
    help_rows(to, opt_global);
    fprintf(to, "\n'%s %s%scommand --help' tells more and shows examples; see also %s(1).\n",
        ctl->program, group ? group : "", group ? " " : "", ctl->program);
}
