/* SPDX-License-Identifier: Apache-2.0
 * A byte buffer that grows. A failed allocation is remembered: further puts are ignored, and
 * buf_failed() tells at the end, so that an encoder needs one check.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data;   /* owned; NULL while capacity is 0 */
    size_t length;   /* bytes in use */
    size_t capacity; /* bytes allocated */
    bool failed;     /* an allocation failed since init or clear */
};

/** An empty buffer; allocates nothing. */
void buf_init(struct buf *buf);

/** Releases the bytes; the buffer is as after init. */
void buf_fini(struct buf *buf);

/** Empties the buffer and keeps its memory. */
void buf_clear(struct buf *buf);

/** Room for `more` bytes behind the end. Returns 0 or -BUS_ERR_NO_MEMORY. */
int buf_reserve(struct buf *buf, size_t more);

/** Appends a copy of `n` bytes. */
void buf_put(struct buf *buf, const void *bytes, size_t n);

/** Appends `n` zero bytes and returns where they start, NULL on failure; valid until the next put.
 */
uint8_t *buf_extend(struct buf *buf, size_t n);

/** Whether a put has failed. */
bool buf_failed(const struct buf *buf);

#endif
