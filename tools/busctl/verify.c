/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/verify.h"

#include "base/bytes.h"
#include "base/err.h"
#include "busctl/cleanfile.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/** How far the check of a segment has come. */
struct state {
    struct verify *verify;
    struct logfile *file;
    const struct logset_file *entry;
    int64_t position;  /* bytes */
    int64_t offset;    /* expected there; -1: any */
    int64_t rewritten; /* below, compaction may have left offsets out */
    bool sound;        /* no damage so far */
};

void
verify_tell(struct verify *verify, const struct verify_damage *damage)
{
    progress_clear(&verify->progress);
    verify->damages++;
    ctl_fail(verify->ctl, "%s: position %lld, offset %lld: %s", damage->file,
        (long long)damage->position, (long long)damage->offset, damage->problem);
    if (!verify->ctl->json)
        return;
    out_object(verify->ctl->out, NULL);
    out_text(verify->ctl->out, "file", damage->file);
    out_integer(verify->ctl->out, "position", damage->position);
    out_integer(verify->ctl->out, "offset", damage->offset);
    out_text(verify->ctl->out, "problem", damage->problem);
    out_end(verify->ctl->out);
}

static void
tell(struct state *state, int64_t offset, const char *problem)
{
    struct verify_damage damage = {.file = state->file->path,
        .position = state->position,
        .offset = offset,
        .problem = problem};
    state->sound = false;
    verify_tell(state->verify, &damage);
}

/** What compaction has noted beside the segment; tells once of each file that is damaged. */
static void
read_checkpoint(struct state *state)
{
    struct cleanfile file;
    int rc = cleanfile_read(state->file->path, &file);
    state->rewritten = file.rewritten;
    char path[PATH_MAX], problem[ERR_TEXT_BYTES_MAX + 80];
    if (rc == 0 || !cleanfile_path(state->file->path, path) ||
        strcmp(path, state->verify->checkpoint) == 0)
        return;
    snprintf(state->verify->checkpoint, PATH_MAX, "%s", path);
    snprintf(problem, sizeof problem, "%s: where offsets may be missing is not known", bus_error());
    struct verify_damage damage = {.file = path, .problem = problem};
    verify_tell(state->verify, &damage);
}

/** Whether the offsets below `offset` may be missing; busd may be compacting at this moment. */
static bool
may_miss(struct state *state, int64_t offset)
{
    if (offset > state->rewritten)
        read_checkpoint(state);
    return state->verify->compacted || offset <= state->rewritten;
}

/** Whether an offset can be right at all: in this segment, not before what came. */
static bool
is_possible(const struct state *state, int64_t base)
{
    int64_t next = state->entry->next;
    return base >= state->offset && base - state->offset <= INT32_MAX && (next < 0 || base < next);
}

/**
 * Judges the first offset of a batch by the one that is due. The base offset is the one field that
 * neither the CRC nor the rest of the batch vouches for: where it cannot be right, the batch counts
 * as the one that is due. Returns the offset to go on from.
 */
static int64_t
check_offset(struct state *state, int64_t base)
{
    char problem[160];
    int64_t due = state->offset;
    if (due < 0 || base == due)
        return base;
    if (!is_possible(state, base)) {
        snprintf(problem, sizeof problem, "the batch says offset %lld, which cannot stand here",
            (long long)base);
        tell(state, due, problem);
        return due;
    }
    if (!may_miss(state, base)) {
        snprintf(problem, sizeof problem, "the offsets %lld to %lld are missing", (long long)due,
            (long long)base - 1);
        tell(state, due, problem);
    }
    return base;
}

static void
check_batch(struct state *state, const uint8_t *bytes, const struct batch_header *header)
{
    struct verify *verify = state->verify;
    int64_t base = check_offset(state, header->base_offset);
    if (logfile_verify(state->file, bytes, header) < 0) {
        tell(state, header->base_offset, bus_error());
    } else {
        verify->batches++;
        verify->records += header->count;
        verify->bytes += (int64_t)batch_bytes(header);
    }
    state->offset = base + header->last_offset_delta + 1;
    state->position += (int64_t)batch_bytes(header);
}

/**
 * Something stands at the position that is no batch. In the last segment of a partition that may
 * be what an append left that was never published: bytes that do not begin with the offset that is
 * due, with nothing readable behind them. Everything else is damage. False: the file ends here.
 */
static bool
pass_damage(struct state *state, const char *problem)
{
    int64_t next =
        logfile_resume(state->file, state->position + 1, state->offset < 0 ? 0 : state->offset);
    if (next < 0 && state->entry->next < 0 && state->sound) {
        uint8_t first[8] = {0};
        ssize_t got = pread(state->file->fd, first, sizeof first, (off_t)state->position);
        if (got == (ssize_t)sizeof first && bytes_get_i64(first) != state->offset)
            return false;
    }
    tell(state, state->offset, problem);
    /* Where it goes on, offsets are missing for a reason that was told. */
    state->offset = -1;
    if (next < 0)
        return false;
    state->position = next;
    return true;
}

static bool
check_rest(struct state *state)
{
    int64_t at = logfile_nonzero(state->file, state->position);
    if (at < 0 || (state->entry->next < 0 && logfile_resume(state->file, at, 0) < 0))
        return false;
    return pass_damage(state, "a batch header is zero, but the log goes on behind it");
}

static void
check_end(struct state *state)
{
    int64_t next = state->entry->next;
    if (next < 0 || state->offset < 0 || state->offset == next || may_miss(state, next))
        return;
    char problem[160];
    snprintf(problem, sizeof problem,
        "the segment ends here, but the next one begins at offset %lld", (long long)next);
    tell(state, state->offset, problem);
}

/** Behind the end of a closed segment may lie what was never published. */
static bool
is_complete(const struct state *state)
{
    return state->entry->next >= 0 && state->offset == state->entry->next;
}

static int
check_batches(struct state *state)
{
    struct verify *verify = state->verify;
    int64_t passed = verify->passed;
    for (bool more = true; more && !is_complete(state);) {
        const uint8_t *bytes;
        struct batch_header header;
        int rc = logfile_batch(state->file, state->position, &bytes, &header);
        if (rc == LOGFILE_BATCH)
            check_batch(state, bytes, &header);
        else if (rc == LOGFILE_END)
            more = check_rest(state);
        else if (rc == -BUS_ERR_CORRUPT_MESSAGE) {
            char problem[ERR_TEXT_BYTES_MAX];
            snprintf(problem, sizeof problem, "%s", bus_error());
            more = pass_damage(state, problem);
        } else
            return rc;
        verify->passed = passed + state->position;
        progress_show(&verify->progress, verify->passed, verify->records);
    }
    verify->passed = passed + state->file->size;
    return 0;
}

int
verify_segment(struct verify *verify, const struct logset_file *entry)
{
    struct logfile file;
    int rc = logfile_open(&file, entry->path);
    if (rc < 0)
        return rc;
    struct state state = {
        .verify = verify, .file = &file, .entry = entry, .offset = file.base_offset, .sound = true};
    read_checkpoint(&state);
    rc = check_batches(&state);
    if (rc == 0) {
        check_end(&state);
        verify->files++;
    }
    if (rc == 0 && state.sound && file.base_offset >= 0)
        rc = verify_indexes(verify, &file, state.position);
    logfile_close(&file);
    return rc;
}
