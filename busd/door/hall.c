/* SPDX-License-Identifier: Apache-2.0 */
#include "door/hall.h"

#include "base/clock.h"
#include "base/trace.h"
#include "door/connection.h"
#include "door/passing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* All clients together may have so many times client.max.fds under way. */
enum { HALL_SHARE = 16 };

/* ---- the trace ------------------------------------------------------------------------------ */

void
hall_tell(struct hall *hall, const char *who, const char *what)
{
    int64_t now = clock_mono_ms();
    if (now - hall->told_since_ms >= 1000) {
        if (hall->told > TOLD_MAX)
            trace(TRACE_NOTICE, "%d more such lines were left out", hall->told - TOLD_MAX);
        hall->told_since_ms = now;
        hall->told = 0;
    }
    if (hall->told++ < TOLD_MAX)
        trace(TRACE_NOTICE, "%s: %s", who, what);
}

/* ---- accepting ------------------------------------------------------------------------------ */

/** Without fds a client cannot even be turned away: the spare one serves for that. */
static void
turn_away(struct hall *hall, int listening_fd)
{
    hall_tell(hall, "a client was turned away",
        "busd is out of file descriptors; raise LimitNOFILE or ulimit -n");
    if (hall->spare_fd >= 0)
        close(hall->spare_fd);
    int fd = accept4(listening_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    hall->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int
hall_accept(struct hall *hall, int listening_fd)
{
    int fd = accept4(listening_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE))
        turn_away(hall, listening_fd);
    else if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        hall_tell(hall, "accepting a client", strerror(errno));
    return fd;
}

/* ---- parties -------------------------------------------------------------------------------- */

struct party *
hall_party(
    struct hall *hall, const struct connection_kind *kind, const uint8_t key[PARTY_KEY_BYTES])
{
    for (struct party *party = hall->parties; party; party = party->next)
        if (party->kind == kind && memcmp(party->key, key, PARTY_KEY_BYTES) == 0)
            return party;
    struct party *party = calloc(1, sizeof *party);
    if (!party) {
        err_no_memory();
        return NULL;
    }
    party->kind = kind;
    memcpy(party->key, key, PARTY_KEY_BYTES);
    quota_init(&party->quota, kind->party, &hall->quota);
    kind->limit(hall->options.settings, party);
    party->next = hall->parties;
    hall->parties = party;
    return party;
}

void
hall_forget_party(struct hall *hall, struct party *party)
{
    if (party->quota.used[QUOTA_CONNECTIONS] > 0)
        return;
    struct party **at = &hall->parties;
    while (*at != party)
        at = &(*at)->next;
    *at = party->next;
    free(party);
}

/* ---- what comes round ----------------------------------------------------------------------- */

static void
on_resume(void *context)
{
    struct hall *hall = context;
    struct connection *c;
    /* Each once: those that come again wait until the loop has looked at the others. */
    for (int left = hall->connection_count; left > 0 && (c = hall->resume); left--) {
        hall->resume = c->resume_next;
        c->resuming = false;
        connection_resume(c);
    }
    if (hall->resume)
        loop_post_send(hall->post);
}

/** Looks whether those that are held have taken their file descriptors. */
static void
on_hold(void *context)
{
    struct hall *hall = context;
    for (struct connection *c = hall->connections, *next; c; c = next) {
        next = c->next;
        if (c->held_since_ms >= 0)
            connection_resume(c);
    }
}

static void
on_sweep(void *context)
{
    struct hall *hall = context;
    int64_t now = clock_mono_ms();
    for (struct connection *c = hall->connections, *next; c; c = next) {
        next = c->next;
        connection_sweep(c, now);
    }
}

/* ---- open, close ---------------------------------------------------------------------------- */

/** The kernel refuses to send more than a process may have open, unless it is root's. */
static int64_t
fds_of_all(const struct settings *settings)
{
    struct rlimit files;
    int64_t most = HALL_SHARE * passing_most(settings);
    if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur / 2 >= (rlim_t)most)
        return most;
    return (int64_t)(files.rlim_cur / 2);
}

void
hall_configure(struct hall *hall)
{
    const struct settings *settings = hall->options.settings;
    quota_limit(&hall->quota, QUOTA_FDS, fds_of_all(settings));
    quota_limit(&hall->quota, QUOTA_CONNECTIONS, settings_int(settings, BROKER_MAX_CONNECTIONS));
    quota_limit(&hall->quota, QUOTA_BYTES, settings_int(settings, BROKER_CLIENTS_MAX_BYTES));
    for (struct party *party = hall->parties; party; party = party->next)
        party->kind->limit(settings, party);
    for (struct connection *c = hall->connections; c; c = c->next)
        connection_configure(c);
}

static int
start(struct hall *hall)
{
    struct loop *loop = hall->options.loop;
    int rc = loop_post_new(loop, on_resume, hall, &hall->post);
    if (rc == 0)
        rc = loop_timer_new(loop, on_sweep, hall, &hall->sweep);
    if (rc == 0)
        rc = loop_timer_new(loop, on_hold, hall, &hall->hold);
    return rc;
}

int
hall_open(const struct hall_options *options, struct hall **hall)
{
    *hall = NULL;
    struct hall *h = calloc(1, sizeof *h);
    if (!h)
        return err_no_memory();
    h->options = *options;
    h->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    quota_init(&h->quota, "busd", NULL);
    hall_configure(h);
    int rc = start(h);
    if (rc < 0)
        hall_close(&h);
    *hall = h;
    return rc;
}

void
hall_quiesce(struct hall *hall)
{
    hall->quiet = true;
    for (struct connection *c = hall->connections, *next; c; c = next) {
        next = c->next;
        connection_settle(c);
    }
}

bool
hall_busy(const struct hall *hall)
{
    for (const struct connection *c = hall->connections; c; c = c->next)
        if (c->first)
            return true;
    return false;
}

void
hall_close(struct hall **hall)
{
    struct hall *h = *hall;
    if (!h)
        return;
    while (h->connections)
        connection_free(h->connections);
    loop_post_free(&h->post);
    loop_timer_free(&h->sweep);
    loop_timer_free(&h->hold);
    if (h->spare_fd >= 0)
        close(h->spare_fd);
    free(h);
    *hall = NULL;
}

int
hall_connections(const struct hall *hall)
{
    return hall->connection_count;
}
