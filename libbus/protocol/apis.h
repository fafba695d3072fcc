/* SPDX-License-Identifier: Apache-2.0
 * The table of APIs: one row per request that busd serves, sorted by key.
 */
#ifndef PROTOCOL_APIS_H
#define PROTOCOL_APIS_H

#include "protocol/messages.h"
#include "protocol/schema.h"

/** The doors through which an API may be called; bits of api_info.doors. */
enum {
    API_DOOR_UNIX = 1,
    API_DOOR_KAFKA = 2,
    API_DOOR_PEER = 4,
};

struct api_info {
    int16_t key;
    const char *name;      /* "Metadata" */
    int16_t min_announced; /* what ApiVersions tells; old clients look for exact versions */
    int16_t min, max;      /* versions that are served */
    int16_t flexible_from; /* SCHEMA_NEVER: none is flexible */
    const struct schema *request;
    const struct schema *response;
    unsigned doors;
};

/** All rows, `api_table_count` of them, sorted by key. */
extern const struct api_info api_table[];
extern const size_t api_table_count;

/** The row of a key; NULL when there is none. Thread: any. Blocks: no. */
const struct api_info *api_find(int16_t key);

/** Whether `version` of the API is served. Thread: any. Blocks: no. */
bool api_serves(const struct api_info *api, int16_t version);

#endif
