/* SPDX-License-Identifier: Apache-2.0
 * Fetch: records for those who may not, or cannot, read in place.
 *
 * A request that finds less than min_bytes is parked. Each look at its partitions starts afresh,
 * and only the last one is answered.
 */
#include "api/isolation.h"
#include "api/peer.h"
#include "api/table.h"
#include "base/err.h"
#include "record/codec.h"

enum {
    FETCH_BYTES_MAX = 57671680, /* of records in one answer, as Kafka's fetch.max.bytes */
    FETCH_POLL_MS = 10,         /* between two looks at logs whose news nobody tells */
    FETCH_LOOK_MS = 250,        /* between two looks in any case */
    ERROR_FROM_VERSION = 7,     /* of the whole answer */
    ZSTD_FROM_VERSION = 10,
    TOPIC_IDS_FROM_VERSION = 13,
    SESSION_BEGINS = 0, /* epochs of full requests */
    SESSION_NONE = -1,
};

struct fetch {
    struct log_slice *slices; /* partition → its records; released before each look */
    size_t part_count;        /* of all topics */
    size_t bytes;             /* of all slices */
    struct open_log **waits;
    size_t wait_count;
    int64_t give_up_ms;
    size_t left;   /* bytes that may still be added in this look */
    int isolation; /* enum log_isolation */
    bool failed;   /* a partition has an error, in this look */
};

/* ---- one partition -------------------------------------------------------------------------- */

/** Old consumers do not know zstd and would take it for damage. */
static int
check_codecs(const struct api_request *r, const struct log_slice *slice)
{
    if (r->header.api_version >= ZSTD_FROM_VERSION || !(slice->codecs & 1u << CODEC_ZSTD))
        return 0;
    return err_set(BUS_ERR_UNSUPPORTED_COMPRESSION_TYPE,
        "the records are compressed with zstd, which Fetch knows from version %d on",
        ZSTD_FROM_VERSION);
}

static int
read_records(struct api_request *r, struct log *log,
    const struct fetch_request_topic_partition *wanted, struct log_slice *slice)
{
    struct fetch *f = r->state;
    size_t most = wanted->partition_max_bytes > 0 ? (size_t)wanted->partition_max_bytes : 0;
    struct log_read_options options = {
        .offset = wanted->fetch_offset,
        .max_bytes = most < f->left ? most : f->left,
        .isolation = (enum log_isolation)f->isolation,
        .at_least_one = f->bytes == 0,
    };
    int rc = log_read(log, &options, slice);
    if (rc >= 0)
        rc = check_codecs(r, slice);
    if (rc < 0) {
        log_slice_release(slice);
        return rc;
    }
    f->bytes += slice->bytes;
    f->left -= slice->bytes < f->left ? slice->bytes : f->left;
    return 0;
}

/** Whether the reader's last epoch ended before its offset here: it read what was cut off since. */
static int
check_divergence(struct api_request *r, struct log *log,
    const struct fetch_request_topic_partition *wanted, struct fetch_response_topic_partition *out)
{
    struct log_epoch_end end;
    if (wanted->last_fetched_epoch < 0)
        return 0;
    int rc = log_find_epoch_end(log, wanted->last_fetched_epoch, &end);
    if (rc < 0)
        return rc;
    if (end.leader_epoch == wanted->last_fetched_epoch && end.end_offset >= wanted->fetch_offset)
        return 0;
    if (end.leader_epoch < 0)
        return err_set(BUS_ERR_OFFSET_OUT_OF_RANGE,
            "leader epoch %d, which the request has read last, is not known here",
            wanted->last_fetched_epoch);
    out->diverging_epoch =
        wire_array(&fetch_response_topic_partition_diverging_epoch_schema, &r->arena, 1);
    if (!out->diverging_epoch)
        return -BUS_ERR_NO_MEMORY;
    out->diverging_epoch->epoch = end.leader_epoch;
    out->diverging_epoch->end_offset = end.end_offset;
    return 0;
}

static int
find_log(struct api_request *r, const struct cluster_topic *topic,
    const struct fetch_request_topic_partition *wanted, struct open_log **log)
{
    int rc = peer_check_read(r, topic);
    if (rc == 0)
        rc = peer_log(r, topic, wanted->partition, log);
    if (rc == 0)
        rc = peer_check_epoch(topic, wanted->partition, wanted->current_leader_epoch);
    return rc;
}

