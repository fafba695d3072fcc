/* SPDX-License-Identifier: Apache-2.0 */
#include "door/unix.h"

#include "door/connection.h"
#include "door/passing.h"
#include "door/peer_cred.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BACKLOG = 128,
    USER_SHARE = 4, /* a user may have so many times client.max.fds under way */
};

struct unix_door {
    struct hall *hall;
    const char *path;
    struct loop_fd *watch;
    int fd;
};

/** A client at this door. */
struct local {
    struct connection connection; /* first */
    struct loop_fd *kick_watch;
    int kick_fd; /* -1: not made yet */
};

/* ---- listening ------------------------------------------------------------------------------ */

static int
address_of(const char *path, struct sockaddr_un *address)
{
    size_t n = strlen(path);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (n == 0 || n >= sizeof address->sun_path)
        return err_set(BUS_ERR_INVALID_ARGUMENT,
            "socket path %s: 1 to %zu bytes are possible; choose a shorter --socket", path,
            sizeof address->sun_path - 1);
    memcpy(address->sun_path, path, n);
    return 0;
}

/** Whether somebody answers at the path. */
static bool
is_alive(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return true;
    /* A full backlog (EAGAIN) is a sign of life as well. */
    bool alive = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ||
                 (errno != ECONNREFUSED && errno != ENOENT);
    close(fd);
    return alive;
}

/** Removes what an ended busd left, and nothing else. */
static int
clear_path(const struct sockaddr_un *address)
{
    const char *path = address->sun_path;
    struct stat about;
    if (lstat(path, &about) < 0)
        return errno == ENOENT ? 0 : err_sys(errno, "looking at the socket path %s", path);
    if (!S_ISSOCK(about.st_mode))
        return err_set(BUS_ERR_INVALID_ARGUMENT,
            "%s exists and is no socket; move it away or choose another --socket", path);
    if (is_alive(address))
        return err_sys(EADDRINUSE,
            "somebody listens at %s already; stop that busd or choose another --socket", path);
    return unlink(path) == 0 || errno == ENOENT
               ? 0
               : err_sys(errno, "removing the abandoned socket %s", path);
}

static int
bind_socket(int fd, const struct sockaddr_un *address, mode_t mode)
{
    /* The mode is right from the first: a client that comes back while busd starts must be let in,
     * and nobody else ever. The folder may have a default ACL, which takes the place of the mask;
     * so the mode is set as well. No other thread makes files at this time. */
    mode_t before = umask(~mode & 0777);
    int rc = bind(fd, (const struct sockaddr *)address, sizeof *address);
    int why = errno;
    umask(before);
    if (rc < 0)
        return err_sys(
            why, "binding %s; its folder has to exist and to be writable", address->sun_path);
    if (chmod(address->sun_path, mode) < 0 || listen(fd, BACKLOG) < 0) {
        rc = err_sys(errno, "listening at %s", address->sun_path);
        unlink(address->sun_path);
        return rc;
    }
    return 0;
}

