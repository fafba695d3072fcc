/* SPDX-License-Identifier: Apache-2.0
 * Retention, and what it and compaction know of the segments.
 */
#include "base/clock.h"
#include "base/err.h"
#include "base/trace.h"
#include "store/private.h"
#include "store/walk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- facts ---------------------------------------------------------------------------------- */

/* When the file of a closed segment was written last; it is looked at once. */
static int64_t
closed_ms(struct log *log, struct segment *segment)
{
    struct stat status;
    char *path = segment->closed_ms == 0 ? segment_path(log, segment) : NULL;
    if (path && stat(path, &status) == 0)
        segment->closed_ms =
            (int64_t)status.st_mtim.tv_sec * 1000 + status.st_mtim.tv_nsec / 1000000;
    free(path);
    return segment->closed_ms != 0 ? segment->closed_ms : INT64_MAX;
}

/* The time of the first batch of the oldest dirty segment. */
static int64_t
first_timestamp(struct log *log, struct segment *segment)
{
    struct log_file *file;
    struct walk walk = {0};
    int64_t end;
    if (segment->first_known)
        return segment->first_timestamp;
    segment->first_timestamp = -1;
    segment->first_known = true;
    if (segment_end(log, segment, &end) == 0 && segment_file(log, segment, &file) == 0 &&
        walk_init(&walk, file->fd, 0, end) == 0 && walk_next(&walk) == WALK_BATCH)
        segment->first_timestamp = walk.batch.max_timestamp;
    walk_fini(&walk);
    return segment->first_timestamp;
}

static int
collect_one(struct log *log, struct segment *segment, struct store_facts *facts)
{
    int64_t end;
    int rc = segment_end(log, segment, &end);
    if (rc < 0)
        return rc;
    *facts = (struct store_facts){.base_offset = segment->base_offset,
        .next_offset = segment->next_offset,
        .bytes = end,
        .max_timestamp = segment->index.max_timestamp,
        .first_timestamp = -1,
        .closed_ms = closed_ms(log, segment)};
    bool dirty = segment->next_offset > log->cleaning.clean_offset;
    if (dirty && log->options.rules.compact)
        facts->first_timestamp = first_timestamp(log, segment);
    return 0;
}

static int
collect(struct log *log, struct log_facts *facts)
{
    size_t closed = log->count - 1;
    facts->segments = calloc(closed > 0 ? closed : 1, sizeof *facts->segments);
    if (!facts->segments)
        return err_no_memory();
    facts->rules = log->options.rules;
    facts->asked = log->cleaning.asked;
    facts->asked_offset = log->cleaning.asked_offset;
    int rc = 0;
    size_t known = 0;
    int64_t total = log->end_position;
    /* The largest time of a segment is known when the keeper has followed it to its end. */
    while (rc == 0 && known < closed && log->segments[known]->index.loaded &&
           log->segments[known]->index.complete) {
        rc = collect_one(log, log->segments[known], &facts->segments[known]);
        if (rc == 0)
            total += facts->segments[known++].bytes;
    }
    for (size_t i = known; rc == 0 && i < closed; i++) {
        int64_t end;
        rc = segment_end(log, log->segments[i], &end);
        total += rc == 0 ? end : 0;
    }
    facts->log = (struct store_facts_log){.segments = facts->segments,
        .count = known,
        .total_bytes = total,
        .log_start_offset = log->start_offset,
        .limit_offset = INT64_MAX,
        .clean_offset = log->cleaning.clean_offset,
        .asked = log->cleaning.asked || log->cleaning.again};
    return rc;
}

int
log_collect_facts(struct log *log, struct log_facts *facts)
{
    struct shm_tail tail;
    *facts = (struct log_facts){0};
    pthread_mutex_lock(&log->mutex);
    int rc = log_tail(log, &tail);
    if (rc == 0)
        rc = collect(log, facts);
    pthread_mutex_unlock(&log->mutex);
    if (rc < 0) {
        free(facts->segments);
        facts->segments = NULL;
    }
    return rc;
}

/* ---- the start of the log ------------------------------------------------------------------- */

