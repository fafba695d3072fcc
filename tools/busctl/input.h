/* SPDX-License-Identifier: Apache-2.0
 * Cuts what is read from a file or a pipe into records, without copying them.
 */
#ifndef BUSCTL_INPUT_H
#define BUSCTL_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { INPUT_RECORD_BYTES_MAX = 1 << 30 };

struct input {
    int fd;                /* borrowed */
    const char *separator; /* ends a record; borrowed */
    size_t separator_size; /* at least 1 */
    char *buffer;          /* owned */
    size_t capacity;       /* bytes */
    size_t used;           /* bytes read into the buffer */
    size_t at;             /* start of the next record */
    size_t searched;       /* no separator starts before here */
    int64_t consumed;      /* bytes of the records given, with their separators */
    bool end;              /* the file has no more */
};

/** Outcomes. */
enum {
    INPUT_RECORD = 0,
    INPUT_MORE = 1, /* call input_fill(); records given before it are lost by that */
    INPUT_END = 2,
};

/** Starts with `fd`. Returns 0 or -BUS_ERR_NO_MEMORY. */
int input_init(struct input *input, int fd, const char *separator, size_t separator_size);

/** Releases the buffer. */
void input_fini(struct input *input);

/**
 * Gives the next record, without its separator; it lies in the buffer until input_fill(). What
 * stands behind the last separator is a record unless it is empty. Outcomes above.
 */
int input_next(struct input *input, char **record, size_t *size);

/**
 * Reads more. Returns 0, or a failure: of read(2) (EINTR counts as nothing read), MESSAGE_TOO_LARGE
 * for a record above INPUT_RECORD_BYTES_MAX, NO_MEMORY. Blocks: for the input.
 */
int input_fill(struct input *input);

#endif
