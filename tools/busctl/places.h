/* SPDX-License-Identifier: Apache-2.0
 * Partitions as people name them: "orders", "orders:0,2-5".
 */
#ifndef BUSCTL_PLACES_H
#define BUSCTL_PLACES_H

#include "busctl/busctl.h"

/**
 * Marks the partitions of a list as in "0,2-5" in `wanted`, which has room for all `partitions`;
 * NULL: all. `what` stands before the list in errors, as in "-p ". Exit code after telling.
 */
int places_parse_list(
    struct ctl *ctl, const char *what, const char *list, bool *wanted, int32_t partitions);

/** Partitions; each once, by topic and then by number. All zeros: none. */
struct places {
    struct bus_place *rows; /* owned */
    char **names;           /* owned, and each of them */
    size_t count;
    size_t name_count;
};

/**
 * Adds TOPIC, or TOPIC:LIST as in "orders:0,2-5", asking busd what there is. Exit code after
 * telling; places_fini() in any case.
 */
int places_add(struct ctl *ctl, struct bus *bus, struct places *places, const char *text);

/** Whether the partition is one of them. */
bool places_have(const struct places *places, const char *topic, int32_t partition);

/** Compares two partitions by topic and number, for qsort() and bsearch(). */
int places_compare(const void *a, const void *b);

/** Releases them. */
void places_fini(struct places *places);

#endif
