/* SPDX-License-Identifier: Apache-2.0 */
#include "core/users.h"

#include "base/check.h"
#include "base/err.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *
scram_name(enum scram_mechanism mechanism)
{
    return mechanism == SCRAM_SHA_256 ? "SCRAM-SHA-256" : "SCRAM-SHA-512";
}

enum crypto_hash
scram_hash(enum scram_mechanism mechanism)
{
    return mechanism == SCRAM_SHA_256 ? CRYPTO_SHA256 : CRYPTO_SHA512;
}

void
user_row_free(struct user_row **row)
{
    if (!*row)
        return;
    crypto_wipe(*row, sizeof **row);
    free(*row);
    *row = NULL;
}

struct user_row *
user_row_new(const char *name, const struct scram_credential *credential)
{
    size_t n = strlen(name);
    MUST(n <= USER_NAME_BYTES_MAX);
    struct user_row *row = calloc(1, sizeof *row);
    if (!row)
        return NULL;
    memcpy(row->name, name, n);
    row->credential = *credential;
    return row;
}

void
user_set_fini(struct user_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        user_row_free(&set->rows[i]);
    free(set->rows);
    *set = (struct user_set){0};
}

static int
compare(const struct user_row *row, const char *name, enum scram_mechanism mechanism)
{
    int order = strcmp(row->name, name);
    enum scram_mechanism its = row->credential.mechanism;
    return order ? order : (its > mechanism) - (its < mechanism);
}

/** The place of the first row that is not below. */
static size_t
place_of(const struct user_set *set, const char *name, enum scram_mechanism mechanism)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(set->rows[middle], name, mechanism) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool
is_at(const struct user_set *set, size_t at, const char *name, enum scram_mechanism mechanism)
{
    return at < set->count && compare(set->rows[at], name, mechanism) == 0;
}

int
user_set_reserve(struct user_set *set)
{
    if (set->count < set->capacity)
        return 0;
    size_t capacity = set->capacity ? set->capacity * 2 : 16;
    struct user_row **rows = realloc(set->rows, capacity * sizeof *rows);
    if (!rows)
        return err_no_memory();
    set->rows = rows;
    set->capacity = capacity;
    return 0;
}

struct user_row *
user_set_put(struct user_set *set, struct user_row *row)
{
    enum scram_mechanism mechanism = row->credential.mechanism;
    size_t at = place_of(set, row->name, mechanism);
    if (is_at(set, at, row->name, mechanism)) {
        struct user_row *old = set->rows[at];
        set->rows[at] = row;
        return old;
    }
    MUST(set->count < set->capacity);
    memmove(set->rows + at + 1, set->rows + at, (set->count - at) * sizeof set->rows[0]);
    set->rows[at] = row;
    set->count++;
    return NULL;
}

struct user_row *
user_set_take(struct user_set *set, const char *name, enum scram_mechanism mechanism)
{
    size_t at = place_of(set, name, mechanism);
    if (!is_at(set, at, name, mechanism))
        return NULL;
    struct user_row *row = set->rows[at];
    set->count--;
    memmove(set->rows + at, set->rows + at + 1, (set->count - at) * sizeof set->rows[0]);
    return row;
}

struct user_row *
user_set_find(const struct user_set *set, const char *name, enum scram_mechanism mechanism)
{
    size_t at = place_of(set, name, mechanism);
    return is_at(set, at, name, mechanism) ? set->rows[at] : NULL;
}

int
user_check_name(const char *name)
{
    size_t n = name ? strlen(name) : 0;
    if (n > 0 && n <= USER_NAME_BYTES_MAX)
        return 0;
    return err_set(BUS_ERR_UNACCEPTABLE_CREDENTIAL, "a user's name has 1 to %d bytes, this one %zu",
        USER_NAME_BYTES_MAX, n);
}

int
scram_check(const struct scram_credential *credential)
{
    if (credential->mechanism != SCRAM_SHA_256 && credential->mechanism != SCRAM_SHA_512)
        return err_set(BUS_ERR_UNSUPPORTED_SASL_MECHANISM,
            "SCRAM mechanism %d: there are 1 (SCRAM-SHA-256) and 2 (SCRAM-SHA-512)",
            (int)credential->mechanism);
    if (credential->iterations < SCRAM_ITERATIONS_MIN ||
        credential->iterations > SCRAM_ITERATIONS_MAX)
        return err_set(BUS_ERR_UNACCEPTABLE_CREDENTIAL,
            "%" PRId32 " iterations: %d to %d are possible", credential->iterations,
            SCRAM_ITERATIONS_MIN, SCRAM_ITERATIONS_MAX);
    if (credential->salt_bytes == 0 || credential->salt_bytes > SCRAM_SALT_BYTES_MAX)
        return err_set(BUS_ERR_UNACCEPTABLE_CREDENTIAL, "a salt has 1 to %d bytes, this one %zu",
            SCRAM_SALT_BYTES_MAX, credential->salt_bytes);
    return 0;
}

int
scram_keys(struct scram_credential *credential, const uint8_t *salted)
{
    enum crypto_hash hash = scram_hash(credential->mechanism);
    uint8_t client_key[CRYPTO_BYTES_MAX];
    size_t n = crypto_bytes(hash);
    int rc = crypto_hmac(hash, salted, n, "Client Key", 10, client_key);
    if (rc == 0)
        rc = crypto_digest(hash, client_key, n, credential->stored_key);
    if (rc == 0)
        rc = crypto_hmac(hash, salted, n, "Server Key", 10, credential->server_key);
    crypto_wipe(client_key, sizeof client_key);
    return rc;
}
