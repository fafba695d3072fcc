/* SPDX-License-Identifier: Apache-2.0
 * The partitions of __consumer_offsets: appending, waiting for stable storage, reading back.
 */
#include "base/clock.h"
#include "base/err.h"
#include "base/trace.h"
#include "cluster/offsets_inner.h"
#include "record/batch_header.h"
#include "record/batch_iter.h"
#include "record/builder.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    READ_BYTES = 1 << 20,
    RETRY_MS = 1000,              /* a log that cannot be opened or read */
    LOOK_AGAIN_MS = 100,          /* at a flush whose end was not told */
    SETTLE_MS = 5000,             /* for the last flush */
    PASS_OVER_MAX = 1 << 20,      /* offsets behind a damaged batch that are tried one by one */
    BATCH_BYTES_ENOUGH = 1 << 17, /* a batch is not made larger than this from several jobs */
};

static const struct cluster *
cluster_of(const struct offsets_part *part)
{
    return &part->offsets->given.controller->cluster;
}

static int64_t
now_ms(const struct offsets_part *part)
{
    const struct offsets_options *given = &part->offsets->given;
    return given->ops->mono_ms(given->context);
}

static void
retry_in(struct offsets_part *part, int64_t ms)
{
    part->retry_ms = now_ms(part) + ms;
}

/* ---- lists of jobs -------------------------------------------------------------------------- */

static void
jobs_init(struct offsets_jobs *jobs)
{
    jobs->first = NULL;
    jobs->end = &jobs->first;
}

static void
jobs_put(struct offsets_jobs *jobs, struct offsets_job *job)
{
    job->next = NULL;
    *jobs->end = job;
    jobs->end = &job->next;
}

static struct offsets_job *
jobs_take(struct offsets_jobs *jobs)
{
    struct offsets_job *job = jobs->first;
    if (job) {
        jobs->first = job->next;
        if (!jobs->first)
            jobs->end = &jobs->first;
    }
    return job;
}

static void
tell(struct offsets_job *job, int rc)
{
    struct offsets_waiter waiter = job->waiter;
    job->waiter.done = NULL;
    if (waiter.done)
        waiter.done(waiter.context, rc);
}

/** Ends jobs that will not happen. */
static void
fail_jobs(struct offsets_jobs *jobs, int rc)
{
    for (struct offsets_job *job; (job = jobs_take(jobs));) {
        tell(job, rc);
        offsets_job_free(job);
    }
}

void
offsets_job_queue(struct offsets_job *job)
{
    struct offsets_part *part = job->part;
    struct offsets *o = part->offsets;
    int64_t patience_ms = offsets_setting(o, BROKER_OFFSETS_COMMIT_TIMEOUT_MS);
    job->deadline_ms = now_ms(part) + patience_ms;
    jobs_put(job->count > 0 ? &part->jobs : &part->told, job);
    o->given.ops->soon(o->given.context);
}

/* ---- reading back --------------------------------------------------------------------------- */

static int
apply_batch(
    struct offsets *o, const uint8_t *batch, const struct batch_header *header, int64_t from_offset)
{
    struct batch_iter it;
    struct record record;
    if (header->attributes & BATCH_ATTR_CONTROL)
        return 0;
    int rc = batch_iter_init(&it, batch, batch_bytes(header), header, &o->scratch, INT32_MAX);
    while (rc == 0 && (rc = batch_iter_next(&it, &record)) > 0) {
        struct offsets_raw raw = {record.key, record.value, record.key_bytes, record.value_bytes};
        rc = record.offset >= from_offset ? offsets_apply(o, &raw) : 0;
    }
    return rc;
}

/** Applies the batches in `bytes`; part->applied follows. */
static int
apply_bytes(struct offsets_part *part, const struct buf *bytes)
{
    struct batch_header header;
    for (size_t at = 0; at < bytes->length; at += batch_bytes(&header)) {
        const uint8_t *batch = bytes->data + at;
        int rc = batch_header_read(batch, bytes->length - at, &header);
        if (rc != BATCH_OK)
            return rc < 0 ? rc : err_set(BUS_ERR_CORRUPT_MESSAGE, "a batch is cut short");
        rc = apply_batch(part->offsets, batch, &header, part->applied);
        if (rc == -BUS_ERR_CORRUPT_MESSAGE)
            trace(TRACE_ERROR, OFFSETS_TOPIC "-%" PRId32 ": offset %" PRId64 ": %s", part->index,
                header.base_offset, err_text());
        else if (rc < 0)
            return rc;
        part->applied = batch_next_offset(&header);
    }
    return 0;
}

