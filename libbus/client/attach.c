/* SPDX-License-Identifier: Apache-2.0 */
#include "client/attach.h"

#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    SEGMENT_WAIT_MS = 500, /* for a segment without which the caller cannot go on */
    FD_CONTROL = 0,        /* the order of the fds of AttachPartition */
    FD_BELL = 1,
    FD_KICK = 2,
    FD_LOCK = 3,
};

void
attach_init(struct attachment *attachment, struct bus *bus, const char *topic, int32_t partition,
    enum attach_access access)
{
    *attachment = (struct attachment){.bus = bus,
        .topic = topic,
        .partition = partition,
        .access = access,
        .epoch_now = conn_epoch_word(bus->conn),
        .kick_fd = -1,
        .lock_fd = -1};
}

static void
close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

struct segment_place {
    int64_t seq;
    int64_t base_offset;
    int64_t next_offset;
    int64_t end;      /* bytes; -1: open */
    int64_t capacity; /* bytes to map */
};

/* Maps a segment that busd sent. Takes the fd. */
static int
map_segment(struct attachment *attachment, int fd, const struct segment_place *place,
    struct shm_segment **segment)
{
    if (place->seq < -1 || place->seq == INT64_MAX || place->capacity < 1 ||
        place->capacity > SHM_SEGMENT_BYTES_MAX + 1 || place->end > place->capacity) {
        close(fd);
        return err_set(BUS_ERR_CORRUPT_MESSAGE, "busd described a segment that cannot be");
    }
    int flags = fcntl(fd, F_GETFL);
    bool writable = attachment->access == ATTACH_WRITE && (flags & O_ACCMODE) == O_RDWR;
    if (attachment->access == ATTACH_WRITE && !writable && place->seq >= 0) {
        /* A busd that was started meanwhile takes us for a reader until we attach again. */
        close(fd);
        return err_set(BUS_ERR_NOT_LEADER_OR_FOLLOWER,
            "%s-%d: busd gave a segment for reading only: it has to be attached again",
            attachment->topic, attachment->partition);
    }
    int rc = shm_segment_open(fd, (size_t)place->capacity, writable, segment);
    if (rc < 0)
        return err_prefix(rc, "%s-%d", attachment->topic, attachment->partition);
    (*segment)->seq = place->seq;
    (*segment)->base_offset = place->base_offset;
    (*segment)->next_offset = place->next_offset;
    (*segment)->end = place->end > 0 ? (size_t)place->end : 0;
    return 0;
}

static int
segment_of_reply(
    struct attachment *attachment, struct conn_reply *reply, struct shm_segment **segment)
{
    const struct open_segment_response *answer = reply->message;
    int rc = conn_refused(answer->error_code, answer->error_message);
    if (rc < 0)
        return err_prefix(rc, "%s-%d", attachment->topic, attachment->partition);
    struct segment_place place = {.seq = answer->seq,
        .base_offset = answer->base_offset,
        .next_offset = answer->next_base_offset,
        .end = answer->bytes,
        .capacity = answer->capacity};
    return map_segment(attachment, conn_reply_take_fd(reply, 0), &place, segment);
}

static struct open_segment_request
segment_request(const struct attachment *attachment, int64_t seq, int64_t offset)
{
    return (struct open_segment_request){.topic_id = attachment->view_topic,
        .partition = attachment->partition,
        .generation = (int32_t)attachment->generation,
        .seq = seq,
        .offset = offset,
        .layout_version = SHM_LAYOUT_VERSION};
}

/* The connection's thread leaves the answer here; the owner maps it when it looks. */
static void
segment_arrived(void *context, int rc, struct conn_reply *reply)
{
    struct attachment *attachment = context;
    if (rc < 0)
        atomic_store_explicit(&attachment->lost, true, memory_order_release);
    else
        /* Release: pairs with the exchange in take_arrived(). */
        atomic_store_explicit(&attachment->arrived, reply, memory_order_release);
}

