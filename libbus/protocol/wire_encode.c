/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/wire.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/err.h"
#include "protocol/uvarint.h"
#include "protocol/wire_field.h"

#include <stdlib.h>
#include <string.h>

/* A failure is remembered in `rc` (or in the buffer), so the walk itself needs no checks. */
struct encoder {
    struct buf *out;
    struct wire_gaps *gaps; /* NULL: RECORDS are copied */
    int16_t version;
    bool flexible;
    int rc;
};

static void encode_struct(struct encoder *e, const struct schema *schema, const void *in);

static void
put_varint(struct encoder *e, uint32_t value)
{
    uint8_t bytes[UVARINT_BYTES_MAX];
    buf_put(e->out, bytes, uvarint_put(bytes, value));
}

/* A length or count; negative is null. `bytes` as in the decoder. */
static void
put_length(struct encoder *e, const struct field *field, size_t bytes, int32_t length)
{
    if (length < 0)
        length = field_nullable(field, e->version) ? -1 : 0;
    uint8_t plain[sizeof length];
    if (e->flexible) {
        put_varint(e, (uint32_t)length + 1);
    } else if (bytes == sizeof(int16_t)) {
        bytes_put_i16(plain, (int16_t)length);
        buf_put(e->out, plain, sizeof(int16_t));
    } else {
        bytes_put_i32(plain, length);
        buf_put(e->out, plain, sizeof(int32_t));
    }
}

static void
encode_string(struct encoder *e, const struct field *field, const char *text)
{
    size_t n = text ? strlen(text) : 0;
    if (n > WIRE_STRING_BYTES_MAX) {
        e->rc = err_set(BUS_ERR_INVALID_REQUEST, "%s has %zu bytes; a string has at most %d",
            field->name, n, WIRE_STRING_BYTES_MAX);
        return;
    }
    put_length(e, field, sizeof(int16_t), text ? (int32_t)n : -1);
    buf_put(e->out, text, n);
}

static void
add_gap(struct encoder *e, const struct bytes *bytes)
{
    struct wire_gaps *gaps = e->gaps;
    if (gaps->count == gaps->capacity) {
        size_t capacity = gaps->capacity ? gaps->capacity * 2 : 8;
        struct wire_gap *items = realloc(gaps->items, capacity * sizeof *items);
        if (!items) {
            e->rc = err_no_memory();
            return;
        }
        gaps->items = items;
        gaps->capacity = capacity;
    }
    gaps->items[gaps->count++] = (struct wire_gap){
        .at = e->out->length,
        .bytes = (size_t)bytes->len,
        .data = bytes->data,
    };
    gaps->bytes += (size_t)bytes->len;
}

static void
encode_bytes(struct encoder *e, const struct field *field, const struct bytes *bytes)
{
    put_length(e, field, sizeof(int32_t), bytes->len);
    if (bytes->len <= 0)
        return;
    if (field->type == FIELD_RECORDS && e->gaps)
        add_gap(e, bytes);
    else
        buf_put(e->out, bytes->data, (size_t)bytes->len);
}

static void
encode_fixed(struct encoder *e, const struct field *field, const void *in)
{
    uint8_t wire[sizeof(struct uuid)] = {0};
    size_t n = field_size(field);
    if (field->type == FIELD_BOOL) {
        wire[0] = *(const bool *)in;
        n = 1;
    } else if (n == sizeof(uint16_t)) {
        uint16_t value;
        memcpy(&value, in, sizeof value);
        bytes_put_u16(wire, value);
    } else if (n == sizeof(uint32_t)) {
        uint32_t value;
        memcpy(&value, in, sizeof value);
        bytes_put_u32(wire, value);
    } else if (n == sizeof(uint64_t)) {
        uint64_t value;
        memcpy(&value, in, sizeof value);
        bytes_put_u64(wire, value);
    } else {
        memcpy(wire, in, n);
    }
    buf_put(e->out, wire, n);
}

static void
encode_pointer(struct encoder *e, const struct field *field, const void *in)
{
    if (field->tag < 0)
        buf_put(e->out, in ? "\x01" : "\xff", 1);
    if (in)
        encode_struct(e, field->schema, in);
}

