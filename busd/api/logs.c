/* SPDX-License-Identifier: Apache-2.0 */
#include "api/logs.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/trace.h"

#include <stdlib.h>
#include <string.h>

int
logs_init(struct logs *logs)
{
    logs->buckets = calloc(LOGS_BUCKETS, sizeof(struct open_log *));
    if (!logs->buckets)
        return err_no_memory();
    pthread_mutex_init(&logs->lock, NULL);
    removals_init(&logs->removals);
    return 0;
}

/* ---- the table ------------------------------------------------------------------------------ */

/** Topic ids are random: their first bytes are as good as a hash of them. */
static struct open_log **
bucket_of(struct logs *logs, const uint8_t *topic_id, int32_t partition)
{
    uint32_t id;
    memcpy(&id, topic_id, sizeof id);
    return &logs->buckets[(id ^ (uint32_t)partition * 2654435761u) % LOGS_BUCKETS];
}

static bool
is_of(const struct open_log *log, const uint8_t *topic_id, int32_t partition)
{
    return log->partition == partition && memcmp(log->topic_id, topic_id, STORE_ID_BYTES) == 0;
}

static void
unlink_used(struct open_log *log)
{
    struct logs *logs = log->logs;
    *(log->newer ? &log->newer->older : &logs->newest) = log->older;
    *(log->older ? &log->older->newer : &logs->oldest) = log->newer;
    log->newer = log->older = NULL;
}

static void
link_used(struct open_log *log)
{
    struct logs *logs = log->logs;
    log->newer = NULL;
    log->older = logs->newest;
    *(logs->newest ? &logs->newest->newer : &logs->oldest) = log;
    logs->newest = log;
}

static void
remove_from_table(struct open_log *log)
{
    struct open_log **at = bucket_of(log->logs, log->topic_id, log->partition);
    while (*at != log)
        at = &(*at)->chain;
    *at = log->chain;
    unlink_used(log);
    log->logs->count--;
}

struct open_log *
logs_find(struct logs *logs, const uint8_t *topic_id, int32_t partition)
{
    struct open_log *log = *bucket_of(logs, topic_id, partition);
    while (log && !is_of(log, topic_id, partition))
        log = log->chain;
    return log;
}

/* ---- opening and closing -------------------------------------------------------------------- */

static uint32_t
flags_of(const struct settings *settings, const struct cluster_partition *partition)
{
    uint32_t flags = 0;
    if (settings_int(settings, TOPIC_MESSAGE_TIMESTAMP_TYPE) == TOPIC_LOG_APPEND_TIME)
        flags |= SHM_FLAG_LOG_APPEND_TIME;
    if (settings_int(settings, TOPIC_STORAGE_TYPE) == TOPIC_STORAGE_MEMORY)
        flags |= SHM_FLAG_MEMORY;
    if (settings_bool(settings, TOPIC_FLUSH_ON_ACK))
        flags |= SHM_FLAG_FLUSH_ON_ACK;
    if (settings_list_has(settings, TOPIC_CLEANUP_POLICY, "compact"))
        flags |= SHM_FLAG_COMPACTED;
    if (partition->replica_count > 1)
        flags |= SHM_FLAG_REPLICATED;
    return flags;
}

static struct log_rules
rules_of(const struct settings *settings)
{
    return (struct log_rules){
        .remove = settings_list_has(settings, TOPIC_CLEANUP_POLICY, "delete"),
        .compact = settings_list_has(settings, TOPIC_CLEANUP_POLICY, "compact"),
        .retention_ms = settings_int(settings, TOPIC_RETENTION_MS),
        .retention_bytes = settings_int(settings, TOPIC_RETENTION_BYTES),
        .delete_retention_ms = settings_int(settings, TOPIC_DELETE_RETENTION_MS),
        .min_lag_ms = settings_int(settings, TOPIC_MIN_COMPACTION_LAG_MS),
        .max_lag_ms = settings_int(settings, TOPIC_MAX_COMPACTION_LAG_MS),
        .dirty_ratio = settings_real(settings, TOPIC_MIN_CLEANABLE_DIRTY_RATIO),
    };
}

