/* SPDX-License-Identifier: Apache-2.0
 * Who is at the other end of a connection: the exchange of SaslHandshake and SaslAuthenticate as a
 * state machine. It knows users and rules; frames, delays and the end of a connection are the
 * api's.
 *
 * Thread: the loop. Nothing here blocks, but the check of a PLAIN password takes milliseconds.
 */
#ifndef CORE_SASL_H
#define CORE_SASL_H

#include "core/scram.h"

/** Mechanisms; bits of what a listener offers. */
enum {
    SASL_SCRAM_SHA_256 = 1,
    SASL_SCRAM_SHA_512 = 2,
    SASL_PLAIN = 4, /* on encrypted connections only */
    SASL_ALL = 7,
};

enum { SASL_TOKEN_BYTES_MAX = SCRAM_MESSAGE_BYTES_MAX };

enum sasl_state {
    SASL_IDLE = 0,   /* a handshake comes next */
    SASL_CHOSEN,     /* a token comes next: the first one */
    SASL_CHALLENGED, /* a token comes next: the answer to ours */
    SASL_ENDED,      /* it failed: the connection ends */
};

/** The exchange on one connection. Zeroed at its start, ended by sasl_fini(). */
struct sasl {
    enum sasl_state state;
    bool authenticated; /* once: a second exchange renews it */
    unsigned chosen;    /* the mechanism of the exchange that is under way */
    unsigned used;      /* that of the one that succeeded */
    bool raw;           /* tokens come as frames without a header (SaslHandshake 0) */
    struct scram scram;
    char user[USER_NAME_BYTES_MAX + 1]; /* who it is, once authenticated */
};

/** What the machine looks at. Borrowed. */
struct sasl_world {
    const struct user_set *users;
    const uint8_t *secret; /* as in scram_server */
    const char *nonce;     /* as there, for this call */
};

/** Releases and wipes. */
void sasl_fini(struct sasl *sasl);

/** "SCRAM-SHA-256"; NULL for what is not one bit of SASL_*. Static. */
const char *sasl_name(unsigned mechanism);

/** The bit of a name; 0 for none. */
unsigned sasl_of_name(const char *name);

/**
 * A handshake: the client wants this mechanism. 0, UNSUPPORTED_SASL_MECHANISM (it may ask for
 * another one), or ILLEGAL_SASL_STATE in the middle of an exchange.
 */
int sasl_choose(struct sasl *sasl, unsigned offered, const char *mechanism, bool raw);

/** Outcomes of sasl_step(). */
enum sasl_outcome {
    SASL_DONE = 0, /* `user` is who it says */
    SASL_MORE = 1, /* the client has to answer */
};

/**
 * A token of the client; appends ours. sasl_outcome, or SASL_AUTHENTICATION_FAILED with a text that
 * the client may see, ILLEGAL_SASL_STATE when no token is due, NO_MEMORY or a failure of libcrypto:
 * then the exchange is over.
 */
int sasl_step(struct sasl *sasl, const struct sasl_world *world, const uint8_t *token, size_t n,
    struct buf *out);

#endif
