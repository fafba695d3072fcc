/* SPDX-License-Identifier: Apache-2.0
 * The private family around shared memory: AttachPartition, OpenSegment, DetachPartition,
 * ReportStall. Descriptors travel with the answers; see kafka.messages for their order.
 */
#include "api/attach.h"
#include "api/peer.h"
#include "api/table.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>

/** The numbers of the field Access. */
enum {
    ATTACH_NONE = 0,
    ATTACH_READ = 1,
    ATTACH_WRITE = 2,
};

static int
check_layout(int32_t version)
{
    if (version == SHM_LAYOUT_VERSION)
        return 0;
    return err_set(BUS_ERR_LAYOUT_VERSION,
        "the client understands layout %d of shared memory, busd has %d: bring both to the same "
        "version of shmbus",
        version, SHM_LAYOUT_VERSION);
}

/* ---- AttachPartition ------------------------------------------------------------------------ */

/** What is granted of what was asked for: ATTACH_*, or a failure. */
static int
grant(const struct api_request *r, const struct cluster_topic *topic, int8_t wanted, bool *mediated)
{
    struct access access = peer_access(r, topic);
    bool direct = access.direct && r->peer->same_pids;
    *mediated = access.mediated && !direct;
    if (wanted == ATTACH_WRITE && cluster_name_internal(topic->name))
        return err_set(BUS_ERR_INVALID_TOPIC_EXCEPTION,
            "topic %s belongs to busd: nobody else writes to it", topic->name);
    switch (wanted) {
    case ATTACH_WRITE:
        return direct ? ATTACH_WRITE : access.mediated ? ATTACH_NONE : peer_check_write(r, topic);
    case ATTACH_READ:
        return access.read ? ATTACH_READ : peer_check_read(r, topic);
    case ATTACH_NONE:
        return ATTACH_NONE;
    default:
        return err_set(BUS_ERR_INVALID_REQUEST, "there is no access %d", wanted);
    }
}

