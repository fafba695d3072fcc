/* SPDX-License-Identifier: Apache-2.0 */
#include "door/local_uid.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/** A question about one socket, as it goes to the kernel. */
struct question {
    struct nlmsghdr header;
    struct inet_diag_req_v2 request;
};

/** The kernel's answer, with room for what it may add. */
union answer {
    struct nlmsghdr header;
    char bytes[1024];
};

static bool
is_v4(const struct sockaddr_storage *name)
{
    const struct sockaddr_in6 *v6 = (const void *)name;
    return name->ss_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
}

/** Takes the address apart as the kernel wants it; a v4 address in a v6 one is a v4 address. */
static void
put(const struct sockaddr_storage *name, __be32 address[4], __be16 *port)
{
    const struct sockaddr_in *v4 = (const void *)name;
    const struct sockaddr_in6 *v6 = (const void *)name;
    if (name->ss_family == AF_INET) {
        memcpy(address, &v4->sin_addr, sizeof v4->sin_addr);
        *port = v4->sin_port;
    } else {
        size_t skip = is_v4(name) ? 12 : 0;
        memcpy(address, v6->sin6_addr.s6_addr + skip, sizeof v6->sin6_addr - skip);
        *port = v6->sin6_port;
    }
}

/** Asks for the socket whose own end is our peer, and whose peer is our own end. */
static bool
make_question(int fd, struct question *question)
{
    struct sockaddr_storage own, peer;
    socklen_t own_bytes = sizeof own, peer_bytes = sizeof peer;
    if (getsockname(fd, (struct sockaddr *)&own, &own_bytes) < 0 ||
        getpeername(fd, (struct sockaddr *)&peer, &peer_bytes) < 0 ||
        own.ss_family != peer.ss_family || (own.ss_family != AF_INET && own.ss_family != AF_INET6))
        return false;
    *question = (struct question){
        .header = {.nlmsg_len = sizeof *question,
            .nlmsg_type = SOCK_DIAG_BY_FAMILY,
            .nlmsg_flags = NLM_F_REQUEST},
        .request = {.sdiag_family = is_v4(&own) ? AF_INET : AF_INET6,
            .sdiag_protocol = IPPROTO_TCP,
            .idiag_states = 1u << TCP_ESTABLISHED},
    };
    struct inet_diag_sockid *id = &question->request.id;
    put(&peer, id->idiag_src, &id->idiag_sport);
    put(&own, id->idiag_dst, &id->idiag_dport);
    id->idiag_cookie[0] = id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    return true;
}

/**
 * A socket without an owner, as one that is closed and not yet forgotten, is told with user 0: only
 * one that is connected and has an inode counts. Where there is none such, the kernel may tell of
 * one that listens there.
 */
static bool
take(const struct inet_diag_msg *told, const struct question *question, uid_t *uid)
{
    if (told->idiag_state != TCP_ESTABLISHED || told->idiag_inode == 0 ||
        told->id.idiag_sport != question->request.id.idiag_sport ||
        told->id.idiag_dport != question->request.id.idiag_dport)
        return false;
    *uid = told->idiag_uid;
    return true;
}

static bool
ask(int netlink, const struct question *question, uid_t *uid)
{
    union answer answer;
    const size_t least = NLMSG_LENGTH(sizeof(struct inet_diag_msg));
    if (send(netlink, question, sizeof *question, 0) != (ssize_t)sizeof *question)
        return false;
    ssize_t n = recv(netlink, &answer, sizeof answer, MSG_DONTWAIT);
    if (n < (ssize_t)least || answer.header.nlmsg_len < least ||
        answer.header.nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return false;
    return take(NLMSG_DATA(&answer.header), question, uid);
}

bool
local_uid_read(int fd, uid_t *uid)
{
    struct question question;
    if (!make_question(fd, &question))
        return false;
    int netlink = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (netlink < 0)
        return false;
    bool known = ask(netlink, &question, uid);
    close(netlink);
    return known;
}
