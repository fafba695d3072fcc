/* SPDX-License-Identifier: Apache-2.0
 * meta/backup: the identity and the rows as lines of text, with a CRC at the end.
 *
 *     shmbus-metadata 1
 *     cluster <22 letters>
 *     instance <hex>
 *     node <number>
 *     row <key in hex> <value in hex>        as many as there are
 *     end <CRC-32C of all lines above, 8 hex digits>
 */
#include "base/buf.h"
#include "base/trace.h"
#include "meta/env.h"
#include "record/crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BACKUP_FORM = 1,
    BACKUP_BYTES_MAX = 1 << 30,
    PATH_BYTES_MAX = 300,
    END_LINE_BYTES = 13, /* "end 01234567\n" */
};

static void put_text(struct buf *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void
put_text(struct buf *out, const char *format, ...)
{
    char line[128];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n > 0)
        buf_put(out, line, (size_t)n);
}

static void
put_hex(struct buf *out, const void *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = bytes;
    char *to = (char *)buf_extend(out, 2 * n);
    for (size_t i = 0; to && i < n; i++) {
        to[2 * i] = digits[from[i] >> 4];
        to[2 * i + 1] = digits[from[i] & 15];
    }
}

static int
put_row(void *context, const struct meta_row *row)
{
    struct buf *out = context;
    buf_put(out, "row ", 4);
    put_hex(out, row->key, row->key_bytes);
    buf_put(out, " ", 1);
    put_hex(out, row->value, row->value_bytes);
    buf_put(out, "\n", 1);
    return buf_failed(out) ? err_no_memory() : 0;
}

static int
put_all(struct meta *meta, struct buf *out)
{
    put_text(out, "shmbus-metadata %d\n", BACKUP_FORM);
    put_text(out, "cluster %s\ninstance ", meta->identity.cluster_id);
    put_hex(out, meta->identity.instance_id, sizeof meta->identity.instance_id);
    put_text(out, "\nnode %" PRId32 "\n", meta->identity.node_id);
    int rc = meta_rows(meta, put_row, out);
    if (rc < 0)
        return rc;
    put_text(out, "end %08" PRIx32 "\n", crc32c(out->data, out->length));
    return buf_failed(out) ? err_no_memory() : 0;
}

static int
write_all(int fd, const struct buf *content, const char *path)
{
    for (size_t done = 0; done < content->length;) {
        ssize_t n = write(fd, content->data + done, content->length - done);
        if (n < 0 && errno != EINTR)
            return err_sys(errno, "writing %s", path);
        done += n > 0 ? (size_t)n : 0;
    }
    return fdatasync(fd) == 0 ? 0 : err_sys(errno, "flushing %s", path);
}

/** Writes beside, then renames: whoever looks finds the old copy or the new one. */
static int
replace(const struct meta *meta, const struct buf *content)
{
    char path[PATH_BYTES_MAX], beside[PATH_BYTES_MAX];
    snprintf(path, sizeof path, "%s/backup", meta->folder);
    snprintf(beside, sizeof beside, "%s/backup.new", meta->folder);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(errno, "opening %s", beside);
    int rc = write_all(fd, content, beside);
    close(fd);
    if (rc == 0 && rename(beside, path) < 0)
        rc = err_sys(errno, "renaming %s", beside);
    if (rc < 0)
        unlink(beside);
    return rc;
}

static int
read_all(const char *path, struct buf *content)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? BACKUP_NONE : err_sys(errno, "opening %s", path);
    struct stat about;
    int rc = 0;
    if (fstat(fd, &about) < 0 || about.st_size > BACKUP_BYTES_MAX)
        rc = err_set(BUS_ERR_CORRUPT_MESSAGE, "%s is too large", path);
    uint8_t *to = rc == 0 ? buf_extend(content, (size_t)about.st_size + 1) : NULL;
    if (rc == 0 && !to)
        rc = err_no_memory();
    size_t done = 0;
    while (rc == 0 && done < (size_t)about.st_size) {
        ssize_t n = read(fd, to + done, (size_t)about.st_size - done);
        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            rc = err_sys(errno, "reading %s", path);
        done += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    content->length = done;
    return rc;
}

/** Whether the copy says the same already, as it does at most starts. */
static bool
is_same(const struct meta *meta, const struct buf *content)
{
    char path[PATH_BYTES_MAX];
    struct buf present;
    snprintf(path, sizeof path, "%s/backup", meta->folder);
    buf_init(&present);
    bool same = read_all(path, &present) == 0 && present.length == content->length &&
                memcmp(present.data, content->data, content->length) == 0;
    buf_fini(&present);
    return same;
}

