/* SPDX-License-Identifier: Apache-2.0
 * One client: requests come in as frames, are handled one at a time, and are answered in order.
 */
#include "door/connection.h"

#include "base/clock.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    STRANGER_BYTES_MAX = 65536, /* a frame before authentication */
    KEPT_BYTES_MAX = 2 << 20,   /* what a busy connection keeps of its buffer between requests */
    ARRIVAL_BYTES_PER_MS = 16,  /* a large request may take longer to arrive */
    WANTED_ANEW = 1 << 16,      /* what the loop watches for is not known: a failure ends it */
};

static struct connection *
connection_of(struct api_peer *peer)
{
    return (struct connection *)peer;
}

static void
tell_end(struct connection *c, const char *why)
{
    char line[ERR_TEXT_BYTES_MAX + 32];
    snprintf(line, sizeof line, "connection cut: %s", why);
    hall_tell(c->hall, c->name, line);
}

void
connection_break(struct connection *c, const char *why)
{
    if (!c->broken)
        tell_end(c, why);
    c->broken = true;
}

/** What came makes no sense, so nothing more is read; what was answered before still leaves. */
static void
refuse(struct connection *c, const char *why)
{
    if (!c->closing && !c->broken)
        tell_end(c, why);
    c->closing = true;
}

/** Has connection_resume() called by the loop: from where the connection may not end. */
static void
resume_later(struct connection *c)
{
    if (c->resuming)
        return;
    c->resuming = true;
    c->resume_next = c->hall->resume;
    c->hall->resume = c;
    loop_post_send(c->hall->post);
}

void
connection_answer(struct api_peer *peer, struct api_answer *answer)
{
    struct connection *c = connection_of(peer);
    c->parked = false;
    c->heard_ms = clock_mono_ms();
    if (answer->close)
        tell_end(c, err_text());
    if (answer->frame.length == 0) {
        c->closing = c->closing || answer->close;
        api_answer_fini(answer);
    } else if (output_queue(c, answer) < 0) {
        api_answer_fini(answer);
        connection_break(c, err_text());
    }
    if (c->busy)
        return;
    output_send(c);
    resume_later(c);
}

/* ---- receiving ------------------------------------------------------------------------------ */

/** Whether a request may be handled now. */
static bool
may_handle(const struct connection *c)
{
    return !c->broken && !c->closing && !c->parked && !c->hall->quiet &&
           c->output_bytes <= OUTPUT_BYTES_HIGH;
}

static bool
has_room(struct connection *c)
{
    return !c->kind->has_room || c->kind->has_room(c);
}

/** Who has not said yet who it is has nothing to say that is long. */
static void
limit_frames(struct connection *c)
{
    int64_t most = settings_int(c->hall->options.settings, BROKER_SOCKET_REQUEST_MAX_BYTES);
    if (!c->peer.authenticated && most > STRANGER_BYTES_MAX)
        most = STRANGER_BYTES_MAX;
    c->reader.frame_bytes_max = (size_t)most;
}

static void
handle_frame(struct connection *c, const uint8_t *frame, size_t n)
{
    c->frame_since_ms = -1;
    c->parked = true; /* until the answer, which may come before the dispatch returns */
    bool was_known = c->peer.authenticated;
    int rc = api_dispatch(c->hall->options.api, &c->peer, frame, n);
    if (c->peer.authenticated != was_known)
        limit_frames(c);
    if (rc >= 0)
        return;
    c->parked = false;
    refuse(c, err_text());
}

/** The reader's memory is the client's: what has become of it is charged, or given back. */
static int
charge_reader(struct connection *c)
{
    int64_t more = (int64_t)c->reader.capacity - c->reader_charged;
    if (more < 0)
        quota_release(&c->quota, QUOTA_BYTES, -more);
    else if (quota_charge(&c->quota, QUOTA_BYTES, more) < 0)
        return -BUS_ERR_LIMIT_REACHED;
    c->reader_charged += more;
    return 0;
}

/** A large request leaves a large buffer behind, which nobody needs while the client is silent. */
static void
give_memory_back(struct connection *c, size_t kept)
{
    frame_reader_trim(&c->reader, kept);
    if (charge_reader(c) < 0)
        connection_break(c, err_text()); /* cannot be: it only shrinks */
}

/** Gives the next whole frame. */
static bool
next_frame(struct connection *c, const uint8_t **frame, size_t *n)
{
    int rc = frame_reader_next(&c->reader, frame, n);
    if (rc < 0)
        refuse(c, err_text());
    if (rc == FRAME_WANTED && c->frame_since_ms < 0 && frame_reader_waiting(&c->reader) > 0)
        c->frame_since_ms = clock_mono_ms();
    return rc == FRAME_READY;
}

