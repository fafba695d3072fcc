/* SPDX-License-Identifier: Apache-2.0
 * What stands around a message on a connection: the size prefix, the request and response headers,
 * and a reader that cuts a stream of bytes into frames.
 */
#ifndef PROTOCOL_FRAME_H
#define PROTOCOL_FRAME_H

#include "base/buf.h"
#include "protocol/apis.h"
#include "protocol/arena.h"

/* Everything here borrows what it is given and may run in any thread; nothing blocks. */

enum {
    FRAME_BYTES_MAX = 104857600, /* the largest frame that is accepted, as Kafka; without prefix */
    FRAME_PREFIX_BYTES = 4,
};

/** Starts a frame: appends the room of the size prefix. Returns where it starts, for frame_end. */
size_t frame_begin(struct buf *out);

/**
 * Patches the size of the frame that frame_begin() started at `start`: what was appended since, and
 * `gap_bytes` that are sent from elsewhere (wire_gaps.bytes, else 0). Returns 0; when a put failed
 * or the frame is too large for its prefix, an error, and cuts `out` back to `start`.
 */
int frame_end(struct buf *out, size_t start, size_t gap_bytes);

struct request_header {
    int16_t api_key;
    int16_t api_version;
    int32_t correlation_id;
    const char *client_id; /* NULL: none was given */
};

/**
 * Reads the header of the request in a frame. `client_id` is copied into the arena. Returns where
 * the body starts, or -BUS_ERR_INVALID_REQUEST. A key or a version that is not served is no error
 * here: the caller asks api_find() and api_serves() before it decodes the body.
 */
int request_header_decode(
    const uint8_t *frame, size_t n, struct request_header *header, struct arena *arena);

/** Appends a request header in the form that the version of the API has. */
void request_header_encode(
    struct buf *out, const struct api_info *api, const struct request_header *header);

/** Appends a response header in the form that the version of the API has. */
void response_header_encode(
    struct buf *out, const struct api_info *api, int16_t version, int32_t correlation_id);

/**
 * Reads the header of a response to a request of this version. Returns where the body starts, or
 * -BUS_ERR_INVALID_REQUEST.
 */
int response_header_decode(const struct api_info *api, int16_t version, const uint8_t *frame,
    size_t n, int32_t *correlation_id);

/** Whether the response header has tagged fields: flexible versions, ApiVersions never. */
bool response_header_flexible(const struct api_info *api, int16_t version);

/**
 * Cuts a stream into frames. Bytes come in by space + filled (read straight into the reader) or
 * by feed (copied); next gives the frames. Who takes all frames that are ready before bringing more
 * bytes needs room for one frame and one read at most.
 *
 * Thread: one at a time. Blocks: no.
 */
struct frame_reader {
    uint8_t *data;          /* owned */
    size_t start, end;      /* the bytes not yet given out as frames */
    size_t capacity;        /* bytes allocated */
    size_t frame_bytes_max; /* a larger frame is refused before memory is taken for it */
    size_t kept;            /* an empty reader gives back more than this; 64 KiB unless set */
};

/** A reader without bytes; allocates nothing. `frame_bytes_max` is at most FRAME_BYTES_MAX. */
void frame_reader_init(struct frame_reader *reader, size_t frame_bytes_max);

/** Releases the memory; frames that it gave are gone. */
void frame_reader_fini(struct frame_reader *reader);

/**
 * Room for incoming bytes, `*n` of them (at least one), or NULL with the error text set. Frames
 * given out before are gone: they may have moved. Memory grows with what has arrived, not with
 * what a prefix promises.
 */
uint8_t *frame_reader_space(struct frame_reader *reader, size_t *n);

/** Gives the memory back that frames have left behind, if no bytes wait and it is more than `kept`.
 * Frames that it gave are gone then. */
void frame_reader_trim(struct frame_reader *reader, size_t kept);

/** Bytes that have come and were not given out as frames. */
size_t frame_reader_waiting(const struct frame_reader *reader);

/** Says that the first `n` bytes of the space have been filled. */
void frame_reader_filled(struct frame_reader *reader, size_t n);

/** space, copy and filled for bytes that lie elsewhere. Returns 0 or -BUS_ERR_NO_MEMORY. */
int frame_reader_feed(struct frame_reader *reader, const void *bytes, size_t n);

/** What frame_reader_next() found. */
enum frame_outcome {
    FRAME_WANTED = 0, /* no whole frame yet: more bytes are needed */
    FRAME_READY = 1,
};

/**
 * The next whole frame, without its prefix: `*frame` points into the reader and is valid until the
 * next space or feed. Returns a frame_outcome, or -BUS_ERR_INVALID_REQUEST for a size that is
 * negative or above the limit: the stream cannot go on.
 */
int frame_reader_next(struct frame_reader *reader, const uint8_t **frame, size_t *n);

#endif
