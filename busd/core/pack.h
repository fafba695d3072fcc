/* SPDX-License-Identifier: Apache-2.0
 * Integers and strings in the bytes of commands and rows: big-endian, strings with a 16-bit length
 * in front. Reading past the end sets `bad` and gives zeroes, so that a reader needs one check at
 * the end. Inside core/ only.
 */
#ifndef CORE_PACK_H
#define CORE_PACK_H

#include "base/buf.h"
#include "protocol/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PACK_FORM = 1 }; /* the first byte of commands and rows */

/** Appends a byte. */
void pack_u8(struct buf *out, unsigned value);

/** Appends four bytes. */
void pack_i32(struct buf *out, int32_t value);

/** Appends eight bytes. */
void pack_i64(struct buf *out, int64_t value);

/** Appends length and bytes of a string of at most 65534 bytes; NULL is kept. */
void pack_string(struct buf *out, const char *text);

/** Where a reader is. Borrows the bytes. */
struct unpack {
    const uint8_t *at, *end;
    bool bad; /* something was missing or malformed */
};

/** A byte. */
unsigned unpack_u8(struct unpack *in);

/** Four bytes. */
int32_t unpack_i32(struct unpack *in);

/** Eight bytes. */
int64_t unpack_i64(struct unpack *in);

/** `n` bytes, borrowed; NULL when there are not so many. */
const uint8_t *unpack_bytes(struct unpack *in, size_t n);

/** A string, copied into the arena; NULL for a null, for damage (also: a NUL inside) and, with
 * `bad` set, without memory. */
const char *unpack_string(struct unpack *in, struct arena *arena);

#endif