static void
ask_ahead(struct attachment *attachment, int64_t seq)
{
    if (attachment->asked || clock_mono_ns() < attachment->retry_ns)
        return;
    struct open_segment_request request = segment_request(attachment, seq, -1);
    attachment->asked = true;
    int rc = conn_start(attachment->bus->conn, API_OPEN_SEGMENT, &request, segment_arrived,
        attachment, &attachment->call);
    if (rc < 0) {
        attachment->asked = false;
        attachment->retry_ns = clock_mono_ns() + SEGMENT_WAIT_MS * 1000000;
    }
}

/* The segment that was asked for ahead, if it is there: 0, or -1 when there is none. */
static int
take_arrived(struct attachment *attachment, struct shm_segment **segment)
{
    if (!attachment->asked)
        return -1;
    /* Acquire: pairs with segment_arrived(). */
    struct conn_reply *reply =
        atomic_exchange_explicit(&attachment->arrived, NULL, memory_order_acquire);
    if (!reply) {
        if (!atomic_exchange_explicit(&attachment->lost, false, memory_order_acquire))
            return -1;
        attachment->asked = false;
        attachment->retry_ns = clock_mono_ns() + SEGMENT_WAIT_MS * 1000000;
        return -1;
    }
    attachment->asked = false;
    int rc = segment_of_reply(attachment, reply, segment);
    conn_reply_free(&reply);
    if (rc < 0)
        attachment->retry_ns = clock_mono_ns() + SEGMENT_WAIT_MS * 1000000;
    return rc < 0 ? -1 : 0;
}

static void
forget_asked(struct attachment *attachment)
{
    if (!attachment->asked)
        return;
    conn_cancel(attachment->bus->conn, attachment->call);
    struct conn_reply *reply =
        atomic_exchange_explicit(&attachment->arrived, NULL, memory_order_acquire);
    conn_reply_free(&reply);
    atomic_store_explicit(&attachment->lost, false, memory_order_relaxed);
    attachment->asked = false;
}

static int
ask_now(struct attachment *attachment, int64_t seq, int64_t offset, struct shm_segment **segment,
    uint32_t *position)
{
    struct open_segment_request request = segment_request(attachment, seq, offset);
    struct conn_reply *reply;
    int64_t deadline_ns = clock_mono_ns() + SEGMENT_WAIT_MS * INT64_C(1000000);
    int rc = conn_call(
        attachment->bus->conn, API_OPEN_SEGMENT, &request, CONN_AGAIN, deadline_ns, &reply);
    if (rc < 0)
        return err_prefix(
            rc, "a segment of %s-%d is needed", attachment->topic, attachment->partition);
    rc = segment_of_reply(attachment, reply, segment);
    const struct open_segment_response *answer = reply->message;
    if (rc == 0 && position && answer->position >= 0 && answer->position <= answer->capacity)
        *position = (uint32_t)answer->position;
    conn_reply_free(&reply);
    return rc;
}

/* Whether a failure says that busd cannot be asked now. */
static bool
is_away(int rc)
{
    return rc == -BUS_ERR_DAEMON_UNAVAILABLE || rc == -BUS_ERR_NETWORK_EXCEPTION ||
           rc == -BUS_ERR_REQUEST_TIMED_OUT;
}

/* The segment of an offset among those that are mapped, so that a seek works while busd is away.
 * Without its index the way goes from batch to batch. True: there it is, with a reference. */
static bool
find_mapped(struct attachment *attachment, int64_t offset, struct shm_segment **segment)
{
    struct shm_partition *view = &attachment->view;
    for (int i = 0; i < SHM_SLOTS; i++) {
        struct shm_segment *mapped = view->segments[i];
        struct shm_tail tail;
        if (!mapped || !shm_slot_read(view->control, mapped->seq, &tail) ||
            offset < tail.base_offset || offset >= tail.end_offset)
            continue;
        *segment = shm_segment_ref(mapped);
        return true;
    }
    return false;
}

static int
ask_for_offset(
    struct attachment *attachment, int64_t offset, struct shm_segment **segment, uint32_t *position)
{
    int rc = ask_now(attachment, -1, offset, segment, position);
    return is_away(rc) && find_mapped(attachment, offset, segment) ? 0 : rc;
}

