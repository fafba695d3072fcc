/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/append.h"

#include "base/clock.h"
#include "base/err.h"
#include "record/batch.h"
#include "shm/lock.h"
#include "shm/wait.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

enum {
    WRITE_BYTES_MIN = 32 * 1024,             /* a batch from here on goes in by a system call */
    POPULATE_STEP_BYTES = 256 * 1024,        /* pages brought in at once, outside the lock */
    RESERVE_WANTED_BYTES = 32 * 1024 * 1024, /* below this much room busd is kicked */
};

/* Internal outcome: the active segment is not mapped; open it without the lock and come again. */
enum { NEED_SEGMENT = 100 };

/* Where the next batch goes. Valid while the lock is held. */
struct place {
    struct shm_slot *slot;
    struct shm_segment *segment;
    uint64_t published;
    int64_t seq;
    int64_t base_offset; /* of the batch to come */
    uint32_t position;
    uint32_t limit;
};

static int
damaged(void)
{
    return err_set(BUS_ERR_CORRUPT_MESSAGE, "the control page is damaged");
}

static int
missing(void)
{
    return err_set(BUS_ERR_CORRUPT_MESSAGE,
        "a page of the segment is missing: its file was cut off, or the disk failed");
}

static int
check_state(const struct shm_control *control)
{
    /* Acquire: pairs with the store in shm_fence(). */
    switch (atomic_load_explicit(&control->state, memory_order_acquire)) {
    case SHM_STATE_OPEN:
        return 0;
    case SHM_STATE_FENCED:
        return APPEND_FENCED;
    case SHM_STATE_OFFLINE:
        return err_set(BUS_ERR_PARTITION_OFFLINE,
            "the partition is offline: a flush failed or its data is damaged; see busd's log");
    case SHM_STATE_DELETED:
        return err_set(BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION, "the topic was deleted");
    default:
        return damaged();
    }
}

/* A page that is no longer valid must not judge a batch. */
static int
check_size(const struct shm_control *control, const struct append_batch *batch)
{
    uint32_t max = atomic_load_explicit(&control->max_message_bytes, memory_order_relaxed);
    uint32_t segment = atomic_load_explicit(&control->segment_bytes, memory_order_relaxed);
    if (batch->size_bytes <= max && batch->size_bytes <= segment)
        return 0;
    int rc = check_state(control);
    if (rc != 0)
        return rc;
    if (batch->size_bytes > max)
        return err_set(BUS_ERR_MESSAGE_TOO_LARGE,
            "the batch has %zu bytes, max.message.bytes of the topic is %u", batch->size_bytes,
            max);
    return err_set(BUS_ERR_RECORD_LIST_TOO_LARGE,
        "the batch has %zu bytes, segment.bytes of the topic is %u", batch->size_bytes, segment);
}

static void
kick(struct shm_partition *view)
{
    /* Release: pairs with busd's exchange in its service; it reads the tail after the flag. */
    atomic_store_explicit(&view->control->reserve_wanted, 1, memory_order_release);
    if (view->source.kick)
        view->source.kick(view->source.context);
}

static int
no_room(struct shm_partition *view)
{
    kick(view);
    return APPEND_NO_ROOM;
}

/* Makes the spare the active segment. Redone by the next owner if this one dies in between. */
static int
advance(struct shm_partition *view, const struct shm_tail *sealed)
{
    struct shm_control *control = view->control;
    struct shm_tail spare;
    if (!shm_slot_read(control, sealed->seq + 1, &spare))
        return no_room(view);
    struct shm_slot *slot = &control->slots[(uint64_t)(sealed->seq + 1) % SHM_SLOTS];
    atomic_store_explicit(&slot->base_offset, sealed->end_offset, memory_order_relaxed);
    /* Release: pairs with the acquire loads of active_seq in partition.c and cursor.c. */
    atomic_store_explicit(&control->active_seq, sealed->seq + 1, memory_order_release);
    kick(view);
    return 0;
}

/* Seals the active segment, if there is a spare to go on with. */
static int
seal(struct shm_partition *view, const struct shm_tail *tail)
{
    struct shm_slot *slot = &view->control->slots[(uint64_t)tail->seq % SHM_SLOTS];
    if (!tail->has_spare)
        return no_room(view);
    uint64_t seen = SHM_PUBLISHED(tail->position, (uint32_t)(tail->end_offset - tail->base_offset));
    /* Release: as for a publish. A failure means that shm_fence() was faster, or damage. Acquire:
     * the state that it set before the seal is seen by the next look. */
    if (!atomic_compare_exchange_strong_explicit(&slot->published, &seen, seen | SHM_SEALED,
            memory_order_acq_rel, memory_order_acquire) &&
        !(seen & SHM_SEALED))
        return damaged();
    return 0;
}

