/* SPDX-License-Identifier: Apache-2.0
 * The cleaner's writer: a new segment and its indexes, under names that nobody reads.
 */
#ifndef STORE_CLEAN_WRITE_H
#define STORE_CLEAN_WRITE_H

#include "store/cleaning.h"

#include <stdint.h>

struct clean_writer {
    struct clean_job *job; /* borrowed */
    int64_t base_offset;
    int fd;          /* owned */
    uint8_t *buffer; /* owned */
    size_t buffered;
    int64_t written;  /* handed to the kernel */
    int64_t started;  /* of that, on its way to the disk */
    int64_t position; /* with what is in the buffer */
    struct index index;
    struct index_batch *entries; /* owned; not in the files yet */
};

/** Creates the files, empty. 0 or a failure; clean_writer_close() in any case. Blocks: disk. */
int clean_writer_open(struct clean_writer *writer, struct clean_job *job, int64_t base_offset);

/** Adds a batch; the bytes are copied. 0, DISK_FULL, SYSTEM, CORRUPT_MESSAGE (too large). */
int clean_writer_put(struct clean_writer *writer, const struct batch_header *header,
    const uint8_t *bytes, size_t size);

/** Brings everything to stable storage. 0 or a failure. Blocks: for the disk. */
int clean_writer_finish(struct clean_writer *writer, int64_t end_offset);

/** Releases it; the files stay. */
void clean_writer_close(struct clean_writer *writer);

/** Removes the files of a segment that is not wanted. */
void clean_writer_discard(const struct clean_job *job, int64_t base_offset);

#endif
