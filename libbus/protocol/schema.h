/* SPDX-License-Identifier: Apache-2.0
 * The shape of a message as data: which fields a struct has, in which versions each of them is on
 * the wire and where it lies in the C struct. gen.py makes the tables from kafka.messages.
 */
#ifndef PROTOCOL_SCHEMA_H
#define PROTOCOL_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** A topic id and the like. All zero: none. */
struct uuid {
    uint8_t b[16];
};

/** A byte string. `len` -1 is null; {NULL, 0} is empty. */
struct bytes {
    const uint8_t *data; /* borrowed: after decode from the frame */
    int32_t len;
};

/** What a field holds; in C bool, int8_t, …, double, struct uuid, const char *, struct bytes. */
enum field_type {
    FIELD_BOOL,
    FIELD_I8,
    FIELD_I16,
    FIELD_U16,
    FIELD_I32,
    FIELD_I64,
    FIELD_F64,
    FIELD_UUID,
    FIELD_STR,     /* NUL-terminated; NULL is null */
    FIELD_BYTES,   /* struct bytes */
    FIELD_RECORDS, /* struct bytes; the codec can leave the payload out, see wire_encode_gaps() */
    FIELD_STRUCT,  /* in an array by value, alone by pointer: NULL is null, or absent if tagged */
};

/** No version, as the first of a range; also "never flexible". */
#define SCHEMA_NEVER INT16_MAX

struct schema;

struct field {
    const char *name;            /* as in C, for error texts */
    enum field_type type;        /* of the field, or of an element when `array` */
    bool array;                  /* a pointer at `offset`, the count at `count_offset` */
    int16_t first, last;         /* versions in which it is on the wire */
    int16_t null_first;          /* versions in which it may be null; */
    int16_t null_last;           /* SCHEMA_NEVER first: in none */
    int16_t tag;                 /* -1: not tagged */
    uint32_t offset;             /* of the member in the struct, bytes */
    uint32_t count_offset;       /* of the int32_t element count, bytes */
    const struct schema *schema; /* of FIELD_STRUCT, else NULL */
    int64_t value;               /* default of integers and booleans */
};

struct schema {
    const char *name; /* "MetadataRequest", "MetadataRequest topics" */
    const struct field *fields;
    uint32_t field_count;
    uint32_t size;         /* sizeof the C struct, bytes */
    int16_t min, max;      /* versions of the message that the codec knows */
    int16_t flexible_from; /* SCHEMA_NEVER: no version is flexible */
};

#endif
