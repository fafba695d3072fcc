/* SPDX-License-Identifier: Apache-2.0
 * Authentication of a peer: the requests of SASL, and what the dispatch has to know of it.
 */
#ifndef API_SASL_H
#define API_SASL_H

#include "api/request.h"

/** Whether the peer's next frame is a token without a header, after a SaslHandshake 0. */
bool sasl_takes_raw(const struct api_peer *peer);

/** Handles such a frame; as a handler. */
int sasl_raw(struct api_request *r, const uint8_t *token, size_t n);

/** Whether the peer's authentication has expired. */
bool sasl_is_over(const struct api_request *r);

/** Forgets what a peer that goes away has said. */
void sasl_end(struct api_peer *peer);

#endif
