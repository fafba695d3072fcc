/* SPDX-License-Identifier: Apache-2.0 */
#include "door/stream.h"

#include <sys/sendfile.h>

static ssize_t
plain_receive(struct stream *stream, void *to, size_t bytes)
{
    /* Without room for a control part, the kernel closes fds that a client sends. */
    return recv(stream->fd, to, bytes, MSG_DONTWAIT);
}

static ssize_t
plain_send(struct stream *stream, const struct msghdr *message, bool more)
{
    return sendmsg(stream->fd, message, MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0));
}

/* busd ignores SIGPIPE, which this call cannot be told not to raise. */
static ssize_t
plain_send_file(struct stream *stream, int fd, off_t position, size_t bytes)
{
    return sendfile(stream->fd, fd, &position, bytes);
}

static bool
plain_pending(const struct stream *stream)
{
    (void)stream;
    return false;
}

const struct stream_ops stream_plain = {plain_receive, plain_send, plain_send_file, plain_pending};
