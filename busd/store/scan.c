/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/err.h"
#include "base/trace.h"
#include "store/private.h"
#include "store/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A scan on its way through the segments. */
struct scan {
    struct log *log;
    const struct scan_options *options;
    const struct files_list *list;
    size_t at;        /* index of the segment in the table */
    int64_t position; /* verified up to here in it */
    int64_t offset;   /* next offset there */
    int64_t verified; /* bytes in all */
    size_t first;     /* where it began */
    struct store_checkpoint saved;
};

int64_t
segment_bytes_of(const struct files_entry *entry)
{
    return entry->bytes < SHM_SEGMENT_BYTES_MAX ? entry->bytes : SHM_SEGMENT_BYTES_MAX;
}

int
log_list(struct log *log, const struct files_list *list)
{
    segments_clear(log);
    for (size_t i = 0; i < list->count && !list->entries[i].spare; i++) {
        struct segment *segment = segment_new(list->entries[i].number, -1);
        if (!segment)
            return err_no_memory();
        segment->reserved = segment->capacity = segment_bytes_of(&list->entries[i]);
        if (log->count > 0)
            segments_active(log)->next_offset = segment->base_offset;
        int rc = segments_push(log, segment);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int
segment_rename(struct log *log, struct segment *segment)
{
    char *from = segment_path(log, segment);
    int64_t spare = segment->spare;
    segment->spare = -1;
    char *to = segment_path(log, segment);
    int rc = 0;
    if (!from || !to)
        rc = err_no_memory();
    else if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) < 0)
        rc = err_sys(errno, "rename %s to %s", from, to);
    if (rc < 0)
        segment->spare = spare;
    free(from);
    free(to);
    return rc;
}

/* Where the checkpoint says that all before was verified and flushed. Without one the last segment
 * is looked at, since older ones were closed and flushed long ago. */
static void
find_checkpoint(struct scan *scan)
{
    struct log *log = scan->log;
    const struct store_checkpoint *saved = &scan->saved;
    scan->at = log->count - 1;
    if (saved->generation > 0) {
        size_t at = 0;
        while (at + 1 < log->count && log->segments[at]->base_offset < saved->segment_base)
            at++;
        scan->at = at;
    }
    const struct segment *segment = log->segments[scan->at];
    scan->offset = segment->base_offset;
    scan->position = 0;
    if (saved->generation > 0 && segment->base_offset == saved->segment_base &&
        saved->position >= 0 && saved->position <= segment->reserved) {
        scan->offset = saved->durable_offset;
        scan->position = saved->position;
    }
    scan->first = scan->at;
}

static bool
fits(const struct scan *scan, const struct segment *segment, const struct batch_header *batch)
{
    bool holes = log_holes(scan->log) && segment->next_offset >= 0;
    if (segment->next_offset >= 0 && batch_next_offset(batch) > segment->next_offset)
        return false;
    return batch->base_offset == scan->offset || (holes && batch->base_offset > scan->offset);
}

/* Verifies one segment from scan->position on; stops where it ends or where it is not right. */
static int
verify_segment(struct scan *scan, struct segment *segment)
{
    struct log_file *file;
    struct walk walk;
    int rc = segment_file(scan->log, segment, &file);
    if (rc < 0)
        return rc;
    rc = walk_init(&walk, file->fd, scan->position, segment->reserved);
    while (rc >= 0 && scan->offset != segment->next_offset) {
        rc = walk_next(&walk);
        if (rc != WALK_BATCH || !fits(scan, segment, &walk.batch))
            break;
        rc = walk_crc_ok(&walk);
        if (rc != 1)
            break;
        scan->verified += walk.position - scan->position;
        scan->position = walk.position;
        scan->offset = batch_next_offset(&walk.batch);
    }
    walk_fini(&walk);
    return rc == -BUS_ERR_CORRUPT_MESSAGE ? 0 : rc < 0 ? rc : 0;
}

/* The segments behind the present one do not continue it: they are set aside, not deleted, for
 * they may hold what somebody wants to look at. */
