/* SPDX-License-Identifier: Apache-2.0
 * One request on its way through the api, and the api itself as its handlers see it.
 */
#ifndef API_REQUEST_H
#define API_REQUEST_H

#include "api/api.h"
#include "api/logs.h"
#include "cluster/controller.h"
#include "protocol/arena.h"
#include "protocol/frame.h"
#include "protocol/wire.h"

enum {
    REQUEST_ARENA_BYTES_MAX = 256 << 20, /* decoded request and response without records */
};

struct coordinator;
struct offsets;
struct producings;

struct api {
    struct api_wiring wiring;
    struct controller_listener listener;
    struct logs logs;
    struct producings *producings;        /* owned; what is known of idempotent producers */
    int64_t producer_id, producer_id_end; /* the block that new producers get their ids from */
    struct offsets *offsets;         /* owned; committed offsets and groups as they are stored */
    struct coordinator *coordinator; /* owned; the groups */
    struct watcher *watcher;         /* NULL without a loop */
    struct loop_post *news;          /* has api_tick() called; NULL without a loop */
    struct api_request *parked;      /* list of all */
    struct api_request *cursor;      /* the next one that api_tick() looks at */
    int64_t armed_ms;                /* what arm() was told last; -1 nothing */
    int64_t started_ms;
    uint8_t sasl_secret[32]; /* see core/scram.h; made with the first exchange */
    bool has_sasl_secret;
    struct api_peer *attached; /* list of those with partitions attached */
    uint64_t reviews;          /* how many there were */
    int64_t review_ms;         /* when to look again whether they may still; -1: no need */
    int64_t told_storage_ms;   /* when a failure of the storage was traced last */
    int64_t told_bad_data_ms;  /* when bytes that were refused were */
    int64_t bad_data_untold;   /* refusals since then that were not */
    bool ticking;              /* inside api_tick() */
};

/** What a handler did. */
enum handled {
    HANDLED_DONE = 0,   /* the response is complete */
    HANDLED_PARKED = 1, /* `wake` will be called until it says otherwise */
    HANDLED_SILENT = 2, /* nothing is to be sent */
    HANDLED_LAST = 4,   /* the response is complete, and the connection ends behind it */
    HANDLED_CLOSE = 3,  /* nothing is to be sent and the connection ends; err_text() tells why */
};

/** Lives from the dispatch until it is answered or its peer is gone. */
struct api_request {
    struct api *api;
    struct api_peer *peer;
    const struct api_info *info;
    struct request_header header;
    struct arena arena; /* owns `message`, `response` and what hangs on them */
    void *message;      /* the decoded request; struct bytes in it end with the dispatch */
    void *response;     /* after wire_init(); the handler fills it. In RECORDS fields bytes.data
                           is a struct log_slice with that many bytes, which the answer takes */
    struct api_answer answer; /* fds that the handler adds go with the response */

    /* Parking. */
    int (*wake)(struct api_request *r); /* looks again; returns as a handler does */
    void (*end)(struct api_request *r); /* releases what `state` holds; may be NULL */
    void *state;                        /* the handler's */
    int64_t deadline_ms;                /* when to wake at the latest; -1 never */
    bool parked;
    bool raw;        /* a SASL token without a header; the frame of the answer is complete */
    int64_t charged; /* bytes of QUOTA_BYTES while it is parked */
    struct api_request *previous, *next;
};

/** Answers the request of a key. Returns enum handled, or a failure that ends the connection. */
typedef int request_handler(struct api_request *r);

/** The monotonic clock, ms. */
int64_t request_now_ms(const struct api_request *r);

/**
 * Whether a handler that began at `since_ms` has kept the loop for long: then it parks the request,
 * `wake` being set, and is called again when others had their turn.
 */
bool request_yields(struct api_request *r, int64_t since_ms);

/** The wall clock, ms. */
int64_t request_wall_ms(const struct api_request *r);

/** The state of the cluster. Borrowed. */
const struct cluster *request_cluster(const struct api_request *r);

/** Adds an fd to the answer, which takes it. False, with the fd closed, when there is no room. */
bool request_add_fd(struct api_request *r, int fd);

/** An arena copy of this thread's error text, for ErrorMessage fields; NULL without memory. */
const char *request_error_text(struct api_request *r);

/* For dispatch.c. */

/** A request without content, NULL without memory. */
struct api_request *request_new(struct api *api, struct api_peer *peer);

/** Does what a handler's result asks for; the request is parked or gone then. Returns as
 * api_dispatch(). */
int request_settle(struct api_request *r, int rc);

/** Has the handler of a parked request look again. */
void request_wake(struct api_request *r);

/** Ends a parked request without an answer. */
void request_cancel(struct api_request *r);

#endif
