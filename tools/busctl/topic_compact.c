/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/command.h"
#include "busctl/interrupt.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_EVERY_MS = 100 };

enum { OPT_NO_WAIT = OPT_LONG };

struct work {
    const char *topic;
    int64_t partition; /* BUS_PARTITION_ANY: all */
    bool no_wait;
    struct bus *bus;
    struct bus_compactions *before;
    struct bus_compactions *now;
};

static const struct opt_row options[] = {
    {'p', "partition", "N", "only this partition; default: all", OPT_NOTHING},
    {OPT_NO_WAIT, "no-wait", NULL, "ask for it, and do not wait for the end", OPT_NOTHING},
    {0},
};

static const char *const examples[] = {
    "$0 topic compact users",
    "$0 topic compact -p 3 --no-wait users",
    NULL,
};

/** Whether nothing is asked for or under way; shows on a terminal how far it has come. */
static bool
is_over(const struct work *work)
{
    struct bus_compaction row;
    int64_t done = 0, total = 0;
    bool over = true;
    for (size_t i = 0; bus_compactions_get(work->now, i, &row) == 0; i++) {
        over = over && row.phase == BUS_COMPACTION_IDLE;
        done += row.bytes_done;
        total += row.bytes_total;
    }
    if (isatty(STDERR_FILENO) && over)
        fputs("\r\033[K", stderr);
    else if (isatty(STDERR_FILENO) && total > 0)
        fprintf(stderr, "\r\033[Kcompacting, %.1f of %.1f MiB read", (double)done / 1048576,
            (double)total / 1048576);
    return over;
}

static int
look(struct ctl *ctl, struct work *work)
{
    bus_compactions_free(&work->now);
    int rc = bus_compactions_fetch(work->bus, work->topic, (int32_t)work->partition, &work->now);
    return rc < 0 ? ctl_fail_bus(ctl, rc, work->topic) : CTL_OK;
}

static int
wait_for_end(struct ctl *ctl, struct work *work)
{
    const struct timespec pause = {.tv_nsec = LOOK_EVERY_MS * 1000000};
    int code = look(ctl, work);
    while (code == CTL_OK && !is_over(work)) {
        nanosleep(&pause, NULL);
        if (interrupted())
            return ctl_fail(ctl, "%s: interrupted; busd goes on with it", work->topic);
        code = look(ctl, work);
    }
    return code;
}

/** What came of it: a run that ended, well or not, or nothing that was to be done. */
static const char *
outcome(const struct bus_compaction *before, const struct bus_compaction *now)
{
    if (now->phase != BUS_COMPACTION_IDLE)
        return "asked";
    if (now->failure && now->ended_ms != before->ended_ms)
        return now->runs != before->runs ? "in part" : "failed";
    return now->runs != before->runs ? "compacted" : "nothing to do";
}

static int
put_row(struct ctl *ctl, const char *topic, const struct bus_compaction *before,
    const struct bus_compaction *now)
{
    const char *result = outcome(before, now);
    bool ended = now->runs != before->runs && now->phase == BUS_COMPACTION_IDLE;
    out_object(ctl->out, NULL);
    out_integer(ctl->out, "partition", now->partition);
    out_text(ctl->out, "result", result);
    out_integer(ctl->out, "clean_offset", now->clean_offset);
    out_integer(ctl->out, "records_removed", ended ? now->records_removed : 0);
    out_integer(ctl->out, "bytes_before", ended ? now->bytes_before : 0);
    out_integer(ctl->out, "bytes_after", ended ? now->bytes_after : 0);
    out_end(ctl->out);
    if (now->failure && now->ended_ms != before->ended_ms)
        return ctl_fail(ctl, "%s-%d: %s", topic, now->partition, now->failure);
    return CTL_OK;
}

static int
put_rows(struct ctl *ctl, const struct work *work)
{
    struct bus_compaction before, now;
    int code = CTL_OK;
    out_list(ctl->out, NULL);
    for (size_t i = 0; bus_compactions_get(work->now, i, &now) == 0 &&
                       bus_compactions_get(work->before, i, &before) == 0;
         i++)
        if (put_row(ctl, work->topic, &before, &now) != CTL_OK)
            code = CTL_FAILED;
    out_end(ctl->out);
    return code;
}

static int
compact(struct ctl *ctl, struct work *work)
{
    int32_t partition = (int32_t)work->partition;
    int rc = bus_compactions_fetch(work->bus, work->topic, partition, &work->before);
    if (rc == 0)
        rc = bus_topic_compact(work->bus, work->topic, partition);
    if (rc == -BUS_ERR_POLICY_VIOLATION)
        return ctl_fail(ctl, "%s: 'topic alter -c cleanup.policy=compact %s' changes that",
            bus_error(), work->topic);
    if (rc < 0)
        return ctl_fail_bus(ctl, rc, work->topic);
    interrupt_catch(NULL);
    int code = work->no_wait ? look(ctl, work) : wait_for_end(ctl, work);
    interrupt_release();
    return code == CTL_OK ? put_rows(ctl, work) : code;
}

static int
parse(struct opts *opts, struct work *work)
{
    int code = CTL_OK;
    for (int key; code == CTL_OK && (key = opts_next(opts)) != OPTS_END;) {
        if (key == OPTS_EXIT)
            return -1;
        if (key == 'p')
            code = opts_number(opts, "-p", 0, INT32_MAX, &work->partition);
        else
            work->no_wait = true;
    }
    return code == CTL_OK ? opts_expect(opts, 1, 1, "the name of a topic") : code;
}

static int
run(struct ctl *ctl, struct opts *opts)
{
    struct work work = {.partition = BUS_PARTITION_ANY};
    int code = parse(opts, &work);
    if (code == CTL_OK)
        code = ctl_out(ctl);
    if (code == CTL_OK)
        code = ctl_connect(ctl, &work.bus);
    if (code == CTL_OK) {
        work.topic = opts_arguments(opts)[0];
        code = compact(ctl, &work);
        bus_compactions_free(&work.before);
        bus_compactions_free(&work.now);
        bus_close(&work.bus);
    }
    return code < 0 ? opts->exit_code : code;
}

const struct command command_topic_compact = {
    .group = "topic",
    .name = "compact",
    .arguments = "TOPIC",
    .text = "Compacts a topic now: keeps the last record of each key.",
    .options = options,
    .examples = examples,
    .first = OPT_TOPIC,
    .run = run,
};
