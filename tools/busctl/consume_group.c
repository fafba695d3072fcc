/* SPDX-License-Identifier: Apache-2.0
 * `consume -G`: prints records as a member of a group. What was printed is committed after it went
 * out to where stdout leads, so that a reader that dies loses nothing.
 */
#include "busctl/consume.h"

#include "base/clock.h"
#include "busctl/interrupt.h"

#include <stdlib.h>
#include <string.h>

enum {
    RECORDS_AT_ONCE = 1000,
    WAIT_MS = 500,
    COMMIT_MS = 1000, /* between two commits while records come */
    LINE_BYTES_MAX = 1000,
};

/** A partition that this member has. */
struct held {
    const char *topic; /* owned */
    int32_t partition;
    int64_t end; /* where it ended when it came */
};

struct grouped {
    struct ctl *ctl;
    const struct consume_group *what;
    struct bus_consumer *consumer;
    struct held *held; /* owned */
    size_t held_count;
    bool has_shared; /* partitions were assigned at least once */
    int64_t left;    /* records to print; -1: no limit */
    int64_t commit_ms;
    bool is_lost; /* nobody will see what is in stdout's buffer */
    int code;     /* of a callback that failed */
};

/* ---- what this member has -------------------------------------------------------------------- */

static void
tell(const struct grouped *g, enum bus_rebalance what, const struct bus_assignment *list,
    size_t count)
{
    static const char *const words[] = {
        [BUS_ASSIGNED] = "assigned", [BUS_REVOKED] = "revoked", [BUS_LOST] = "lost"};
    char line[LINE_BYTES_MAX];
    size_t used = 0;
    for (size_t i = 0; i < count && used < sizeof line; i++)
        used += (size_t)snprintf(line + used, sizeof line - used, " %s-%d@%lld", list[i].topic,
            (int)list[i].partition, (long long)list[i].offset);
    ctl_note(g->ctl, "group %s, generation %d: %s%s%s", g->what->group,
        (int)bus_group_member(g->consumer, NULL, 0), words[what], line,
        used < sizeof line ? "" : "...");
}

static void
drop(struct grouped *g, const struct bus_assignment *one)
{
    for (size_t i = 0; i < g->held_count; i++) {
        struct held *held = &g->held[i];
        if (held->partition != one->partition || strcmp(held->topic, one->topic) != 0)
            continue;
        free((char *)held->topic);
        *held = g->held[--g->held_count];
        return;
    }
}

static void
add(struct grouped *g, const struct bus_assignment *one)
{
    struct held *more = realloc(g->held, (g->held_count + 1) * sizeof *more);
    char *topic = strdup(one->topic);
    if (more)
        g->held = more;
    if (!more || !topic) {
        free(topic);
        g->code = ctl_no_memory(g->ctl);
        return;
    }
    struct held *held = &g->held[g->held_count++];
    *held = (struct held){.topic = topic, .partition = one->partition};
    if (bus_end_offset(g->consumer, topic, one->partition, &held->end) < 0)
        held->end = one->offset;
}

/** Commits what has been printed, when it is out. */
static int
commit(struct grouped *g)
{
    g->commit_ms = clock_mono_ms() + COMMIT_MS;
    if (g->is_lost)
        return CTL_OK;
    if (fflush(stdout) != 0)
        return CTL_FAILED;
    int rc = bus_commit_sync(g->consumer);
    /* A rebalance, or busd away: the next time. Who has lost everything has nothing to commit. */
    if (rc == 0 || bus_err_retriable(rc) || rc == -BUS_ERR_REBALANCE_IN_PROGRESS ||
        rc == -BUS_ERR_UNKNOWN_MEMBER_ID || rc == -BUS_ERR_ILLEGAL_GENERATION)
        return CTL_OK;
    return ctl_fail_bus(g->ctl, rc, NULL);
}

