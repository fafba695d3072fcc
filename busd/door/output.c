/* SPDX-License-Identifier: Apache-2.0
 * The answers of a connection on their way: bytes of frames, file descriptors with them, and pieces
 * of segment files, which go from the file to the socket without coming by here.
 */
#include "base/clock.h"
#include "door/connection.h"
#include "door/passing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

enum {
    IOV_MAX_ONCE = 16,
    SEND_BYTES_TURN = 4 << 20, /* what one connection may send while others wait */
};

static bool
piece_is_next(const struct output *output)
{
    return output->piece < output->answer.piece_count &&
           output->answer.pieces[output->piece].at == output->frame_at;
}

static bool
is_sent(const struct output *output)
{
    return output->frame_at == output->answer.frame.length &&
           output->piece == output->answer.piece_count;
}

/** Bytes of the frame up to the next piece of a file. */
static size_t
frame_run(const struct output *output)
{
    size_t end = output->piece < output->answer.piece_count
                     ? output->answer.pieces[output->piece].at
                     : output->answer.frame.length;
    return end - output->frame_at;
}

static size_t
bytes_of(const struct api_answer *answer)
{
    size_t bytes = answer->frame.length;
    for (size_t i = 0; i < answer->piece_count; i++)
        bytes += answer->pieces[i].slice.bytes;
    return bytes;
}

static size_t
bytes_left(const struct output *output)
{
    size_t left = output->answer.frame.length - output->frame_at;
    for (size_t i = output->piece; i < output->answer.piece_count; i++)
        left += output->answer.pieces[i].slice.bytes;
    return left - output->piece_at;
}

void
output_drop(struct connection *c)
{
    struct output *output = c->first;
    c->first = output->next;
    if (!c->first)
        c->last = &c->first;
    c->output_bytes -= (int64_t)bytes_left(output);
    quota_release(&c->quota, QUOTA_BYTES, output->charged);
    api_answer_fini(&output->answer);
    free(output);
}

int
output_queue(struct connection *c, struct api_answer *answer)
{
    int64_t bytes = (int64_t)(answer->frame.capacity + sizeof(struct output) +
                              answer->piece_count * sizeof *answer->pieces);
    int rc = quota_charge(&c->quota, QUOTA_BYTES, bytes);
    if (rc < 0)
        return rc;
    rc = quota_charge(&c->quota, QUOTA_FDS, answer->fd_count);
    struct output *output = rc < 0 ? NULL : calloc(1, sizeof *output);
    if (!output) {
        quota_release(&c->quota, QUOTA_BYTES, bytes);
        if (rc == 0)
            quota_release(&c->quota, QUOTA_FDS, answer->fd_count);
        return rc < 0 ? rc : err_no_memory();
    }
    output->answer = *answer;
    output->charged = bytes;
    *c->last = output;
    c->last = &output->next;
    c->output_bytes += (int64_t)bytes_of(answer);
    if (c->stalled_since_ms < 0)
        c->stalled_since_ms = clock_mono_ms();
    return 0;
}

/** The first answer has been sent to its last byte. */
static void
finish(struct connection *c)
{
    const struct output *output = c->first;
    c->closing = c->closing || output->answer.close;
    passing_note_sent(c, output->answer.fd_count);
    output_drop(c);
}

/** Counts bytes of frames as sent. */
static void
note_frames(struct connection *c, size_t n)
{
    for (struct output *output = c->first; output; output = c->first) {
        size_t run = frame_run(output);
        if (run > n)
            run = n;
        output->frame_at += run;
        c->output_bytes -= (int64_t)run;
        n -= run;
        if (!is_sent(output))
            return;
        finish(c);
        if (n == 0)
            return;
    }
}

/** Sends bytes of frames, up to the next piece of a file or the next answer that has fds. */
static ssize_t
send_frames(struct connection *c)
{
    struct iovec parts[IOV_MAX_ONCE];
    union passing_space space;
    struct msghdr message = {.msg_iov = parts};
    bool more = false;
    for (struct output *at = c->first; at && message.msg_iovlen < IOV_MAX_ONCE && !more;
         at = at->next) {
        bool with_fds = at->answer.fd_count > 0 && at->frame_at == 0;
        if (with_fds && at != c->first)
            break;
        if (with_fds)
            passing_put(&message, &space, &at->answer);
        size_t run = frame_run(at);
        more = at->piece < at->answer.piece_count;
        if (run > 0)
            parts[message.msg_iovlen++] = (struct iovec){at->answer.frame.data + at->frame_at, run};
    }
    ssize_t n = c->stream.ops->send(&c->stream, &message, more);
    if (n >= 0)
        note_frames(c, (size_t)n);
    return n;
}

static ssize_t
send_piece(struct connection *c)
{
    struct output *output = c->first;
    const struct log_slice *slice = &output->answer.pieces[output->piece].slice;
    ssize_t n = c->stream.ops->send_file(&c->stream, slice->fd,
        slice->position + (off_t)output->piece_at, slice->bytes - output->piece_at);
    if (n <= 0)
        return n;
    c->output_bytes -= n;
    output->piece_at += (size_t)n;
    if (output->piece_at < slice->bytes)
        return n;
    output->piece++;
    output->piece_at = 0;
    if (is_sent(output))
        finish(c);
    return n;
}

/** Whether more may be sent after a call that gave `n`. */
static bool
judge(struct connection *c, ssize_t n)
{
    if (n > 0)
        return true;
    if (n == 0)
        connection_break(c, "a segment file has become shorter than its log");
    else if (errno == EPIPE || errno == ECONNRESET)
        c->broken = true; /* it left: nothing to tell */
    else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        connection_break(c, strerror(errno));
    return n < 0 && errno == EINTR;
}

void
output_send(struct connection *c)
{
    ssize_t n = 0;
    for (ssize_t sent = 0; c->first && !c->broken && sent < SEND_BYTES_TURN; sent += n) {
        n = piece_is_next(c->first) ? send_piece(c) : send_frames(c);
        if (!judge(c, n))
            break;
        if (n < 0)
            n = 0;
        else
            c->stalled_since_ms = c->heard_ms = clock_mono_ms();
    }
    if (!c->first)
        c->stalled_since_ms = -1;
}
