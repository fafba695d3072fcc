/* SPDX-License-Identifier: Apache-2.0
 * The id of a topic as text.
 */
#ifndef BUSCTL_TOPIC_ID_H
#define BUSCTL_TOPIC_ID_H

#include <stdint.h>
#include <stdio.h>

enum { TOPIC_ID_BYTES = 37 };

/** Writes the 16 bytes as "01234567-89ab-cdef-0123-456789abcdef"; returns `text`. */
static inline const char *
topic_id_text(const uint8_t *id, char text[TOPIC_ID_BYTES])
{
    char *at = text;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        snprintf(at, 3, "%02x", id[i]);
        at += 2;
    }
    return text;
}

#endif
