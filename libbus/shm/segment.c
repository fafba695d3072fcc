/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/segment.h"

#include "base/check.h"
#include "base/err.h"
#include "shm/guard.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096 };

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

static int
map(struct shm_segment *segment)
{
    int protection = segment->writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *bytes = mmap(NULL, segment->capacity, protection, MAP_SHARED, segment->fd, 0);
    if (bytes == MAP_FAILED)
        return err_sys(errno, "map a segment of %zu bytes", segment->capacity);
    segment->bytes = bytes;
    int rc = guard_add(bytes, segment->capacity, &segment->damaged);
    if (rc < 0)
        munmap(bytes, segment->capacity);
    return rc;
}

/* Beyond RLIMIT_FSIZE pwrite() does not only fail: the kernel sends SIGXFSZ. */
static bool
is_within_limit(size_t capacity)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && capacity <= limit.rlim_cur;
}

int
shm_segment_open(int fd, size_t capacity, bool writable, struct shm_segment **segment)
{
    struct shm_segment *fresh = calloc(1, sizeof *fresh);
    if (!fresh) {
        close(fd);
        return err_no_memory();
    }
    *fresh = (struct shm_segment){.seq = -1,
        .base_offset = -1,
        .next_offset = -1,
        .capacity = (capacity + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1),
        .fd = fd,
        .references = 1,
        .writable = writable,
        .by_write = writable && is_within_limit(capacity)};
    int rc = map(fresh);
    if (rc < 0) {
        close(fd);
        free(fresh);
        return rc;
    }
    *segment = fresh;
    return 0;
}

struct shm_segment *
shm_segment_ref(struct shm_segment *segment)
{
    MUST(segment->references > 0);
    segment->references++;
    return segment;
}

void
shm_segment_unref(struct shm_segment **segment)
{
    struct shm_segment *old = *segment;
    *segment = NULL;
    if (!old)
        return;
    MUST(old->references > 0);
    if (--old->references > 0)
        return;
    guard_remove(old->bytes);
    munmap(old->bytes, old->capacity);
    close(old->fd);
    free(old);
}

void
shm_segment_populate(struct shm_segment *segment, size_t from, size_t until, size_t limit)
{
    const size_t page_mask = ~(size_t)(PAGE_BYTES - 1);
    if (until > limit)
        until = limit;
    if (until > segment->capacity)
        until = segment->capacity;
    until &= page_mask;
    if (segment->populated < (from & page_mask))
        segment->populated = from & page_mask;
    if (until <= segment->populated)
        return;
    /* Failing is harmless: the pages then come in one by one, at their first touch. */
    madvise(segment->bytes + segment->populated, until - segment->populated,
        segment->writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
    segment->populated = until;
}
