/* SPDX-License-Identifier: Apache-2.0
 * What the calls about consumer groups share. busd answers a large question in one message, so they
 * ask for a number of groups or partitions at a time.
 */
#ifndef CLIENT_GROUPS_H
#define CLIENT_GROUPS_H

#include "client/bus.h"

enum {
    GROUPS_AT_ONCE = 200,     /* named in one request */
    PARTITIONS_AT_ONCE = 500, /* named in one request */
};

/** The answers that a snapshot refers to. All zeros: none. */
struct replies {
    struct conn_reply **items; /* owned */
    size_t count;
};

/** Adds an answer; takes it, also when it fails with NO_MEMORY. */
int replies_keep(struct replies *replies, struct conn_reply *reply);

/** Releases them. */
void replies_fini(struct replies *replies);

/**
 * Asks, and asks again while busd says that it is still loading what it knows of groups: `error_of`
 * finds the error code in the answer that tells so. Else as conn_call().
 */
int groups_call(struct bus *bus, int16_t api_key, const void *request, unsigned flags,
    int16_t (*error_of)(const void *answer), int64_t deadline_ns, struct conn_reply **reply);

/** Turns an error code about a group into a failure that names it and the remedy; 0 stays 0. */
int groups_refused(const char *group, int16_t wire);

/** The same about a partition that a group has committed for. */
int groups_partition_refused(const char *group, const char *topic, int32_t partition, int16_t wire);

/** The failure for an answer that leaves out what was asked for. */
int groups_no_answer(const char *group);

#endif
