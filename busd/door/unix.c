/* SPDX-License-Identifier: Apache-2.0 */
#include "door/unix.h"

#include "base/clock.h"
#include "base/trace.h"
#include "door/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 128 };

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
    /* Until the mode is right nobody may come in; no other thread makes files at this time. */
    mode_t before = umask(0777);
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
listen_at(const struct unix_door_options *options)
{
    struct sockaddr_un address;
    int rc = address_of(options->path, &address);
    if (rc == 0)
        rc = clear_path(&address);
    if (rc < 0)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_sys(errno, "making a socket");
    rc = bind_socket(fd, &address, (mode_t)settings_int(options->settings, BROKER_SOCKET_MODE));
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

/* ---- the trace ------------------------------------------------------------------------------ */

void
door_tell(struct unix_door *door, const char *who, const char *what)
{
    int64_t now = clock_mono_ms();
    if (now - door->told_since_ms >= 1000) {
        if (door->told > TOLD_MAX)
            trace(TRACE_NOTICE, "%d more such lines were left out", door->told - TOLD_MAX);
        door->told_since_ms = now;
        door->told = 0;
    }
    if (door->told++ < TOLD_MAX)
        trace(TRACE_NOTICE, "%s: %s", who, what);
}

/* ---- accepting ------------------------------------------------------------------------------ */

/** Without fds a client cannot even be turned away: the spare one serves for that. */
static void
turn_away(struct unix_door *door)
{
    door_tell(door, "a client was turned away",
        "busd is out of file descriptors; raise LimitNOFILE or ulimit -n");
    if (door->spare_fd >= 0)
        close(door->spare_fd);
    int fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    door->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void
on_client(void *context, unsigned what)
{
    struct unix_door *door = context;
    (void)what;
    int fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        if (connection_open(door, fd) < 0)
            door_tell(door, "a client was turned away", err_text());
    } else if (errno == EMFILE || errno == ENFILE) {
        turn_away(door);
    } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        door_tell(door, "accepting a client", strerror(errno));
    }
}

/* ---- what comes round ----------------------------------------------------------------------- */

static void
on_resume(void *context)
{
    struct unix_door *door = context;
    struct connection *c;
    /* Each once: those that come again wait until the loop has looked at the others. */
    for (int left = door->connection_count; left > 0 && (c = door->resume); left--) {
        door->resume = c->resume_next;
        c->resuming = false;
        connection_resume(c);
    }
    if (door->resume)
        loop_post_send(door->post);
}

/** Looks whether those that are held have taken their file descriptors. */
static void
on_hold(void *context)
{
    struct unix_door *door = context;
    for (struct connection *c = door->connections, *next; c; c = next) {
        next = c->next;
        if (c->held_since_ms >= 0)
            connection_resume(c);
    }
}

static bool
is_stuck(const struct connection *c, int64_t now_ms)
{
    return (c->stalled_since_ms >= 0 && now_ms - c->stalled_since_ms >= STALL_MS_MAX) ||
           (c->held_since_ms >= 0 && now_ms - c->held_since_ms >= STALL_MS_MAX);
}

/** Cuts off who takes nothing of what waits for it. */
static void
on_sweep(void *context)
{
    struct unix_door *door = context;
    int64_t now = clock_mono_ms();
    for (struct connection *c = door->connections, *next; c; c = next) {
        next = c->next;
        if (!is_stuck(c, now))
            continue;
        door_tell(door, c->name, "connection cut: it has taken none of its answers for a minute");
        c->broken = true;
        connection_settle(c);
    }
}

/* ---- open, close ---------------------------------------------------------------------------- */

/** The kernel refuses to send more than a process may have open, unless it is root's. */
static int64_t
fds_of_door(const struct settings *settings)
{
    struct rlimit files;
    int64_t most = DOOR_SHARE * connection_fds_max(settings);
    if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur / 2 >= (rlim_t)most)
        return most;
    return (int64_t)(files.rlim_cur / 2);
}

void
door_limit_user(const struct unix_door *door, struct user *user)
{
    const struct settings *settings = door->options.settings;
    quota_limit(
        &user->quota, QUOTA_CONNECTIONS, settings_int(settings, BROKER_MAX_CONNECTIONS_PER_USER));
    quota_limit(&user->quota, QUOTA_FDS, USER_SHARE * connection_fds_max(settings));
    /* One user cannot take what all others need. busd's own and root's count as the system. */
    bool own = user->uid == geteuid() || user->uid == 0;
    int64_t bytes = settings_int(settings, BROKER_CLIENTS_MAX_BYTES);
    quota_limit(&user->quota, QUOTA_BYTES, own ? bytes : bytes / 2);
}

void
unix_door_configure(struct unix_door *door)
{
    const struct settings *settings = door->options.settings;
    quota_limit(&door->quota, QUOTA_FDS, fds_of_door(settings));
    quota_limit(&door->quota, QUOTA_CONNECTIONS, settings_int(settings, BROKER_MAX_CONNECTIONS));
    quota_limit(&door->quota, QUOTA_BYTES, settings_int(settings, BROKER_CLIENTS_MAX_BYTES));
    for (struct user *user = door->users; user; user = user->next)
        door_limit_user(door, user);
    for (struct connection *c = door->connections; c; c = c->next)
        connection_configure(c);
}

static int
start(struct unix_door *door)
{
    struct loop *loop = door->options.loop;
    int rc = loop_post_new(loop, on_resume, door, &door->post);
    if (rc == 0)
        rc = loop_timer_new(loop, on_sweep, door, &door->sweep);
    if (rc == 0)
        rc = loop_timer_new(loop, on_hold, door, &door->hold);
    if (rc < 0)
        return rc;
    loop_timer_start(door->sweep, SWEEP_MS, SWEEP_MS);
    door->fd = listen_at(&door->options);
    if (door->fd < 0)
        return door->fd;
    rc = loop_fd_new(loop, door->fd, on_client, door, &door->watch);
    if (rc == 0)
        loop_fd_want(door->watch, LOOP_READABLE);
    return rc;
}

int
unix_door_open(const struct unix_door_options *options, struct unix_door **door)
{
    *door = NULL;
    struct unix_door *d = calloc(1, sizeof *d);
    if (!d)
        return err_no_memory();
    d->options = *options;
    d->fd = -1;
    d->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    quota_init(&d->quota, "the socket", NULL);
    unix_door_configure(d);
    int rc = start(d);
    if (rc < 0)
        unix_door_close(&d);
    *door = d;
    return rc;
}

void
unix_door_quiesce(struct unix_door *door)
{
    door->quiet = true;
    loop_fd_free(&door->watch);
    for (struct connection *c = door->connections, *next; c; c = next) {
        next = c->next;
        connection_settle(c);
    }
}

bool
unix_door_busy(const struct unix_door *door)
{
    for (const struct connection *c = door->connections; c; c = c->next)
        if (c->first)
            return true;
    return false;
}

void
unix_door_close(struct unix_door **door)
{
    struct unix_door *d = *door;
    if (!d)
        return;
    while (d->connections)
        connection_free(d->connections);
    loop_fd_free(&d->watch);
    loop_post_free(&d->post);
    loop_timer_free(&d->sweep);
    loop_timer_free(&d->hold);
    if (d->fd >= 0) {
        unlink(d->options.path);
        close(d->fd);
    }
    if (d->spare_fd >= 0)
        close(d->spare_fd);
    free(d);
    *door = NULL;
}

int
unix_door_connections(const struct unix_door *door)
{
    return door->connection_count;
}
