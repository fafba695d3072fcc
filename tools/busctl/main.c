/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/busctl.h"
#include "busctl/command.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { STDOUT_BYTES = 64 * 1024 };

static char stdout_bytes[STDOUT_BYTES];

/** "list": tells the groups that have such a command. False: none has. */
static bool
is_in_groups(const struct ctl *ctl, const char *name)
{
    char words[400];
    size_t at = 0;
    const struct command *command;
    for (size_t i = 0; (command = command_at(i)) && at < sizeof words; i++)
        if (command->group && strcmp(command->name, name) == 0)
            at += (size_t)snprintf(
                words + at, sizeof words - at, "%s'%s %s'", at ? " or " : "", command->group, name);
    if (at > 0)
        ctl_fail(ctl, "no command '%s': did you mean %s?", name, words);
    return at > 0;
}

static int
unknown(const struct ctl *ctl, const char *group, const char *name)
{
    const char *nearest = command_suggest(group, name);
    if (!group && is_in_groups(ctl, name))
        return CTL_USAGE;
    const char *space = group ? " " : "";
    group = group ? group : "";
    if (nearest)
        ctl_fail(ctl, "no command '%s%s%s': did you mean '%s%s%s'?", group, space, name, group,
            space, nearest);
    else
        ctl_fail(ctl, "no command '%s%s%s': see '%s %s%s--help'", group, space, name, ctl->program,
            group, space);
    return CTL_USAGE;
}

static int
run(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    ctl->command = command;
    struct opts opts;
    opts_init(&opts, ctl, command->options, argc, argv, false);
    int code = command->run(ctl, &opts);
    if (!out_close(&ctl->out) && code == CTL_OK)
        code = ctl_no_memory(ctl);
    int flushed = ctl_flush(ctl);
    return code == CTL_OK ? flushed : code;
}

static bool
is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/** argv[0] is the name of a group. */
static int
run_group(struct ctl *ctl, int argc, char **argv)
{
    const char *group = argv[0];
    if (argc < 2 || is_help(argv[1])) {
        help_program(ctl, group, argc < 2);
        return argc < 2 ? CTL_USAGE : CTL_OK;
    }
    const struct command *command = command_find(group, argv[1]);
    if (!command)
        return unknown(ctl, group, argv[1]);
    return run(ctl, command, argc - 1, argv + 1);
}

/** "help", "help topic", "help topic create". */
static int
run_help(struct ctl *ctl, int argc, char **argv)
{
    const struct command *command = NULL;
    if (argc > 1)
        command = command_find(NULL, argv[1]);
    if (argc > 2 && !command)
        command = command_find(argv[1], argv[2]);
    if (command)
        help_command(ctl, command);
    else if (argc < 2 || (argc == 2 && command_is_group(argv[1])))
        help_program(ctl, argc < 2 ? NULL : argv[1], false);
    else
        return unknown(ctl, argc > 2 ? argv[1] : NULL, argv[argc > 2 ? 2 : 1]);
    return ctl_flush(ctl);
}

static int
dispatch(struct ctl *ctl, int argc, char **argv)
{
    if (strcmp(argv[0], "help") == 0)
        return run_help(ctl, argc, argv);
    if (command_is_group(argv[0]))
        return run_group(ctl, argc, argv);
    const struct command *command = command_find(NULL, argv[0]);
    if (!command)
        return unknown(ctl, NULL, argv[0]);
    return run(ctl, command, argc, argv);
}

int
main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, stdout_bytes, _IOFBF, sizeof stdout_bytes);
    struct ctl ctl = {.program = "busctl"};
    if (argc > 0 && argv[0][0])
        ctl.program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    /* The words to complete are not ours to parse. */
    if (argc > 1 && strcmp(argv[1], "__complete") == 0)
        return complete_words(&ctl, argc - 2, argv + 2);
    struct opts opts;
    opts_init(&opts, &ctl, NULL, argc, argv, true);
    if (opts_next(&opts) == OPTS_EXIT)
        return opts.exit_code;
    char **words = opts_arguments(&opts);
    if (!words[0]) {
        help_program(&ctl, NULL, true);
        return CTL_USAGE;
    }
    return dispatch(&ctl, argc - (int)(words - argv), words);
}