/* shm_source.open: only a segment without which the caller cannot go on is waited for. */
static int
source_open(
    void *context, int64_t seq, int64_t offset, struct shm_segment **segment, uint32_t *position)
{
    struct attachment *attachment = context;
    if (position)
        *position = 0;
    if (seq < 0)
        return ask_for_offset(attachment, offset, segment, position);
    if (take_arrived(attachment, segment) == 0) {
        if ((*segment)->seq == seq)
            return 0;
        shm_segment_unref(segment);
    }
    int64_t active =
        atomic_load_explicit(&attachment->view.control->active_seq, memory_order_relaxed);
    if (seq <= active)
        return ask_now(attachment, seq, offset, segment, NULL);
    ask_ahead(attachment, seq);
    return -BUS_ERR_DAEMON_UNAVAILABLE;
}

static void
source_kick(void *context)
{
    struct attachment *attachment = context;
    /* A full counter is a kick as well; without busd nobody listens. */
    eventfd_write(attachment->kick_fd, 1);
}

/* What came in the place of eventfd and lock may block nobody. */
static void
make_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (fd >= 0 && flags >= 0)
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static int
add_segments(struct attachment *attachment, struct conn_reply *reply, struct shm_partition *view)
{
    const struct attach_partition_response *answer = reply->message;
    int fd_index = answer->access == ATTACH_WRITE ? 4 : 2;
    for (int32_t i = 0; i < answer->segments_count; i++) {
        struct segment_place place = {.seq = answer->segments[i].seq,
            .base_offset = answer->segments[i].base_offset,
            .next_offset = -1,
            .end = -1,
            .capacity = answer->segments[i].reserved_bytes};
        struct shm_segment *segment;
        int rc = map_segment(attachment, conn_reply_take_fd(reply, fd_index + i), &place, &segment);
        if (rc < 0)
            return rc;
        if (segment->seq >= 0)
            shm_partition_add(view, segment);
        else
            shm_segment_unref(&segment);
    }
    return 0;
}

/* A first attachment, or another generation: maps everything anew. What was mapped before stays
 * until all of the new is there: somebody may be playing with it. */
static int
map_view(struct attachment *attachment, struct conn_reply *reply)
{
    const struct attach_partition_response *answer = reply->message;
    struct shm_partition fresh;
    struct shm_partition_fds fds = {.control = conn_reply_take_fd(reply, FD_CONTROL),
        .bell = conn_reply_take_fd(reply, FD_BELL)};
    struct shm_source source = {.open = source_open,
        .kick = attachment->access == ATTACH_WRITE ? source_kick : NULL,
        .context = attachment};
    int rc = shm_partition_init(&fresh, fds, attachment->access == ATTACH_WRITE, answer->topic_id.b,
        attachment->partition, source);
    if (rc == -BUS_ERR_LAYOUT_VERSION)
        /* busd has the same, or it would have refused the request. */
        rc = err_set(BUS_ERR_CORRUPT_MESSAGE, "the layout version in the control page is damaged");
    if (rc == 0) {
        rc = add_segments(attachment, reply, &fresh);
        if (rc < 0)
            shm_partition_fini(&fresh);
    }
    if (rc == 0)
        rc = shm_partition_move(&attachment->view, &fresh);
    if (rc < 0)
        return err_prefix(rc, "%s-%d", attachment->topic, attachment->partition);
    attachment->mapped = true;
    attachment->view_topic = answer->topic_id;
    attachment->generation = (uint32_t)answer->generation;
    return 0;
}

static void
forget_topic(struct attachment *attachment)
{
    if (!attachment->known)
        return;
    attachment->known = false;
    if (!bus_use_end(attachment->bus, &attachment->topic_id, attachment->partition))
        return;
    struct detach_partition_request request = {
        .topic_id = attachment->topic_id, .partition = attachment->partition};
    (void)conn_start(attachment->bus->conn, API_DETACH_PARTITION, &request, NULL, NULL, NULL);
}

