/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "busctl/command.h"
#include "busctl/group.h"

#include <stdlib.h>
#include <string.h>

static const char *const examples[] = {
    "$0 group list",
    "$0 group list --json",
    NULL,
};

/** The groups, and what all of them have committed: group after group, in the same order. */
struct listing {
    struct bus_groups *groups;
    struct bus_commits *commits;
    const char **topics; /* owned; those of a group, each once or more */
    size_t topic_count, room;
    size_t at; /* the next of the commits */
};

/* ---- topics --------------------------------------------------------------------------------- */

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool
add_topic(struct listing *listing, const char *topic)
{
    size_t count = listing->topic_count;
    if (count > 0 && strcmp(listing->topics[count - 1], topic) == 0)
        return true;
    if (count == listing->room) {
        size_t room = listing->room ? 2 * listing->room : 16;
        const char **topics = realloc(listing->topics, room * sizeof *topics);
        if (!topics)
            return false;
        listing->topics = topics;
        listing->room = room;
    }
    listing->topics[listing->topic_count++] = topic;
    return true;
}

/** Adds the topics that members have partitions of. */
static bool
add_assigned(struct listing *listing, size_t group)
{
    struct bus_member_state member;
    struct bus_place place;
    bool good = true;
    for (size_t i = 0; good && bus_groups_member(listing->groups, group, i, &member) == 0; i++)
        for (int32_t j = 0; good && j < member.partitions; j++)
            good = bus_groups_assigned(listing->groups, group, i, (size_t)j, &place) == 0 &&
                   add_topic(listing, place.topic);
    return good;
}

/** Adds the topics that the group has committed for, and sums up its lag. */
static bool
add_committed(struct listing *listing, const char *group, int64_t *lag)
{
    struct bus_commit_state row;
    bool good = true;
    *lag = 0;
    for (; good && bus_commits_get(listing->commits, listing->at, &row) == 0; listing->at++) {
        if (strcmp(row.group, group) != 0)
            break;
        *lag += row.lag > 0 ? row.lag : 0;
        good = add_topic(listing, row.topic);
    }
    return good;
}

/** The topics as "a,b"; the caller frees it. NULL: memory is out. */
static char *
join_topics(struct listing *listing)
{
    struct buf line;
    buf_init(&line);
    if (listing->topic_count > 0)
        qsort(listing->topics, listing->topic_count, sizeof *listing->topics, by_name);
    for (size_t i = 0; i < listing->topic_count; i++) {
        if (i > 0 && strcmp(listing->topics[i - 1], listing->topics[i]) == 0)
            continue;
        buf_put(&line, ",", line.length > 0);
        buf_put(&line, listing->topics[i], strlen(listing->topics[i]));
    }
    buf_put(&line, "", 1);
    char *text = buf_failed(&line) ? NULL : strdup((const char *)line.data);
    buf_fini(&line);
    return text;
}

/* ---- the table ------------------------------------------------------------------------------ */

static int
put_group(struct ctl *ctl, struct listing *listing, size_t index)
{
    struct bus_group_state state;
    int64_t lag;
    bus_groups_get(listing->groups, index, &state);
    listing->topic_count = 0;
    bool good = add_committed(listing, state.group, &lag) && add_assigned(listing, index);
    char *topics = good ? join_topics(listing) : NULL;
    if (!topics)
        return ctl_no_memory(ctl);
    out_object(ctl->out, NULL);
    out_text(ctl->out, "group", state.group);
    out_text(ctl->out, "state", state.error ? bus_err_name(state.error) : state.state);
    out_offset(ctl->out, "members", state.members);
    out_integer(ctl->out, "lag", lag);
    out_text(ctl->out, "topics", *topics ? topics : NULL);
    out_end(ctl->out);
    free(topics);
    return CTL_OK;
}

static int
fetch(struct bus *bus, struct listing *listing)
{
    struct bus_group_state state;
    int rc = bus_groups_fetch(bus, NULL, &listing->groups);
    if (rc < 0)
        return rc;
    size_t count = bus_groups_count(listing->groups);
    const char **names = calloc(count + 1, sizeof *names);
    if (!names)
        return -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; bus_groups_get(listing->groups, i, &state) == 0; i++)
        names[i] = state.group;
    rc = bus_commits_fetch(bus, names, count, &listing->commits);
    free(names);
    return rc;
}

static int
list(struct ctl *ctl, struct bus *bus)
{
    struct listing listing = {0};
    int rc = fetch(bus, &listing);
    int code = rc < 0 ? ctl_fail_bus(ctl, rc, NULL) : ctl_out(ctl);
    if (code == CTL_OK) {
        out_list(ctl->out, NULL);
        for (size_t i = 0; code == CTL_OK && i < bus_groups_count(listing.groups); i++)
            code = put_group(ctl, &listing, i);
        out_end(ctl->out);
    }
    bus_groups_free(&listing.groups);
    bus_commits_free(&listing.commits);
    free(listing.topics);
    return code;
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    struct bus *bus;
    if (opts_next(opts) == OPTS_EXIT)
        return opts->exit_code;
    int code = opts_expect(opts, 0, 0, "");
    if (code == CTL_OK)
        code = ctl_connect(ctl, &bus);
    if (code != CTL_OK)
        return code;
    code = list(ctl, bus);
    bus_close(&bus);
    return code;
}

const struct command command_group_list = {
    .group = "group",
    .name = "list",
    .arguments = "",
    .text = "Lists the consumer groups with their topics, and how far each is behind.",
    .examples = examples,
    .run = run,
};
