/* SPDX-License-Identifier: Apache-2.0 */
#include "door/peer_cred.h"

#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

/** Puts the groups behind the peer's own; what does not fit does not count. */
static void
take_groups(struct api_peer *peer, const gid_t *groups, size_t count)
{
    for (size_t i = 0; i < count && peer->group_count < API_GROUPS_MAX; i++)
        peer->groups[peer->group_count++] = groups[i];
}

/** A peer in many groups: the kernel tells how many there are. */
static int
read_many_groups(int fd, struct api_peer *peer, socklen_t bytes)
{
    gid_t *groups = malloc(bytes);
    if (!groups)
        return err_no_memory();
    int rc = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes);
    if (rc < 0)
        rc = err_sys(errno, "SO_PEERGROUPS");
    else
        take_groups(peer, groups, bytes / sizeof groups[0]);
    free(groups);
    return rc;
}

static int
read_groups(int fd, struct api_peer *peer)
{
    gid_t groups[API_GROUPS_MAX];
    socklen_t bytes = sizeof groups;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes) == 0) {
        take_groups(peer, groups, bytes / sizeof groups[0]);
        return 0;
    }
    if (errno == ERANGE && bytes > sizeof groups)
        return read_many_groups(fd, peer, bytes);
    /* A kernel before 4.13 cannot tell: the peer's own group has to do. */
    return errno == ENOPROTOOPT ? 0 : err_sys(errno, "SO_PEERGROUPS");
}

int
peer_cred_read(int fd, struct api_peer *peer)
{
    struct ucred cred;
    socklen_t bytes = sizeof cred;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) < 0)
        return err_sys(errno, "SO_PEERCRED");
    peer->uid = cred.uid;
    peer->pid = cred.pid;
    peer->groups[0] = cred.gid;
    peer->group_count = 1;
    return read_groups(fd, peer);
}