static int
cut_later(struct scan *scan)
{
    struct log *log = scan->log;
    while (log->count > scan->at + 1) {
        struct segment *last = log->segments[--log->count];
        trace(TRACE_ERROR,
            "%s-%" PRId32 ": segment %020" PRId64
            ".log does not continue the log, which ends at offset %" PRId64 ": set aside as .cut",
            log->topic, log->options.partition, last->base_offset, scan->offset);
        int rc = cut_segment(log->folder, last->base_offset);
        segment_free(&last);
        if (rc < 0)
            return rc;
    }
    log->segments[scan->at]->next_offset = -1;
    return 0;
}

static int
scan_listed(struct scan *scan)
{
    struct log *log = scan->log;
    for (;;) {
        struct segment *segment = log->segments[scan->at];
        int rc = verify_segment(scan, segment);
        if (rc < 0)
            return rc;
        if (segment->next_offset < 0)
            return 0;
        if (scan->offset != segment->next_offset)
            return cut_later(scan);
        segment->end = scan->position;
        segment_rest(log, segment);
        scan->at++;
        scan->position = 0;
    }
}

/* Whether a spare was written to as the continuation of the log. */
static int
spare_continues(struct scan *scan, const struct files_entry *entry, bool *continues)
{
    *continues = false;
    struct segment *probe = segment_new(scan->offset, entry->number);
    if (!probe)
        return err_no_memory();
    struct log_file *file;
    struct walk walk = {0};
    int rc = segment_file(scan->log, probe, &file);
    if (rc == 0)
        rc = walk_init(&walk, file->fd, 0, entry->bytes);
    if (rc == 0)
        rc = walk_next(&walk);
    if (rc == WALK_BATCH && walk.batch.base_offset == scan->offset)
        *continues = walk_crc_ok(&walk) == 1;
    walk_fini(&walk);
    segment_free(&probe);
    return rc == -BUS_ERR_CORRUPT_MESSAGE || rc > 0 ? 0 : rc;
}

/* Closes the last segment and goes on in the spare, under its final name. */
static int
take_spare(struct scan *scan, const struct files_entry *entry)
{
    struct log *log = scan->log;
    struct segment *spare = segment_new(scan->offset, entry->number);
    if (!spare)
        return err_no_memory();
    spare->reserved = spare->capacity = segment_bytes_of(entry);
    int rc = segment_rename(log, spare);
    if (rc < 0) {
        segment_free(&spare);
        return rc;
    }
    struct segment *last = segments_active(log);
    last->end = scan->position;
    last->next_offset = scan->offset;
    rc = segments_push(log, spare);
    if (rc < 0)
        return rc;
    scan->at = log->count - 1;
    scan->position = 0;
    return scan_listed(scan);
}

