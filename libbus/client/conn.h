/* SPDX-License-Identifier: Apache-2.0
 * The connection of one `struct bus` to busd: requests pipelined over a Unix socket, answers with
 * file descriptors, and a thread that reads them and reconnects.
 *
 * Any thread may send. The thread of the connection alone reads, and it completes the calls in the
 * order of the wire. While busd is away it tries again with a growing pause; calls fail at once
 * then, unless they say that they wait.
 */
#ifndef CLIENT_CONN_H
#define CLIENT_CONN_H

#include "client/settings.h"
#include "protocol/apis.h"
#include "protocol/arena.h"

#include <stdatomic.h>

enum { CONN_FDS_MAX = 64 }; /* fds that one answer may bring */

struct conn;

/** An answer: the decoded message and its file descriptors. */
struct conn_reply {
    void *message;         /* the response struct of the API; lives in the arena */
    int fds[CONN_FDS_MAX]; /* owned; -1 where taken */
    int fd_count;          /* how many came */
    struct arena arena;    /* what `message` refers to */
    uint8_t *frame;        /* owned: what struct bytes of `message` point into */
};

/** Releases a reply and closes the fds that nobody took. Nulls the pointer; NULL is accepted. */
void conn_reply_free(struct conn_reply **reply);

/** Takes fd number `index` out of the reply: the caller owns it then. -1 when there is none. */
int conn_reply_take_fd(struct conn_reply *reply, int index);

/**
 * Told once about a call that conn_start() accepted, unless it was cancelled. On success `rc` is 0
 * and the callee owns `reply`; else `rc` is negative, `reply` NULL and the error text set. Runs on
 * the connection's thread under its lock: it may take leaf locks only, and no conn_ function.
 */
typedef void conn_done(void *context, int rc, struct conn_reply *reply);

/** Flags of conn_call(). */
enum {
    CONN_WAIT = 1,    /* while busd is away, wait for it until the deadline */
    CONN_AGAIN = 2,   /* the request may be repeated when the connection breaks */
    CONN_RESTART = 4, /* as CONN_WAIT, but for the time of a restart: 5 reconnect.backoff.max.ms */
    CONN_ACTS = 8,    /* it changes things: a failure tells when that may have happened */
};

/**
 * Connects to `settings->socket_path` (not empty) and starts the thread. Fails with
 * DAEMON_UNAVAILABLE, PERMISSION, TIMED_OUT or what busd refused. Thread: any. Blocks: up to the
 * setup timeout.
 */
int conn_open(const struct settings *settings, struct conn **conn);

/** Ends the thread and the connection; calls under way are told DAEMON_UNAVAILABLE. */
void conn_close(struct conn **conn);

/** Whether there is a connection now. Thread: any. Blocks: no. */
bool conn_up(const struct conn *conn);

/**
 * Counts the connections made, from 1: a change means that busd may be another process, which does
 * not know what this one has attached. Thread: any. Blocks: no.
 */
uint32_t conn_epoch(const struct conn *conn);

/** The word behind conn_epoch(), for those who look at each record; lives as long as `conn`. */
const _Atomic uint32_t *conn_epoch_word(const struct conn *conn);

/** The name of the socket, borrowed. */
const char *conn_path(const struct conn *conn);

/**
 * Sends a request and returns; `done` is told the end. Borrows `request` for the call. `call` is
 * set to a handle for conn_cancel() (may be NULL). Returns 0 or a failure: DAEMON_UNAVAILABLE,
 * UNSUPPORTED_VERSION (this busd does not have the API), what the encoder refuses. Thread: any.
 * Blocks: no.
 */
int conn_start(struct conn *conn, int16_t api_key, const void *request, conn_done *done,
    void *context, uint64_t *call);

/**
 * As conn_start() for a request that has no answer (Produce with acks=0). Fails with QUEUE_FULL
 * while busd does not take what was sent before.
 */
int conn_post(struct conn *conn, int16_t api_key, const void *request);

/**
 * Forgets a call: on return `done` either was told or never will be. Thread: any. Blocks: no.
 */
void conn_cancel(struct conn *conn, uint64_t call);

/**
 * Sends a request and waits for the answer until `deadline_ns` (CLOCK_MONOTONIC). Gives the reply,
 * whose `message` may still hold an error code of busd's. Fails with DAEMON_UNAVAILABLE, or with
 * NETWORK_EXCEPTION (busd went away in between) or REQUEST_TIMED_OUT: it may have acted then.
 * Thread: any. Blocks: until the deadline.
 */
int conn_call(struct conn *conn, int16_t api_key, const void *request, unsigned flags,
    int64_t deadline_ns, struct conn_reply **reply);

/**
 * Waits until there is a connection. Returns 0 or DAEMON_UNAVAILABLE. Thread: any. Blocks: until
 * the deadline.
 */
int conn_await(struct conn *conn, int64_t deadline_ns);

/** Turns an error code of busd's, with its text when it gave one, into a failure; 0 stays 0. */
int conn_refused(int16_t wire, const char *text);

#endif
