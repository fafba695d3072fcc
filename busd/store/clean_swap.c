/* SPDX-License-Identifier: Apache-2.0
 * New segments in the place of old ones, and what is remembered of compaction in the file
 * cleaner-checkpoint:
 *
 *     0                                     version
 *     clean <offset>                        up to here the log was compacted
 *     rewritten <offset>                    below, segments may have been rewritten
 *     swap <base> <end offset> <bytes>      a swap is under way
 *
 * The swap is committed when the file with its line is in place: until then the new segment is
 * ignored and removed, from then on it is finished, whatever happens in between.
 */
#include "base/err.h"
#include "base/trace.h"
#include "store/clean_read.h"
#include "store/clean_write.h"
#include "store/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char file_name[] = "cleaner-checkpoint";

enum { TEXT_BYTES = 256 };

/* ---- the file ------------------------------------------------------------------------------- */

static bool
parse(const char *text, struct log_cleaning *cleaning)
{
    int version, used = 0;
    if (sscanf(text, "%d clean %" SCNd64 " rewritten %" SCNd64 "%n", &version,
            &cleaning->clean_offset, &cleaning->rewritten_offset, &used) != 3 ||
        version != 0 || cleaning->clean_offset < 0 || cleaning->rewritten_offset < 0)
        return false;
    struct clean_swap swap;
    if (sscanf(text + used, " swap %" SCNd64 " %" SCNd64 " %" SCNd64, &swap.base_offset,
            &swap.end_offset, &swap.bytes) == 3 &&
        swap.base_offset >= 0 && swap.end_offset > swap.base_offset && swap.bytes >= 0)
        cleaning->swap = swap;
    return true;
}

int
clean_load(struct log *log)
{
    struct log_cleaning *cleaning = &log->cleaning;
    char text[TEXT_BYTES] = {0};
    char *path = files_path(log->folder, file_name);
    if (!path)
        return err_no_memory();
    cleaning->clean_offset = cleaning->rewritten_offset = 0;
    cleaning->swap.base_offset = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 && errno != ENOENT ? err_sys(errno, "open %s", path) : 0;
    if (fd >= 0 && read(fd, text, sizeof text - 1) < 0)
        rc = err_sys(errno, "read %s", path);
    if (fd >= 0)
        close(fd);
    if (rc == 0 && fd >= 0 && !parse(text, cleaning)) {
        trace(TRACE_WARNING, "%s is damaged: the log is compacted from its start", path);
        cleaning->clean_offset = 0;
        cleaning->rewritten_offset = INT64_MAX;
    }
    free(path);
    return rc;
}

static int
write_file(const char *path, const char *text, bool sync)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(errno, "create %s", path);
    size_t bytes = strlen(text);
    int rc = 0;
    if (write(fd, text, bytes) != (ssize_t)bytes || (sync && fsync(fd) < 0))
        rc = err_sys(errno, "write %s", path);
    close(fd);
    return rc;
}

static int
replace_file(struct log *log, const char *text)
{
    bool sync = !(log->options.flags & SHM_FLAG_MEMORY);
    char *path = files_path(log->folder, file_name);
    char *fresh = files_path(log->folder, "cleaner-checkpoint.new");
    int rc = path && fresh ? write_file(fresh, text, sync) : err_no_memory();
    if (rc == 0 && rename(fresh, path) < 0)
        rc = err_sys(errno, "rename %s", fresh);
    if (rc == 0 && sync)
        rc = files_sync_folder(log->folder);
    free(path);
    free(fresh);
    return rc;
}

int
clean_save(struct log *log)
{
    const struct log_cleaning *cleaning = &log->cleaning;
    const struct clean_swap *swap = &cleaning->swap;
    char text[TEXT_BYTES];
    int n = snprintf(text, sizeof text, "0\nclean %" PRId64 "\nrewritten %" PRId64 "\n",
        cleaning->clean_offset, cleaning->rewritten_offset);
    if (swap->base_offset >= 0)
        snprintf(text + n, sizeof text - (size_t)n, "swap %" PRId64 " %" PRId64 " %" PRId64 "\n",
            swap->base_offset, swap->end_offset, swap->bytes);
    return replace_file(log, text);
}

/* ---- files ---------------------------------------------------------------------------------- */

