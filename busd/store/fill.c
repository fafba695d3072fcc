/* SPDX-License-Identifier: Apache-2.0
 * Keeps zeros ahead of the tail of a log that grows fast, or that is flushed again and again. The
 * first touch of a page costs a writer several times what filling it costs; and a flush of bytes
 * that were only reserved takes half as long again, since the file system must note that they are
 * written now. A log that grows slowly goes without: zeros are memory, and writes to the disk.
 */
#include "shm/fill.h"

#include "base/clock.h"
#include "store/private.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    LOCK_MS = 5,
    FLUSHED_BYTES = 8 * 1024 * 1024, /* ahead of a log that is flushed for those who wait */
    FLUSHED_PIECE_BYTES = 64 * 1024, /* a flush writes whole folios of a mapped file */
    FAST_BYTES_PER_MS = 64 * 1024,   /* slower logs get nothing */
    FAST_AHEAD_MS = 50,              /* worth of growth that lies ahead of a fast log */
    FAST_BYTES_MAX = 128 * 1024 * 1024,
    FAST_PIECE_BYTES = 256 * 1024,
};

/* Bytes to have ahead, from what happened since the last look, which this one becomes. */
static int64_t
wanted(struct log *log, const struct shm_tail *tail, bool *flushed)
{
    struct log_fill *fill = &log->fill;
    const struct shm_control *control = log->generation->view.control;
    /* Relaxed: a number that only says that something went on. */
    uint32_t turn = atomic_load_explicit(&control->flush_turn, memory_order_relaxed);
    int64_t now_ns = clock_mono_ns();
    int64_t ms = now_ns > fill->looked_ns ? (now_ns - fill->looked_ns) / 1000000 + 1 : 1;
    int64_t grown = fill->seq == tail->seq ? tail->position - fill->position : 0;
    if (fill->seq != tail->seq)
        fill->until = 0;
    *flushed = grown > 0 && turn != fill->turn && (log->options.flags & SHM_FLAG_FLUSH_ON_ACK);
    fill->seq = tail->seq;
    fill->position = tail->position;
    fill->turn = turn;
    fill->looked_ns = now_ns;
    int64_t bytes = grown / ms < FAST_BYTES_PER_MS ? 0 : grown / ms * FAST_AHEAD_MS;
    if (bytes > FAST_BYTES_MAX)
        bytes = FAST_BYTES_MAX;
    return *flushed && bytes < FLUSHED_BYTES ? FLUSHED_BYTES : bytes;
}

/* What is to be filled now: *path is its file, to be freed, or NULL for nothing. Returns whether
 * the log needs zeros, and so another look soon. Under log->mutex. */
static bool
plan(struct log *log, struct fill_range *range, bool *flushed, char **path)
{
    struct shm_tail tail;
    if (log_tail(log, &tail) < 0 || tail.state != SHM_STATE_OPEN || tail.sealed ||
        (log->options.flags & SHM_FLAG_MEMORY))
        return false;
    struct segment *active = segments_active(log);
    int64_t bytes = wanted(log, &tail, flushed);
    int64_t from = log->fill.until > tail.position ? log->fill.until : tail.position;
    int64_t until = tail.position + bytes;
    if (until > active->reserved)
        until = active->reserved;
    until &= -(int64_t)FAST_PIECE_BYTES;
    /* Half of it at once: each time ends with a flush. */
    if (log->fill.until - tail.position >= bytes / 2 || from >= until)
        return bytes > 0;
    *range = (struct fill_range){
        .seq = tail.seq, .from = (size_t)from, .until = (size_t)until, .fd = -1};
    *path = segment_path(log, active);
    return true;
}

/* One piece, so that neither writers nor the loop wait for long. Returns its bytes, 0 when it has
 * to wait, or a failure. */
static int
fill_piece(struct log *log, const struct fill_range *all, size_t at, size_t piece)
{
    struct fill_range range = *all;
    size_t end = (at / piece + 1) * piece;
    range.from = at;
    range.until = end < all->until ? end : all->until;
    int rc = FILL_NOT_NOW;
    pthread_mutex_lock(&log->mutex);
    if (log->generation && log->fill.seq == all->seq)
        rc = shm_fill(&log->generation->view, &range, clock_mono_ns() + LOCK_MS * INT64_C(1000000));
    if (rc == FILL_DONE)
        log->fill.until = (int64_t)range.until;
    pthread_mutex_unlock(&log->mutex);
    if (rc == FILL_DONE)
        return (int)(range.until - at);
    return rc < 0 ? rc : 0;
}

/* A failure ends it, and harms nobody: whoever appends or flushes there meets it by himself. */
static void
fill_range(struct log *log, const struct fill_range *range, bool flushed)
{
    size_t piece = flushed ? FLUSHED_PIECE_BYTES : FAST_PIECE_BYTES;
    int filled = 1;
    for (size_t at = range->from; at < range->until && filled > 0; at += (size_t)filled)
        filled = fill_piece(log, range, at, piece);
    if (flushed)
        (void)fdatasync(range->fd);
}

bool
log_fill(struct log *log)
{
    struct fill_range range;
    bool flushed = false;
    char *path = NULL;
    pthread_mutex_lock(&log->mutex);
    bool again = plan(log, &range, &flushed, &path);
    pthread_mutex_unlock(&log->mutex);
    if (!path)
        return again;
    range.fd = open(path, O_RDWR | O_CLOEXEC);
    free(path);
    if (range.fd < 0)
        return again;
    fill_range(log, &range, flushed);
    close(range.fd);
    return again;
}
