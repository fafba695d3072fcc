/* SPDX-License-Identifier: Apache-2.0
 * What decoder and encoder both ask about a field. For wire*.c only.
 */
#ifndef PROTOCOL_WIRE_FIELD_H
#define PROTOCOL_WIRE_FIELD_H

#include "protocol/schema.h"

#include <string.h>

/** The bytes of one element of the field in C, or of the struct that a pointer points to. */
size_t field_size(const struct field *field);

/** Whether the field is on the wire in `version`. */
static inline bool
field_present(const struct field *field, int16_t version)
{
    return version >= field->first && version <= field->last;
}

/** Whether the field may be null in `version`. */
static inline bool
field_nullable(const struct field *field, int16_t version)
{
    return version >= field->null_first && version <= field->null_last;
}

/**
 * What a member that points to a struct or to elements holds. The codec does not know the type of
 * the pointer, so it copies the bytes.
 */
static inline void *
member_pointer(const void *member)
{
    void *pointer;
    memcpy(&pointer, member, sizeof pointer);
    return pointer;
}

/** Sets such a member. */
static inline void
member_set_pointer(void *member, const void *pointer)
{
    memcpy(member, &pointer, sizeof pointer);
}

/** Whether `version` of the message is flexible. */
static inline bool
schema_flexible(const struct schema *schema, int16_t version)
{
    return version >= schema->flexible_from;
}

#endif