static int
read_partition(struct api_request *r, const struct cluster_topic *topic,
    const struct fetch_request_topic_partition *wanted, struct log_slice *slice,
    struct fetch_response_topic_partition *out)
{
    struct fetch *f = r->state;
    struct open_log *log;
    struct log_bounds bounds;
    int rc = find_log(r, topic, wanted, &log);
    if (rc == 0)
        rc = check_divergence(r, log->log, wanted, out);
    if (rc == 0 && !out->diverging_epoch)
        rc = read_records(r, log->log, wanted, slice);
    if (rc == 0)
        rc = log_bounds(log->log, &bounds);
    if (rc < 0)
        return rc;
    f->failed = f->failed || out->diverging_epoch;
    out->high_watermark = bounds.visible_offset;
    out->last_stable_offset = isolation_end(f->isolation, &bounds);
    out->log_start_offset = bounds.start_offset;
    return 0;
}

/* ---- a look at all of them ------------------------------------------------------------------ */

static const struct cluster_topic *
find_topic(const struct api_request *r, const struct fetch_request_topic *wanted, int *rc)
{
    bool by_id = r->header.api_version >= TOPIC_IDS_FROM_VERSION;
    *rc = by_id ? -BUS_ERR_UNKNOWN_TOPIC_ID : -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
    return by_id ? peer_topic_of_id(r, &wanted->topic_id) : peer_topic(r, wanted->topic);
}

static void
start_part(const struct api_request *r, const struct fetch_request_topic_partition *wanted,
    struct fetch_response_topic_partition *out)
{
    const struct fetch_request *request = r->message;
    wire_init(&fetch_response_topic_partition_schema, out);
    out->partition_index = wanted->partition;
    out->high_watermark = -1;
    out->aborted_transactions_count = request->isolation_level == ISOLATION_READ_COMMITTED ? 0 : -1;
    out->records = (struct bytes){NULL, 0};
}

static void
look_at_topic(struct api_request *r, const struct fetch_request_topic *wanted,
    struct fetch_response_topic *out, size_t *index)
{
    struct fetch *f = r->state;
    int missing;
    const struct cluster_topic *topic = find_topic(r, wanted, &missing);
    for (int32_t i = 0; i < wanted->partitions_count; i++) {
        struct fetch_response_topic_partition *part = &out->partitions[i];
        struct log_slice *slice = &f->slices[(*index)++];
        start_part(r, &wanted->partitions[i], part);
        int rc = topic ? read_partition(r, topic, &wanted->partitions[i], slice, part) : missing;
        f->failed = f->failed || rc < 0;
        part->error_code = peer_error(r, rc);
        /* With an error behind the read, the records are not given. */
        if (rc == 0 && slice->bytes > 0)
            part->records = (struct bytes){(const uint8_t *)slice, (int32_t)slice->bytes};
    }
}

static void
release_slices(struct fetch *f)
{
    for (size_t i = 0; i < f->part_count; i++)
        log_slice_release(&f->slices[i]);
    f->bytes = 0;
}

static void
look(struct api_request *r)
{
    const struct fetch_request *request = r->message;
    struct fetch_response *out = r->response;
    struct fetch *f = r->state;
    size_t index = 0;
    release_slices(f);
    f->failed = false;
    f->left = request->max_bytes > 0 ? (size_t)request->max_bytes : 0;
    if (f->left > FETCH_BYTES_MAX)
        f->left = FETCH_BYTES_MAX;
    for (int32_t i = 0; i < request->topics_count; i++)
        look_at_topic(r, &request->topics[i], &out->responses[i], &index);
}

/* ---- waiting -------------------------------------------------------------------------------- */

static void
end_fetch(struct api_request *r)
{
    struct fetch *f = r->state;
    for (size_t i = 0; i < f->wait_count; i++)
        logs_wait_end(f->waits[i]);
    if (f->slices)
        release_slices(f);
}

static void
begin_waits(struct api_request *r)
{
    const struct fetch_request *request = r->message;
    struct fetch *f = r->state;
    for (int32_t i = 0; i < request->topics_count; i++) {
        int missing;
        const struct cluster_topic *topic = find_topic(r, &request->topics[i], &missing);
        for (int32_t j = 0; topic && j < request->topics[i].partitions_count; j++) {
            struct open_log *log =
                logs_find(&r->api->logs, topic->id.b, request->topics[i].partitions[j].partition);
            if (!log)
                continue;
            logs_wait_begin(log);
            f->waits[f->wait_count++] = log;
        }
    }
}

