/* SPDX-License-Identifier: Apache-2.0 */
#include "core/sasl.h"

#include "base/err.h"

#include <string.h>

static const struct {
    unsigned mechanism;
    const char *name;
} mechanisms[] = {
    {SASL_SCRAM_SHA_256, "SCRAM-SHA-256"},
    {SASL_SCRAM_SHA_512, "SCRAM-SHA-512"},
    {SASL_PLAIN, "PLAIN"},
};

enum { MECHANISMS = sizeof mechanisms / sizeof mechanisms[0] };

void
sasl_fini(struct sasl *sasl)
{
    scram_fini(&sasl->scram);
}

const char *
sasl_name(unsigned mechanism)
{
    for (int i = 0; i < MECHANISMS; i++)
        if (mechanisms[i].mechanism == mechanism)
            return mechanisms[i].name;
    return NULL;
}

unsigned
sasl_of_name(const char *name)
{
    for (int i = 0; name && i < MECHANISMS; i++)
        if (strcmp(mechanisms[i].name, name) == 0)
            return mechanisms[i].mechanism;
    return 0;
}

int
sasl_choose(struct sasl *sasl, unsigned offered, const char *mechanism, bool raw)
{
    unsigned wanted = sasl_of_name(mechanism);
    if (sasl->state != SASL_IDLE)
        return err_set(BUS_ERR_ILLEGAL_SASL_STATE,
            "a SaslHandshake in the middle of an exchange: finish it, or connect again");
    if ((wanted & offered) == 0)
        return err_set(BUS_ERR_UNSUPPORTED_SASL_MECHANISM,
            "the SASL mechanism %.40s is not offered here: choose one of those in the answer",
            mechanism ? mechanism : "(null)");
    if (sasl->authenticated && wanted != sasl->used)
        return err_set(BUS_ERR_ILLEGAL_SASL_STATE,
            "this connection was authenticated by %s and cannot be renewed by %s",
            sasl_name(sasl->used), sasl_name(wanted));
    scram_fini(&sasl->scram);
    sasl->chosen = wanted;
    sasl->raw = raw;
    sasl->state = SASL_CHOSEN;
    return 0;
}

static int
wrong(void)
{
    return err_set(
        BUS_ERR_SASL_AUTHENTICATION_FAILED, "Authentication failed: Invalid username or password");
}

/** It is `user`: who was somebody before must be the same one. */
static int
admit(struct sasl *sasl, const char *user)
{
    if (sasl->authenticated && strcmp(sasl->user, user) != 0)
        return err_set(BUS_ERR_SASL_AUTHENTICATION_FAILED,
            "this connection belongs to User:%.80s and cannot become that of User:%.80s",
            sasl->user, user);
    memcpy(sasl->user, user, strlen(user) + 1);
    sasl->authenticated = true;
    sasl->used = sasl->chosen;
    sasl->state = SASL_IDLE;
    return SASL_DONE;
}

/* ---- PLAIN: "acts for" NUL "name" NUL "password" ------------------------------------------------
 */

struct plain {
    char acts_for[USER_NAME_BYTES_MAX + 1];
    char name[USER_NAME_BYTES_MAX + 1];
    const char *password;
    size_t password_bytes;
};

/** Takes what goes up to the next NUL. */
static bool
take_name(const uint8_t **at, const uint8_t *end, char name[USER_NAME_BYTES_MAX + 1])
{
    const uint8_t *nul = memchr(*at, 0, (size_t)(end - *at));
    if (!nul || nul - *at > USER_NAME_BYTES_MAX)
        return false;
    memcpy(name, *at, (size_t)(nul - *at) + 1);
    *at = nul + 1;
    return true;
}

static int
take_plain(const uint8_t *token, size_t n, struct plain *plain)
{
    const uint8_t *at = token, *end = token + n;
    bool right = take_name(&at, end, plain->acts_for) && take_name(&at, end, plain->name) &&
                 plain->name[0] && at < end && !memchr(at, 0, (size_t)(end - at));
    if (!right)
        return err_set(BUS_ERR_SASL_AUTHENTICATION_FAILED, "a malformed PLAIN message");
    if (plain->acts_for[0] && strcmp(plain->acts_for, plain->name) != 0)
        return err_set(BUS_ERR_SASL_AUTHENTICATION_FAILED,
            "User:%.80s may not act for somebody else", plain->name);
    plain->password = (const char *)at;
    plain->password_bytes = (size_t)(end - at);
    return 0;
}

