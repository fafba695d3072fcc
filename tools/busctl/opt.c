/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/opt.h"

#include "base/check.h"
#include "busctl/command.h"
#include "busctl/number.h"
#include "busctl/suggest.h"

#include <bus/client.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_LETTERS = 63 }; /* of a name that may be meant for one of ours */

const struct opt_row opt_global[] = {
    {OPT_SOCKET, "socket", "PATH", "the socket of busd", OPT_FILE},
    {OPT_JSON, "json", NULL, "print data as JSON, one object a line", OPT_NOTHING},
    {OPT_HELP, "help", NULL, "show this help", OPT_NOTHING},
    {OPT_VERSION, "version", NULL, "show the version", OPT_NOTHING},
    {0},
};

static void
add_rows(struct opts *opts, const struct opt_row *rows, size_t *longs, size_t *shorts)
{
    for (; rows && rows->key; rows++) {
        MUST(*longs < OPT_ROWS_MAX);
        opts->longs[(*longs)++] = (struct option){.name = rows->name,
            .has_arg = rows->value ? required_argument : no_argument,
            .val = rows->key};
        if (rows->key >= OPT_LONG)
            continue;
        opts->shorts[(*shorts)++] = (char)rows->key;
        if (rows->value)
            opts->shorts[(*shorts)++] = ':';
    }
}

void
opts_init(struct opts *opts, struct ctl *ctl, const struct opt_row *rows, int argc, char **argv,
    bool stop_at_argument)
{
    memset(opts, 0, sizeof *opts);
    opts->ctl = ctl;
    opts->argc = argc;
    opts->argv = argv;
    size_t longs = 0, shorts = 0;
    /* '+' stops at the first argument; ':' tells a missing value from an unknown option. */
    if (stop_at_argument)
        opts->shorts[shorts++] = '+';
    opts->shorts[shorts++] = ':';
    add_rows(opts, rows, &longs, &shorts);
    add_rows(opts, opt_global, &longs, &shorts);
    opterr = 0;
    optind = 0; /* glibc starts anew */
}

static int
leave(struct opts *opts, int exit_code)
{
    opts->exit_code = exit_code;
    return OPTS_EXIT;
}

/** What is wrong with a word that is, or begins as, a long option. */
static int
complain_long(struct opts *opts, const char *word)
{
    size_t length = strcspn(word + 2, "="), found = 0;
    struct suggest suggest;
    char name[OPTION_LETTERS + 1];
    if (length > OPTION_LETTERS)
        return ctl_usage(opts->ctl, "no option %s", word);
    memcpy(name, word + 2, length);
    name[length] = '\0';
    suggest_init(&suggest, name);
    for (const struct option *option = opts->longs; option->name; option++) {
        suggest_try(&suggest, option->name);
        found += strncmp(option->name, name, length) == 0;
    }
    if (optopt != 0)
        return ctl_usage(opts->ctl, "option --%s takes no value", name);
    if (found > 1)
        return ctl_usage(
            opts->ctl, "--%s may be short for several options: write more of it", name);
    if (!suggest.best)
        return ctl_usage(opts->ctl, "no option --%s", name);
    ctl_fail(opts->ctl, "no option --%s: did you mean --%s?", name, suggest.best);
    return CTL_USAGE;
}

/** Whether getopt complains of a long option: what has no name of ours leaves 0 in optopt. */
static bool
is_of_long(const struct opts *opts, const char *word)
{
    if (strncmp(word, "--", 2) != 0)
        return false;
    if (optopt == 0 || optopt >= OPT_LONG)
        return true;
    /* A long one that has a letter too. */
    for (const struct option *option = opts->longs; option->name; option++)
        if (option->val == optopt)
            return strncmp(option->name, word + 2, strcspn(word + 2, "=")) == 0;
    return false;
}

/** Tells what getopt did not like in a word, as the user wrote it. */
static int
complain(struct opts *opts, int why)
{
    const char *word = opts->argv[optind - 1];
    bool is_long = is_of_long(opts, word);
    char letter[3] = {'-', (char)optopt, '\0'};
    if (why == ':')
        return leave(
            opts, ctl_usage(opts->ctl, "option %s needs a value", is_long ? word : letter));
    if (is_long)
        return leave(opts, complain_long(opts, word));
    return leave(opts, ctl_usage(opts->ctl, "no option %s", letter));
}

