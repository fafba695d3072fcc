/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "store/private.h"
#include "store/walk.h"

#include <inttypes.h>

void
log_hint(struct log *log, const struct segment *segment, int64_t offset, int64_t position)
{
    log->hints[log->next_hint++ % HINTS] =
        (struct hint){.base_offset = segment->base_offset, .offset = offset, .position = position};
}

void
log_hints_clear(struct log *log)
{
    for (int i = 0; i < HINTS; i++)
        log->hints[i].base_offset = -1;
}

/* A place to start at: from a hint or from the index; 0 in the worst case. An index that cannot be
 * read, or that does not fit the log, is begun anew. */
static int
find_start(struct log *log, struct segment *segment, int64_t offset, struct index_entry *start)
{
    *start = (struct index_entry){.offset = -1};
    for (int i = 0; i < HINTS; i++)
        if (log->hints[i].base_offset == segment->base_offset && log->hints[i].offset == offset) {
            start->position = log->hints[i].position;
            return 0;
        }
    int rc = segment_index(log, segment);
    if (rc < 0)
        return rc;
    struct index_files files = segment_index_files(log, segment);
    if (index_find_offset(&segment->index, &files, offset, start) < 0) {
        index_reset(&segment->index);
        *start = (struct index_entry){.offset = -1};
    }
    return 0;
}

static int
damaged(struct log *log, const struct segment *segment, int64_t from, int64_t to, int64_t position)
{
    return err_set(BUS_ERR_CORRUPT_MESSAGE,
        "%s-%" PRId32 ": offsets %" PRId64 " to %" PRId64
        " are damaged on disk (segment %020" PRId64 ".log, position %" PRId64 "): seek to %" PRId64
        " to go on",
        log->topic, log->options.partition, from, to - 1, segment->base_offset, position, to);
}

/* The header at the walk's position is destroyed: the next sound batch says where the log goes on.
 */
static int
skip_damage(struct log *log, struct segment *segment, int64_t offset, struct walk *walk)
{
    int64_t from = walk->batch.length > 0 ? batch_next_offset(&walk->batch) : segment->base_offset;
    int64_t end_offset = segment_end_offset(log, segment);
    int64_t position = walk->position;
    int rc = walk_resync(walk, from, end_offset);
    if (rc < 0)
        return rc;
    if (rc == WALK_END)
        return damaged(log, segment, from, end_offset, position);
    if (walk->batch.base_offset > offset)
        return damaged(log, segment, from, walk->batch.base_offset, position);
    return WALK_BATCH;
}

/* One step towards the offset. */
static int
step(struct log *log, struct segment *segment, int64_t offset, struct walk *walk)
{
    int rc = walk_next(walk);
    bool lost = rc == -BUS_ERR_CORRUPT_MESSAGE || (rc == WALK_END && walk->position < walk->end);
    if (rc == WALK_BATCH && walk->batch.base_offset < segment->base_offset)
        lost = true;
    return lost ? skip_damage(log, segment, offset, walk) : rc;
}

/* The first step, from an index entry: an entry that does not fit a sound batch is a wrong one. */
static int
first_step(struct log *log, struct segment *segment, const struct index_entry *start,
    int64_t offset, struct walk *walk)
{
    if (start->offset >= 0 && walk_next(walk) == WALK_BATCH &&
        batch_next_offset(&walk->batch) != start->offset + 1) {
        index_reset(&segment->index);
        walk_seek(walk, 0);
    } else {
        walk_seek(walk, start->position);
    }
    return step(log, segment, offset, walk);
}

int
log_locate(struct log *log, struct segment *segment, int64_t offset, struct walk *walk)
{
    *walk = (struct walk){0};
    struct index_entry start;
    int64_t end;
    struct log_file *file;
    int rc = segment_end(log, segment, &end);
    if (rc == 0)
        rc = find_start(log, segment, offset, &start);
    if (rc == 0)
        rc = segment_file(log, segment, &file);
    if (rc == 0)
        rc = walk_init(walk, file->fd, start.position, end);
    if (rc < 0)
        return rc;
    rc = first_step(log, segment, &start, offset, walk);
    while (rc == WALK_BATCH && batch_next_offset(&walk->batch) <= offset)
        rc = step(log, segment, offset, walk);
    return rc;
}
