/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/partition.h"

#include "base/check.h"
#include "base/err.h"
#include "shm/guard.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A control page that is too short is refused here; what is cut off later is the guard's business.
 * A bell may have been cut off by any reader, who must not keep others away: it is made whole. */
static int
page_check(int fd, bool is_bell, const char *what)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return err_sys(errno, "look at the %s page", what);
    if (status.st_size >= SHM_PAGE_BYTES)
        return 0;
    if (!is_bell)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "the %s page is cut off", what);
    return ftruncate(fd, SHM_PAGE_BYTES) < 0 ? err_sys(errno, "make the %s page whole", what) : 0;
}

/* Maps one page of `fd` under the guard. */
static int
page_map(int fd, bool writable, const char *what, _Atomic bool *damaged, void **page)
{
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *fresh = mmap(NULL, SHM_PAGE_BYTES, protection, MAP_SHARED, fd, 0);
    if (fresh == MAP_FAILED)
        return err_sys(errno, "map the %s page", what);
    int rc = guard_add(fresh, SHM_PAGE_BYTES, damaged);
    if (rc < 0) {
        munmap(fresh, SHM_PAGE_BYTES);
        return rc;
    }
    *page = fresh;
    return 0;
}

static void
page_unmap(void *page)
{
    if (!page)
        return;
    guard_remove(page);
    munmap(page, SHM_PAGE_BYTES);
}

int
shm_partition_init(struct shm_partition *view, struct shm_partition_fds fds, bool writable,
    const uint8_t *topic_id, int32_t partition, struct shm_source source)
{
    *view = (struct shm_partition){.writable = writable, .source = source};
    void *control = NULL, *bell = NULL;
    int rc = page_check(fds.control, false, "control");
    if (rc == 0)
        rc = page_map(fds.control, writable, "control", &view->damaged, &control);
    if (rc == 0)
        rc = page_check(fds.bell, true, "bell");
    if (rc == 0)
        rc = page_map(fds.bell, true, "bell", &view->deaf, &bell);
    close(fds.control);
    close(fds.bell);
    if (rc == 0)
        rc = shm_control_check(control, topic_id, partition);
    view->control = control;
    view->bell = bell;
    if (rc < 0)
        shm_partition_fini(view);
    return rc;
}

void
shm_partition_fini(struct shm_partition *view)
{
    for (int i = 0; i < SHM_SLOTS; i++)
        shm_segment_unref(&view->segments[i]);
    page_unmap(view->control);
    page_unmap(view->bell);
    view->control = NULL;
    view->bell = NULL;
}

/* The guard knows where `damaged` of each page is. */
static int
page_move(void *page, _Atomic bool *damaged)
{
    guard_remove(page);
    return guard_add(page, SHM_PAGE_BYTES, damaged);
}

int
shm_partition_move(struct shm_partition *to, struct shm_partition *from)
{
    int rc = page_move(from->control, &to->damaged);
    if (rc == 0)
        rc = page_move(from->bell, &to->deaf);
    if (rc < 0) {
        shm_partition_fini(from);
        return rc;
    }
    shm_partition_fini(to);
    *to = *from;
    *from = (struct shm_partition){0};
    return 0;
}

void
shm_partition_add(struct shm_partition *view, struct shm_segment *segment)
{
    MUST(segment->seq >= 0);
    struct shm_segment **place = &view->segments[segment->seq % SHM_SLOTS];
    shm_segment_unref(place);
    *place = segment;
}

int
shm_partition_segment(struct shm_partition *view, int64_t seq, struct shm_segment **segment)
{
    struct shm_segment *known = view->segments[(uint64_t)seq % SHM_SLOTS];
    if (known && known->seq == seq) {
        *segment = known;
        return 0;
    }
    struct shm_segment *fresh;
    uint32_t position = 0;
    int rc = view->source.open(view->source.context, seq, -1, &fresh, &position);
    if (rc < 0)
        return rc;
    if (fresh->seq != seq) {
        shm_segment_unref(&fresh);
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "another segment came than the one asked for");
    }
    shm_partition_add(view, fresh);
    *segment = fresh;
    return 0;
}

bool
shm_slot_read(const struct shm_control *control, int64_t seq, struct shm_tail *tail)
{
    const struct shm_slot *slot = &control->slots[(uint64_t)seq % SHM_SLOTS];
    /* Acquire: pairs with the release in shm_slot_prepare(). */
    if (seq < 0 || atomic_load_explicit(&slot->seq, memory_order_acquire) != seq)
        return false;
    /* Acquire: pairs with the publish in append.c; bytes below the position are complete. The limit
     * is read behind it: it only grows, so it is at least what the publisher stayed below. */
    uint64_t published = atomic_load_explicit(&slot->published, memory_order_acquire);
    tail->seq = seq;
    tail->base_offset = atomic_load_explicit(&slot->base_offset, memory_order_relaxed);
    tail->limit = atomic_load_explicit(&slot->limit, memory_order_relaxed);
    tail->position = SHM_PUBLISHED_POSITION(published);
    tail->sealed = (published & SHM_SEALED) != 0;
    /* Unsigned, since a base that makes no sense may wrap. */
    tail->end_offset = (int64_t)((uint64_t)tail->base_offset + SHM_PUBLISHED_COUNT(published));
    /* Pairs with the fence in shm_slot_prepare(): who read a word of the next segment here sees
     * that the number is gone. */
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&slot->seq, memory_order_relaxed) == seq;
}

static bool
is_sane(const struct shm_tail *tail)
{
    return tail->seq < INT64_MAX && tail->base_offset >= 0 &&
           tail->base_offset <= INT64_MAX - UINT32_MAX && tail->position <= tail->limit &&
           tail->limit <= SHM_SEGMENT_BYTES_MAX;
}

int
shm_partition_tail(const struct shm_partition *view, struct shm_tail *tail)
{
    const struct shm_control *control = view->control;
    *tail = (struct shm_tail){0};
    bool found = false;
    /* A second look when the log rolled on between the two reads. */
    for (int turn = 0; turn < SHM_SLOTS && !found; turn++) {
        /* Acquire: pairs with the release in append.c's advance(); the base offset is set. */
        int64_t seq = atomic_load_explicit(&control->active_seq, memory_order_acquire);
        found = shm_slot_read(control, seq, tail);
    }
    /* Behind the slot: shm_fence() sets the state before it seals, so whoever saw its seal sees its
     * state. Acquire: the spare is read behind both. */
    uint32_t state = atomic_load_explicit(&control->state, memory_order_acquire);
    if (!found || !is_sane(tail) || state < SHM_STATE_OPEN || state > SHM_STATE_DELETED ||
        view->damaged)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "the control page is damaged");
    tail->state = (enum shm_state)state;
    struct shm_tail spare;
    tail->has_spare = shm_slot_read(control, tail->seq + 1, &spare);
    return 0;
}
