/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/err.h"
#include "base/trace.h"
#include "store/private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    FIRST_BYTES = 1024 * 1024, /* of a partition that nobody writes to yet */
    STEP_BYTES_MAX = 512 * 1024 * 1024,
    FAST_MS = 200,   /* growing again so soon doubles the step */
    SLOW_MS = 10000, /* so late makes it small again */
};

static int64_t
least_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Bytes to keep ahead of the tail. Direct writers get a full step at once; a log that is written to
 * through the socket only, or that lies in memory, gets more as it grows. */
static int64_t
step_of(const struct log *log)
{
    if (log->direct_writers && !(log->options.flags & SHM_FLAG_MEMORY))
        return log->step;
    int64_t ramp = 4 * log->end_position > FIRST_BYTES ? 4 * log->end_position : FIRST_BYTES;
    return least_of(ramp, log->step);
}

int64_t
room_first(const struct log *log)
{
    bool large = log->direct_writers && !(log->options.flags & SHM_FLAG_MEMORY);
    int64_t bytes = large ? log->options.preallocate_bytes : FIRST_BYTES;
    return least_of(bytes, log->options.segment_bytes);
}

/* What the reservation should become; the present one when that will do. */
static int64_t
target(const struct log *log, int64_t least)
{
    const struct segment *active = segments_active(log);
    int64_t left = active->reserved - log->end_position;
    int64_t step = step_of(log);
    int64_t need = log->writers_seen ? log->options.max_message_bytes : 0;
    if (need < least)
        need = least;
    if (left >= step / 2 && left >= need)
        return active->reserved;
    int64_t wanted = log->end_position + (step > need ? step : need);
    wanted = (wanted + 4095) & ~INT64_C(4095);
    wanted = least_of(wanted, active->capacity);
    return wanted > active->reserved ? wanted : active->reserved;
}

static bool
is_open(const struct shm_tail *tail)
{
    return tail->state == SHM_STATE_OPEN;
}

bool
room_wanted(struct log *log, const struct shm_tail *tail)
{
    if (!is_open(tail))
        return false;
    return target(log, 0) > segments_active(log)->reserved || (log->writers_seen && !log->spare);
}

static void
tell_full(struct log *log, bool full)
{
    if (full == log->disk_full)
        return;
    log->disk_full = full;
    if (full)
        trace(TRACE_ERROR,
            "%s-%" PRId32 ": the disk is full: writers wait until there is space in %s", log->topic,
            log->options.partition, log->folder);
    else
        trace(TRACE_NOTICE, "%s-%" PRId32 ": there is disk space again", log->topic,
            log->options.partition);
}

/* Adapts the step to how fast the log grows. */
static void
adapt_step(struct log *log)
{
    int64_t now_ns = clock_mono_ns();
    int64_t since_ms = (now_ns - log->grown_ns) / 1000000;
    if (since_ms < FAST_MS && log->step <= STEP_BYTES_MAX / 2)
        log->step *= 2;
    else if (since_ms > SLOW_MS)
        log->step = log->options.preallocate_bytes;
    log->grown_ns = now_ns;
}

/* Lets writers use what was reserved. Under log->mutex. */
static void
raise_limit(struct log *log, struct segment *segment, int64_t reserved)
{
    if (reserved <= segment->reserved)
        return;
    segment->reserved = reserved;
    if (segment->seq < 0 || !log->generation)
        return;
    struct shm_slot *slot = &log->generation->view.control->slots[segment->seq % SHM_SLOTS];
    /* Relaxed: the blocks are on disk, which needs no ordering between processors. */
    if (atomic_load_explicit(&slot->seq, memory_order_relaxed) == segment->seq)
        atomic_store_explicit(&slot->limit, (uint32_t)reserved, memory_order_relaxed);
}

/* Extends the file without log->mutex, for others must not wait for the disk. */
static int
extend(struct log *log, struct segment *segment, const struct files_reservation *want)
{
    char *path = segment_path(log, segment);
    if (!path)
        return err_no_memory();
    int64_t reserved = want->have;
    bool full = false;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int rc = fd < 0 ? err_sys(errno, "open %s", path) : 0;
    if (rc == 0)
        rc = err_prefix(files_reserve(fd, want, &reserved, &full), "%s", path);
    if (fd >= 0)
        close(fd);
    free(path);
    pthread_mutex_lock(&log->mutex);
    raise_limit(log, segment, reserved);
    adapt_step(log);
    pthread_mutex_unlock(&log->mutex);
    if (rc == 0)
        tell_full(log, full && reserved < want->least);
    return rc;
}

