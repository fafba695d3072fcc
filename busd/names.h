/* SPDX-License-Identifier: Apache-2.0
 * Users and groups of the system by name, with a memory: asking may take long.
 */
#ifndef BUSD_NAMES_H
#define BUSD_NAMES_H

#include "core/access.h"

enum { NAMES_KEPT = 64, NAMES_KEPT_MS = 30000 };

/** What was asked and answered. */
struct names {
    struct {
        char name[65];
        bool is_group;
        bool found;
        uint32_t id;
        int64_t until_ms; /* CLOCK_MONOTONIC; 0: the place is free */
    } kept[NAMES_KEPT];
    struct access_names table; /* for access_of() */
};

/** Nothing is remembered. */
void names_init(struct names *names);

/** Forgets everything: users or groups may have changed. */
void names_forget(struct names *names);

#endif
