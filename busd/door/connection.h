/* SPDX-License-Identifier: Apache-2.0
 * One client at the Unix door. Inside door/ only.
 */
#ifndef DOOR_CONNECTION_H
#define DOOR_CONNECTION_H

#include "api/api.h"
#include "core/quota.h"
#include "door/unix.h"
#include "protocol/frame.h"

enum {
    OUTPUT_BYTES_HIGH = 1 << 20, /* with more waiting to be sent, no request is handled */
    STALL_MS_MAX = 60000,        /* a client that takes nothing for so long is cut off */
    SWEEP_MS = 5000,
    HELD_MS = 2,     /* between two looks whether a client has taken its file descriptors */
    TURN_MS = 10,    /* how long one connection is served while others wait */
    USER_SHARE = 4,  /* a user may have so many times client.max.fds under way */
    DOOR_SHARE = 16, /* all users together */
    TOLD_MAX = 10,   /* lines a second about clients */
};

/** A user with connections; counts what all of them have. */
struct user {
    uid_t uid;
    struct quota quota; /* its parent: of the door */
    struct user *next;
};

/** An answer on its way. */
struct output {
    struct api_answer answer; /* owned */
    size_t sent;              /* bytes of the frame */
    int64_t charged;          /* bytes */
    struct output *next;
};

struct connection {
    struct api_peer peer; /* first: the api gives it back */
    struct unix_door *door;
    struct user *user;
    struct connection *previous, *next;
    struct connection *resume_next; /* in door.resume */
    struct loop_fd *watch;
    struct loop_fd *kick_watch;
    struct output *first, **last; /* answers to be sent, in order */
    struct frame_reader reader;
    struct quota quota;
    int64_t reader_charged;   /* bytes */
    int64_t output_bytes;     /* waiting to be sent */
    int64_t stalled_since_ms; /* when the last byte went out, or the queue began; -1 no queue */
    int64_t sent_fds;         /* charged: they are in the socket, as far as is known */
    int64_t held_since_ms;    /* no request is handled: it takes no file descriptors; -1 not so */
    unsigned wanted;          /* what the loop watches for; enum loop_ready */
    int fd;
    int kick_fd;   /* -1: not made yet */
    bool parked;   /* an answer is due: no other request is handled */
    bool busy;     /* inside handle_frames(): answers are sent at its end */
    bool closing;  /* ends when the answers are sent */
    bool broken;   /* ends as soon as control is back here */
    bool resuming; /* in door.resume */
    char name[48];
};

struct unix_door {
    struct unix_door_options options;
    struct quota quota; /* of all connections */
    struct connection *connections;
    struct connection *resume; /* those with requests to go on with */
    struct user *users;
    struct loop_fd *watch;
    struct loop_post *post; /* has resume looked at */
    struct loop_timer *sweep;
    struct loop_timer *hold; /* has those that are held looked at */
    int connection_count;
    int fd;
    int spare_fd;          /* closed for a moment to turn a client away when fds run out */
    bool quiet;            /* no new requests */
    int64_t told_since_ms; /* the second that `told` counts in */
    int told;              /* lines about clients; a hostile one must not fill the trace */
};

/** A line about a client, unless there were many in this second. */
void door_tell(struct unix_door *door, const char *who, const char *what);

/** Takes the limits of a user from the settings. */
void door_limit_user(const struct unix_door *door, struct user *user);

/**
 * Starts to serve a client. Takes `fd`, also on failure. 0, or LIMIT_REACHED, NO_MEMORY, SYSTEM.
 */
int connection_open(struct unix_door *door, int fd);

/** Ends it, with everything that is charged to it. */
void connection_free(struct connection *connection);

/** The most file descriptors that one connection may have under way. */
int64_t connection_fds_max(const struct settings *settings);

/** Handles the requests that have arrived and sends what can be sent. May free the connection. */
void connection_resume(struct connection *connection);

/** Watches for what the connection can do next, or frees it if that is nothing. */
void connection_settle(struct connection *connection);

/** Takes the limits of the settings. */
void connection_configure(struct connection *connection);

#endif
