/* SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"
#include "base/err.h"
#include "base/trace.h"
#include "shm/append.h"
#include "shm/guard.h"
#include "store/private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void
generation_name(
    const struct log *log, uint32_t number, const char *suffix, char name[GENERATION_NAME_BYTES])
{
    char instance[2 * STORE_ID_BYTES + 1], topic[2 * STORE_ID_BYTES + 1];
    for (int i = 0; i < STORE_ID_BYTES; i++) {
        snprintf(instance + 2 * i, 3, "%02x", log->store->instance[i]);
        snprintf(topic + 2 * i, 3, "%02x", log->options.topic_id[i]);
    }
    int n = snprintf(name, GENERATION_NAME_BYTES, "/shmbus-%s-%s-%" PRId32 "-%" PRIu32 ".%s",
        instance, topic, log->options.partition, number, suffix);
    MUST(n > 0 && n < GENERATION_NAME_BYTES);
}

static struct generation *
generation_new(uint32_t number)
{
    struct generation *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return NULL;
    atomic_init(&fresh->references, 1);
    fresh->number = number;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&fresh->flush_mutex, NULL);
    pthread_cond_init(&fresh->flush_done, &attributes);
    pthread_condattr_destroy(&attributes);
    return fresh;
}

static void
generation_free(struct generation *generation)
{
    pthread_cond_destroy(&generation->flush_done);
    pthread_mutex_destroy(&generation->flush_mutex);
    free(generation);
}

struct generation *
generation_ref(struct generation *generation)
{
    /* Relaxed: whoever adds a reference has one already. */
    atomic_fetch_add_explicit(&generation->references, 1, memory_order_relaxed);
    return generation;
}

void
generation_unref(struct generation **generation)
{
    struct generation *old = *generation;
    *generation = NULL;
    /* Acq_rel: the last one to leave sees the end of everybody else's use. */
    if (!old || atomic_fetch_sub_explicit(&old->references, 1, memory_order_acq_rel) > 1)
        return;
    for (int i = 0; i < SHM_SLOTS; i++)
        shm_segment_unref(&old->flush.segments[i]);
    shm_partition_fini(&old->view);
    generation_free(old);
}

/* Maps the pages; takes the fds. */
static int
generation_map(
    struct log *log, uint32_t number, struct shm_partition_fds fds, struct generation **generation)
{
    struct generation *fresh = generation_new(number);
    if (!fresh) {
        close(fds.control);
        close(fds.bell);
        return err_no_memory();
    }
    int rc = shm_partition_init(&fresh->view, fds, true, log->options.topic_id,
        log->options.partition, log_source_locked(log));
    if (rc < 0) {
        generation_free(fresh);
        return rc;
    }
    fresh->flush = (struct shm_partition){.control = fresh->view.control,
        .bell = fresh->view.bell,
        .writable = true,
        .source = log_source_unlocked(log)};
    *generation = fresh;
    return 0;
}

/* Whether the page is the one of this number and this boot. */
static int
check_identity(const struct log *log, const struct generation *generation)
{
    const struct shm_control *control = generation->view.control;
    if (control->generation != generation->number)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "the control page is of another generation");
    if (memcmp(control->boot_id, log->store->boot_id, STORE_ID_BYTES) != 0)
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "the control page is of another boot");
    return 0;
}

int
generation_open(struct log *log, uint32_t number, struct generation **generation)
{
    char name[GENERATION_NAME_BYTES];
    generation_name(log, number, "ctl", name);
    struct shm_partition_fds fds;
    fds.control = shm_object_open(name, true);
    if (fds.control == SHM_OBJECT_NONE)
        return GENERATION_NONE;
    if (fds.control < 0)
        return fds.control;
    generation_name(log, number, "bell", name);
    fds.bell = shm_object_open(name, true);
    if (fds.bell < 0) {
        close(fds.control);
        if (fds.bell == SHM_OBJECT_NONE)
            return err_set(BUS_ERR_CORRUPT_MESSAGE, "the bell page is missing");
        return fds.bell;
    }
    struct generation *found;
    int rc = generation_map(log, number, fds, &found);
    if (rc < 0)
        return rc == -BUS_ERR_LAYOUT_VERSION ? -BUS_ERR_CORRUPT_MESSAGE : rc;
    rc = check_identity(log, found);
    if (rc < 0)
        generation_unref(&found);
    else
        *generation = found;
    return rc;
}

