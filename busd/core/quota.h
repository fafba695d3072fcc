/* SPDX-License-Identifier: Apache-2.0
 * What one client has of busd's goods, and how much it may have. A charge that would pass the
 * limit is refused and changes nothing.
 *
 * Thread: the loop.
 */
#ifndef CORE_QUOTA_H
#define CORE_QUOTA_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/** The goods that are counted. */
enum quota_kind {
    QUOTA_BYTES,       /* requests and answers in memory */
    QUOTA_FDS,         /* file descriptors that the client has not taken from its socket yet */
    QUOTA_PARKED,      /* requests that wait for their answers */
    QUOTA_ATTACHED,    /* partitions that the client has attached */
    QUOTA_CONNECTIONS, /* of a user, or of all */
    QUOTA_KINDS
};

/** How much one client has and may have. */
struct quota {
    int64_t used[QUOTA_KINDS];
    int64_t limit[QUOTA_KINDS];
    struct quota *parent; /* charged as well: of the user, of all clients; borrowed, may be NULL */
    const char *who;      /* for error texts; borrowed, static */
};

/** A quota with nothing used and no limits (INT64_MAX). */
void quota_init(struct quota *quota, const char *who, struct quota *parent);

/** Sets one limit; what is in use stays, even above it. */
void quota_limit(struct quota *quota, enum quota_kind kind, int64_t limit);

/** Takes `amount` >= 0 here and from the parents. 0, or LIMIT_REACHED that names kind and limit. */
int quota_charge(struct quota *quota, enum quota_kind kind, int64_t amount);

/** Whether a charge would be accepted. */
bool quota_has(const struct quota *quota, enum quota_kind kind, int64_t amount);

/** Gives back what was charged. */
void quota_release(struct quota *quota, enum quota_kind kind, int64_t amount);

/** Gives back everything that is in use here, also to the parents. */
void quota_release_all(struct quota *quota);

#endif
