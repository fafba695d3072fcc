/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

enum { CAPACITY_MIN = 256 };

void
buf_init(struct buf *buf)
{
    *buf = (struct buf){0};
}

void
buf_fini(struct buf *buf)
{
    free(buf->data);
    buf_init(buf);
}

void
buf_clear(struct buf *buf)
{
    buf->length = 0;
    buf->failed = false;
}

int
buf_reserve(struct buf *buf, size_t more)
{
    if (buf->capacity - buf->length >= more)
        return 0;
    if (more > SIZE_MAX / 2 - buf->length) {
        buf->failed = true;
        return err_no_memory();
    }
    size_t capacity = buf->capacity < CAPACITY_MIN ? CAPACITY_MIN : buf->capacity;
    while (capacity < buf->length + more)
        capacity *= 2;
    uint8_t *data = realloc(buf->data, capacity);
    if (!data) {
        buf->failed = true;
        return err_no_memory();
    }
    buf->data = data;
    buf->capacity = capacity;
    return 0;
}

void
buf_put(struct buf *buf, const void *bytes, size_t n)
{
    if (n == 0 || buf->failed || buf_reserve(buf, n) < 0)
        return;
    memcpy(buf->data + buf->length, bytes, n);
    buf->length += n;
}

uint8_t *
buf_extend(struct buf *buf, size_t n)
{
    if (buf->failed || buf_reserve(buf, n) < 0)
        return NULL;
    uint8_t *start = buf->data + buf->length;
    memset(start, 0, n);
    buf->length += n;
    return start;
}

bool
buf_failed(const struct buf *buf)
{
    return buf->failed;
}