static void
encode_value(struct encoder *e, const struct field *field, const void *in)
{
    switch (field->type) {
    case FIELD_STR:
        encode_string(e, field, *(const char *const *)in);
        return;
    case FIELD_BYTES:
    case FIELD_RECORDS:
        encode_bytes(e, field, in);
        return;
    case FIELD_STRUCT:
        if (field->array)
            encode_struct(e, field->schema, in);
        else
            encode_pointer(e, field, member_pointer(in));
        return;
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
    encode_fixed(e, field, in);
}

static int32_t
count_of(const struct field *field, const void *in)
{
    return *(const int32_t *)((const char *)in + field->count_offset);
}

static void
encode_field(struct encoder *e, const struct field *field, const void *in)
{
    const char *member = (const char *)in + field->offset;
    if (!field->array) {
        encode_value(e, field, member);
        return;
    }
    int32_t count = count_of(field, in);
    const char *items = member_pointer(member);
    size_t size = field_size(field);
    put_length(e, field, sizeof(int32_t), count);
    for (int32_t i = 0; i < count && e->rc == 0; i++)
        encode_value(e, field, items + (size_t)i * size);
}

static int64_t
integer_of(const struct field *field, const void *member)
{
    switch (field->type) {
    case FIELD_BOOL:
        return *(const bool *)member;
    case FIELD_I8:
        return *(const int8_t *)member;
    case FIELD_I16:
        return *(const int16_t *)member;
    case FIELD_U16:
        return *(const uint16_t *)member;
    case FIELD_I32:
        return *(const int32_t *)member;
    default:
        return *(const int64_t *)member;
    }
}

/* Whether a tagged field holds its default and so stays away. */
static bool
is_default(const struct field *field, const void *in)
{
    static const struct uuid no_uuid;
    static const double zero;
    const char *member = (const char *)in + field->offset;
    if (field->array)
        return count_of(field, in) <= 0;
    switch (field->type) {
    case FIELD_STR: {
        const char *text = member_pointer(member);
        return !text || (field->null_first == SCHEMA_NEVER && *text == '\0');
    }
    case FIELD_BYTES:
    case FIELD_RECORDS:
        return ((const struct bytes *)(const void *)member)->len <= 0;
    case FIELD_STRUCT:
        return member_pointer(member) == NULL;
    case FIELD_UUID:
        return memcmp(member, &no_uuid, sizeof no_uuid) == 0;
    case FIELD_F64:
        return memcmp(member, &zero, sizeof zero) == 0;
    default:
        return integer_of(field, member) == field->value;
    }
}

/* Tag, size, payload; the size is known, and put in front, when the payload is there. */
static void
encode_tag(struct encoder *e, const struct field *field, const void *in)
{
    size_t gaps = e->gaps ? e->gaps->count : 0;
    put_varint(e, (uint32_t)field->tag);
    size_t start = e->out->length;
    encode_field(e, field, in);
    size_t n = e->out->length - start;
    uint8_t size[UVARINT_BYTES_MAX];
    size_t size_bytes = uvarint_put(size, (uint32_t)n);
    MUST(n <= UINT32_MAX && (!e->gaps || e->gaps->count == gaps));
    if (!buf_extend(e->out, size_bytes))
        return;
    memmove(e->out->data + start + size_bytes, e->out->data + start, n);
    memcpy(e->out->data + start, size, size_bytes);
}

static bool
tag_wanted(const struct encoder *e, const struct field *field, const void *in)
{
    return field->tag >= 0 && field_present(field, e->version) && !is_default(field, in);
}

static void
encode_tags(struct encoder *e, const struct schema *schema, const void *in)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < schema->field_count; i++)
        count += tag_wanted(e, &schema->fields[i], in);
    put_varint(e, count);
    for (uint32_t i = 0; i < schema->field_count && e->rc == 0; i++)
        if (tag_wanted(e, &schema->fields[i], in))
            encode_tag(e, &schema->fields[i], in);
}

static void
encode_struct(struct encoder *e, const struct schema *schema, const void *in)
{
    for (uint32_t i = 0; i < schema->field_count && e->rc == 0; i++) {
        const struct field *field = &schema->fields[i];
        if (field->tag < 0 && field_present(field, e->version))
            encode_field(e, field, in);
    }
    if (e->flexible)
        encode_tags(e, schema, in);
}

int
wire_encode(const struct schema *schema, int16_t version, const void *in, struct buf *out)
{
    return wire_encode_gaps(schema, version, in, out, NULL);
}

int
wire_encode_gaps(const struct schema *schema, int16_t version, const void *in, struct buf *out,
    struct wire_gaps *gaps)
{
    if (version < schema->min || version > schema->max)
        return err_set(BUS_ERR_UNSUPPORTED_VERSION, "%s v%d: versions %d to %d are known",
            schema->name, version, schema->min, schema->max);
    struct encoder e = {
        .out = out,
        .gaps = gaps,
        .version = version,
        .flexible = schema_flexible(schema, version),
    };
    size_t length = out->length;
    struct wire_gaps before = gaps ? *gaps : (struct wire_gaps){0};
    encode_struct(&e, schema, in);
    if (e.rc == 0 && buf_failed(out))
        e.rc = err_no_memory();
    if (e.rc == 0)
        return 0;
    out->length = length;
    if (gaps) {
        gaps->count = before.count;
        gaps->bytes = before.bytes;
    }
    return err_prefix(e.rc, "%s v%d", schema->name, version);
}

void
wire_gaps_fini(struct wire_gaps *gaps)
{
    free(gaps->items);
    *gaps = (struct wire_gaps){0};
}
