/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/group.h"

#include "base/buf.h"
#include "busctl/text.h"

#include <stdlib.h>
#include <string.h>

/* In an error. */
enum { MEMBERS_NAMED = 4, NAME_BYTES_MAX = 150 };

/* ---- the rows ------------------------------------------------------------------------------- */

static size_t
count_assigned(const struct bus_groups *groups)
{
    struct bus_member_state member;
    size_t count = 0;
    for (size_t i = 0; bus_groups_member(groups, 0, i, &member) == 0; i++)
        count += member.partitions > 0 ? (size_t)member.partitions : 0;
    return count;
}

static void
add_commits(struct group_view *view)
{
    struct bus_commit_state state;
    for (size_t i = 0; bus_commits_get(view->commits, i, &state) == 0; i++)
        view->rows[view->count++] = (struct group_row){.topic = state.topic,
            .partition = state.partition,
            .member = bus_groups_owner(view->groups, 0, state.topic, state.partition),
            .committed = state.offset,
            .log_start = state.log_start_offset,
            .log_end = state.end_offset,
            .lag = state.lag};
}

static int
by_place(const void *a, const void *b)
{
    const struct group_row *left = a, *right = b;
    const struct bus_place one = {.topic = left->topic, .partition = left->partition};
    const struct bus_place other = {.topic = right->topic, .partition = right->partition};
    return places_compare(&one, &other);
}

/** Partitions that a member has and nothing is committed for. */
static void
add_assigned(struct group_view *view)
{
    struct bus_place place;
    size_t committed = view->count;
    struct bus_member_state member;
    for (size_t i = 0; bus_groups_member(view->groups, 0, i, &member) == 0; i++)
        for (size_t j = 0; bus_groups_assigned(view->groups, 0, i, j, &place) == 0; j++) {
            const struct group_row row = {.topic = place.topic,
                .partition = place.partition,
                .member = (int32_t)i,
                .committed = -1,
                .log_start = -1,
                .log_end = -1,
                .lag = -1};
            if (!bsearch(&row, view->rows, committed, sizeof row, by_place))
                view->rows[view->count++] = row;
        }
}

/** The ends of the partitions for which nothing is committed, so that none came with that. */
static int
find_ends(struct bus *bus, struct group_view *view, size_t first)
{
    size_t count = view->count - first;
    if (count == 0)
        return 0;
    struct bus_offset_query *queries = calloc(count, 2 * sizeof *queries);
    if (!queries)
        return -BUS_ERR_NO_MEMORY;
    for (size_t i = 0; i < 2 * count; i++) {
        const struct group_row *row = &view->rows[first + i % count];
        queries[i] = (struct bus_offset_query){.topic = row->topic,
            .partition = row->partition,
            .timestamp_ms = i < count ? BUS_OFFSET_BEGINNING : BUS_OFFSET_END};
    }
    int rc = bus_offsets_find(bus, queries, 2 * count);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        view->rows[first + i].log_start = queries[i].offset;
        view->rows[first + i].log_end = queries[count + i].offset;
    }
    free(queries);
    return rc;
}

static int
fill(struct ctl *ctl, struct bus *bus, struct group_view *view)
{
    size_t room = bus_commits_count(view->commits) + count_assigned(view->groups);
    view->rows = calloc(room + 1, sizeof *view->rows);
    if (!view->rows)
        return ctl_no_memory(ctl);
    add_commits(view);
    size_t committed = view->count;
    add_assigned(view);
    int rc = find_ends(bus, view, committed);
    if (rc < 0)
        return ctl_fail_bus(ctl, rc, NULL);
    qsort(view->rows, view->count, sizeof *view->rows, by_place);
    for (size_t i = 0; i < view->count; i++)
        view->lag += view->rows[i].lag > 0 ? view->rows[i].lag : 0;
    return CTL_OK;
}

int
group_view_init(struct ctl *ctl, struct bus *bus, const char *group, struct group_view *view)
{
    *view = (struct group_view){0};
    int rc = bus_groups_fetch(bus, group, &view->groups);
    if (rc == 0)
        rc = bus_commits_fetch(bus, &group, 1, &view->commits);
    return rc < 0 ? ctl_fail_bus(ctl, rc, group) : fill(ctl, bus, view);
}

void
group_view_fini(struct group_view *view)
{
    bus_groups_free(&view->groups);
    bus_commits_free(&view->commits);
    free(view->rows);
    *view = (struct group_view){0};
}

const struct group_row *
group_view_find(const struct group_view *view, const char *topic, int32_t partition)
{
    const struct group_row wanted = {.topic = topic, .partition = partition};
    return view->count == 0 ? NULL
                            : bsearch(&wanted, view->rows, view->count, sizeof wanted, by_place);
}

/* ---- members in the way --------------------------------------------------------------------- */

/** Adds what the members are called by; their names came from them, and a terminal obeys bytes. */
static size_t
put_names(struct buf *names, const struct bus_groups *groups)
{
    struct bus_member_state member;
    size_t count = 0;
    for (; count < MEMBERS_NAMED && bus_groups_member(groups, 0, count, &member) == 0; count++) {
        buf_put(names, ", ", count > 0 ? 2 : 0);
        buf_put(names, member.member_id, strnlen(member.member_id, NAME_BYTES_MAX));
        buf_put(names, " (client ", 9);
        buf_put(names, member.client_id, strnlen(member.client_id, NAME_BYTES_MAX));
        buf_put(names, " at ", 4);
        buf_put(names, member.host, strnlen(member.host, NAME_BYTES_MAX));
        buf_put(names, ")", 1);
    }
    return count;
}

/** A static member is in the group for a while after it was stopped. */
static bool
has_static(const struct bus_groups *groups)
{
    struct bus_member_state member;
    for (size_t i = 0; bus_groups_member(groups, 0, i, &member) == 0; i++)
        if (member.instance_id)
            return true;
    return false;
}

int
group_fail_live(struct ctl *ctl, const struct bus_groups *groups, const char *then)
{
    struct bus_group_state state;
    struct buf names;
    buf_init(&names);
    bus_groups_get(groups, 0, &state);
    size_t named = put_names(&names, groups);
    char *visible = buf_failed(&names) ? NULL : text_visible(names.data, names.length);
    buf_fini(&names);
    if (!visible)
        return ctl_no_memory(ctl);
    bool one = state.members == 1;
    int code = ctl_fail(ctl, "group %s has %d member%s: %s%s: stop %s%s, then %s", state.group,
        state.members, one ? "" : "s", visible, (size_t)state.members > named ? " and others" : "",
        one ? "it" : "them",
        has_static(groups) ? " (static ones leave when their session.timeout.ms is over)" : "",
        then);
    free(visible);
    return code;
}

int
group_fail(struct ctl *ctl, struct bus *bus, int rc, const char *group, const char *then)
{
    struct bus_groups *groups = NULL;
    struct bus_group_state state;
    int code;
    if (rc != -BUS_ERR_NON_EMPTY_GROUP)
        return ctl_fail_bus(ctl, rc, group);
    if (bus_groups_fetch(bus, group, &groups) == 0 && bus_groups_get(groups, 0, &state) == 0 &&
        state.members > 0)
        code = group_fail_live(ctl, groups, then);
    else
        code = ctl_fail(ctl, "group %s has members: stop them, then %s", group, then);
    bus_groups_free(&groups);
    return code;
}
