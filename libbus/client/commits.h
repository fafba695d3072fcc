/* SPDX-License-Identifier: Apache-2.0
 * The list of commits under way that is inside of a consumer: see commit.h.
 */
#ifndef CLIENT_COMMITS_H
#define CLIENT_COMMITS_H

struct commit;

/** All zero is empty. Only the owner's thread changes it. */
struct commits {
    struct commit *first, *last; /* owned; in the order of the calls */
    int count;
};

#endif
