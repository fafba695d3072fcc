/* SPDX-License-Identifier: Apache-2.0
 * A control page as a hostile writer may leave it, and a segment full of its bytes.
 *
 * Input: one byte, how many patches follow; each patch is the number of an 8-byte word of the page
 * and its new value; the rest lies at the start of the segment.
 */
#include "base/check.h"
#include "base/clock.h"
#include "fuzz/target.h"
#include "record/builder.h"
#include "shm/append.h"
#include "shm/cursor.h"
#include "shm/flush.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    SEGMENT_BYTES = 64 * 1024,
    PATCH_BYTES = 9,
    PAGE_WORDS = sizeof(struct shm_control) / 8,
    DEADLINE_NS = 1000000,
    BATCHES_MAX = SEGMENT_BYTES, /* more than fit into what a cursor may see */
};

static int segment_fd;

static int
new_file(size_t bytes)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    MUST(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
    return fd;
}

/* busd's part, which is not under attack: every segment is the same file. */
static int
open_segment(
    void *context, int64_t seq, int64_t offset, struct shm_segment **segment, uint32_t *position)
{
    (void)context;
    *position = 0;
    int rc = shm_segment_open(dup(segment_fd), SEGMENT_BYTES, true, segment);
    if (rc < 0)
        return rc;
    (*segment)->seq = seq;
    if (seq < 0) {
        (*segment)->base_offset = offset;
        (*segment)->next_offset = offset + 1;
        (*segment)->end = SEGMENT_BYTES / 2;
    }
    return 0;
}

static void
fill_page(uint8_t *page)
{
    struct shm_control *control = (struct shm_control *)(void *)page;
    control->magic = SHM_CONTROL_MAGIC;
    control->layout = SHM_LAYOUT_VERSION;
    atomic_store(&control->state, SHM_STATE_OPEN);
    atomic_store(&control->max_message_bytes, SEGMENT_BYTES);
    atomic_store(&control->segment_bytes, SEGMENT_BYTES);
    for (int i = 0; i < SHM_SLOTS; i++)
        atomic_store(&control->slots[i].seq, -1);
    shm_slot_prepare(control, 0, 100, 4096, 10, SEGMENT_BYTES);
    shm_slot_prepare(control, 1, -1, 0, 0, SEGMENT_BYTES);
}

static int
make_control(const uint8_t **data, size_t *size)
{
    int fd = new_file(SHM_PAGE_BYTES);
    uint8_t page[SHM_PAGE_BYTES] __attribute__((aligned(64))) = {0};
    fill_page(page);
    size_t patches = *size > 0 ? **data : 0;
    if (*size > 0) {
        (*data)++;
        (*size)--;
    }
    for (; patches > 0 && *size >= PATCH_BYTES; patches--) {
        memcpy(page + (size_t)(**data % PAGE_WORDS) * 8, *data + 1, 8);
        *data += PATCH_BYTES;
        *size -= PATCH_BYTES;
    }
    MUST(pwrite(fd, page, sizeof page, 0) == (ssize_t)sizeof page);
    return fd;
}

static int
make_bell(void)
{
    int fd = new_file(SHM_PAGE_BYTES);
    uint64_t magic = SHM_BELL_MAGIC;
    MUST(pwrite(fd, &magic, sizeof magic, 0) == (ssize_t)sizeof magic);
    return fd;
}

static int64_t
deadline(void)
{
    return clock_mono_ns() + DEADLINE_NS;
}

/* Whatever a cursor gives lies in the mapping, its offsets rise, and it comes to an end. */
static void
read_all(struct shm_partition *view, int64_t offset, enum cursor_isolation isolation)
{
    struct cursor cursor;
    struct batch_header header;
    const uint8_t *bytes;
    int64_t seen = offset;
    cursor_init(&cursor, view, offset, isolation);
    for (int n = 0; n < BATCHES_MAX; n++) {
        if (cursor_next(&cursor, &bytes, &header) != CURSOR_BATCH)
            break;
        MUST(cursor.segment);
        MUST(bytes >= cursor.segment->bytes &&
             batch_bytes(&header) <=
                 cursor.segment->capacity - (size_t)(bytes - cursor.segment->bytes));
        MUST(cursor.offset > seen || cursor.offset > header.base_offset);
        seen = cursor.offset;
    }
    (void)cursor_ready(&cursor);
    cursor_fini(&cursor);
}

static void
append(struct shm_partition *view)
{
    uint8_t bytes[256];
    struct batch_single single = {.ts = 1,
        .key_bytes = -1,
        .value_bytes = 10,
        .producer_id = -1,
        .producer_epoch = -1,
        .base_sequence = -1};
    size_t size = batch_single_bytes(-1, 10);
    MUST(size <= sizeof bytes);
    size_t at = batch_single_begin(bytes, &single);
    memset(bytes + at, 'x', 10);
    batch_single_finish(bytes, size);
    struct append_batch batch = {.bytes = bytes, .size_bytes = size, .offsets = 1};
    struct append_result result;
    for (int i = 0; i < 3; i++)
        (void)shm_append(view, &batch, deadline(), &result);
    struct append_loan loan;
    if (shm_loan_begin(view, size, deadline(), &loan) == APPEND_DONE) {
        memset(loan.bytes, 0, loan.size_bytes);
        shm_loan_abort(view, &loan);
    }
    (void)shm_roll(view, deadline());
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    segment_fd = new_file(SEGMENT_BYTES);
    struct shm_partition_fds fds = {.control = make_control(&data, &size), .bell = make_bell()};
    if (size > SEGMENT_BYTES)
        size = SEGMENT_BYTES;
    MUST(pwrite(segment_fd, data, size, 0) == (ssize_t)size);
    struct shm_partition view;
    struct shm_tail tail;
    struct shm_source source = {.open = open_segment};
    if (shm_partition_init(&view, fds, true, NULL, -1, source) == 0) {
        if (shm_partition_tail(&view, &tail) == 0)
            MUST(tail.base_offset >= 0 && tail.end_offset >= tail.base_offset &&
                 tail.position <= tail.limit);
        read_all(&view, 100, CURSOR_UNCOMMITTED);
        read_all(&view, 0, CURSOR_DURABLE);
        append(&view);
        (void)shm_flush(&view, INT64_MAX, deadline());
        shm_fence(&view, SHM_STATE_FENCED);
        read_all(&view, 100, CURSOR_UNCOMMITTED);
        shm_partition_fini(&view);
    }
    close(segment_fd);
    return 0;
}