static int
read_once(struct offsets_part *part)
{
    struct log_read_options options = {.offset = part->applied,
        .max_bytes = READ_BYTES,
        .isolation = LOG_READ_END,
        .at_least_one = true};
    struct log_slice slice;
    struct buf bytes;
    int rc = log_read(part->log, &options, &slice);
    if (rc < 0)
        return rc;
    buf_init(&bytes);
    rc = log_slice_copy(&slice, &bytes);
    if (rc == 0)
        rc = apply_bytes(part, &bytes);
    if (rc == 0 && slice.bytes == 0)
        rc = err_set(BUS_ERR_CORRUPT_MESSAGE, "nothing to read at offset %" PRId64, part->applied);
    buf_fini(&bytes);
    log_slice_release(&slice);
    return rc;
}

/** Behind a batch that is destroyed: where the next one begins is tried out. */
static int
pass_over(struct offsets_part *part, int64_t end_offset)
{
    int64_t from = part->applied;
    trace(TRACE_ERROR, OFFSETS_TOPIC "-%" PRId32 ": %s: what groups committed there is lost",
        part->index, err_text());
    int rc = -BUS_ERR_CORRUPT_MESSAGE;
    while (rc == -BUS_ERR_CORRUPT_MESSAGE && part->applied < end_offset) {
        if (++part->applied - from > PASS_OVER_MAX)
            part->applied = end_offset;
        if (part->applied < end_offset)
            rc = read_once(part);
    }
    return rc == -BUS_ERR_CORRUPT_MESSAGE ? 0 : rc;
}

static int
read_back(struct offsets_part *part)
{
    struct log_bounds bounds;
    int rc = log_bounds(part->log, &bounds);
    if (rc < 0)
        return rc;
    if (part->applied > bounds.end_offset) {
        trace(TRACE_WARNING,
            OFFSETS_TOPIC "-%" PRId32 " ends at %" PRId64 ", before %" PRId64
                          ", up to where it is known: it is read again",
            part->index, bounds.end_offset, part->applied);
        offsets_rows_forget(part->offsets, part->index);
        part->applied = -1;
    }
    if (part->applied < bounds.start_offset)
        part->applied = bounds.start_offset;
    while (rc == 0 && part->applied < bounds.end_offset) {
        rc = read_once(part);
        if (rc == -BUS_ERR_CORRUPT_MESSAGE)
            rc = pass_over(part, bounds.end_offset);
    }
    /* A busd that died may have left what is not flushed: nobody sees it before it is. */
    if (rc == 0 && bounds.durable_offset < bounds.end_offset)
        rc =
            log_flush(part->log, bounds.end_offset, clock_mono_ns() + SETTLE_MS * INT64_C(1000000));
    return rc == LOG_FLUSH_TIMED_OUT
               ? err_set(BUS_ERR_REQUEST_TIMED_OUT, "it could not be flushed in time")
               : rc;
}

static void
close_log(struct offsets_part *part)
{
    const struct offsets_options *given = &part->offsets->given;
    if (part->log)
        given->ops->put_log(given->context, part->hold);
    part->log = NULL;
    part->hold = NULL;
}

/** Opens the log and reads what is not known yet. */
static int
make_ready(struct offsets_part *part, const struct cluster_topic *topic)
{
    const struct offsets_options *given = &part->offsets->given;
    int rc = 0;
    if (!part->log)
        rc = given->ops->get_log(given->context, topic, part->index, &part->log, &part->hold);
    if (rc == 0)
        rc = read_back(part);
    if (rc < 0) {
        trace(TRACE_ERROR, OFFSETS_TOPIC "-%" PRId32 " cannot be read, its groups wait: %s",
            part->index, err_text());
        close_log(part);
        retry_in(part, RETRY_MS);
        return rc;
    }
    part->ready = true;
    part->retry_ms = -1;
    return 0;
}

