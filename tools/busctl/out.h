/* SPDX-License-Identifier: Apache-2.0
 * Where data goes. A command says what it has, as objects, lists of objects and fields; the text
 * filling makes lines and tables of it, the JSON filling one object a line.
 *
 *     out_list(out, NULL);                  a table            one object a line
 *     out_object(out, NULL);
 *     out_text(out, "topic", name);
 *     out_end(out);
 *     out_end(out);
 *
 * At the top stands an object or a list; an object may have fields and lists, a list has objects.
 * Fields of the objects of one list have the same keys in the same order. Keys are lower case
 * words joined by '_', static strings.
 */
#ifndef BUSCTL_OUT_H
#define BUSCTL_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/** A name and a value of bytes, as in the headers of a record. */
struct out_pair {
    const void *name;
    size_t name_size;
    const void *value; /* NULL: null */
    size_t value_size;
};

struct out;

/** One filling. */
struct out_ops {
    void (*object)(struct out *out, const char *key);
    void (*list)(struct out *out, const char *key);
    void (*end)(struct out *out);
    void (*integer)(struct out *out, const char *key, int64_t value);
    void (*none)(struct out *out, const char *key);
    void (*real)(struct out *out, const char *key, double value);
    void (*boolean)(struct out *out, const char *key, bool value);
    void (*bytes)(struct out *out, const char *key, const void *bytes, size_t size);
    void (*time)(struct out *out, const char *key, int64_t time_ms);
    void (*pairs)(struct out *out, const char *key, const struct out_pair *pairs, size_t count);
    void (*flush)(struct out *out);
    void (*free)(struct out *out);
};

/** The start of each filling's own struct. */
struct out {
    const struct out_ops *ops;
    FILE *to;    /* borrowed */
    bool failed; /* memory ran out: something is missing in the output */
};

/** Makes the text filling over `to`; NULL when memory is out. The caller closes it. */
struct out *out_text_open(FILE *to);

/** Makes the JSON filling over `to`; NULL when memory is out. The caller closes it. */
struct out *out_json_open(FILE *to);

/** Begins an object; `key` NULL at the top and in a list. */
void out_object(struct out *out, const char *key);

/** Begins a list of objects; `key` NULL at the top. */
void out_list(struct out *out, const char *key);

/** Ends what was begun last. */
void out_end(struct out *out);

/** A field that is a whole number. */
void out_integer(struct out *out, const char *key, int64_t value);

/** As out_integer() for a number that is not known, or that there is not: null. */
void out_none(struct out *out, const char *key);

/** As out_integer(); a number below zero is none. */
void out_offset(struct out *out, const char *key, int64_t value);

/** A field with a decimal fraction. */
void out_real(struct out *out, const char *key, double value);

/** A field that is true or false. */
void out_boolean(struct out *out, const char *key, bool value);

/** A field of text; NULL is null. */
void out_text(struct out *out, const char *key, const char *value);

/** A field of any bytes; NULL is null. JSON: a string, or {"base64":…} when it is not UTF-8. */
void out_bytes(struct out *out, const char *key, const void *bytes, size_t size);

/** A point in time in milliseconds since 1970; JSON: that number. -1: none. */
void out_time(struct out *out, const char *key, int64_t time_ms);

/** A field of names and values; they are borrowed for the call. */
void out_pairs(struct out *out, const char *key, const struct out_pair *pairs, size_t count);

/** Hands on what is complete, for a reader that follows. */
void out_flush(struct out *out);

/** Releases it. Returns false when memory had run out. */
bool out_close(struct out **out);

#endif
