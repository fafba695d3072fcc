/* SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"
#include "base/err.h"
#include "core/sasl.h"
#include "fuzz/target.h"

#include <string.h>

/* The first byte says with which mechanism; then come tokens, each behind a byte that tells its
 * length. Nobody has a password here, so nobody is ever admitted. */

static const uint8_t secret[SCRAM_SECRET_BYTES];

static void
init(struct user_set *users)
{
    struct scram_credential credential = {
        .mechanism = SCRAM_SHA_256, .iterations = SCRAM_ITERATIONS_MIN, .salt_bytes = 1};
    struct user_row *row = user_row_new("u", &credential);
    MUST(row && user_set_reserve(users) == 0);
    user_set_put(users, row);
}

static void
try_tokens(struct sasl *sasl, const struct sasl_world *world, const uint8_t *at, size_t left)
{
    struct buf out;
    buf_init(&out);
    while (left > 0) {
        size_t n = at[0] < left - 1 ? at[0] : left - 1;
        enum sasl_state before = sasl->state;
        int rc = sasl_step(sasl, world, at + 1, n, &out);
        MUST(rc != SASL_DONE && !sasl->authenticated);
        MUST(rc > 0 || (err_text()[0] != '\0' && sasl->state == SASL_ENDED));
        MUST(rc != SASL_MORE || (before == SASL_CHOSEN && sasl->state == SASL_CHALLENGED));
        at += 1 + n;
        left -= 1 + n;
    }
    buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN", "NONE"};
    if (size == 0)
        return 0;
    struct user_set users = {0};
    struct sasl sasl = {0};
    struct sasl_world world = {&users, secret, "nonce"};
    init(&users);
    sasl_choose(&sasl, SASL_ALL, names[data[0] % 4], false);
    try_tokens(&sasl, &world, data + 1, size - 1);
    sasl_fini(&sasl);
    user_set_fini(&users);
    return 0;
}
