/* SPDX-License-Identifier: Apache-2.0 */
#include "core/scram.h"

#include "base/err.h"
#include "core/base64.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NONCE_BYTES_MAX = 512 };

void
scram_fini(struct scram *scram)
{
    buf_fini(&scram->binding);
    buf_fini(&scram->nonce);
    buf_fini(&scram->auth);
    crypto_wipe(scram, sizeof *scram);
    buf_init(&scram->binding);
    buf_init(&scram->nonce);
    buf_init(&scram->auth);
}

static int
malformed(void)
{
    return err_set(BUS_ERR_SASL_AUTHENTICATION_FAILED, "a malformed SCRAM message");
}

/* ---- reading -------------------------------------------------------------------------------- */

/** Where a reader is in a message. */
struct reading {
    const char *at, *end;
};

/** Takes an attribute, "n=" and what goes up to the next comma; skips the comma. */
static bool
take(struct reading *in, char letter, const char **value, size_t *n)
{
    if (in->end - in->at < 2 || in->at[0] != letter || in->at[1] != '=')
        return false;
    *value = in->at + 2;
    const char *comma = memchr(*value, ',', (size_t)(in->end - *value));
    const char *end = comma ? comma : in->end;
    *n = (size_t)(end - *value);
    in->at = comma ? comma + 1 : in->end;
    return true;
}

/** A name with "=2C" for a comma and "=3D" for an equals sign. */
static bool
take_name(const char *value, size_t n, char name[USER_NAME_BYTES_MAX + 1])
{
    size_t length = 0;
    for (size_t i = 0; i < n; i++) {
        char c = value[i];
        if (c == '=') {
            if (n - i < 3)
                return false;
            if (memcmp(value + i, "=2C", 3) == 0)
                c = ',';
            else if (memcmp(value + i, "=3D", 3) != 0)
                return false;
            i += 2;
        }
        if (c == '\0' || length == USER_NAME_BYTES_MAX)
            return false;
        name[length++] = c;
    }
    name[length] = '\0';
    return length > 0;
}

static bool
is_nonce(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] < 0x21 || text[i] > 0x7e)
            return false;
    return n > 0 && n <= NONCE_BYTES_MAX;
}

/** "n,," or "y,a=name,": no channel binding, and perhaps whom to act for, which is only oneself. */
static bool
take_binding(struct reading *in, char acts_for[USER_NAME_BYTES_MAX + 1])
{
    const char *value;
    size_t n;
    acts_for[0] = '\0';
    if (in->end - in->at < 3 || (in->at[0] != 'n' && in->at[0] != 'y') || in->at[1] != ',')
        return false;
    in->at += 2;
    if (take(in, 'a', &value, &n))
        return take_name(value, n, acts_for);
    if (in->at[0] != ',')
        return false;
    in->at++;
    return true;
}

int
scram_first(struct scram *scram, const uint8_t *message, size_t n)
{
    struct reading in = {(const char *)message, (const char *)message + n};
    char acts_for[USER_NAME_BYTES_MAX + 1];
    const char *name, *nonce;
    size_t name_bytes, nonce_bytes;
    if (n > SCRAM_MESSAGE_BYTES_MAX || !take_binding(&in, acts_for))
        return malformed();
    const char *bare = in.at;
    if (!take(&in, 'n', &name, &name_bytes) || !take_name(name, name_bytes, scram->user) ||
        !take(&in, 'r', &nonce, &nonce_bytes) || !is_nonce(nonce, nonce_bytes))
        return malformed();
    if (acts_for[0] && strcmp(acts_for, scram->user) != 0)
        return err_set(BUS_ERR_SASL_AUTHENTICATION_FAILED,
            "User:%.80s may not act for somebody else", scram->user);
    buf_put(&scram->binding, message, (size_t)(bare - (const char *)message));
    buf_put(&scram->nonce, nonce, nonce_bytes);
    scram->client_nonce_bytes = nonce_bytes;
    buf_put(&scram->auth, bare, (size_t)(in.end - bare));
    bool failed =
        buf_failed(&scram->binding) || buf_failed(&scram->nonce) || buf_failed(&scram->auth);
    return failed ? err_no_memory() : 0;
}

/* ---- the challenge -------------------------------------------------------------------------- */

int
scram_made_up(enum scram_mechanism mechanism, const char *user, const uint8_t *secret,
    struct scram_credential *credential)
{
    uint8_t bytes[CRYPTO_BYTES_MAX];
    *credential = (struct scram_credential){
        .mechanism = mechanism, .iterations = SCRAM_ITERATIONS, .salt_bytes = SCRAM_SALT_BYTES};
    /* Its own salt for each mechanism, as those of users have. */
    enum crypto_hash hash = scram_hash(mechanism);
    int rc = crypto_hmac(hash, secret, SCRAM_SECRET_BYTES, user, strlen(user), bytes);
    memcpy(credential->salt, bytes, SCRAM_SALT_BYTES);
    if (rc == 0)
        rc = crypto_random(credential->stored_key, sizeof credential->stored_key);
    if (rc == 0)
        rc = crypto_random(credential->server_key, sizeof credential->server_key);
    return rc;
}

