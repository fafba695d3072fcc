/* SPDX-License-Identifier: Apache-2.0
 * The world of ages: partitions whose segments grow, are closed, removed by retention and
 * compacted, under a wall clock that jumps back and forth by up to days while busd looks at it,
 * sleeps, or is away. The simulator knows the true time, the rules do not.
 *
 * What must hold: nothing is removed, compacted or forgotten before its time in true time, nothing
 * beyond the limit offset is touched, and once the clock is left alone everything that is due goes.
 */
#include "core/clean_policy.h"
#include "core/retain.h"
#include "core/walltime.h"
#include "sim/sim.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOGS = 4,
    SEGMENTS = 64, /* of a log, that are closed */
};

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)

/** A closed segment; times in truth count from the start of the world. */
struct segment {
    int64_t base_offset, next_offset, bytes;
    int64_t first_timestamp, max_timestamp, closed_ms; /* as the wall clock had it */
    int64_t first_true_ms, newest_true_ms;
    bool lies; /* its producer gave it times of its own */
};

struct log_sim {
    struct segment segments[SEGMENTS];
    size_t count;
    int64_t end_offset, limit_offset, start_offset, clean_offset;
    int64_t retention_ms, retention_bytes, min_lag_ms, max_lag_ms, delete_retention_ms;
    double dirty_ratio;
    bool remove, compact;
    int64_t horizon_ms, marked_true_ms; /* a deletion that was marked; -1 none */
};

struct ages {
    struct sim *sim;
    bool faulty;
    int64_t boot_ms; /* the clock that nobody sets; its differences are the truth */
    int64_t wall_ms;
    int64_t jumped_ms; /* sum of all jumps, whatever their direction */
    int64_t drift_ms;  /* of corrections too small to be seen as jumps */
    struct walltime time;
    struct log_sim logs[LOGS];
};

/* ---- clocks --------------------------------------------------------------------------------- */

static void
look(struct ages *a)
{
    int64_t jump_ms;
    walltime_note(&a->time, a->wall_ms, a->boot_ms, &jump_ms);
}

static void
pass(struct ages *a, int64_t ms)
{
    a->boot_ms += ms;
    a->wall_ms += ms;
    a->sim->now_ms = a->boot_ms;
}

/** busd compares the clocks before it believes either: see past() in busd/upkeep.c. */
static int64_t
past(struct ages *a, int64_t span_ms)
{
    look(a);
    return walltime_past(&a->time, a->wall_ms, span_ms);
}

/** How much younger than true something may seem, and how much older by small corrections. */
static int64_t
slack_ms(const struct ages *a)
{
    return a->drift_ms;
}

static void
set_clock(struct ages *a)
{
    int64_t ms;
    look(a);
    if (sim_chance(a->sim, 20)) {
        ms = sim_between(a->sim, -30000, 30000);
        a->drift_ms += ms < 0 ? -ms : ms;
    } else {
        ms = sim_between(a->sim, 2 * MINUTE_MS, 3 * DAY_MS);
        a->jumped_ms += ms;
        if (sim_chance(a->sim, 50) && a->wall_ms > 30 * DAY_MS)
            ms = -ms;
    }
    a->wall_ms += ms;
    sim_tell(a->sim, "the clock is set by %" PRId64 " ms", ms);
}

/* ---- logs ----------------------------------------------------------------------------------- */

static void
close_segment(struct ages *a, struct log_sim *log)
{
    struct sim *sim = a->sim;
    if (log->count == SEGMENTS)
        return;
    struct segment *s = &log->segments[log->count++];
    *s = (struct segment){.base_offset = log->end_offset,
        .next_offset = log->end_offset + sim_between(sim, 1, 100),
        .bytes = sim_between(sim, 1, 1000),
        .first_timestamp = a->wall_ms,
        .first_true_ms = a->boot_ms};
    if (a->faulty && sim_chance(sim, 5))
        set_clock(a);
    pass(a, sim_between(sim, 0, 2 * HOUR_MS));
    s->max_timestamp = s->first_timestamp > a->wall_ms ? s->first_timestamp : a->wall_ms;
    s->closed_ms = a->wall_ms;
    s->newest_true_ms = a->boot_ms;
    if (sim_chance(sim, 5)) /* from the future; as old as the file then */
        s->max_timestamp += sim_between(sim, 2, 100000) * HOUR_MS;
    else if (sim_chance(sim, 3))
        s->max_timestamp = -1;
    else if (sim_chance(sim, 5)) {
        s->lies = true;
        s->first_timestamp = s->max_timestamp = a->wall_ms - sim_between(sim, 0, 10 * DAY_MS);
    }
    log->end_offset = s->next_offset;
    /* What is not on stable storage is not touched. */
    if (!a->faulty || sim_chance(sim, 80))
        log->limit_offset = log->end_offset;
}

static int64_t
closed_bytes(const struct log_sim *log)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < log->count; i++)
        bytes += log->segments[i].bytes;
    return bytes;
}

/* ---- retention ------------------------------------------------------------------------------ */

