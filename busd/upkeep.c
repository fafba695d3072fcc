/* SPDX-License-Identifier: Apache-2.0 */
#include "upkeep.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/trace.h"
#include "core/clean_policy.h"
#include "core/retain.h"
#include "shm/control.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    HEX_BYTES = 2 * UPKEEP_ID_BYTES + 1,
    LINE_BYTES = 128,
};

/** How long a producer that has stopped is remembered in a compacted log. */
#define PRODUCER_MS INT64_C(86400000)

static int64_t
boot_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- <data>/clock --------------------------------------------------------------------------- */

static void
hex_of(const uint8_t id[UPKEEP_ID_BYTES], char hex[HEX_BYTES])
{
    for (int i = 0; i < UPKEEP_ID_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", id[i]);
}

/* One line; false when it is none of ours. The clocks of an earlier boot tell nothing. */
static bool
take_line(struct upkeep *upkeep, const char *line)
{
    struct walltime *time = &upkeep->time;
    char hex[HEX_BYTES], own[HEX_BYTES];
    int64_t a, b;
    hex_of(upkeep->boot_id, own);
    if (sscanf(line, "boot %32s %" SCNd64 " %" SCNd64, hex, &a, &b) == 3) {
        if (strcmp(hex, own) == 0) {
            time->boot_ms = a;
            time->wall_ms = b;
        }
        return a >= 0;
    }
    if (sscanf(line, "jump %" SCNd64 " %" SCNd64, &a, &b) != 2 || a < 0 || b <= a ||
        time->count == WALLTIME_JUMPS_MAX)
        return false;
    time->jumps[time->count++] = (struct walltime_jump){.before_ms = a, .after_ms = b};
    return true;
}

static int
load(struct upkeep *upkeep)
{
    char line[LINE_BYTES];
    FILE *file = fopen(upkeep->path, "re");
    if (!file)
        return errno == ENOENT ? 0 : err_sys(errno, "open %s", upkeep->path);
    bool good = fgets(line, sizeof line, file) && strcmp(line, "0\n") == 0;
    while (good && fgets(line, sizeof line, file))
        good = take_line(upkeep, line);
    fclose(file);
    if (!good) {
        trace(
            TRACE_WARNING, "%s is damaged: earlier jumps of the clock are forgotten", upkeep->path);
        walltime_init(&upkeep->time);
    }
    return 0;
}

static int
write_all(const struct upkeep *upkeep, const char *path)
{
    const struct walltime *time = &upkeep->time;
    char hex[HEX_BYTES];
    FILE *file = fopen(path, "we");
    if (!file)
        return err_sys(errno, "create %s", path);
    hex_of(upkeep->boot_id, hex);
    fprintf(file, "0\nboot %s %" PRId64 " %" PRId64 "\n", hex, time->boot_ms, time->wall_ms);
    for (size_t i = 0; i < time->count; i++)
        fprintf(file, "jump %" PRId64 " %" PRId64 "\n", time->jumps[i].before_ms,
            time->jumps[i].after_ms);
    bool good = fflush(file) == 0 && !ferror(file) && fsync(fileno(file)) == 0;
    int rc = good ? 0 : err_sys(errno, "write %s", path);
    fclose(file);
    return rc;
}

static int
save(const struct upkeep *upkeep)
{
    char *fresh;
    if (asprintf(&fresh, "%s.new", upkeep->path) < 0)
        return err_no_memory();
    int rc = write_all(upkeep, fresh);
    if (rc == 0 && rename(fresh, upkeep->path) < 0)
        rc = err_sys(errno, "rename %s", fresh);
    free(fresh);
    return rc;
}

/* ---- life ----------------------------------------------------------------------------------- */

int
upkeep_init(struct upkeep *upkeep, const char *data_folder)
{
    *upkeep = (struct upkeep){0};
    pthread_mutex_init(&upkeep->mutex, NULL);
    walltime_init(&upkeep->time);
    if (asprintf(&upkeep->path, "%s/clock", data_folder) < 0) {
        upkeep->path = NULL;
        return err_no_memory();
    }
    int rc = shm_boot_id(upkeep->boot_id);
    return rc < 0 ? rc : load(upkeep);
}

void
upkeep_fini(struct upkeep *upkeep)
{
    if (upkeep->path)
        pthread_mutex_destroy(&upkeep->mutex);
    free(upkeep->path);
    upkeep->path = NULL;
}

static void
tell(enum walltime_outcome outcome, int64_t jump_ms)
{
    if (outcome == WALLTIME_FORWARD)
        trace(TRACE_WARNING,
            "the wall clock has jumped forward by %" PRId64
            " s: records from before count as younger by so much, nothing is removed early",
            jump_ms / 1000);
    else
        trace(TRACE_WARNING, "the wall clock has jumped back by %" PRId64 " s", -jump_ms / 1000);
}

/* Looks at both clocks and notes a jump; returns what the wall clock showed. Under the mutex. */
static int64_t
look(struct upkeep *upkeep)
{
    int64_t jump_ms, wall_ms = clock_wall_ms();
    bool first = upkeep->time.boot_ms < 0;
    enum walltime_outcome outcome = walltime_note(&upkeep->time, wall_ms, boot_ms(), &jump_ms);
    if (outcome != WALLTIME_STEADY)
        tell(outcome, jump_ms);
    if ((first || outcome != WALLTIME_STEADY) && save(upkeep) < 0)
        trace(TRACE_WARNING, "a restart will not know of the clock: %s", err_text());
    return wall_ms;
}

void
upkeep_look(struct upkeep *upkeep)
{
    pthread_mutex_lock(&upkeep->mutex);
    (void)look(upkeep);
    pthread_mutex_unlock(&upkeep->mutex);
}

/* ---- the rules ------------------------------------------------------------------------------ */

/* What is older than `span_ms` has a time below the result. No time is believed that was not
 * compared with the other clock: between two looks a jump would count as age. */
static int64_t
past(struct upkeep *upkeep, int64_t span_ms)
{
    pthread_mutex_lock(&upkeep->mutex);
    int64_t border = walltime_past(&upkeep->time, look(upkeep), span_ms);
    pthread_mutex_unlock(&upkeep->mutex);
    return border;
}

static size_t
retain(void *context, const struct log_rules *rules, const struct store_facts_log *log)
{
    struct retain_rules limits = {.remove = rules->remove,
        .before_ms = past(context, rules->retention_ms),
        .retention_bytes = rules->retention_bytes,
        .log_start_offset = log->log_start_offset,
        .limit_offset = log->limit_offset};
    struct retain_segment *segments = calloc(log->count + 1, sizeof *segments);
    if (!segments)
        return 0;
    for (size_t i = 0; i < log->count; i++)
        segments[i] = (struct retain_segment){.next_offset = log->segments[i].next_offset,
            .bytes = log->segments[i].bytes,
            .max_timestamp = log->segments[i].max_timestamp,
            .closed_ms = log->segments[i].closed_ms};
    size_t count = retain_count(&limits, segments, log->count, log->total_bytes);
    free(segments);
    return count;
}

static void
judge(const struct clean_rules *limits, const struct store_facts_log *log, struct store_dirt *dirt)
{
    struct clean_segment *segments = calloc(log->count + 1, sizeof *segments);
    struct clean_verdict verdict;
    if (!segments)
        return;
    for (size_t i = 0; i < log->count; i++)
        segments[i] = (struct clean_segment){.base_offset = log->segments[i].base_offset,
            .next_offset = log->segments[i].next_offset,
            .bytes = log->segments[i].bytes,
            .first_timestamp = log->segments[i].first_timestamp,
            .newest_ms =
                retain_newest_ms(log->segments[i].max_timestamp, log->segments[i].closed_ms)};
    clean_assess(limits, segments, log->count, &verdict);
    free(segments);
    dirt->due = verdict.due;
    dirt->urgency = verdict.urgency;
    dirt->end_offset = verdict.end_offset;
    dirt->clean_bytes = verdict.clean_bytes;
    dirt->dirty_bytes = verdict.dirty_bytes;
}

/* A horizon was set so long before it passes; by the clock of then. */
static int64_t
passed_ms(struct upkeep *upkeep, int64_t delete_retention_ms)
{
    int64_t border = past(upkeep, delete_retention_ms);
    return border == INT64_MIN ? INT64_MIN : clean_horizon_ms(border, delete_retention_ms);
}

static void
assess(void *context, const struct log_rules *rules, const struct store_facts_log *log,
    struct store_dirt *dirt)
{
    struct upkeep *upkeep = context;
    struct clean_rules limits = {.compact = rules->compact,
        .asked = log->asked,
        .dirty_ratio = rules->dirty_ratio,
        .young_ms = rules->min_lag_ms > 0 ? past(upkeep, rules->min_lag_ms) : INT64_MAX,
        .overdue_ms = past(upkeep, rules->max_lag_ms),
        .clean_offset = log->clean_offset,
        .limit_offset = log->limit_offset};
    *dirt = (struct store_dirt){.end_offset = log->clean_offset,
        .horizon_ms = clean_horizon_ms(clock_wall_ms(), rules->delete_retention_ms),
        .passed_ms = passed_ms(upkeep, rules->delete_retention_ms),
        .producer_before_ms = past(upkeep, PRODUCER_MS)};
    judge(&limits, log, dirt);
}

struct store_rules
upkeep_rules(struct upkeep *upkeep)
{
    return (struct store_rules){.retain = retain, .assess = assess, .context = upkeep};
}

struct store_upkeep
upkeep_settings(const struct settings *settings)
{
    return (struct store_upkeep){
        .retention_check_ms = settings_int(settings, BROKER_LOG_RETENTION_CHECK_INTERVAL_MS),
        .backoff_ms = settings_int(settings, BROKER_LOG_CLEANER_BACKOFF_MS),
        .dedupe_bytes = (size_t)settings_int(settings, BROKER_LOG_CLEANER_DEDUPE_BUFFER_SIZE),
        .bytes_per_second_max = settings_int(settings, BROKER_LOG_CLEANER_IO_MAX_BYTES_PER_SECOND),
        .clean = settings_int(settings, BROKER_LOG_CLEANER_THREADS) > 0};
}
