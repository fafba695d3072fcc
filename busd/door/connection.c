/* SPDX-License-Identifier: Apache-2.0 */
#include "door/connection.h"

#include "base/clock.h"
#include "door/peer_cred.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { IOV_MAX_ONCE = 16 };

static struct connection *
connection_of(struct api_peer *peer)
{
    return (struct connection *)peer;
}

static void
break_off(struct connection *c, const char *why)
{
    char line[ERR_TEXT_BYTES_MAX + 32];
    snprintf(line, sizeof line, "connection cut: %s", why);
    if (!c->broken)
        door_tell(c->door, c->name, line);
    c->broken = true;
}

/** Has connection_resume() called by the loop: from where the connection may not end. */
static void
resume_later(struct connection *c)
{
    if (c->resuming)
        return;
    c->resuming = true;
    c->resume_next = c->door->resume;
    c->door->resume = c;
    loop_post_send(c->door->post);
}

/* ---- sending -------------------------------------------------------------------------------- */

static void
drop_output(struct connection *c)
{
    struct output *output = c->first;
    c->first = output->next;
    if (!c->first)
        c->last = &c->first;
    c->output_bytes -= (int64_t)(output->answer.frame.length - output->sent);
    quota_release(&c->quota, QUOTA_BYTES, output->charged);
    c->sent_fds += output->answer.fd_count;
    api_answer_fini(&output->answer);
    free(output);
}

