/* SPDX-License-Identifier: Apache-2.0
 * Addresses of sockets: from and to text. Inside door/ only.
 */
#ifndef DOOR_ADDRESS_H
#define DOOR_ADDRESS_H

#include "core/listener.h"

#include <netinet/in.h>
#include <sys/socket.h>

enum { ADDRESS_TEXT_BYTES = INET6_ADDRSTRLEN + 12 };

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t bytes;
};

/** The address of a listener. 0, or INVALID_CONFIG: the host is not known. Blocks: for the resolver
 * when the host is a name. */
int address_of(const struct listener_spec *spec, struct address *address);

/** Whether only this machine reaches it. */
bool address_is_loopback(const struct address *address);

/** Whether it stands for all addresses. */
bool address_is_any(const struct address *address);

/** The host alone: "192.0.2.1", "::1"; an IPv4 address inside IPv6 is written as IPv4. */
void address_host(const struct address *address, char text[ADDRESS_TEXT_BYTES]);

/** In host order. */
uint16_t address_port(const struct address *address);

/** "192.0.2.1:4711", "[::1]:4711". */
void address_text(const struct address *address, char text[ADDRESS_TEXT_BYTES]);

/** 16 bytes that are the same for all ports of a host. */
void address_key(const struct address *address, uint8_t key[16]);

/** The address of this side of a socket. 0 or SYSTEM. */
int address_own(int fd, struct address *address);

/** That of the other side. */
int address_peer(int fd, struct address *address);

#endif
