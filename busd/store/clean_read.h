/* SPDX-License-Identifier: Apache-2.0
 * The cleaner's reader: whole batches of a segment, copied out and verified.
 */
#ifndef STORE_CLEAN_READ_H
#define STORE_CLEAN_READ_H

#include "store/clean_filter.h"
#include "store/cleaning.h"

#include <stdint.h>

struct clean_reader {
    struct clean_job *job; /* borrowed */
    const struct clean_source *source;
    int fd;           /* owned */
    int64_t position; /* of the next batch */
    int64_t expected; /* no offset below comes next */
    uint8_t *window;  /* owned */
    size_t capacity;
    int64_t window_position;
    size_t window_bytes;
};

/** Outcomes of clean_reader_next(). */
enum { CLEAN_READER_END = 0, CLEAN_READER_BATCH = 1 };

/** Opens a source. 0 or a failure; clean_reader_close() in any case. */
int clean_reader_open(
    struct clean_reader *reader, struct clean_job *job, const struct clean_source *source);

/** Closes it. */
void clean_reader_close(struct clean_reader *reader);

/**
 * The next batch, borrowed until the next call. CORRUPT_MESSAGE: it is damaged, or does not belong
 * here, or the segment ends too early. SYSTEM and NO_MEMORY else. Blocks: for the disk, and for the
 * rate.
 */
int clean_reader_next(struct clean_reader *reader, struct clean_batch *batch);

/** Counts bytes against the rate; sleeps when there were too many. */
void clean_throttle(struct clean_job *job, size_t bytes);

/** Whether the job should end at once. */
bool clean_stopped(const struct clean_job *job);

enum { CLEAN_FILE_BYTES = 48 };

/** "00000000000000000042.log.clean" and the like. */
void clean_file_name(char name[CLEAN_FILE_BYTES], int64_t base_offset, const char *suffix);

#endif