/** "r=…,s=…,i=…" */
static int
put_challenge(const struct scram *scram, struct buf *out)
{
    char count[16];
    int n = snprintf(count, sizeof count, "%" PRId32, scram->credential.iterations);
    buf_put(out, "r=", 2);
    buf_put(out, scram->nonce.data, scram->nonce.length);
    buf_put(out, ",s=", 3);
    base64_put(out, scram->credential.salt, scram->credential.salt_bytes);
    buf_put(out, ",i=", 3);
    buf_put(out, count, (size_t)n);
    return buf_failed(out) ? err_no_memory() : 0;
}

int
scram_challenge(struct scram *scram, const struct scram_credential *credential,
    const struct scram_server *server, struct buf *out)
{
    int rc = 0;
    scram->known = credential != NULL;
    if (credential)
        scram->credential = *credential;
    else
        rc = scram_made_up(scram->mechanism, scram->user, server->secret, &scram->credential);
    if (rc < 0)
        return rc;
    buf_put(&scram->nonce, server->nonce, strlen(server->nonce));
    size_t start = out->length;
    rc = put_challenge(scram, out);
    if (rc < 0)
        return rc;
    buf_put(&scram->auth, ",", 1);
    buf_put(&scram->auth, out->data + start, out->length - start);
    return buf_failed(&scram->auth) || buf_failed(&scram->nonce) ? err_no_memory() : 0;
}

/* ---- the proof ------------------------------------------------------------------------------ */

/**
 * Whether the nonce is that of this exchange. librdkafka before 2.6.1 puts its own part in front
 * once more; Kafka's brokers took that for long, and what was fresh is in it all the same.
 */
static bool
is_our_nonce(const struct scram *scram, const char *nonce, size_t n)
{
    const uint8_t *ours = scram->nonce.data;
    size_t once_more = scram->client_nonce_bytes;
    if (n == scram->nonce.length + once_more && memcmp(nonce, ours, once_more) == 0) {
        nonce += once_more;
        n -= once_more;
    }
    return n == scram->nonce.length && memcmp(nonce, ours, n) == 0;
}

/** Whether the client repeats what it and we have said before. */
static bool
repeats(const struct scram *scram, struct reading *in)
{
    const char *value;
    size_t n;
    struct buf binding;
    if (!take(in, 'c', &value, &n))
        return false;
    buf_init(&binding);
    bool same = base64_take(&binding, value, n) == 0 && binding.length == scram->binding.length &&
                memcmp(binding.data, scram->binding.data, binding.length) == 0;
    buf_fini(&binding);
    return same && take(in, 'r', &value, &n) && is_our_nonce(scram, value, n);
}

/** The proof is the last attribute: takes it, and gives what stands before its comma. */
static bool
take_proof(const uint8_t *message, size_t n, struct buf *proof, size_t *before)
{
    const char *text = (const char *)message;
    size_t at = n;
    while (at > 0 && text[at - 1] != ',')
        at--;
    if (at == 0 || n - at < 2 || text[at] != 'p' || text[at + 1] != '=')
        return false;
    *before = at - 1;
    return base64_take(proof, text + at + 2, n - at - 2) == 0;
}

/** Whether the proof is one of who knows the key. */
static int
check_proof(const struct scram *scram, const struct buf *proof)
{
    enum crypto_hash hash = scram_hash(scram->mechanism);
    size_t n = crypto_bytes(hash);
    uint8_t key[CRYPTO_BYTES_MAX], stored[CRYPTO_BYTES_MAX];
    int rc = crypto_hmac(
        hash, scram->credential.stored_key, n, scram->auth.data, scram->auth.length, key);
    for (size_t i = 0; rc == 0 && i < n; i++)
        key[i] ^= proof->data[i];
    if (rc == 0)
        rc = crypto_digest(hash, key, n, stored);
    crypto_wipe(key, sizeof key);
    if (rc < 0)
        return rc;
    bool right = crypto_equal(stored, scram->credential.stored_key, n);
    if (right && scram->known)
        return 0;
    return err_set(BUS_ERR_SASL_AUTHENTICATION_FAILED,
        "Authentication failed during authentication due to invalid credentials with SASL "
        "mechanism %s",
        scram_name(scram->mechanism));
}

static int
put_signature(const struct scram *scram, struct buf *out)
{
    enum crypto_hash hash = scram_hash(scram->mechanism);
    size_t n = crypto_bytes(hash);
    uint8_t signature[CRYPTO_BYTES_MAX];
    int rc = crypto_hmac(
        hash, scram->credential.server_key, n, scram->auth.data, scram->auth.length, signature);
    if (rc < 0)
        return rc;
    buf_put(out, "v=", 2);
    base64_put(out, signature, n);
    return buf_failed(out) ? err_no_memory() : 0;
}

int
scram_final(struct scram *scram, const uint8_t *message, size_t n, struct buf *out)
{
    struct buf proof;
    size_t before = 0;
    buf_init(&proof);
    int rc = 0;
    if (n > SCRAM_MESSAGE_BYTES_MAX || !take_proof(message, n, &proof, &before) ||
        proof.length != crypto_bytes(scram_hash(scram->mechanism)))
        rc = malformed();
    if (rc == 0) {
        struct reading in = {(const char *)message, (const char *)message + before};
        rc = repeats(scram, &in) ? 0 : malformed();
    }
    if (rc == 0) {
        buf_put(&scram->auth, ",", 1);
        buf_put(&scram->auth, message, before);
        rc = buf_failed(&scram->auth) ? err_no_memory() : check_proof(scram, &proof);
    }
    if (rc == 0)
        rc = put_signature(scram, out);
    crypto_wipe(proof.data, proof.length);
    buf_fini(&proof);
    return rc;
}
