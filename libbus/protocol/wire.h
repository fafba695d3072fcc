/* SPDX-License-Identifier: Apache-2.0
 * The codec: one decoder and one encoder for every message, which walk the tables of schema.h.
 *
 * Decoding checks everything: the bytes may come from anyone. A field that the version does not
 * have gets its default (see kafka.messages). Encoding drops what the version does not have, and
 * writes NULL or null as "" or empty where the version knows no null, so a struct that starts as
 * {0} or with wire_init() and is filled in part always makes a valid message.
 */
#ifndef PROTOCOL_WIRE_H
#define PROTOCOL_WIRE_H

#include "base/buf.h"
#include "protocol/arena.h"
#include "protocol/schema.h"

/** The longest string of a message, bytes without the NUL; Kafka's limit in all versions. */
enum { WIRE_STRING_BYTES_MAX = 32767 };

/** Sets every member of a struct of this schema to its default. Thread: any. Blocks: no. */
void wire_init(const struct schema *schema, void *message);

/**
 * `count` structs of this schema, each as after wire_init(). The arena owns them. NULL with the
 * error text set when the arena is used up. Thread: the arena's. Blocks: no.
 */
void *wire_array(const struct schema *schema, struct arena *arena, size_t count);

/**
 * Decodes the `n` bytes at `p` into the struct at `out`, which needs no initialisation. Strings,
 * arrays and structs are copied into the arena; struct bytes point into `p` and live as long as it.
 *
 * Returns 0, -BUS_ERR_UNSUPPORTED_VERSION when the codec has no such version, or
 * -BUS_ERR_INVALID_REQUEST when the bytes are not exactly one message (also: a string with a NUL
 * byte), or what the arena failed with; then `out` is not to be used. Thread: any. Blocks: no.
 */
int wire_decode(const struct schema *schema, int16_t version, const uint8_t *p, size_t n, void *out,
    struct arena *arena);

/**
 * Appends the message to `out`. Borrows all. Returns 0, -BUS_ERR_UNSUPPORTED_VERSION,
 * -BUS_ERR_INVALID_REQUEST when a string or a byte string is longer than the format can tell, or
 * -BUS_ERR_NO_MEMORY; then `out` is as long as before. Thread: any. Blocks: no.
 */
int wire_encode(const struct schema *schema, int16_t version, const void *in, struct buf *out);

/** A RECORDS payload that was left out of an encoded message. */
struct wire_gap {
    size_t at;        /* where in the buffer the payload belongs, bytes from its start */
    size_t bytes;     /* how long it is */
    const void *data; /* what the message had in bytes.data; the codec has not read it */
};

/** The gaps of one or more messages in one buffer, ascending. Zeroed: none. */
struct wire_gaps {
    struct wire_gap *items; /* owned */
    size_t count;
    size_t capacity; /* items allocated */
    size_t bytes;    /* the sum of all gaps */
};

/** Releases the list; it is as when zeroed. */
void wire_gaps_fini(struct wire_gaps *gaps);

/**
 * As wire_encode(), but leaves the payloads of RECORDS fields out, lengths excepted, and notes
 * them in `gaps`: a door sends the bytes between the gaps from the buffer and each payload from
 * where it lies. On failure the list is as before.
 */
int wire_encode_gaps(const struct schema *schema, int16_t version, const void *in, struct buf *out,
    struct wire_gaps *gaps);

#endif
