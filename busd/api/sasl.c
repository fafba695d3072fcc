/* SPDX-License-Identifier: Apache-2.0
 * SaslHandshake and SaslAuthenticate. The exchange itself is core/sasl.h's; here are its frames,
 * the delay of bad news, the end of the connection, and how long an authentication lasts.
 */
#include "api/sasl.h"
#include "api/table.h"
#include "base/err.h"
#include "base/trace.h"
#include "core/base64.h"
#include "core/sasl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NONCE_BYTES = 18,      /* 24 letters */
    NONCE_TEXT_BYTES = 25, /* with a NUL */
    RENEW_MS_MIN = 1000,   /* between two authentications of one connection */
};

struct api_sasl {
    struct sasl machine;
    int64_t since_ms;   /* when it was authenticated last */
    int64_t expires_ms; /* -1: never */
};

/* ---- what there is -------------------------------------------------------------------------- */

/** The mechanisms that the peer's listener offers; 0: it has no SASL. */
static unsigned
offered(const struct api_request *r)
{
    static const unsigned all[] = {SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_512, SASL_PLAIN};
    const struct api_listener *listener = r->peer->listener;
    const struct settings *settings = &request_cluster(r)->settings;
    unsigned mechanisms = 0;
    if (!listener || !listener->sasl)
        return 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (settings_list_has(settings, BROKER_SASL_ENABLED_MECHANISMS, sasl_name(all[i])))
            mechanisms |= all[i];
    return listener->tls ? mechanisms : mechanisms & ~(unsigned)SASL_PLAIN;
}

static struct api_sasl *
sasl_of(struct api_peer *peer)
{
    if (!peer->sasl) {
        peer->sasl = calloc(1, sizeof *peer->sasl);
        if (peer->sasl)
            peer->sasl->expires_ms = -1;
        else
            err_no_memory();
    }
    return peer->sasl;
}

void
sasl_end(struct api_peer *peer)
{
    if (!peer->sasl)
        return;
    sasl_fini(&peer->sasl->machine);
    free(peer->sasl);
    peer->sasl = NULL;
}

bool
sasl_takes_raw(const struct api_peer *peer)
{
    const struct api_sasl *sasl = peer->sasl;
    return sasl && sasl->machine.raw && sasl->machine.state != SASL_IDLE;
}

bool
sasl_is_over(const struct api_request *r)
{
    const struct api_sasl *sasl = r->peer->sasl;
    return sasl && sasl->expires_ms >= 0 && request_now_ms(r) >= sasl->expires_ms;
}

/**
 * What makes up salts for nobody. It comes from the instance's id, which never leaves this node, so
 * that a name has the same salt after a restart too, as those of users have.
 */
static int
make_secret(struct api *api)
{
    static const char purpose[] = "salts of unknown users";
    const struct meta_identity *identity = meta_identity(api->wiring.controller->meta);
    uint8_t secret[CRYPTO_BYTES_MAX];
    if (api->has_sasl_secret)
        return 0;
    int rc = crypto_hmac(CRYPTO_SHA256, identity->instance_id, sizeof identity->instance_id,
        purpose, sizeof purpose - 1, secret);
    memcpy(api->sasl_secret, secret, sizeof api->sasl_secret);
    api->has_sasl_secret = rc == 0;
    return rc;
}

static int
make_nonce(char nonce[NONCE_TEXT_BYTES])
{
    uint8_t bytes[NONCE_BYTES];
    struct buf text;
    buf_init(&text);
    int rc = crypto_random(bytes, sizeof bytes);
    base64_put(&text, bytes, sizeof bytes);
    if (rc == 0 && buf_failed(&text))
        rc = err_no_memory();
    if (rc == 0)
        memcpy(nonce, text.data, NONCE_TEXT_BYTES - 1);
    nonce[NONCE_TEXT_BYTES - 1] = '\0';
    buf_fini(&text);
    return rc;
}

/* ---- refusals ------------------------------------------------------------------------------- */

/** Tells why in the trace; the answer, if any, goes out and the connection ends. */
static int
fail_now(struct api_request *r)
{
    const char *why = r->state;
    if (request_now_ms(r) < r->deadline_ms)
        return HANDLED_PARKED;
    err_set(BUS_ERR_SASL_AUTHENTICATION_FAILED, "%s", why ? why : "authentication failed");
    return r->raw ? HANDLED_CLOSE : HANDLED_LAST;
}

/** Bad news come late, so that guessing takes time. */
static int
fail_later(struct api_request *r)
{
    const struct settings *settings = &request_cluster(r)->settings;
    r->state = (void *)request_error_text(r);
    r->deadline_ms = request_now_ms(r) +
                     settings_int(settings, BROKER_CONNECTION_FAILED_AUTHENTICATION_DELAY_MS);
    r->wake = fail_now;
    return fail_now(r);
}

/* ---- a step --------------------------------------------------------------------------------- */

static void
admit(struct api_request *r)
{
    struct api_peer *peer = r->peer;
    struct api_sasl *sasl = peer->sasl;
    int64_t lasts_ms =
        settings_int(&request_cluster(r)->settings, BROKER_CONNECTIONS_MAX_REAUTH_MS);
    int64_t now_ms = request_now_ms(r);
    sasl->since_ms = now_ms;
    sasl->expires_ms = lasts_ms > 0 && lasts_ms < INT64_MAX - now_ms ? now_ms + lasts_ms : -1;
    snprintf(peer->principal, sizeof peer->principal, "User:%s", sasl->machine.user);
    peer->authenticated = true;
    trace(TRACE_DEBUG, "%s is %s", peer->name, peer->principal);
}

