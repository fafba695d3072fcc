/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "store/private.h"
#include "store/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static void
close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void
log_attachment_close(struct log_attachment *attachment)
{
    close_fd(&attachment->control);
    close_fd(&attachment->bell);
    close_fd(&attachment->writers);
    for (int i = 0; i < attachment->segment_count; i++)
        close_fd(&attachment->segments[i].fd);
    attachment->segment_count = 0;
}

/* An open file description of its own: what the kernel locks with it lives as long as the client.
 */
static int
open_writers(const struct log *log, int *fd)
{
    *fd = open(log->writers, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0)
        return err_sys(errno, "open %s", log->writers);
    if (flock(*fd, LOCK_SH | LOCK_NB) == 0)
        return 0;
    int rc = err_sys(errno, "lock %s", log->writers);
    close_fd(fd);
    return rc;
}

static int
open_object(const struct log *log, const char *suffix, bool writable, int *fd)
{
    char name[GENERATION_NAME_BYTES];
    generation_name(log, log->number, suffix, name);
    int rc = shm_object_open(name, writable);
    if (rc == SHM_OBJECT_NONE)
        return err_set(BUS_ERR_PARTITION_OFFLINE, "the shared memory object %s is gone", name);
    if (rc < 0)
        return rc;
    *fd = rc;
    return 0;
}

/* Whether the file has all the bytes that writers were promised; one of them may have cut it. */
static int
check_length(struct log *log, const struct segment *segment, int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return err_sys(errno, "look at a segment");
    bool written = segment->seq >= 0 && segment->next_offset < 0;
    return written && status.st_size < segment->reserved
               ? log_damage(log, "the file of a segment was cut off")
               : 0;
}

/* Opens one segment for a client. Writers get write access to the segments of this generation. */
static int
open_segment(
    struct log *log, struct segment *segment, enum log_access access, struct log_segment *out)
{
    *out = (struct log_segment){.fd = -1,
        .seq = segment->seq,
        .base_offset = segment->base_offset,
        .next_offset = segment->next_offset,
        .capacity = segment->capacity > 0 ? segment->capacity : 1,
        .writable = access == LOG_ACCESS_WRITE && segment->seq >= 0};
    int rc = 0;
    if (segment->next_offset >= 0)
        rc = segment_end(log, segment, &out->end);
    char *path = segment_path(log, segment);
    if (rc == 0 && !path)
        rc = err_no_memory();
    if (rc == 0) {
        out->fd = open(path, (out->writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
        rc = out->fd < 0 ? err_sys(errno, "open %s", path) : check_length(log, segment, out->fd);
    }
    free(path);
    if (rc < 0)
        close_fd(&out->fd);
    return rc;
}

static int
attach_segment(struct log *log, struct segment *segment, enum log_access access,
    struct log_attachment *attachment)
{
    struct log_segment *out = &attachment->segments[attachment->segment_count];
    int rc = open_segment(log, segment, access, out);
    if (rc == 0)
        attachment->segment_count++;
    return rc;
}

static int
attach_locked(struct log *log, enum log_access access, struct log_attachment *attachment)
{
    struct shm_tail tail;
    bool writes = access == LOG_ACCESS_WRITE;
    int rc = log_tail(log, &tail);
    if (rc < 0)
        return rc;
    attachment->generation = log->number;
    rc = open_object(log, "ctl", writes, &attachment->control);
    if (rc < 0)
        /* Somebody removed the name under us: clients could never meet on it again. */
        return rc == -BUS_ERR_PARTITION_OFFLINE ? log_damage(log, err_text()) : rc;
    rc = open_object(log, "bell", true, &attachment->bell);
    if (rc == 0 && writes)
        rc = open_writers(log, &attachment->writers);
    if (rc == 0)
        rc = attach_segment(log, segments_active(log), access, attachment);
    if (rc == 0 && writes && log->spare)
        rc = attach_segment(log, log->spare, access, attachment);
    if (rc == 0 && writes && !log->direct_writers) {
        log->direct_writers = log->writers_seen = true;
        log_kick(log);
    }
    return rc;
}

int
log_attach(struct log *log, enum log_access access, struct log_attachment *attachment)
{
    *attachment = (struct log_attachment){.control = -1, .bell = -1, .writers = -1};
    pthread_mutex_lock(&log->mutex);
    int rc = attach_locked(log, access, attachment);
    pthread_mutex_unlock(&log->mutex);
    if (rc < 0) {
        log_attachment_close(attachment);
        err_prefix(rc, "attach to %s-%" PRId32, log->topic, log->options.partition);
    }
    return rc;
}

static int
find_by_seq(struct log *log, const struct log_segment_wanted *wanted, struct segment **segment)
{
    if (wanted->generation != log->number)
        return err_set(BUS_ERR_NOT_LEADER_OR_FOLLOWER,
            "%s-%" PRId32 ": generation %" PRIu32 " is over, attach again", log->topic,
            log->options.partition, wanted->generation);
    *segment = NULL;
    if (log->spare && log->spare->seq == wanted->seq)
        *segment = log->spare;
    for (size_t i = 0; i < log->count; i++)
        if (log->segments[i]->seq == wanted->seq)
            *segment = log->segments[i];
    if (!*segment)
        return err_set(BUS_ERR_RESOURCE_NOT_FOUND, "%s-%" PRId32 ": there is no segment %" PRId64,
            log->topic, log->options.partition, wanted->seq);
    return 0;
}

/* Where the batch of an offset begins. Clients walk on from there, so it must lie behind whatever
 * is destroyed before it; where the batch itself is, they are told how far that reaches. */
static int
place_in(struct log *log, struct segment *segment, int64_t offset, int64_t *position)
{
    struct walk walk;
    int rc = log_locate(log, segment, offset, &walk);
    *position = rc == WALK_BATCH ? walk.batch_position : walk.position;
    walk_fini(&walk);
    return rc < 0 ? rc : 0;
}

static int
segment_locked(
    struct log *log, const struct log_segment_wanted *wanted, struct log_segment *segment)
{
    struct shm_tail tail;
    struct segment *found;
    int rc = log_tail(log, &tail);
    if (rc == 0 && wanted->seq < 0 && wanted->generation != 0 && wanted->generation != log->number)
        rc = find_by_seq(log, wanted, &found);
    if (rc == 0 && wanted->seq < 0)
        rc = log_check_range(log, &tail, wanted->offset);
    else if (rc == 0)
        rc = find_by_seq(log, wanted, &found);
    if (rc < 0)
        return rc;
    if (wanted->seq < 0)
        found = log->segments[segments_find(log, wanted->offset)];
    if (wanted->seq < 0)
        rc = place_in(log, found, wanted->offset, &segment->position);
    int64_t position = segment->position;
    if (rc == 0)
        rc = open_segment(log, found, wanted->access, segment);
    segment->position = position;
    return rc;
}

int
log_segment(struct log *log, const struct log_segment_wanted *wanted, struct log_segment *segment)
{
    *segment = (struct log_segment){.fd = -1};
    pthread_mutex_lock(&log->mutex);
    int rc = segment_locked(log, wanted, segment);
    pthread_mutex_unlock(&log->mutex);
    return rc;
}