int
offsets_parts_open(struct offsets *o, const struct cluster_topic *topic)
{
    o->parts = calloc((size_t)topic->partition_count, sizeof *o->parts);
    if (!o->parts)
        return err_no_memory();
    o->part_count = topic->partition_count;
    o->topic_id = topic->id;
    for (int32_t i = 0; i < o->part_count; i++) {
        struct offsets_part *part = &o->parts[i];
        *part = (struct offsets_part){.offsets = o, .index = i, .applied = -1, .retry_ms = -1};
        jobs_init(&part->jobs);
        jobs_init(&part->told);
        part->flights_end = &part->flights;
    }
    return 0;
}

/* ---- appending ------------------------------------------------------------------------------ */

static bool
waits_for_flush(const struct offsets_part *part)
{
    uint32_t flags = log_options(part->log)->flags;
    return (flags & SHM_FLAG_FLUSH_ON_ACK) && !(flags & SHM_FLAG_MEMORY);
}

static int
put_records(struct batch_builder *builder, const struct offsets_job *job, int64_t wall_ms)
{
    struct offsets_raw raw;
    int rc = 0;
    for (size_t at = 0; rc == 0 && offsets_next_record(job, &at, &raw);) {
        struct builder_record record = {.ts = wall_ms,
            .key = raw.key,
            .key_bytes = raw.key_bytes,
            .value = raw.value,
            .value_bytes = raw.value_bytes};
        rc = builder_append(builder, &record);
    }
    return rc == BUILDER_FULL
               ? err_set(BUS_ERR_INVALID_COMMIT_OFFSET_SIZE, "a change is larger than a batch")
               : rc;
}

/** The jobs that go into the next batch: at least the first one. */
static size_t
choose(const struct offsets_part *part, const struct offsets_job **behind)
{
    const struct offsets_job *job = part->jobs.first;
    size_t bytes = BATCH_HEADER_BYTES + job->bytes_max;
    for (job = job->next; job && bytes + job->bytes_max <= BATCH_BYTES_ENOUGH; job = job->next)
        bytes += job->bytes_max;
    *behind = job;
    return bytes;
}

static int
build(const struct offsets_part *part, struct batch_builder *builder, uint32_t *offsets,
    const struct offsets_job **behind)
{
    const struct offsets_options *given = &part->offsets->given;
    int64_t wall_ms = given->ops->wall_ms(given->context);
    size_t bytes = choose(part, behind);
    int rc = builder_init(builder, bytes, bytes);
    *offsets = 0;
    for (const struct offsets_job *job = part->jobs.first; rc == 0 && job != *behind;
         job = job->next) {
        rc = put_records(builder, job, wall_ms);
        *offsets += (uint32_t)job->count;
    }
    return rc;
}

/** Moves the jobs before `behind` to the batch that was appended. */
static void
take_off(struct offsets_part *part, const struct offsets_job *behind, int64_t end_offset,
    struct offsets_flight *flight)
{
    *flight = (struct offsets_flight){.end_offset = end_offset};
    jobs_init(&flight->jobs);
    while (part->jobs.first != behind)
        jobs_put(&flight->jobs, jobs_take(&part->jobs));
    *part->flights_end = flight;
    part->flights_end = &flight->next;
}

/** One batch. 0, LOG_APPEND_BUSY, or a failure that concerns the jobs before `behind`. */
static int
append_batch(struct offsets_part *part, const struct offsets_job **behind)
{
    struct batch_builder builder = {0};
    struct append_batch batch = {.flush = true};
    struct append_result result;
    struct offsets_flight *flight = calloc(1, sizeof *flight);
    const void *bytes;
    int rc = build(part, &builder, &batch.offsets, behind);
    if (rc == 0 && !flight)
        rc = err_no_memory();
    if (rc == 0)
        rc = builder_finish(&builder, &bytes, &batch.size_bytes);
    if (rc == 0) {
        batch.bytes = bytes;
        rc = log_append(part->log, &batch, 0, &result);
    }
    if (rc == LOG_APPENDED)
        take_off(part, *behind, result.base_offset + batch.offsets, flight);
    else
        free(flight);
    builder_fini(&builder);
    return rc;
}

