/* SPDX-License-Identifier: Apache-2.0
 * The requests: what a door needs to have them answered, and what the daemon gives for that.
 *
 * One thread, the loop's, for everything here; the callbacks run on it too. Nothing here blocks
 * longer than a few milliseconds: a request that must wait is parked, and api_tick() looks at the
 * parked ones again when something may have changed.
 */
#ifndef API_API_H
#define API_API_H

#include "base/buf.h"
#include "protocol/apis.h"
#include "store/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct api;
struct api_attachment;
struct api_request;
struct api_sasl;
struct access_names;
struct controller;
struct loop;
struct quota;
struct store;
struct worker;

/* ---- door and api --------------------------------------------------------------------------- */

enum {
    API_GROUPS_MAX = 64,        /* groups of a peer that count */
    API_ATTACHMENTS_MAX = 4096, /* partitions that one peer may have attached */
    API_SEGMENT_FDS_MAX = 8,    /* segments that come with an attachment */
    API_FDS_MAX = 4 + API_SEGMENT_FDS_MAX,
    API_PRINCIPAL_BYTES = 264, /* "User:" and a name of 255 bytes, with its NUL */
};

/** Batches that belong into a frame and are sent from where they lie. */
struct api_piece {
    size_t at;              /* in front of this byte of the frame */
    struct log_slice slice; /* owned; its bytes are more than 0 */
};

/** The answer to one request. */
struct api_answer {
    struct buf frame;         /* with its size prefix; empty: nothing is to be sent (acks=0) */
    struct api_piece *pieces; /* owned, ascending; the size prefix counts them */
    size_t piece_count;
    int fds[API_FDS_MAX]; /* owned by the answer; they go with the frame's first byte */
    int fd_count;
    bool close; /* close the connection once the frame is sent; err_text() told why */
};

/** Releases what an answer holds: bytes, pieces, and the fds by closing them. Also when zeroed. */
void api_answer_fini(struct api_answer *answer);

struct api_peer;

/** What a door does for the api. */
struct api_peer_ops {
    /**
     * The answer to the request that was dispatched last. The door takes the contents (and ends
     * with api_answer_fini() or its equivalent). Called exactly once for each request that
     * api_dispatch() accepted, either inside that call or later. It must not call api_dispatch():
     * the next frame of the peer is dispatched when control is back in the door's own loop.
     */
    void (*answer)(struct api_peer *peer, struct api_answer *answer);
    /**
     * The eventfd that the peer's process kicks when a log wants room; made on first use, owned by
     * the door, which calls api_kicked() when it is readable. Negative with the error text set when
     * there is none to be had. NULL on doors that pass no fds.
     */
    int (*kick_fd)(struct api_peer *peer);
};

/** The listener that a peer came through: what it is told of this node, and what it must do first.
 */
struct api_listener {
    const char *name; /* as configured: "SASL_PLAINTEXT://0.0.0.0:9092" */
    const char *host; /* advertised to those who came in here, with `port` */
    int32_t port;
    bool loopback; /* bound to an address that only this machine reaches */
    bool tls;      /* what is said cannot be overheard */
    bool sasl;     /* who comes in has to authenticate */
};

/**
 * Somebody at a door. The door zeroes it, fills the upper half and calls api_peer_gone() when the
 * connection ends.
 */
struct api_peer {
    const struct api_peer_ops *ops;
    unsigned door;                /* one of API_DOOR_* */
    uid_t uid;                    /* as the kernel says; (uid_t)-1: it does not */
    gid_t groups[API_GROUPS_MAX]; /* the peer's own first, then those of SO_PEERGROUPS */
    int group_count;
    pid_t pid;           /* for the trace only; 0 unknown */
    bool same_pids;      /* its ids of threads are busd's as well: without, it may not append in
                            place, since the append lock tells threads apart by their ids */
    struct quota *quota; /* charged for attachments and for parked requests; may be NULL */
    const char *name;    /* for people: "uid 7, pid 12", "192.0.2.1:4711"; owned by the door */
    const char *address; /* "/192.0.2.1", as Kafka shows members of groups; "" on the Unix door */
    const struct api_listener *listener; /* owned by the door; NULL on the Unix door */