static struct log_options
options_of(const struct cluster_topic *topic, int32_t index)
{
    const struct settings *settings = &topic->settings;
    const struct cluster_partition *partition = cluster_partition(topic, index);
    MUST(partition);
    struct log_options options = {
        .topic = topic->name,
        .partition = index,
        .flags = flags_of(settings, partition),
        .leader_epoch = partition->leader_epoch,
        .max_message_bytes = (uint32_t)settings_int(settings, TOPIC_MAX_MESSAGE_BYTES),
        .segment_bytes = (uint32_t)settings_int(settings, TOPIC_SEGMENT_BYTES),
        .preallocate_bytes = (uint32_t)settings_int(settings, TOPIC_SEGMENT_PREALLOCATE_BYTES),
        .index_interval_bytes = (uint32_t)settings_int(settings, TOPIC_INDEX_INTERVAL_BYTES),
        .segment_ms = settings_int(settings, TOPIC_SEGMENT_MS),
    };
    options.rules = rules_of(settings);
    /* What waits for compaction is closed in time for it. */
    if (options.rules.compact && options.rules.max_lag_ms < options.segment_ms)
        options.segment_ms = options.rules.max_lag_ms;
    memcpy(options.topic_id, topic->id.b, STORE_ID_BYTES);
    return options;
}

bool
logs_has_closed(const struct logs *logs, const struct cluster_topic *topic, int32_t partition)
{
    struct log_options options = options_of(topic, partition);
    return log_has_closed(logs->store, &options);
}

static void
close_log(struct open_log *log)
{
    MUST(log->pins == 0 && !log->flush.running);
    remove_from_table(log);
    watch_item_free(&log->watch);
    log_close(&log->log);
    free(log);
}

/** Closes the log that was not used for longest, of those that nobody needs. */
static int
make_place(struct logs *logs)
{
    int64_t limit = settings_int(&logs->cluster->settings, BROKER_MAX_OPEN_PARTITIONS);
    if (logs->count < limit)
        return 0;
    for (struct open_log *log = logs->oldest; log; log = log->newer) {
        if (log->pins > 0)
            continue;
        close_log(log);
        return 0;
    }
    return err_set(BUS_ERR_LIMIT_REACHED,
        "%d partitions are open and in use: raise max.open.partitions", logs->count);
}

static int
open_log(struct logs *logs, const struct cluster_topic *topic, int32_t partition,
    struct open_log **opened)
{
    struct log_options options = options_of(topic, partition);
    struct open_log *log = calloc(1, sizeof *log);
    if (!log)
        return err_no_memory();
    int rc = log_open(logs->store, &options, &log->log);
    if (rc < 0) {
        free(log);
        return rc;
    }
    memcpy(log->topic_id, topic->id.b, STORE_ID_BYTES);
    log->partition = partition;
    log->logs = logs;
    struct open_log **bucket = bucket_of(logs, log->topic_id, partition);
    log->chain = *bucket;
    *bucket = log;
    link_used(log);
    logs->count++;
    *opened = log;
    return 0;
}

int
logs_get(
    struct logs *logs, const struct cluster_topic *topic, int32_t partition, struct open_log **log)
{
    *log = logs_find(logs, topic->id.b, partition);
    if (*log) {
        unlink_used(*log);
        link_used(*log);
        return 0;
    }
    int rc = make_place(logs);
    if (rc == 0)
        rc = open_log(logs, topic, partition, log);
    return err_prefix(rc, "topic %s partition %d", topic->name, partition);
}

void
logs_pin(struct open_log *log)
{
    log->pins++;
}

void
logs_unpin(struct open_log *log)
{
    MUST(log->pins > 0);
    if (--log->pins == 0 && !log->log)
        free(log);
}

void
logs_fini(struct logs *logs)
{
    if (!logs->buckets)
        return;
    if (logs->flusher)
        worker_drain(logs->flusher);
    logs_reap(logs, 0);
    removals_fini(&logs->removals);
    while (logs->oldest)
        close_log(logs->oldest);
    pthread_mutex_destroy(&logs->lock);
    free(logs->buckets);
    logs->buckets = NULL;
}

/* ---- changes of the cluster ----------------------------------------------------------------- */

void
logs_configure(struct logs *logs, const struct cluster_topic *topic)
{
    for (struct open_log *log = logs->newest; log; log = log->older) {
        struct uuid id;
        memcpy(id.b, log->topic_id, sizeof id.b);
        if (topic && memcmp(topic->id.b, id.b, sizeof id.b) != 0)
            continue;
        const struct cluster_topic *its = topic ? topic : cluster_topic_of_id(logs->cluster, &id);
        if (!its)
            continue;
        struct log_options options = options_of(its, log->partition);
        log_configure(log->log, &options);
    }
}

