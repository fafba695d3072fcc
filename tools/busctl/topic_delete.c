/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/command.h"

#include <stdio.h>

static const struct opt_row options[] = {
    {'y', "yes", NULL, "do not ask", OPT_NOTHING},
    {0},
};

static const char *const examples[] = {
    "$0 topic delete orders",
    "$0 topic delete --yes old-orders older-orders",
    NULL,
};

/** Asks whoever sits at the terminal; true for "y" and "yes". */
static bool
confirmed(char **topics)
{
    char answer[16] = "";
    fputs("Delete with all records:", stderr);
    for (; *topics; topics++)
        fprintf(stderr, " %s", *topics);
    fputs("? [y/N] ", stderr);
    return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static int
delete_all(struct ctl *ctl, char **topics)
{
    struct bus *bus;
    int code = ctl_connect(ctl, &bus);
    if (code != CTL_OK)
        return code;
    for (; *topics; topics++) {
        int rc = bus_topic_delete(bus, *topics);
        if (rc < 0)
            code = ctl_fail_bus(ctl, rc, *topics);
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
    int code = opts_expect(opts, 1, -1, "the name of a topic");
    if (code != CTL_OK)
        return code;
    if (!yes && ctl_is_watched() && !confirmed(opts_arguments(opts)))
        return ctl_fail(ctl, "nothing was deleted: answer y, or give --yes");
    return delete_all(ctl, opts_arguments(opts));
}

const struct command command_topic_delete = {
    .group = "topic",
    .name = "delete",
    .arguments = "TOPIC...",
    .text = "Deletes topics with all their records; asks first on a terminal.",
    .options = options,
    .examples = examples,
    .first = OPT_TOPIC,
    .others = OPT_TOPIC,
    .run = run,
};
