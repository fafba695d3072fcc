/* SPDX-License-Identifier: Apache-2.0 */
#include "door/passing.h"

#include "base/clock.h"
#include "door/connection.h"

#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

void
passing_put(struct msghdr *message, union passing_space *space, const struct api_answer *answer)
{
    size_t n = (size_t)answer->fd_count * sizeof(int);
    memset(space, 0, sizeof *space);
    message->msg_control = space->bytes;
    message->msg_controllen = CMSG_SPACE(n);
    struct cmsghdr *head = CMSG_FIRSTHDR(message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(n);
    memcpy(CMSG_DATA(head), answer->fds, n);
}

void
passing_note_sent(struct connection *c, int count)
{
    c->sent_fds += count;
}

/* What lies in a socket that nobody reads is open all the same: segments of deleted topics stay on
 * the disk, and the kernel counts it against busd. Only an empty queue tells that all was taken. */
static void
note_taken(struct connection *c)
{
    int left;
    if (c->sent_fds == 0 || ioctl(c->stream.fd, SIOCOUTQ, &left) < 0 || left > 0)
        return;
    quota_release(&c->quota, QUOTA_FDS, c->sent_fds);
    c->sent_fds = 0;
}

int64_t
passing_most(const struct settings *settings)
{
    return settings_int(settings, BROKER_CLIENT_MAX_FDS);
}

bool
passing_has_room(struct connection *c)
{
    /* An answer that was never sent before may be larger than a small limit. */
    int64_t most = passing_most(c->hall->options.settings);
    int64_t next = API_FDS_MAX < most ? API_FDS_MAX : most;
    if (!quota_has(&c->quota, QUOTA_FDS, next))
        note_taken(c);
    bool room = quota_has(&c->quota, QUOTA_FDS, next);
    if (room)
        c->held_since_ms = -1;
    else if (c->held_since_ms < 0)
        c->held_since_ms = clock_mono_ms();
    if (!room)
        loop_timer_start(c->hall->hold, HELD_MS, 0);
    return room;
}
