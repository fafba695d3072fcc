/* SPDX-License-Identifier: Apache-2.0
 * A segment file read offline, batch by batch, whatever is in it.
 */
#ifndef BUSCTL_LOGFILE_H
#define BUSCTL_LOGFILE_H

#include "base/buf.h"
#include "record/batch.h"

enum { LOGFILE_DECOMPRESSED_MAX = 1 << 30 };

struct logfile {
    int fd;
    int64_t size;        /* of the file in bytes */
    struct buf window;   /* a part of the file */
    int64_t window_at;   /* where it lies in the file */
    struct buf scratch;  /* decompressed records */
    const char *path;    /* borrowed */
    int64_t base_offset; /* by its name; -1: a spare */
};

/** Outcomes of logfile_batch(). */
enum {
    LOGFILE_BATCH = 0,
    LOGFILE_END = 1, /* the file ends here, or nothing was written from here on */
};

/** Opens `path` (borrowed). Returns 0 or a failure. */
int logfile_open(struct logfile *file, const char *path);

/** Closes it. */
void logfile_close(struct logfile *file);

/**
 * Reads the batch at `position` in bytes: header checked, the rest not. *bytes is valid until the
 * next call. Outcomes; failures: CORRUPT_MESSAGE (no batch stands here, or it is cut off by the
 * end of the file), or of reading. Blocks: for the disk.
 */
int logfile_batch(
    struct logfile *file, int64_t position, const uint8_t **bytes, struct batch_header *header);

/** Checks CRC and records of the batch that logfile_batch() just gave. 0 or a failure. */
int logfile_verify(struct logfile *file, const uint8_t *bytes, const struct batch_header *header);

/**
 * Looks behind damage for the next batch at or behind `position` whose CRC is right and whose
 * offset is not below `offset`. Returns its position, -1 when there is none, or a failure.
 */
int64_t logfile_resume(struct logfile *file, int64_t position, int64_t offset);

/** The position of the first byte at or behind `position` that is not zero; -1: none; a failure. */
int64_t logfile_nonzero(struct logfile *file, int64_t position);

/** The base offset in a name ("…/00000000000000000042.log": 42), -1 when there is none. */
int64_t logfile_base_of_name(const char *path);

#endif