static int
add_kick_fd(struct api_request *r)
{
    int kick = r->peer->ops->kick_fd(r->peer);
    if (kick < 0)
        return kick;
    int copy = fcntl(kick, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return err_sys(errno, "copy of the eventfd of %s", r->peer->name);
    request_add_fd(r, copy);
    return 0;
}

/** Moves the fds into the answer. On failure some are there and go with the request. */
static int
hand_over(struct api_request *r, struct log_attachment *a, bool writable)
{
    struct attach_partition_response *out = r->response;
    request_add_fd(r, a->control);
    request_add_fd(r, a->bell);
    a->control = a->bell = -1;
    if (writable) {
        int rc = add_kick_fd(r);
        if (rc < 0)
            return rc;
        request_add_fd(r, a->writers);
        a->writers = -1;
    }
    for (int i = 0; i < a->segment_count; i++) {
        struct log_segment *segment = &a->segments[i];
        out->segments[out->segments_count++] = (struct attach_partition_response_segment){
            .seq = segment->seq,
            .base_offset = segment->base_offset,
            .reserved_bytes = segment->capacity,
        };
        request_add_fd(r, segment->fd);
        segment->fd = -1;
    }
    return 0;
}

static int
map_log(struct api_request *r, struct open_log *log, bool writable)
{
    struct attach_partition_response *out = r->response;
    struct log_attachment attachment;
    out->segments =
        wire_array(&attach_partition_response_segment_schema, &r->arena, API_SEGMENT_FDS_MAX);
    if (!out->segments)
        return -BUS_ERR_NO_MEMORY;
    int rc = log_attach(log->log, writable ? LOG_ACCESS_WRITE : LOG_ACCESS_READ, &attachment);
    if (rc < 0)
        return rc;
    out->generation = (int32_t)attachment.generation;
    rc = hand_over(r, &attachment, writable);
    log_attachment_close(&attachment);
    return rc;
}

static int
attach(struct api_request *r)
{
    const struct attach_partition_request *request = r->message;
    struct attach_partition_response *out = r->response;
    int rc = check_layout(request->layout_version);
    if (rc < 0)
        return rc;
    const struct cluster_topic *topic = peer_topic(r, request->topic_name);
    if (!topic)
        return -BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION;
    struct open_log *log;
    int granted = grant(r, topic, request->access, &out->mediated);
    if (granted < 0)
        return granted;
    rc = peer_log(r, topic, request->partition, &log);
    if (rc < 0)
        return rc;
    out->topic_id = topic->id;
    out->access = (int8_t)granted;
    if (granted == ATTACH_NONE)
        return 0;
    bool fresh = !attach_find(r->peer, topic->id.b, request->partition);
    rc = attach_add(r->api, r->peer, log, granted == ATTACH_WRITE);
    if (rc < 0)
        return rc;
    rc = map_log(r, log, granted == ATTACH_WRITE);
    if (rc < 0 && fresh)
        attach_end(r->peer, attach_find(r->peer, topic->id.b, request->partition));
    return rc;
}

/** A failure comes without descriptors and without promises. */
static void
forget_fds(struct api_request *r)
{
    api_answer_fini(&r->answer);
}

int
handle_attach_partition(struct api_request *r)
{
    struct attach_partition_response *out = r->response;
    int rc = attach(r);
    if (rc == 0)
        return HANDLED_DONE;
    forget_fds(r);
    out->error_code = peer_error(r, rc);
    out->error_message = request_error_text(r);
    out->access = ATTACH_NONE;
    out->segments_count = 0;
    return HANDLED_DONE;
}

/* ---- OpenSegment ---------------------------------------------------------------------------- */

static int
open_segment(struct api_request *r, struct log_segment *segment)
{
    const struct open_segment_request *request = r->message;
    int rc = check_layout(request->layout_version);
    if (rc < 0)
        return rc;
    const struct cluster_topic *topic = peer_topic_of_id(r, &request->topic_id);
    if (!topic)
        return -BUS_ERR_UNKNOWN_TOPIC_ID;
    const struct api_attachment *a = attach_find(r->peer, topic->id.b, request->partition);
    bool writable = a && a->writable && peer_access(r, topic).direct;
    rc = writable ? 0 : peer_check_read(r, topic);
    struct open_log *log;
    if (rc == 0)
        rc = peer_log(r, topic, request->partition, &log);
    if (rc < 0)
        return rc;
    struct log_segment_wanted wanted = {
        .generation = (uint32_t)request->generation,
        .seq = request->seq,
        .offset = request->offset,
        .access = writable ? LOG_ACCESS_WRITE : LOG_ACCESS_READ,
    };
    return log_segment(log->log, &wanted, segment);
}

int
handle_open_segment(struct api_request *r)
{
    struct open_segment_response *out = r->response;
    struct log_segment segment;
    int rc = open_segment(r, &segment);
    if (rc < 0) {
        out->error_code = peer_error(r, rc);
        out->error_message = request_error_text(r);
        return HANDLED_DONE;
    }
    request_add_fd(r, segment.fd);
    out->seq = segment.seq;
    out->base_offset = segment.base_offset;
    out->next_base_offset = segment.next_offset;
    out->bytes = segment.next_offset < 0 ? -1 : segment.end;
    out->capacity = segment.capacity;
    out->position = segment.position;
    return HANDLED_DONE;
}

/* ---- DetachPartition ------------------------------------------------------------------------ */

int
handle_detach_partition(struct api_request *r)
{
    const struct detach_partition_request *request = r->message;
    struct detach_partition_response *out = r->response;
    struct api_attachment *a = attach_find(r->peer, request->topic_id.b, request->partition);
    if (a) {
        attach_end(r->peer, a);
        return HANDLED_DONE;
    }
    out->error_code = BUS_ERR_RESOURCE_NOT_FOUND;
    out->error_message = "the partition is not attached on this connection";
    return HANDLED_DONE;
}

/* ---- ReportStall ---------------------------------------------------------------------------- */

static int
look_at_stall(struct api_request *r)
{
    const struct report_stall_request *request = r->message;
    const struct api_attachment *a = attach_find(r->peer, request->topic_id.b, request->partition);
    if (!a || !a->writable)
        return err_set(BUS_ERR_INVALID_REQUEST,
            "partition %d is not attached for writing on this connection", request->partition);
    if (!logs_alive(a->log))
        return err_set(BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION, "the topic was deleted");
    return log_stalled(a->log->log, (uint32_t)request->generation);
}

int
handle_report_stall(struct api_request *r)
{
    struct report_stall_response *out = r->response;
    int rc = look_at_stall(r);
    if (rc == LOG_STALL_WAIT) {
        r->deadline_ms = request_now_ms(r) + LOG_RETRY_MS;
        r->wake = handle_report_stall;
        return HANDLED_PARKED;
    }
    if (rc < 0) {
        out->error_code = peer_error(r, rc);
        out->error_message = request_error_text(r);
    }
    out->evicted = rc == LOG_STALL_EVICTED;
    return HANDLED_DONE;
}