static bool
must_roll(const struct shm_control *control, const struct shm_tail *tail, size_t bytes)
{
    uint32_t segment = atomic_load_explicit(&control->segment_bytes, memory_order_relaxed);
    return tail->position > 0 && (tail->position + (uint64_t)bytes > segment ||
                                     tail->end_offset - tail->base_offset > INT32_MAX / 2);
}

/* Finds room under the lock, rolling on the way. Each turn moves one step: seal, advance, done. */
static int
find_room(struct shm_partition *view, size_t bytes, bool roll_only, struct place *place)
{
    struct shm_control *control = view->control;
    struct shm_tail tail;
    for (int turn = 0; turn < 2 * SHM_SLOTS; turn++) {
        int rc = check_state(control);
        if (rc == 0)
            rc = shm_partition_tail(view, &tail);
        if (rc != 0)
            return rc;
        bool roll = roll_only ? turn == 0 && tail.position > 0 : must_roll(control, &tail, bytes);
        if (tail.sealed) {
            if ((rc = advance(view, &tail)) != 0)
                return rc;
        } else if (roll) {
            if ((rc = seal(view, &tail)) != 0)
                return rc;
        } else {
            break;
        }
    }
    if (roll_only)
        return 0;
    if (tail.sealed)
        return damaged();
    if (tail.position + (uint64_t)bytes > tail.limit)
        return no_room(view);
    struct shm_segment *segment = view->segments[(uint64_t)tail.seq % SHM_SLOTS];
    if (!segment || segment->seq != tail.seq) {
        place->seq = tail.seq;
        return NEED_SEGMENT;
    }
    if (segment->damaged)
        return missing();
    if (tail.position + (uint64_t)bytes > segment->capacity)
        return damaged();
    *place = (struct place){.slot = &control->slots[(uint64_t)tail.seq % SHM_SLOTS],
        .segment = segment,
        .published = SHM_PUBLISHED(tail.position, (uint32_t)(tail.end_offset - tail.base_offset)),
        .seq = tail.seq,
        .base_offset = tail.end_offset,
        .position = tail.position,
        .limit = tail.limit};
    return 0;
}

/* The common case under the lock: the active segment is open, mapped and has room. Every word is
 * read once; whatever is unusual about them is left to find_room(). */
static bool
find_room_quickly(struct shm_partition *view, size_t bytes, struct place *place)
{
    struct shm_control *control = view->control;
    /* Relaxed: the lock's acquire orders these after the last owner's stores. */
    int64_t seq = atomic_load_explicit(&control->active_seq, memory_order_relaxed);
    struct shm_slot *slot = &control->slots[(uint64_t)seq % SHM_SLOTS];
    struct shm_segment *segment = view->segments[(uint64_t)seq % SHM_SLOTS];
    uint64_t published = atomic_load_explicit(&slot->published, memory_order_relaxed);
    uint32_t position = SHM_PUBLISHED_POSITION(published);
    uint32_t limit = atomic_load_explicit(&slot->limit, memory_order_relaxed);
    int64_t base = atomic_load_explicit(&slot->base_offset, memory_order_relaxed);
    uint32_t count = SHM_PUBLISHED_COUNT(published);
    size_t end = position + bytes;
    if (!segment || segment->seq != seq || segment->damaged || view->damaged ||
        atomic_load_explicit(&slot->seq, memory_order_relaxed) != seq || (published & SHM_SEALED) ||
        base < 0 || base > INT64_MAX - UINT32_MAX || count > INT32_MAX / 2 || end > limit ||
        end > segment->capacity ||
        end > atomic_load_explicit(&control->segment_bytes, memory_order_relaxed) ||
        atomic_load_explicit(&control->state, memory_order_relaxed) != SHM_STATE_OPEN)
        return false;
    *place = (struct place){.slot = slot,
        .segment = segment,
        .published = published,
        .seq = seq,
        .base_offset = base + count,
        .position = position,
        .limit = limit};
    return true;
}

/* Takes the lock and finds room. On 0 the lock is held; on anything else it is not. */
static int
enter(struct shm_partition *view, size_t bytes, bool roll_only, int64_t deadline_ns,
    struct place *place)
{
    /* More turns than there are segments to map: somebody plays with the control page. */
    for (int turn = 0; turn < SHM_SLOTS; turn++) {
        enum shm_lock_outcome lock = shm_lock(&view->control->append_lock, deadline_ns);
        if (lock == SHM_LOCK_TIMED_OUT)
            return APPEND_BUSY;
        if (lock == SHM_LOCK_NESTED)
            return err_set(BUS_ERR_WRONG_STATE,
                "this thread has a loan open: commit or abort it before the next append");
        /* A dead owner published nothing, or had published: in both cases nothing is half done but
         * a roll, which find_room() finishes. */
        if (!roll_only && find_room_quickly(view, bytes, place))
            return 0;
        int rc = find_room(view, bytes, roll_only, place);
        if (rc == 0)
            return 0;
        shm_unlock(&view->control->append_lock);
        if (rc != NEED_SEGMENT)
            return rc;
        struct shm_segment *segment;
        rc = shm_partition_segment(view, place->seq, &segment);
        if (rc < 0)
            return rc;
    }
    return damaged();
}

