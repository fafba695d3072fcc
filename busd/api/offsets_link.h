/* SPDX-License-Identifier: Apache-2.0
 * What the api does for the committed offsets, which lie a floor below: logs, time, news.
 */
#ifndef API_OFFSETS_LINK_H
#define API_OFFSETS_LINK_H

#include "api/request.h"
#include "cluster/offsets.h"

/** Opens api->offsets. 0 or a failure. Thread: the loop. Blocks: for the disk. */
int offsets_link_open(struct api *api);

#endif