static void
on_rebalance(void *context, struct bus_consumer *consumer, enum bus_rebalance what,
    const struct bus_assignment *list, size_t count)
{
    struct grouped *g = context;
    (void)consumer;
    if (what == BUS_REVOKED && g->code == CTL_OK)
        g->code = commit(g);
    tell(g, what, list, count);
    for (size_t i = 0; i < count; i++) {
        drop(g, &list[i]);
        if (what == BUS_ASSIGNED)
            add(g, &list[i]);
    }
    g->has_shared |= what == BUS_ASSIGNED;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static bool
is_at_end(const struct grouped *g)
{
    for (size_t i = 0; i < g->held_count; i++) {
        const struct held *held = &g->held[i];
        int64_t position;
        if (bus_position(g->consumer, held->topic, held->partition, &position) == 0 &&
            position < held->end)
            return false;
    }
    return g->has_shared && g->held_count > 0;
}

static bool
is_over(const struct grouped *g)
{
    return interrupted() || g->left == 0 || (g->what->exit_at_end && is_at_end(g));
}

static int
print(struct grouped *g, const struct bus_record *records, int count)
{
    for (int i = 0; i < count; i++)
        if (consume_print(g->ctl, g->what->format, &records[i]) != CTL_OK)
            return CTL_FAILED;
    g->left -= g->left > 0 ? count : 0;
    return ferror(stdout) ? CTL_FAILED : CTL_OK;
}

/** One poll and its records: no more than are wanted, since what it gives will be committed. */
static int
step(struct grouped *g, int timeout_ms, int *got)
{
    static struct bus_record records[RECORDS_AT_ONCE];
    int most = g->left >= 0 && g->left < RECORDS_AT_ONCE ? (int)g->left : RECORDS_AT_ONCE;
    *got = bus_poll(g->consumer, records, most, timeout_ms);
    if (*got == -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION) {
        ctl_note(g->ctl, "%s: the group goes on without it", bus_error());
        *got = 0;
    }
    if (*got < 0)
        return ctl_fail_bus(g->ctl, *got, NULL);
    return g->code == CTL_OK ? print(g, records, *got) : g->code;
}

static int
loop(struct grouped *g)
{
    int got, code = CTL_OK;
    while (code == CTL_OK && !is_over(g)) {
        code = step(g, 0, &got);
        if (code == CTL_OK && got == 0 && !is_over(g)) {
            g->is_lost = consume_reader_is_gone();
            if (g->is_lost)
                return CTL_OK;
            if (fflush(stdout) != 0)
                return CTL_FAILED;
            code = step(g, WAIT_MS, &got);
        }
        if (code == CTL_OK && clock_mono_ms() >= g->commit_ms)
            code = commit(g);
    }
    return code;
}

/** A topic that is not there may come; but a wrong name shall not wait in silence. */
static int
check_topics(struct ctl *ctl, struct bus *bus, const struct consume_group *what)
{
    for (size_t i = 0; i < what->topic_count; i++) {
        struct bus_topics *topics;
        int rc = bus_topics_fetch(bus, what->topics[i], &topics);
        if (rc == 0)
            bus_topics_free(&topics);
        else if (rc == -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION && !what->exit_at_end)
            ctl_note(ctl, "%s; waiting for it", bus_error());
        else
            return ctl_fail_bus(ctl, rc, what->topics[i]);
    }
    return CTL_OK;
}

static int
run(struct grouped *g)
{
    bus_on_rebalance(g->consumer, on_rebalance, g);
    int rc = bus_subscribe(g->consumer, (const char *const *)g->what->topics, g->what->topic_count);
    if (rc < 0)
        return ctl_fail_bus(g->ctl, rc, NULL);
    interrupt_catch(g->consumer);
    int code = loop(g);
    if (code == CTL_OK)
        code = commit(g);
    interrupt_release();
    return code;
}

int
consume_group(
    struct ctl *ctl, struct bus *bus, struct bus_config *config, const struct consume_group *what)
{
    struct grouped g = {
        .ctl = ctl, .what = what, .left = what->count, .commit_ms = clock_mono_ms() + COMMIT_MS};
    int code = check_topics(ctl, bus, what);
    if (code != CTL_OK)
        return code;
    int rc = bus_consumer_open(bus, config, &g.consumer);
    if (rc < 0)
        return ctl_fail_bus(ctl, rc, NULL);
    code = run(&g);
    /* What did not go out is not committed by the last rebalance either. */
    g.code = code;
    bus_consumer_close(&g.consumer);
    while (g.held_count > 0)
        free((char *)g.held[--g.held_count].topic);
    free(g.held);
    return code == CTL_FAILED && ferror(stdout) ? ctl_flush(ctl) : code;
}
