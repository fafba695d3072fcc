/* SPDX-License-Identifier: Apache-2.0 */
#include "client/conn_dial.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "protocol/frame.h"
#include "protocol/wire.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    GREETING_BYTES_MAX = 1 << 20,
    GREETING_VERSION = 3, /* of ApiVersions: any busd knows it */
    BUSY_PAUSE_MS = 2,    /* between two tries while busd's queue of connections is full */
};

static int
explain_permission(const char *path)
{
    struct stat status;
    struct group group, *found = NULL;
    char names[4096];
    bool known = stat(path, &status) == 0;
    if (known && !(status.st_mode & S_IWGRP))
        return err_set(BUS_ERR_PERMISSION,
            "no permission to connect to %s: only its owner (uid %u) has it; become that user, or "
            "start busd with another socket.mode",
            path, (unsigned)status.st_uid);
    if (known)
        getgrgid_r(status.st_gid, &group, names, sizeof names, &found);
    if (found)
        return err_set(BUS_ERR_PERMISSION,
            "no permission to connect to %s: it takes membership in the group %s (usermod -aG %s "
            "USER, then log in again)",
            path, found->gr_name, found->gr_name);
    return err_set(BUS_ERR_PERMISSION,
        "no permission to connect to %s: ask to be let into the group that owns it", path);
}

static int
explain(const char *path, int errnum)
{
    if (errnum == EACCES || errnum == EPERM)
        return explain_permission(path);
    if (errnum == ENOENT || errnum == ECONNREFUSED || errnum == ENOTDIR || errnum == EAGAIN)
        return err_set(BUS_ERR_DAEMON_UNAVAILABLE,
            "no busd listens at %s: start it with busd, or give socket.path", path);
    if (errnum == EPROTOTYPE || errnum == ENOTSOCK)
        return err_set(BUS_ERR_DAEMON_UNAVAILABLE,
            "%s is not a socket of busd: give another socket.path", path);
    return err_sys(errnum, "connect to %s", path);
}

/* A full queue of connections (EAGAIN) is the one failure that waiting cures. */
static int
connect_until(int fd, const struct sockaddr_un *address, int64_t deadline_ns)
{
    while (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0) {
        if (errno != EAGAIN && errno != EINTR)
            return errno;
        if (clock_mono_ns() >= deadline_ns)
            return EAGAIN;
        struct timespec pause = {.tv_nsec = BUSY_PAUSE_MS * 1000000};
        nanosleep(&pause, NULL);
    }
    return 0;
}

int
dial_socket(const char *path, int64_t deadline_ns)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length >= sizeof address.sun_path)
        return err_set(BUS_ERR_INVALID_ARGUMENT,
            "%s: longer than a socket's path may be (%zu characters): choose a shorter socket.path",
            path, sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, length + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_sys(errno, "make a socket");
    int errnum = connect_until(fd, &address, deadline_ns);
    if (errnum == 0)
        return fd;
    close(fd);
    return explain(path, errnum);
}

/* Waits for `events` on the socket. */
static int
await(int fd, short events, int abort_fd, int64_t deadline_ns)
{
    struct pollfd polled[2] = {{.fd = fd, .events = events}, {.fd = abort_fd, .events = POLLIN}};
    for (;;) {
        int64_t left_ns = deadline_ns - clock_mono_ns();
        if (left_ns <= 0)
            return err_set(BUS_ERR_TIMED_OUT, "busd accepts the connection but does not answer");
        int ready = poll(polled, 2, (int)(left_ns / 1000000) + 1);
        if (ready < 0 && errno != EINTR)
            return err_sys(errno, "wait for busd");
        if (ready > 0 && polled[1].revents)
            return err_set(BUS_ERR_DAEMON_UNAVAILABLE, "the connection is being closed");
        if (ready > 0)
            return 0;
    }
}

static int
gone(void)
{
    return err_set(BUS_ERR_DAEMON_UNAVAILABLE, "busd closed the connection while it was made");
}

