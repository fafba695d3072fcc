/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "busctl/command.h"
#include "busctl/group.h"
#include "busctl/target.h"
#include "busctl/text.h"

#include <stdlib.h>
#include <string.h>

enum { OPT_TO = OPT_LONG, OPT_DRY_RUN, OPT_EXECUTE };

/** A partition to be moved. */
struct move {
    struct target_place place;
    int64_t offset; /* where to; -1: it stays */
    enum target_found found;
    int32_t error; /* why busd did not do it; 0 it did, or was not asked */
};

struct reset {
    const char *group; /* borrowed */
    bool has_target, dry_run, execute;
    int64_t now_ms;
    struct target target;
    struct bus *bus;
    struct bus_commits *commits; /* owned */
    struct places places;
    struct move *moves; /* owned; of each of the places */
};

static const struct opt_row options[] = {
    {OPT_TO, "to", "beginning|end|offset N|time T|shift ±N",
        "where to: times as in -1h, 14:00 or 2026-08-01T14:00:00Z; shift counts from what is "
        "committed",
        OPT_NOTHING},
    {'n', "dry-run", NULL, "only show what would be done; the default on a terminal", OPT_NOTHING},
    {OPT_EXECUTE, "execute", NULL, "do it; the default elsewhere", OPT_NOTHING},
    {0},
};

static const char *const examples[] = {
    "$0 group reset billing --to beginning",
    "$0 group reset billing orders --to time -1h --execute",
    "$0 group reset billing orders:0,2-5 users --to offset 1000",
    "$0 group reset billing --to shift -100 --dry-run",
    NULL,
};

/* ---- what is there -------------------------------------------------------------------------- */

/** A group without members may be moved; one that does not exist is made, if topics are named. */
static int
check_group(struct ctl *ctl, const struct reset *reset, bool topics_named)
{
    struct bus_groups *groups;
    struct bus_group_state state;
    int rc = bus_groups_fetch(reset->bus, reset->group, &groups);
    if (rc == -BUS_ERR_GROUP_ID_NOT_FOUND && topics_named) {
        ctl_note(ctl, "there is no group %s yet: this makes it", reset->group);
        return CTL_OK;
    }
    if (rc < 0)
        return ctl_fail_bus(ctl, rc, reset->group);
    bus_groups_get(groups, 0, &state);
    int code = state.members > 0 ? group_fail_live(ctl, groups, "reset the group") : CTL_OK;
    bus_groups_free(&groups);
    return code;
}

/** The topics named, or all that the group has committed for. */
static int
list_places(struct ctl *ctl, struct reset *reset, char **topics)
{
    struct bus_commit_state row;
    int code = CTL_OK;
    for (; code == CTL_OK && *topics; topics++)
        code = places_add(ctl, reset->bus, &reset->places, *topics);
    if (reset->places.count > 0 || code != CTL_OK)
        return code;
    const char *last = NULL;
    for (size_t i = 0; code == CTL_OK && bus_commits_get(reset->commits, i, &row) == 0; i++) {
        if (!last || strcmp(last, row.topic) != 0)
            code = places_add(ctl, reset->bus, &reset->places, row.topic);
        last = row.topic;
    }
    if (code == CTL_OK && reset->places.count == 0)
        return ctl_fail(
            ctl, "group %s has committed nothing: name the topics to reset", reset->group);
    return code;
}

