/* SPDX-License-Identifier: Apache-2.0 */
#include "door/peer_cred.h"

#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

/** Whether /proc speaks of processes by the ids that this process knows. */
static bool
proc_is_ours(void)
{
    char self[16], text[16];
    ssize_t n = readlink("/proc/self", text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    snprintf(self, sizeof self, "%d", (int)getpid());
    return strcmp(text, self) == 0;
}

/**
 * Whether a process lives in this PID namespace, and not in one below, where other ids than the one
 * that is seen from here hold. (One of a namespace beside or above has no id here.) Its status
 * lists the ids of all namespaces that it is in, from this one down. Not known: false.
 */
static bool
shares_pids(pid_t pid)
{
    char path[32], line[256];
    bool one = false;
    if (pid <= 0 || !proc_is_ours())
        return false;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *status = fopen(path, "re");
    if (!status)
        return false;
    while (fgets(line, sizeof line, status)) {
        int seen, id, more;
        if (strncmp(line, "NSpid:", 6) != 0)
            continue;
        seen = sscanf(line + 6, "%d %d", &id, &more);
        one = seen == 1 && id == pid;
        break;
    }
    fclose(status);
    return one;
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
    peer->same_pids = shares_pids(cred.pid);
    peer->groups[0] = cred.gid;
    peer->group_count = 1;
    return read_groups(fd, peer);
}