int
room_reserve(struct log *log, int64_t least)
{
    struct shm_tail tail;
    pthread_mutex_lock(&log->mutex);
    int rc = log_tail(log, &tail);
    struct segment *active = segments_active(log);
    struct files_reservation want = {0};
    if (rc == 0 && is_open(&tail)) {
        want.have = active->reserved;
        want.wanted = target(log, least);
        want.least = least_of(log->end_position + log->options.max_message_bytes, active->capacity);
        if (want.least < log->end_position + least)
            want.least = log->end_position + least;
    }
    pthread_mutex_unlock(&log->mutex);
    if (rc == 0 && want.wanted > want.have)
        rc = extend(log, active, &want);
    return rc;
}

/* Puts a spare into its slot, if that is still the next one. Under log->mutex. */
static void
take_spare(struct log *log, struct segment *spare)
{
    struct shm_tail tail;
    if (log_tail(log, &tail) < 0 || !is_open(&tail) || log->spare || tail.seq + 1 != spare->spare) {
        segment_free(&spare);
        return;
    }
    spare->seq = spare->spare;
    shm_slot_prepare(
        log->generation->view.control, spare->seq, -1, 0, 0, (uint32_t)spare->reserved);
    log->spare = spare;
}

static int
make_spare(struct log *log, const struct segment_wanted *wanted)
{
    char name[FILES_NAME_BYTES_MAX];
    files_spare_name(name, wanted->spare);
    struct segment *spare;
    int rc = files_remove(log->folder, name);
    if (rc == 0)
        rc = segment_create(log, wanted, &spare);
    if (rc == -BUS_ERR_DISK_FULL) {
        tell_full(log, true);
        return 0;
    }
    if (rc < 0)
        return rc;
    if (spare->reserved < least_of(wanted->bytes, FILES_RESERVE_MIN)) {
        segment_free(&spare);
        tell_full(log, true);
        return files_remove(log->folder, name);
    }
    pthread_mutex_lock(&log->mutex);
    take_spare(log, spare);
    pthread_mutex_unlock(&log->mutex);
    return 0;
}

/* Without a checkpoint recovery verifies the last segment only, so there is no second one before
 * the first checkpoint. */
static int
first_checkpoint(struct log *log)
{
    struct store_checkpoint checkpoint = log_saved(log);
    if (checkpoint.generation > 0)
        return 0;
    pthread_mutex_lock(&log->mutex);
    checkpoint.generation = log->number;
    checkpoint.segment_base = log->segments[0]->base_offset;
    checkpoint.log_start_offset = log->start_offset;
    checkpoint.durable_offset = checkpoint.segment_base;
    int rc = log_checkpoint(log, &checkpoint);
    pthread_mutex_unlock(&log->mutex);
    return rc;
}

int
room_names(struct log *log)
{
    bool renamed = false;
    int rc = 0;
    pthread_mutex_lock(&log->mutex);
    for (size_t i = 0; rc == 0 && i < log->count; i++) {
        if (log->segments[i]->spare < 0)
            continue;
        rc = segment_rename(log, log->segments[i]);
        renamed = true;
    }
    log_publish_settings(log);
    pthread_mutex_unlock(&log->mutex);
    if (rc == 0 && renamed && !(log->options.flags & SHM_FLAG_MEMORY))
        rc = files_sync_folder(log->folder);
    return rc;
}

int
room_spare(struct log *log)
{
    struct shm_tail tail;
    struct segment_wanted wanted = {.base_offset = -1};
    pthread_mutex_lock(&log->mutex);
    int rc = log_tail(log, &tail);
    bool needed = rc == 0 && is_open(&tail) && !log->spare && log->writers_seen;
    if (needed) {
        wanted.spare = tail.seq + 1;
        wanted.capacity = log->options.segment_bytes;
        wanted.bytes = least_of(step_of(log), wanted.capacity);
    }
    pthread_mutex_unlock(&log->mutex);
    if (needed)
        rc = first_checkpoint(log);
    if (needed && rc == 0)
        /* One spare at a time has its first name, or recovery could not put them in order. */
        rc = room_names(log);
    return needed && rc == 0 ? make_spare(log, &wanted) : rc;
}
