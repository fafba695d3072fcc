/* SPDX-License-Identifier: Apache-2.0 */
#include "door/kafka.h"

#include "base/trace.h"
#include "core/listener.h"
#include "door/address.h"
#include "door/connection.h"
#include "door/local_uid.h"
#include "door/tls.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BACKLOG = 128,
    TEXT_BYTES = LISTENERS_MAX * (ADDRESS_TEXT_BYTES + 1),
};

struct listener {
    struct kafka_door *door;
    struct listener_spec spec;
    const struct listener_spec *advertised; /* NULL: where the client has connected to */
    struct address address;                 /* bound to */
    struct loop_fd *watch;
    char name[LISTENER_TEXT_BYTES];
    int fd;
};

struct kafka_door {
    struct hall *hall;
    struct listener listeners[LISTENERS_MAX];
    struct listener_spec advertised[LISTENERS_MAX];
    struct tls *tls;       /* NULL: no listener has TLS */
    int count;             /* of those that are open */
    char text[TEXT_BYTES]; /* where it listens */
};

/** A client at this door. */
struct remote {
    struct connection connection; /* first */
    const struct listener *listener;
    struct api_listener told; /* peer.listener */
    struct tls_events events;
    char host[ADDRESS_TEXT_BYTES];
    char address[ADDRESS_TEXT_BYTES + 1];
};

/* ---- TLS ------------------------------------------------------------------------------------ */

/** Who has shown a certificate is whom that names, where nobody is asked for more. */
static void
established(void *context, const char *subject)
{
    struct remote *remote = context;
    if (!subject || remote->told.sasl)
        return;
    remote->connection.peer.uid = (uid_t)-1; /* whom the kernel sees is not who it wants to be */
    snprintf(remote->connection.peer.principal, sizeof remote->connection.peer.principal, "User:%s",
        strlen(subject) < API_PRINCIPAL_BYTES - sizeof "User:" ? subject : "ANONYMOUS");
}

static void
tls_failed(void *context, const char *why)
{
    struct remote *remote = context;
    connection_break(&remote->connection, why);
}

static int
begin_tls(struct remote *remote)
{
    remote->events = (struct tls_events){established, tls_failed, remote};
    return tls_begin(remote->listener->door->tls, &remote->events, &remote->connection.stream);
}

static void
end_tls(struct connection *c)
{
    tls_finish(&c->stream);
}

/* ---- what is special about clients over TCP ------------------------------------------------- */

/** What the client is told of this node: what it can reach for sure, unless somebody knows better.
 */
static int
tell_listener(struct remote *remote)
{
    const struct listener *listener = remote->listener;
    struct address own;
    int rc = address_own(remote->connection.stream.fd, &own);
    if (rc < 0)
        return rc;
    address_host(&own, remote->host);
    remote->told = (struct api_listener){
        .name = listener->name,
        .host = listener->advertised ? listener->advertised->host : remote->host,
        .port = listener->advertised && listener->advertised->port ? listener->advertised->port
                                                                   : address_port(&own),
        .loopback = address_is_loopback(&listener->address),
        .tls = listener->spec.tls,
        .sasl = listener->spec.sasl,
    };
    return 0;
}

/** Whom the kernel vouches for is who he is on the Unix socket, unless he is to say it himself. */
static void
recognise(struct connection *c)
{
    size_t used = strlen(c->name);
    if (c->peer.authenticated && local_uid_read(c->stream.fd, &c->peer.uid))
        snprintf(c->name + used, sizeof c->name - used, ", uid %u", (unsigned)c->peer.uid);
    else
        c->peer.uid = (uid_t)-1;
}