/* Moves the published end over the new batch. Seq_cst: the release makes the bytes visible to the
 * acquire in shm_slot_read(), and the total order with wait.c's flag makes sure that either we see
 * the sleeper or the sleeper sees the batch. */
static int
publish(const struct shm_partition *view, const struct place *place, size_t bytes, uint32_t offsets)
{
    /* Where a page was missing the guard put one of our own, and the batch is nowhere else. */
    if (place->segment->damaged)
        return missing();
    uint64_t seen = place->published;
    uint64_t next = SHM_PUBLISHED(
        place->position + (uint32_t)bytes, SHM_PUBLISHED_COUNT(place->published) + offsets);
    if (atomic_compare_exchange_strong_explicit(
            &place->slot->published, &seen, next, memory_order_seq_cst, memory_order_relaxed))
        return view->damaged ? damaged() : 0;
    return seen & SHM_SEALED ? APPEND_FENCED : damaged();
}

/* Maps the spare while busd is there to give it, so that a roll works when busd is away. */
static void
map_spare(struct shm_partition *view, int64_t seq)
{
    struct shm_tail spare;
    struct shm_segment *segment;
    if (shm_slot_read(view->control, seq, &spare))
        (void)shm_partition_segment(view, seq, &segment);
}

/* Outside the lock: pages for those who append next. */
static void
bring_in(struct shm_partition *view, const struct place *place, size_t bytes)
{
    size_t end = place->position + bytes;
    if (end + POPULATE_STEP_BYTES <= place->segment->populated ||
        place->segment->populated >= place->limit)
        return;
    shm_segment_populate(
        place->segment, place->position, end + 2 * POPULATE_STEP_BYTES, place->limit);
    map_spare(view, place->seq + 1);
}

/* Outside the lock: room before it is needed. */
static void
look_ahead(struct shm_partition *view, const struct place *place, size_t bytes)
{
    size_t end = place->position + bytes;
    uint32_t segment = atomic_load_explicit(&view->control->segment_bytes, memory_order_relaxed);
    if (place->limit - end < RESERVE_WANTED_BYTES && place->limit < segment &&
        atomic_load_explicit(&view->control->reserve_wanted, memory_order_relaxed) == 0)
        kick(view);
}

/* A store into a mapped page needs a fault for each new page and one after each flush, and makes
 * the kernel write all of a large folio; pwrite() needs neither and makes it write the blocks that
 * changed. So a batch that will be flushed, and one that is worth a system call, goes that way. */
static bool
goes_by_write(
    const struct shm_control *control, const struct append_batch *batch, const struct place *place)
{
    const uint32_t mask = SHM_FLAG_FLUSH_ON_ACK | SHM_FLAG_MEMORY;
    uint32_t flags = atomic_load_explicit(&control->flags, memory_order_relaxed);
    return place->segment->by_write &&
           (batch->size_bytes >= WRITE_BYTES_MIN ||
               (batch->flush && (flags & mask) == SHM_FLAG_FLUSH_ON_ACK));
}

/* Sets in the header at `head`, whose batch goes on at `rest`, what the log assigns. */
static void
assign(const struct shm_control *control, const struct append_batch *batch, uint8_t *head,
    const uint8_t *rest, struct append_result *result)
{
    batch_patch(head, result->base_offset,
        atomic_load_explicit(&control->leader_epoch, memory_order_relaxed));
    if (!(atomic_load_explicit(&control->flags, memory_order_relaxed) & SHM_FLAG_LOG_APPEND_TIME))
        return;
    result->log_append_time_ms = clock_wall_ms();
    batch_stamp_log_append_parts(
        head, rest, batch->size_bytes - BATCH_HEADER_BYTES, result->log_append_time_ms);
}

static int
copy_batch(const struct shm_control *control, const struct append_batch *batch,
    const struct place *place, struct append_result *result)
{
    uint8_t *bytes = place->segment->bytes + place->position;
    memcpy(bytes, batch->bytes, batch->size_bytes);
    assign(control, batch, bytes, bytes + BATCH_HEADER_BYTES, result);
    return 0;
}