/** Why the first segment may go, at the earliest. */
static bool
may_go(const struct ages *a, const struct log_sim *log, int64_t total_bytes)
{
    const struct segment *s = &log->segments[0];
    if (s->next_offset > log->limit_offset)
        return false;
    if (s->next_offset <= log->start_offset)
        return true;
    if (!log->remove)
        return false;
    if (log->retention_bytes >= 0 && total_bytes - s->bytes >= log->retention_bytes)
        return true;
    return log->retention_ms >= 0 &&
           (s->lies || a->boot_ms - s->newest_true_ms + slack_ms(a) >= log->retention_ms);
}

static void
drop_first(struct log_sim *log)
{
    log->count--;
    memmove(&log->segments[0], &log->segments[1], log->count * sizeof log->segments[0]);
}

static void
retain(struct ages *a, struct log_sim *log)
{
    struct retain_segment segments[SEGMENTS];
    struct retain_rules rules = {.remove = log->remove,
        .before_ms = past(a, log->retention_ms),
        .retention_bytes = log->retention_bytes,
        .log_start_offset = log->start_offset,
        .limit_offset = log->limit_offset};
    for (size_t i = 0; i < log->count; i++)
        segments[i] = (struct retain_segment){log->segments[i].next_offset, log->segments[i].bytes,
            log->segments[i].max_timestamp, log->segments[i].closed_ms};
    size_t gone = retain_count(&rules, segments, log->count, closed_bytes(log) + 1);
    sim_must(a->sim, gone <= log->count, "%zu of %zu segments go", gone, log->count);
    for (size_t i = 0; i < gone && log->count > 0; i++) {
        const struct segment *s = &log->segments[0];
        sim_must(a->sim, may_go(a, log, closed_bytes(log) + 1),
            "offsets %" PRId64 "-%" PRId64 " go at an age of %" PRId64 " h, allowed are %" PRId64,
            s->base_offset, s->next_offset, (a->boot_ms - s->newest_true_ms) / HOUR_MS,
            log->retention_ms / HOUR_MS);
        drop_first(log);
    }
}

/* ---- compaction ----------------------------------------------------------------------------- */

static struct clean_verdict
assess(struct ages *a, struct log_sim *log, bool asked)
{
    struct clean_segment segments[SEGMENTS];
    struct clean_verdict verdict;
    struct clean_rules rules = {.compact = log->compact,
        .asked = asked,
        .dirty_ratio = log->dirty_ratio,
        .young_ms = log->min_lag_ms > 0 ? past(a, log->min_lag_ms) : INT64_MAX,
        .overdue_ms = past(a, log->max_lag_ms),
        .clean_offset = log->clean_offset,
        .limit_offset = log->limit_offset};
    for (size_t i = 0; i < log->count; i++) {
        const struct segment *s = &log->segments[i];
        segments[i] = (struct clean_segment){s->base_offset, s->next_offset, s->bytes,
            s->first_timestamp, retain_newest_ms(s->max_timestamp, s->closed_ms)};
    }
    clean_assess(&rules, segments, log->count, &verdict);
    return verdict;
}

static void
check_verdict(const struct ages *a, const struct log_sim *log, const struct clean_verdict *verdict)
{
    sim_must(a->sim, !verdict->due || log->compact, "a log without compaction is compacted");
    sim_must(a->sim,
        verdict->end_offset <= log->limit_offset || verdict->end_offset == log->clean_offset,
        "compaction up to %" PRId64 ", beyond %" PRId64, verdict->end_offset, log->limit_offset);
    for (size_t i = 0; i < log->count; i++) {
        const struct segment *s = &log->segments[i];
        bool taken = s->next_offset > log->clean_offset && s->next_offset <= verdict->end_offset;
        sim_must(a->sim,
            !taken || s->lies || log->min_lag_ms <= 0 ||
                a->boot_ms - s->newest_true_ms + slack_ms(a) >= log->min_lag_ms,
            "offsets %" PRId64 "-%" PRId64 " are compacted at an age of %" PRId64 " ms",
            s->base_offset, s->next_offset, a->boot_ms - s->newest_true_ms);
    }
}

/** Deletions that are seen for the first time get a horizon; later ones whose horizon has passed
 * go. */
static void
treat_deletion(struct ages *a, struct log_sim *log)
{
    int64_t border = past(a, log->delete_retention_ms);
    int64_t passed_ms =
        border == INT64_MIN ? INT64_MIN : clean_horizon_ms(border, log->delete_retention_ms);
    if (log->horizon_ms < 0) {
        log->horizon_ms = clean_horizon_ms(a->wall_ms, log->delete_retention_ms);
        log->marked_true_ms = a->boot_ms;
    } else if (log->horizon_ms <= passed_ms) {
        sim_must(a->sim, a->boot_ms - log->marked_true_ms + slack_ms(a) >= log->delete_retention_ms,
            "a deletion goes %" PRId64 " ms after it was marked, allowed are %" PRId64,
            a->boot_ms - log->marked_true_ms, log->delete_retention_ms);
        log->horizon_ms = -1;
    }
}

