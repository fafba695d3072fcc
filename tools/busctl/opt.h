/* SPDX-License-Identifier: Apache-2.0
 * Options: one row feeds getopt_long(), the help and the completion.
 */
#ifndef BUSCTL_OPT_H
#define BUSCTL_OPT_H

#include "busctl/busctl.h"

#include <getopt.h>

enum {
    OPT_ROWS_MAX = 32, /* of a command with the global ones */
    OPT_LONG = 256,    /* first key of options that have no letter */
};

/** What can stand in a place, for the completion. */
enum opt_complete {
    OPT_NOTHING = 0,
    OPT_TOPIC,
    OPT_GROUP,
    OPT_FILE,
    OPT_TOPIC_SETTING,  /* name=value */
    OPT_CLIENT_SETTING, /* name=value */
    OPT_ANY_SETTING,    /* name */
};

struct opt_row {
    int key;           /* the letter, or OPT_LONG and up; 0 ends the table */
    const char *name;  /* the long name */
    const char *value; /* "N", or "none|zstd" for words; NULL: takes no value */
    const char *text;  /* half a sentence for the help */
    enum opt_complete complete;
};

/** The options that every command takes; ends with key 0. */
extern const struct opt_row opt_global[];

/** Keys of the global options. */
enum {
    OPT_HELP = 'h',
    OPT_SOCKET = OPT_LONG + 1000,
    OPT_JSON,
    OPT_VERSION,
};

/** What opts_next() returns beside keys. */
enum {
    OPTS_END = -1,  /* no more options: the arguments start */
    OPTS_EXIT = -2, /* the command ends with opts.exit_code */
};

struct opts {
    struct ctl *ctl;
    int argc;
    char **argv; /* permuted by getopt */
    const char *value;
    int exit_code;
    struct option longs[OPT_ROWS_MAX + 1];
    char shorts[2 * OPT_ROWS_MAX + 3];
};

/**
 * Prepares the options of `rows` (may be NULL) and the global ones over argv, whose first word is
 * skipped. With `stop_at_argument` parsing ends at the first word that is no option.
 */
void opts_init(struct opts *opts, struct ctl *ctl, const struct opt_row *rows, int argc,
    char **argv, bool stop_at_argument);

/**
 * The key of the next option, its value in opts->value; OPTS_END, or OPTS_EXIT after the help, the
 * version or an error was printed. Global options are taken care of here.
 */
int opts_next(struct opts *opts);

/** The next word of the command line, for an option whose value has two words; NULL: none is left.
 */
const char *opts_more(struct opts *opts);

/** The arguments behind the options; NULL ends. */
char **opts_arguments(struct opts *opts);

/**
 * Checks that the command has `min` to `max` arguments (-1: any number). Returns CTL_OK, or
 * CTL_USAGE after telling; `what` names the arguments.
 */
int opts_expect(struct opts *opts, int min, int max, const char *what);

/**
 * Reads a whole number of `min` to `max` with an optional k, m, g (1024) suffix from `text`; for
 * the option `name`. Returns CTL_OK, or CTL_USAGE after telling.
 */
int opts_number(
    const struct opts *opts, const char *name, int64_t min, int64_t max, int64_t *number);

/** A table of name=value arguments. */
struct opt_settings {
    struct bus_setting *rows; /* owned; the strings are borrowed from argv */
    size_t count;
};

/**
 * Adds "name=value", or with `allow_reset` and no '=' the name alone (value NULL). The argument is
 * cut at the '='. Returns CTL_OK, or an exit code after telling.
 */
int opts_setting(struct opts *opts, char *argument, bool allow_reset, struct opt_settings *list);

/**
 * Sets a setting of a client as an option asks. Returns CTL_OK, or CTL_USAGE after telling what is
 * wrong with the name or the value.
 */
int opts_config(
    const struct opts *opts, struct bus_config *config, const char *name, const char *value);

/** The same for -X: the option's value is "name=value", and is cut at the '='. */
int opts_config_pair(const struct opts *opts, struct bus_config *config);

/** Releases the table. */
void opts_settings_fini(struct opt_settings *list);

#endif
