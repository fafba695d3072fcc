/* SPDX-License-Identifier: Apache-2.0
 * The commands: each file defines one row, commands.def lists them.
 */
#ifndef BUSCTL_COMMAND_H
#define BUSCTL_COMMAND_H

#include "busctl/opt.h"

#include <stddef.h>

struct command {
    const char *group;     /* "topic" in "topic create"; NULL: none */
    const char *name;      /* "create" */
    const char *arguments; /* "TOPIC [FILE]..." for the usage line */
    const char *text;      /* one sentence */
    const struct opt_row *options;
    const char *const *examples; /* command lines with $0 for the program; NULL ends */
    enum opt_complete first;     /* what the first argument is */
    enum opt_complete others;    /* what the others are */
    /** Runs it. `opts` is at the start of the command's own words. Returns an exit code. */
    int (*run)(struct ctl *ctl, struct opts *opts);
};

/** Row number `index` in the order of commands.def; NULL behind the last. */
const struct command *command_at(size_t index);

/** The command `name` of `group` (NULL: of none); NULL when there is none. */
const struct command *command_find(const char *group, const char *name);

/** Whether commands of this group exist. */
bool command_is_group(const char *name);

/**
 * The command, or the group when `group` is NULL, whose name comes nearest to `name`; NULL when
 * nothing is near.
 */
const char *command_suggest(const char *group, const char *name);

/** Prints what `program` can do, all of it or one group; to stdout or stderr. */
void help_program(const struct ctl *ctl, const char *group, bool to_stderr);

/** Prints the help of one command to stdout. */
void help_command(const struct ctl *ctl, const struct command *command);

/**
 * The hidden command behind bash completion: prints what may stand in place of the last word of
 * `words`, one a line; the line ":files" asks for the names of files. Returns an exit code.
 */
int complete_words(struct ctl *ctl, int count, char **words);

#endif