/** Handles what has arrived; others come in between when it takes long. */
static void
handle_frames(struct connection *c)
{
    int64_t until_ms = clock_mono_ms() + TURN_MS;
    const uint8_t *frame;
    size_t n;
    c->busy = true;
    while (may_handle(c) && has_room(c) && next_frame(c, &frame, &n)) {
        handle_frame(c, frame, n);
        if (clock_mono_ms() >= until_ms) {
            resume_later(c);
            break;
        }
    }
    c->busy = false;
    output_send(c);
    give_memory_back(c, c->reader.kept);
}

/** Whether the other side is gone altogether, and not only done with asking. */
static bool
is_gone(const struct connection *c)
{
    struct pollfd state = {.fd = c->stream.fd};
    return poll(&state, 1, 0) > 0 && (state.revents & (POLLHUP | POLLERR | POLLNVAL));
}

static void
receive(struct connection *c)
{
    size_t room;
    uint8_t *space = frame_reader_space(&c->reader, &room);
    if (!space || charge_reader(c) < 0) {
        connection_break(c, err_text());
        return;
    }
    ssize_t n = c->stream.ops->receive(&c->stream, space, room);
    if (n > 0) {
        frame_reader_filled(&c->reader, (size_t)n);
        c->heard_ms = clock_mono_ms();
    } else if (n == 0) {
        c->half_closed = true; /* it may still read: what it has asked for is answered */
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        c->broken = true;
    }
}

/** The other side is gone, or sends nothing more. Requests that it sent before count, unless they
 * would have to wait for somebody who is gone. */
static void
note_hang_up(struct connection *c)
{
    c->hung_up = true;
    c->wanted = WANTED_ANEW;
    if (!is_gone(c))
        return;
    if (may_handle(c) && c->held_since_ms < 0)
        receive(c);
    else
        c->broken = true;
}

static bool
may_receive(const struct connection *c)
{
    return may_handle(c) && !c->half_closed && c->held_since_ms < 0;
}

/** Whether bytes wait in the stream that the socket tells nothing of any more. */
static bool
has_pending(const struct connection *c)
{
    return !c->broken && may_receive(c) && c->stream.ops->pending(&c->stream);
}

static unsigned
wanted(const struct connection *c)
{
    unsigned what = 0;
    if (!c->hung_up)
        what |= LOOP_BROKEN; /* that it left is noticed also while it waits */
    if (c->first || c->stream.wants_write)
        what |= LOOP_WRITABLE;
    if (may_receive(c) && !c->resuming)
        what |= LOOP_READABLE;
    return what;
}

/* ---- ending --------------------------------------------------------------------------------- */

/** Whether the last answers have arrived: to close earlier, with requests unread, could destroy
 * them on their way. */
static bool
has_arrived(struct connection *c)
{
    int left;
    int64_t now_ms = clock_mono_ms();
    if (!c->kind->lingers || ioctl(c->stream.fd, SIOCOUTQ, &left) < 0 || left == 0)
        return true;
    if (c->closing_since_ms < 0)
        c->closing_since_ms = now_ms;
    return now_ms - c->closing_since_ms >= LINGER_MS;
}

/** Whether there is nothing left to be done for the client. */
static bool
is_over(struct connection *c)
{
    if (c->broken)
        return true;
    if (c->first || c->parked)
        return false;
    return (c->closing && has_arrived(c)) ||
           (c->half_closed && !c->resuming && (c->held_since_ms < 0 || is_gone(c)));
}

void
connection_settle(struct connection *c)
{
    if (is_over(c)) {
        connection_free(c);
        return;
    }
    unsigned what = wanted(c);
    if (what != c->wanted)
        loop_fd_want(c->watch, what);
    c->wanted = what;
}

void
connection_resume(struct connection *c)
{
    if (has_pending(c))
        receive(c);
    handle_frames(c);
    if (has_pending(c))
        resume_later(c);
    connection_settle(c);
}

static void
on_ready(void *context, unsigned what)
{
    struct connection *c = context;
    bool writes = (what & LOOP_WRITABLE) && c->stream.wants_write && may_receive(c);
    if ((what & LOOP_READABLE) || writes)
        receive(c); /* also says that it left, behind its last request */
    else if (what & LOOP_BROKEN)
        note_hang_up(c);
    if (what & LOOP_WRITABLE)
        output_send(c);
    connection_resume(c);
}

/* ---- time ----------------------------------------------------------------------------------- */

