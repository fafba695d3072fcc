/* SPDX-License-Identifier: Apache-2.0
 * Produce: appends for those who may not, or cannot, append in place.
 *
 * Each partition of a request goes its own way: checked, appended, with acks=all made durable. The
 * request is parked while one of them waits for the append lock or for the flush.
 */
#include "api/peer.h"
#include "api/produce_check.h"
#include "api/producing.h"
#include "api/table.h"
#include "base/err.h"

#include <string.h>

enum {
    LOCK_PATIENCE_MS = 2, /* how long the loop itself waits for an append lock, the first time */
    LOOK_AGAIN_MS = 100,  /* at a flush whose end was not told */
    ACKS_ALL = -1,
};

enum part_step { PART_APPEND, PART_FLUSH, PART_DONE };

/** One partition of the request. */
struct produce_part {
    struct uuid topic_id;
    struct bytes records;           /* in the frame; in the arena once the request is parked */
    uint32_t offsets;               /* of the batch */
    int64_t end_offset;             /* behind the batch, once it is appended */
    struct producer_batch producer; /* producer_id -1: nobody asks for idempotence */
    enum part_step step;
    struct produce_response_topic_partition *out;
};

struct produce {
    struct produce_part *parts;
    size_t count;
    int64_t give_up_ms; /* when those who still wait are told that it took too long */
    bool busy;          /* a lock was not free in this pass: no other one is waited for */
    bool copied;        /* the records were moved into the arena */
    bool failed;
};

/** A program that sends such bytes is broken, or hostile: whoever runs busd should know. */
static bool
is_bad_data(int rc)
{
    switch (-rc) {
    case BUS_ERR_CORRUPT_MESSAGE:
    case BUS_ERR_INVALID_RECORD:
    case BUS_ERR_MESSAGE_TOO_LARGE:
    case BUS_ERR_RECORD_LIST_TOO_LARGE:
    case BUS_ERR_UNSUPPORTED_CODEC:
    case BUS_ERR_UNSUPPORTED_COMPRESSION_TYPE:
        return true;
    default:
        return false;
    }
}

static void
fail(struct api_request *r, struct produce_part *part, int rc)
{
    struct produce *p = r->state;
    if (is_bad_data(rc))
        peer_tell_bad_data(r);
    part->step = PART_DONE;
    part->out->error_code = peer_error(r, rc);
    part->out->error_message = request_error_text(r);
    part->out->base_offset = -1;
    p->failed = true;
}

/* ---- before the append ---------------------------------------------------------------------- */

static int
check_request(const struct produce_request *request)
{
    if (request->transactional_id)
        return err_set(BUS_ERR_INVALID_TXN_STATE, "transactions are not supported");
    if (request->acks < -1 || request->acks > 1)
        return err_set(
            BUS_ERR_INVALID_REQUIRED_ACKS, "acks=%d: it must be 0, 1 or all (-1)", request->acks);
    return 0;
}

static int
check_topic(const struct api_request *r, const struct cluster_topic *topic, int32_t index)
{
    const struct produce_request *request = r->message;
    int rc = peer_check_write(r, topic);
    if (rc < 0)
        return rc;
    if (cluster_name_internal(topic->name))
        return err_set(BUS_ERR_INVALID_TOPIC_EXCEPTION,
            "topic %s belongs to busd: nobody else writes to it", topic->name);
    const struct cluster_partition *partition = cluster_partition(topic, index);
    int64_t wanted = settings_int(&topic->settings, TOPIC_MIN_INSYNC_REPLICAS);
    if (request->acks == ACKS_ALL && partition && partition->isr_count < wanted)
        return err_set(BUS_ERR_NOT_ENOUGH_REPLICAS,
            "topic %s partition %d has %d replicas in sync, min.insync.replicas=%lld", topic->name,
            index, partition->isr_count, (long long)wanted);
    return 0;
}

static int
check_part(struct api_request *r, const struct cluster_topic *topic, struct produce_part *part)
{
    struct batch_header header;
    struct open_log *log;
    int rc = check_request(r->message);
    if (rc < 0)
        return rc;
    if (!topic)
        return -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
    rc = check_topic(r, topic, part->out->index);
    if (rc == 0)
        rc = peer_log(r, topic, part->out->index, &log);
    if (rc == 0)
        rc = err_prefix(produce_check(r, topic, &part->records, &header, part->out),
            "topic %s partition %d", topic->name, part->out->index);
    if (rc < 0)
        return rc;
    part->topic_id = topic->id;
    part->offsets = (uint32_t)header.last_offset_delta + 1;
    part->producer = (struct producer_batch){.producer_id = header.producer_id,
        .epoch = header.producer_epoch,
        .first_sequence = header.base_sequence,
        .last_delta = header.last_offset_delta};
    return 0;
}