/** Asks for the ends of all places, and for the offsets by time if wanted. */
static int
look_up(struct ctl *ctl, struct reset *reset)
{
    size_t count = reset->places.count;
    size_t kinds = reset->target.kind == TARGET_TIME ? 3 : 2;
    const int64_t times[] = {BUS_OFFSET_BEGINNING, BUS_OFFSET_END, reset->target.value};
    struct bus_offset_query *queries = calloc(count, kinds * sizeof *queries);
    reset->moves = calloc(count, sizeof *reset->moves);
    if (!queries || !reset->moves) {
        free(queries);
        return ctl_no_memory(ctl);
    }
    for (size_t i = 0; i < kinds * count; i++)
        queries[i] = (struct bus_offset_query){.topic = reset->places.rows[i % count].topic,
            .partition = reset->places.rows[i % count].partition,
            .timestamp_ms = times[i / count]};
    int rc = bus_offsets_find(reset->bus, queries, kinds * count);
    int code = rc < 0 ? ctl_fail_bus(ctl, rc, reset->group) : CTL_OK;
    for (size_t i = 0; code == CTL_OK && i < kinds * count; i++)
        if (queries[i].error)
            code = ctl_fail(ctl, "%s-%d: %s", queries[i].topic, queries[i].partition,
                bus_err_text(queries[i].error));
    for (size_t i = 0; i < count; i++)
        reset->moves[i].place = (struct target_place){.committed = -1,
            .log_start = queries[i].offset,
            .log_end = queries[count + i].offset,
            .at_time = kinds == 3 ? queries[2 * count + i].offset : -1};
    free(queries);
    return code;
}

static void
take_commits(struct reset *reset)
{
    struct bus_commit_state row;
    for (size_t i = 0; bus_commits_get(reset->commits, i, &row) == 0; i++) {
        const struct bus_place wanted = {.topic = row.topic, .partition = row.partition};
        const struct bus_place *found = bsearch(
            &wanted, reset->places.rows, reset->places.count, sizeof wanted, places_compare);
        if (found)
            reset->moves[found - reset->places.rows].place.committed = row.offset;
    }
}

/* ---- what is to be done --------------------------------------------------------------------- */

/** Tells what did not come out as it was asked for. */
static void
warn(struct ctl *ctl, const struct reset *reset)
{
    size_t counts[TARGET_NOTHING + 1] = {0};
    for (size_t i = 0; i < reset->places.count; i++)
        counts[reset->moves[i].found]++;
    if (reset->target.kind == TARGET_TIME && reset->target.value > reset->now_ms) {
        char time[TEXT_TIME_BYTES];
        text_time(reset->target.value, time);
        ctl_note(ctl, "%s is in the future: what has no record from then goes to the end", time);
    }
    if (counts[TARGET_BELOW] > 0)
        ctl_note(ctl, "%zu of %zu partitions: the offset is before the log start, which is taken",
            counts[TARGET_BELOW], reset->places.count);
    if (counts[TARGET_ABOVE] > 0)
        ctl_note(ctl, "%zu of %zu partitions: the offset is behind the log end, which is taken",
            counts[TARGET_ABOVE], reset->places.count);
    if (counts[TARGET_NOTHING] > 0)
        ctl_note(ctl, "%zu of %zu partitions: nothing is committed that could be shifted",
            counts[TARGET_NOTHING], reset->places.count);
}

static int
commit(struct ctl *ctl, struct reset *reset)
{
    size_t count = 0;
    struct bus_commit_change *changes = calloc(reset->places.count, sizeof *changes);
    if (!changes)
        return ctl_no_memory(ctl);
    for (size_t i = 0; i < reset->places.count; i++)
        if (reset->moves[i].offset >= 0)
            changes[count++] = (struct bus_commit_change){.topic = reset->places.rows[i].topic,
                .partition = reset->places.rows[i].partition,
                .offset = reset->moves[i].offset};
    int rc = count > 0 ? bus_commits_set(reset->bus, reset->group, changes, count) : 0;
    int code = rc < 0 ? group_fail(ctl, reset->bus, rc, reset->group, "reset the group") : CTL_OK;
    for (size_t i = reset->places.count; i-- > 0;)
        if (reset->moves[i].offset >= 0)
            reset->moves[i].error = changes[--count].error;
    free(changes);
    return code;
}

static const char *
remark(const struct move *move)
{
    static const char *const remarks[] = {
        [TARGET_FOUND] = "",
        [TARGET_BELOW] = "log start",
        [TARGET_ABOVE] = "log end",
        [TARGET_YOUNGER] = "no record that young",
        [TARGET_NOTHING] = "nothing committed",
    };
    return move->error ? bus_err_name(move->error) : remarks[move->found];
}

