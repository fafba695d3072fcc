/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "client/conn_impl.h"
#include "protocol/wire.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ANSWER_MEMORY_MAX = 256 * 1024 * 1024, /* what one decoded answer may take */
    OUT_BYTES_KEPT = 1 << 20,              /* an empty send buffer gives back more than this */
    OUT_BYTES_COMPACT = 1 << 16,           /* sent, before the rest is moved to the front */
};

void
conn_note_down(struct conn *conn, int rc)
{
    conn->down_rc = rc;
    memcpy(conn->down_text, err_text(), sizeof conn->down_text);
}

int
conn_dial(struct conn *conn)
{
    const struct settings *settings = &conn->settings;
    int64_t deadline_ns = clock_mono_ns() + settings->connection_setup_timeout_ms * 1000000;
    struct dial_versions versions;
    int fd = dial_socket(settings->socket_path, deadline_ns);
    if (fd < 0)
        return fd;
    int rc = dial_greet(fd, settings->client_id, conn->stop_fd, deadline_ns, &versions);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    pthread_mutex_lock(&conn->lock);
    conn->fd = fd;
    conn->versions = versions;
    conn->sent = 0;
    conn->pause_ms = 0;
    atomic_fetch_add_explicit(&conn->epoch, 1, memory_order_relaxed);
    atomic_store_explicit(&conn->up, true, memory_order_relaxed);
    pthread_cond_broadcast(&conn->changed);
    pthread_mutex_unlock(&conn->lock);
    return 0;
}

void
conn_write(struct conn *conn)
{
    struct buf *out = &conn->out;
    while (conn->out_at < out->length) {
        ssize_t n =
            send(conn->fd, out->data + conn->out_at, out->length - conn->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return; /* full; or broken, which the thread finds out by reading */
        conn->out_at += (size_t)n;
        conn->sent += (uint64_t)n;
    }
    conn->out_at = 0;
    if (out->capacity > OUT_BYTES_KEPT)
        buf_fini(out);
    else
        buf_clear(out);
}

void
conn_compact(struct conn *conn)
{
    struct buf *out = &conn->out;
    if (conn->out_at < OUT_BYTES_COMPACT || conn->out_at < out->length / 2)
        return;
    memmove(out->data, out->data + conn->out_at, out->length - conn->out_at);
    out->length -= conn->out_at;
    conn->out_at = 0;
}

void
conn_fail_calls(struct conn *conn)
{
    struct call *call = conn->head;
    conn->head = conn->tail = NULL;
    while (call) {
        struct call *next = call->next;
        int rc;
        if (conn->stopping)
            rc = err_set(BUS_ERR_DAEMON_UNAVAILABLE, "the bus is being closed");
        else if (call->starts_at >= conn->sent)
            rc = err_set((enum bus_err) - conn->down_rc, "%s", conn->down_text);
        else
            rc = err_set(
                BUS_ERR_NETWORK_EXCEPTION, "busd went away before it answered %s", call->api->name);
        if (call->done)
            call->done(call->context, rc, NULL);
        free(call);
        call = next;
    }
}

/* How many fds an answer brings: what its fields promise (see kafka.messages). */
static int
fds_promised(const struct api_info *api, const void *message)
{
    if (api->key == API_ATTACH_PARTITION) {
        const struct attach_partition_response *attach = message;
        if (attach->error_code != 0 || attach->access == 0)
            return 0;
        return 2 + (attach->access == 2 ? 2 : 0) + attach->segments_count;
    }
    if (api->key == API_OPEN_SEGMENT)
        return ((const struct open_segment_response *)message)->error_code == 0 ? 1 : 0;
    return 0;
}

/* Moves the fds that belong to the answer from the connection to it. */
static int
take_fds(struct conn *conn, const struct api_info *api, struct conn_reply *reply)
{
    int wanted = fds_promised(api, reply->message);
    if (wanted == 0)
        return 0;
    if (wanted > conn->fd_count && conn->fds_lost) {
        conn->fds_lost = false;
        return err_set(BUS_ERR_LIMIT_REACHED,
            "no file descriptors left for the partition: raise the limit (ulimit -n)");
    }
    if (wanted > conn->fd_count)
        return err_set(
            BUS_ERR_NETWORK_EXCEPTION, "busd answered %s without its file descriptors", api->name);
    memcpy(reply->fds, conn->fds, (size_t)wanted * sizeof(int));
    reply->fd_count = wanted;
    conn->fd_count -= wanted;
    memmove(conn->fds, conn->fds + wanted, (size_t)conn->fd_count * sizeof(int));
    return 0;
}

static int
decode(const struct call *call, const uint8_t *frame, size_t bytes, struct conn_reply **out)
{
    int32_t correlation;
    int body = response_header_decode(call->api, call->version, frame, bytes, &correlation);
    if (body < 0)
        return body;
    if (correlation != call->correlation)
        return err_set(BUS_ERR_INVALID_REQUEST, "an answer came out of order");
    struct conn_reply *reply = calloc(1, sizeof *reply);
    if (!reply)
        return err_no_memory();
    arena_init(&reply->arena, ANSWER_MEMORY_MAX);
    reply->frame = malloc(bytes);
    reply->message = arena_alloc(&reply->arena, call->api->response->size);
    int rc = reply->frame && reply->message ? 0 : err_no_memory();
    if (rc == 0) {
        memcpy(reply->frame, frame, bytes);
        rc = wire_decode(call->api->response, call->version, reply->frame + body,
            bytes - (size_t)body, reply->message, &reply->arena);
    }
    if (rc < 0)
        conn_reply_free(&reply);
    *out = reply;
    return rc;
}

/* Gives a frame to the call that waits longest. A failure ends the connection. */
static int
answer(struct conn *conn, const uint8_t *frame, size_t bytes)
{
    pthread_mutex_lock(&conn->lock);
    struct call *call = conn->head;
    pthread_mutex_unlock(&conn->lock);
    if (!call)
        return err_set(BUS_ERR_INVALID_REQUEST, "an answer came that nobody asked for");
    /* Only this thread removes calls, and nobody changes these fields. */
    struct conn_reply *reply;
    int rc = decode(call, frame, bytes, &reply);
    if (rc < 0)
        return err_prefix(rc, "busd's answer to %s", call->api->name);
    rc = take_fds(conn, call->api, reply);
    if (rc < 0)
        conn_reply_free(&reply);
    pthread_mutex_lock(&conn->lock);
    conn->head = call->next;
    if (!conn->head)
        conn->tail = NULL;
    if (call->done) {
        call->done(call->context, rc, reply);
        reply = NULL;
    }
    pthread_mutex_unlock(&conn->lock);
    conn_reply_free(&reply);
    free(call);
    /* Without its fds an answer is none, and who asks again shall not go round in circles. */
    return rc == -BUS_ERR_NETWORK_EXCEPTION ? rc : 0;
}

static void
close_fds(struct conn *conn)
{
    for (int i = 0; i < conn->fd_count; i++)
        close(conn->fds[i]);
    conn->fd_count = 0;
}

static void
collect_fds(struct conn *conn, struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (conn->fd_count < CONN_FDS_MAX)
                conn->fds[conn->fd_count++] = fd;
            else
                close(fd);
        }
    }
    if (message->msg_flags & MSG_CTRUNC)
        conn->fds_lost = true;
}