/* ---- append and flush ----------------------------------------------------------------------- */

static int
find_log(struct api_request *r, const struct produce_part *part, struct open_log **log)
{
    const struct cluster_topic *topic = cluster_topic_of_id(request_cluster(r), &part->topic_id);
    if (!topic)
        return err_set(BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION, "the topic was deleted meanwhile");
    return peer_log(r, topic, part->out->index, log);
}

static bool
waits_for_flush(const struct api_request *r, const struct open_log *log)
{
    const struct produce_request *request = r->message;
    uint32_t flags = log_options(log->log)->flags;
    return request->acks == ACKS_ALL && (flags & SHM_FLAG_FLUSH_ON_ACK) &&
           !(flags & SHM_FLAG_MEMORY);
}

/** Appends what is new; a repetition is answered with where it lies already. Outcomes as
 * log_append(), which is asked again later as well. */
static int
append_once(struct api_request *r, struct produce_part *part, struct open_log *log,
    struct append_result *result)
{
    const struct produce *p = r->state;
    const struct produce_request *request = r->message;
    struct producings *producings = r->api->producings;
    struct append_batch batch = {.bytes = part->records.data,
        .size_bytes = (size_t)part->records.len,
        .offsets = part->offsets,
        .flush = request->acks == ACKS_ALL};
    struct producer_batch known;
    bool idempotent = part->producer.producer_id >= 0;
    int rc = idempotent ? producing_judge(producings, log, &part->producer, &known) : PRODUCERS_NEW;
    if (rc == PRODUCERS_DUPLICATE) {
        result->base_offset = known.base_offset;
        result->log_append_time_ms = known.append_time_ms;
        return LOG_APPENDED;
    }
    if (rc != PRODUCERS_NEW)
        return rc < 0 ? rc : LOG_APPEND_BUSY;
    rc = log_append(log->log, &batch, p->copied || p->busy ? 0 : LOCK_PATIENCE_MS, result);
    if (rc == LOG_APPENDED && idempotent) {
        part->producer.base_offset = result->base_offset;
        part->producer.append_time_ms = result->log_append_time_ms;
        producing_note(producings, log, &part->producer);
    }
    return rc;
}

/** 0: appended or still waiting for the lock, see part->step. */
static int
append(struct api_request *r, struct produce_part *part)
{
    struct open_log *log;
    struct append_result result;
    struct log_bounds bounds;
    struct produce *p = r->state;
    int rc = find_log(r, part, &log);
    if (rc == 0)
        rc = append_once(r, part, log, &result);
    p->busy = p->busy || rc == LOG_APPEND_BUSY;
    if (rc < 0 || rc == LOG_APPEND_BUSY)
        return rc < 0 ? rc : 0;
    part->out->base_offset = result.base_offset;
    part->out->log_append_time_ms = result.log_append_time_ms;
    part->end_offset = result.base_offset + part->offsets;
    part->step = waits_for_flush(r, log) ? PART_FLUSH : PART_DONE;
    if (log_bounds(log->log, &bounds) == 0)
        part->out->log_start_offset = bounds.start_offset;
    return 0;
}

static int
flush(struct api_request *r, struct produce_part *part)
{
    struct open_log *log;
    struct log_bounds bounds;
    int rc = find_log(r, part, &log);
    if (rc < 0)
        return rc;
    logs_flush(log, part->end_offset);
    rc = log_bounds(log->log, &bounds);
    if (rc < 0)
        return rc;
    if (bounds.durable_offset >= part->end_offset)
        part->step = PART_DONE;
    else if (bounds.state == SHM_STATE_OFFLINE)
        return err_set(BUS_ERR_KAFKA_STORAGE_ERROR,
            "topic %s partition %d could not be flushed and is offline: see busd's trace",
            log_options(log->log)->topic, log->partition);
    return 0;
}

static void
advance(struct api_request *r, struct produce_part *part)
{
    struct produce *p = r->state;
    int rc = 0;
    if (part->step == PART_APPEND)
        rc = append(r, part);
    if (rc == 0 && part->step == PART_FLUSH)
        rc = flush(r, part);
    if (rc == 0 && part->step != PART_DONE && request_now_ms(r) >= p->give_up_ms)
        rc = err_set(BUS_ERR_REQUEST_TIMED_OUT,
            part->step == PART_APPEND ? "the append lock was not free in time"
                                      : "the records are in the log, but were not flushed in time");
    if (rc < 0)
        fail(r, part, rc);
}

