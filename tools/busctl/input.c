/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/input.h"

#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_BYTES = 1 << 20 };

int
input_init(struct input *input, int fd, const char *separator, size_t separator_size)
{
    *input = (struct input){.fd = fd,
        .separator = separator,
        .separator_size = separator_size,
        .buffer = malloc(FIRST_BYTES),
        .capacity = FIRST_BYTES};
    return input->buffer ? 0 : err_no_memory();
}

void
input_fini(struct input *input)
{
    free(input->buffer);
    input->buffer = NULL;
}

static char *
find_separator(const struct input *input)
{
    const char *from = input->buffer + input->searched;
    size_t left = input->used - input->searched;
    if (input->separator_size == 1)
        return memchr(from, input->separator[0], left);
    return memmem(from, left, input->separator, input->separator_size);
}

static int
last_record(struct input *input, char **record, size_t *size)
{
    if (!input->end)
        return INPUT_MORE;
    if (input->at == input->used)
        return INPUT_END;
    *record = input->buffer + input->at;
    *size = input->used - input->at;
    input->consumed += (int64_t)*size;
    input->at = input->searched = input->used;
    return INPUT_RECORD;
}

int
input_next(struct input *input, char **record, size_t *size)
{
    char *found = find_separator(input);
    if (!found) {
        /* The last bytes may be the first of a separator. */
        if (input->used - input->searched >= input->separator_size)
            input->searched = input->used - (input->separator_size - 1);
        return last_record(input, record, size);
    }
    *record = input->buffer + input->at;
    *size = (size_t)(found - *record);
    input->consumed += (int64_t)(*size + input->separator_size);
    input->at += *size + input->separator_size;
    input->searched = input->at;
    return INPUT_RECORD;
}

/** Moves the unfinished record to the start, and doubles the buffer if that gives no room. */
static int
make_room(struct input *input)
{
    memmove(input->buffer, input->buffer + input->at, input->used - input->at);
    input->used -= input->at;
    input->searched -= input->at;
    input->at = 0;
    if (input->used < input->capacity / 2)
        return 0;
    if (input->used > INPUT_RECORD_BYTES_MAX)
        return err_set(BUS_ERR_MESSAGE_TOO_LARGE,
            "a record of more than %d bytes: is the record "
            "separator right?",
            INPUT_RECORD_BYTES_MAX);
    char *buffer = realloc(input->buffer, 2 * input->capacity);
    if (!buffer)
        return err_no_memory();
    input->buffer = buffer;
    input->capacity *= 2;
    return 0;
}

int
input_fill(struct input *input)
{
    int rc = make_room(input);
    if (rc < 0)
        return rc;
    ssize_t got = read(input->fd, input->buffer + input->used, input->capacity - input->used);
    if (got < 0)
        return errno == EINTR ? 0 : err_sys(errno, "read");
    input->used += (size_t)got;
    input->end = got == 0;
    return 0;
}
