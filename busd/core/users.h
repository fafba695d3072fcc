/* SPDX-License-Identifier: Apache-2.0
 * Users with SCRAM credentials: what a server keeps of a password, which is not enough to log in
 * with. The set is sorted by name and mechanism.
 *
 * Thread: the loop. Nothing here blocks.
 */
#ifndef CORE_USERS_H
#define CORE_USERS_H

#include "core/crypto.h"

/** Numbers of Kafka's ScramMechanism, on the wire and on disk. */
enum scram_mechanism {
    SCRAM_SHA_256 = 1,
    SCRAM_SHA_512 = 2,
};

enum {
    USER_NAME_BYTES_MAX = 255,
    SCRAM_SALT_BYTES_MAX = 255,
    SCRAM_SALT_BYTES = 32, /* what busctl makes, and what unknown users seem to have */
    SCRAM_ITERATIONS_MIN = 4096,
    SCRAM_ITERATIONS = 8192, /* the same */
    SCRAM_ITERATIONS_MAX = 16384,
};

struct scram_credential {
    enum scram_mechanism mechanism;
    int32_t iterations;
    uint8_t salt[SCRAM_SALT_BYTES_MAX];
    size_t salt_bytes;
    uint8_t stored_key[CRYPTO_BYTES_MAX];
    uint8_t server_key[CRYPTO_BYTES_MAX];
};

/** One credential of a user; who has two mechanisms is here twice. */
struct user_row {
    char name[USER_NAME_BYTES_MAX + 1];
    struct scram_credential credential;
};

struct user_set {
    struct user_row **rows; /* owned; sorted by name, then mechanism */
    size_t count;
    size_t capacity;
};

/** "SCRAM-SHA-256"; static. */
const char *scram_name(enum scram_mechanism mechanism);

/** The hash that a mechanism is built on. */
enum crypto_hash scram_hash(enum scram_mechanism mechanism);

/** Releases every row, and wipes it. */
void user_set_fini(struct user_set *set);

/** Frees a row that is in no set, and wipes it; nulls the pointer. NULL inside is fine. */
void user_row_free(struct user_row **row);

/** A row on the heap; NULL without memory. The name is checked. */
struct user_row *user_row_new(const char *name, const struct scram_credential *credential);

/** Makes sure that the next put cannot fail. 0 or NO_MEMORY. */
int user_set_reserve(struct user_set *set);

/** Takes a row, and gives the one that it replaces; NULL: none. Room was reserved. */
struct user_row *user_set_put(struct user_set *set, struct user_row *row);

/** Takes a row out of the set and gives it to the caller; NULL: there is none. */
struct user_row *user_set_take(
    struct user_set *set, const char *name, enum scram_mechanism mechanism);

/** The row of a user and a mechanism; NULL when there is none. Borrowed. */
struct user_row *user_set_find(
    const struct user_set *set, const char *name, enum scram_mechanism mechanism);

/** Whether somebody can be called so: 0 or UNACCEPTABLE_CREDENTIAL. */
int user_check_name(const char *name);

/** Whether a credential can be one: 0 or UNACCEPTABLE_CREDENTIAL. */
int scram_check(const struct scram_credential *credential);

/** The two keys that a server keeps, from a salted password as long as the hash. 0, or a failure
 * of libcrypto. */
int scram_keys(struct scram_credential *credential, const uint8_t *salted);

#endif
