/* SPDX-License-Identifier: Apache-2.0
 * TLS for streams, by OpenSSL: the only file of the doors that knows it. Inside door/ only.
 *
 * Thread: the loop.
 */
#ifndef DOOR_TLS_H
#define DOOR_TLS_H

#include "core/settings.h"
#include "door/stream.h"

struct tls;

/** What the other side has to show. */
enum tls_client_auth {
    TLS_CLIENT_NONE = 0,
    TLS_CLIENT_REQUESTED = 1, /* a certificate is checked if there is one */
    TLS_CLIENT_REQUIRED = 2,
};

/** Reads certificate, key and authorities as the settings ssl.* say. 0, or INVALID_CONFIG with file
 * and reason. Blocks: for files. */
int tls_open(const struct settings *settings, struct tls **tls);

/** Reads them anew, for connections to come; on failure the old ones stay. As tls_open(). */
int tls_reload(struct tls *tls, const struct settings *settings);

/** Releases; streams that were begun go on. NULL inside is fine. */
void tls_close(struct tls **tls);

/** Whom a stream tells of itself, before the first byte of the other side is handed out. */
struct tls_events {
    /** The handshake is over; `subject` is the name in a certificate that was checked
     * ("CN=anna,O=x", RFC 2253), or NULL. */
    void (*established)(void *context, const char *subject);
    /** It failed, or what came later was no TLS; the stream ends. */
    void (*failed)(void *context, const char *why);
    void *context;
};

/** Makes the server's side of a stream whose socket is connected. Borrows the events. 0 or a
 * failure; ends with tls_finish(). */
int tls_begin(struct tls *tls, const struct tls_events *events, struct stream *stream);

/** Says farewell and releases what the stream has; for a stream without TLS nothing. */
void tls_finish(struct stream *stream);

#endif