/* The size of "<base><suffix>", -1 when there is none. */
static int64_t
size_of(const struct log *log, int64_t base_offset, const char *suffix)
{
    char name[CLEAN_FILE_BYTES];
    struct stat status;
    clean_file_name(name, base_offset, suffix);
    char *path = files_path(log->folder, name);
    int64_t bytes = path && stat(path, &status) == 0 ? status.st_size : -1;
    free(path);
    return bytes;
}

/* "<base><suffix>.clean" gets the name "<base><suffix>"; an absent one is no failure. */
static int
take_name(const struct log *log, int64_t base_offset, const char *suffix)
{
    char name[CLEAN_FILE_BYTES], whole[CLEAN_FILE_BYTES];
    clean_file_name(name, base_offset, suffix);
    char *to = files_path(log->folder, name);
    snprintf(whole, sizeof whole, "%s.clean", suffix);
    clean_file_name(name, base_offset, whole);
    char *from = files_path(log->folder, name);
    int rc = 0;
    if (!from || !to)
        rc = err_no_memory();
    else if (rename(from, to) < 0 && errno != ENOENT)
        rc = err_sys(errno, "rename %s", from);
    free(from);
    free(to);
    return rc;
}

static int
remove_indexes(const struct log *log, int64_t base_offset)
{
    char name[FILES_NAME_BYTES_MAX];
    files_name(name, base_offset, ".index");
    int rc = files_remove(log->folder, name);
    files_name(name, base_offset, ".timeindex");
    return rc < 0 ? rc : files_remove(log->folder, name);
}

static int
take_indexes(const struct log *log, int64_t base_offset)
{
    int rc = take_name(log, base_offset, ".timeindex");
    return rc < 0 ? rc : take_name(log, base_offset, ".index");
}

/* The old indexes go first: they must not be taken for those of the new segment. */
static int
take_names(const struct log *log, int64_t base_offset)
{
    int rc = remove_indexes(log, base_offset);
    return rc < 0 ? rc : take_name(log, base_offset, ".log");
}

/* Calls `visit` with each name in the folder. */
static int
each_file(struct log *log, int (*visit)(struct log *log, const char *name))
{
    DIR *dir = opendir(log->folder);
    if (!dir)
        return err_sys(errno, "open the folder %s", log->folder);
    int rc = 0;
    for (struct dirent *entry; rc == 0 && (entry = readdir(dir));)
        rc = visit(log, entry->d_name);
    closedir(dir);
    return rc;
}

static int
remove_covered(struct log *log, const char *name)
{
    const struct clean_swap *swap = &log->cleaning.swap;
    int64_t number;
    bool covered = files_parse(name, &number) == FILES_LOG && number > swap->base_offset &&
                   number < swap->end_offset;
    return covered ? files_remove_segment(log->folder, number) : 0;
}

static int
remove_unfinished(struct log *log, const char *name)
{
    size_t n = strlen(name);
    return n > 6 && strcmp(name + n - 6, ".clean") == 0 ? files_remove(log->folder, name) : 0;
}

/* The new segment has its name: removes what it replaces, and ends the swap. */
static int
finish(struct log *log)
{
    bool sync = !(log->options.flags & SHM_FLAG_MEMORY);
    int rc = each_file(log, remove_covered);
    if (rc == 0 && sync)
        rc = files_sync_folder(log->folder);
    if (rc < 0)
        return rc;
    log->cleaning.swap.base_offset = -1;
    return clean_save(log);
}

/* A committed swap is finished. Where neither file is the one that was committed, nothing of it can
 * be done, and nothing is removed. */
static int
redo(struct log *log)
{
    struct clean_swap *swap = &log->cleaning.swap;
    int rc = 0;
    if (size_of(log, swap->base_offset, ".log.clean") == swap->bytes)
        rc = take_names(log, swap->base_offset);
    if (rc < 0)
        return rc;
    if (size_of(log, swap->base_offset, ".log") != swap->bytes) {
        trace(TRACE_ERROR,
            "%s/%020" PRId64 ".log: the compacted segment is gone: the old ones stay", log->folder,
            swap->base_offset);
        swap->base_offset = -1;
        return clean_save(log);
    }
    rc = take_indexes(log, swap->base_offset);
    return rc < 0 ? rc : finish(log);
}