static void
compact(struct ages *a, struct log_sim *log, const struct clean_verdict *verdict)
{
    for (size_t i = 0; i < log->count; i++)
        if (log->segments[i].next_offset <= verdict->end_offset)
            log->segments[i].bytes = 1 + log->segments[i].bytes / 2;
    log->clean_offset = verdict->end_offset;
    treat_deletion(a, log);
}

/** The most urgent log is compacted. Whether one was. */
static bool
clean(struct ages *a)
{
    struct log_sim *worst = NULL;
    struct clean_verdict best = {0};
    for (int i = 0; i < LOGS; i++) {
        struct clean_verdict verdict = assess(a, &a->logs[i], a->faulty && sim_chance(a->sim, 2));
        check_verdict(a, &a->logs[i], &verdict);
        if (verdict.due && (!worst || verdict.urgency > best.urgency)) {
            worst = &a->logs[i];
            best = verdict;
        }
    }
    if (worst)
        compact(a, worst, &best);
    return worst != NULL;
}

/* ---- what happens --------------------------------------------------------------------------- */

static void
step(struct ages *a)
{
    struct sim *sim = a->sim;
    struct log_sim *log = &a->logs[sim_pick(sim, LOGS)];
    switch (sim_pick(sim, 12)) {
    case 0:
        set_clock(a);
        return;
    case 1: /* busd is away, or the machine sleeps */
        pass(a, sim_between(sim, 0, 5 * DAY_MS));
        return;
    case 2:
        log->start_offset = sim_between(sim, log->start_offset, log->end_offset);
        return;
    case 3:
    case 4:
    case 5:
    case 6:
        close_segment(a, log);
        return;
    case 7:
    case 8:
        clean(a);
        return;
    case 9:
    case 10:
        retain(a, log);
        return;
    default:
        pass(a, sim_between(sim, 0, 3 * HOUR_MS));
        look(a);
        return;
    }
}

/** The clock is left alone: what is old enough goes, and the cleaner comes to an end. */
static void
settle(struct ages *a)
{
    int64_t longest_ms = 46 * DAY_MS + a->jumped_ms + a->drift_ms;
    a->faulty = false;
    for (int i = 0; i < LOGS; i++)
        a->logs[i].limit_offset = a->logs[i].end_offset;
    for (int64_t ms = 0; ms <= longest_ms; ms += DAY_MS) {
        pass(a, DAY_MS);
        look(a);
    }
    int rounds = 0;
    while (!a->sim->failed && clean(a))
        sim_must(a->sim, ++rounds <= LOGS * SEGMENTS, "the cleaner never comes to an end");
    for (int i = 0; i < LOGS; i++) {
        struct log_sim *log = &a->logs[i];
        sim_must(a->sim,
            !log->compact || log->clean_offset == log->end_offset || log->dirty_ratio > 0 ||
                log->count == 0,
            "log %d is dirty from %" PRId64 " to %" PRId64 " for ever", i, log->clean_offset,
            log->end_offset);
        retain(a, log);
        sim_must(a->sim, !log->remove || log->retention_ms < 0 || log->count == 0,
            "log %d keeps %zu segments for ever", i, log->count);
        for (int64_t ms = 0; log->horizon_ms >= 0 && ms <= 2 * longest_ms; ms += DAY_MS) {
            pass(a, DAY_MS);
            treat_deletion(a, log);
        }
        sim_must(a->sim, log->horizon_ms < 0, "a deletion of log %d stays for ever", i);
    }
}

static void
populate(struct ages *a)
{
    struct sim *sim = a->sim;
    for (int i = 0; i < LOGS; i++) {
        struct log_sim *log = &a->logs[i];
        log->remove = sim_chance(sim, 60);
        log->compact = !log->remove || sim_chance(sim, 30);
        log->retention_ms = sim_chance(sim, 80) ? sim_between(sim, HOUR_MS, 45 * DAY_MS) : -1;
        log->retention_bytes = sim_chance(sim, 30) ? sim_between(sim, 0, 10000) : -1;
        log->min_lag_ms = sim_chance(sim, 50) ? sim_between(sim, 0, 5 * DAY_MS) : 0;
        log->max_lag_ms = sim_chance(sim, 50) ? sim_between(sim, 0, 10 * DAY_MS) : INT64_MAX;
        log->delete_retention_ms = sim_between(sim, 0, 5 * DAY_MS);
        log->dirty_ratio = sim_chance(sim, 50) ? 0 : 0.5;
        log->horizon_ms = -1;
    }
}

static void
run(struct sim *sim)
{
    struct ages *a = calloc(1, sizeof *a);
    if (!a) {
        sim_must(sim, false, "no memory");
        return;
    }
    a->sim = sim;
    a->faulty = true;
    a->boot_ms = 1000;
    a->wall_ms = INT64_C(1700000000000);
    walltime_init(&a->time);
    look(a);
    populate(a);
    for (; !sim->failed && sim->step < sim->steps; sim->step++)
        step(a);
    settle(a);
    free(a);
}

const struct sim_world sim_ages = {"ages",
    "nothing goes before its time whatever the clock does, and all goes that is due", 1000, 300,
    run};