/* A spare that was activated while busd was away still has its name. */
static int
scan_spares(struct scan *scan)
{
    for (size_t i = 0; i < scan->list->count; i++) {
        const struct files_entry *entry = &scan->list->entries[i];
        bool continues = false;
        if (!entry->spare || scan->position == 0)
            continue;
        int rc = spare_continues(scan, entry, &continues);
        if (rc == 0 && continues)
            rc = take_spare(scan, entry);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Writes the verified bytes over themselves: after a failed flush the kernel may hold pages that it
 * takes for clean although the disk never got them. */
static int
rewrite(int fd, int64_t from, int64_t to)
{
    uint8_t *bytes = malloc(WALK_WINDOW_BYTES);
    int rc = bytes ? 0 : err_no_memory();
    while (rc == 0 && from < to) {
        size_t n = to - from < WALK_WINDOW_BYTES ? (size_t)(to - from) : WALK_WINDOW_BYTES;
        rc = walk_read(fd, bytes, n, from);
        if (rc == 0 && pwrite(fd, bytes, n, from) != (ssize_t)n)
            rc = err_sys(errno, "write at position %" PRId64, from);
        from += (int64_t)n;
    }
    free(bytes);
    return rc;
}

/* Zeros everything behind the end, so that it can never be taken for batches, and reserves it
 * again; how long the file is was for its writers to say, so not all of that. */
static int
zero_rest(struct log *log, struct segment *segment, int fd, int64_t end)
{
    int rc = files_punch(fd, end, segment->reserved);
    if (rc < 0)
        return rc;
    bool full;
    struct files_reservation want = {.have = end, .wanted = log->options.segment_bytes};
    if (want.wanted > segment->reserved)
        want.wanted = segment->reserved;
    rc = files_reserve(fd, &want, &segment->reserved, &full);
    if (rc == 0 && full)
        trace(TRACE_WARNING, "%s-%" PRId32 ": the disk is full: nothing can be appended",
            log->topic, log->options.partition);
    return rc;
}

/* Copies the bytes [from, to) into a new file. */
static int
copy_out(int fd, int64_t from, int64_t to, const char *path)
{
    int out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = out < 0 ? err_sys(errno, "create %s", path) : 0;
    uint8_t *bytes = malloc(WALK_WINDOW_BYTES);
    if (rc == 0 && !bytes)
        rc = err_no_memory();
    while (rc == 0 && from < to) {
        size_t n = to - from < WALK_WINDOW_BYTES ? (size_t)(to - from) : WALK_WINDOW_BYTES;
        rc = walk_read(fd, bytes, n, from);
        if (rc == 0 && write(out, bytes, n) != (ssize_t)n)
            rc = err_sys(errno, "write %s", path);
        from += (int64_t)n;
    }
    if (rc == 0 && fdatasync(out) < 0)
        rc = err_sys(errno, "flush %s", path);
    free(bytes);
    if (out >= 0)
        close(out);
    return rc;
}

/* Whether sound batches follow the one at which the log is cut, up to the first hole. */
static int
find_rest(struct scan *scan, int fd, int64_t *to)
{
    struct walk walk;
    *to = lseek(fd, scan->position, SEEK_HOLE);
    if (*to <= scan->position)
        return WALK_END;
    int rc = walk_init(&walk, fd, scan->position, *to);
    if (rc == 0)
        rc = walk_next(&walk);
    /* Zeros are the ordinary end. */
    if (rc == WALK_BATCH || rc == -BUS_ERR_CORRUPT_MESSAGE) {
        struct walk_range range = {.least = scan->offset, .end_offset = INT64_MAX};
        int64_t from;
        walk_seek(&walk, scan->position, -1);
        rc = walk_skip(&walk, &range, &from);
    }
    walk_fini(&walk);
    return rc;
}

/* What is cut may be more than what a power loss tore: it is kept for whoever wants to look at it.
 */
static int
keep_rest(struct scan *scan, const struct segment *segment, int fd)
{
    const struct log *log = scan->log;
    int64_t to;
    int rc = find_rest(scan, fd, &to);
    if (rc != WALK_BATCH)
        return rc;
    char *path;
    rc = cut_path(log->folder, segment->base_offset, &path);
    if (rc == 0)
        rc = copy_out(fd, scan->position, to, path);
    if (rc < 0 && path)
        unlink(path);
    /* Before the original is zeroed. */
    if (rc == 0 && !(log->options.flags & SHM_FLAG_MEMORY))
        rc = files_sync_folder(log->folder);
    if (rc == 0)
        trace(TRACE_ERROR,
            "%s-%" PRId32 ": segment %020" PRId64 ".log is damaged at position %" PRId64
            ": the log is cut there, at offset %" PRId64 ", and what followed was set aside in %s",
            log->topic, log->options.partition, segment->base_offset, scan->position, scan->offset,
            path);
    free(path);
    return rc;
}

/* The indexes of what was written last may have lost more in a power cut than can be seen. */
static int
drop_indexes(struct log *log, const struct segment *segment)
{
    char name[FILES_NAME_BYTES_MAX];
    files_name(name, segment->base_offset, ".index");
    int rc = files_remove(log->folder, name);
    files_name(name, segment->base_offset, ".timeindex");
    return rc < 0 ? rc : files_remove(log->folder, name);
}

/* Brings one scanned segment to stable storage. */
static int
settle_segment(struct scan *scan, size_t at)
{
    struct log *log = scan->log;
    struct segment *segment = log->segments[at];
    bool last = at + 1 == log->count;
    char *path = segment_path(log, segment);
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    int rc = fd < 0 ? path ? err_sys(errno, "open %s", path) : err_no_memory() : 0;
    free(path);
    int64_t from = at == scan->first && scan->saved.segment_base == segment->base_offset
                       ? scan->saved.position
                       : 0;
    if (rc == 0 && scan->options->rewrite)
        rc = rewrite(fd, from, last ? scan->position : segment->end);
    if (rc == 0 && last && !scan->options->alive)
        rc = keep_rest(scan, segment, fd);
    if (rc == 0 && last && !scan->options->alive)
        rc = zero_rest(log, segment, fd, scan->position);
    if (rc == 0 && !(log->options.flags & SHM_FLAG_MEMORY) && fdatasync(fd) < 0) {
        rc = err_sys(errno, "flush segment %020" PRId64 ".log", segment->base_offset);
        log->flush_failed = true;
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

static int
settle(struct scan *scan)
{
    struct log *log = scan->log;
    int rc = 0;
    for (size_t at = scan->first; rc == 0 && at < log->count; at++) {
        rc = drop_indexes(log, log->segments[at]);
        if (rc == 0)
            rc = settle_segment(scan, at);
    }
    if (rc < 0 && log->flush_failed) {
        trace(TRACE_ERROR, "%s-%" PRId32 ": %s: the partition is offline", log->topic,
            log->options.partition, err_text());
        rc = 0;
    }
    if (rc == 0 && !(log->options.flags & SHM_FLAG_MEMORY))
        rc = files_sync_folder(log->folder);
    return rc;
}

/* Offsets are never given twice, so the log goes on behind what is known to have existed. */
static void
finish(struct scan *scan, struct scan_end *end)
{
    struct log *log = scan->log;
    int64_t least = scan->saved.durable_offset;
    if (least < log->start_offset)
        least = log->start_offset;
    end->reusable = log->count > 0 && !scan->options->alive;
    end->offset = scan->offset;
    if (least > scan->offset) {
        end->offset = least;
        end->reusable = false;
        if (log->count > 0 || !(log->options.flags & SHM_FLAG_MEMORY))
            trace(TRACE_ERROR,
                "%s-%" PRId32 ": the data of offsets %" PRId64 " to %" PRId64 " is missing",
                log->topic, log->options.partition, scan->offset, least - 1);
    }
    if (log->count == 0)
        log->start_offset = end->offset; /* so that readers do not look for what is gone */
    log->end_offset = end->offset;
    log->end_position = scan->position;
}

static int
scan_all(struct scan *scan, struct scan_end *end)
{
    struct log *log = scan->log;
    int rc = log_list(log, scan->list);
    if (rc < 0)
        return rc;
    if (log->count > 0) {
        find_checkpoint(scan);
        rc = scan_listed(scan);
        if (rc == 0)
            rc = scan_spares(scan);
        if (rc == 0)
            rc = settle(scan);
        if (rc < 0)
            return rc;
    }
    finish(scan, end);
    return 0;
}

int
log_scan(struct log *log, const struct scan_options *options, struct scan_end *end)
{
    struct files_list list;
    int64_t began_ns = clock_mono_ns();
    int rc = clean_settle(log);
    if (rc == 0)
        rc = files_list_read(log->folder, &list);
    if (rc < 0)
        return rc;
    struct scan scan = {.log = log, .options = options, .list = &list, .saved = log_saved(log)};
    rc = scan_all(&scan, end);
    files_list_fini(&list);
    if (rc == 0 && log->count > 0)
        trace(TRACE_NOTICE,
            "%s-%" PRId32 ": recovered to offset %" PRId64 ", %" PRId64
            " bytes verified in %" PRId64 " ms",
            log->topic, log->options.partition, end->offset, scan.verified,
            (clock_mono_ns() - began_ns) / 1000000);
    return rc;
}