/* ---- the request ---------------------------------------------------------------------------- */

static int
finish(struct api_request *r)
{
    const struct produce_request *request = r->message;
    const struct produce *p = r->state;
    if (request->acks != 0)
        return HANDLED_DONE;
    if (!p->failed)
        return HANDLED_SILENT;
    /* With acks=0 there is no answer that could tell; the end of the connection does. */
    err_set(BUS_ERR_NETWORK_EXCEPTION, "a batch sent with acks=0 was refused");
    return HANDLED_CLOSE;
}

/** The frame ends with the dispatch: what is still to be appended moves into the arena. */
static int
keep_records(struct api_request *r)
{
    struct produce *p = r->state;
    for (size_t i = 0; i < p->count && !p->copied; i++) {
        struct bytes *records = &p->parts[i].records;
        if (p->parts[i].step != PART_APPEND)
            continue;
        uint8_t *copy = arena_alloc(&r->arena, (size_t)records->len);
        if (!copy)
            return -BUS_ERR_NO_MEMORY;
        memcpy(copy, records->data, (size_t)records->len);
        records->data = copy;
    }
    p->copied = true;
    return 0;
}

static int
go_on(struct api_request *r)
{
    struct produce *p = r->state;
    bool lock = false;
    bool wait = false;
    for (size_t i = 0; i < p->count; i++) {
        if (p->parts[i].step != PART_DONE)
            advance(r, &p->parts[i]);
        lock = lock || p->parts[i].step == PART_APPEND;
        wait = wait || p->parts[i].step != PART_DONE;
    }
    if (!wait)
        return finish(r);
    int rc = keep_records(r);
    if (rc < 0)
        return rc;
    r->wake = go_on;
    r->deadline_ms = request_now_ms(r) + (lock ? LOG_RETRY_MS : LOOK_AGAIN_MS);
    if (p->give_up_ms < r->deadline_ms)
        r->deadline_ms = p->give_up_ms;
    return HANDLED_PARKED;
}

static int
add_topic(struct api_request *r, const struct produce_request_topic *wanted,
    struct produce_response_topic *out)
{
    struct produce *p = r->state;
    const struct cluster_topic *topic = peer_topic(r, wanted->name);
    out->name = wanted->name;
    out->partition_responses_count = wanted->partition_data_count;
    out->partition_responses = wire_array(
        &produce_response_topic_partition_schema, &r->arena, (size_t)wanted->partition_data_count);
    if (!out->partition_responses)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < wanted->partition_data_count; i++) {
        struct produce_part *part = &p->parts[p->count++];
        part->records = wanted->partition_data[i].records;
        part->out = &out->partition_responses[i];
        part->out->index = wanted->partition_data[i].index;
        int rc = check_part(r, topic, part);
        if (rc < 0)
            fail(r, part, rc);
    }
    return 0;
}

static int
make_parts(struct api_request *r)
{
    const struct produce_request *request = r->message;
    struct produce *p = arena_alloc(&r->arena, sizeof *p);
    size_t count = 0;
    for (int32_t i = 0; i < request->topic_data_count; i++)
        count += (size_t)request->topic_data[i].partition_data_count;
    r->state = p;
    if (p)
        p->parts = arena_array(&r->arena, count, sizeof *p->parts);
    if (!p || !p->parts)
        return -BUS_ERR_NO_MEMORY;
    int64_t limit_ms = settings_int(&request_cluster(r)->settings, BROKER_REQUEST_TIMEOUT_MS);
    bool shorter = request->timeout_ms >= 0 && request->timeout_ms < limit_ms;
    p->give_up_ms = request_now_ms(r) + (shorter ? request->timeout_ms : limit_ms);
    return 0;
}

int
handle_produce(struct api_request *r)
{
    const struct produce_request *request = r->message;
    struct produce_response *out = r->response;
    int rc = make_parts(r);
    if (rc < 0)
        return rc;
    out->responses_count = request->topic_data_count;
    out->responses =
        wire_array(&produce_response_topic_schema, &r->arena, (size_t)request->topic_data_count);
    if (!out->responses)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < request->topic_data_count && rc == 0; i++)
        rc = add_topic(r, &request->topic_data[i], &out->responses[i]);
    return rc < 0 ? rc : go_on(r);
}
