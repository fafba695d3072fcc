/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/wire.h"

#include "base/bytes.h"
#include "base/err.h"
#include "protocol/uvarint.h"
#include "protocol/wire_field.h"

#include <string.h>

struct decoder {
    const uint8_t *start; /* of the message */
    const uint8_t *p;     /* the next byte */
    const uint8_t *end;   /* of the message, or of the tagged field being read */
    int16_t version;
    bool flexible;
    struct arena *arena;
};

static int decode_struct(struct decoder *d, const struct schema *schema, void *out);

static size_t
left(const struct decoder *d)
{
    return (size_t)(d->end - d->p);
}

static int
malformed(const struct decoder *d, const char *name, const char *what)
{
    return err_set(
        BUS_ERR_INVALID_REQUEST, "%s %s at byte %zu", name, what, (size_t)(d->p - d->start));
}

/* The next `n` bytes, or NULL when the message is shorter. */
static const uint8_t *
take(struct decoder *d, size_t n)
{
    if (n > left(d))
        return NULL;
    const uint8_t *p = d->p;
    d->p += n;
    return p;
}

static int
read_varint(struct decoder *d, const char *name, uint32_t *value)
{
    size_t used = uvarint_get(d->p, left(d), value);
    if (used == 0)
        return malformed(d, name, "has no valid varint");
    d->p += used;
    return 0;
}

/*
 * The length of a string or the count of an array; -1 for null. `bytes` is its size in versions
 * that are not flexible. What it counts takes a byte each at least, so no length that is accepted
 * is larger than the rest of the message.
 */
static int
read_length(struct decoder *d, const struct field *field, size_t bytes, int32_t *length)
{
    int64_t n;
    if (d->flexible) {
        uint32_t more;
        int rc = read_varint(d, field->name, &more);
        if (rc < 0)
            return rc;
        n = (int64_t)more - 1;
    } else {
        const uint8_t *p = take(d, bytes);
        if (!p)
            return malformed(d, field->name, "is cut off");
        n = bytes == sizeof(int16_t) ? bytes_get_i16(p) : bytes_get_i32(p);
    }
    if (n < -1 || (n >= 0 && (uint64_t)n > left(d)) || n > INT32_MAX)
        return malformed(d, field->name, "is longer than the message");
    if (n == -1 && !field_nullable(field, d->version))
        return malformed(d, field->name, "is null");
    *length = (int32_t)n;
    return 0;
}

static int
decode_string(struct decoder *d, const struct field *field, const char **out)
{
    int32_t length;
    int rc = read_length(d, field, sizeof(int16_t), &length);
    if (rc < 0)
        return rc;
    *out = NULL;
    if (length < 0)
        return 0;
    if (length > WIRE_STRING_BYTES_MAX)
        return malformed(d, field->name, "is longer than 32767 bytes");
    const uint8_t *p = take(d, (size_t)length);
    if (memchr(p, 0, (size_t)length))
        return malformed(d, field->name, "has a NUL byte before");
    *out = arena_string(d->arena, p, (size_t)length);
    return *out ? 0 : -BUS_ERR_NO_MEMORY;
}

static int
decode_bytes(struct decoder *d, const struct field *field, struct bytes *out)
{
    int32_t length;
    int rc = read_length(d, field, sizeof(int32_t), &length);
    if (rc < 0)
        return rc;
    *out = (struct bytes){NULL, length};
    if (length >= 0)
        out->data = take(d, (size_t)length);
    return 0;
}

static int
decode_fixed(struct decoder *d, const struct field *field, void *out)
{
    static const uint8_t sizes[] = {
        [FIELD_BOOL] = 1,
        [FIELD_I8] = 1,
        [FIELD_I16] = 2,
        [FIELD_U16] = 2,
        [FIELD_I32] = 4,
        [FIELD_I64] = 8,
        [FIELD_F64] = 8,
        [FIELD_UUID] = 16,
    };
    size_t n = sizes[field->type];
    const uint8_t *p = take(d, n);
    if (!p)
        return malformed(d, field->name, "is cut off");
    if (field->type == FIELD_BOOL) {
        *(bool *)out = *p != 0;
    } else if (n == sizeof(uint16_t)) {
        uint16_t value = bytes_get_u16(p);
        memcpy(out, &value, sizeof value);
    } else if (n == sizeof(uint32_t)) {
        uint32_t value = bytes_get_u32(p);
        memcpy(out, &value, sizeof value);
    } else if (n == sizeof(uint64_t)) {
        uint64_t value = bytes_get_u64(p);
        memcpy(out, &value, sizeof value);
    } else {
        memcpy(out, p, n);
    }
    return 0;
}

