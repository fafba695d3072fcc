/* SPDX-License-Identifier: Apache-2.0 */
#include "client/conn.h"

#include "base/clock.h"
#include "client/conn_impl.h"
#include "protocol/wire.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    POSTED_BYTES_MAX = 4 << 20, /* unsent; no answer tells when busd has taken a post */
    RESTART_TRIES = 5,          /* with the longest pause between them: for CONN_RESTART */
};

void
conn_reply_free(struct conn_reply **reply)
{
    struct conn_reply *old = *reply;
    *reply = NULL;
    if (!old)
        return;
    for (int i = 0; i < old->fd_count; i++)
        if (old->fds[i] >= 0)
            close(old->fds[i]);
    arena_fini(&old->arena);
    free(old->frame);
    free(old);
}

int
conn_reply_take_fd(struct conn_reply *reply, int index)
{
    if (index >= reply->fd_count)
        return -1;
    int fd = reply->fds[index];
    reply->fds[index] = -1;
    return fd;
}

int
conn_refused(int16_t wire, const char *text)
{
    int rc = err_of_wire(wire);
    if (rc == 0)
        return 0;
    return err_set((enum bus_err) - rc, "%s", text && *text ? text : bus_err_text(rc));
}

static void
init_sync(struct conn *conn)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&conn->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&conn->lock, NULL);
}

static void
release(struct conn *conn)
{
    if (conn->fd >= 0)
        close(conn->fd);
    for (int i = 0; i < conn->fd_count; i++)
        close(conn->fds[i]);
    if (conn->wake_fd >= 0)
        close(conn->wake_fd);
    if (conn->stop_fd >= 0)
        close(conn->stop_fd);
    frame_reader_fini(&conn->reader);
    buf_fini(&conn->out);
    pthread_cond_destroy(&conn->changed);
    pthread_mutex_destroy(&conn->lock);
    free(conn);
}

/* The thread takes no signals: they are the application's. */
static int
start_thread(struct conn *conn)
{
    sigset_t all, old;
    sigfillset(&all);
    sigdelset(&all, SIGBUS); /* shm/guard.h */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int errnum = pthread_create(&conn->thread, NULL, conn_run, conn);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return errnum == 0 ? 0 : err_sys(errnum, "start the thread of the connection");
}

int
conn_open(const struct settings *settings, struct conn **conn)
{
    struct conn *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return err_no_memory();
    fresh->settings = *settings;
    fresh->fd = -1;
    fresh->random = (uint64_t)clock_mono_ns() | 1;
    buf_init(&fresh->out);
    frame_reader_init(&fresh->reader, FRAME_BYTES_MAX);
    init_sync(fresh);
    fresh->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fresh->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = fresh->wake_fd < 0 || fresh->stop_fd < 0 ? err_sys(errno, "make an eventfd")
                                                      : conn_dial(fresh);
    if (rc == 0)
        rc = start_thread(fresh);
    if (rc < 0) {
        release(fresh);
        return rc;
    }
    *conn = fresh;
    return 0;
}

void
conn_close(struct conn **conn)
{
    struct conn *old = *conn;
    *conn = NULL;
    if (!old)
        return;
    pthread_mutex_lock(&old->lock);
    old->stopping = true;
    pthread_mutex_unlock(&old->lock);
    eventfd_write(old->stop_fd, 1);
    conn_wake(old);
    pthread_join(old->thread, NULL);
    release(old);
}

bool
conn_up(const struct conn *conn)
{
    return atomic_load_explicit(&conn->up, memory_order_relaxed);
}

uint32_t
conn_epoch(const struct conn *conn)
{
    return atomic_load_explicit(&conn->epoch, memory_order_relaxed);
}

const _Atomic uint32_t *
conn_epoch_word(const struct conn *conn)
{
    return &conn->epoch;
}

const char *
conn_path(const struct conn *conn)
{
    return conn->settings.socket_path;
}

void
conn_wake(struct conn *conn)
{
    eventfd_write(conn->wake_fd, 1); /* a full counter is as good a wake-up call */
}

static int
down(const struct conn *conn)
{
    return err_set((enum bus_err) - conn->down_rc, "%s", conn->down_text);
}

/* Encodes the request behind what waits already. Lock held. */
static int
enqueue(struct conn *conn, int16_t api_key, const void *request, struct call *call)
{
    if (conn->fd < 0)
        return down(conn);
    const struct api_info *api = api_find(api_key);
    int16_t version = conn->versions.use[api - api_table];
    if (version < 0)
        return err_set(BUS_ERR_UNSUPPORTED_VERSION,
            "busd at %s does not know %s as this libbus does: run the same version of both",
            conn_path(conn), api->name);
    struct request_header header = {.api_key = api_key,
        .api_version = version,
        .correlation_id = conn->next_correlation,
        .client_id = conn->settings.client_id};
    conn_compact(conn);
    call->starts_at = conn->sent + (conn->out.length - conn->out_at);
    size_t start = frame_begin(&conn->out);
    request_header_encode(&conn->out, api, &header);
    int rc = wire_encode(api->request, version, request, &conn->out);
    if (rc < 0) {
        /* The encoder took its own bytes back, the header is still there. */
        conn->out.length = start;
        conn->out.failed = false;
        return err_prefix(rc, "%s", api->name);
    }
    rc = frame_end(&conn->out, start, 0);
    if (rc < 0) {
        conn->out.failed = false;
        return err_prefix(rc, "%s", api->name);
    }
    call->api = api;
    call->version = version;
    call->correlation = conn->next_correlation;
    conn->next_correlation = (conn->next_correlation + 1) & INT32_MAX;
    return 0;
}

