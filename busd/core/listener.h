/* SPDX-License-Identifier: Apache-2.0
 * Where busd listens for Kafka clients, as the settings say it: [PROTOCOL://]HOST:PORT. Rules only;
 * door/kafka.c opens the sockets.
 *
 * Thread: any. Nothing here blocks.
 */
#ifndef CORE_LISTENER_H
#define CORE_LISTENER_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LISTENER_HOST_BYTES_MAX = 255, /* without the NUL */
    LISTENER_TEXT_BYTES = LISTENER_HOST_BYTES_MAX + 32,
    LISTENERS_MAX = 16,
};

/** One word of `listeners` or `advertised.listeners`. */
struct listener_spec {
    char host[LISTENER_HOST_BYTES_MAX + 1]; /* without brackets; "" is every address */
    uint16_t port;                          /* 0: one that is free */
    bool sasl;                              /* SASL_PLAINTEXT, SASL_SSL */
    bool tls;                               /* SSL, SASL_SSL */
};

/** Reads a word of `n` bytes. 0, or INVALID_CONFIG with the word and what is expected. */
int listener_parse(const char *word, size_t n, struct listener_spec *spec);

/** Reads a list with commas of at most LISTENERS_MAX words. How many, or INVALID_CONFIG. */
int listener_parse_list(const char *list, struct listener_spec specs[LISTENERS_MAX]);

/** The listener in full: "SASL_PLAINTEXT://[::1]:9092". */
void listener_text(const struct listener_spec *spec, char text[LISTENER_TEXT_BYTES]);

#endif
