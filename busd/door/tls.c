/* SPDX-License-Identifier: Apache-2.0 */
#include "door/tls.h"

#include "base/err.h"
#include "base/trace.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    RECORD_BYTES = 16384, /* the most that one call encrypts */
    SUBJECT_BYTES = 512,
    REASON_BYTES = 160,
};

struct tls {
    SSL_CTX *context; /* owned; streams have their own share of it */
};

struct tls_stream {
    SSL *ssl;
    const struct tls_events *events;
    bool established;
    bool failed;    /* nothing more may be written */
    bool by_kernel; /* kTLS: the kernel encrypts what is sent */
};

/* ---- certificates --------------------------------------------------------------------------- */

/** What OpenSSL says of its last failure, in short. */
static void
last_reason(char text[REASON_BYTES])
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    snprintf(text, REASON_BYTES, "%s", reason ? reason : code ? "it is refused" : strerror(errno));
    ERR_clear_error();
}

static int
refuse_file(const char *setting, const char *path)
{
    char reason[REASON_BYTES];
    last_reason(reason);
    return err_set(BUS_ERR_INVALID_CONFIG, "%s=%s: %s; a readable file in PEM form is wanted",
        setting, path, reason);
}

static int
load_own(SSL_CTX *context, const struct settings *settings)
{
    const char *certificate = settings_text(settings, BROKER_SSL_CERTIFICATE_LOCATION);
    const char *key = settings_text(settings, BROKER_SSL_KEY_LOCATION);
    if (!certificate[0])
        return err_set(BUS_ERR_INVALID_CONFIG,
            "a listener with TLS needs a certificate: set ssl.certificate.location, and "
            "ssl.key.location if the key is in another file");
    if (!key[0])
        key = certificate;
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1)
        return refuse_file("ssl.certificate.location", certificate);
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        return refuse_file("ssl.key.location", key);
    if (SSL_CTX_check_private_key(context) != 1)
        return refuse_file("ssl.key.location", key);
    return 0;
}

static int
load_authorities(SSL_CTX *context, const struct settings *settings)
{
    static const int modes[] = {
        SSL_VERIFY_NONE, SSL_VERIFY_PEER, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT};
    const char *authorities = settings_text(settings, BROKER_SSL_CA_LOCATION);
    int64_t auth = settings_int(settings, BROKER_SSL_CLIENT_AUTH);
    if (auth == TLS_CLIENT_NONE)
        return 0;
    if (!authorities[0])
        return err_set(BUS_ERR_INVALID_CONFIG,
            "ssl.client.auth needs to know whose certificates count: set ssl.ca.location");
    if (SSL_CTX_load_verify_file(context, authorities) != 1)
        return refuse_file("ssl.ca.location", authorities);
    SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(authorities));
    SSL_CTX_set_verify(context, modes[auth], NULL);
    ERR_clear_error();
    return 0;
}

static int
make_context(const struct settings *settings, SSL_CTX **made)
{
    static const unsigned char name[] = "shmbus";
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context)
        return err_no_memory();
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(
        context, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_ENABLE_KTLS);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_id_context(context, name, sizeof name - 1);
    int rc = load_own(context, settings);
    if (rc == 0)
        rc = load_authorities(context, settings);
    if (rc < 0)
        SSL_CTX_free(context);
    else
        *made = context;
    return rc;
}

int
tls_open(const struct settings *settings, struct tls **tls)
{
    *tls = NULL;
    struct tls *t = calloc(1, sizeof *t);
    if (!t)
        return err_no_memory();
    int rc = make_context(settings, &t->context);
    if (rc < 0)
        free(t);
    else
        *tls = t;
    return rc;
}

int
tls_reload(struct tls *tls, const struct settings *settings)
{
    SSL_CTX *fresh;
    int rc = make_context(settings, &fresh);
    if (rc < 0)
        return rc;
    SSL_CTX_free(tls->context);
    tls->context = fresh;
    return 0;
}

void
tls_close(struct tls **tls)
{
    if (!*tls)
        return;
    SSL_CTX_free((*tls)->context);
    free(*tls);
    *tls = NULL;
}

/* ---- the stream ----------------------------------------------------------------------------- */

/** What a call that gave `n` means, as errno. */
static ssize_t
judge(struct stream *stream, int n)
{
    struct tls_stream *t = stream->state;
    int why = errno;
    stream->wants_write = false;
    switch (SSL_get_error(t->ssl, n)) {
    case SSL_ERROR_WANT_WRITE:
        stream->wants_write = true;
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_WANT_READ:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        t->failed = true;
        ERR_clear_error();
        errno = why ? why : ECONNRESET;
        return -1;
    default:
        break;
    }
    char reason[REASON_BYTES], text[REASON_BYTES + 32];
    last_reason(reason);
    snprintf(text, sizeof text, "TLS: %s", reason);
    if (!t->failed)
        t->events->failed(t->events->context, text);
    t->failed = true;
    errno = EPROTO;
    return -1;
}

