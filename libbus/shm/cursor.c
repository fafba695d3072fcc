/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/cursor.h"

#include "base/err.h"

enum {
    POPULATE_STEP_BYTES = 256 * 1024,
    REFRESHES_MAX = 64, /* more than the segments that a reader can cross in one call */
    LINE_BYTES = 64,    /* of the cache */
    LINES_AHEAD = 3,    /* a batch of one short record */
};

/* Internal outcome of the steps below: go round again. */
enum { AGAIN = 100 };

void
cursor_init(struct cursor *cursor, struct shm_partition *view, int64_t offset,
    enum cursor_isolation isolation)
{
    *cursor = (struct cursor){.view = view, .offset = offset, .isolation = isolation};
}

void
cursor_fini(struct cursor *cursor)
{
    shm_segment_unref(&cursor->segment);
}

void
cursor_seek(struct cursor *cursor, int64_t offset)
{
    shm_segment_unref(&cursor->segment);
    cursor->offset = offset;
    cursor->position = cursor->end = 0;
    cursor->end_offset = cursor->needed = 0;
}

/* The offset that readers of this isolation stop at. */
static int64_t
visible_end(const struct cursor *cursor)
{
    const struct shm_control *control = cursor->view->control;
    int64_t end = INT64_MAX;
    uint32_t flags = atomic_load_explicit(&control->flags, memory_order_relaxed);
    if (flags & SHM_FLAG_REPLICATED)
        /* Acquire: pairs with the leader's release when the followers have the batch. */
        end = atomic_load_explicit(&control->high_watermark, memory_order_acquire);
    if (cursor->isolation == CURSOR_DURABLE && !(flags & SHM_FLAG_MEMORY)) {
        /* Acquire: pairs with flush.c's raise_durable(). */
        int64_t durable = atomic_load_explicit(&control->durable_offset, memory_order_acquire);
        if (durable < end)
            end = durable;
    }
    return end;
}

static int
out_of_range(const struct cursor *cursor, int64_t start, int64_t end)
{
    return err_set(BUS_ERR_OFFSET_OUT_OF_RANGE, "offset %lld is outside the log, %lld to %lld",
        (long long)cursor->offset, (long long)start, (long long)end);
}

/* Finds the segment of the offset: the active one without asking anybody when it can. */
static int
locate(struct cursor *cursor)
{
    struct shm_partition *view = cursor->view;
    struct shm_tail tail;
    if (shm_partition_tail(view, &tail) < 0)
        return CURSOR_FENCED;
    int64_t start = atomic_load_explicit(&view->control->log_start_offset, memory_order_relaxed);
    if (cursor->offset < start || cursor->offset > tail.end_offset)
        return out_of_range(cursor, start, tail.end_offset);
    struct shm_segment *segment;
    uint32_t position = 0;
    int rc = 0;
    bool at_end = cursor->offset == tail.end_offset;
    if (at_end || cursor->offset == tail.base_offset) {
        rc = shm_partition_segment(view, tail.seq, &segment);
        if (rc == 0)
            shm_segment_ref(segment);
        position = at_end ? tail.position : 0;
    } else {
        rc = view->source.open(view->source.context, -1, cursor->offset, &segment, &position);
    }
    if (rc < 0)
        return rc;
    cursor->segment = segment;
    cursor->position = cursor->end = position;
    return AGAIN;
}

/* Behind the end of a segment: on to the next. */
static int
move_on(struct cursor *cursor, int64_t next_offset)
{
    int64_t seq = cursor->segment->seq;
    shm_segment_unref(&cursor->segment);
    if (next_offset > cursor->offset)
        cursor->offset = next_offset;
    cursor->position = cursor->end = 0;
    struct shm_tail next;
    if (seq < 0 || !shm_slot_read(cursor->view->control, seq + 1, &next) ||
        next.base_offset != next_offset)
        return AGAIN;
    struct shm_segment *segment;
    int rc = shm_partition_segment(cursor->view, seq + 1, &segment);
    if (rc < 0)
        return rc;
    cursor->segment = shm_segment_ref(segment);
    return AGAIN;
}

static bool
is_over(const struct cursor *cursor)
{
    /* Acquire: pairs with the store in shm_fence(). A page that was scribbled on, or cut off and so
     * zeroed, has a state that there is not. */
    uint32_t state = atomic_load_explicit(&cursor->view->control->state, memory_order_acquire);
    return state != SHM_STATE_OPEN && state != SHM_STATE_OFFLINE;
}

/* An end without a successor: more may come, or the generation is over, or a roll is half done. */
static int
end_of_generation(const struct cursor *cursor)
{
    if (!is_over(cursor))
        return CURSOR_EMPTY;
    if (atomic_load_explicit(&cursor->view->control->state, memory_order_relaxed) ==
        SHM_STATE_DELETED)
        return err_set(BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION, "the topic was deleted");
    return CURSOR_FENCED;
}

/* Whatever was just published is in the cache of another processor. Its lines are asked for
 * together: reading them as they are needed would be one way there and back behind the other. */
static void
prefetch(const struct shm_segment *segment, uint32_t position)
{
    for (uint32_t line = 0; line < LINES_AHEAD; line++)
        __builtin_prefetch(segment->bytes + position + line * LINE_BYTES);
}

