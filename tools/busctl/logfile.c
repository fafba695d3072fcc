/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/logfile.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    WINDOW_BYTES = 1 << 20,
    NAME_DIGITS = 20,
    /* Failures share the range of a result with positions, so they stay what they are: small. */
    POSITION_NONE = -1,
};

int64_t
logfile_base_of_name(const char *path)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    if (strspn(name, "0123456789") != NAME_DIGITS)
        return -1;
    int64_t base = 0;
    for (int i = 0; i < NAME_DIGITS; i++)
        if (__builtin_mul_overflow(base, 10, &base) ||
            __builtin_add_overflow(base, name[i] - '0', &base))
            return -1;
    return base;
}

int
logfile_open(struct logfile *file, const char *path)
{
    struct stat status;
    *file = (struct logfile){.path = path, .base_offset = logfile_base_of_name(path)};
    file->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (file->fd < 0)
        return err_sys(errno, "%s", path);
    int rc = 0;
    if (fstat(file->fd, &status) < 0)
        rc = err_sys(errno, "%s", path);
    else if (!S_ISREG(status.st_mode))
        rc = err_set(BUS_ERR_INVALID_ARGUMENT, "%s: is no file", path);
    if (rc < 0)
        close(file->fd);
    else
        file->size = status.st_size;
    return rc;
}

void
logfile_close(struct logfile *file)
{
    close(file->fd);
    buf_fini(&file->window);
    buf_fini(&file->scratch);
}

/** Reads `want` bytes (fewer at the end of the file) at `position` into the window. */
static int
read_window(struct logfile *file, int64_t position, size_t want)
{
    buf_clear(&file->window);
    int rc = buf_reserve(&file->window, want);
    if (rc < 0)
        return rc;
    size_t got = 0;
    while (got < want) {
        ssize_t n =
            pread(file->fd, file->window.data + got, want - got, (off_t)(position + (int64_t)got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(errno, "%s: read at position %lld", file->path, (long long)position);
        if (n == 0)
            break;
        got += (size_t)n;
    }
    file->window.length = got;
    file->window_at = position;
    return 0;
}

/** Gives at least `want` bytes at `position`, unless the file ends before. */
static int
window(struct logfile *file, int64_t position, size_t want, const uint8_t **bytes, size_t *avail)
{
    int64_t end = file->window_at + (int64_t)file->window.length;
    int64_t left = file->size - position;
    if (left < (int64_t)want)
        want = left > 0 ? (size_t)left : 0;
    if (position < file->window_at || position + (int64_t)want > end || file->window.length == 0) {
        size_t size = want > WINDOW_BYTES ? want : WINDOW_BYTES;
        if ((int64_t)size > left)
            size = left > 0 ? (size_t)left : 0;
        int rc = read_window(file, position, size);
        if (rc < 0)
            return rc;
    }
    size_t skip = (size_t)(position - file->window_at);
    *bytes = file->window.data + skip;
    *avail = file->window.length > skip ? file->window.length - skip : 0;
    return 0;
}

int
logfile_batch(
    struct logfile *file, int64_t position, const uint8_t **bytes, struct batch_header *header)
{
    size_t avail;
    if (position >= file->size)
        return LOGFILE_END;
    int rc = window(file, position, BATCH_HEADER_BYTES, bytes, &avail);
    if (rc < 0)
        return rc;
    rc = batch_header_read(*bytes, avail, header);
    if (rc == BATCH_SHORT && avail >= BATCH_HEADER_BYTES &&
        (int64_t)batch_bytes(header) <= file->size - position) {
        rc = window(file, position, batch_bytes(header), bytes, &avail);
        if (rc < 0)
            return rc;
        rc = batch_header_read(*bytes, avail, header);
    }
    if (rc == BATCH_SHORT)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "the file ends within a batch");
    return rc == BATCH_END ? LOGFILE_END : rc;
}

int
logfile_verify(struct logfile *file, const uint8_t *bytes, const struct batch_header *header)
{
    return batch_verify(
        bytes, batch_bytes(header), header, &file->scratch, LOGFILE_DECOMPRESSED_MAX, 0);
}

/** Whether a batch with a right CRC and an offset from `offset` on stands at `position`. */
static bool
is_batch(struct logfile *file, int64_t position, int64_t offset)
{
    const uint8_t *bytes;
    struct batch_header header;
    return logfile_batch(file, position, &bytes, &header) == LOGFILE_BATCH &&
           header.base_offset >= offset && batch_crc_ok(bytes, batch_bytes(&header));
}

int64_t
logfile_resume(struct logfile *file, int64_t position, int64_t offset)
{
    while (position + BATCH_HEADER_BYTES <= file->size) {
        const uint8_t *bytes;
        size_t avail;
        int rc = window(file, position, BATCH_HEADER_BYTES, &bytes, &avail);
        if (rc < 0)
            return rc;
        if (avail < BATCH_HEADER_BYTES)
            break;
        const uint8_t *magic =
            memchr(bytes + BATCH_AT_MAGIC, BATCH_MAGIC, avail - BATCH_HEADER_BYTES + 1);
        if (!magic) {
            position += (int64_t)(avail - BATCH_HEADER_BYTES + 1);
            continue;
        }
        position += magic - BATCH_AT_MAGIC - bytes;
        if (is_batch(file, position, offset))
            return position;
        position++;
    }
    return POSITION_NONE;
}

int64_t
logfile_nonzero(struct logfile *file, int64_t position)
{
    while (position < file->size) {
        const uint8_t *bytes;
        size_t avail;
        /* What was only reserved need not be read. Without SEEK_DATA everything is data. */
        off_t data = lseek(file->fd, (off_t)position, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            break;
        if (data > position)
            position = data;
        int rc = window(file, position, 1, &bytes, &avail);
        if (rc < 0)
            return rc;
        if (avail == 0)
            break;
        /* Equal to itself moved by one and zero at the start: zero all over. */
        bool zero = bytes[0] == 0 && memcmp(bytes, bytes + 1, avail - 1) == 0;
        for (size_t i = 0; i < avail && !zero; i++)
            if (bytes[i])
                return position + (int64_t)i;
        position += (int64_t)avail;
    }
    return POSITION_NONE;
}
