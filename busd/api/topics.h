/* SPDX-License-Identifier: Apache-2.0
 * Making topics, for the handlers that do it on the way.
 */
#ifndef API_TOPICS_H
#define API_TOPICS_H

#include "api/request.h"

/** Creates a topic with the defaults of busd. 0 or a failure as controller_propose(). */
int topics_create_plain(struct api_request *r, const char *name);

#endif