static int
admit(struct connection *c, uint8_t key[PARTY_KEY_BYTES])
{
    struct remote *remote = (struct remote *)c;
    struct address peer;
    int rc = address_peer(c->stream.fd, &peer);
    if (rc == 0)
        rc = tell_listener(remote);
    if (rc < 0)
        return rc;
    char host[ADDRESS_TEXT_BYTES];
    address_text(&peer, c->name);
    address_host(&peer, host);
    snprintf(remote->address, sizeof remote->address, "/%s", host);
    address_key(&peer, key);
    c->peer.address = remote->address;
    c->peer.listener = &remote->told;
    c->peer.authenticated = !remote->told.sasl;
    recognise(c);
    return 0;
}

static void
limit(const struct settings *settings, struct party *host)
{
    quota_limit(
        &host->quota, QUOTA_CONNECTIONS, settings_int(settings, BROKER_MAX_CONNECTIONS_PER_IP));
    /* One host cannot take what all others need. */
    quota_limit(&host->quota, QUOTA_BYTES, settings_int(settings, BROKER_CLIENTS_MAX_BYTES) / 2);
}

static const struct connection_kind kind = {
    .door = API_DOOR_KAFKA,
    .bytes = sizeof(struct remote),
    .party = "the address",
    .lingers = true,
    .admit = admit,
    .limit = limit,
    .fini = end_tls,
    .ops = {.answer = connection_answer},
};

/* ---- accepting ------------------------------------------------------------------------------ */