static int
note_topic(struct attachment *attachment, const struct uuid *topic_id)
{
    bool same = memcmp(&attachment->topic_id, topic_id, sizeof *topic_id) == 0;
    if (attachment->known && same)
        return 0;
    if (attachment->known && attachment->access == ATTACH_READ)
        return err_set(BUS_ERR_UNKNOWN_TOPIC_OR_PARTITION,
            "topic %s was deleted and created anew: assign it again to read the new one",
            attachment->topic);
    int rc = bus_use_begin(attachment->bus, topic_id, attachment->partition);
    if (rc < 0)
        return rc;
    forget_asked(attachment);
    forget_topic(attachment);
    attachment->topic_id = *topic_id;
    attachment->known = true;
    return 0;
}

static int
use_reply(struct attachment *attachment, struct conn_reply *reply)
{
    const struct attach_partition_response *answer = reply->message;
    int rc = conn_refused(answer->error_code, answer->error_message);
    if (rc < 0)
        return err_prefix(rc, "%s-%d", attachment->topic, attachment->partition);
    if (attachment->access == ATTACH_WRITE && answer->access != ATTACH_WRITE)
        return ATTACH_MEDIATED;
    if (answer->access < (int8_t)attachment->access)
        return err_set(BUS_ERR_TOPIC_AUTHORIZATION_FAILED, "no permission to read topic %s",
            attachment->topic);
    rc = note_topic(attachment, &answer->topic_id);
    if (rc < 0)
        return rc;
    if (attachment->access == ATTACH_WRITE) {
        close_fd(&attachment->kick_fd);
        attachment->kick_fd = conn_reply_take_fd(reply, FD_KICK);
        make_nonblocking(attachment->kick_fd);
        int old_lock = attachment->lock_fd;
        attachment->lock_fd = conn_reply_take_fd(reply, FD_LOCK);
        close_fd(&old_lock);
    }
    /* Generations are counted within a topic: one that was created anew begins with 1 again. */
    if (attachment->mapped && attachment->generation == (uint32_t)answer->generation &&
        memcmp(&attachment->view_topic, &answer->topic_id, sizeof answer->topic_id) == 0)
        return ATTACH_DONE;
    forget_asked(attachment);
    bool first = !attachment->mapped;
    rc = map_view(attachment, reply);
    return rc < 0 || first ? rc : ATTACH_CHANGED;
}

int
attach_renew(struct attachment *attachment, unsigned flags, int64_t deadline_ns)
{
    struct attach_partition_request request = {.topic_name = attachment->topic,
        .partition = attachment->partition,
        .access = (int8_t)attachment->access,
        .layout_version = SHM_LAYOUT_VERSION};
    uint32_t epoch = conn_epoch(attachment->bus->conn);
    struct conn_reply *reply;
    /* What is mapped serves on, so when busd dies in between, nobody waits for the next one. */
    if (flags & CONN_WAIT)
        flags |= CONN_AGAIN;
    int rc = conn_call(
        attachment->bus->conn, API_ATTACH_PARTITION, &request, flags, deadline_ns, &reply);
    if (rc < 0)
        return err_prefix(rc, "%s-%d", attachment->topic, attachment->partition);
    rc = use_reply(attachment, reply);
    conn_reply_free(&reply);
    if (rc >= 0)
        attachment->epoch = epoch;
    return rc;
}

void
attach_prefetch(struct attachment *attachment)
{
    if (!attachment->mapped)
        return;
    struct shm_partition *view = &attachment->view;
    int64_t active = atomic_load_explicit(&view->control->active_seq, memory_order_relaxed);
    if (active < 0 || active == INT64_MAX)
        return; /* damage, which the next look at the page tells */
    int64_t next = active + 1;
    const struct shm_segment *known = view->segments[(uint64_t)next % SHM_SLOTS];
    struct shm_tail spare;
    struct shm_segment *segment;
    if ((known && known->seq == next) || !shm_slot_read(view->control, next, &spare))
        return;
    (void)shm_partition_segment(view, next, &segment);
}

void
attach_fini(struct attachment *attachment)
{
    forget_asked(attachment);
    if (attachment->mapped)
        shm_partition_fini(&attachment->view);
    attachment->mapped = false;
    close_fd(&attachment->kick_fd);
    close_fd(&attachment->lock_fd);
    forget_topic(attachment);
}