/** Why the client is to be cut off now; NULL: it is not. */
static const char *
overdue(const struct connection *c, int64_t now_ms)
{
    const struct settings *settings = c->hall->options.settings;
    bool stalled = c->stalled_since_ms >= 0 && now_ms - c->stalled_since_ms >= STALL_MS_MAX;
    bool held = c->held_since_ms >= 0 && now_ms - c->held_since_ms >= STALL_MS_MAX;
    if (stalled || held)
        return "it has taken none of its answers for a minute";
    int64_t arrival_ms = settings_int(settings, BROKER_REQUEST_ARRIVAL_TIMEOUT_MS) +
                         (int64_t)frame_reader_waiting(&c->reader) / ARRIVAL_BYTES_PER_MS;
    if (c->frame_since_ms >= 0 && may_handle(c) && now_ms - c->frame_since_ms >= arrival_ms)
        return "a request came too slowly (request.arrival.timeout.ms)";
    int64_t idle_ms = settings_int(settings, BROKER_CONNECTIONS_MAX_IDLE_MS);
    if (!c->kind->may_idle && !c->parked && now_ms - c->heard_ms >= idle_ms)
        return "it was silent for too long (connections.max.idle.ms)";
    return NULL;
}

void
connection_sweep(struct connection *c, int64_t now_ms)
{
    const char *why = overdue(c, now_ms);
    if (why)
        connection_break(c, why);
    else if (c->hung_up && c->parked && is_gone(c))
        c->broken = true;
    else if (now_ms - c->heard_ms >= SWEEP_MS)
        give_memory_back(c, 0);
    connection_settle(c);
}

/* ---- open, close ---------------------------------------------------------------------------- */

void
connection_configure(struct connection *c)
{
    const struct settings *settings = c->hall->options.settings;
    quota_limit(&c->quota, QUOTA_BYTES, settings_int(settings, BROKER_CLIENT_MAX_BYTES));
    quota_limit(&c->quota, QUOTA_PARKED, settings_int(settings, BROKER_QUEUED_MAX_REQUESTS));
    limit_frames(c);
    if (c->kind->configure)
        c->kind->configure(c);
}

static void
link_in(struct connection *c)
{
    c->next = c->hall->connections;
    if (c->next)
        c->next->previous = c;
    c->hall->connections = c;
    if (c->hall->connection_count++ == 0)
        loop_timer_start(c->hall->sweep, SWEEP_MS, SWEEP_MS);
}

static void
unlink_out(struct connection *c)
{
    struct hall *hall = c->hall;
    if (c->previous)
        c->previous->next = c->next;
    else
        hall->connections = c->next;
    if (c->next)
        c->next->previous = c->previous;
    if (--hall->connection_count == 0)
        loop_timer_stop(hall->sweep);
    for (struct connection **at = &hall->resume; c->resuming && *at; at = &(*at)->resume_next)
        if (*at == c) {
            *at = c->resume_next;
            break;
        }
}

/** Who it is, and whether that party may have one more connection. */
static int
admit(struct connection *c)
{
    uint8_t key[PARTY_KEY_BYTES] = {0};
    int rc = c->kind->admit(c, key);
    if (rc < 0)
        return rc;
    c->party = hall_party(c->hall, c->kind, key);
    if (!c->party)
        return -BUS_ERR_NO_MEMORY;
    quota_init(&c->quota, "the connection", &c->party->quota);
    rc = quota_charge(&c->quota, QUOTA_CONNECTIONS, 1);
    if (rc < 0)
        hall_forget_party(c->hall, c->party);
    return err_prefix(rc, "%s", c->name);
}

struct connection *
connection_new(struct hall *hall, const struct connection_kind *kind, int fd)
{
    struct connection *c = calloc(1, kind->bytes);
    if (!c) {
        close(fd);
        err_no_memory();
        return NULL;
    }
    c->hall = hall;
    c->kind = kind;
    c->stream = (struct stream){.ops = &stream_plain, .fd = fd};
    c->last = &c->first;
    c->stalled_since_ms = c->held_since_ms = c->frame_since_ms = c->closing_since_ms = -1;
    c->heard_ms = clock_mono_ms();
    c->peer.ops = &kind->ops;
    c->peer.door = kind->door;
    c->peer.name = c->name;
    c->peer.quota = &c->quota;
    return c;
}

int
connection_open(struct connection *c)
{
    int rc = admit(c);
    if (rc < 0) {
        close(c->stream.fd);
        free(c);
        return rc;
    }
    frame_reader_init(&c->reader, FRAME_BYTES_MAX);
    c->reader.kept = KEPT_BYTES_MAX;
    connection_configure(c);
    link_in(c);
    rc = loop_fd_new(c->hall->options.loop, c->stream.fd, on_ready, c, &c->watch);
    if (rc < 0)
        connection_free(c);
    else
        connection_settle(c);
    return rc;
}

void
connection_free(struct connection *c)
{
    api_peer_gone(c->hall->options.api, &c->peer);
    unlink_out(c);
    while (c->first)
        output_drop(c);
    loop_fd_free(&c->watch);
    if (c->kind->fini)
        c->kind->fini(c);
    close(c->stream.fd);
    frame_reader_fini(&c->reader);
    quota_release_all(&c->quota);
    hall_forget_party(c->hall, c->party);
    free(c);
}
