/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/command.h"
#include "busctl/group.h"

#include <stdio.h>

static const struct opt_row options[] = {
    {'y', "yes", NULL, "do not ask", OPT_NOTHING},
    {0},
};

static const char *const examples[] = {
    "$0 group delete billing",
    "$0 group delete --yes old-billing reports",
    NULL,
};

/** Asks whoever sits at the terminal; true for "y" and "yes". */
static bool
confirmed(char **groups)
{
    char answer[16] = "";
    fputs("Delete with all that they have committed:", stderr);
    for (; *groups; groups++)
        fprintf(stderr, " %s", *groups);
    fputs("? [y/N] ", stderr);
    return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static int
delete_all(struct ctl *ctl, char **groups)
{
    struct bus *bus;
    int code = ctl_connect(ctl, &bus);
    if (code != CTL_OK)
        return code;
    for (; *groups; groups++) {
        int rc = bus_group_delete(bus, *groups);
        if (rc < 0)
            code = group_fail(ctl, bus, rc, *groups, "delete the group");
    }
    bus_close(&bus);
    return code;
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    bool yes = false;
    for (int key; (key = opts_next(opts)) != OPTS_END; yes = true)
        if (key == OPTS_EXIT)
            return opts->exit_code;
    int code = opts_expect(opts, 1, -1, "the name of a group");
    if (code != CTL_OK)
        return code;
    if (!yes && ctl_is_watched() && !confirmed(opts_arguments(opts)))
        return ctl_fail(ctl, "nothing was deleted: answer y, or give --yes");
    return delete_all(ctl, opts_arguments(opts));
}

const struct command command_group_delete = {
    .group = "group",
    .name = "delete",
    .arguments = "GROUP...",
    .text = "Deletes groups and what they have committed; asks first on a terminal.",
    .options = options,
    .examples = examples,
    .first = OPT_GROUP,
    .others = OPT_GROUP,
    .run = run,
};
