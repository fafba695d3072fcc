/* SPDX-License-Identifier: Apache-2.0
 * Whose a partition's folder is: Kafka's file partition.metadata names the topic's id. A name can
 * be used again while the folder of a deleted topic, or of one that was lost, is still there.
 */
#include "base/err.h"
#include "base/trace.h"
#include "store/private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ID_TEXT_BYTES = 22, /* base64url of an id, without padding */
    NOTE_BYTES = 64,
};

static const char note_name[] = "partition.metadata";
static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void
encode_id(const uint8_t id[STORE_ID_BYTES], char text[ID_TEXT_BYTES + 1])
{
    uint32_t bits = 0;
    int have = 0, at = 0;
    for (int i = 0; i < STORE_ID_BYTES; i++) {
        bits = (bits << 8 | id[i]) & 0xffff;
        for (have += 8; have >= 6; have -= 6)
            text[at++] = digits[bits >> (have - 6) & 63];
    }
    text[at++] = digits[bits << (6 - have) & 63];
    text[at] = '\0';
}

static bool
decode_id(const char *text, uint8_t id[STORE_ID_BYTES])
{
    uint32_t bits = 0;
    int have = 0, at = 0;
    for (int i = 0; i < ID_TEXT_BYTES; i++) {
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
        if (!digit)
            return false;
        bits = (bits << 6 | (uint32_t)(digit - digits)) & 0xffff;
        have += 6;
        if (have >= 8 && at < STORE_ID_BYTES)
            id[at++] = (uint8_t)(bits >> (have -= 8));
    }
    return at == STORE_ID_BYTES;
}

/* 1: the owner is known; 0: there is no note, or it says nothing. */
static int
read_note(const struct log *log, uint8_t owner[STORE_ID_BYTES])
{
    char text[NOTE_BYTES] = {0};
    char id[ID_TEXT_BYTES + 1];
    int version;
    char *path = files_path(log->folder, note_name);
    if (!path)
        return err_no_memory();
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 && errno != ENOENT ? err_sys(errno, "open %s", path) : 0;
    if (fd >= 0 && read(fd, text, sizeof text - 1) > 0 &&
        sscanf(text, "version: %d topic_id: %22s", &version, id) == 2 &&
        strlen(id) == ID_TEXT_BYTES)
        rc = decode_id(id, owner);
    if (fd >= 0)
        close(fd);
    free(path);
    return rc;
}

/* Not flushed by itself: a note that a power loss takes is written again. */
static int
write_note(const struct log *log)
{
    char text[NOTE_BYTES], id[ID_TEXT_BYTES + 1];
    encode_id(log->options.topic_id, id);
    int n = snprintf(text, sizeof text, "version: 0\ntopic_id: %s", id);
    char *path = files_path(log->folder, note_name);
    if (!path)
        return err_no_memory();
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = 0;
    if (fd < 0 || write(fd, text, (size_t)n) != n)
        rc = err_sys(errno, "write %s", path);
    if (fd >= 0)
        close(fd);
    free(path);
    return rc;
}

int
log_is_foreign(const struct log *log, bool *foreign, uint8_t owner[STORE_ID_BYTES])
{
    int rc = read_note(log, owner);
    *foreign = rc == 1 && memcmp(owner, log->options.topic_id, STORE_ID_BYTES) != 0;
    return rc < 0 ? rc : 0;
}

/* Of a memory topic nothing is kept that long. */
static int
set_aside(const struct log *log, const uint8_t owner[STORE_ID_BYTES])
{
    const struct store *store = log->store;
    char hex[2 * STORE_ID_BYTES + 1];
    char *to;
    if (log->options.flags & SHM_FLAG_MEMORY)
        return files_remove_folder(log->folder);
    for (int i = 0; i < STORE_ID_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", owner[i]);
    if (asprintf(&to, "%s/%s-%" PRId32, store->stray, hex, log->options.partition) < 0)
        return err_no_memory();
    int rc = files_make_folder(store->stray);
    if (rc == 0 && rename(log->folder, to) < 0)
        rc = err_sys(errno, "rename %s to %s", log->folder, to);
    if (rc == 0)
        trace(TRACE_WARNING,
            "%s holds a partition of another topic, deleted or lost, that had the same name: it "
            "was moved to %s; remove that when nobody misses it",
            log->folder, to);
    free(to);
    return rc < 0 ? rc : files_sync_folder(store->topics);
}

int
log_claim(struct log *log)
{
    uint8_t owner[STORE_ID_BYTES];
    int rc = read_note(log, owner);
    if (rc == 1 && memcmp(owner, log->options.topic_id, STORE_ID_BYTES) != 0) {
        rc = set_aside(log, owner);
    } else if (rc == 1) {
        return 0;
    }
    if (rc == 0)
        rc = files_make_folder(log->folder);
    return rc < 0 ? rc : write_note(log);
}
