/* SPDX-License-Identifier: Apache-2.0
 * Which leader epoch began where, in Kafka's file leader-epoch-checkpoint:
 *
 *     0                     version
 *     N                     lines that follow
 *     <epoch> <start offset>
 */
#include "base/err.h"
#include "base/trace.h"
#include "store/private.h"
#include "store/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file_name[] = "leader-epoch-checkpoint";

int
epochs_note(struct log *log, int32_t epoch, int64_t offset)
{
    /* Writers stamp what they like into their batches; each one taken would stay in memory. */
    if (epoch < 0 || epoch > log->options.leader_epoch)
        return 0;
    size_t n = log->epoch_count;
    if (n > 0 && log->epochs[n - 1].epoch >= epoch)
        return 0;
    /* An epoch without a record of its own is of no interest. */
    if (n > 0 && log->epochs[n - 1].start_offset >= offset)
        n--;
    struct epoch *epochs = realloc(log->epochs, (n + 1) * sizeof *epochs);
    if (!epochs)
        return err_no_memory();
    epochs[n] = (struct epoch){.epoch = epoch, .start_offset = offset};
    log->epochs = epochs;
    log->epoch_count = n + 1;
    log->epochs_dirty = true;
    return 0;
}

void
epochs_cut(struct log *log, int64_t end_offset)
{
    while (log->epoch_count > 0 && log->epochs[log->epoch_count - 1].start_offset > end_offset) {
        log->epoch_count--;
        log->epochs_dirty = true;
    }
}

/* Reads the lines; false when the file is not as we write it. */
static bool
parse(struct log *log, FILE *file)
{
    int version, count;
    if (fscanf(file, "%d %d", &version, &count) != 2 || version != 0 || count < 0)
        return false;
    for (int i = 0; i < count; i++) {
        int32_t epoch;
        int64_t start;
        size_t before = log->epoch_count;
        if (fscanf(file, "%" SCNd32 " %" SCNd64, &epoch, &start) != 2 || start < 0 ||
            epochs_note(log, epoch, start) < 0 || log->epoch_count != before + 1)
            return false;
    }
    return true;
}

/* 1: read, 0: it is missing or damaged. */
static int
load_file(struct log *log)
{
    char *path = files_path(log->folder, file_name);
    if (!path)
        return err_no_memory();
    FILE *file = fopen(path, "re");
    int rc = file ? parse(log, file) : 0;
    if (file)
        fclose(file);
    free(path);
    if (rc == 0)
        log->epoch_count = 0;
    log->epochs_dirty = false;
    return rc;
}

/* The epochs of one segment that begin after what is known. */
static int
collect(struct log *log, struct segment *segment)
{
    struct log_file *file;
    struct walk walk;
    int64_t end;
    int rc = segment_end(log, segment, &end);
    if (rc == 0)
        rc = segment_file(log, segment, &file);
    if (rc == 0)
        rc = walk_init(&walk, file->fd, 0, end);
    if (rc < 0)
        return rc;
    walk.holes = log_holes(log);
    while ((rc = walk_next(&walk)) == WALK_BATCH) {
        rc = epochs_note(log, walk.batch.leader_epoch, walk.batch.base_offset);
        if (rc < 0)
            break;
    }
    walk_fini(&walk);
    return rc == -BUS_ERR_CORRUPT_MESSAGE ? 0 : rc;
}

/* The epoch of the first batch of a segment, -1 if it cannot be told. */
static int32_t
first_epoch(struct log *log, struct segment *segment)
{
    struct log_file *file;
    struct walk walk = {0};
    int32_t epoch = -1;
    int64_t end;
    if (segment_end(log, segment, &end) == 0 && segment_file(log, segment, &file) == 0 &&
        walk_init(&walk, file->fd, 0, end) == 0 && walk_next(&walk) == WALK_BATCH)
        epoch = walk.batch.leader_epoch;
    walk_fini(&walk);
    return epoch;
}

/* Without the file: only segments at whose end another epoch is in use are read. The last one is
 * followed by the keeper anyway. */
static int
load_segments(struct log *log)
{
    int32_t epoch = log->count > 1 ? first_epoch(log, log->segments[0]) : -1;
    for (size_t i = 0; i + 1 < log->count; i++) {
        int rc = epochs_note(log, epoch, log->segments[i]->base_offset);
        int32_t next = first_epoch(log, log->segments[i + 1]);
        if (rc == 0 && next != epoch)
            rc = collect(log, log->segments[i]);
        if (rc < 0)
            return rc;
        segment_rest(log, log->segments[i]);
        epoch = next;
    }
    return log->count > 0 ? collect(log, segments_active(log)) : 0;
}

int
epochs_load(struct log *log)
{
    int rc = load_file(log);
    if (rc < 0)
        return rc;
    if (rc == 0 && log->end_offset > 0)
        rc = load_segments(log);
    epochs_cut(log, log->end_offset);
    return rc < 0 ? rc : 0;
}

static int
write_file(const char *path, const struct epoch *epochs, size_t count, bool sync)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return err_sys(errno, "create %s", path);
    fprintf(file, "0\n%zu\n", count);
    for (size_t i = 0; i < count; i++)
        fprintf(file, "%" PRId32 " %" PRId64 "\n", epochs[i].epoch, epochs[i].start_offset);
    bool good = fflush(file) == 0 && !ferror(file) && (!sync || fsync(fileno(file)) == 0);
    int rc = good ? 0 : err_sys(errno, "write %s", path);
    if (fclose(file) != 0 && rc == 0)
        rc = err_sys(errno, "write %s", path);
    return rc;
}

static int
replace_file(struct log *log, const struct epoch *epochs, size_t count)
{
    char *path = files_path(log->folder, file_name);
    char *fresh = files_path(log->folder, "leader-epoch-checkpoint.new");
    bool sync = !(log->options.flags & SHM_FLAG_MEMORY);
    int rc = path && fresh ? write_file(fresh, epochs, count, sync) : err_no_memory();
    if (rc == 0 && rename(fresh, path) < 0)
        rc = err_sys(errno, "rename %s", fresh);
    free(path);
    free(fresh);
    return rc;
}

int
epochs_save(struct log *log)
{
    pthread_mutex_lock(&log->mutex);
    size_t count = log->epoch_count;
    struct epoch *copy = NULL;
    /* An epoch without records need not be remembered: it is noted again at the next start. */
    bool dirty =
        log->epochs_dirty && count > 0 && log->epochs[count - 1].start_offset < log->end_offset;
    if (dirty)
        copy = malloc(count * sizeof *copy);
    if (copy) {
        memcpy(copy, log->epochs, count * sizeof *copy);
        log->epochs_dirty = false;
    }
    pthread_mutex_unlock(&log->mutex);
    if (!dirty)
        return 0;
    if (!copy)
        return err_no_memory();
    int rc = replace_file(log, copy, count);
    free(copy);
    if (rc < 0) {
        pthread_mutex_lock(&log->mutex);
        log->epochs_dirty = true;
        pthread_mutex_unlock(&log->mutex);
    }
    return rc;
}