/* Reads once and gives out the frames that are complete. */
static int
receive(struct conn *conn)
{
    size_t room;
    uint8_t *space = frame_reader_space(&conn->reader, &room);
    if (!space)
        return -BUS_ERR_NO_MEMORY;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * CONN_FDS_MAX)];
    } control;
    struct iovec part = {.iov_base = space, .iov_len = room};
    struct msghdr message = {.msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes};
    ssize_t n = recvmsg(conn->fd, &message, MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return err_set(BUS_ERR_DAEMON_UNAVAILABLE,
            "busd at %s went away: it is reached again as soon as it runs", conn_path(conn));
    collect_fds(conn, &message);
    frame_reader_filled(&conn->reader, (size_t)n);
    const uint8_t *frame;
    size_t bytes;
    int rc;
    while ((rc = frame_reader_next(&conn->reader, &frame, &bytes)) == FRAME_READY) {
        rc = answer(conn, frame, bytes);
        if (rc < 0)
            return rc;
    }
    /* The kernel ties fds to bytes: when all bytes are used, the rest belongs to nothing. */
    if (conn->reader.start == conn->reader.end) {
        close_fds(conn);
        conn->fds_lost = false;
    }
    return rc;
}

static void
disconnect(struct conn *conn, int rc)
{
    if (rc != -BUS_ERR_DAEMON_UNAVAILABLE)
        err_prefix(rc, "connection to busd lost");
    pthread_mutex_lock(&conn->lock);
    atomic_store_explicit(&conn->up, false, memory_order_relaxed);
    conn_note_down(conn, -BUS_ERR_DAEMON_UNAVAILABLE);
    close(conn->fd);
    conn->fd = -1;
    conn_fail_calls(conn);
    buf_clear(&conn->out);
    conn->out_at = 0;
    conn->next_correlation = 0;
    conn->hurry = true; /* a restarted busd is there at once */
    pthread_mutex_unlock(&conn->lock);
    close_fds(conn);
    conn->fds_lost = false;
    frame_reader_fini(&conn->reader);
}