/* Room was reserved, so that a short write is a failure of the disk or of a limit. */
static int
write_batch(const struct shm_control *control, const struct append_batch *batch,
    const struct place *place, struct append_result *result)
{
    uint8_t head[BATCH_HEADER_BYTES];
    uint8_t *rest = (uint8_t *)(uintptr_t)batch->bytes + sizeof head; /* iovec knows no const */
    memcpy(head, batch->bytes, sizeof head);
    assign(control, batch, head, rest, result);
    struct iovec parts[] = {{head, sizeof head}, {rest, batch->size_bytes - sizeof head}};
    errno = ENOSPC;
    if (pwritev(place->segment->fd, parts, 2, place->position) != (ssize_t)batch->size_bytes)
        return err_sys(errno, "write %zu bytes into a segment", batch->size_bytes);
    return 0;
}

int
shm_append(struct shm_partition *view, const struct append_batch *batch, int64_t deadline_ns,
    struct append_result *result)
{
    struct shm_control *control = view->control;
    struct place place;
    int rc = check_size(control, batch);
    if (rc == 0)
        rc = enter(view, batch->size_bytes, false, deadline_ns, &place);
    if (rc != 0)
        return rc;
    *result = (struct append_result){.base_offset = place.base_offset, .log_append_time_ms = -1};
    bool write = goes_by_write(control, batch, &place);
    rc = write ? write_batch(control, batch, &place, result)
               : copy_batch(control, batch, &place, result);
    if (rc == 0)
        rc = publish(view, &place, batch->size_bytes, batch->offsets);
    shm_unlock(&control->append_lock);
    if (rc != 0)
        return rc;
    shm_wake(view);
    if (!write)
        bring_in(view, &place, batch->size_bytes);
    look_ahead(view, &place, batch->size_bytes);
    return APPEND_DONE;
}

int
shm_loan_begin(
    struct shm_partition *view, size_t size_bytes, int64_t deadline_ns, struct append_loan *loan)
{
    struct shm_control *control = view->control;
    struct place place;
    int rc = check_size(control, &(struct append_batch){.size_bytes = size_bytes});
    if (rc == 0)
        rc = enter(view, size_bytes, false, deadline_ns, &place);
    if (rc != 0)
        return rc;
    *loan = (struct append_loan){
        .bytes = place.segment->bytes + place.position,
        .size_bytes = size_bytes,
        .base_offset = place.base_offset,
        .leader_epoch = atomic_load_explicit(&control->leader_epoch, memory_order_relaxed),
        .log_append_time = (atomic_load_explicit(&control->flags, memory_order_relaxed) &
                               SHM_FLAG_LOG_APPEND_TIME) != 0,
        .seq = place.seq,
        .published = place.published,
    };
    return APPEND_DONE;
}

int
shm_loan_commit(struct shm_partition *view, struct append_loan *loan, uint32_t offsets)
{
    struct place place = {
        .slot = &view->control->slots[(uint64_t)loan->seq % SHM_SLOTS],
        .segment = view->segments[(uint64_t)loan->seq % SHM_SLOTS],
        .published = loan->published,
        .seq = loan->seq,
        .base_offset = loan->base_offset,
        .position = SHM_PUBLISHED_POSITION(loan->published),
    };
    place.limit = atomic_load_explicit(&place.slot->limit, memory_order_relaxed);
    int rc = publish(view, &place, loan->size_bytes, offsets);
    shm_unlock(&view->control->append_lock);
    if (rc == APPEND_FENCED)
        return err_set(BUS_ERR_EVICTED,
            "the loan was held longer than append.lock.timeout.ms and was taken away");
    if (rc != 0)
        return rc;
    shm_wake(view);
    bring_in(view, &place, loan->size_bytes);
    look_ahead(view, &place, loan->size_bytes);
    return 0;
}

void
shm_loan_abort(struct shm_partition *view, struct append_loan *loan)
{
    loan->bytes = NULL;
    shm_unlock(&view->control->append_lock);
}

int
shm_roll(struct shm_partition *view, int64_t deadline_ns)
{
    struct place place;
    int rc = enter(view, 0, true, deadline_ns, &place);
    if (rc == 0)
        shm_unlock(&view->control->append_lock);
    return rc;
}

void
shm_fence(struct shm_partition *view, enum shm_state state)
{
    struct shm_control *control = view->control;
    /* Before the seals, so that whoever meets one finds out why. Seq_cst: pairs with the look in
     * shm_slot_prepare(), and is the release for the acquire loads of `state`. */
    atomic_store_explicit(&control->state, (uint32_t)state, memory_order_seq_cst);
    /* Seq_cst: after this no compare-and-swap of publish() can succeed in any slot. */
    for (int i = 0; i < SHM_SLOTS; i++)
        atomic_fetch_or_explicit(&control->slots[i].published, SHM_SEALED, memory_order_seq_cst);
    wait_word_wake(&control->wake_seq);
    wait_word_wake(&control->durable_seq);
}
