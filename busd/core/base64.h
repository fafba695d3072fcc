/* SPDX-License-Identifier: Apache-2.0
 * Base64 (RFC 4648, section 4), strict: one form for each sequence of bytes.
 */
#ifndef CORE_BASE64_H
#define CORE_BASE64_H

#include "base/buf.h"

/** Appends `n` bytes as letters, with padding. Thread: any. */
void base64_put(struct buf *out, const void *bytes, size_t n);

/** Appends the bytes of `n` letters. 0; INVALID_REQUEST for what base64_put() would not have made;
 * NO_MEMORY. Thread: any. */
int base64_take(struct buf *out, const char *text, size_t n);

#endif
