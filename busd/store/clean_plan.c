/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/err.h"
#include "base/trace.h"
#include "store/private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- a job ---------------------------------------------------------------------------------- */

static int
copy_sources(struct clean_job *job, const struct log_facts *facts)
{
    const struct store_facts *segments = facts->log.segments;
    size_t count = 0;
    while (count < facts->log.count && segments[count].next_offset <= job->dirty_offset)
        count++;
    job->sources = calloc(count > 0 ? count : 1, sizeof *job->sources);
    if (!job->sources)
        return err_no_memory();
    job->source_count = count;
    for (size_t i = 0; i < count; i++) {
        job->sources[i] = (struct clean_source){.base_offset = segments[i].base_offset,
            .next_offset = segments[i].next_offset,
            .bytes = segments[i].bytes};
        job->bytes_before += segments[i].bytes;
        if (segments[i].next_offset > job->clean_offset)
            job->bytes_total += segments[i].bytes;
    }
    job->bytes_total += job->bytes_before;
    return 0;
}

static int
open_folder(struct clean_job *job, const struct log *log)
{
    job->folder = open(log->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (job->folder < 0)
        return err_sys(errno, "open the folder %s", log->folder);
    snprintf(job->path, sizeof job->path, "/proc/self/fd/%d", job->folder);
    snprintf(job->name, sizeof job->name, "%s-%" PRId32, log->topic, log->options.partition);
    return 0;
}

static void
fill_settings(struct clean_job *job, const struct log *log, const struct store_upkeep *upkeep)
{
    bool memory = log->options.flags & SHM_FLAG_MEMORY;
    job->sync = !memory;
    job->interval = log->options.index_interval_bytes;
    job->segment_bytes = log->options.segment_bytes;
    job->reserve_bytes = memory ? 0 : log->options.preallocate_bytes;
    job->map_bytes = upkeep->dedupe_bytes;
    job->rate = upkeep->bytes_per_second_max > 0 ? upkeep->bytes_per_second_max : INT64_MAX;
    job->stop = &log->store->stopping;
}

static int
job_new(struct log *log, const struct log_facts *facts, const struct store_dirt *dirt,
    struct clean_job **job)
{
    *job = NULL;
    struct clean_job *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return err_no_memory();
    fresh->log = log;
    fresh->folder = -1;
    fresh->clean_offset = facts->log.clean_offset;
    fresh->asked = facts->asked;
    fresh->dirty_offset = dirt->end_offset;
    fresh->dirt = *dirt;
    clean_filter_init(&fresh->filter);
    int rc = copy_sources(fresh, facts);
    if (rc == 0)
        rc = open_folder(fresh, log);
    if (rc < 0)
        clean_job_free(&fresh);
    else
        *job = fresh;
    return rc;
}

/* ---- the choice ----------------------------------------------------------------------------- */

struct choice {
    struct store *store;
    struct store_upkeep upkeep;
    double urgency; /* of the best so far */
};

/* What was flushed is not looked at again by a recovery, so it may be rewritten. */
static int64_t
limit_of(struct log *log)
{
    struct store_checkpoint saved = log_saved(log);
    int64_t limit = saved.generation > 0 ? saved.segment_base : 0;
    if (log->options.flags & SHM_FLAG_REPLICATED && log->high_watermark < limit)
        limit = log->high_watermark;
    return limit;
}

/* A job on this log in the place of the one chosen so far. */
static void
prefer(struct choice *choice, struct log *log, const struct log_facts *facts,
    const struct store_dirt *dirt)
{
    struct store *store = choice->store;
    struct clean_job *job;
    if (job_new(log, facts, dirt, &job) < 0) {
        trace(TRACE_ERROR, "%s-%" PRId32 ": compaction: %s", log->topic, log->options.partition,
            err_text());
        return;
    }
    fill_settings(job, log, &choice->upkeep);
    choice->urgency = dirt->urgency;
    pthread_mutex_lock(&store->cleaning);
    clean_job_free(&store->job);
    store->job = job;
    pthread_mutex_unlock(&store->cleaning);
}

/* Whether all that somebody wants compacted is closed, followed and flushed. */
static bool
is_ready(const struct log_facts *facts)
{
    int64_t offset = facts->asked_offset;
    size_t count = facts->log.count;
    int64_t known = count > 0 ? facts->log.segments[count - 1].next_offset : 0;
    return !facts->asked || offset <= facts->log.log_start_offset ||
           (known >= offset && facts->log.limit_offset >= offset);
}

/* Comes back with the next pass. */
static void
look_again(struct log *log)
{
    /* Release: pairs with clean_choose(). */
    atomic_store_explicit(&log->store->asked, true, memory_order_release);
}

static void
note_dirt(struct log *log, const struct log_facts *facts, const struct store_dirt *dirt)
{
    int64_t all = dirt->clean_bytes + dirt->dirty_bytes;
    pthread_mutex_lock(&log->mutex);
    log->cleaning.dirty_ratio = all > 0 ? (double)dirt->dirty_bytes / (double)all : 0;
    if (!dirt->due && facts->asked)
        log->cleaning.asked = false;
    if (!dirt->due)
        log->cleaning.again = false;
    pthread_mutex_unlock(&log->mutex);
}

static void
look_at(struct choice *choice, struct log *log)
{
    const struct store_rules *rules = &log->store->options.rules;
    struct log_facts facts;
    struct store_dirt dirt = {0};
    if (log_collect_facts(log, &facts) < 0)
        return;
    facts.log.limit_offset = limit_of(log);
    if (is_ready(&facts)) {
        rules->assess(rules->context, &facts.rules, &facts.log, &dirt);
        note_dirt(log, &facts, &dirt);
        if (dirt.due && dirt.urgency > choice->urgency)
            prefer(choice, log, &facts, &dirt);
    } else {
        look_again(log);
    }
    free(facts.segments);
}

static void
visit(void *context, struct log *log)
{
    struct choice *choice = context;
    pthread_mutex_lock(&log->service);
    pthread_mutex_lock(&log->mutex);
    bool candidate =
        log->options.rules.compact && !log->cleaning.stuck && log->generation && !log->damaged;
    pthread_mutex_unlock(&log->mutex);
    if (candidate)
        look_at(choice, log);
    pthread_mutex_unlock(&log->service);
}

/* Hands the chosen job to the cleaner. */
static void
hand_over(struct store *store)
{
    const struct store_options *options = &store->options;
    pthread_mutex_lock(&store->cleaning);
    struct clean_job *job = store->job;
    if (job && !job->log)
        clean_job_free(&store->job);
    else if (job)
        job->state = CLEAN_READING;
    pthread_mutex_unlock(&store->cleaning);
    if (job && options->wake_cleaner)
        options->wake_cleaner(options->context);
}

void
clean_choose(struct store *store)
{
    struct choice choice = {.store = store, .urgency = -1};
    int64_t now_ms = clock_mono_ms();
    pthread_mutex_lock(&store->mutex);
    choice.upkeep = store->upkeep;
    pthread_mutex_unlock(&store->mutex);
    pthread_mutex_lock(&store->cleaning);
    bool busy = store->job != NULL;
    pthread_mutex_unlock(&store->cleaning);
    if (busy || !choice.upkeep.clean || !store->options.rules.assess ||
        atomic_load_explicit(&store->stopping, memory_order_relaxed))
        return;
    /* Acq_rel: pairs with whoever asks. */
    bool asked = atomic_exchange_explicit(&store->asked, false, memory_order_acq_rel);
    if (!asked && now_ms < store->choose_ms)
        return;
    store->choose_ms = now_ms + choice.upkeep.backoff_ms;
    store_each(store, visit, &choice);
    hand_over(store);
}

/* ---- the end of a job ----------------------------------------------------------------------- */

bool
clean_waits(struct log *log)
{
    struct store *store = log->store;
    pthread_mutex_lock(&store->cleaning);
    const struct clean_job *job = store->job;
    bool waits =
        job && job->log == log && (job->state == CLEAN_INSTALL || job->state == CLEAN_ENDED);
    pthread_mutex_unlock(&store->cleaning);
    return waits;
}

void
clean_forget(struct log *log)
{
    struct store *store = log->store;
    pthread_mutex_lock(&store->cleaning);
    bool mine = store->job && store->job->log == log;
    if (mine) {
        store->job->log = NULL;
        /* Relaxed: the job alone is looked at because of it. */
        atomic_store_explicit(&store->job->cancelled, true, memory_order_relaxed);
    }
    pthread_mutex_unlock(&store->cleaning);
    if (mine && store->options.wake_cleaner)
        store->options.wake_cleaner(store->options.context);
}

static void
tell(struct log *log, const struct clean_job *job)
{
    struct log_cleaning *cleaning = &log->cleaning;
    bool quiet =
        job->result == -BUS_ERR_RESOURCE_NOT_FOUND || job->result == -BUS_ERR_DAEMON_UNAVAILABLE;
    if (job->result < 0 && !quiet && !cleaning->told)
        trace(
            TRACE_ERROR, "%s: compaction failed, the old segments stay: %s", job->name, job->text);
    if (job->result == 0)
        trace(TRACE_INFO,
            "%s: compacted up to offset %" PRId64 " in %" PRId64 " ms: %" PRId64 " -> %" PRId64
            " bytes, %" PRId64 " records removed",
            job->name, job->up_to, (clock_mono_ns() - job->began_ns) / 1000000, job->bytes_before,
            job->bytes_after, job->filter.dropped);
    cleaning->told = job->result < 0 && !quiet;
}

/* Bytes of the closed segments up to `offset`. Under log->mutex. */
static int64_t
bytes_up_to(struct log *log, int64_t offset)
{
    int64_t bytes = 0, end;
    for (size_t i = 0; i + 1 < log->count && log->segments[i]->next_offset <= offset; i++)
        if (segment_end(log, log->segments[i], &end) == 0)
            bytes += end;
    return bytes;
}

/* What the cleaner found damaged is looked at again by those who read it. */
static void
doubt_damaged(struct log *log, const struct clean_job *job)
{
    for (size_t i = 0; i < job->source_count; i++) {
        int64_t base_offset = job->sources[i].base_offset;
        if (!job->sources[i].left_alone || log->count == 0 ||
            base_offset < log->segments[0]->base_offset)
            continue;
        struct segment *segment = log->segments[segments_find(log, base_offset)];
        segment->verified_from = segment->verified_to = 0;
    }
}

static void
note_end(struct log *log, struct clean_job *job)
{
    struct log_cleaning *cleaning = &log->cleaning;
    pthread_mutex_lock(&log->mutex);
    cleaning->asked = cleaning->asked && !job->asked;
    job->bytes_after = bytes_up_to(log, job->dirty_offset);
    doubt_damaged(log, job);
    if (job->result == 0) {
        cleaning->clean_offset = job->up_to;
        cleaning->runs++;
        cleaning->again = job->map_full;
        cleaning->bytes_before = job->bytes_before;
        cleaning->bytes_after = job->bytes_after;
        cleaning->dropped = job->filter.dropped;
    }
    cleaning->ended_ms = clock_wall_ms();
    memcpy(cleaning->failure, job->text, sizeof cleaning->failure);
    pthread_mutex_unlock(&log->mutex);
}

static int
end_job(struct log *log, struct clean_job *job)
{
    struct store *store = log->store;
    note_end(log, job);
    int rc = job->result == 0 ? clean_save(log) : 0;
    tell(log, job);
    if (job->map_full && job->result == 0)
        /* Release: pairs with clean_choose(). */
        atomic_store_explicit(&store->asked, true, memory_order_release);
    pthread_mutex_lock(&store->cleaning);
    clean_job_free(&store->job);
    pthread_mutex_unlock(&store->cleaning);
    log_kick(log);
    return rc;
}

static int
go_on(struct log *log, struct clean_job *job)
{
    struct store *store = log->store;
    int rc = clean_install(log, job);
    if (rc < 0) {
        job->result = rc;
        snprintf(job->text, sizeof job->text, "%s", err_text());
        return end_job(log, job);
    }
    pthread_mutex_lock(&store->cleaning);
    job->at = job->group.end;
    job->state = CLEAN_REWRITING;
    pthread_mutex_unlock(&store->cleaning);
    if (store->options.wake_cleaner)
        store->options.wake_cleaner(store->options.context);
    return 0;
}

int
clean_serve(struct log *log)
{
    if (!clean_waits(log))
        return 0;
    /* It is in the keeper's hands, and the log stays open meanwhile. */
    struct clean_job *job = log->store->job;
    return job->state == CLEAN_INSTALL ? go_on(log, job) : end_job(log, job);
}

/* ---- for the other floors ------------------------------------------------------------------- */

void
store_configure(struct store *store, const struct store_upkeep *upkeep)
{
    pthread_mutex_lock(&store->mutex);
    store->upkeep = *upkeep;
    pthread_mutex_unlock(&store->mutex);
}

bool
store_clean(struct store *store)
{
    pthread_mutex_lock(&store->cleaning);
    struct clean_job *job = store->job;
    bool dropped = job && !job->log;
    bool runs = job && job->log && (job->state == CLEAN_READING || job->state == CLEAN_REWRITING);
    if (dropped)
        clean_job_free(&store->job);
    pthread_mutex_unlock(&store->cleaning);
    if (!runs)
        return dropped;
    enum clean_state next = clean_run(job);
    pthread_mutex_lock(&store->cleaning);
    job->state = next;
    if (!job->log)
        clean_job_free(&store->job);
    pthread_mutex_unlock(&store->cleaning);
    if (store->options.kick)
        store->options.kick(store->options.context);
    return true;
}

void
store_clean_stop(struct store *store)
{
    /* Relaxed: nothing else is read because of it. */
    atomic_store_explicit(&store->stopping, true, memory_order_relaxed);
}

int
log_compact(struct log *log)
{
    pthread_mutex_lock(&log->mutex);
    struct shm_tail tail;
    bool compact = log->options.rules.compact;
    if (compact)
        (void)log_tail(log, &tail);
    log->cleaning.asked = compact;
    log->cleaning.asked_offset = log->end_offset;
    pthread_mutex_unlock(&log->mutex);
    if (!compact)
        return err_set(BUS_ERR_POLICY_VIOLATION,
            "%s-%" PRId32 " is not compacted: its cleanup.policy lacks compact", log->topic,
            log->options.partition);
    /* Release: pairs with clean_choose(). */
    atomic_store_explicit(&log->store->asked, true, memory_order_release);
    log_kick(log);
    return 0;
}

static void
add_progress(struct log *log, struct log_cleaning_status *status)
{
    struct store *store = log->store;
    pthread_mutex_lock(&store->cleaning);
    struct clean_job *job = store->job;
    if (job && job->log == log && job->state != CLEAN_CHOSEN) {
        bool reading = job->state == CLEAN_READING;
        status->state = reading ? LOG_CLEANING_READING : LOG_CLEANING_REWRITING;
        /* Relaxed: a view. */
        status->bytes_done = atomic_load_explicit(&job->bytes_done, memory_order_relaxed);
        status->bytes_total = atomic_load_explicit(&job->bytes_total, memory_order_relaxed);
    }
    pthread_mutex_unlock(&store->cleaning);
}

void
log_cleaning_status(struct log *log, struct log_cleaning_status *status)
{
    pthread_mutex_lock(&log->mutex);
    const struct log_cleaning *cleaning = &log->cleaning;
    *status = (struct log_cleaning_status){
        .state = cleaning->asked ? LOG_CLEANING_ASKED : LOG_CLEANING_IDLE,
        .clean_offset = cleaning->clean_offset,
        .dirty_ratio = cleaning->dirty_ratio,
        .runs = cleaning->runs,
        .ended_ms = cleaning->ended_ms,
        .bytes_before = cleaning->bytes_before,
        .bytes_after = cleaning->bytes_after,
        .records_dropped = cleaning->dropped};
    memcpy(status->failure, cleaning->failure, sizeof status->failure);
    pthread_mutex_unlock(&log->mutex);
    add_progress(log, status);
}
