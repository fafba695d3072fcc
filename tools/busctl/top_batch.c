/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "busctl/interrupt.h"
#include "busctl/top.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

enum { NAP_MS = 100 }; /* then signals are looked at again */

/** Waits for the next look. False: a signal came, or nobody reads us any more. */
static bool
wait_until(int64_t until_ns)
{
    /* A pipe tells that without being written to. */
    struct pollfd out = {.fd = STDOUT_FILENO};
    for (int64_t left_ns; (left_ns = until_ns - clock_mono_ns()) > 0 && !interrupted();) {
        int64_t left_ms = left_ns / 1000000 + 1;
        if (poll(&out, 1, (int)(left_ms < NAP_MS ? left_ms : NAP_MS)) == 1 &&
            (out.revents & POLLERR))
            return false;
    }
    return !interrupted();
}

static void
put_rate(struct out *out, const char *key, double rate)
{
    if (rate < 0)
        out_none(out, key);
    else
        out_real(out, key, rate);
}

static void
put_topics(struct out *out, const struct top_view *view)
{
    out_list(out, "topics");
    for (size_t i = 0; i < view->topic_count; i++) {
        const struct top_topic_row *row = &view->topics[i];
        out_object(out, NULL);
        out_text(out, "topic", row->name);
        out_integer(out, "partitions", (int64_t)row->partitions);
        out_integer(out, "records", row->records);
        out_integer(out, "bytes", row->bytes);
        put_rate(out, "records_per_s", row->records_per_s);
        put_rate(out, "bytes_per_s", row->bytes_per_s);
        out_end(out);
    }
    out_end(out);
}

static void
put_groups(struct out *out, const struct top_view *view)
{
    out_list(out, "groups");
    for (size_t i = 0; i < view->group_count; i++) {
        const struct top_group_row *row = &view->groups[i];
        out_object(out, NULL);
        out_text(out, "group", row->name);
        out_text(out, "state", row->state);
        out_integer(out, "members", row->members);
        out_integer(out, "partitions", (int64_t)row->partitions);
        out_integer(out, "lag", row->lag);
        put_rate(out, "records_per_s", row->records_per_s);
        out_end(out);
    }
    out_end(out);
}

static void
put_frame(struct out *out, const struct top_sample *sample, const struct top_view *view)
{
    const struct bus_status *status = &sample->status;
    out_object(out, NULL);
    out_time(out, "time", sample->time_ms);
    out_boolean(out, "away", false);
    out_text(out, "version", status->version);
    out_integer(out, "uptime_ms", status->uptime_ms);
    out_integer(out, "connections", status->connections);
    out_offset(out, "memory_bytes", status->memory_bytes);
    out_offset(out, "disk_bytes_free", sample->disk_bytes);
    out_integer(out, "partitions", status->partitions);
    out_integer(out, "open_partitions", status->open_partitions);
    out_integer(out, "bytes", view->bytes);
    out_integer(out, "lag", view->lag);
    put_rate(out, "records_per_s", view->records_per_s);
    put_rate(out, "bytes_per_s", view->bytes_per_s);
    put_topics(out, view);
    put_groups(out, view);
    out_end(out);
}

static void
put_away(struct out *out, const struct top *top)
{
    out_object(out, NULL);
    out_time(out, "time", clock_wall_ms());
    out_boolean(out, "away", true);
    out_text(out, "reason", top->away);
    out_end(out);
}

static int
print(struct ctl *ctl, const struct top *top, bool first)
{
    struct top_view view;
    if (!first && !ctl->json)
        fputc('\n', stdout);
    if (top->away[0]) {
        put_away(ctl->out, top);
    } else {
        bool made =
            top_view_init(&view, &top->now->look, &top->before->look, top->sort, top->reversed);
        if (made)
            put_frame(ctl->out, top->now, &view);
        top_view_fini(&view);
        if (!made)
            return ctl_no_memory(ctl);
    }
    out_flush(ctl->out);
    /* What is wrong with stdout, ctl_flush() tells at the end. */
    return ferror(stdout) ? CTL_FAILED : CTL_OK;
}

int
top_batch(struct ctl *ctl, struct top *top)
{
    int64_t delay_ns = (int64_t)(top->delay_s * 1e9);
    int code = CTL_OK;
    bool first = true;
    /* The first look is there to measure rates from. */
    top_update(top);
    for (int64_t next_ns = clock_mono_ns() + delay_ns; code == CTL_OK && top->count != 0;
         next_ns += delay_ns) {
        if (!wait_until(next_ns))
            break;
        top_update(top);
        if (!top->before && !top->away[0])
            continue;
        code = print(ctl, top, first);
        first = false;
        top->count -= top->count > 0;
    }
    /* A reader of ours that has seen enough is no failure. */
    return code == CTL_FAILED && ferror(stdout) ? ctl_flush(ctl) : code;
}