/* Sends at once what the socket takes; the thread sends the rest. Lock held. */
static void
push(struct conn *conn)
{
    conn_write(conn);
    if (conn->out_at < conn->out.length)
        conn_wake(conn);
}

int
conn_start(struct conn *conn, int16_t api_key, const void *request, conn_done *done, void *context,
    uint64_t *id)
{
    struct call *call = calloc(1, sizeof *call);
    if (!call)
        return err_no_memory();
    call->done = done;
    call->context = context;
    pthread_mutex_lock(&conn->lock);
    int rc = enqueue(conn, api_key, request, call);
    if (rc == 0) {
        call->id = ++conn->next_id;
        if (id)
            *id = call->id;
        if (conn->tail)
            conn->tail->next = call;
        else
            conn->head = call;
        conn->tail = call;
        push(conn);
    }
    pthread_mutex_unlock(&conn->lock);
    if (rc < 0)
        free(call);
    return rc;
}

int
conn_post(struct conn *conn, int16_t api_key, const void *request)
{
    struct call unanswered = {0};
    pthread_mutex_lock(&conn->lock);
    int rc = conn->out.length - conn->out_at < POSTED_BYTES_MAX
                 ? enqueue(conn, api_key, request, &unanswered)
                 : err_set(BUS_ERR_QUEUE_FULL, "busd at %s does not read what it is sent",
                       conn_path(conn));
    if (rc == 0)
        push(conn);
    pthread_mutex_unlock(&conn->lock);
    return rc;
}

void
conn_cancel(struct conn *conn, uint64_t id)
{
    pthread_mutex_lock(&conn->lock);
    for (struct call *call = conn->head; call; call = call->next)
        if (call->id == id)
            call->done = NULL;
    pthread_mutex_unlock(&conn->lock);
}

static struct timespec
timespec_of(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

int
conn_await(struct conn *conn, int64_t deadline_ns)
{
    struct timespec until = timespec_of(deadline_ns);
    int rc = 0;
    pthread_mutex_lock(&conn->lock);
    while (conn->fd < 0 && rc == 0) {
        conn->hurry = true;
        conn_wake(conn);
        if (pthread_cond_timedwait(&conn->changed, &conn->lock, &until) == ETIMEDOUT)
            rc = conn->fd < 0 ? down(conn) : 0;
    }
    pthread_mutex_unlock(&conn->lock);
    return rc;
}

/* A thread that waits for its answer; the callback fills it under the connection's lock. */
struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t told;
    bool done;
    int rc;
    struct conn_reply *reply;
    char text[ERR_TEXT_BYTES_MAX];
};

static void
tell_waiter(void *context, int rc, struct conn_reply *reply)
{
    struct waiter *waiter = context;
    pthread_mutex_lock(&waiter->lock);
    waiter->rc = rc;
    waiter->reply = reply;
    if (rc < 0)
        memcpy(waiter->text, err_text(), sizeof waiter->text);
    waiter->done = true;
    pthread_cond_signal(&waiter->told);
    pthread_mutex_unlock(&waiter->lock);
}

static void
wait_until(struct waiter *waiter, int64_t deadline_ns)
{
    struct timespec until = timespec_of(deadline_ns);
    pthread_mutex_lock(&waiter->lock);
    while (!waiter->done && pthread_cond_timedwait(&waiter->told, &waiter->lock, &until) == 0) {
    }
    pthread_mutex_unlock(&waiter->lock);
}

static void
waiter_init(struct waiter *waiter)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&waiter->told, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&waiter->lock, NULL);
}

static int
call_once(struct conn *conn, int16_t api_key, const void *request, int64_t deadline_ns,
    struct conn_reply **reply)
{
    struct waiter waiter = {0};
    uint64_t id;
    waiter_init(&waiter);
    int rc = conn_start(conn, api_key, request, tell_waiter, &waiter, &id);
    if (rc == 0) {
        wait_until(&waiter, deadline_ns);
        /* After this nobody writes to the waiter any more. */
        conn_cancel(conn, id);
        if (!waiter.done)
            rc = err_set(BUS_ERR_REQUEST_TIMED_OUT, "busd did not answer %s in time",
                api_find(api_key)->name);
        else if (waiter.rc < 0)
            rc = err_set((enum bus_err) - waiter.rc, "%s", waiter.text);
        else
            *reply = waiter.reply;
    }
    pthread_cond_destroy(&waiter.told);
    pthread_mutex_destroy(&waiter.lock);
    return rc;
}

/* Only the caller can find out what has happened. */
static int
outcome_unknown(int rc)
{
    char text[ERR_TEXT_BYTES_MAX];
    memcpy(text, err_text(), sizeof text);
    return err_set((enum bus_err) - rc,
        "%.400s; whether it has acted is not known, so look before you repeat it", text);
}

int
conn_call(struct conn *conn, int16_t api_key, const void *request, unsigned flags,
    int64_t deadline_ns, struct conn_reply **reply)
{
    for (;;) {
        int rc = call_once(conn, api_key, request, deadline_ns, reply);
        bool wait = rc == -BUS_ERR_DAEMON_UNAVAILABLE && (flags & (CONN_WAIT | CONN_RESTART)) != 0;
        bool broken = rc == -BUS_ERR_NETWORK_EXCEPTION;
        if ((flags & CONN_ACTS) && (broken || rc == -BUS_ERR_REQUEST_TIMED_OUT))
            return outcome_unknown(rc);
        if (!wait && !(broken && (flags & CONN_AGAIN)))
            return rc;
        int64_t until_ns =
            clock_mono_ns() + conn->settings.reconnect_backoff_max_ms * RESTART_TRIES * 1000000;
        rc = conn_await(
            conn, (flags & CONN_RESTART) && until_ns < deadline_ns ? until_ns : deadline_ns);
        if (rc < 0)
            return rc;
    }
}
