/* SPDX-License-Identifier: Apache-2.0 */
#include "core/crypto.h"

#include "base/err.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

static const EVP_MD *
method(enum crypto_hash hash)
{
    return hash == CRYPTO_SHA256 ? EVP_sha256() : EVP_sha512();
}

static int
failure(const char *what)
{
    char why[120];
    ERR_error_string_n(ERR_get_error(), why, sizeof why);
    return err_set(BUS_ERR_SYSTEM, "libcrypto: %s: %s", what, why);
}

size_t
crypto_bytes(enum crypto_hash hash)
{
    return hash == CRYPTO_SHA256 ? 32 : 64;
}

int
crypto_digest(enum crypto_hash hash, const void *data, size_t n, uint8_t out[CRYPTO_BYTES_MAX])
{
    unsigned bytes;
    return EVP_Digest(data, n, out, &bytes, method(hash), NULL) == 1 ? 0 : failure("digest");
}

int
crypto_hmac(enum crypto_hash hash, const void *key, size_t key_bytes, const void *data, size_t n,
    uint8_t out[CRYPTO_BYTES_MAX])
{
    unsigned bytes;
    return HMAC(method(hash), key, (int)key_bytes, data, n, out, &bytes) ? 0 : failure("HMAC");
}

int
crypto_salted(
    enum crypto_hash hash, const struct crypto_password *password, uint8_t out[CRYPTO_BYTES_MAX])
{
    int rc = PKCS5_PBKDF2_HMAC(password->text, (int)password->bytes, password->salt,
        (int)password->salt_bytes, password->iterations, method(hash), (int)crypto_bytes(hash),
        out);
    return rc == 1 ? 0 : failure("PBKDF2");
}

bool
crypto_equal(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

int
crypto_random(void *bytes, size_t n)
{
    return RAND_bytes(bytes, (int)n) == 1 ? 0 : failure("random bytes");
}

void
crypto_wipe(void *bytes, size_t n)
{
    OPENSSL_cleanse(bytes, n);
}