bool
logs_alive(const struct open_log *log)
{
    return log->log && !log->removal;
}

/** Leaves the files to the removal. */
static void
give_up(struct open_log *log)
{
    removal_take(log->removal, log->partition, log->log);
    log->log = NULL;
}

static void
delete_open(struct open_log *log, struct removal *removal)
{
    remove_from_table(log);
    watch_item_free(&log->watch);
    log->removal = removal;
    log_end(log->log);
    if (log->flush.running) {
        removal_expect(removal, 1);
        return;
    }
    give_up(log);
    if (log->pins == 0)
        free(log);
}

void
logs_delete(struct logs *logs, const struct cluster_topic *topic)
{
    struct removal_note note = removal_note_of(topic);
    struct removal *removal = removal_new(&logs->removals, &note);
    MUST(removal); /* see removals_prepare() */
    for (int32_t i = 0; i < topic->partition_count; i++) {
        struct open_log *log = logs_find(logs, topic->id.b, i);
        if (log)
            delete_open(log, removal);
    }
    removal_start(removal);
    removals_reap(&logs->removals, 0);
}

/* ---- flushes -------------------------------------------------------------------------------- */

enum { FLUSH_PATIENCE_S = 60 }; /* a disk slower than this is asked again */

static void
run_flush(struct open_log *log)
{
    int64_t deadline = clock_mono_ns() + FLUSH_PATIENCE_S * INT64_C(1000000000);
    if (log_flush(log->log, log->flush.offset, deadline) < 0)
        trace(TRACE_ERROR, "flush of topic %s partition %d: %s", log_options(log->log)->topic,
            log->partition, err_text());
}

/** On the flusher's thread; the log is pinned by `running`. */
static void
flush_job(void *context)
{
    struct open_log *log = context;
    struct logs *logs = log->logs;
    run_flush(log);
    pthread_mutex_lock(&logs->lock);
    log->flush.next = logs->flushed;
    logs->flushed = log;
    pthread_mutex_unlock(&logs->lock);
    logs->news(logs->context);
}

static void
start_flush(struct open_log *log)
{
    log->flush.offset = log->flush.wanted;
    log->flush.wanted = 0;
    if (!log->logs->flusher) {
        run_flush(log);
        return;
    }
    if (worker_post(log->logs->flusher, flush_job, log) < 0) {
        log->flush.wanted = log->flush.offset; /* whoever waits asks again at its next look */
        return;
    }
    log->flush.running = true;
    logs_pin(log);
}

void
logs_flush(struct open_log *log, int64_t offset)
{
    bool covered = log->flush.running && offset <= log->flush.offset;
    if (!covered && offset > log->flush.wanted)
        log->flush.wanted = offset;
    if (log->flush.wanted > 0 && !log->flush.running)
        start_flush(log);
}

static void
end_flush(struct open_log *log)
{
    log->flush.running = false;
    if (log->removal) {
        give_up(log);
        removal_expect(log->removal, -1);
        removal_start(log->removal);
    } else if (log->flush.wanted > 0) {
        start_flush(log);
    }
    logs_unpin(log);
}

void
logs_reap(struct logs *logs, int64_t now_ms)
{
    pthread_mutex_lock(&logs->lock);
    struct open_log *log = logs->flushed;
    logs->flushed = NULL;
    pthread_mutex_unlock(&logs->lock);
    while (log) {
        struct open_log *next = log->flush.next;
        end_flush(log);
        log = next;
    }
    removals_reap(&logs->removals, now_ms);
}

/* ---- waiting readers ------------------------------------------------------------------------ */

void
logs_wait_begin(struct open_log *log)
{
    log->readers++;
    logs_pin(log);
}

bool
logs_wait_watched(struct open_log *log)
{
    struct log_bounds bounds;
    if (!log->logs->watcher || !logs_alive(log) || log_bounds(log->log, &bounds) < 0)
        return false;
    if (log->watch && watch_item_generation(log->watch) == bounds.generation)
        return true;
    watch_item_free(&log->watch);
    return watch_item_new(log->logs->watcher, log->log, bounds.generation, &log->watch) == 0;
}

void
logs_wait_end(struct open_log *log)
{
    MUST(log->readers > 0);
    if (--log->readers == 0)
        watch_item_free(&log->watch);
    logs_unpin(log);
}
