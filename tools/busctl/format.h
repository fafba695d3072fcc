/* SPDX-License-Identifier: Apache-2.0
 * How `consume -f` prints a record: kcat's tokens, compiled once.
 */
#ifndef BUSCTL_FORMAT_H
#define BUSCTL_FORMAT_H

#include <bus/consumer.h>
#include <stddef.h>
#include <stdio.h>

enum { FORMAT_PARTS_MAX = 64 };

struct format_part {
    char token;  /* the letter behind '%'; '\0': plain text */
    size_t from; /* plain text: where, in bytes */
    size_t size; /* and how much */
};

struct format {
    char *text; /* owned; plain text with its escapes resolved */
    struct format_part parts[FORMAT_PARTS_MAX];
    size_t count;
};

/**
 * Compiles `text`: %t topic, %p partition, %o offset, %k key, %s value, %h headers, %T timestamp in
 * milliseconds, %K and %S sizes of key and value in bytes (-1: null), %% a percent sign, and \n \t
 * \r \0 \\ \xNN. Returns 0, -BUS_ERR_INVALID_FORMAT naming the token, or -BUS_ERR_NO_MEMORY.
 */
int format_init(struct format *format, const char *text);

/** Releases it. */
void format_fini(struct format *format);

/** Writes a record; the caller looks at ferror(). */
void format_write(const struct format *format, const struct bus_record *record, FILE *to);

#endif