static void
show_version(const struct ctl *ctl)
{
    printf("%s (shmbus) %s\n", ctl->program, bus_version());
}

int
opts_next(struct opts *opts)
{
    for (;;) {
        int key = getopt_long(opts->argc, opts->argv, opts->shorts, opts->longs, NULL);
        opts->value = optarg;
        switch (key) {
        case -1:
            return OPTS_END;
        case OPT_SOCKET:
            if (!*optarg)
                return leave(opts, ctl_usage(opts->ctl, "--socket is empty: give a path"));
            opts->ctl->socket = optarg;
            continue;
        case OPT_JSON:
            opts->ctl->json = true;
            continue;
        case OPT_HELP:
            if (opts->ctl->command)
                help_command(opts->ctl, opts->ctl->command);
            else
                help_program(opts->ctl, NULL, false);
            return leave(opts, CTL_OK);
        case OPT_VERSION:
            show_version(opts->ctl);
            return leave(opts, CTL_OK);
        case '?':
        case ':':
            return complain(opts, key);
        default:
            return key;
        }
    }
}

const char *
opts_more(struct opts *opts)
{
    return optind < opts->argc ? opts->argv[optind++] : NULL;
}

char **
opts_arguments(struct opts *opts)
{
    return opts->argv + optind;
}

int
opts_expect(struct opts *opts, int min, int max, const char *what)
{
    int have = opts->argc - optind;
    if (have < min)
        return ctl_usage(opts->ctl, "%s is missing", what);
    if (max >= 0 && have > max)
        return ctl_usage(opts->ctl, "'%s' is one argument too many", opts->argv[optind + max]);
    return CTL_OK;
}

int
opts_number(const struct opts *opts, const char *name, int64_t min, int64_t max, int64_t *number)
{
    if (number_parse(opts->value, min, max, number) == 0)
        return CTL_OK;
    if (max == INT64_MAX)
        return ctl_usage(opts->ctl, "%s %s: a number of at least %lld is wanted", name, opts->value,
            (long long)min);
    return ctl_usage(opts->ctl, "%s %s: a number from %lld to %lld is wanted", name, opts->value,
        (long long)min, (long long)max);
}

int
opts_setting(struct opts *opts, char *argument, bool allow_reset, struct opt_settings *list)
{
    char *value = strchr(argument, '=');
    if (value == argument || (!value && !allow_reset))
        return ctl_usage(opts->ctl, "'%s' has not the form name=value", argument);
    if (value)
        *value++ = '\0';
    struct bus_setting *rows = realloc(list->rows, (list->count + 1) * sizeof *rows);
    if (!rows)
        return ctl_no_memory(opts->ctl);
    list->rows = rows;
    list->rows[list->count++] = (struct bus_setting){.name = argument, .value = value};
    return CTL_OK;
}

/** A name that does not exist for a client; tells what may have been meant. */
static int
unknown_setting(const struct opts *opts, const char *name)
{
    struct bus_config_row row;
    struct suggest suggest;
    suggest_init(&suggest, name);
    for (size_t i = 0; bus_config_row(i, &row) == 0; i++)
        suggest_try(&suggest, row.name);
    if (suggest.best)
        ctl_fail(opts->ctl, "no setting '%s': did you mean '%s'?", name, suggest.best);
    else
        ctl_fail(
            opts->ctl, "no setting '%s': '%s config list' shows all", name, opts->ctl->program);
    return CTL_USAGE;
}

int
opts_config(const struct opts *opts, struct bus_config *config, const char *name, const char *value)
{
    struct bus_config_row row;
    if (bus_config_set(config, name, value) == 0)
        return CTL_OK;
    for (size_t i = 0; bus_config_row(i, &row) == 0; i++)
        if (strcmp(row.name, name) == 0)
            return ctl_usage(opts->ctl, "%s", bus_error());
    return unknown_setting(opts, name);
}

int
opts_config_pair(const struct opts *opts, struct bus_config *config)
{
    /* The words of argv may be written to. */
    char *name = (char *)opts->value;
    char *value = strchr(name, '=');
    if (!value)
        return ctl_usage(opts->ctl, "-X %s: NAME=VALUE is wanted", name);
    *value++ = '\0';
    return opts_config(opts, config, name, value);
}

void
opts_settings_fini(struct opt_settings *list)
{
    free(list->rows);
    *list = (struct opt_settings){0};
}
