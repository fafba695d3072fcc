/* SPDX-License-Identifier: Apache-2.0
 * Hashes and randomness, as OpenSSL's libcrypto makes them: the one file that knows of it here.
 *
 * Thread: any. Blocks: no, but see crypto_salted().
 */
#ifndef CORE_CRYPTO_H
#define CORE_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum crypto_hash {
    CRYPTO_SHA256,
    CRYPTO_SHA512,
};

enum { CRYPTO_BYTES_MAX = 64 }; /* of a hash */

/** How many bytes a hash has: 32 or 64. */
size_t crypto_bytes(enum crypto_hash hash);

/** The hash of `n` bytes. 0, or a failure of the library. */
int crypto_digest(enum crypto_hash hash, const void *data, size_t n, uint8_t out[CRYPTO_BYTES_MAX]);

/** HMAC of `n` bytes. 0, or a failure of the library. */
int crypto_hmac(enum crypto_hash hash, const void *key, size_t key_bytes, const void *data,
    size_t n, uint8_t out[CRYPTO_BYTES_MAX]);

/** A password and how it is salted. Borrowed. */
struct crypto_password {
    const char *text;
    size_t bytes;
    const uint8_t *salt;
    size_t salt_bytes;
    int32_t iterations;
};

/** PBKDF2 over HMAC, as long as the hash. Takes a millisecond per some 2000 iterations. 0, or a
 * failure of the library. */
int crypto_salted(
    enum crypto_hash hash, const struct crypto_password *password, uint8_t out[CRYPTO_BYTES_MAX]);

/** Whether two pieces are equal, in a time that does not tell where they differ. */
bool crypto_equal(const void *a, const void *b, size_t n);

/** Random bytes. 0, or a failure of the library. */
int crypto_random(void *bytes, size_t n);

/** Overwrites a secret. */
void crypto_wipe(void *bytes, size_t n);

#endif