int
clean_settle(struct log *log)
{
    int rc = log->cleaning.swap.base_offset >= 0 ? redo(log) : 0;
    log->cleaning.stuck = false;
    return rc < 0 ? rc : each_file(log, remove_unfinished);
}

/* ---- the swap ------------------------------------------------------------------------------- */

/* Where the sources of the group are in the table; false: something happened to them. */
static bool
find_sources(struct log *log, const struct clean_job *job, size_t *at)
{
    const struct clean_group *group = &job->group;
    const struct clean_source *sources = &job->sources[group->first];
    size_t n = group->end - group->first;
    *at = log->count > 0 ? segments_find(log, sources[0].base_offset) : 0;
    if (*at + n >= log->count)
        return false;
    for (size_t i = 0; i < n; i++)
        if (log->segments[*at + i]->base_offset != sources[i].base_offset ||
            log->segments[*at + i]->next_offset != sources[i].next_offset)
            return false;
    return log_saved(log).segment_base >= sources[n - 1].next_offset;
}

static struct segment *
new_segment(const struct clean_job *job, const struct clean_swap *swap)
{
    struct segment *fresh = segment_new(swap->base_offset, -1);
    if (!fresh)
        return NULL;
    fresh->end = fresh->reserved = fresh->capacity = swap->bytes;
    fresh->next_offset = swap->end_offset;
    fresh->trimmed = true;
    fresh->index = job->group.index;
    return fresh;
}

/* Under log->mutex: names and table change together for everybody who looks. */
static int
exchange(struct log *log, const struct clean_job *job, struct segment *fresh)
{
    size_t at, n = job->group.end - job->group.first;
    if (!find_sources(log, job, &at))
        return err_set(BUS_ERR_RESOURCE_NOT_FOUND, "segments were removed meanwhile");
    int rc = take_names(log, fresh->base_offset);
    if (rc < 0)
        return rc;
    if (take_indexes(log, fresh->base_offset) < 0)
        index_reset(&fresh->index);
    fresh->closed_ms = log->segments[at + n - 1]->closed_ms;
    for (size_t i = 0; i < n; i++)
        segment_free(&log->segments[at + i]);
    log->segments[at] = fresh;
    memmove(&log->segments[at + 1], &log->segments[at + n],
        (log->count - at - n) * sizeof log->segments[0]);
    log->count -= n - 1;
    log_hints_clear(log);
    log_publish_settings(log);
    return 0;
}

/* Remembers that the swap will happen. What fails here has not happened. */
static int
commit(struct log *log, const struct clean_job *job, const struct clean_swap *swap)
{
    struct log_cleaning *cleaning = &log->cleaning;
    size_t at;
    pthread_mutex_lock(&log->mutex);
    bool same =
        find_sources(log, job, &at) && size_of(log, swap->base_offset, ".log.clean") == swap->bytes;
    if (same && cleaning->rewritten_offset < swap->end_offset)
        cleaning->rewritten_offset = swap->end_offset;
    /* Readers may meet holes from now on. */
    log_publish_settings(log);
    pthread_mutex_unlock(&log->mutex);
    if (!same)
        return err_set(BUS_ERR_RESOURCE_NOT_FOUND, "segments were removed meanwhile");
    cleaning->swap = *swap;
    int rc = clean_save(log);
    if (rc < 0)
        cleaning->swap.base_offset = -1;
    return rc;
}

int
clean_install(struct log *log, struct clean_job *job)
{
    const struct clean_group *group = &job->group;
    struct clean_swap swap = {.base_offset = job->sources[group->first].base_offset,
        .end_offset = job->sources[group->end - 1].next_offset,
        .bytes = group->position};
    struct segment *fresh = new_segment(job, &swap);
    int rc = fresh ? commit(log, job, &swap) : err_no_memory();
    if (rc < 0) {
        segment_free(&fresh);
        clean_writer_discard(job, swap.base_offset);
        return rc;
    }
    pthread_mutex_lock(&log->mutex);
    rc = exchange(log, job, fresh);
    pthread_mutex_unlock(&log->mutex);
    if (rc == 0)
        rc = finish(log);
    else
        segment_free(&fresh);
    /* What is committed stays so: the next opening finishes it. */
    log->cleaning.stuck = rc < 0;
    return rc;
}