static int
step(struct api_request *r, const uint8_t *token, size_t n, struct buf *out)
{
    struct api *api = r->api;
    char nonce[NONCE_TEXT_BYTES];
    struct sasl_world world = {
        .users = &request_cluster(r)->users, .secret = api->sasl_secret, .nonce = nonce};
    int rc = sasl_of(r->peer) ? 0 : -BUS_ERR_NO_MEMORY;
    if (rc == 0)
        rc = make_secret(api);
    if (rc == 0)
        rc = make_nonce(nonce);
    if (rc < 0)
        return rc;
    rc = sasl_step(&r->peer->sasl->machine, &world, token, n, out);
    if (rc == SASL_DONE)
        admit(r);
    return rc;
}

int
sasl_raw(struct api_request *r, const uint8_t *token, size_t n)
{
    r->info = api_find(API_SASL_AUTHENTICATE);
    r->raw = true;
    size_t start = frame_begin(&r->answer.frame);
    int rc = step(r, token, n, &r->answer.frame);
    if (rc >= 0)
        rc = frame_end(&r->answer.frame, start, 0);
    if (rc >= 0)
        return HANDLED_DONE;
    buf_clear(&r->answer.frame);
    return fail_later(r);
}

/** Our token as bytes of the answer, which are the arena's. */
static int
take_token(struct api_request *r, const struct buf *token)
{
    struct sasl_authenticate_response *out = r->response;
    uint8_t *copy = arena_alloc(&r->arena, token->length);
    if (!copy)
        return -BUS_ERR_NO_MEMORY;
    if (token->length > 0)
        memcpy(copy, token->data, token->length);
    out->auth_bytes = (struct bytes){copy, (int32_t)token->length};
    return 0;
}

int
handle_sasl_authenticate(struct api_request *r)
{
    const struct sasl_authenticate_request *request = r->message;
    struct sasl_authenticate_response *out = r->response;
    struct buf token;
    buf_init(&token);
    out->auth_bytes = (struct bytes){(const uint8_t *)"", 0};
    int rc = step(r, request->auth_bytes.data, (size_t)request->auth_bytes.len, &token);
    if (rc >= 0) {
        int64_t lasts_ms =
            settings_int(&request_cluster(r)->settings, BROKER_CONNECTIONS_MAX_REAUTH_MS);
        out->session_lifetime_ms = rc == SASL_DONE ? lasts_ms : 0;
        rc = buf_failed(&token) ? err_no_memory() : take_token(r, &token);
    }
    buf_fini(&token);
    if (rc == 0)
        return HANDLED_DONE;
    /* What is wrong on our side is for the trace. */
    bool theirs = rc == -BUS_ERR_SASL_AUTHENTICATION_FAILED || rc == -BUS_ERR_ILLEGAL_SASL_STATE;
    out->error_code = theirs ? (int16_t)-rc : (int16_t)BUS_ERR_SASL_AUTHENTICATION_FAILED;
    out->error_message = theirs ? request_error_text(r) : "busd cannot authenticate at the moment";
    return fail_later(r);
}

/* ---- the handshake -------------------------------------------------------------------------- */

static int
list_mechanisms(struct api_request *r, unsigned mechanisms)
{
    struct sasl_handshake_response *out = r->response;
    out->mechanisms = arena_array(&r->arena, SASL_ALL, sizeof *out->mechanisms);
    if (!out->mechanisms)
        return -BUS_ERR_NO_MEMORY;
    for (unsigned bit = 1; bit < SASL_ALL; bit <<= 1)
        if (mechanisms & bit)
            out->mechanisms[out->mechanisms_count++] = sasl_name(bit);
    return 0;
}

static int
choose(struct api_request *r, unsigned mechanisms)
{
    const struct sasl_handshake_request *request = r->message;
    struct api_sasl *sasl = sasl_of(r->peer);
    if (!sasl)
        return -BUS_ERR_NO_MEMORY;
    if (sasl->machine.authenticated && request_now_ms(r) - sasl->since_ms < RENEW_MS_MIN)
        return err_set(BUS_ERR_ILLEGAL_SASL_STATE,
            "an authentication that is less than a second old is not renewed");
    return sasl_choose(&sasl->machine, mechanisms, request->mechanism, r->header.api_version == 0);
}

int
handle_sasl_handshake(struct api_request *r)
{
    struct sasl_handshake_response *out = r->response;
    unsigned mechanisms = offered(r);
    int rc = list_mechanisms(r, mechanisms);
    if (rc < 0)
        return rc;
    /* Without SASL the connection is none the worse for the question. */
    if (!r->peer->listener || !r->peer->listener->sasl) {
        out->error_code = BUS_ERR_ILLEGAL_SASL_STATE;
        return HANDLED_DONE;
    }
    rc = choose(r, mechanisms);
    if (rc == 0)
        return HANDLED_DONE;
    if (rc == -BUS_ERR_NO_MEMORY)
        return rc;
    out->error_code = (int16_t)-rc;
    return fail_later(r);
}