/** Puts the fds of an answer into the control part of a message. */
static void
put_fds(struct msghdr *message, const struct api_answer *answer)
{
    size_t n = (size_t)answer->fd_count * sizeof(int);
    message->msg_controllen = CMSG_SPACE(n);
    struct cmsghdr *head = CMSG_FIRSTHDR(message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(n);
    memcpy(CMSG_DATA(head), answer->fds, n);
}

/** Sends as much as the socket takes of the answers up to the next one that has fds. */
static ssize_t
send_some(struct connection *c)
{
    struct iovec parts[IOV_MAX_ONCE];
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(API_FDS_MAX * sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = parts};
    for (struct output *at = c->first; at && message.msg_iovlen < IOV_MAX_ONCE; at = at->next) {
        bool with_fds = at->answer.fd_count > 0 && at->sent == 0;
        if (with_fds && at != c->first)
            break;
        if (with_fds) {
            message.msg_control = control.space;
            put_fds(&message, &at->answer);
        }
        parts[message.msg_iovlen++] =
            (struct iovec){at->answer.frame.data + at->sent, at->answer.frame.length - at->sent};
    }
    return sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void
note_sent(struct connection *c, size_t n)
{
    c->stalled_since_ms = clock_mono_ms();
    while (n > 0) {
        struct output *output = c->first;
        size_t left = output->answer.frame.length - output->sent;
        if (n < left) {
            output->sent += n;
            c->output_bytes -= (int64_t)n;
            return;
        }
        n -= left;
        c->closing = c->closing || output->answer.close;
        drop_output(c);
    }
}

static void
send_outputs(struct connection *c)
{
    while (c->first && !c->broken) {
        ssize_t n = send_some(c);
        if (n >= 0)
            note_sent(c, (size_t)n);
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            break;
        else if (errno == EPIPE || errno == ECONNRESET)
            c->broken = true; /* it left: nothing to tell */
        else if (errno != EINTR)
            break_off(c, strerror(errno));
    }
    if (!c->first)
        c->stalled_since_ms = -1;
}

static int
queue_output(struct connection *c, struct api_answer *answer)
{
    int64_t bytes = (int64_t)(answer->frame.capacity + sizeof(struct output));
    int rc = quota_charge(&c->quota, QUOTA_BYTES, bytes);
    if (rc < 0)
        return rc;
    rc = quota_charge(&c->quota, QUOTA_FDS, answer->fd_count);
    struct output *output = rc < 0 ? NULL : calloc(1, sizeof *output);
    if (!output) {
        quota_release(&c->quota, QUOTA_BYTES, bytes);
        if (rc == 0)
            quota_release(&c->quota, QUOTA_FDS, answer->fd_count);
        return rc < 0 ? rc : err_no_memory();
    }
    output->answer = *answer;
    output->charged = bytes;
    *c->last = output;
    c->last = &output->next;
    c->output_bytes += (int64_t)answer->frame.length;
    if (c->stalled_since_ms < 0)
        c->stalled_since_ms = clock_mono_ms();
    return 0;
}

/** api_peer_ops.answer: the api calls it inside its own work, so the connection cannot end here. */
static void
on_answer(struct api_peer *peer, struct api_answer *answer)
{
    struct connection *c = connection_of(peer);
    c->parked = false;
    if (answer->frame.length == 0) {
        c->closing = c->closing || answer->close;
        api_answer_fini(answer);
    } else if (queue_output(c, answer) < 0) {
        api_answer_fini(answer);
        break_off(c, err_text());
    }
    if (c->busy)
        return;
    send_outputs(c);
    resume_later(c);
}

/* ---- kicks ---------------------------------------------------------------------------------- */

/* The client has the same open file: it may have taken O_NONBLOCK away and the count as well, and a
 * plain read would wait for ever. */
static void
on_kick(void *context, unsigned what)
{
    struct connection *c = context;
    uint64_t kicks;
    struct iovec part = {&kicks, sizeof kicks};
    (void)what;
    ssize_t n = preadv2(c->kick_fd, &part, 1, -1, RWF_NOWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        break_off(c, strerror(errno));
        connection_settle(c);
        return;
    }
    if (n > 0 && !c->door->quiet)
        api_kicked(c->door->options.api, &c->peer);
}

/** api_peer_ops.kick_fd. */
static int
on_kick_fd(struct api_peer *peer)
{
    struct connection *c = connection_of(peer);
    if (c->kick_fd >= 0)
        return c->kick_fd;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return err_sys(errno, "%s: eventfd", c->name);
    int rc = loop_fd_new(c->door->options.loop, fd, on_kick, c, &c->kick_watch);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    c->kick_fd = fd;
    loop_fd_want(c->kick_watch, LOOP_READABLE);
    return fd;
}

/* ---- file descriptors under way ------------------------------------------------------------- */

/* What lies in a socket that nobody reads is open all the same: segments of deleted topics stay on
 * the disk, and the kernel counts it against busd. Only an empty queue tells that all was taken. */
static void
note_taken_fds(struct connection *c)
{
    int left;
    if (c->sent_fds == 0 || ioctl(c->fd, SIOCOUTQ, &left) < 0 || left > 0)
        return;
    quota_release(&c->quota, QUOTA_FDS, c->sent_fds);
    c->sent_fds = 0;
}

int64_t
connection_fds_max(const struct settings *settings)
{
    return settings_int(settings, BROKER_CLIENT_MAX_FDS);
}

/** Whether the next answer may have file descriptors. Else the client has to take some first. */
static bool
has_room_for_fds(struct connection *c)
{
    /* An answer that was never sent before may be larger than a small limit. */
    int64_t most = connection_fds_max(c->door->options.settings);
    int64_t next = API_FDS_MAX < most ? API_FDS_MAX : most;
    if (!quota_has(&c->quota, QUOTA_FDS, next))
        note_taken_fds(c);
    bool room = quota_has(&c->quota, QUOTA_FDS, next);
    if (room)
        c->held_since_ms = -1;
    else if (c->held_since_ms < 0)
        c->held_since_ms = clock_mono_ms();
    if (!room)
        loop_timer_start(c->door->hold, HELD_MS, 0);
    return room;
}

/* ---- receiving ------------------------------------------------------------------------------ */

/** Whether a request may be handled now. */
static bool
may_handle(const struct connection *c)
{
    return !c->broken && !c->closing && !c->parked && !c->door->quiet &&
           c->output_bytes <= OUTPUT_BYTES_HIGH;
}

static void
handle_frame(struct connection *c, const uint8_t *frame, size_t n)
{
    c->parked = true; /* until on_answer(), which may come before the dispatch returns */
    int rc = api_dispatch(c->door->options.api, &c->peer, frame, n);
    if (rc < 0)
        break_off(c, err_text());
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
give_memory_back(struct connection *c)
{
    frame_reader_trim(&c->reader);
    if (charge_reader(c) < 0)
        break_off(c, err_text()); /* cannot be: it only shrinks */
}

/** Handles what has arrived; others come in between when it takes long. */
static void
handle_frames(struct connection *c)
{
    int64_t until_ms = clock_mono_ms() + TURN_MS;
    c->busy = true;
    while (may_handle(c) && has_room_for_fds(c)) {
        const uint8_t *frame;
        size_t n;
        int rc = frame_reader_next(&c->reader, &frame, &n);
        if (rc < 0)
            break_off(c, err_text());
        if (rc != FRAME_READY)
            break;
        handle_frame(c, frame, n);
        if (clock_mono_ms() >= until_ms) {
            resume_later(c);
            break;
        }
    }
    c->busy = false;
    send_outputs(c);
    give_memory_back(c);
}

static void
receive(struct connection *c)
{
    size_t room;
    uint8_t *space = frame_reader_space(&c->reader, &room);
    if (!space || charge_reader(c) < 0) {
        break_off(c, err_text());
        return;
    }
    /* Without room for a control part, the kernel closes fds that a client sends. */
    ssize_t n = recv(c->fd, space, room, MSG_DONTWAIT);
    if (n > 0)
        frame_reader_filled(&c->reader, (size_t)n);
    else if (n == 0)
        c->broken = true;
    else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        c->broken = true;
}

static unsigned
wanted(const struct connection *c)
{
    unsigned what = LOOP_BROKEN; /* that it left is noticed also while it waits */
    if (c->first)
        what |= LOOP_WRITABLE;
    if (may_handle(c) && c->held_since_ms < 0 && !c->resuming)
        what |= LOOP_READABLE;
    return what;
}

void
connection_settle(struct connection *c)
{
    if (c->broken || (c->closing && !c->first)) {
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
    handle_frames(c);
    connection_settle(c);
}

static void
on_ready(void *context, unsigned what)
{
    struct connection *c = context;
    if (what & LOOP_READABLE)
        receive(c); /* also says that it left, behind its last request */
    else if (what & LOOP_BROKEN)
        c->broken = true;
    if (what & LOOP_WRITABLE)
        send_outputs(c);
    connection_resume(c);
}

/* ---- open, close ---------------------------------------------------------------------------- */

static const struct api_peer_ops peer_ops = {on_answer, on_kick_fd};

static struct user *
user_of(struct unix_door *door, uid_t uid)
{
    for (struct user *user = door->users; user; user = user->next)
        if (user->uid == uid)
            return user;
    struct user *user = calloc(1, sizeof *user);
    if (!user) {
        err_no_memory();
        return NULL;
    }
    user->uid = uid;
    quota_init(&user->quota, "the user", &door->quota);
    door_limit_user(door, user);
    user->next = door->users;
    door->users = user;
    return user;
}

static void
forget_user(struct unix_door *door, struct user *user)
{
    if (user->quota.used[QUOTA_CONNECTIONS] > 0)
        return;
    struct user **at = &door->users;
    while (*at != user)
        at = &(*at)->next;
    *at = user->next;
    free(user);
}

void
connection_configure(struct connection *c)
{
    const struct settings *settings = c->door->options.settings;
    quota_limit(&c->quota, QUOTA_BYTES, settings_int(settings, BROKER_CLIENT_MAX_BYTES));
    quota_limit(&c->quota, QUOTA_FDS, connection_fds_max(settings));
    quota_limit(&c->quota, QUOTA_ATTACHED, settings_int(settings, BROKER_CLIENT_MAX_ATTACHED));
    quota_limit(&c->quota, QUOTA_PARKED, settings_int(settings, BROKER_QUEUED_MAX_REQUESTS));
    c->reader.frame_bytes_max = (size_t)settings_int(settings, BROKER_SOCKET_REQUEST_MAX_BYTES);
}

static void
link_in(struct connection *c)
{
    c->next = c->door->connections;
    if (c->next)
        c->next->previous = c;
    c->door->connections = c;
    c->door->connection_count++;
}

static void
unlink_out(struct connection *c)
{
    struct unix_door *door = c->door;
    if (c->previous)
        c->previous->next = c->next;
    else
        door->connections = c->next;
    if (c->next)
        c->next->previous = c->previous;
    door->connection_count--;
    for (struct connection **at = &door->resume; c->resuming && *at; at = &(*at)->resume_next)
        if (*at == c) {
            *at = c->resume_next;
            break;
        }
}

/** Who it is, and whether that user may have one more connection. */
static int
admit(struct connection *c)
{
    int rc = peer_cred_read(c->fd, &c->peer);
    if (rc < 0)
        return rc;
    snprintf(c->name, sizeof c->name, "uid %u, pid %d", (unsigned)c->peer.uid, (int)c->peer.pid);
    c->user = user_of(c->door, c->peer.uid);
    if (!c->user)
        return -BUS_ERR_NO_MEMORY;
    quota_init(&c->quota, "the connection", &c->user->quota);
    rc = quota_charge(&c->quota, QUOTA_CONNECTIONS, 1);
    if (rc < 0)
        forget_user(c->door, c->user);
    return err_prefix(rc, "%s", c->name);
}

int
connection_open(struct unix_door *door, int fd)
{
    struct connection *c = calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return err_no_memory();
    }
    c->door = door;
    c->fd = fd;
    c->kick_fd = -1;
    c->last = &c->first;
    c->stalled_since_ms = c->held_since_ms = -1;
    c->peer.ops = &peer_ops;
    c->peer.door = API_DOOR_UNIX;
    c->peer.name = c->name;
    c->peer.address = "";
    c->peer.authenticated = true; /* the kernel vouches for it */
    c->peer.quota = &c->quota;
    int rc = admit(c);
    if (rc < 0) {
        close(fd);
        free(c);
        return rc;
    }
    frame_reader_init(&c->reader, FRAME_BYTES_MAX);
    connection_configure(c);
    link_in(c);
    rc = loop_fd_new(door->options.loop, fd, on_ready, c, &c->watch);
    if (rc < 0)
        connection_free(c);
    else
        connection_settle(c);
    return rc;
}

void
connection_free(struct connection *c)
{
    api_peer_gone(c->door->options.api, &c->peer);
    unlink_out(c);
    while (c->first)
        drop_output(c);
    loop_fd_free(&c->watch);
    loop_fd_free(&c->kick_watch);
    close(c->fd);
    if (c->kick_fd >= 0)
        close(c->kick_fd);
    frame_reader_fini(&c->reader);
    quota_release_all(&c->quota);
    forget_user(c->door, c->user);
    free(c);
}