/** What a group is told of a failure here. */
static int
group_error(int rc)
{
    switch (rc) {
    case -BUS_ERR_MESSAGE_TOO_LARGE:
    case -BUS_ERR_RECORD_LIST_TOO_LARGE:
    case -BUS_ERR_INVALID_COMMIT_OFFSET_SIZE:
        return -BUS_ERR_INVALID_COMMIT_OFFSET_SIZE;
    case -BUS_ERR_NO_MEMORY:
        return rc;
    default:
        return -BUS_ERR_COORDINATOR_NOT_AVAILABLE;
    }
}

/** Ends the jobs before `behind`, which could not be appended. */
static void
refuse(struct offsets_part *part, const struct offsets_job *behind, int rc)
{
    trace(TRACE_ERROR, OFFSETS_TOPIC "-%" PRId32 ": a change of groups was refused: %s",
        part->index, err_text());
    while (part->jobs.first != behind) {
        part->jobs.first->rc = group_error(rc);
        jobs_put(&part->told, jobs_take(&part->jobs));
    }
}

static void
tell_all(struct offsets_part *part)
{
    struct offsets_job *job;
    while ((job = jobs_take(&part->told))) {
        if (job->rc < 0)
            err_set((enum bus_err) - job->rc,
                OFFSETS_TOPIC "-%" PRId32 " did not take the change: see busd's trace",
                part->index);
        tell(job, job->rc);
        offsets_job_free(job);
    }
}

static void
append_all(struct offsets_part *part)
{
    const struct offsets_options *given = &part->offsets->given;
    bool appended = false;
    while (part->jobs.first) {
        const struct offsets_job *behind;
        int rc = append_batch(part, &behind);
        if (rc == LOG_APPEND_BUSY) {
            retry_in(part, LOG_RETRY_MS);
            break;
        }
        if (rc < 0)
            refuse(part, behind, rc);
        appended = appended || rc == 0;
    }
    if (!appended || !waits_for_flush(part))
        return;
    struct log_bounds bounds;
    if (log_bounds(part->log, &bounds) == 0)
        given->ops->flush(given->context, part->hold, bounds.end_offset);
}

/* ---- flights -------------------------------------------------------------------------------- */

static void
land(struct offsets_part *part, struct offsets_flight *flight)
{
    struct offsets_job *job;
    while ((job = jobs_take(&flight->jobs))) {
        struct offsets_raw raw;
        int rc = 0;
        for (size_t at = 0; rc == 0 && offsets_next_record(job, &at, &raw);)
            rc = offsets_apply(part->offsets, &raw);
        if (rc < 0)
            part->ready = false; /* memory lacks what the log has: it is read again */
        tell(job, rc);
        offsets_job_free(job);
    }
    if (part->ready)
        part->applied = flight->end_offset;
}

static struct offsets_flight *
flights_take(struct offsets_part *part)
{
    struct offsets_flight *flight = part->flights;
    part->flights = flight->next;
    if (!part->flights)
        part->flights_end = &part->flights;
    return flight;
}

/** A flush has failed for good: the log takes nothing any more. */
static void
go_offline(struct offsets_part *part)
{
    part->failed = true;
    part->ready = false;
    err_set(BUS_ERR_COORDINATOR_NOT_AVAILABLE,
        OFFSETS_TOPIC "-%" PRId32 " could not be flushed and is offline: see busd's trace",
        part->index);
    while (part->flights) {
        struct offsets_flight *flight = flights_take(part);
        fail_jobs(&flight->jobs, -BUS_ERR_COORDINATOR_NOT_AVAILABLE);
        free(flight);
    }
}

static void
land_all(struct offsets_part *part)
{
    const struct offsets_options *given = &part->offsets->given;
    struct log_bounds bounds;
    if (!part->flights || log_bounds(part->log, &bounds) < 0)
        return;
    bool flush = waits_for_flush(part);
    while (part->flights && (!flush || part->flights->end_offset <= bounds.durable_offset)) {
        struct offsets_flight *flight = flights_take(part);
        land(part, flight);
        free(flight);
    }
    if (part->flights && bounds.state == SHM_STATE_OFFLINE)
        go_offline(part);
    else if (part->flights)
        given->ops->flush(given->context, part->hold, bounds.end_offset);
    part->look_ms = now_ms(part) + LOOK_AGAIN_MS;
}

/* ---- a turn --------------------------------------------------------------------------------- */

