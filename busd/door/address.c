/* SPDX-License-Identifier: Apache-2.0 */
#include "door/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

static void
set_port(struct address *address, uint16_t port)
{
    if (address->any.sa_family == AF_INET6)
        address->v6.sin6_port = htons(port);
    else
        address->v4.sin_port = htons(port);
}

int
address_of(const struct listener_spec *spec, struct address *address)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    *address = (struct address){0};
    if (spec->host[0] == '\0') {
        address->v6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
        address->bytes = sizeof address->v6;
        set_port(address, spec->port);
        return 0;
    }
    int rc = getaddrinfo(spec->host, NULL, &hints, &found);
    if (rc != 0)
        return err_set(
            BUS_ERR_INVALID_CONFIG, "listener host %s: %s", spec->host, gai_strerror(rc));
    if (found->ai_addrlen <= sizeof address->v6) {
        memcpy(&address->any, found->ai_addr, found->ai_addrlen);
        address->bytes = found->ai_addrlen;
    }
    freeaddrinfo(found);
    set_port(address, spec->port);
    return 0;
}

/** The IPv4 address in host order, also one inside IPv6; false: it is none. */
static bool
take_v4(const struct address *address, uint32_t *host)
{
    if (address->any.sa_family == AF_INET) {
        *host = ntohl(address->v4.sin_addr.s_addr);
        return true;
    }
    const uint8_t *v6 = address->v6.sin6_addr.s6_addr;
    if (!IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr))
        return false;
    *host = (uint32_t)v6[12] << 24 | (uint32_t)v6[13] << 16 | (uint32_t)v6[14] << 8 | v6[15];
    return true;
}

bool
address_is_loopback(const struct address *address)
{
    uint32_t v4;
    if (take_v4(address, &v4))
        return v4 >> 24 == IN_LOOPBACKNET;
    return IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

bool
address_is_any(const struct address *address)
{
    uint32_t v4;
    if (take_v4(address, &v4))
        return v4 == INADDR_ANY;
    return IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr);
}

void
address_host(const struct address *address, char text[ADDRESS_TEXT_BYTES])
{
    uint32_t v4;
    text[0] = '\0';
    if (take_v4(address, &v4)) {
        struct in_addr in = {htonl(v4)};
        inet_ntop(AF_INET, &in, text, ADDRESS_TEXT_BYTES);
    } else {
        inet_ntop(AF_INET6, &address->v6.sin6_addr, text, ADDRESS_TEXT_BYTES);
    }
}

uint16_t
address_port(const struct address *address)
{
    return ntohs(address->any.sa_family == AF_INET6 ? address->v6.sin6_port : address->v4.sin_port);
}

void
address_text(const struct address *address, char text[ADDRESS_TEXT_BYTES])
{
    char host[ADDRESS_TEXT_BYTES];
    address_host(address, host);
    bool v6 = strchr(host, ':') != NULL;
    snprintf(text, ADDRESS_TEXT_BYTES, "%s%.*s%s:%u", v6 ? "[" : "", INET6_ADDRSTRLEN, host,
        v6 ? "]" : "", (unsigned)address_port(address));
}

void
address_key(const struct address *address, uint8_t key[16])
{
    uint32_t v4;
    memset(key, 0, 16);
    if (take_v4(address, &v4))
        memcpy(key, &v4, sizeof v4);
    else
        memcpy(key, address->v6.sin6_addr.s6_addr, 16);
}

int
address_own(int fd, struct address *address)
{
    address->bytes = sizeof address->v6;
    if (getsockname(fd, &address->any, &address->bytes) < 0)
        return err_sys(errno, "the address of a socket");
    return 0;
}

int
address_peer(int fd, struct address *address)
{
    address->bytes = sizeof address->v6;
    if (getpeername(fd, &address->any, &address->bytes) < 0)
        return err_sys(errno, "the address of a client");
    return 0;
}
