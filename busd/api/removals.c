/* SPDX-License-Identifier: Apache-2.0 */
#include "api/removals.h"
#include "base/err.h"
#include "base/trace.h"

#include <stdlib.h>
#include <string.h>

enum { TRY_AGAIN_MS = 1000 };

struct removal {
    struct removals *removals;
    struct removal_note note;
    struct log **logs; /* owned; by partition, NULL: it is not open */
    int expected;      /* logs that will be given later */
    bool running;      /* a job is out: `logs` are its own */
    bool ended;        /* by the lock: the job is over, `rc` is its outcome */
    bool told;         /* a failure was traced */
    int rc;
    int64_t retry_ms; /* -1: not yet known, or no need */
    struct removal *next;
};

/* ---- the job: on the remover's thread ------------------------------------------------------- */

static int
remove_partition(struct removal *removal, int32_t partition)
{
    const struct removal_note *note = &removal->note;
    if (removal->logs[partition])
        return log_delete(&removal->logs[partition]);
    struct log_options options = {
        .topic = note->topic,
        .partition = partition,
        .flags = note->memory ? SHM_FLAG_MEMORY : 0,
    };
    memcpy(options.topic_id, note->id.b, sizeof options.topic_id);
    return log_remove(removal->removals->store, &options);
}

static int
remove_all(struct removal *removal)
{
    int rc = 0;
    for (int32_t i = 0; i < removal->note.partition_count; i++) {
        int failed = remove_partition(removal, i);
        if (failed < 0)
            rc = failed; /* the others go nevertheless: their space may be what is missing */
    }
    if (rc == 0)
        rc = controller_removed(removal->removals->controller, &removal->note.id);
    if (rc < 0 && !removal->told)
        trace(TRACE_ERROR, "removing the deleted topic %s, which is tried again: %s",
            removal->note.topic, err_text());
    removal->told = rc < 0;
    return rc;
}

static void
run(void *context)
{
    struct removal *removal = context;
    struct removals *removals = removal->removals;
    int rc = remove_all(removal);
    pthread_mutex_lock(&removals->lock);
    removal->rc = rc;
    removal->ended = true;
    pthread_mutex_unlock(&removals->lock);
    if (removals->news)
        removals->news(removals->context);
}

/* ---- the loop ------------------------------------------------------------------------------- */

static struct removal *
make(struct removals *removals, const struct removal_note *note)
{
    struct removal *removal = calloc(1, sizeof *removal);
    struct log **logs = calloc((size_t)note->partition_count, sizeof(struct log *));
    if (!removal || !logs) {
        free(removal);
        free(logs);
        return NULL;
    }
    *removal = (struct removal){
        .removals = removals,
        .note = *note,
        .logs = logs,
        .retry_ms = -1,
    };
    return removal;
}

static void
removal_free(struct removal *removal)
{
    for (int32_t i = 0; removal && i < removal->note.partition_count; i++)
        log_close(&removal->logs[i]);
    if (removal)
        free(removal->logs);
    free(removal);
}

int
removals_prepare(struct removals *removals, const struct cluster_topic *topic)
{
    struct removal_note note = removal_note_of(topic);
    removal_free(removals->prepared);
    removals->prepared = make(removals, &note);
    return removals->prepared ? 0 : err_no_memory();
}

struct removal *
removal_new(struct removals *removals, const struct removal_note *note)
{
    struct removal *removal = removals->prepared;
    if (removal && memcmp(&removal->note.id, &note->id, sizeof note->id) == 0)
        removals->prepared = NULL;
    else
        removal = make(removals, note);
    if (!removal)
        return NULL;
    removal->next = removals->all;
    removals->all = removal;
    return removal;
}

void
removal_take(struct removal *removal, int32_t partition, struct log *log)
{
    removal->logs[partition] = log;
}

void
removal_expect(struct removal *removal, int logs)
{
    removal->expected += logs;
}

void
removal_start(struct removal *removal)
{
    struct removals *removals = removal->removals;
    if (removal->expected > 0 || removal->running)
        return;
    removal->retry_ms = -1;
    removal->running = true;
    if (!removals->remover)
        run(removal);
    else if (worker_post(removals->remover, run, removal) < 0) {
        removal->running = false;
        removal->retry_ms = 0;
    }
}

static int
resume(void *context, const struct removal_note *note)
{
    struct removals *removals = context;
    return removal_new(removals, note) ? 0 : err_no_memory();
}

void
removals_init(struct removals *removals)
{
    pthread_mutex_init(&removals->lock, NULL);
    if (controller_removals(removals->controller, resume, removals) < 0)
        trace(TRACE_ERROR, "files of deleted topics stay: %s", err_text());
    for (struct removal *removal = removals->all; removal; removal = removal->next)
        removal_start(removal);
}

void
removals_fini(struct removals *removals)
{
    if (!removals->store)
        return;
    if (removals->remover)
        worker_drain(removals->remover);
    while (removals->all) {
        struct removal *removal = removals->all;
        removals->all = removal->next;
        removal_free(removal);
    }
    removal_free(removals->prepared);
    pthread_mutex_destroy(&removals->lock);
    *removals = (struct removals){0};
}

bool
removals_hold(const struct removals *removals, const char *topic)
{
    for (const struct removal *removal = removals->all; removal; removal = removal->next)
        if (strcmp(removal->note.topic, topic) == 0)
            return true;
    return false;
}

/** Takes the outcome of a job that has ended. True: the removal is done. */
static bool
settle(struct removal *removal, int64_t now_ms)
{
    pthread_mutex_lock(&removal->removals->lock);
    bool ended = removal->ended;
    removal->ended = false;
    int rc = removal->rc;
    pthread_mutex_unlock(&removal->removals->lock);
    if (!ended)
        return false;
    removal->running = false;
    removal->retry_ms = now_ms + TRY_AGAIN_MS;
    return rc == 0;
}

void
removals_reap(struct removals *removals, int64_t now_ms)
{
    for (struct removal **at = &removals->all; *at;) {
        struct removal *removal = *at;
        if (settle(removal, now_ms)) {
            *at = removal->next;
            removal_free(removal);
            continue;
        }
        if (removal->retry_ms >= 0 && removal->retry_ms <= now_ms)
            removal_start(removal);
        at = &removal->next;
    }
}

int64_t
removals_deadline_ms(const struct removals *removals)
{
    int64_t deadline_ms = -1;
    for (const struct removal *removal = removals->all; removal; removal = removal->next)
        if (removal->retry_ms >= 0 && (deadline_ms < 0 || removal->retry_ms < deadline_ms))
            deadline_ms = removal->retry_ms;
    return deadline_ms;
}