/** The name in the certificate of the other side, if that was checked. */
static const char *
subject_of(const SSL *ssl, char text[SUBJECT_BYTES])
{
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    BIO *out = certificate ? BIO_new(BIO_s_mem()) : NULL;
    int n = 0;
    if (!out || SSL_get_verify_result(ssl) != X509_V_OK) {
        BIO_free(out);
        return NULL;
    }
    if (X509_NAME_print_ex(out, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0)
        n = BIO_read(out, text, SUBJECT_BYTES - 1);
    BIO_free(out);
    if (n <= 0 || n == SUBJECT_BYTES - 1 || memchr(text, 0, (size_t)n))
        return NULL; /* too long to be told apart from others */
    text[n] = '\0';
    return text;
}

static bool
establish(struct stream *stream)
{
    struct tls_stream *t = stream->state;
    char subject[SUBJECT_BYTES];
    ERR_clear_error();
    int n = SSL_accept(t->ssl);
    if (n != 1) {
        if (judge(stream, n) == 0)
            errno = ECONNRESET;
        return false;
    }
    t->established = true;
    t->by_kernel = BIO_get_ktls_send(SSL_get_wbio(t->ssl));
    t->events->established(t->events->context, subject_of(t->ssl, subject));
    return true;
}

static ssize_t
tls_receive(struct stream *stream, void *to, size_t bytes)
{
    struct tls_stream *t = stream->state;
    if (t->failed) {
        errno = EPROTO;
        return -1;
    }
    if (!t->established && !establish(stream))
        return -1;
    ERR_clear_error();
    int n = SSL_read(t->ssl, to, (int)(bytes > INT32_MAX ? INT32_MAX : bytes));
    return n > 0 ? n : judge(stream, n);
}

static ssize_t
tls_write(struct stream *stream, const void *from, size_t bytes)
{
    struct tls_stream *t = stream->state;
    if (t->failed || !t->established) {
        errno = t->failed ? EPIPE : EAGAIN;
        return -1;
    }
    ERR_clear_error();
    int n = SSL_write(t->ssl, from, (int)(bytes > RECORD_BYTES ? RECORD_BYTES : bytes));
    return n > 0 ? n : judge(stream, n);
}

/** Piece by piece; what has gone counts, and what follows is for the next call. */
static ssize_t
tls_send(struct stream *stream, const struct msghdr *message, bool more)
{
    ssize_t sent = 0;
    (void)more;
    for (size_t i = 0; i < message->msg_iovlen; i++) {
        const struct iovec *part = &message->msg_iov[i];
        for (size_t at = 0; at < part->iov_len;) {
            ssize_t n = tls_write(stream, (const uint8_t *)part->iov_base + at, part->iov_len - at);
            if (n <= 0)
                return sent > 0 ? sent : n;
            at += (size_t)n;
            sent += n;
        }
    }
    return sent;
}

/**
 * The kernel encrypts on its way from the page cache where it can; else the bytes are copied once.
 * A write that has to be repeated reads the same bytes again: below the end of a log they stay.
 */
static ssize_t
tls_send_file(struct stream *stream, int fd, off_t position, size_t bytes)
{
    struct tls_stream *t = stream->state;
    uint8_t space[RECORD_BYTES];
    if (t->by_kernel && !t->failed) {
        ERR_clear_error();
        ossl_ssize_t n = SSL_sendfile(t->ssl, fd, position, bytes, 0);
        return n > 0 ? n : judge(stream, (int)n);
    }
    ssize_t n = pread(fd, space, bytes > sizeof space ? sizeof space : bytes, position);
    return n <= 0 ? n : tls_write(stream, space, (size_t)n);
}

static bool
tls_pending(const struct stream *stream)
{
    const struct tls_stream *t = stream->state;
    return !t->failed && SSL_has_pending(t->ssl) == 1;
}

static const struct stream_ops ops = {tls_receive, tls_send, tls_send_file, tls_pending};

int
tls_begin(struct tls *tls, const struct tls_events *events, struct stream *stream)
{
    struct tls_stream *t = calloc(1, sizeof *t);
    if (!t)
        return err_no_memory();
    t->events = events;
    t->ssl = SSL_new(tls->context);
    if (!t->ssl || SSL_set_fd(t->ssl, stream->fd) != 1) {
        SSL_free(t->ssl);
        free(t);
        ERR_clear_error();
        return err_no_memory();
    }
    stream->state = t;
    stream->ops = &ops;
    return 0;
}

void
tls_finish(struct stream *stream)
{
    struct tls_stream *t = stream->state;
    if (!t)
        return;
    if (t->established && !t->failed)
        SSL_shutdown(t->ssl);
    ERR_clear_error();
    SSL_free(t->ssl);
    free(t);
    stream->state = NULL;
}
