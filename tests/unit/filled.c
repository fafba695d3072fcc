/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/filled.h"

#include <string.h>

static const size_t sizes[] = {
    [FIELD_BOOL] = sizeof(bool),
    [FIELD_I8] = 1,
    [FIELD_I16] = 2,
    [FIELD_U16] = 2,
    [FIELD_I32] = 4,
    [FIELD_I64] = 8,
    [FIELD_F64] = sizeof(double),
    [FIELD_UUID] = 16,
    [FIELD_STR] = sizeof(char *),
    [FIELD_BYTES] = sizeof(struct bytes),
    [FIELD_RECORDS] = sizeof(struct bytes),
};

static size_t
size_of(const struct field *field)
{
    return field->type == FIELD_STRUCT ? field->schema->size : sizes[field->type];
}

static bool
is_nullable(const struct field *field)
{
    return field->null_first != SCHEMA_NEVER;
}

static void *
pointer_of(const void *member)
{
    void *pointer;
    memcpy(&pointer, member, sizeof pointer);
    return pointer;
}

struct filling {
    enum filled how;
    struct arena *arena;
    uint64_t next; /* the next value; odd steps, so that bytes differ and no default is met */
};

static void fill(struct filling *f, const struct schema *schema, void *out);

static void
fill_value(struct filling *f, const struct field *field, void *out)
{
    int64_t value = (int64_t)(f->next += 0x0102030405060709);
    bool full = f->how == FILLED_FULL;
    bool null = f->how == FILLED_NULL && is_nullable(field) && !field->array;
    double real = (double)value;
    uint8_t uuid[16];
    switch (field->type) {
    case FIELD_BOOL:
        *(bool *)out = full;
        break;
    case FIELD_STR: {
        const char *text = full ? arena_format(f->arena, "text %lld", (long long)value) : "";
        *(const char **)out = null ? NULL : text;
        break;
    }
    case FIELD_BYTES:
    case FIELD_RECORDS: {
        const char *text = arena_format(f->arena, "bytes %lld", (long long)value);
        int32_t n = full ? (int32_t)(value & 7) + 1 : 0;
        *(struct bytes *)out = (struct bytes){(const void *)text, null ? -1 : n};
        break;
    }
    case FIELD_STRUCT:
        if (field->array) {
            fill(f, field->schema, out);
        } else {
            void *inner = null ? NULL : arena_alloc(f->arena, field->schema->size);
            if (inner)
                fill(f, field->schema, inner);
            memcpy(out, &inner, sizeof inner);
        }
        break;
    case FIELD_F64:
        memcpy(out, &real, sizeof real);
        break;
    case FIELD_UUID:
        memset(uuid, (int)(value & 0x7f) + 1, sizeof uuid);
        memcpy(out, uuid, sizeof uuid);
        break;
    default:
        memcpy(out, &value, size_of(field)); /* the low bytes: little-endian hosts only */
    }
}

static void
fill(struct filling *f, const struct schema *schema, void *out)
{
    for (uint32_t i = 0; i < schema->field_count; i++) {
        const struct field *field = &schema->fields[i];
        char *member = (char *)out + field->offset;
        if (!field->array) {
            fill_value(f, field, member);
            continue;
        }
        int32_t count = f->how == FILLED_FULL ? 2 : 0;
        if (f->how == FILLED_NULL && is_nullable(field))
            count = -1;
        char *items = count > 0 ? arena_array(f->arena, (size_t)count, size_of(field)) : NULL;
        for (int32_t k = 0; k < count; k++)
            fill_value(f, field, items + (size_t)k * size_of(field));
        memcpy(member, &items, sizeof items);
        memcpy((char *)out + field->count_offset, &count, sizeof count);
    }
}

void *
filled_new(const struct schema *schema, enum filled how, struct arena *arena)
{
    struct filling f = {.how = how, .arena = arena};
    void *message = arena_alloc(arena, schema->size);
    if (message)
        fill(&f, schema, message);
    return message;
}

static bool
null_in(const struct field *field, int16_t version)
{
    return version >= field->null_first && version <= field->null_last;
}

static bool
same_text(const char *put, const char *got, bool nullable)
{
    if (!put && nullable)
        return !got;
    return got && strcmp(put ? put : "", got) == 0;
}

static bool
same_bytes(const struct bytes *put, const struct bytes *got, bool nullable)
{
    int32_t n = put->len < 0 && !nullable ? 0 : put->len;
    return got->len == n && (n <= 0 || memcmp(put->data, got->data, (size_t)n) == 0);
}

static bool
same_value(const struct field *field, int16_t version, const void *put, const void *got,
    const char **wrong)
{
    bool nullable = null_in(field, version) && !field->array;
    switch (field->type) {
    case FIELD_STR:
        return same_text(pointer_of(put), pointer_of(got), nullable);
    case FIELD_BYTES:
    case FIELD_RECORDS:
        return same_bytes(put, got, nullable);
    case FIELD_STRUCT:
        if (field->array)
            return filled_same(field->schema, version, put, got, wrong);
        if (!pointer_of(put) || !pointer_of(got))
            return pointer_of(put) == pointer_of(got);
        return filled_same(field->schema, version, pointer_of(put), pointer_of(got), wrong);
    default:
        return memcmp(put, got, size_of(field)) == 0;
    }
}

static bool
is_default(const struct field *field, const char *base)
{
    const char *member = base + field->offset;
    int32_t count;
    static const char zeroes[sizeof(struct uuid)];
    if (field->array) {
        memcpy(&count, base + field->count_offset, sizeof count);
        return count == 0;
    }
    switch (field->type) {
    case FIELD_STR:
        return is_nullable(field) ? !pointer_of(member)
                                  : pointer_of(member) && *(char *)pointer_of(member) == '\0';
    case FIELD_BYTES:
    case FIELD_RECORDS:
        return ((const struct bytes *)(const void *)member)->len == 0;
    case FIELD_STRUCT:
        return !pointer_of(member);
    case FIELD_F64:
    case FIELD_UUID:
        return memcmp(member, zeroes, size_of(field)) == 0;
    default:
        return memcmp(member, &field->value, size_of(field)) == 0;
    }
}

static bool
same_field(
    const struct field *field, int16_t version, const char *put, const char *got, const char **why)
{
    if (version < field->first || version > field->last)
        return is_default(field, got);
    if (!field->array)
        return same_value(field, version, put + field->offset, got + field->offset, why);
    int32_t count, count_got;
    memcpy(&count, put + field->count_offset, sizeof count);
    memcpy(&count_got, got + field->count_offset, sizeof count_got);
    if (count < 0 && !null_in(field, version))
        count = 0;
    if (count != count_got)
        return false;
    const char *items = pointer_of(put + field->offset);
    const char *items_got = pointer_of(got + field->offset);
    for (int32_t i = 0; i < count; i++) {
        size_t at = (size_t)i * size_of(field);
        if (!same_value(field, version, items + at, items_got + at, why))
            return false;
    }
    return true;
}

bool
filled_same(const struct schema *schema, int16_t version, const void *put, const void *got,
    const char **wrong)
{
    for (uint32_t i = 0; i < schema->field_count; i++) {
        const char *inner = NULL;
        if (same_field(&schema->fields[i], version, put, got, &inner))
            continue;
        *wrong = inner ? inner : schema->fields[i].name;
        return false;
    }
    return true;
}