    /* Set by the door at first, then by the api. */
    char principal[API_PRINCIPAL_BYTES]; /* "User:anna"; "User:ANONYMOUS" for who need not say */
    bool
        authenticated; /* false: all but ApiVersions and the requests of SASL ends the connection */

    /* Private to the api. */
    struct api_request *request;        /* the parked one, at most one per peer */
    struct api_attachment *attachments; /* list */
    int attachment_count;
    struct api *attached_to; /* not NULL: in its list of peers with attachments */
    struct api_peer *attached_next, *attached_previous;
    struct api_sasl *sasl; /* owned; NULL until the first handshake */
};

/** What became of a frame. */
enum api_outcome {
    API_ANSWERED = 0, /* ops->answer was called; go on with the next frame */
    API_PARKED = 1,   /* ops->answer comes later; dispatch no other frame of this peer before */
};

/**
 * Handles one request frame, without its size prefix. The bytes are copied where they must outlive
 * the call. Returns an api_outcome, or a failure after which the door closes the connection
 * (malformed, unknown key or version): nothing was answered then.
 */
int api_dispatch(struct api *api, struct api_peer *peer, const uint8_t *frame, size_t n);

/** The peer's eventfd was readable: gives room to the logs that it has attached for writing. */
void api_kicked(struct api *api, struct api_peer *peer);

/** Ends the parked request, unanswered, and the attachments of a peer that is going away. */
void api_peer_gone(struct api *api, struct api_peer *peer);

/* ---- daemon and api ------------------------------------------------------------------------- */

/** What the daemon does for the api. */
struct api_daemon_ops {
    /** CLOCK_MONOTONIC in milliseconds, and the wall clock; fake in tests. */
    int64_t (*mono_ms)(void *context);
    int64_t (*wall_ms)(void *context);
    /** Asks for an api_tick() not later than this; a later call replaces it. -1: no need. */
    void (*arm)(void *context, int64_t deadline_mono_ms);
    /** For DaemonStatus: how many clients, and where Kafka clients are served ("" nowhere). */
    int (*connections)(void *context);
    const char *(*listeners)(void *context);
};

/** What the daemon gives; borrowed, lives longer than the api. */
struct api_wiring {
    const struct api_daemon_ops *ops;
    void *context;
    /** Has the keeper run store_service() soon; NULL: room is made in place, blocking (tests). */
    void (*wake_keeper)(void *context);
    struct controller *controller; /* the cluster's state, and where it is changed */
    struct store *store;
    struct loop *loop;      /* where news of other threads arrive; NULL: looked for by time */
    struct worker *flusher; /* flushes for acks=all; NULL: in place, blocking (tests) */
    struct worker *remover; /* removes files of deleted topics; NULL: in place, blocking (tests) */
    const struct access_names *names; /* users and groups of access lists */
    uid_t own_uid;                    /* busd's */
    const char *version;
    const char *data_folder;
};

/** An api without peers; listens to the controller. Returns 0 or a failure. */
int api_new(const struct api_wiring *wiring, struct api **api);

/**
 * Closes the logs; waits for flusher and remover. The peers are gone already, the controller goes
 * later.
 */
void api_free(struct api **api);

/**
 * Looks again at what is parked: when the deadline of arm() came. (News of records and flushes
 * come by a thread of the api's own and by the flusher, through the loop.) Cheap when there is
 * nothing to do.
 */
void api_tick(struct api *api);

/** Where a sweep is; zeroed at its start. */
struct api_sweep {
    size_t topic;
    int32_t partition;
};

/**
 * One step of a sweep over all partitions: opens one that is closed and has something to retain or
 * to compact. Returns whether the sweep is not at its end yet. Blocks: for the disk, to open.
 */
bool api_sweep(struct api *api, struct api_sweep *sweep);

#endif