/* Between 75 % and 125 % of the pause, so that many clients do not come all at once. */
static int64_t
jitter_ms(struct conn *conn, int64_t pause_ms)
{
    conn->random ^= conn->random << 13;
    conn->random ^= conn->random >> 7;
    conn->random ^= conn->random << 17;
    return pause_ms * (int64_t)(75 + conn->random % 51) / 100;
}

static void
drain_wake(struct conn *conn)
{
    eventfd_t count;
    eventfd_read(conn->wake_fd, &count); /* empty is fine */
}

/* The pause before the next try: doubled each time, cut to the shortest when somebody waits. */
static void
pause_before_dial(struct conn *conn)
{
    const struct settings *settings = &conn->settings;
    int64_t longer = conn->pause_ms ? conn->pause_ms * 2 : settings->reconnect_backoff_ms;
    conn->pause_ms =
        longer < settings->reconnect_backoff_max_ms ? longer : settings->reconnect_backoff_max_ms;
    int64_t start_ns = clock_mono_ns();
    int64_t shortest_ns = start_ns + jitter_ms(conn, settings->reconnect_backoff_ms) * 1000000;
    int64_t until_ns = start_ns + jitter_ms(conn, conn->pause_ms) * 1000000;
    for (;;) {
        drain_wake(conn);
        pthread_mutex_lock(&conn->lock);
        bool stopping = conn->stopping, hurry = conn->hurry;
        conn->hurry = false;
        pthread_mutex_unlock(&conn->lock);
        if (hurry && shortest_ns < until_ns)
            until_ns = shortest_ns;
        int64_t left_ns = until_ns - clock_mono_ns();
        if (stopping || left_ns <= 0)
            return;
        struct pollfd polled[2] = {
            {.fd = conn->wake_fd, .events = POLLIN}, {.fd = conn->stop_fd, .events = POLLIN}};
        poll(polled, 2, (int)((left_ns + 999999) / 1000000));
    }
}

static void
reconnect(struct conn *conn)
{
    pause_before_dial(conn);
    pthread_mutex_lock(&conn->lock);
    bool stopping = conn->stopping;
    pthread_mutex_unlock(&conn->lock);
    if (stopping)
        return;
    int rc = conn_dial(conn);
    if (rc == 0)
        return;
    pthread_mutex_lock(&conn->lock);
    conn_note_down(conn, rc == -BUS_ERR_TIMED_OUT ? -BUS_ERR_DAEMON_UNAVAILABLE : rc);
    pthread_cond_broadcast(&conn->changed);
    pthread_mutex_unlock(&conn->lock);
}

/* Waits for the socket and for callers, and does what there is to do. */
static void
turn(struct conn *conn)
{
    pthread_mutex_lock(&conn->lock);
    bool wants_to_send = conn->out_at < conn->out.length;
    pthread_mutex_unlock(&conn->lock);
    struct pollfd polled[3] = {
        {.fd = conn->fd, .events = (short)(wants_to_send ? POLLIN | POLLOUT : POLLIN)},
        {.fd = conn->wake_fd, .events = POLLIN},
        {.fd = conn->stop_fd, .events = POLLIN},
    };
    if (poll(polled, 3, -1) < 0)
        return;
    if (polled[1].revents)
        drain_wake(conn);
    if (polled[0].revents & POLLOUT) {
        pthread_mutex_lock(&conn->lock);
        conn_write(conn);
        pthread_mutex_unlock(&conn->lock);
    }
    if (polled[0].revents & (POLLIN | POLLHUP | POLLERR)) {
        int rc = receive(conn);
        if (rc < 0)
            disconnect(conn, rc);
    }
}

void *
conn_run(void *arg)
{
    struct conn *conn = arg;
    for (;;) {
        pthread_mutex_lock(&conn->lock);
        bool stopping = conn->stopping;
        pthread_mutex_unlock(&conn->lock);
        if (stopping)
            break;
        if (conn->fd < 0)
            reconnect(conn);
        else
            turn(conn);
    }
    pthread_mutex_lock(&conn->lock);
    conn_fail_calls(conn);
    pthread_mutex_unlock(&conn->lock);
    return NULL;
}
