/* SPDX-License-Identifier: Apache-2.0
 * The checks of `log verify`: a segment, then its two indexes.
 */
#ifndef BUSCTL_VERIFY_H
#define BUSCTL_VERIFY_H

#include "busctl/busctl.h"
#include "busctl/logfile.h"
#include "busctl/logset.h"
#include "busctl/progress.h"

#include <limits.h>

struct verify {
    struct ctl *ctl;
    bool compacted; /* offsets may be missing everywhere */
    struct progress progress;
    int64_t files;
    int64_t indexes; /* files, too */
    int64_t batches;
    int64_t records;
    int64_t bytes;             /* of good batches */
    int64_t passed;            /* bytes of the files that were looked at */
    int64_t damages;           /* told */
    char checkpoint[PATH_MAX]; /* the cleaner-checkpoint that was found damaged last */
};

/** Damage that was found. */
struct verify_damage {
    const char *file;
    int64_t position; /* bytes */
    int64_t offset;   /* of the record there, or that was expected there */
    const char *problem;
};

/** Tells of damage on stderr, with --json also on stdout, and counts it. */
void verify_tell(struct verify *verify, const struct verify_damage *damage);

/** Checks one segment with its indexes. Returns 0 or a failure of reading. */
int verify_segment(struct verify *verify, const struct logset_file *entry);

/**
 * Checks the .index and .timeindex beside an open segment whose good batches end at `end` bytes.
 * Missing ones are fine. Returns 0 or a failure of reading.
 */
int verify_indexes(struct verify *verify, struct logfile *file, int64_t end);

#endif
