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

/* A place to start at. */
struct start {
    int64_t position;
    int64_t expected; /* base offset of the batch there, -1 not known */
    int64_t next;     /* the offset behind that batch, -1 not known */
};

static bool
find_hint(const struct log *log, const struct segment *segment, int64_t offset, struct start *start)
{
    for (int i = 0; i < HINTS; i++)
        if (log->hints[i].base_offset == segment->base_offset && log->hints[i].offset == offset) {
            *start =
                (struct start){.position = log->hints[i].position, .expected = offset, .next = -1};
            return true;
        }
    return false;
}

/* From a hint or from the index; the beginning in the worst case. An index that cannot be read is
 * begun anew. */
static int
find_start(struct log *log, struct segment *segment, int64_t offset, struct start *start)
{
    if (find_hint(log, segment, offset, start))
        return 0;
    *start = (struct start){.expected = segment->base_offset, .next = -1};
    /* The index only saves time: without it the walk begins at the start of the segment. */
    if (segment_index(log, segment) < 0)
        return 0;
    struct index_files files = segment_index_files(log, segment);
    struct index_entry entry;
    if (index_find_offset(&segment->index, &files, offset, &entry) < 0) {
        index_reset(&segment->index);
        entry.offset = -1;
    }
    if (entry.offset >= 0)
        *start =
            (struct start){.position = entry.position, .expected = -1, .next = entry.offset + 1};
    return 0;
}

static int
damaged(struct log *log, const struct segment *segment, int64_t from, int64_t to)
{
    return err_set(BUS_ERR_CORRUPT_MESSAGE,
        "%s-%" PRId32 ": offsets %" PRId64 " to %" PRId64
        " are damaged on disk (segment %020" PRId64 ".log): seek to %" PRId64 " to go on",
        log->topic, log->options.partition, from, to - 1, segment->base_offset, to);
}

int
log_skip(struct log *log, const struct segment *segment, struct walk *walk, int64_t *from)
{
    struct walk_range range = {
        .least = segment->base_offset, .end_offset = segment_end_offset(log, segment)};
    return walk_skip(walk, &range, from);
}

int
log_verified(struct segment *segment, struct walk *walk)
{
    int64_t from = walk->batch_position, to = walk->position;
    if (from >= segment->verified_from && to <= segment->verified_to)
        return 1;
    int rc = walk_crc_ok(walk);
    if (rc != 1)
        return rc == -BUS_ERR_CORRUPT_MESSAGE ? 0 : rc;
    if (from != segment->verified_to)
        segment->verified_from = from;
    segment->verified_to = to;
    return 1;
}

/* One step towards the offset, over damage if there is some; an error when the offset lies in it. A
 * batch that seems to hold the offset is looked at completely: its own offsets may be what is
 * wrong. */
static int
step(struct log *log, struct segment *segment, int64_t offset, struct walk *walk)
{
    int64_t from;
    int rc = walk_next(walk);
    bool sound = rc == WALK_BATCH || (rc == WALK_END && walk->position >= walk->end);
    if (rc == WALK_BATCH && batch_next_offset(&walk->batch) > offset) {
        rc = log_verified(segment, walk);
        sound = rc == 1;
    }
    if (sound || (rc < 0 && rc != -BUS_ERR_CORRUPT_MESSAGE))
        return rc;
    rc = log_skip(log, segment, walk, &from);
    if (rc < 0)
        return rc;
    if (rc == WALK_END)
        return damaged(log, segment, from, segment_end_offset(log, segment));
    if (walk->batch.base_offset > offset)
        return damaged(log, segment, from, walk->batch.base_offset);
    return WALK_BATCH;
}

/* Starts at a place, if what is there is what the index says; a wrong index is begun anew. */
static void
begin(struct segment *segment, const struct start *start, struct walk *walk)
{
    walk_seek(walk, start->position, start->expected);
    if (start->next < 0)
        return;
    bool fits = walk_next(walk) == WALK_BATCH && batch_next_offset(&walk->batch) == start->next;
    walk_seek(walk, start->position, fits ? walk->batch.base_offset : -1);
    if (fits)
        return;
    index_reset(&segment->index);
    walk_seek(walk, 0, segment->base_offset);
}

int
log_locate(struct log *log, struct segment *segment, int64_t offset, struct walk *walk)
{
    *walk = (struct walk){0};
    struct start start = {.next = -1};
    int64_t end;
    struct log_file *file;
    int rc = segment_end(log, segment, &end);
    if (rc == 0)
        rc = find_start(log, segment, offset, &start);
    if (rc == 0)
        rc = segment_file(log, segment, &file);
    if (rc == 0)
        rc = walk_init(walk, file->fd, 0, end);
    if (rc < 0)
        return rc;
    walk->holes = log_holes(log);
    begin(segment, &start, walk);
    do
        rc = step(log, segment, offset, walk);
    while (rc == WALK_BATCH && batch_next_offset(&walk->batch) <= offset);
    return rc;
}
