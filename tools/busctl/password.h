/* SPDX-License-Identifier: Apache-2.0
 * Passwords: read without showing them, and salted, so that busd never sees one. The only file of
 * busctl that knows libcrypto is password.c.
 */
#ifndef BUSCTL_PASSWORD_H
#define BUSCTL_PASSWORD_H

#include "busctl/busctl.h"

enum { PASSWORD_BYTES_MAX = 1024, PASSWORD_SALT_BYTES = 32, PASSWORD_HASH_BYTES_MAX = 64 };

struct password {
    char text[PASSWORD_BYTES_MAX + 2];
    size_t bytes;
};

/**
 * Reads a password: the first line of `file` ("-": standard input), or with NULL from the terminal,
 * twice, without echo; without a terminal from standard input. Exit code, after telling.
 */
int password_read(const struct ctl *ctl, const char *file, struct password *password);

/** A password as busd gets it. */
struct password_salted {
    struct bus_password told; /* points into this struct */
    uint8_t salt[PASSWORD_SALT_BYTES];
    uint8_t salted[PASSWORD_HASH_BYTES_MAX];
};

/** Salts it anew. Exit code, after telling. Takes milliseconds. */
int password_salt(const struct ctl *ctl, const struct password *password,
    enum bus_mechanism mechanism, int32_t iterations, struct password_salted *salted);

/** Overwrites it. */
void password_forget(struct password *password);

#endif