/* Everything known was read: looks at the shared words for more. */
static int
refresh(struct cursor *cursor)
{
    struct shm_segment *segment = cursor->segment;
    if (!segment)
        return locate(cursor);
    if (segment->next_offset >= 0) {
        if (cursor->position >= segment->end)
            return move_on(cursor, segment->next_offset);
        cursor->end = (uint32_t)segment->end;
        cursor->end_offset = segment->next_offset;
        return AGAIN;
    }
    struct shm_tail tail;
    if (!shm_slot_read(cursor->view->control, segment->seq, &tail)) {
        /* Its slot went to a newer segment: it is closed, and busd knows where it ends. */
        shm_segment_unref(&cursor->segment);
        return AGAIN;
    }
    if (tail.position > segment->capacity || tail.position > tail.limit || tail.base_offset < 0 ||
        tail.position < cursor->position)
        return CURSOR_FENCED;
    if (tail.position > cursor->position) {
        prefetch(segment, cursor->position);
        cursor->end = tail.position;
        cursor->end_offset = tail.end_offset;
        return AGAIN;
    }
    if (!tail.sealed)
        return end_of_generation(cursor);
    /* Acquire: pairs with append.c's advance(). */
    if (atomic_load_explicit(&cursor->view->control->active_seq, memory_order_acquire) >
        segment->seq)
        return move_on(cursor, tail.end_offset);
    return end_of_generation(cursor);
}

static int
damage(struct cursor *cursor, const char *what)
{
    return err_set(BUS_ERR_CORRUPT_MESSAGE,
        "damaged data at offset %lld (position %u of the segment): %s; seek behind it to go on",
        (long long)cursor->offset, cursor->position, what);
}

static bool
is_compacted(const struct cursor *cursor)
{
    const struct shm_control *control = cursor->view->control;
    uint32_t flags = atomic_load_explicit(&control->flags, memory_order_relaxed);
    return (flags & (SHM_FLAG_COMPACTED | SHM_FLAG_HOLES)) != 0;
}

/* The batch at the position, if it is whole, plausible and visible. */
static int
parse(struct cursor *cursor, const uint8_t **bytes, struct batch_header *header)
{
    struct shm_segment *segment = cursor->segment;
    /* The next segment takes over, whatever an evicted writer may have left behind the end. */
    if (segment->next_offset >= 0 && cursor->offset >= segment->next_offset)
        return move_on(cursor, segment->next_offset);
    if (cursor->end > segment->populated)
        shm_segment_populate(
            segment, cursor->position, cursor->position + 2 * POPULATE_STEP_BYTES, cursor->end);
    const uint8_t *start = segment->bytes + cursor->position;
    int rc = batch_header_read(start, cursor->end - cursor->position, header);
    if (segment->damaged)
        return damage(cursor, "a page of the file is missing");
    if (rc != BATCH_OK)
        return damage(cursor, rc < 0 ? err_text() : "the batch is cut off");
    /* No checksum covers the base offset. Only compaction leaves holes between batches. */
    int64_t next = batch_next_offset(header);
    bool hole = header->base_offset > cursor->offset && !is_compacted(cursor);
    if (next > cursor->end_offset || segment->base_offset > header->base_offset || hole)
        return damage(cursor, "its offset does not belong here");
    cursor->needed = next;
    if (next > cursor->offset && next > visible_end(cursor))
        return CURSOR_EMPTY;
    cursor->position += (uint32_t)batch_bytes(header);
    if (next <= cursor->offset)
        return AGAIN;
    cursor->offset = next;
    *bytes = start;
    return CURSOR_BATCH;
}

int
cursor_next(struct cursor *cursor, const uint8_t **bytes, struct batch_header *header)
{
    /* Reading moves the position on with every turn. Looking for more may go round in circles only
     * when somebody plays with the control page. */
    for (int refreshes = 0; refreshes < REFRESHES_MAX;) {
        int rc;
        if (cursor->segment && cursor->position < cursor->end) {
            rc = parse(cursor, bytes, header);
        } else {
            rc = refresh(cursor);
            refreshes++;
        }
        if (rc != AGAIN)
            return rc;
    }
    return CURSOR_FENCED;
}

/* Whether the batch at the position may be given. */
static bool
is_visible(const struct cursor *cursor)
{
    int64_t end = visible_end(cursor);
    return end > cursor->offset && end >= cursor->needed;
}

bool
cursor_ready(const struct cursor *cursor)
{
    const struct shm_segment *segment = cursor->segment;
    if (!segment)
        return true;
    if (segment->next_offset >= 0)
        return cursor->position >= segment->end || is_visible(cursor);
    const struct shm_control *control = cursor->view->control;
    struct shm_tail tail;
    if (!shm_slot_read(control, segment->seq, &tail))
        return true;
    if (tail.position > cursor->position)
        return is_visible(cursor);
    if (is_over(cursor) || tail.position < cursor->position)
        return true;
    /* Acquire: pairs with advance(). */
    return tail.sealed &&
           atomic_load_explicit(&control->active_seq, memory_order_acquire) > segment->seq;
}
