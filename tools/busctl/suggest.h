/* SPDX-License-Identifier: Apache-2.0
 * Finds the word that a mistyped one was meant to be.
 */
#ifndef BUSCTL_SUGGEST_H
#define BUSCTL_SUGGEST_H

#include <stddef.h>

enum { SUGGEST_BYTES_MAX = 63 }; /* longer words are not compared */

struct suggest {
    const char *wanted; /* borrowed */
    const char *best;   /* borrowed from suggest_try(); NULL: nothing is near enough */
    size_t distance;    /* of the best, or one more than what is still near */
};

/** Starts the search for `wanted`. */
void suggest_init(struct suggest *suggest, const char *wanted);

/** Takes `word` if it is nearer than the best so far. */
void suggest_try(struct suggest *suggest, const char *word);

/** Letters to insert, remove, replace or swap between `a` and `b`; SIZE_MAX for long words. */
size_t suggest_distance(const char *a, const char *b);

#endif
