/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "base/check.h"
#include "busctl/out.h"

#include <jansson.h>
#include <stdlib.h>

enum { DEPTH_MAX = 4 };

struct out_json {
    struct out base;
    json_t *stack[DEPTH_MAX]; /* from the outermost; a list at the top is NULL */
    int depth;
};

static struct out_json *
json_of(struct out *out)
{
    return (struct out_json *)out;
}

/** Puts `value` (takes it) under `key` into what is open. */
static void
put(struct out *out, const char *key, json_t *value)
{
    struct out_json *json = json_of(out);
    MUST(json->depth > 0);
    json_t *open = json->stack[json->depth - 1];
    int rc = json_is_array(open) ? json_array_append_new(open, value)
                                 : json_object_set_new_nocheck(open, key, value);
    if (rc != 0)
        out->failed = true;
}

static void
push(struct out *out, json_t *value)
{
    struct out_json *json = json_of(out);
    MUST(json->depth < DEPTH_MAX);
    json->stack[json->depth++] = value;
}

static void
json_begin_object(struct out *out, const char *key)
{
    struct out_json *json = json_of(out);
    json_t *object = json_object();
    out->failed |= !object;
    bool at_top = json->depth == 0 || !json->stack[json->depth - 1];
    if (!at_top)
        put(out, key, json_incref(object));
    push(out, object);
}

static void
json_begin_list(struct out *out, const char *key)
{
    json_t *list = NULL;
    if (json_of(out)->depth > 0) {
        list = json_array();
        out->failed |= !list;
        put(out, key, json_incref(list));
    }
    push(out, list);
}

/** A line leaves when the object that ends has no other object around it. */
static void
json_end(struct out *out)
{
    struct out_json *json = json_of(out);
    MUST(json->depth > 0);
    json_t *ended = json->stack[--json->depth];
    bool at_top = json->depth == 0 || !json->stack[json->depth - 1];
    if (ended && at_top) {
        json_dumpf(ended, out->to, JSON_COMPACT | JSON_REAL_PRECISION(9));
        fputc('\n', out->to);
    }
    json_decref(ended);
}

static void
json_put_integer(struct out *out, const char *key, int64_t value)
{
    put(out, key, json_integer(value));
}

static void
json_put_none(struct out *out, const char *key)
{
    put(out, key, json_null());
}

static void
json_put_real(struct out *out, const char *key, double value)
{
    put(out, key, json_real(value));
}

static void
json_put_boolean(struct out *out, const char *key, bool value)
{
    put(out, key, json_boolean(value));
}

/** Base64 of the bytes with padding, as RFC 4648 has it. */
static json_t *
base64(const uint8_t *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct buf text;
    buf_init(&text);
    for (size_t i = 0; i < size; i += 3) {
        size_t have = size - i < 3 ? size - i : 3;
        uint32_t word = (uint32_t)bytes[i] << 16;
        word |= have > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
        word |= have > 2 ? (uint32_t)bytes[i + 2] : 0;
        char four[4] = {digits[word >> 18], digits[word >> 12 & 63],
            have > 1 ? digits[word >> 6 & 63] : '=', have > 2 ? digits[word & 63] : '='};
        buf_put(&text, four, sizeof four);
    }
    json_t *string = NULL;
    if (!buf_failed(&text))
        string = json_stringn_nocheck((const char *)text.data, text.length);
    buf_fini(&text);
    json_t *object = json_object();
    json_object_set_new_nocheck(object, "base64", string);
    return object;
}

static json_t *
value_of(const void *bytes, size_t size)
{
    if (!bytes)
        return json_null();
    json_t *string = json_stringn(bytes, size);
    return string ? string : base64(bytes, size);
}

static void
json_put_bytes(struct out *out, const char *key, const void *bytes, size_t size)
{
    put(out, key, value_of(bytes, size));
}

static void
json_put_time(struct out *out, const char *key, int64_t time_ms)
{
    put(out, key, json_integer(time_ms));
}

static void
json_put_pairs(struct out *out, const char *key, const struct out_pair *pairs, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *pair = json_object();
        json_object_set_new_nocheck(pair, "key", value_of(pairs[i].name, pairs[i].name_size));
        json_object_set_new_nocheck(pair, "value", value_of(pairs[i].value, pairs[i].value_size));
        if (json_array_append_new(list, pair) != 0)
            out->failed = true;
    }
    put(out, key, list);
}

static void
json_flush(struct out *out)
{
    fflush(out->to);
}

static void
json_free(struct out *out)
{
    struct out_json *json = json_of(out);
    while (json->depth > 0)
        json_decref(json->stack[--json->depth]);
    free(json);
}

static const struct out_ops json_ops = {
    .object = json_begin_object,
    .list = json_begin_list,
    .end = json_end,
    .integer = json_put_integer,
    .none = json_put_none,
    .real = json_put_real,
    .boolean = json_put_boolean,
    .bytes = json_put_bytes,
    .time = json_put_time,
    .pairs = json_put_pairs,
    .flush = json_flush,
    .free = json_free,
};

struct out *
out_json_open(FILE *to)
{
    struct out_json *json = calloc(1, sizeof *json);
    if (!json)
        return NULL;
    json->base.ops = &json_ops;
    json->base.to = to;
    return &json->base;
}
