/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/fill.h"

#include "base/err.h"
#include "shm/lock.h"

#include <errno.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, PIECE_BYTES = 256 * 1024 };

/* The kernel makes folios as large as the pieces. */
static int
write_zeros(int fd, size_t from, size_t until)
{
    static const uint8_t zeros[PIECE_BYTES];
    while (from < until) {
        size_t n = until - from < PIECE_BYTES ? until - from : PIECE_BYTES;
        ssize_t written = pwrite(fd, zeros, n, (off_t)from);
        if (written <= 0)
            return err_sys(written < 0 ? errno : ENOSPC, "write zeros into a segment");
        from += (size_t)written;
    }
    return FILL_DONE;
}

int
shm_fill(struct shm_partition *view, const struct fill_range *range, int64_t deadline_ns)
{
    struct shm_tail tail;
    enum shm_lock_outcome lock = shm_lock(&view->control->append_lock, deadline_ns);
    if (lock == SHM_LOCK_TIMED_OUT || lock == SHM_LOCK_NESTED)
        return FILL_NOT_NOW;
    int rc = shm_partition_tail(view, &tail);
    if (rc == 0 && (tail.seq != range->seq || tail.sealed || range->until > tail.limit))
        rc = FILL_NOT_NOW;
    if (rc == 0) {
        /* The rest of the page with the tail is there, and zero. */
        size_t behind = (tail.position + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
        rc = write_zeros(range->fd, range->from > behind ? range->from : behind, range->until);
    }
    shm_unlock(&view->control->append_lock);
    return rc;
}
