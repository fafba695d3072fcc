/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "busctl/command.h"
#include "busctl/group.h"

#include <stdio.h>
#include <string.h>

static const struct opt_row options[] = {
    {'m', "members", NULL, "also the members, with all that each of them has", OPT_NOTHING},
    {0},
};

static const char *const examples[] = {
    "$0 group describe billing",
    "$0 group describe --members billing",
    "$0 group describe --json billing reports",
    NULL,
};

static void
put_partitions(struct ctl *ctl, const struct group_view *view)
{
    out_list(ctl->out, "partitions");
    for (size_t i = 0; i < view->count; i++) {
        const struct group_row *row = &view->rows[i];
        struct bus_member_state member = {0};
        if (row->member >= 0)
            bus_groups_member(view->groups, 0, (size_t)row->member, &member);
        out_object(ctl->out, NULL);
        out_text(ctl->out, "topic", row->topic);
        out_integer(ctl->out, "partition", row->partition);
        out_offset(ctl->out, "committed", row->committed);
        out_offset(ctl->out, "log_start", row->log_start);
        out_offset(ctl->out, "log_end", row->log_end);
        out_offset(ctl->out, "lag", row->lag);
        out_text(ctl->out, "member", member.member_id);
        out_text(ctl->out, "client", member.client_id);
        out_text(ctl->out, "host", member.host);
        out_end(ctl->out);
    }
    out_end(ctl->out);
}

/** What a member has, as "orders:0,2 users:1". */
static void
put_share(struct ctl *ctl, const struct group_view *view, size_t index, struct buf *line)
{
    struct bus_place place;
    const char *topic = NULL;
    char number[16];
    buf_clear(line);
    for (size_t i = 0; bus_groups_assigned(view->groups, 0, index, i, &place) == 0; i++) {
        bool is_next = !topic || strcmp(topic, place.topic) != 0;
        if (is_next && topic)
            buf_put(line, " ", 1);
        if (is_next)
            buf_put(line, place.topic, strlen(place.topic));
        topic = place.topic;
        int n = snprintf(number, sizeof number, "%c%d", is_next ? ':' : ',', place.partition);
        buf_put(line, number, (size_t)n);
    }
    out_bytes(ctl->out, "assignment", topic ? line->data : NULL, line->length);
}

static int
put_members(struct ctl *ctl, const struct group_view *view)
{
    struct bus_member_state member;
    struct buf line;
    buf_init(&line);
    out_list(ctl->out, "members");
    for (size_t i = 0; bus_groups_member(view->groups, 0, i, &member) == 0; i++) {
        out_object(ctl->out, NULL);
        out_text(ctl->out, "member", member.member_id);
        out_text(ctl->out, "instance", member.instance_id);
        out_text(ctl->out, "client", member.client_id);
        out_text(ctl->out, "host", member.host);
        out_offset(ctl->out, "partitions", member.partitions);
        put_share(ctl, view, i, &line);
        out_end(ctl->out);
    }
    out_end(ctl->out);
    bool failed = buf_failed(&line);
    buf_fini(&line);
    return failed ? ctl_no_memory(ctl) : CTL_OK;
}

static int
put_view(struct ctl *ctl, const struct group_view *view, bool members)
{
    struct bus_group_state state;
    bus_groups_get(view->groups, 0, &state);
    out_object(ctl->out, NULL);
    out_text(ctl->out, "group", state.group);
    out_text(ctl->out, "state", state.state);
    out_text(ctl->out, "protocol", *state.protocol_type ? state.protocol_type : NULL);
    out_text(ctl->out, "assignor", *state.protocol ? state.protocol : NULL);
    out_integer(ctl->out, "member_count", state.members);
    out_integer(ctl->out, "lag", view->lag);
    put_partitions(ctl, view);
    int code = members ? put_members(ctl, view) : CTL_OK;
    out_end(ctl->out);
    return code;
}

static int
describe_all(struct ctl *ctl, struct bus *bus, char **groups, bool members)
{
    int code = CTL_OK;
    bool first = true;
    for (; *groups; groups++) {
        struct group_view view;
        int one = group_view_init(ctl, bus, *groups, &view);
        if (one == CTL_OK && !first && !ctl->json)
            fputc('\n', stdout);
        if (one == CTL_OK) {
            one = put_view(ctl, &view, members);
            first = false;
        }
        group_view_fini(&view);
        code = one == CTL_OK ? code : one;
    }
    return code;
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    bool members = false;
    struct bus *bus;
    for (int key; (key = opts_next(opts)) != OPTS_END; members = true)
        if (key == OPTS_EXIT)
            return opts->exit_code;
    int code = opts_expect(opts, 1, -1, "the name of a group");
    if (code == CTL_OK)
        code = ctl_out(ctl);
    if (code == CTL_OK)
        code = ctl_connect(ctl, &bus);
    if (code != CTL_OK)
        return code;
    code = describe_all(ctl, bus, opts_arguments(opts), members);
    bus_close(&bus);
    return code;
}

const struct command command_group_describe = {
    .group = "group",
    .name = "describe",
    .arguments = "GROUP...",
    .text = "Shows what groups have committed, how far they are behind, and who reads what.",
    .options = options,
    .examples = examples,
    .first = OPT_GROUP,
    .others = OPT_GROUP,
    .run = run,
};