int
meta_backup(struct meta *meta)
{
    pthread_mutex_lock(&meta->backup_mutex);
    int rc = 0;
    /* Acquire: pairs with the store in meta_commit(); what was committed before is in the rows. */
    if (atomic_exchange_explicit(&meta->backup_due, false, memory_order_acquire)) {
        struct buf content;
        buf_init(&content);
        rc = put_all(meta, &content);
        if (rc == 0 && !is_same(meta, &content))
            rc = replace(meta, &content);
        buf_fini(&content);
        if (rc < 0)
            atomic_store_explicit(&meta->backup_due, true, memory_order_release);
    }
    pthread_mutex_unlock(&meta->backup_mutex);
    return err_prefix(rc, "backup of the metadata");
}

/* ---- restoring ------------------------------------------------------------------------------ */

static int
digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/** Turns hex at `*at` into bytes in place; returns how many there are, and moves `*at` behind. */
static size_t
take_hex(char **at)
{
    uint8_t *to = (uint8_t *)*at;
    size_t n = 0;
    while (digit((*at)[0]) >= 0 && digit((*at)[1]) >= 0) {
        to[n++] = (uint8_t)(digit((*at)[0]) * 16 + digit((*at)[1]));
        *at += 2;
    }
    return n;
}

static int
bad_line(const char *line)
{
    return err_set(BUS_ERR_CORRUPT_MESSAGE, "the line \"%.40s\" makes no sense", line);
}

static int
take_row(struct meta *meta, MDB_txn *txn, char *at)
{
    struct meta_row row = {0};
    const char *line = at;
    row.key = at;
    row.key_bytes = take_hex(&at);
    if (row.key_bytes == 0 || *at != ' ')
        return bad_line(line);
    row.value = ++at;
    row.value_bytes = take_hex(&at);
    if (row.value_bytes == 0 || *at != '\0')
        return bad_line(line);
    return env_put(meta, txn, TABLE_ROWS, &row);
}

static int
take_instance(struct meta *meta, char *at)
{
    char *bytes = at;
    if (take_hex(&at) != sizeof meta->identity.instance_id || *at != '\0')
        return bad_line(bytes);
    memcpy(meta->identity.instance_id, bytes, sizeof meta->identity.instance_id);
    return 0;
}

static int
take_line(struct meta *meta, MDB_txn *txn, char *line)
{
    char *space = strchr(line, ' ');
    if (!space)
        return bad_line(line);
    *space = '\0';
    char *rest = space + 1;
    if (strcmp(line, "row") == 0)
        return take_row(meta, txn, rest);
    if (strcmp(line, "instance") == 0)
        return take_instance(meta, rest);
    if (strcmp(line, "node") == 0) {
        meta->identity.node_id = (int32_t)strtol(rest, NULL, 10);
        return 0;
    }
    if (strcmp(line, "cluster") != 0 || strlen(rest) != META_CLUSTER_ID_BYTES)
        return bad_line(line);
    memcpy(meta->identity.cluster_id, rest, META_CLUSTER_ID_BYTES);
    return 0;
}

/** Checks the frame around the lines: first line and CRC. Gives the lines, NUL-terminated. */
static int
check_frame(struct buf *content, char **lines)
{
    static const char head[] = "shmbus-metadata ";
    char *text = (char *)content->data;
    if (content->length < sizeof head + END_LINE_BYTES || memcmp(text, head, sizeof head - 1) != 0)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "it is no backup of metadata");
    long form = strtol(text + sizeof head - 1, lines, 10);
    if (form > BACKUP_FORM)
        return err_set(BUS_ERR_DATA_VERSION, "it was written by a newer busd; start that one");
    char *end = text + content->length - END_LINE_BYTES;
    char right[END_LINE_BYTES + 1];
    snprintf(right, sizeof right, "end %08" PRIx32 "\n", crc32c(text, (size_t)(end - text)));
    if (form < 1 || **lines != '\n' || memcmp(end, right, END_LINE_BYTES) != 0)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "its checksum is wrong");
    ++*lines;
    *end = '\0';
    return 0;
}

static int
take_lines(struct meta *meta, MDB_txn *txn, char *lines)
{
    int rc = 0;
    for (char *line; rc == 0 && (line = strsep(&lines, "\n")) && *line;)
        rc = take_line(meta, txn, line);
    return rc < 0 ? rc : env_put_identity(meta, txn);
}

static int
restore(struct meta *meta, MDB_txn *txn, struct buf *content)
{
    char *lines;
    int rc = check_frame(content, &lines);
    return rc < 0 ? rc : take_lines(meta, txn, lines);
}

int
backup_restore(struct meta *meta, MDB_txn *txn)
{
    char path[PATH_BYTES_MAX];
    struct buf content;
    snprintf(path, sizeof path, "%s/backup", meta->folder);
    buf_init(&content);
    int rc = read_all(path, &content);
    if (rc == 0) {
        rc = err_prefix(restore(meta, txn, &content), "%s", path);
        if (rc == 0)
            trace(TRACE_WARNING, "%s/data.mdb was missing: the metadata was made again from %s",
                meta->folder, path);
    }
    buf_fini(&content);
    return rc;
}
