/* SPDX-License-Identifier: Apache-2.0
 * What a consumer tells its group: the topics that it reads. The rest of a member's metadata is for
 * the members alone; the bytes may come from anyone.
 */
#ifndef API_SUBSCRIPTION_H
#define API_SUBSCRIPTION_H

#include "core/group.h"

/** The protocol type of groups whose metadata can be read. */
#define SUBSCRIPTION_CONSUMER "consumer"

/** What a walk over the topics of a group ended with. */
enum subscription_end {
    SUBSCRIPTION_ALL = 0,        /* each() has seen all */
    SUBSCRIPTION_FOUND = 1,      /* each() returned true */
    SUBSCRIPTION_UNREADABLE = 2, /* some member's metadata cannot be read */
};

/**
 * Calls `each` with every topic (`n` bytes, no NUL) that a member of the group reads, until it
 * returns true. Borrows all. Thread: any. Blocks: no.
 */
enum subscription_end subscription_walk(const struct group *group,
    bool (*each)(void *context, const char *topic, size_t n), void *context);

/** Whether members of the group read the topic; also true where that cannot be told. */
bool subscription_has(const struct group *group, const char *topic);

#endif