static void
put_moves(struct ctl *ctl, const struct reset *reset, bool executed)
{
    out_list(ctl->out, NULL);
    for (size_t i = 0; i < reset->places.count; i++) {
        const struct move *move = &reset->moves[i];
        out_object(ctl->out, NULL);
        out_text(ctl->out, "topic", reset->places.rows[i].topic);
        out_integer(ctl->out, "partition", reset->places.rows[i].partition);
        out_offset(ctl->out, "committed", move->place.committed);
        out_offset(ctl->out, "new_offset", move->offset);
        out_offset(ctl->out, "new_lag", move->offset < 0 ? -1 : move->place.log_end - move->offset);
        out_boolean(ctl->out, "done", executed && move->offset >= 0 && !move->error);
        out_text(ctl->out, "remark", *remark(move) ? remark(move) : NULL);
        out_end(ctl->out);
    }
    out_end(ctl->out);
}

static int
reset_open(struct ctl *ctl, struct reset *reset, char **topics)
{
    int code = check_group(ctl, reset, *topics != NULL);
    if (code != CTL_OK)
        return code;
    int rc = bus_commits_fetch(reset->bus, &reset->group, 1, &reset->commits);
    if (rc < 0)
        return ctl_fail_bus(ctl, rc, reset->group);
    code = list_places(ctl, reset, topics);
    if (code == CTL_OK)
        code = look_up(ctl, reset);
    if (code != CTL_OK)
        return code;
    take_commits(reset);
    for (size_t i = 0; i < reset->places.count; i++) {
        struct move *move = &reset->moves[i];
        move->found = target_resolve(&reset->target, &move->place, &move->offset);
    }
    warn(ctl, reset);
    bool execute = reset->execute || (!reset->dry_run && !ctl_is_watched());
    if (execute)
        code = commit(ctl, reset);
    put_moves(ctl, reset, execute);
    if (!execute && !reset->dry_run) {
        out_flush(ctl->out);
        ctl_note(ctl, "nothing was changed: give --execute to do it");
    }
    return code;
}

/* ---- the command line ----------------------------------------------------------------------- */

static int
take_target(struct opts *opts, struct reset *reset)
{
    const char *word = opts->value;
    const char *more = target_wants_more(word) ? opts_more(opts) : NULL;
    reset->has_target = true;
    if (target_parse(word, more, reset->now_ms, &reset->target) < 0)
        return ctl_usage(opts->ctl, "--to: %s", bus_error());
    return CTL_OK;
}

static int
parse(struct opts *opts, struct reset *reset)
{
    int code = CTL_OK;
    for (int key; code == CTL_OK && (key = opts_next(opts)) != OPTS_END;) {
        if (key == OPTS_EXIT)
            return -1;
        if (key == OPT_TO)
            code = take_target(opts, reset);
        else if (key == OPT_EXECUTE)
            reset->execute = true;
        else
            reset->dry_run = true;
    }
    if (code == CTL_OK)
        code = opts_expect(opts, 1, -1, "the name of a group");
    if (code != CTL_OK)
        return code;
    if (!reset->has_target)
        return ctl_usage(opts->ctl, "--to is missing: say where to");
    if (reset->dry_run && reset->execute)
        return ctl_usage(opts->ctl, "--dry-run and --execute: one of them");
    return CTL_OK;
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    struct reset reset = {.now_ms = clock_wall_ms()};
    int code = parse(opts, &reset);
    if (code == CTL_OK)
        code = ctl_out(ctl);
    if (code == CTL_OK)
        code = ctl_connect(ctl, &reset.bus);
    if (code == CTL_OK) {
        char **arguments = opts_arguments(opts);
        reset.group = arguments[0];
        code = reset_open(ctl, &reset, arguments + 1);
        bus_commits_free(&reset.commits);
        places_fini(&reset.places);
        free(reset.moves);
        bus_close(&reset.bus);
    }
    return code < 0 ? opts->exit_code : code;
}

const struct command command_group_reset = {
    .group = "group",
    .name = "reset",
    .arguments = "GROUP [TOPIC[:PARTITIONS]]...",
    .text = "Moves what a group without members has committed, in the topics named or in all.",
    .options = options,
    .examples = examples,
    .first = OPT_GROUP,
    .others = OPT_TOPIC,
    .run = run,
};