/* On disk before anything is removed: a crash leaves segments too many, never an offset below which
 * nobody knows that the records are gone. */
static int
save_start(struct log *log, int64_t offset)
{
    struct store *store = log->store;
    const struct store_checkpoints *checkpoints = &store->options.checkpoints;
    pthread_mutex_lock(&store->saving);
    struct store_checkpoint checkpoint = log->saved;
    checkpoint.generation = log->number;
    checkpoint.log_start_offset = offset;
    int rc = checkpoints->save(checkpoints->context, &checkpoint, 1);
    if (rc == 0)
        log->saved = checkpoint;
    pthread_mutex_unlock(&store->saving);
    return err_prefix(rc, "checkpoint of %s-%" PRId32, log->topic, log->options.partition);
}

/* Takes the segments below the start off the table. Under log->mutex. */
static size_t
take_old(struct log *log, struct segment **gone)
{
    size_t old = 0;
    while (old + 1 < log->count && log->segments[old + 1]->base_offset <= log->start_offset)
        old++;
    memcpy(gone, log->segments, old * sizeof gone[0]);
    log->count -= old;
    memmove(log->segments, log->segments + old, log->count * sizeof log->segments[0]);
    if (old > 0)
        log_hints_clear(log);
    return old;
}

/* Readers keep the files that they have mapped or opened. */
static int
remove_segments(struct log *log, struct segment **gone, size_t count)
{
    int rc = 0;
    for (size_t i = 0; i < count; i++) {
        if (rc == 0)
            rc = files_remove_segment(log->folder, gone[i]->base_offset);
        segment_free(&gone[i]);
    }
    return rc;
}

int
log_move_start(struct log *log, int64_t offset)
{
    struct segment **gone = calloc(log->count > 0 ? log->count : 1, sizeof *gone);
    if (!gone)
        return err_no_memory();
    int rc = offset > log->start_offset ? save_start(log, offset) : 0;
    size_t count = 0;
    if (rc == 0) {
        pthread_mutex_lock(&log->mutex);
        if (offset > log->start_offset)
            log->start_offset = offset;
        log_publish_settings(log);
        count = take_old(log, gone);
        pthread_mutex_unlock(&log->mutex);
        rc = remove_segments(log, gone, count);
    }
    free(gone);
    return rc;
}

/* ---- retention ------------------------------------------------------------------------------ */

static bool
is_time(struct log *log)
{
    struct store *store = log->store;
    int64_t now_ms = clock_mono_ms();
    pthread_mutex_lock(&store->mutex);
    int64_t every_ms = store->upkeep.retention_check_ms;
    pthread_mutex_unlock(&store->mutex);
    if (every_ms <= 0 || !store->options.rules.retain ||
        (log->retained_ms >= 0 && now_ms - log->retained_ms < every_ms))
        return false;
    log->retained_ms = now_ms;
    return true;
}

int
log_retain(struct log *log)
{
    const struct store_rules *rules = &log->store->options.rules;
    struct log_facts facts;
    if (!is_time(log))
        return 0;
    int rc = log_collect_facts(log, &facts);
    if (rc < 0)
        return rc;
    if (log->options.flags & SHM_FLAG_REPLICATED)
        facts.log.limit_offset = log->high_watermark;
    size_t count = rules->retain(rules->context, &facts.rules, &facts.log);
    if (count > 0) {
        int64_t offset = facts.segments[count - 1].next_offset;
        rc = log_move_start(log, offset);
        if (rc == 0)
            trace(TRACE_INFO,
                "%s-%" PRId32 ": retention removed %zu segments: the log starts at offset %" PRId64,
                log->topic, log->options.partition, count, log->start_offset);
    }
    free(facts.segments);
    return rc;
}

bool
log_has_closed(struct store *store, const struct log_options *options)
{
    struct files_list list;
    size_t segments = 0;
    char *folder = log_folder(store, options);
    if (folder && files_list_read(folder, &list) == 0) {
        for (size_t i = 0; i < list.count; i++)
            segments += !list.entries[i].spare;
        files_list_fini(&list);
    }
    free(folder);
    return segments > 1;
}
