/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "shm/append.h"
#include "store/private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool
log_exists(struct store *store, const struct log_options *options)
{
    char *folder = log_folder(store, options);
    bool exists = folder && access(folder, F_OK) == 0;
    free(folder);
    return exists;
}

/* The folder gets another name first, in one step: a crash leaves nothing half deleted behind it
 * that could be taken for a partition. */
static int
remove_files(struct log *log)
{
    struct store *store = log->store;
    bool memory = log->options.flags & SHM_FLAG_MEMORY;
    char *gone;
    int n = asprintf(&gone, "%s/%s-%" PRId32, memory ? store->memory_deleted : store->deleted,
        log->topic, log->options.partition);
    if (n < 0)
        return err_no_memory();
    bool foreign = false;
    uint8_t owner[STORE_ID_BYTES];
    int rc = memory ? store_memory_check(store) : 0;
    if (rc == 0)
        rc = log_is_foreign(log, &foreign, owner);
    if (rc == 0 && !foreign)
        rc = files_remove_folder(gone);
    if (rc == 0 && !foreign && rename(log->folder, gone) < 0 && errno != ENOENT)
        rc = err_sys(errno, "rename %s", log->folder);
    if (rc == 0 && !memory)
        rc = files_sync_folder(store->topics);
    if (rc == 0)
        rc = files_remove_folder(gone);
    free(gone);
    return rc;
}

static int
remove_all(struct log *log)
{
    const struct store_checkpoints *checkpoints = &log->store->options.checkpoints;
    int rc = log_load_checkpoint(log);
    if (rc < 0)
        return rc;
    uint32_t newest = log->number > 0 ? log->number : 1;
    for (uint32_t number = newest; number > 0 && number + 1 >= newest; number--) {
        generation_fence(log, number, SHM_STATE_DELETED);
        rc = generation_unlink(log, number);
        if (rc < 0)
            return rc;
    }
    rc = remove_files(log);
    if (rc == 0)
        rc = checkpoints->drop(checkpoints->context, log->options.topic_id, log->options.partition);
    return rc;
}

int
log_remove(struct store *store, const struct log_options *options)
{
    struct log *log = log_new(store, options);
    if (!log)
        return err_no_memory();
    int rc = remove_all(log);
    log_free(log);
    return err_prefix(rc, "delete %s-%" PRId32, options->topic, options->partition);
}

void
log_end(struct log *log)
{
    /* Clients learn it from the page that they map, whatever its name is now. */
    pthread_mutex_lock(&log->mutex);
    log->deleted = true;
    if (log->generation)
        shm_fence(&log->generation->view, SHM_STATE_DELETED);
    pthread_mutex_unlock(&log->mutex);
}

int
log_delete(struct log **log)
{
    struct log *old = *log;
    struct store *store = old->store;
    struct log_options options = old->options;
    char *topic = strdup(options.topic);
    log_end(old);
    log_close(log);
    if (!topic)
        return err_no_memory();
    options.topic = topic;
    int rc = log_remove(store, &options);
    free(topic);
    return rc;
}

int
log_set_start(struct log *log, int64_t offset, int64_t *start)
{
    struct shm_tail tail;
    pthread_mutex_lock(&log->service);
    pthread_mutex_lock(&log->mutex);
    int rc = log_tail(log, &tail);
    if (rc == 0 && offset == -1)
        offset = log_visible(log, &tail, LOG_READ_VISIBLE);
    if (rc == 0 && (offset < 0 || offset > log_visible(log, &tail, LOG_READ_VISIBLE)))
        rc = err_set(BUS_ERR_OFFSET_OUT_OF_RANGE,
            "%s-%" PRId32 ": offset %" PRId64 " is outside the log, %" PRId64 " to %" PRId64,
            log->topic, log->options.partition, offset, log->start_offset, tail.end_offset);
    bool moves = rc == 0 && offset > log->start_offset;
    pthread_mutex_unlock(&log->mutex);
    if (moves)
        rc = log_move_start(log, offset);
    pthread_mutex_lock(&log->mutex);
    *start = log->start_offset;
    pthread_mutex_unlock(&log->mutex);
    pthread_mutex_unlock(&log->service);
    return rc;
}