/** Tells those who have waited too long. */
static void
give_up(struct offsets_part *part)
{
    struct offsets_jobs left;
    struct offsets_job *job;
    jobs_init(&left);
    int64_t now = now_ms(part);
    while ((job = jobs_take(&part->jobs))) {
        if (now < job->deadline_ms) {
            jobs_put(&left, job);
            continue;
        }
        err_set(BUS_ERR_COORDINATOR_NOT_AVAILABLE,
            OFFSETS_TOPIC "-%" PRId32 " took no append in time", part->index);
        tell(job, -BUS_ERR_COORDINATOR_NOT_AVAILABLE);
        offsets_job_free(job);
    }
    /* A `tell` may have queued more: that goes behind. */
    if (left.first) {
        *left.end = part->jobs.first;
        if (part->jobs.first)
            left.end = part->jobs.end;
        part->jobs.first = left.first;
        part->jobs.end = left.end;
    }
    for (struct offsets_flight *flight = part->flights; flight; flight = flight->next)
        for (job = flight->jobs.first; job; job = job->next)
            if (job->waiter.done && now >= job->deadline_ms) {
                err_set(BUS_ERR_REQUEST_TIMED_OUT,
                    OFFSETS_TOPIC "-%" PRId32 " was not flushed in time", part->index);
                tell(job, -BUS_ERR_REQUEST_TIMED_OUT);
            }
}

void
offsets_part_run(struct offsets_part *part)
{
    const struct cluster_topic *topic = cluster_topic(cluster_of(part), OFFSETS_TOPIC);
    bool due = part->retry_ms >= 0 && now_ms(part) >= part->retry_ms;
    if (!topic || part->failed)
        return;
    if (!part->ready && !part->flights && (part->retry_ms < 0 || due) &&
        make_ready(part, topic) == 0)
        offsets_bury(part->offsets);
    if (part->ready) {
        if (due)
            part->retry_ms = -1;
        if (part->jobs.first && part->retry_ms < 0)
            append_all(part);
    }
    if (part->log)
        land_all(part);
    tell_all(part);
    if (part->jobs.first || part->flights)
        give_up(part);
}

static int64_t
first_deadline_ms(const struct offsets_part *part)
{
    int64_t deadline = -1;
    if (part->jobs.first)
        deadline = part->jobs.first->deadline_ms;
    if (part->flights && (deadline < 0 || part->look_ms < deadline))
        deadline = part->look_ms;
    return deadline;
}

int64_t
offsets_part_deadline_ms(const struct offsets_part *part)
{
    int64_t deadline = first_deadline_ms(part);
    if (part->failed)
        return deadline;
    if (part->retry_ms >= 0 && (deadline < 0 || part->retry_ms < deadline))
        deadline = part->retry_ms;
    return deadline;
}

int
offsets_part_harden(struct offsets_part *part)
{
    struct log_bounds bounds;
    if (!part->ready)
        return err_set(BUS_ERR_COORDINATOR_NOT_AVAILABLE,
            OFFSETS_TOPIC "-%" PRId32 " cannot be written", part->index);
    part->retry_ms = -1;
    append_all(part);
    if (!part->flights || !waits_for_flush(part))
        return 0;
    int rc = log_bounds(part->log, &bounds);
    if (rc == 0)
        rc =
            log_flush(part->log, bounds.end_offset, clock_mono_ns() + SETTLE_MS * INT64_C(1000000));
    return rc == LOG_FLUSH_TIMED_OUT
               ? err_set(BUS_ERR_REQUEST_TIMED_OUT, OFFSETS_TOPIC " could not be flushed in time")
               : rc;
}

void
offsets_part_settle(struct offsets_part *part)
{
    if (offsets_part_harden(part) == 0)
        land_all(part);
    tell_all(part);
}

void
offsets_parts_close(struct offsets *o, int rc)
{
    struct offsets_part *parts = o->parts;
    int32_t count = o->part_count;
    o->parts = NULL;
    o->part_count = 0;
    for (int32_t i = 0; i < count; i++) {
        struct offsets_part *part = &parts[i];
        while (part->flights) {
            struct offsets_flight *flight = flights_take(part);
            fail_jobs(&flight->jobs, rc);
            free(flight);
        }
        fail_jobs(&part->told, rc);
        fail_jobs(&part->jobs, rc);
        close_log(part);
    }
    free(parts);
}
