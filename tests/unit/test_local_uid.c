/* SPDX-License-Identifier: Apache-2.0
 * Tests of door/local_uid.c against the kernel.
 */
#include "door/local_uid.h"
#include "unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STRANGER = 65534 };

/** A connection within this machine: what was accepted, and the client's end. */
struct pair {
    int accepted;
    int client;
};

static int
listen_at(int family, bool both, struct sockaddr_storage *name, socklen_t *bytes)
{
    int only = both ? 0 : 1;
    memset(name, 0, sizeof *name);
    name->ss_family = (sa_family_t)family;
    if (family == AF_INET)
        ((struct sockaddr_in *)name)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (!both)
        ((struct sockaddr_in6 *)name)->sin6_addr = in6addr_loopback;
    *bytes = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)name, *bytes), 0);
    CU_ASSERT_EQUAL_FATAL(listen(fd, 8), 0);
    CU_ASSERT_EQUAL_FATAL(getsockname(fd, (struct sockaddr *)name, bytes), 0);
    return fd;
}

static void
join(int family, bool both, struct pair *pair)
{
    struct sockaddr_storage name;
    socklen_t bytes;
    int listener = listen_at(family, both, &name, &bytes);
    if (both) { /* a v4 client of a v6 listener */
        in_port_t port = ((struct sockaddr_in6 *)&name)->sin6_port;
        memset(&name, 0, sizeof name);
        *(struct sockaddr_in *)&name = (struct sockaddr_in){
            .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        bytes = sizeof(struct sockaddr_in);
    }
    pair->client = socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(connect(pair->client, (struct sockaddr *)&name, bytes), 0);
    pair->accepted = accept(listener, NULL, NULL);
    CU_ASSERT_FATAL(pair->accepted >= 0);
    close(listener);
}

static void
leave(const struct pair *pair)
{
    close(pair->accepted);
    close(pair->client);
}

static bool
has_v6(void)
{
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&name, sizeof name) == 0;
    if (fd >= 0)
        close(fd);
    return has;
}

static void
knows_own_user(void)
{
    const struct {
        int family;
        bool both;
    } kinds[] = {{AF_INET, false}, {AF_INET6, false}, {AF_INET6, true}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct pair pair;
        uid_t uid = (uid_t)-1;
        if (kinds[i].family == AF_INET6 && !has_v6())
            continue;
        join(kinds[i].family, kinds[i].both, &pair);
        CU_ASSERT(local_uid_read(pair.accepted, &uid));
        CU_ASSERT_EQUAL(uid, geteuid());
        leave(&pair);
    }
}

/** A child connects as somebody else, and stays until it is told to go. */
static pid_t
connect_as(uid_t uid, const struct sockaddr_storage *name, socklen_t bytes, int stay)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    char byte;
    int fd = -1;
    if (setuid(uid) == 0)
        fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)name, bytes) == 0)
        (void)!read(stay, &byte, 1);
    _exit(0);
}

static void
knows_another_user(void)
{
    struct sockaddr_storage name;
    socklen_t bytes;
    int stay[2];
    if (geteuid() != 0)
        return;
    int listener = listen_at(AF_INET, false, &name, &bytes);
    CU_ASSERT_EQUAL_FATAL(pipe(stay), 0);
    pid_t child = connect_as(STRANGER, &name, bytes, stay[0]);
    int accepted = accept(listener, NULL, NULL);
    uid_t uid = 0;
    CU_ASSERT(local_uid_read(accepted, &uid));
    CU_ASSERT_EQUAL(uid, STRANGER);
    close(stay[1]);
    close(stay[0]);
    kill(child, SIGTERM);
    waitpid(child, NULL, 0);
    close(accepted);
    close(listener);
}

/** Whoever is gone must not be taken for root, as whom the kernel tells sockets without owner. */
static void
trusts_no_closed_socket(void)
{
    struct pair pair;
    uid_t uid = 4711;
    join(AF_INET, false, &pair);
    close(pair.client);
    CU_ASSERT(!local_uid_read(pair.accepted, &uid));
    CU_ASSERT_EQUAL(uid, 4711);
    close(pair.accepted);
}

static void
refuses_other_sockets(void)
{
    int ends[2];
    uid_t uid;
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    CU_ASSERT(!local_uid_read(ends[0], &uid));
    CU_ASSERT(!local_uid_read(-1, &uid));
    close(ends[0]);
    close(ends[1]);
}

static const struct unit_case cases[] = {
    {"knows the own user, over IPv4, IPv6 and both", knows_own_user},
    {"knows another user", knows_another_user},
    {"trusts no closed socket", trusts_no_closed_socket},
    {"refuses other sockets", refuses_other_sockets},
    {NULL, NULL},
};

void
register_local_uid(void)
{
    unit_register("local_uid", cases);
}
