/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/command.h"
#include "busctl/group.h"

#include <stdio.h>
#include <stdlib.h>

static const struct opt_row options[] = {
    {'y', "yes", NULL, "do not ask", OPT_NOTHING},
    {0},
};

static const char *const examples[] = {
    "$0 group delete-offsets billing old-orders",
    "$0 group delete-offsets --yes billing orders:4-7 users",
    NULL,
};

/** Asks whoever sits at the terminal; true for "y" and "yes". */
static bool
confirmed(const char *group, const struct bus_commit_change *changes, size_t count)
{
    char answer[16] = "";
    fprintf(stderr, "Forget what group %s has committed for", group);
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, " %s-%d", changes[i].topic, changes[i].partition);
    fputs("? [y/N] ", stderr);
    return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

/** Those of the places that the group has committed for; how many. */
static size_t
choose(const struct bus_commits *commits, const struct places *places,
    struct bus_commit_change *changes)
{
    struct bus_commit_state row;
    size_t count = 0;
    for (size_t i = 0; bus_commits_get(commits, i, &row) == 0; i++)
        if (places_have(places, row.topic, row.partition))
            changes[count++] =
                (struct bus_commit_change){.topic = row.topic, .partition = row.partition};
    return count;
}

static int
delete_chosen(struct ctl *ctl, struct bus *bus, const char *group,
    const struct bus_commits *commits, const struct places *places, bool ask)
{
    struct bus_commit_change *changes = calloc(bus_commits_count(commits) + 1, sizeof *changes);
    if (!changes)
        return ctl_no_memory(ctl);
    size_t count = choose(commits, places, changes);
    int code = CTL_OK;
    if (count == 0)
        code = ctl_fail(ctl, "group %s has committed nothing there: see group describe", group);
    else if (ask && !confirmed(group, changes, count))
        code = ctl_fail(ctl, "nothing was deleted: answer y, or give --yes");
    if (code == CTL_OK) {
        int rc = bus_commits_delete(bus, group, changes, count);
        code = rc < 0 ? group_fail(ctl, bus, rc, group, "delete its offsets") : CTL_OK;
    }
    free(changes);
    return code;
}

static int
delete_offsets(struct ctl *ctl, struct bus *bus, char **arguments, bool ask)
{
    const char *group = arguments[0];
    struct places places = {0};
    struct bus_groups *groups = NULL;
    struct bus_commits *commits = NULL;
    int rc = bus_groups_fetch(bus, group, &groups);
    if (rc == 0)
        rc = bus_commits_fetch(bus, &group, 1, &commits);
    int code = rc < 0 ? ctl_fail_bus(ctl, rc, group) : CTL_OK;
    for (char **topic = arguments + 1; code == CTL_OK && *topic; topic++)
        code = places_add(ctl, bus, &places, *topic);
    if (code == CTL_OK)
        code = delete_chosen(ctl, bus, group, commits, &places, ask);
    bus_groups_free(&groups);
    bus_commits_free(&commits);
    places_fini(&places);
    return code;
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    bool yes = false;
    struct bus *bus;
    for (int key; (key = opts_next(opts)) != OPTS_END; yes = true)
        if (key == OPTS_EXIT)
            return opts->exit_code;
    int code = opts_expect(opts, 2, -1, "the name of a group or a topic");
    if (code == CTL_OK)
        code = ctl_connect(ctl, &bus);
    if (code != CTL_OK)
        return code;
    code = delete_offsets(ctl, bus, opts_arguments(opts), !yes && ctl_is_watched());
    bus_close(&bus);
    return code;
}

const struct command command_group_delete_offsets = {
    .group = "group",
    .name = "delete-offsets",
    .arguments = "GROUP TOPIC[:PARTITIONS]...",
    .text = "Forgets what a group has committed for topics that its members do not read.",
    .options = options,
    .examples = examples,
    .first = OPT_GROUP,
    .others = OPT_TOPIC,
    .run = run,
};
