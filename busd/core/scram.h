/* SPDX-License-Identifier: Apache-2.0
 * The server's side of SCRAM (RFC 5802, RFC 7677), without channel binding: three messages.
 *
 *     scram_first()      the client names itself
 *     scram_challenge()  salt and iterations for it
 *     scram_final()      the client's proof against ours
 *
 * Thread: the loop. Nothing here blocks.
 */
#ifndef CORE_SCRAM_H
#define CORE_SCRAM_H

#include "base/buf.h"
#include "core/users.h"

enum {
    SCRAM_MESSAGE_BYTES_MAX = 4096, /* of the client's messages */
    SCRAM_SECRET_BYTES = 32,
};

/** One exchange. Zeroed with `mechanism` set at its start, ended by scram_fini(). */
struct scram {
    enum scram_mechanism mechanism;
    char user[USER_NAME_BYTES_MAX + 1]; /* who the client says it is */
    struct buf binding;        /* the header of the first message, which the last repeats */
    struct buf nonce;          /* the client's part, then both */
    size_t client_nonce_bytes; /* of them the client's */
    struct buf auth;           /* what both sides sign */
    struct scram_credential credential;
    bool known; /* the credential is somebody's */
};

/** Releases and wipes. */
void scram_fini(struct scram *scram);

/** Takes the client's first message. 0, SASL_AUTHENTICATION_FAILED or NO_MEMORY. */
int scram_first(struct scram *scram, const uint8_t *message, size_t n);

/** What a server adds to an exchange. Borrowed. */
struct scram_server {
    const char *nonce;     /* fresh letters and digits */
    const uint8_t *secret; /* SCRAM_SECRET_BYTES, always the same: makes up salts for nobody */
};

/**
 * Appends our first message. `credential` NULL: there is no such user, which the client is not
 * told; it gets a salt as always and will fail with its proof. 0 or a failure.
 */
int scram_challenge(struct scram *scram, const struct scram_credential *credential,
    const struct scram_server *server, struct buf *out);

/** The credential that nobody has the password to, and that an unknown user seems to have. 0 or a
 * failure of libcrypto. */
int scram_made_up(enum scram_mechanism mechanism, const char *user, const uint8_t *secret,
    struct scram_credential *credential);

/** Takes the client's last message and appends ours. 0: it knows the password.
 * SASL_AUTHENTICATION_FAILED: it does not, or there is no such user. */
int scram_final(struct scram *scram, const uint8_t *message, size_t n, struct buf *out);

#endif
