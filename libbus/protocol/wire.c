/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/wire.h"

#include "protocol/wire_field.h"

#include <string.h>

static const uint32_t sizes_in_c[] = {
    [FIELD_BOOL] = sizeof(bool),
    [FIELD_I8] = sizeof(int8_t),
    [FIELD_I16] = sizeof(int16_t),
    [FIELD_U16] = sizeof(uint16_t),
    [FIELD_I32] = sizeof(int32_t),
    [FIELD_I64] = sizeof(int64_t),
    [FIELD_F64] = sizeof(double),
    [FIELD_UUID] = sizeof(struct uuid),
    [FIELD_STR] = sizeof(const char *),
    [FIELD_BYTES] = sizeof(struct bytes),
    [FIELD_RECORDS] = sizeof(struct bytes),
};

size_t
field_size(const struct field *field)
{
    return field->type == FIELD_STRUCT ? field->schema->size : sizes_in_c[field->type];
}

static void
init_field(const struct field *field, void *member)
{
    switch (field->type) {
    case FIELD_BOOL:
        *(bool *)member = field->value != 0;
        break;
    case FIELD_I8:
        *(int8_t *)member = (int8_t)field->value;
        break;
    case FIELD_I16:
        *(int16_t *)member = (int16_t)field->value;
        break;
    case FIELD_U16:
        *(uint16_t *)member = (uint16_t)field->value;
        break;
    case FIELD_I32:
        *(int32_t *)member = (int32_t)field->value;
        break;
    case FIELD_I64:
        *(int64_t *)member = field->value;
        break;
    case FIELD_STR:
        *(const char **)member = field->null_first == SCHEMA_NEVER ? "" : NULL;
        break;
    case FIELD_F64:
    case FIELD_UUID:
    case FIELD_BYTES:
    case FIELD_RECORDS:
    case FIELD_STRUCT:
        break; /* all zero */
    }
}

void
wire_init(const struct schema *schema, void *message)
{
    memset(message, 0, schema->size);
    for (uint32_t i = 0; i < schema->field_count; i++) {
        const struct field *field = &schema->fields[i];
        if (!field->array)
            init_field(field, (char *)message + field->offset);
    }
}

void *
wire_array(const struct schema *schema, struct arena *arena, size_t count)
{
    char *items = arena_array(arena, count, schema->size);
    for (size_t i = 0; items && i < count; i++)
        wire_init(schema, items + i * schema->size);
    return items;
}