static bool
is_told_of_all(const struct fetch *f)
{
    /* A flush rings no bell, so those who read what is durable have to look. */
    bool told = f->isolation != LOG_READ_DURABLE;
    for (size_t i = 0; i < f->wait_count; i++)
        told = logs_wait_watched(f->waits[i]) && told;
    return told;
}

static int
look_or_wait(struct api_request *r)
{
    const struct fetch_request *request = r->message;
    struct fetch *f = r->state;
    look(r);
    int64_t now_ms = request_now_ms(r);
    bool enough = request->min_bytes <= 0 || f->bytes >= (size_t)request->min_bytes;
    if (enough || f->failed || f->part_count == 0 || now_ms >= f->give_up_ms)
        return HANDLED_DONE;
    release_slices(f);
    if (f->wait_count == 0)
        begin_waits(r);
    int64_t pause_ms = is_told_of_all(f) ? FETCH_LOOK_MS : FETCH_POLL_MS;
    r->wake = look_or_wait;
    r->deadline_ms = f->give_up_ms - now_ms < pause_ms ? f->give_up_ms : now_ms + pause_ms;
    return HANDLED_PARKED;
}

/* ---- the request ---------------------------------------------------------------------------- */

static int
make_answer(struct api_request *r)
{
    const struct fetch_request *request = r->message;
    struct fetch_response *out = r->response;
    struct fetch *f = r->state;
    out->responses_count = request->topics_count;
    out->responses =
        wire_array(&fetch_response_topic_schema, &r->arena, (size_t)request->topics_count);
    if (!out->responses)
        return -BUS_ERR_NO_MEMORY;
    for (int32_t i = 0; i < request->topics_count; i++) {
        struct fetch_response_topic *topic = &out->responses[i];
        topic->topic = request->topics[i].topic;
        topic->topic_id = request->topics[i].topic_id;
        topic->partitions_count = request->topics[i].partitions_count;
        topic->partitions = wire_array(
            &fetch_response_topic_partition_schema, &r->arena, (size_t)topic->partitions_count);
        if (!topic->partitions)
            return -BUS_ERR_NO_MEMORY;
        f->part_count += (size_t)topic->partitions_count;
    }
    int rc = peer_check_count(r, f->part_count);
    if (rc < 0)
        return rc;
    f->slices = arena_array(&r->arena, f->part_count, sizeof *f->slices);
    f->waits = arena_array(&r->arena, f->part_count, sizeof(struct open_log *));
    return f->slices && f->waits ? 0 : -BUS_ERR_NO_MEMORY;
}

/** Sessions are not kept: a request must be a full one, whatever session it wants to end. */
static bool
wants_session(const struct fetch_request *request)
{
    return request->session_epoch != SESSION_BEGINS && request->session_epoch != SESSION_NONE;
}

static bool
is_from_replica(const struct fetch_request *request)
{
    return request->replica_id >= 0 ||
           (request->replica_state && request->replica_state->replica_id >= 0);
}

static int
set_out(struct api_request *r)
{
    const struct fetch_request *request = r->message;
    struct fetch *f = r->state;
    f->isolation = isolation_of(r, request->isolation_level);
    if (f->isolation < 0)
        return f->isolation;
    if (is_from_replica(request))
        return err_set(BUS_ERR_REPLICA_NOT_AVAILABLE, "this node has no followers");
    if (wants_session(request))
        return err_set(BUS_ERR_FETCH_SESSION_ID_NOT_FOUND,
            "fetch session %d is not known: send a full request", request->session_id);
    int64_t limit_ms = settings_int(&request_cluster(r)->settings, BROKER_FETCH_MAX_WAIT_MS);
    int64_t wait_ms = request->max_wait_ms > 0 ? request->max_wait_ms : 0;
    f->give_up_ms = request_now_ms(r) + (wait_ms < limit_ms ? wait_ms : limit_ms);
    return 0;
}

int
handle_fetch(struct api_request *r)
{
    struct fetch_response *out = r->response;
    r->state = arena_alloc(&r->arena, sizeof(struct fetch));
    if (!r->state)
        return -BUS_ERR_NO_MEMORY;
    r->end = end_fetch;
    int rc = set_out(r);
    if (rc < 0 && r->header.api_version < ERROR_FROM_VERSION)
        return rc; /* it could not be told, and an empty answer would be believed */
    if (rc < 0) {
        out->error_code = peer_error(r, rc);
        return HANDLED_DONE;
    }
    rc = make_answer(r);
    return rc < 0 ? rc : look_or_wait(r);
}
