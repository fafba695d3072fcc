/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/out.h"

#include <string.h>

void
out_object(struct out *out, const char *key)
{
    out->ops->object(out, key);
}

void
out_list(struct out *out, const char *key)
{
    out->ops->list(out, key);
}

void
out_end(struct out *out)
{
    out->ops->end(out);
}

void
out_integer(struct out *out, const char *key, int64_t value)
{
    out->ops->integer(out, key, value);
}

void
out_none(struct out *out, const char *key)
{
    out->ops->none(out, key);
}

void
out_offset(struct out *out, const char *key, int64_t value)
{
    if (value < 0)
        out_none(out, key);
    else
        out_integer(out, key, value);
}

void
out_real(struct out *out, const char *key, double value)
{
    out->ops->real(out, key, value);
}

void
out_boolean(struct out *out, const char *key, bool value)
{
    out->ops->boolean(out, key, value);
}

void
out_text(struct out *out, const char *key, const char *value)
{
    out->ops->bytes(out, key, value, value ? strlen(value) : 0);
}

void
out_bytes(struct out *out, const char *key, const void *bytes, size_t size)
{
    out->ops->bytes(out, key, bytes, size);
}

void
out_time(struct out *out, const char *key, int64_t time_ms)
{
    out->ops->time(out, key, time_ms);
}

void
out_pairs(struct out *out, const char *key, const struct out_pair *pairs, size_t count)
{
    out->ops->pairs(out, key, pairs, count);
}

void
out_flush(struct out *out)
{
    out->ops->flush(out);
}

bool
out_close(struct out **out)
{
    if (!*out)
        return true;
    bool complete = !(*out)->failed;
    (*out)->ops->free(*out);
    *out = NULL;
    return complete;
}