/* Fills a slot from the table. */
static void
prepare_slot(struct log *log, struct shm_control *control, size_t at, int64_t seq)
{
    struct segment *segment = log->segments[at];
    bool active = at + 1 == log->count;
    int64_t end = active ? log->end_position : segment->end;
    int64_t next = active ? log->end_offset : segment->next_offset;
    int64_t limit = segment->reserved > end ? segment->reserved : end;
    segment->seq = seq;
    shm_slot_prepare(control, seq, segment->base_offset, (uint32_t)end,
        (uint32_t)(next - segment->base_offset), (uint32_t)limit);
    if (!active)
        /* Relaxed: nobody else has the page yet. */
        atomic_fetch_or_explicit(
            &control->slots[seq % SHM_SLOTS].published, SHM_SEALED, memory_order_relaxed);
}

static void
fill_options(const struct log *log, const struct generation_options *options,
    struct shm_control_options *control)
{
    const struct segment *active = segments_active(log);
    int64_t segment_bytes = log->options.segment_bytes;
    *control = (struct shm_control_options){.partition = log->options.partition,
        .generation = options->number,
        .leader_epoch = log->options.leader_epoch,
        .flags = log_flags(log),
        .max_message_bytes = log->options.max_message_bytes,
        .segment_bytes =
            (uint32_t)(segment_bytes < active->capacity ? segment_bytes : active->capacity),
        .log_start_offset = log->start_offset,
        .durable_offset = options->durable_offset,
        .first_seq = (int64_t)(log->count - 1 - options->first)};
    memcpy(control->topic_id, log->options.topic_id, STORE_ID_BYTES);
    memcpy(control->boot_id, log->store->boot_id, STORE_ID_BYTES);
}

/* Creates both objects; the number is fresh, so what has the names is left over from a crash. */
static int
create_objects(
    struct log *log, const struct generation_options *options, struct shm_partition_fds *fds)
{
    int rc = generation_unlink(log, options->number);
    if (rc < 0)
        return rc;
    char name[GENERATION_NAME_BYTES];
    generation_name(log, options->number, "bell", name);
    fds->bell = shm_bell_create(name);
    if (fds->bell < 0)
        return fds->bell;
    struct shm_control_options control;
    fill_options(log, options, &control);
    generation_name(log, options->number, "ctl", name);
    fds->control = shm_control_create(name, &control);
    if (fds->control >= 0)
        return 0;
    rc = fds->control;
    close(fds->bell);
    return rc;
}

int
generation_create(
    struct log *log, const struct generation_options *options, struct generation **generation)
{
    struct shm_partition_fds fds;
    int rc = create_objects(log, options, &fds);
    if (rc == 0)
        rc = generation_map(log, options->number, fds, generation);
    if (rc < 0) {
        generation_unlink(log, options->number);
        return rc;
    }
    for (size_t i = 0; i < log->count; i++)
        log->segments[i]->seq = -1;
    for (size_t i = options->first; i < log->count; i++)
        prepare_slot(log, (*generation)->view.control, i, (int64_t)(i - options->first));
    struct shm_control *control = (*generation)->view.control;
    /* Relaxed: nobody else has the page yet. */
    atomic_store_explicit(&control->high_watermark, log->high_watermark, memory_order_relaxed);
    return 0;
}

int
generation_unlink(struct log *log, uint32_t number)
{
    char name[GENERATION_NAME_BYTES];
    generation_name(log, number, "ctl", name);
    int rc = shm_object_unlink(name);
    generation_name(log, number, "bell", name);
    int rc_bell = shm_object_unlink(name);
    return rc < 0 ? rc : rc_bell;
}

/* Works on any page, also one whose identity is destroyed: whoever maps it must see the end. */
static void
fence_page(void *page, enum shm_state state)
{
    struct shm_partition view = {.control = page, .writable = true};
    if (guard_add(page, SHM_PAGE_BYTES, &view.damaged) < 0)
        return;
    shm_fence(&view, state);
    guard_remove(page);
}

void
generation_fence(struct log *log, uint32_t number, enum shm_state state)
{
    char name[GENERATION_NAME_BYTES];
    generation_name(log, number, "ctl", name);
    int fd = shm_object_open(name, true);
    if (fd < 0)
        return;
    struct stat status;
    if (fstat(fd, &status) == 0 && status.st_size >= SHM_PAGE_BYTES) {
        void *page = mmap(NULL, SHM_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (page != MAP_FAILED) {
            fence_page(page, state);
            munmap(page, SHM_PAGE_BYTES);
        }
    }
    close(fd);
}

void
generation_void(struct log *log, uint32_t number)
{
    char name[GENERATION_NAME_BYTES];
    generation_name(log, number, "ctl", name);
    int fd = shm_object_open(name, true);
    if (fd < 0)
        return;
    if (ftruncate(fd, 0) < 0)
        trace(TRACE_WARNING, "%s-%" PRId32 ": cutting off %s: %s", log->topic,
            log->options.partition, name, strerror(errno));
    close(fd);
}
