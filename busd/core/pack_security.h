/* SPDX-License-Identifier: Apache-2.0
 * Rules and credentials in the bytes of commands and rows. Inside core/ only.
 */
#ifndef CORE_PACK_SECURITY_H
#define CORE_PACK_SECURITY_H

#include "core/acl.h"
#include "core/pack.h"
#include "core/users.h"

/** Appends a rule that acl_check() has passed. */
void pack_acl(struct buf *out, const struct acl_rule *rule);

/** A rule; its strings are the arena's. `bad` is set for what acl_check() does not pass. */
void unpack_acl(struct unpack *in, struct acl_rule *rule, struct arena *arena);

/** Appends a credential that scram_check() has passed. */
void pack_credential(struct buf *out, const struct scram_credential *credential);

/** A credential. `bad` is set for what scram_check() does not pass. */
void unpack_credential(struct unpack *in, struct scram_credential *credential);

#endif
