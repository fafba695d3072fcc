/* SPDX-License-Identifier: Apache-2.0
 * The two kinds of index files of a segment, read offline and whole: they are small.
 */
#ifndef BUSCTL_INDEXFILE_H
#define BUSCTL_INDEXFILE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum indexfile_kind {
    INDEXFILE_NONE = 0, /* the name is not that of an index */
    INDEXFILE_OFFSET,   /* .index */
    INDEXFILE_TIME,     /* .timeindex */
};

/* What helps when one is wrong. */
#define INDEXFILE_REMEDY ": it is derived, so stop busd and remove the file: it is made again"

struct indexfile {
    char path[PATH_MAX];
    enum indexfile_kind kind;
    uint8_t *bytes;     /* owned */
    size_t used;        /* bytes, without the entries of zeros at the end */
    size_t entry_bytes; /* of one entry */
};

/** An entry, its offset as in the file: relative to the base of the segment. */
struct indexfile_entry {
    int64_t offset;
    int64_t position; /* in the segment, bytes; of INDEXFILE_OFFSET */
    int64_t time_ms;  /* of INDEXFILE_TIME */
};

/** Outcomes of indexfile_open(). */
enum {
    INDEXFILE_READ = 0,
    INDEXFILE_MISSING = 1, /* there is none; it has no entries */
};

/** What kind of index a file of this name is. */
enum indexfile_kind indexfile_kind(const char *path);

/**
 * Writes the name of the file that belongs to the same segment and ends in `suffix` (".log",
 * ".index", ".timeindex") into `to`. False when it is too long.
 */
bool indexfile_sibling(const char *path, const char *suffix, char to[PATH_MAX]);

/** Reads the index file `path`. Outcomes, or a failure naming it. Blocks: for the disk. */
int indexfile_open(struct indexfile *index, const char *path);

/** Releases it; also after a failure. */
void indexfile_close(struct indexfile *index);

/** Reads the entry at `at` bytes, which is below `used`; false when the file ends within it. */
bool indexfile_entry(const struct indexfile *index, size_t at, struct indexfile_entry *entry);

#endif