/** Whether the password is that of the credential. 0, SASL_AUTHENTICATION_FAILED or a failure. */
static int
check_password(const struct plain *plain, const struct scram_credential *credential)
{
    enum crypto_hash hash = scram_hash(credential->mechanism);
    struct scram_credential made = *credential;
    uint8_t salted[CRYPTO_BYTES_MAX];
    struct crypto_password password = {plain->password, plain->password_bytes, credential->salt,
        credential->salt_bytes, credential->iterations};
    int rc = crypto_salted(hash, &password, salted);
    if (rc == 0)
        rc = scram_keys(&made, salted);
    bool right =
        rc == 0 && crypto_equal(made.stored_key, credential->stored_key, crypto_bytes(hash));
    crypto_wipe(salted, sizeof salted);
    crypto_wipe(&made, sizeof made);
    if (rc < 0)
        return rc;
    return right ? 0 : wrong();
}

static int
step_plain(struct sasl *sasl, const struct sasl_world *world, const uint8_t *token, size_t n)
{
    struct plain plain;
    struct scram_credential nobody;
    int rc = take_plain(token, n, &plain);
    if (rc < 0)
        return rc;
    const struct user_row *row = user_set_find(world->users, plain.name, SCRAM_SHA_256);
    if (!row)
        row = user_set_find(world->users, plain.name, SCRAM_SHA_512);
    /* Who is unknown takes as long as who is known. */
    if (!row)
        rc = scram_made_up(SCRAM_SHA_256, plain.name, world->secret, &nobody);
    if (rc == 0)
        rc = check_password(&plain, row ? &row->credential : &nobody);
    if (rc == 0 && !row)
        rc = wrong();
    return rc < 0 ? rc : admit(sasl, plain.name);
}

/* ---- SCRAM --------------------------------------------------------------------------------------
 */

static int
step_first(struct sasl *sasl, const struct sasl_world *world, const uint8_t *token, size_t n,
    struct buf *out)
{
    struct scram *scram = &sasl->scram;
    struct scram_server server = {world->nonce, world->secret};
    scram->mechanism = sasl->chosen == SASL_SCRAM_SHA_256 ? SCRAM_SHA_256 : SCRAM_SHA_512;
    int rc = scram_first(scram, token, n);
    if (rc < 0)
        return rc;
    const struct user_row *row = user_set_find(world->users, scram->user, scram->mechanism);
    rc = scram_challenge(scram, row ? &row->credential : NULL, &server, out);
    if (rc < 0)
        return rc;
    sasl->state = SASL_CHALLENGED;
    return SASL_MORE;
}

static int
step_final(struct sasl *sasl, const uint8_t *token, size_t n, struct buf *out)
{
    int rc = scram_final(&sasl->scram, token, n, out);
    if (rc == 0)
        rc = admit(sasl, sasl->scram.user);
    scram_fini(&sasl->scram);
    return rc;
}

int
sasl_step(struct sasl *sasl, const struct sasl_world *world, const uint8_t *token, size_t n,
    struct buf *out)
{
    int rc;
    if (n > SASL_TOKEN_BYTES_MAX)
        rc = err_set(BUS_ERR_SASL_AUTHENTICATION_FAILED, "a SASL token of %zu bytes: at most %d", n,
            SASL_TOKEN_BYTES_MAX);
    else if (sasl->state == SASL_CHALLENGED)
        rc = step_final(sasl, token, n, out);
    else if (sasl->state != SASL_CHOSEN)
        rc = err_set(BUS_ERR_ILLEGAL_SASL_STATE, "a SASL token without a SaslHandshake before it");
    else if (sasl->chosen == SASL_PLAIN)
        rc = step_plain(sasl, world, token, n);
    else
        rc = step_first(sasl, world, token, n, out);
    if (rc < 0)
        sasl->state = SASL_ENDED;
    return rc;
}
