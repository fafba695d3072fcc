/* SPDX-License-Identifier: Apache-2.0
 * Which peer has which log attached.
 */
#ifndef API_ATTACH_H
#define API_ATTACH_H

#include "api/request.h"

/** A log that a peer has mapped; a pin of the log. */
struct api_attachment {
    struct open_log *log;
    bool writable;  /* at least one of its attachments is for writing */
    int references; /* attachments of the same log by the same peer */
    struct api_attachment *next;
};

/** Ends every attachment of a peer. */
void attach_end_all(struct api_peer *peer);

/** Gives room to the logs that the peer has attached for writing and that ask for it. */
void attach_make_room(struct api_peer *peer);

/** The peer's attachment of a partition; NULL when there is none. Borrowed. */
struct api_attachment *attach_find(
    const struct api_peer *peer, const uint8_t *topic_id, int32_t partition);

/** Notes one attachment more. 0, -BUS_ERR_LIMIT_REACHED or -BUS_ERR_NO_MEMORY. */
int attach_add(struct api_peer *peer, struct open_log *log, bool writable);

/** Ends one. */
void attach_drop(struct api_peer *peer, struct api_attachment *attachment);

#endif