/** Small answers leave at once; a client that is gone without a word is noticed in the end. */
static void
tune(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

static int
take_in(const struct listener *listener, int fd)
{
    struct connection *c = connection_new(listener->door->hall, &kind, fd);
    if (!c)
        return -BUS_ERR_NO_MEMORY;
    struct remote *remote = (struct remote *)c;
    remote->listener = listener;
    tune(fd);
    int rc = connection_open(c);
    if (rc == 0 && listener->spec.tls) {
        rc = begin_tls(remote);
        if (rc < 0)
            connection_free(c);
    }
    return rc;
}

static void
on_client(void *context, unsigned what)
{
    struct listener *listener = context;
    struct hall *hall = listener->door->hall;
    (void)what;
    int fd = hall_accept(hall, listener->fd);
    if (fd >= 0 && take_in(listener, fd) < 0)
        hall_tell(hall, "a client was turned away", err_text());
}

/* ---- listening ------------------------------------------------------------------------------ */

static int
check(const struct settings *settings, const struct listener *listener)
{
    bool certified =
        listener->spec.tls && settings_int(settings, BROKER_SSL_CLIENT_AUTH) == TLS_CLIENT_REQUIRED;
    if (listener->spec.sasl || certified || address_is_loopback(&listener->address) ||
        settings_bool(settings, BROKER_ALLOW_ANONYMOUS_REMOTE))
        return 0;
    return err_set(BUS_ERR_INVALID_CONFIG,
        "listener %s would serve everybody on the network without authentication: use "
        "SASL_PLAINTEXT:// or SASL_SSL:// or a loopback address, or set "
        "allow.anonymous.remote=true if that is "
        "what you want",
        listener->name);
}

static int
open_socket(const struct address *address, bool all)
{
    int on = 1, v6only = all ? 0 : 1;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only);
    if (bind(fd, &address->any, address->bytes) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

/** Every address, on a machine without IPv6. */
static void
use_v4(struct address *address)
{
    uint16_t port = address->v6.sin6_port;
    *address = (struct address){.v4 = {.sin_family = AF_INET, .sin_port = port}};
    address->bytes = sizeof address->v4;
}

/** A listener that cannot be opened is no reason to leave local clients without their bus. */
static void
tell_taken(const struct listener *listener, int why)
{
    const char *remedy = "set listeners to an address that this machine has, or to nothing";
    if (why == EADDRINUSE)
        remedy =
            "somebody has the port: end that program, or set listeners to another port or, for "
            "no Kafka clients, to nothing";
    else if (why == EACCES)
        remedy = "set listeners to a port above 1023";
    trace(TRACE_WARNING, "Kafka clients are not served at %s: %s; %s", listener->name,
        strerror(why), remedy);
}

static int
listen_at(struct listener *listener)
{
    struct kafka_door *door = listener->door;
    bool all = listener->spec.host[0] == '\0';
    listener->fd = open_socket(&listener->address, all);
    if (listener->fd < 0 && all && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
        use_v4(&listener->address);
        listener->fd = open_socket(&listener->address, all);
    }
    if (listener->fd < 0) {
        tell_taken(listener, errno);
        return 0;
    }
    int rc = address_own(listener->fd, &listener->address);
    if (rc == 0)
        rc = loop_fd_new(
            door->hall->options.loop, listener->fd, on_client, listener, &listener->watch);
    if (rc < 0)
        return rc;
    loop_fd_want(listener->watch, LOOP_READABLE);
    char text[ADDRESS_TEXT_BYTES];
    address_text(&listener->address, text);
    size_t used = strlen(door->text);
    snprintf(door->text + used, sizeof door->text - used, "%s%s", used > 0 ? "," : "", text);
    return 0;
}

static int
add_listener(struct kafka_door *door, const struct listener_spec *spec, int advertised)
{
    struct listener *listener = &door->listeners[door->count++];
    *listener = (struct listener){.door = door, .spec = *spec, .fd = -1};
    listener_text(spec, listener->name);
    if (door->count <= advertised)
        listener->advertised = &door->advertised[door->count - 1];
    int rc = address_of(spec, &listener->address);
    if (rc == 0 && spec->tls && !door->tls)
        rc = err_prefix(tls_open(door->hall->options.settings, &door->tls), "%s", listener->name);
    if (rc == 0)
        rc = check(door->hall->options.settings, listener);
    return rc < 0 ? rc : listen_at(listener);
}

static int
add_listeners(struct kafka_door *door)
{
    const struct settings *settings = door->hall->options.settings;
    struct listener_spec specs[LISTENERS_MAX];
    int count = listener_parse_list(settings_text(settings, BROKER_LISTENERS), specs);
    int advertised =
        listener_parse_list(settings_text(settings, BROKER_ADVERTISED_LISTENERS), door->advertised);
    if (count < 0 || advertised < 0)
        return -BUS_ERR_INVALID_CONFIG;
    if (advertised > count)
        return err_set(BUS_ERR_INVALID_CONFIG,
            "advertised.listeners has %d words, and there are %d listeners", advertised, count);
    int rc = 0;
    for (int i = 0; i < count && rc == 0; i++)
        rc = add_listener(door, &specs[i], advertised);
    return rc;
}

int
kafka_door_open(struct hall *hall, struct kafka_door **door)
{
    *door = NULL;
    struct kafka_door *d = calloc(1, sizeof *d);
    if (!d)
        return err_no_memory();
    d->hall = hall;
    int rc = add_listeners(d);
    if (rc < 0) {
        kafka_door_close(&d);
        return rc;
    }
    *door = d;
    return 0;
}

void
kafka_door_quiesce(struct kafka_door *door)
{
    for (int i = 0; i < door->count; i++)
        loop_fd_free(&door->listeners[i].watch);
}

void
kafka_door_close(struct kafka_door **door)
{
    struct kafka_door *d = *door;
    if (!d)
        return;
    kafka_door_quiesce(d);
    for (int i = 0; i < d->count; i++)
        if (d->listeners[i].fd >= 0)
            close(d->listeners[i].fd);
    tls_close(&d->tls);
    free(d);
    *door = NULL;
}

void
kafka_door_reload(struct kafka_door *door)
{
    if (!door->tls)
        return;
    int rc = tls_reload(door->tls, door->hall->options.settings);
    if (rc < 0)
        trace(TRACE_ERROR, "the certificates stay as they are: %s", err_text());
    else
        trace(TRACE_INFO, "read the certificates again");
}

const char *
kafka_door_text(const struct kafka_door *door)
{
    return door->text;
}
