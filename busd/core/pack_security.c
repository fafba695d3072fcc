/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pack_security.h"

#include <string.h>

void
pack_acl(struct buf *out, const struct acl_rule *rule)
{
    pack_u8(out, rule->resource);
    pack_u8(out, rule->pattern);
    pack_string(out, rule->name);
    pack_string(out, rule->principal);
    pack_string(out, rule->host);
    pack_u8(out, rule->operation);
    pack_u8(out, rule->permission);
}

void
unpack_acl(struct unpack *in, struct acl_rule *rule, struct arena *arena)
{
    rule->resource = (enum acl_resource)unpack_u8(in);
    rule->pattern = (enum acl_pattern)unpack_u8(in);
    rule->name = unpack_string(in, arena);
    rule->principal = unpack_string(in, arena);
    rule->host = unpack_string(in, arena);
    rule->operation = (enum acl_operation)unpack_u8(in);
    rule->permission = (enum acl_permission)unpack_u8(in);
    if (in->bad || acl_check(rule) < 0)
        in->bad = true;
}

void
pack_credential(struct buf *out, const struct scram_credential *credential)
{
    size_t n = crypto_bytes(scram_hash(credential->mechanism));
    pack_u8(out, credential->mechanism);
    pack_i32(out, credential->iterations);
    pack_u8(out, (unsigned)credential->salt_bytes);
    buf_put(out, credential->salt, credential->salt_bytes);
    buf_put(out, credential->stored_key, n);
    buf_put(out, credential->server_key, n);
}

static void
unpack_into(struct unpack *in, uint8_t *to, size_t n)
{
    const uint8_t *bytes = unpack_bytes(in, n);
    if (bytes)
        memcpy(to, bytes, n);
}

void
unpack_credential(struct unpack *in, struct scram_credential *credential)
{
    *credential = (struct scram_credential){0};
    credential->mechanism = (enum scram_mechanism)unpack_u8(in);
    credential->iterations = unpack_i32(in);
    credential->salt_bytes = unpack_u8(in);
    if (in->bad || scram_check(credential) < 0) {
        in->bad = true;
        return;
    }
    size_t n = crypto_bytes(scram_hash(credential->mechanism));
    unpack_into(in, credential->salt, credential->salt_bytes);
    unpack_into(in, credential->stored_key, n);
    unpack_into(in, credential->server_key, n);
}
