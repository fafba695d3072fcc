/* SPDX-License-Identifier: Apache-2.0
 * Which peer has which log attached.
 */
#ifndef API_ATTACH_H
#define API_ATTACH_H

#include "api/request.h"

/** A log that a peer has mapped; a pin of the log. */
struct api_attachment {
    struct open_log *log;
    bool writable; /* the peer has it mapped for writing, perhaps for reading as well */
    bool refused;  /* it may no more, and the pages that it has mapped are over */
    struct api_attachment *next;
};

/**
 * Looks whether all who have logs mapped may still, and starts new pages for a log that somebody
 * has and may not: what is appended later goes where it cannot look, and its own appends reach
 * nobody. What cannot be done now is done at api.review_ms.
 */
void attach_review(struct api *api);

/** Ends every attachment of a peer. */
void attach_end_all(struct api_peer *peer);

/** Gives room, or has the keeper give it, to the logs that the peer writes to and that ask for it.
 */
void attach_make_room(const struct api_wiring *wiring, struct api_peer *peer);

/** The peer's attachment of a partition; NULL when there is none. Borrowed. */
struct api_attachment *attach_find(
    const struct api_peer *peer, const uint8_t *topic_id, int32_t partition);

/**
 * Notes that the peer has the log, for writing if it has not had it for that before. 0,
 * -BUS_ERR_LIMIT_REACHED or -BUS_ERR_NO_MEMORY.
 */
int attach_add(struct api *api, struct api_peer *peer, struct open_log *log, bool writable);

/** The peer has it no more, however often it was added. */
void attach_end(struct api_peer *peer, struct api_attachment *attachment);

#endif