static int
listen_at(const char *path, mode_t mode)
{
    struct sockaddr_un address;
    int rc = address_of(path, &address);
    if (rc == 0)
        rc = clear_path(&address);
    if (rc < 0)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_sys(errno, "making a socket");
    rc = bind_socket(fd, &address, mode);
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

/* ---- kicks ---------------------------------------------------------------------------------- */

/* The client has the same open file: it may have taken O_NONBLOCK away and the count as well, and a
 * plain read would wait for ever. */
static void
on_kick(void *context, unsigned what)
{
    struct local *local = context;
    struct connection *c = &local->connection;
    uint64_t kicks;
    struct iovec part = {&kicks, sizeof kicks};
    (void)what;
    ssize_t n = preadv2(local->kick_fd, &part, 1, -1, RWF_NOWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        connection_break(c, strerror(errno));
        connection_settle(c);
        return;
    }
    if (n > 0 && !c->hall->quiet)
        api_kicked(c->hall->options.api, &c->peer);
}

/** api_peer_ops.kick_fd. */
static int
on_kick_fd(struct api_peer *peer)
{
    struct local *local = (struct local *)peer;
    struct connection *c = &local->connection;
    if (local->kick_fd >= 0)
        return local->kick_fd;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return err_sys(errno, "%s: eventfd", c->name);
    int rc = loop_fd_new(c->hall->options.loop, fd, on_kick, local, &local->kick_watch);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    local->kick_fd = fd;
    loop_fd_want(local->kick_watch, LOOP_READABLE);
    return fd;
}

/* ---- what is special about local clients ---------------------------------------------------- */

static int
admit(struct connection *c, uint8_t key[PARTY_KEY_BYTES])
{
    int rc = peer_cred_read(c->stream.fd, &c->peer);
    if (rc < 0)
        return rc;
    snprintf(c->name, sizeof c->name, "uid %u, pid %d", (unsigned)c->peer.uid, (int)c->peer.pid);
    c->peer.address = "";
    c->peer.authenticated = true; /* the kernel vouches for it */
    memcpy(key, &c->peer.uid, sizeof c->peer.uid);
    return 0;
}

static void
limit(const struct settings *settings, struct party *user)
{
    uid_t uid;
    memcpy(&uid, user->key, sizeof uid);
    quota_limit(
        &user->quota, QUOTA_CONNECTIONS, settings_int(settings, BROKER_MAX_CONNECTIONS_PER_USER));
    quota_limit(&user->quota, QUOTA_FDS, USER_SHARE * passing_most(settings));
    /* One user cannot take what all others need. busd's own and root's count as the system. */
    bool own = uid == geteuid() || uid == 0;
    int64_t bytes = settings_int(settings, BROKER_CLIENTS_MAX_BYTES);
    quota_limit(&user->quota, QUOTA_BYTES, own ? bytes : bytes / 2);
}

static void
configure(struct connection *c)
{
    const struct settings *settings = c->hall->options.settings;
    quota_limit(&c->quota, QUOTA_FDS, passing_most(settings));
    quota_limit(&c->quota, QUOTA_ATTACHED, settings_int(settings, BROKER_CLIENT_MAX_ATTACHED));
}

static void
fini(struct connection *c)
{
    struct local *local = (struct local *)c;
    loop_fd_free(&local->kick_watch);
    if (local->kick_fd >= 0)
        close(local->kick_fd);
}

/* A client that works in shared memory may say nothing for days. */
static const struct connection_kind kind = {
    .door = API_DOOR_UNIX,
    .bytes = sizeof(struct local),
    .party = "the user",
    .may_idle = true,
    .admit = admit,
    .limit = limit,
    .configure = configure,
    .has_room = passing_has_room,
    .fini = fini,
    .ops = {connection_answer, on_kick_fd},
};

/* ---- the door ------------------------------------------------------------------------------- */

static int
take_in(struct hall *hall, int fd)
{
    struct connection *c = connection_new(hall, &kind, fd);
    if (!c)
        return -BUS_ERR_NO_MEMORY;
    ((struct local *)c)->kick_fd = -1;
    return connection_open(c);
}

static void
on_client(void *context, unsigned what)
{
    struct unix_door *door = context;
    (void)what;
    int fd = hall_accept(door->hall, door->fd);
    if (fd >= 0 && take_in(door->hall, fd) < 0)
        hall_tell(door->hall, "a client was turned away", err_text());
}

int
unix_door_open(struct hall *hall, const char *path, struct unix_door **door)
{
    *door = NULL;
    struct unix_door *d = calloc(1, sizeof *d);
    if (!d)
        return err_no_memory();
    d->hall = hall;
    d->path = path;
    d->fd = listen_at(path, (mode_t)settings_int(hall->options.settings, BROKER_SOCKET_MODE));
    int rc = d->fd;
    if (rc >= 0)
        rc = loop_fd_new(hall->options.loop, d->fd, on_client, d, &d->watch);
    if (rc < 0) {
        unix_door_close(&d);
        return rc;
    }
    loop_fd_want(d->watch, LOOP_READABLE);
    *door = d;
    return 0;
}

void
unix_door_quiesce(struct unix_door *door)
{
    loop_fd_free(&door->watch);
}

void
unix_door_close(struct unix_door **door)
{
    struct unix_door *d = *door;
    if (!d)
        return;
    loop_fd_free(&d->watch);
    if (d->fd >= 0) {
        unlink(d->path);
        close(d->fd);
    }
    free(d);
    *door = NULL;
}
