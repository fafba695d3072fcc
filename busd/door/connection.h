/* SPDX-License-Identifier: Apache-2.0
 * One client, whichever door it came through, and the hall it is in. Inside door/ only.
 */
#ifndef DOOR_CONNECTION_H
#define DOOR_CONNECTION_H

#include "api/api.h"
#include "core/quota.h"
#include "door/hall.h"
#include "door/stream.h"
#include "protocol/frame.h"

enum {
    OUTPUT_BYTES_HIGH = 1 << 20, /* with more waiting to be sent, no request is handled */
    STALL_MS_MAX = 60000,        /* a client that takes nothing for so long is cut off */
    SWEEP_MS = 1000,
    HELD_MS = 2,      /* between two looks whether a client has taken its file descriptors */
    TURN_MS = 10,     /* how long one connection is served while others wait */
    LINGER_MS = 2000, /* how long a closed client may take to receive its last answers */
    TOLD_MAX = 10,    /* lines a second about clients */
    PARTY_KEY_BYTES = 16,
};

struct connection;
struct party;

/** What differs between the doors. */
struct connection_kind {
    unsigned door;     /* API_DOOR_* */
    size_t bytes;      /* of its struct, which begins with a struct connection */
    const char *party; /* "the user": who has the connections, for error texts */
    bool lingers;      /* closing it could destroy answers that are on their way */
    bool may_idle;     /* a client that is silent for long has a reason */
    /** Who it is: fills peer, name, and the key of the party. 0 or a failure. */
    int (*admit)(struct connection *connection, uint8_t key[PARTY_KEY_BYTES]);
    /** Takes the limits of a party from the settings. */
    void (*limit)(const struct settings *settings, struct party *party);
    /** Takes the limits of a connection from the settings; NULL: none of its own. */
    void (*configure)(struct connection *connection);
    /** Whether a request may be handled, beyond what counts for all; NULL: always. */
    bool (*has_room)(struct connection *connection);
    /** Ends what is not shared; NULL: nothing. */
    void (*fini)(struct connection *connection);
    struct api_peer_ops ops; /* with connection_answer() */
};

/** Those whose connections count together: a user, or a machine. */
struct party {
    const struct connection_kind *kind;
    uint8_t key[PARTY_KEY_BYTES];
    struct quota quota; /* its parent: of the hall */
    struct party *next;
};

/** An answer on its way. */
struct output {
    struct api_answer answer; /* owned */
    size_t frame_at;          /* bytes of the frame sent */
    size_t piece;             /* the piece of a file that is next */
    size_t piece_at;          /* bytes of it sent */
    int64_t charged;          /* bytes */
    struct output *next;
};

struct connection {
    struct api_peer peer; /* first: the api gives it back */
    const struct connection_kind *kind;
    struct hall *hall;
    struct party *party;
    struct connection *previous, *next;
    struct connection *resume_next; /* in hall.resume */
    struct loop_fd *watch;
    struct stream stream;
    struct output *first, **last; /* answers to be sent, in order */
    struct frame_reader reader;
    struct quota quota;
    int64_t reader_charged;   /* bytes */
    int64_t output_bytes;     /* waiting to be sent */
    int64_t stalled_since_ms; /* when the last byte went out, or the queue began; -1 no queue */
    int64_t sent_fds;         /* charged: they are in the socket, as far as is known */
    int64_t held_since_ms;    /* no request is handled: it takes no file descriptors; -1 not so */
    int64_t heard_ms;         /* when its last bytes came, or its last answer left */
    int64_t frame_since_ms;   /* since when a frame is incomplete; -1 none is */
    int64_t closing_since_ms; /* when the last answer was sent; -1 not yet */
    unsigned wanted;          /* what the loop watches for; enum loop_ready */
    bool parked;              /* an answer is due: no other request is handled */
    bool busy;                /* inside handle_frames(): answers are sent at its end */
    bool closing;             /* ends when the answers are sent */
    bool half_closed;         /* all that it sent has been read; ends when all is answered */
    bool hung_up;             /* it sends nothing more, or is gone */
    bool broken;              /* ends as soon as control is back here */
    bool resuming;            /* in hall.resume */
    char name[80];
};

struct hall {
    struct hall_options options;
    struct quota quota; /* of all connections */
    struct connection *connections;
    struct connection *resume; /* those with requests to go on with */
    struct party *parties;
    struct loop_post *post; /* has resume looked at */
    struct loop_timer *sweep;
    struct loop_timer *hold; /* has those that are held looked at */
    int connection_count;
    int spare_fd;          /* closed for a moment to turn a client away when fds run out */
    bool quiet;            /* no new requests */
    int64_t told_since_ms; /* the second that `told` counts in */
    int told;              /* lines about clients; a hostile one must not fill the trace */
};

/* ---- hall.c --------------------------------------------------------------------------------- */

/** A line about a client, unless there were many in this second. */
void hall_tell(struct hall *hall, const char *who, const char *what);

/** accept() that copes with a lack of file descriptors, and tells what went wrong: a socket that
 * does not block, or -1. */
int hall_accept(struct hall *hall, int listening_fd);

/** The party of this key, made if need be; NULL without memory. */
struct party *hall_party(
    struct hall *hall, const struct connection_kind *kind, const uint8_t key[PARTY_KEY_BYTES]);

/** Forgets a party without connections. */
void hall_forget_party(struct hall *hall, struct party *party);

/* ---- connection.c --------------------------------------------------------------------------- */

/** A connection without anything, of the size that its kind has; NULL without memory. Takes `fd`,
 * also on failure. connection_open() or connection_drop() comes next. */
struct connection *connection_new(struct hall *hall, const struct connection_kind *kind, int fd);

/**
 * Starts to serve the client; on failure the connection is gone. 0, or LIMIT_REACHED, NO_MEMORY,
 * SYSTEM.
 */
int connection_open(struct connection *connection);

/** Ends it, with everything that is charged to it. */
void connection_free(struct connection *connection);

/** Handles the requests that have arrived and sends what can be sent. May free the connection. */
void connection_resume(struct connection *connection);

/** Watches for what the connection can do next, or frees it if that is nothing. */
void connection_settle(struct connection *connection);

/** Looks at what time does to it: cut off when it keeps others' goods. May free the connection. */
void connection_sweep(struct connection *connection, int64_t now_ms);

/** api_peer_ops.answer: the api calls it inside its own work, so the connection cannot end here. */
void connection_answer(struct api_peer *peer, struct api_answer *answer);

/** Takes the limits of the settings. */
void connection_configure(struct connection *connection);

/** It ends as soon as control is back with connection_settle(); `why` goes to the trace. */
void connection_break(struct connection *connection, const char *why);

/* ---- output.c ------------------------------------------------------------------------------- */

/** Takes an answer in behind the others. 0, or LIMIT_REACHED, NO_MEMORY: it is still the caller's.
 */
int output_queue(struct connection *connection, struct api_answer *answer);

/** Sends what the stream takes, and no more than fits into a turn. */
void output_send(struct connection *connection);

/** Drops the first answer, sent or not. */
void output_drop(struct connection *connection);

#endif
