/* SPDX-License-Identifier: Apache-2.0
 * The bytes of one connection: a table of three calls, so that what is above does not know whether
 * they go over a socket as they are. Inside door/ only.
 */
#ifndef DOOR_STREAM_H
#define DOOR_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

struct stream;

/** Each as the system call that it stands for: bytes, or -1 with errno (EAGAIN: later). */
struct stream_ops {
    /** recv(): 0 is the end of what the other side sends. */
    ssize_t (*receive)(struct stream *stream, void *to, size_t bytes);
    /** sendmsg(); `more`: other bytes follow at once, so that a packet may wait for them. */
    ssize_t (*send)(struct stream *stream, const struct msghdr *message, bool more);
    /** sendfile(): 0 is the end of the file. */
    ssize_t (*send_file)(struct stream *stream, int fd, off_t position, size_t bytes);
    /** Whether bytes can be received that the socket has given already. */
    bool (*pending)(const struct stream *stream);
};

struct stream {
    const struct stream_ops *ops;
    void *state;      /* of the ops */
    int fd;           /* a socket that does not block; owned by the connection */
    bool wants_write; /* to receive it has to send first: call receive when it is writable */
};

/** The socket as it is. Nothing blocks, but for pages of a file that have to come from the disk. */
extern const struct stream_ops stream_plain;

#endif
