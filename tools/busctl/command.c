/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/command.h"

#include "busctl/suggest.h"

#include <string.h>

#define X(row) extern const struct command row;
#include "busctl/commands.def"
#undef X

static const struct command *const commands[] = {
#define X(row) &row,
#include "busctl/commands.def"
#undef X
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

const struct command *
command_at(size_t index)
{
    return index < COMMANDS ? commands[index] : NULL;
}

static bool
same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

const struct command *
command_find(const char *group, const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (same(commands[i]->group, group) && same(commands[i]->name, name))
            return commands[i];
    return NULL;
}

bool
command_is_group(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (commands[i]->group && strcmp(commands[i]->group, name) == 0)
            return true;
    return false;
}

const char *
command_suggest(const char *group, const char *name)
{
    struct suggest suggest;
    suggest_init(&suggest, name);
    for (size_t i = 0; i < COMMANDS; i++) {
        if (group && same(commands[i]->group, group))
            suggest_try(&suggest, commands[i]->name);
        else if (!group)
            suggest_try(&suggest, commands[i]->group ? commands[i]->group : commands[i]->name);
    }
    return suggest.best;
}
