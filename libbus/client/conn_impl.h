/* SPDX-License-Identifier: Apache-2.0
 * Inside of the connection: what conn.c (callers) and conn_io.c (the thread) share.
 */
#ifndef CLIENT_CONN_IMPL_H
#define CLIENT_CONN_IMPL_H

#include "base/buf.h"
#include "base/err.h"
#include "client/conn.h"
#include "client/conn_dial.h"
#include "protocol/frame.h"

#include <pthread.h>

/* A request whose answer is awaited; in the list from the moment its bytes are queued. */
struct call {
    struct call *next;
    uint64_t id;
    uint64_t starts_at; /* its first byte, counted over the life of the connection */
    int32_t correlation;
    int16_t version;
    const struct api_info *api;
    conn_done *done; /* NULL: cancelled */
    void *context;
};

struct conn {
    struct settings settings;
    _Atomic uint32_t epoch;
    _Atomic bool up;

    pthread_mutex_t lock;   /* all below but what is the thread's */
    pthread_cond_t changed; /* a connection was made, or an attempt failed */
    int fd;                 /* -1: not connected. Closed by the thread only */
    int wake_fd;            /* eventfd: the thread shall look */
    int stop_fd;            /* eventfd: the thread shall end, even while it dials */
    bool stopping;
    bool hurry; /* somebody waits for the connection */
    struct buf out;
    size_t out_at;     /* bytes of `out` already sent */
    uint64_t sent;     /* bytes sent since the connection was made */
    struct call *head; /* calls in the order of the wire */
    struct call *tail;
    uint64_t next_id;
    int32_t next_correlation;
    struct dial_versions versions;
    int down_rc; /* why there is no connection, and in words */
    char down_text[ERR_TEXT_BYTES_MAX];

    /* The thread's own. */
    pthread_t thread;
    struct frame_reader reader;
    int fds[CONN_FDS_MAX]; /* arrived, not yet given to an answer */
    int fd_count;
    bool fds_lost; /* the kernel could not deliver some: no free number */
    int64_t pause_ms;
    uint64_t random;
};

/** The thread of a connection; `arg` is the struct conn. */
void *conn_run(void *arg);

/** Makes the thread look; under the lock or not. */
void conn_wake(struct conn *conn);

/** Sends what `out` holds as far as the socket takes it. Lock held. */
void conn_write(struct conn *conn);

/** Dials and greets; on success sets fd, versions, epoch. Lock not held. Blocks: setup timeout. */
int conn_dial(struct conn *conn);

/** Gives up the room of what was sent when that is much of `out`. Lock held. */
void conn_compact(struct conn *conn);

/** Ends every call in the list with a failure. Lock held. */
void conn_fail_calls(struct conn *conn);

/** Remembers the failure `rc`, with this thread's error text, as the reason for being down. */
void conn_note_down(struct conn *conn, int rc);

#endif