static int
send_all(int fd, const struct buf *out, int abort_fd, int64_t deadline_ns)
{
    for (size_t at = 0; at < out->length;) {
        ssize_t n = send(fd, out->data + at, out->length - at, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return gone();
        if (n > 0)
            at += (size_t)n;
        int rc = n < 0 ? await(fd, POLLOUT, abort_fd, deadline_ns) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int
receive_frame(int fd, struct frame_reader *reader, int abort_fd, int64_t deadline_ns,
    const uint8_t **frame, size_t *bytes)
{
    for (;;) {
        int rc = frame_reader_next(reader, frame, bytes);
        if (rc != FRAME_WANTED)
            return rc < 0 ? err_prefix(rc, "busd's greeting") : 0;
        rc = await(fd, POLLIN, abort_fd, deadline_ns);
        if (rc < 0)
            return rc;
        size_t room;
        uint8_t *space = frame_reader_space(reader, &room);
        if (!space)
            return -BUS_ERR_NO_MEMORY;
        ssize_t n = recv(fd, space, room, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return gone();
        if (n > 0)
            frame_reader_filled(reader, (size_t)n);
    }
}

static void
choose(const struct api_versions_response *theirs, struct dial_versions *versions)
{
    MUST(api_table_count <= DIAL_APIS_MAX);
    for (size_t i = 0; i < DIAL_APIS_MAX; i++)
        versions->use[i] = -1;
    for (int32_t i = 0; i < theirs->api_keys_count; i++) {
        const struct api_info *api = api_find(theirs->api_keys[i].api_key);
        if (!api)
            continue;
        int16_t low = theirs->api_keys[i].min_version, high = theirs->api_keys[i].max_version;
        int16_t use = high < api->max ? high : api->max;
        if (use >= low && use >= api->min)
            versions->use[api - api_table] = use;
    }
}

static int
understand(const uint8_t *frame, size_t bytes, struct dial_versions *versions)
{
    const struct api_info *api = api_find(API_API_VERSIONS);
    int32_t correlation;
    int body = response_header_decode(api, GREETING_VERSION, frame, bytes, &correlation);
    if (body < 0)
        return err_prefix(body, "busd's greeting");
    struct arena arena;
    arena_init(&arena, GREETING_BYTES_MAX);
    struct api_versions_response response;
    int rc = wire_decode(
        api->response, GREETING_VERSION, frame + body, bytes - (size_t)body, &response, &arena);
    if (rc == 0 && (correlation != 0 || response.error_code != 0))
        rc = err_set(BUS_ERR_UNSUPPORTED_VERSION,
            "what listens here is no busd that this libbus understands (error %d)",
            response.error_code);
    if (rc == 0)
        choose(&response, versions);
    arena_fini(&arena);
    return err_prefix(rc, "busd's greeting");
}

int
dial_greet(int fd, const char *client_id, int abort_fd, int64_t deadline_ns,
    struct dial_versions *versions)
{
    const struct api_info *api = api_find(API_API_VERSIONS);
    struct api_versions_request request = {
        .client_software_name = "libbus", .client_software_version = bus_version()};
    struct request_header header = {
        .api_key = API_API_VERSIONS, .api_version = GREETING_VERSION, .client_id = client_id};
    struct buf out;
    buf_init(&out);
    size_t start = frame_begin(&out);
    request_header_encode(&out, api, &header);
    int rc = wire_encode(api->request, GREETING_VERSION, &request, &out);
    if (rc == 0)
        rc = frame_end(&out, start, 0);
    if (rc == 0)
        rc = send_all(fd, &out, abort_fd, deadline_ns);
    buf_fini(&out);
    if (rc < 0)
        return rc;
    struct frame_reader reader;
    frame_reader_init(&reader, GREETING_BYTES_MAX);
    const uint8_t *frame;
    size_t bytes;
    rc = receive_frame(fd, &reader, abort_fd, deadline_ns, &frame, &bytes);
    if (rc == 0)
        rc = understand(frame, bytes, versions);
    frame_reader_fini(&reader);
    return rc;
}
