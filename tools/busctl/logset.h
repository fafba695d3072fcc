/* SPDX-License-Identifier: Apache-2.0
 * Finds segment files: a file, the folder of a partition, a folder with such folders.
 */
#ifndef BUSCTL_LOGSET_H
#define BUSCTL_LOGSET_H

#include <stddef.h>
#include <stdint.h>

/** A segment file. */
struct logset_file {
    char *path; /* owned */
    int64_t
        base; /* its first offset: by its name, of a spare by its first batch; -1: empty spare */
    int64_t next; /* base of the next one in the folder; -1: the last, or not known */
    int64_t size; /* bytes */
};

struct logset {
    struct logset_file *files; /* owned; folder by folder, by base */
    size_t count;
};

/**
 * Fills the set from `path`. Returns 0 or a failure naming what cannot be read; INVALID_ARGUMENT
 * when there is no segment file.
 */
int logset_init(struct logset *set, const char *path);

/** Releases it; also after a failure. */
void logset_fini(struct logset *set);

#endif