/* A struct that is no element: a byte tells whether it is null, unless a tag has told. */
static int
decode_pointer(struct decoder *d, const struct field *field, void *member)
{
    if (field->tag < 0) {
        const uint8_t *p = take(d, 1);
        if (!p)
            return malformed(d, field->name, "is cut off");
        if ((int8_t)*p < 0)
            return 0;
    }
    void *inner = arena_alloc(d->arena, field->schema->size);
    member_set_pointer(member, inner);
    return inner ? decode_struct(d, field->schema, inner) : -BUS_ERR_NO_MEMORY;
}

static int
decode_value(struct decoder *d, const struct field *field, void *out)
{
    switch (field->type) {
    case FIELD_STR:
        return decode_string(d, field, out);
    case FIELD_BYTES:
    case FIELD_RECORDS:
        return decode_bytes(d, field, out);
    case FIELD_STRUCT:
        return field->array ? decode_struct(d, field->schema, out) : decode_pointer(d, field, out);
    case FIELD_BOOL:
    case FIELD_I8:
    case FIELD_I16:
    case FIELD_U16:
    case FIELD_I32:
    case FIELD_I64:
    case FIELD_F64:
    case FIELD_UUID:
        break;
    }
    return decode_fixed(d, field, out);
}

static int
decode_array(struct decoder *d, const struct field *field, void *member, int32_t *count_out)
{
    int32_t count;
    int rc = read_length(d, field, sizeof(int32_t), &count);
    if (rc < 0)
        return rc;
    *count_out = count;
    if (count <= 0)
        return 0;
    size_t size = field_size(field);
    char *items = arena_array(d->arena, (size_t)count, size);
    if (!items)
        return -BUS_ERR_NO_MEMORY;
    member_set_pointer(member, items);
    for (size_t i = 0; i < (size_t)count && rc == 0; i++)
        rc = decode_value(d, field, items + i * size);
    return rc;
}

static int
decode_field(struct decoder *d, const struct field *field, void *out)
{
    char *member = (char *)out + field->offset;
    if (!field->array)
        return decode_value(d, field, member);
    int32_t *count = (int32_t *)(void *)((char *)out + field->count_offset);
    return decode_array(d, field, member, count);
}

static const struct field *
find_tag(const struct decoder *d, const struct schema *schema, uint32_t tag)
{
    for (uint32_t i = 0; i < schema->field_count; i++) {
        const struct field *field = &schema->fields[i];
        if (field->tag >= 0 && (uint32_t)field->tag == tag && field_present(field, d->version))
            return field;
    }
    return NULL;
}

/* One tagged field: read when it is known, else skipped. */
static int
decode_tag(struct decoder *d, const struct schema *schema, int64_t *previous, void *out)
{
    uint32_t tag, size;
    int rc = read_varint(d, "tag", &tag);
    if (rc == 0)
        rc = read_varint(d, "size of a tagged field", &size);
    if (rc < 0)
        return rc;
    if ((int64_t)tag <= *previous)
        return malformed(d, "tag", "does not ascend");
    if (size > left(d))
        return malformed(d, "tagged field", "is longer than the message");
    *previous = tag;
    const struct field *field = find_tag(d, schema, tag);
    if (!field) {
        d->p += size;
        return 0;
    }
    const uint8_t *end = d->end;
    d->end = d->p + size;
    rc = decode_field(d, field, out);
    if (rc == 0 && d->p != d->end)
        rc = malformed(d, field->name, "ends before its tagged field");
    d->end = end;
    return rc;
}

static int
decode_tags(struct decoder *d, const struct schema *schema, void *out)
{
    uint32_t count;
    int64_t previous = -1;
    int rc = read_varint(d, "count of tagged fields", &count);
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        rc = decode_tag(d, schema, &previous, out);
    return rc;
}

static int
decode_struct(struct decoder *d, const struct schema *schema, void *out)
{
    wire_init(schema, out);
    for (uint32_t i = 0; i < schema->field_count; i++) {
        const struct field *field = &schema->fields[i];
        if (field->tag >= 0 || !field_present(field, d->version))
            continue;
        int rc = decode_field(d, field, out);
        if (rc < 0)
            return rc;
    }
    return d->flexible ? decode_tags(d, schema, out) : 0;
}

int
wire_decode(const struct schema *schema, int16_t version, const uint8_t *p, size_t n, void *out,
    struct arena *arena)
{
    if (version < schema->min || version > schema->max)
        return err_set(BUS_ERR_UNSUPPORTED_VERSION, "%s v%d: versions %d to %d are known",
            schema->name, version, schema->min, schema->max);
    struct decoder d = {
        .start = p,
        .p = p,
        .end = n > 0 ? p + n : p, /* p may be NULL then */
        .version = version,
        .flexible = schema_flexible(schema, version),
        .arena = arena,
    };
    int rc = decode_struct(&d, schema, out);
    if (rc == 0 && d.p != d.end)
        rc = malformed(&d, "message", "goes on after its last field");
    return err_prefix(rc, "%s v%d", schema->name, version);
}
